"""The plugins as their users meet them: by name, through entry points, in a network."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

import fastmlp as fm

FOUND_BY_NAME = """
import sys
import fastmlp as fm

plugins = {
    "isrlu": fm.registry.activations,
    "sparse_normal": fm.registry.initializers,
    "yogi": fm.registry.optimizers,
    "maxout": fm.registry.layers,
}
for name, registry in plugins.items():
    assert name in registry and name in registry.names()
    assert registry.origin(name).startswith("fastmlp-extras "), registry.origin(name)
assert not any(module.startswith("fastmlp_extras") for module in sys.modules), "listing imported the plugin"
for name, registry in plugins.items():
    cls = registry.resolve(name)
    assert cls.__module__.startswith("fastmlp_extras.")
    assert registry.resolve(f"fastmlp-extras:{name}") is cls
    assert registry.identify(cls) == f"fastmlp-extras:{name}"
"""


def test_found_by_entry_points_alone(tmp_path):
    """In a fresh interpreter, because this one may have imported the plugin already."""
    command = [sys.executable, "-W", "error", "-c", FOUND_BY_NAME]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)  # not the checkout's sources
    assert done.returncode == 0, done.stderr


# -- isrlu -----------------------------------------------------------------------------------------


def exact_isrlu(z: float, alpha: float) -> float:
    """The formula in rational arithmetic, with a square root to 60 digits."""
    if z >= 0:
        return z
    square = 1 + Fraction(alpha) * Fraction(z) ** 2
    scale = 10**60
    root = Fraction(math.isqrt(square.numerator * scale**2 // square.denominator), scale)
    return float(Fraction(z) / root)


@pytest.mark.parametrize("alpha", [1.0, 0.25])
def test_isrlu_formula(alpha):
    activation = fm.registry.activations.get("isrlu", alpha=alpha)
    z = np.array([-1e8, -300.0, -4.0, -1.0, -1e-9, 0.0, 1e-9, 0.5, 1.0, 4.0, 300.0, 1e8])
    expected = np.array([exact_isrlu(value, alpha) for value in z])
    a = activation.forward(z)
    np.testing.assert_allclose(a, expected, rtol=4e-16)
    np.testing.assert_allclose(activation.forward(z.astype("float32")), expected, rtol=3e-7)
    slope = activation.derivative(z, a)
    np.testing.assert_allclose(slope, (1 + alpha * np.minimum(z, 0) ** 2) ** -1.5, rtol=2e-15)
    assert (slope > 0).all() and (slope <= 1).all()


def test_isrlu_values_worked_by_hand():
    activation = fm.registry.activations.get("isrlu")
    z = np.array([0.0, 1.5, -0.75])
    assert activation.forward(z).tolist() == [0.0, 1.5, -0.6]  # -0.75 / sqrt(1 + 0.5625) = -0.75 / 1.25
    np.testing.assert_allclose(activation.derivative(z, activation.forward(z)), [1.0, 1.0, 0.512])


def test_isrlu_derivative_is_that_of_the_function():
    """Fourth-order central difference in float64, away from 0, where the third derivative jumps."""
    activation = fm.registry.activations.get("isrlu")
    z, h = np.linspace(-6, 6, 120), 1e-3
    f = activation.forward
    numeric = (f(z - 2 * h) - 8 * f(z - h) + 8 * f(z + h) - f(z + 2 * h)) / (12 * h)
    np.testing.assert_allclose(activation.derivative(z, f(z)), numeric, rtol=0, atol=1e-11)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_isrlu_keeps_dtype_and_input(dtype):
    z = np.linspace(-2, 2, 12, dtype=dtype).reshape(3, 4)
    z.flags.writeable = False
    activation = fm.registry.activations.get("isrlu")
    a = activation.forward(z)
    assert a.dtype == dtype and a.shape == z.shape
    assert activation.derivative(z, a).dtype == dtype


@pytest.mark.parametrize("alpha", [0.0, -1.0, math.nan, math.inf])
def test_isrlu_refuses_a_wrong_alpha(alpha):
    with pytest.raises(ValueError, match="alpha must be positive and finite"):
        fm.registry.activations.get("isrlu", alpha=alpha)


# -- sparse_normal ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "inputs"), [((40, 7), 40), ((5, 3), 5), ((2, 20, 4), 40)])
def test_sparse_normal(shape, inputs, dtype="float32"):
    initializer = fm.registry.initializers.get("sparse_normal", connections=6, stddev=2.0)
    w = initializer(shape, np.random.default_rng(0), dtype)
    assert w.shape == shape and w.dtype == dtype
    w = w.reshape(inputs, shape[-1])
    assert (np.count_nonzero(w, axis=0) == min(6, inputs)).all()
    assert len({tuple(np.flatnonzero(column)) for column in w.T}) > 1 or inputs < 6


def test_sparse_normal_draws_evenly_with_its_deviation():
    w = fm.registry.initializers.get("sparse_normal", stddev=3.0)((60, 4000), np.random.default_rng(1), "float64")
    drawn = w[w != 0]
    assert drawn.size == 15 * 4000 and abs(drawn.std() / 3 - 1) < 5 / math.sqrt(2 * drawn.size)
    counts = np.count_nonzero(w, axis=1)  # of each input: binomial, 4000 tries of 1/4
    assert abs(counts - 1000).max() < 5 * math.sqrt(4000 * 3 / 16)


def test_sparse_normal_refuses():
    with pytest.raises(ValueError, match=r"a matrix is needed, got the shape \(3,\)"):
        fm.registry.initializers.get("sparse_normal")((3,), np.random.default_rng(0), "float64")
    for config in ({"connections": 0}, {"stddev": math.nan}, {"stddev": -1.0}):
        with pytest.raises(ValueError, match=r"SparseNormal: (connections|stddev) must be"):
            fm.registry.initializers.get("sparse_normal", **config)


# -- yogi ------------------------------------------------------------------------------------------


def test_yogi_worked_by_hand():
    """Two steps in numbers: v moves by a share of the squared gradient, or not at all where it is just that."""
    yogi = fm.registry.optimizers.get("yogi", learning_rate=0.5, beta_1=0.5, beta_2=0.75, epsilon=1.0)
    w = np.array([1.0, 1.0, 1.0])
    state = yogi.init_state(w)
    yogi.update(w, np.array([2.0, -8.0, 0.0]), state, 0.5, 1)
    assert state["m"].tolist() == [1.0, -4.0, 0.0]
    assert state["v"].tolist() == [1.0, 16.0, 0.0]
    assert w.tolist() == [0.75, 1.4, 1.0]  # 1 - 0.5 / (1 + 1), 1 + 0.5 * 4 / (4 + 1)
    yogi.update(w, np.array([1.0, 2.0, 4.0]), state, 0.5, 2)
    assert state["m"].tolist() == [1.0, -1.0, 2.0]
    assert state["v"].tolist() == [1.0, 15.0, 4.0]
    np.testing.assert_allclose(w, [0.5, 1.4 + 0.5 / (15**0.5 + 1), 1 - 1 / 3], rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_yogi_works_in_place(dtype):
    yogi = fm.registry.optimizers.get("yogi")
    w, grad = np.ones((2, 3), dtype), np.full((2, 3), 0.1, dtype)
    grad.flags.writeable = False
    state = yogi.init_state(w)
    m, v = state["m"], state["v"]
    assert yogi.update(w, grad, state, 1e-4, 1) is None
    assert m is state["m"] and v is state["v"] and m.dtype == v.dtype == w.dtype == dtype
    np.testing.assert_allclose(w, 1 - 1e-4 * 0.01 / (np.sqrt(1e-5) + 1e-3), rtol=1e-6)


def test_yogi_defaults_and_checks():
    yogi = fm.registry.optimizers.get("yogi")
    assert (yogi.learning_rate, yogi.beta_1, yogi.beta_2, yogi.epsilon) == (1e-2, 0.9, 0.999, 1e-3)
    for config in ({"beta_1": 1.0}, {"beta_2": -0.1}, {"beta_2": math.nan}):
        with pytest.raises(ValueError, match=r"beta_\d must be in \[0, 1\)"):
            fm.registry.optimizers.get("yogi", **config)
    with pytest.raises(ValueError, match="epsilon must be at least 0"):
        fm.registry.optimizers.get("yogi", epsilon=-1.0)


# -- together --------------------------------------------------------------------------------------


def network(seed: int = 0) -> fm.Sequential:
    dense = fm.layers.Dense
    layers = [
        dense(16, activation="isrlu", kernel_initializer="sparse_normal"),
        dense(1, kernel_initializer={"name": "sparse_normal", "stddev": 0.25}),
    ]
    net = fm.Sequential(layers, input_dim=2, dtype="float64", seed=seed)
    yogi = fm.registry.optimizers.get("yogi", learning_rate=0.01)
    net.compile(optimizer=yogi, loss="mean_squared_error")
    return net


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (256, 2))
    return x, x[:, :1] * x[:, 1:]


def test_a_network_of_plugins_trains(data):
    net = network()
    assert np.count_nonzero(net.parameters["1.kernel"]) == 15  # of 16 inputs
    history = net.fit(*data, epochs=60, batch_size=32, verbose=0).history["loss"]
    assert history[-1] < 0.2 * np.var(data[1])  # the mean alone would reach the variance


def test_one_step_is_yogis(data):
    """The network's step equals `update` on its own gradients."""
    net = network()
    before = {key: value.copy() for key, value in net.parameters.items()}
    _, gradients = net.loss_and_gradients(*data)
    net.train_on_batch(*data)
    for key, value in net.parameters.items():
        g = gradients[key]
        np.testing.assert_allclose(value, before[key] - 1e-3 * g / (np.sqrt(0.001) * abs(g) + 1e-3), rtol=1e-12)
        np.testing.assert_allclose(net.optimizer_state[key]["m"], 0.1 * g, rtol=1e-12)
        np.testing.assert_allclose(net.optimizer_state[key]["v"], 0.001 * g * g, rtol=1e-12)


