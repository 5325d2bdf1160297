"""Two schedules, chosen by size: the operations of a small network run in fused groups, a few rows at a time; those of
a large one run one by one, each split among threads. Neither the schedule nor the number of threads changes a bit."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

FIRST, LAST = 20, 5
STACKS = {
    "relu": lambda: [Dense(33, "relu"), Dense(17, "relu"), Dense(LAST, "softmax")],
    "batchnorm": lambda: [
        Dense(40),
        BatchNorm(),
        Activation("relu"),
        Dense(9, "tanh"),
        BatchNorm(),
        Dense(LAST, "softmax"),
    ],
    "dropout": lambda: [Dropout(0.1), Dense(48, "relu"), Dropout(0.3), Dense(LAST, "softmax")],
    "unfused": lambda: [
        Activation("sin"),
        Dense(31, "leaky_relu"),
        Activation("tanh"),
        BatchNorm(),
        Dense(LAST, "softmax"),
    ],
    "linear": lambda: [Dense(LAST, "softmax", use_bias=False)],
    # copies of kernels: kept in a fused group, too large for that, too many columns
    "wide": lambda: [Dense(200, "relu"), Dense(600, "relu"), Dense(136, "tanh"), Dense(LAST, "softmax")],
    "python": lambda: [Dense(30, Cube()), Dense(20, "relu"), Dense(LAST, "softmax")],
}


class Cube(fm.activations.Activation):
    """Runs in NumPy, in the middle of a fused group."""

    def forward(self, z):
        return z**3

    def derivative(self, z, a):
        return 3 * z**2


def train(stack, dtype, threads, snapshot, rows=150, batch=70):
    """Return what some steps make of a network, and what it predicts; the last batch is shorter."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, FIRST)).astype(dtype), rng.integers(0, LAST, rows)
    net = fm.Sequential(STACKS[stack](), input_dim=FIRST, dtype=dtype, seed=3)
    net.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    with fm.num_threads(threads):
        net.fit(x, y, epochs=2, batch_size=batch, verbose=0)
        net.train_on_batch(x[:batch], y[:batch])
        _, gradients = net.loss_and_gradients(x[:batch], y[:batch])
        outputs, backward = net.vjp(x)
        _, d_input = backward(outputs)
        results = {"predict": net.predict(x), "one": net.predict(x[:1]), "vjp": outputs, "d_input": d_input}
    return {**snapshot(net), **results, **{f"d {key}": value for key, value in gradients.items()}}


@pytest.mark.parametrize("stack", STACKS)
def test_neither_schedule_nor_threads_change_a_bit(stack, dtype, teams, fuse, snapshot, same_bits):
    expected = train(stack, dtype, 1, snapshot)
    for fused in (True, False):
        fuse(fused)
        for threads in (1, 2, 3, 5, 8):
            assert same_bits(train(stack, dtype, threads, snapshot), expected), (fused, threads)


@pytest.mark.parametrize("stack", STACKS)
def test_more_rows_than_a_group_or_a_block_takes_at_a_time(stack, dtype, teams, fuse, snapshot, same_bits):
    expected = train(stack, dtype, 1, snapshot, 1000, 900)
    for fused in (True, False):
        fuse(fused)
        for threads in (1, 2, 3, 8):
            assert same_bits(train(stack, dtype, threads, snapshot, 1000, 900), expected)


def gradients_of(net, x, y, *batches):
    """Those of the last batch, of as many rows from the first on."""
    for rows in batches:
        _, gradients = net.loss_and_gradients(x[:rows], y[:rows])
    return gradients


