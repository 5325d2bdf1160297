"""Plans written by hand: the table of operations, updates by segments, hyper-parameters of steps, kept outputs."""

import struct

import numpy as np
import pytest

from fastmlp import _kernels
from fastmlp._kernels import reference

SIZE, SLOTS = 1000, 2
STEPS = 3


@pytest.fixture
def ops(level):
    return _kernels.load(level, "plan_ops")


@pytest.fixture
def plan(level):
    return _kernels.load(level, "plan")


@pytest.fixture(params=(1, 3))
def threads(request, level):
    module = _kernels.load(level, "plan_schedule")
    before = module.set_grain(1.0)
    yield request.param
    module.set_grain(before)


# The table


def test_codes_are_distinct(ops):
    assert len({spec.code for spec in ops.OPS.values()}) == len(ops.OPS)
    assert all(spec.name == name for name, spec in ops.OPS.items())


def test_every_layout_begins_with_the_head_and_fits_a_record(ops):
    head = ["code", "layer", "fused", "barrier", "row_cost", "cost"]
    for spec in ops.OPS.values():
        dtype = np.dtype(spec.layout)
        assert list(dtype.names[:6]) == head and dtype.itemsize == ops.RECORD_BYTES
        assert all(dtype[name] in (np.int64, np.float64) for name in dtype.names)
        assert [dtype.fields[name][1] for name in dtype.names] == [8 * k for k in range(len(dtype.names))]
        assert all(dtype[name] == np.int64 for name in spec.references)


def test_references_are_what_points_to_memory(ops):
    dense = ops.OPS["dense"]
    assert dense.references == {"layer", "x", "x_offsets", "kernel", "bias", "scale", "shift", "z", "a"}
    numbers = {"code", "fused", "barrier", "ldx", "ldz", "lda", "inputs", "units", "activation", "extension"}
    assert {name for name in dense.layout["names"] if np.dtype(dense.layout)[name] == np.int64} == (
        dense.references | numbers
    )
    assert ops.OPS["loss_sum"].references == {"layer"}


def test_all_levels_have_one_table(ops):
    assert ops is _kernels.load(_kernels.level, "plan_ops")


# Plans


def records(ops, *operations):
    """Return operations ``(name, fields)`` as bytes."""
    found = np.zeros((len(operations), ops.RECORD_BYTES), np.uint8)
    for record, (name, fields) in zip(found, operations, strict=True):
        spec = ops.OPS[name]
        row = record.view(np.dtype(spec.layout))
        for field in spec.references:
            row[field] = ops.NONE
        for field, value in {"code": spec.code, "barrier": 1, **fields}.items():
            row[field] = value
    return found


class Update:
    """An optimizer over an arena of SIZE numbers, in segments."""

    def __init__(self, ops, plan, dtype, name, segments, **fields):
        rng = np.random.default_rng(0)
        self.ops, self.parameters = ops, rng.normal(size=SIZE).astype(dtype)
        self.gradients, self.state = rng.normal(size=SIZE).astype(dtype), np.zeros(SLOTS * SIZE, dtype)
        self.counters = np.zeros(4, np.int64)
        table = np.array([7, *np.ravel(segments)], np.int64)
        shape = {"size": SIZE, "segments": 1, "n_segments": len(segments), "slot_stride": SIZE, "cost": 32.0 * SIZE}
        self.run = plan.Run(records(ops, (name, shape | fields)), table, self.counters, 1, dtype == np.float64)
        for arena in ("parameters", "gradients", "state"):
            self.run.bind(ops.ARENAS[arena], getattr(self, arena))
        self.run.bind_data(np.zeros((1, 1), dtype), None, None, np.zeros(1, np.int64))

    def steps(self, hyper, threads):
        for _ in range(STEPS):
            self.run.begin(0, 1, 0, hyper)
            assert self.run.execute(0, 1, threads, True)
        return self.parameters, self.state