def test_save_and_load(data, tmp_path):
    """A loaded network goes on as the saved one does, bit for bit, with the same plugins."""
    net = network()
    net.fit(*data, epochs=2, verbose=0)
    net.save(tmp_path / "net.fastmlp")
    again = fm.load(tmp_path / "net.fastmlp")
    assert np.array_equal(again.predict(data[0]), net.predict(data[0]))
    assert type(again.optimizer).__module__ == "fastmlp_extras.optimizers"
    for each in (net, again):
        each.fit(*data, epochs=2, verbose=0)
    for key, value in net.parameters.items():
        assert np.array_equal(again.parameters[key], value)


# -- maxout ----------------------------------------------------------------------------------------


def test_maxout_worked_by_hand():
    """Two pieces of one unit: |x| as max(x, -x)."""
    net = fm.Sequential([fm.layers.get({"name": "maxout", "units": 1})], input_dim=1, dtype="float64", seed=0)
    net.parameters["0.kernel"] = [[1.0, -1.0]]
    y, backward = net.vjp([[3.0], [-2.0]])
    assert y.tolist() == [[3.0], [2.0]]
    gradients, d_input = backward(np.array([[1.0], [10.0]]))
    assert d_input.tolist() == [[1.0], [-10.0]]
    assert gradients["0.kernel"].tolist() == [[3.0, -20.0]]
    assert gradients["0.bias"].tolist() == [1.0, 10.0]


@pytest.mark.parametrize("config", [{"units": 0}, {"units": 2, "pieces": 0}, {"units": 1.5}])
def test_maxout_refuses_wrong_sizes(config):
    with pytest.raises(ValueError, match="must be an integer of at least 1"):
        fm.layers.get("maxout", **config)