def test_gradients_of_blocks_of_the_batch(dtype, teams, same_bits):
    """Those of a large batch are means of those of its parts, and the same bits if the plan has room for more."""
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(3000, FIRST)).astype(dtype), rng.integers(0, LAST, 3000)

    def net():
        made = fm.Sequential(STACKS["relu"](), input_dim=FIRST, dtype=dtype, seed=3)
        made.compile("sgd", "sparse_categorical_crossentropy")
        return made

    parts = [gradients_of(net(), x[at : at + 100], y[at : at + 100], 100) for at in range(0, 3000, 100)]
    sums = [o.name for o in net().plan(3000)].count("d_kernel_sum")
    assert sums == 3
    for rows in (100, 401, 513, 900, 3000):
        whole = gradients_of(net(), x, y, rows)
        assert same_bits(gradients_of(net(), x, y, 3000, rows), whole)
        if rows % 100 == 0:
            for key, gradient in whole.items():
                expected = np.mean([part[key] for part in parts[: rows // 100]], axis=0, dtype=np.float64)
                np.testing.assert_allclose(gradient, expected, rtol=0, atol=20 * np.finfo(dtype).eps)


def test_a_gradient_of_blocks_that_is_not_finite_stops_the_step():
    net = fm.Sequential([Dense(1)], input_dim=1, seed=0)
    net.compile("sgd", "mean_squared_error")
    for parameter in net.parameters.values():
        parameter[...] = 0
    x, y = np.ones((900, 1), np.float32), np.zeros((900, 1), np.float32)
    x[850], y[850] = 3e38, -1e6
    with pytest.raises(fm.NonFiniteError, match="gradients"):
        net.train_on_batch(x, y)
    assert not any(parameter.any() for parameter in net.parameters.values())


def groups(net):
    """Return the names of the operations of a step, those that run together in one list."""
    net.compile("adam", "sparse_categorical_crossentropy")
    found, fusing = [], False
    for operation in net.plan(512):
        fused = operation.schedule == "fused group"
        if not (fused and fusing):
            found.append([])
        found[-1].append(operation.name)
        fusing = fused
    return found


def test_one_group_from_the_data_to_the_first_gradient():
    """The way forward, the loss and the gradients of all inputs; then, one by one, what needs the whole batch."""
    net = fm.Sequential(STACKS["relu"](), input_dim=FIRST, seed=0)
    first, *rest = groups(net)
    assert first == ["dense", "dense", "dense", "loss", "d_input", "d_input"]
    assert all(len(group) == 1 for group in rest)
    assert sum(group == ["d_kernel"] for group in rest) == 3


def test_a_group_ends_at_batch_norm():
    net = fm.Sequential(STACKS["batchnorm"](), input_dim=FIRST, seed=0)
    assert groups(net)[:3] == [["dense"], ["batchnorm_statistics"], ["batchnorm", "dense"]]


def test_large_networks_run_one_by_one():
    net = fm.Sequential([Dense(600, "relu"), Dense(600, "relu"), Dense(LAST, "softmax")], input_dim=FIRST, seed=0)
    assert all(len(group) == 1 for group in groups(net))


def planned(*widths):
    layers = [*(Dense(units, "relu") for units in widths), Dense(10, "softmax")]
    net = fm.Sequential(layers, input_dim=20, seed=3)
    net.compile("adam", "sparse_categorical_crossentropy")
    return net


def test_what_the_plan_says_of_its_schedule():
    """Small networks are fused where there are rows for it; large ones never are; a lone operation is split."""
    small = planned(64)
    large = planned(600, 600)
    with fm.num_threads(1):
        assert [o.schedule for o in small.plan(512)][:4] == ["fused group"] * 4
        assert {o.schedule for o in small.plan(1)} == {"split"}
        assert {o.schedule for o in large.plan(512)} == {"split"}
        assert {o.threads for o in large.plan(512)} == {1}
        assert small.plan().threads == 1
    with fm.num_threads(3):
        assert {o.threads for o in large.plan(512) if o.multiply_adds > 10**6} == {3}
        assert {o.threads for o in small.plan(1)} == {1}  # too little work for a team
        assert large.plan().threads == 3
    alone = fm.Sequential([Dense(8)], input_dim=4)
    assert [o.schedule for o in alone.plan(512)] == ["split"]


def test_trying_a_team_changes_no_bit(dtype, snapshot, same_bits):
    """A network of which the model of cost can't tell is run alone and on a team by turns, at first."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(64, 32)).astype(dtype), rng.integers(0, 10, 64)

    def steps(threads):
        net = fm.Sequential(
            [Dense(64, "relu"), Dense(64, "relu"), Dense(10, "softmax")], input_dim=32, dtype=dtype, seed=3
        )
        net.compile("adam", "sparse_categorical_crossentropy")
        with fm.num_threads(threads):
            losses = [net.train_on_batch(x, y)["loss"] for _ in range(30)]
            outputs = [net.predict(x) for _ in range(12)]
        return {**snapshot(net), "losses": np.array(losses), **{f"{k}": out for k, out in enumerate(outputs)}}

    expected = steps(1)
    for threads in (2, 3):
        assert same_bits(steps(threads), expected)
