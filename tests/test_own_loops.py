"""Target networks by ``parameters.update``, and ``jacobian``."""

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import (
    Activation,
    BatchNorm,
    Columns,
    Dense,
    Dropout,
    Embedding,
    GaussianNoise,
    LayerNorm,
    Parallel,
    Residual,
    UnitNorm,
)


class Branching(fm.activations.Activation):
    """Runs in NumPy: it branches on data."""

    def forward(self, z):
        return np.sin(z) if z.sum() > -1e30 else z

    def derivative(self, z, a):
        return np.cos(z)


def network(dtype="float32", seed=0):
    return fm.Sequential([Dense(5, "tanh"), BatchNorm(), Dense(2)], input_dim=3, dtype=dtype, seed=seed)


# update


def test_an_update_moves_by_a_share(dtype):
    net, target = network(dtype, 1), network(dtype, 2)
    before = {key: w.copy() for key, w in target.parameters.items()}
    held = target.parameters["0.kernel"]
    target.parameters.update(net.parameters, share=0.25)
    for key, w in target.parameters.items():
        expected = 0.75 * before[key].astype(float) + 0.25 * net.parameters[key].astype(float)
        np.testing.assert_allclose(w, expected, rtol=4 * np.finfo(dtype).eps, atol=4 * np.finfo(dtype).eps)
    assert held is not None and np.shares_memory(held, target.parameters["0.kernel"])
    x = np.ones((2, 3))
    seen = target.predict(x)
    target.parameters.update(net.parameters)
    np.testing.assert_array_equal(target.predict(x), net.predict(x))
    assert (seen != target.predict(x)).any()


def test_a_share_of_0_changes_nothing_and_buffers_can_be_updated_too():
    net, target = network(seed=1), network(seed=2)
    before = {key: w.tobytes() for key, w in target.parameters.items()}
    target.parameters.update(net.parameters, share=0)
    assert {key: w.tobytes() for key, w in target.parameters.items()} == before
    net.buffers["1.running_mean"][...] = 4
    target.buffers.update(net.buffers, share=0.5)
    np.testing.assert_array_equal(target.buffers["1.running_mean"], 2)


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (lambda p: p.pop("2.bias"), ValueError, r"missing: \['2.bias'\]"),
        (lambda p: p.update(more=np.ones(2)), ValueError, r"unknown: \['more'\]"),
        (lambda p: p.update({"2.bias": np.ones(3)}), ValueError, r"2.bias: expected shape \(2,\), got \(3,\)"),
        (lambda p: p.update({"2.bias": np.array([1, np.nan])}), ValueError, "2.bias: expected finite"),
        (lambda p: p.update({"2.bias": np.array([1, np.inf])}), ValueError, "2.bias: expected finite"),
        (lambda p: p.update({"2.bias": np.array([1, 1e300])}), ValueError, "2.bias: values beyond"),
        (lambda p: p.update({"2.bias": ["a", "b"]}), TypeError, "2.bias"),
    ],
)
def test_everything_is_checked_before_anything_changes(spoil, error, message):
    net, target = network(seed=1), network(seed=2)
    before = {key: w.tobytes() for key, w in target.parameters.items()}
    other = {key: w.astype(float) for key, w in net.parameters.items()}
    spoil(other)
    with pytest.raises(error, match=message):
        target.parameters.update(other, share=0.5)
    assert {key: w.tobytes() for key, w in target.parameters.items()} == before


def test_shares_and_mappings_are_checked():
    net = network()
    for bad, error in ((-0.1, ValueError), (1.1, ValueError), (np.nan, ValueError), ("1", TypeError)):
        with pytest.raises(error, match="share"):
            net.parameters.update(net.parameters, share=bad)
    with pytest.raises(TypeError, match="mapping"):
        net.parameters.update(net)


# jacobian