SEGMENTS = [[0, 3, 0], [3, 130, 4], [131, 600, 0], [600, SIZE, 4]]  # number 130 belongs to none
HYPER = {
    "sgd": np.array([0.1, 0.9, 0, 0, 0.01, 0.5, 0, 0]),
    "adam": np.array([0.1, 0.9, 0.99, 1e-8, 0.01, 0.8, 0.95, 1e-3]),
}


@pytest.mark.parametrize("name", HYPER)
def test_segments_have_hyper_parameters_of_their_own(ops, plan, dtype, name, threads):
    """A segment has the bits that it has where all numbers are updated by its hyper-parameters."""
    fields = {"has_velocity": 1} if name == "sgd" else {}
    hyper = HYPER[name]
    found, state = Update(ops, plan, dtype, name, SEGMENTS, **fields).steps(hyper, threads)
    untouched = Update(ops, plan, dtype, name, SEGMENTS, **fields).parameters
    expected = {at: Update(ops, plan, dtype, name, [[0, SIZE, at]], **fields).steps(hyper, 1) for at in (0, 4)}
    for first, last, at in SEGMENTS:
        np.testing.assert_array_equal(found[first:last], expected[at][0][first:last])
        for slot in range(1 if name == "sgd" else SLOTS):
            part = slice(slot * SIZE + first, slot * SIZE + last)
            np.testing.assert_array_equal(state[part], expected[at][1][part])
    assert found[130] == untouched[130]


def test_a_velocity_is_kept_where_momentum_is_0_for_a_step(ops, plan, dtype):
    update = Update(ops, plan, dtype, "sgd", [[0, SIZE, 0]], has_velocity=1, nesterov=1)
    w, velocity = update.parameters.copy(), np.zeros(SIZE, dtype)
    for momentum in (0.5, 0.0, 0.25):
        update.run.begin(0, 1, 0, np.array([0.1, momentum]))
        update.run.execute(0, 1, 1, True)
        reference.sgd_update(w, update.gradients, velocity, dtype.type(0.1), dtype.type(momentum), True)
    np.testing.assert_allclose(update.parameters, w, rtol=1e-5)
    np.testing.assert_allclose(update.state[:SIZE], velocity, rtol=1e-5)


def test_a_traced_update_reads_learning_rate_step_and_further_scalars(level, ops, plan, dtype, threads):
    """w -= learning_rate g further, plus the step."""
    vm = _kernels.load(level, "vm")
    w, g, rate, step, further, product, moved, out = range(8)
    code = [
        (vm.NAMES["mul"], product, g, rate, 0, 0),
        (vm.NAMES["fnma"], moved, product, further, w, 0),
        (vm.NAMES["add"], out, moved, step, 0, 0),
    ]
    code = struct.pack("18i", *(number for instruction in code for number in instruction))
    program = vm.Program(code, b"", bytes(3 * 8), 2, 3, 2, 1, dtype == np.float64)
    segments = [[0, 400, 0], [400, SIZE, 2]]
    update = Update(ops, plan, dtype, "traced_update", segments, program=program.address)
    assert update.run.n_hyper == 4
    before = update.parameters.copy()
    found, _ = update.steps(np.array([0.5, 2.0, 0.25, 8.0]), threads)
    expected = before.astype(float)
    for number in range(1, STEPS + 1):
        expected[:400] -= update.gradients[:400] * 1.0
        expected[400:] -= update.gradients[400:] * 2.0
        expected += number
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_hyper_parameters_must_be_as_many_as_segments_read(ops, plan):
    update = Update(ops, plan, np.dtype(np.float32), "adam", SEGMENTS)
    assert update.run.n_hyper == 8
    with pytest.raises(ValueError, match="at least 8"):
        update.run.begin(0, 1, 0, np.zeros(7))
    totals = np.zeros(3)
    for wrong in (None, np.zeros((1, 7))):
        with pytest.raises(ValueError, match="at least 8"):
            update.run.epoch(0, 1, 0, 1, 1, 0, wrong, 1, totals)