STACKS = {
    "dense": lambda: [Dense(7, "tanh"), Dense(3)],
    "one product": lambda: [Dense(3)],
    "softmax": lambda: [Dense(7, "relu"), Dense(3, "softmax")],
    "batch norm and noise": lambda: [
        Dense(6),
        BatchNorm(),
        Activation("silu"),
        Dropout(0.3),
        GaussianNoise(1.0),
        Dense(3),
    ],
    "rows": lambda: [LayerNorm(), Dense(5), UnitNorm(), Dense(3, "prelu")],
    "branches": lambda: [Parallel([[], [Dense(4, "tanh"), Residual([Dense(4)])]]), Dense(2)],
    "columns": lambda: [Columns({(0, 3): Dense(2, "tanh"), (3, 1): []}, remainder="passthrough"), Dense(3)],
    "in Python": lambda: [Dense(4, Branching()), Dense(3)],
    "nothing": lambda: [Dropout(0.1)],
}
stack = pytest.mark.parametrize("stack", STACKS)


def built(stack, dtype="float64"):
    net = fm.Sequential(STACKS[stack](), input_dim=4, dtype=dtype, seed=1)
    for key, array in net.buffers.items():
        array += 0.3 * np.arange(array.size)
        assert key
    return net


@stack
def test_a_jacobian_is_that_of_finite_differences(stack):
    net, x, h = built(stack), np.random.default_rng(0).standard_normal((9, 4)), 1e-6
    found = net.jacobian(x)
    assert found.dtype == np.float64 and found.shape == (9, net.predict(x).shape[1], 4)
    for feature in range(4):
        step = h * (np.arange(4) == feature)
        slopes = (net.predict(x + step) - net.predict(x - step)) / 2 / h
        np.testing.assert_allclose(found[:, :, feature], slopes, atol=1e-7)


@stack
def test_a_jacobian_is_what_vjp_gives_and_changes_nothing(stack, contents):
    net, x = built(stack), np.random.default_rng(0).standard_normal((9, 4))
    before, found = contents(net), net.jacobian(x)
    outputs, backward = net.vjp(x)
    for unit in range(outputs.shape[1]):
        dy = np.zeros_like(outputs)
        dy[:, unit] = 1
        np.testing.assert_array_equal(found[:, unit], backward(dy)[1])
    assert contents(net) == before


@stack
@pytest.mark.usefixtures("teams")
def test_a_jacobian_has_the_same_bits_at_any_number_of_threads(stack, fuse):
    x, results = np.random.default_rng(0).standard_normal((1500, 4)).astype("f4"), []
    for fused, threads in ((True, 1), (True, 3), (False, 1), (False, 3)):
        fuse(fused)
        with fm.num_threads(threads):
            results.append(built(stack, "float32").jacobian(x).tobytes())
    assert all(result == results[0] for result in results)


def test_rows_of_a_jacobian_stand_alone_and_memory_is_kept():
    net, x = built("dense"), np.random.default_rng(0).standard_normal((2500, 4))
    whole = net.jacobian(x)
    for row in (0, 1023, 1024, 2499):
        np.testing.assert_array_equal(net.jacobian(x[row : row + 1])[0], whole[row])
    assert net.jacobian(x[:0]).shape == (0, 3, 4)
    kept = net.engine.executables.kept_bytes()
    net.jacobian(x)
    assert net.engine.executables.kept_bytes() == kept


def test_ids_have_no_slope_and_a_change_is_seen():
    net = fm.Sequential([Columns({0: Embedding(4, 2), 1: []}), Dense(2)], input_dim=2, dtype="float64", seed=0)
    x = np.array([[3, 0.5], [1, 2.0]])
    found = net.jacobian(x)
    np.testing.assert_array_equal(found[:, :, 0], 0)
    np.testing.assert_array_equal(found[:, :, 1], np.broadcast_to(net.parameters["1.kernel"][2], (2, 2)))
    net.parameters["1.kernel"][2] = [5, 6]
    np.testing.assert_array_equal(net.jacobian(x)[:, :, 1], [[5, 6], [5, 6]])
    twin = copy.deepcopy(net)
    np.testing.assert_array_equal(twin.jacobian(x), net.jacobian(x))
    with pytest.raises(ValueError, match="features"):
        net.jacobian(np.ones((2, 3)))