def test_an_epoch_takes_a_row_of_hyper_parameters_a_step(ops, plan, dtype):
    """And ends where the rows do; batches whose weights sum to 0 take none."""
    n, batch = 10, 2
    update = Update(ops, plan, dtype, "sgd", [[0, SIZE, 0]])
    update.run = plan.Run(
        records(ops, ("sgd", {"size": SIZE, "segments": 1, "n_segments": 1})),
        *(np.array([7, 0, SIZE, 0]), update.counters, batch, dtype == np.float64),
    )
    weight = np.ones(n, dtype)
    weight[2:4] = 0
    for arena, array in {"parameters": update.parameters, "gradients": update.gradients}.items():
        update.run.bind(ops.ARENAS[arena], array)
    update.run.bind_data(np.zeros((n, 1), dtype), None, weight, np.arange(n))
    rates = [0.5, 0.25, 0.125]
    expected, totals = update.parameters.copy(), np.zeros(3)
    for rate in rates:
        expected -= dtype.type(rate) * update.gradients
    hyper = np.array([[rate, 0.0] for rate in rates])
    assert update.run.epoch(0, 1, 0, n, batch, 0, hyper, 1, totals, 60.0) == (8, True)
    np.testing.assert_array_equal(update.parameters, expected)
    assert update.counters.tolist() == [3, 3, 0, 0]


@pytest.mark.parametrize("fused", (0, 1))
def test_an_epoch_keeps_outputs_by_their_place_in_the_order(ops, plan, dtype, fused, threads):
    n, units, batch, kept_from = 50, 5, 16, 10
    x = np.random.default_rng(1).normal(size=(n, units)).astype(dtype)
    order = np.random.default_rng(2).permutation(n)
    a = ops.ARENAS["work"] << ops.SHIFT
    gather = ("gather", {"a": a, "lda": 8, "units": units, "fused": fused, "row_cost": 1e6})
    keep = ("keep_output", {"x": a, "ldx": 8, "units": units, "fused": fused, "row_cost": 1e6})
    run = plan.Run(records(ops, gather, keep), np.arange(9), np.zeros(2, np.int64), batch, dtype == np.float64)
    kept = np.full((n - kept_from, units + 2), 99, dtype)
    run.bind(ops.ARENAS["work"], np.zeros(batch * 8, dtype))
    run.bind(ops.ARENAS["kept"], kept[:, :units])
    run.bind_data(x, None, None, order)
    totals = np.zeros(3)
    assert run.epoch(0, 2, kept_from, n, batch, 0, None, threads, totals, 60.0, True, kept_from) == (n, True)
    np.testing.assert_array_equal(kept[:, :units], x[order[kept_from:]])
    assert (kept[:, units:] == 99).all()
    run.begin(0, 3, 0, None, 4)
    run.execute(0, 2, threads)
    np.testing.assert_array_equal(kept[4:7, :units], x[order[:3]])
    with pytest.raises(ValueError, match="no room"):
        run.epoch(0, 2, 0, n, batch, 0, None, threads, totals, 60.0, True, 0)
    with pytest.raises(ValueError, match="no room"):
        run.begin(0, 3, 0, None, n - kept_from - 2)
    run.bind(ops.ARENAS["kept"], None)
    assert run.epoch(0, 2, 0, n, batch, 0, None, threads, totals, 60.0, True) == (n, True)


def test_operations_of_another_size_are_refused(ops, plan):
    for shape in ((3, ops.RECORD_BYTES + 8), (3 * ops.RECORD_BYTES,)):
        with pytest.raises(ValueError, match="bytes"):
            plan.Run(np.zeros(shape, np.uint8), np.arange(9), np.zeros(2, np.int64), 1, False)
