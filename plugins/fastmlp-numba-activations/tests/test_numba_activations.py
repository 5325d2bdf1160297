"""The plugins as their users meet them: by name, through entry points, in a network."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.native import verify

DISTRIBUTION = "fastmlp-numba-activations"
CASES = [("numba_softsign", {}), *(("numba_gaussian", {"sigma": sigma}) for sigma in (1.0, 0.05, 40.0))]

FOUND_BY_NAME = """
import sys
import fastmlp as fm

names = ("numba_softsign", "numba_gaussian")
for name in names:
    assert fm.registry.activations.origin(name).startswith("fastmlp-numba-activations ")
    assert not any(module.startswith("fastmlp_numba_activations") for module in sys.modules), "listing imported it"
for name in names:
    made = fm.registry.activations.get(f"fastmlp-numba-activations:{name}")
    assert type(made) is type(fm.registry.activations.get(name))
    assert fm.registry.activations.identify(made) == f"fastmlp-numba-activations:{name}"
    made([1.0, 2.0])
assert "numba" not in sys.modules, "numba was imported before a kernel was asked for"
assert made.native is fm.registry.activations.get(name).native
assert "numba" in sys.modules
"""


def test_found_by_entry_points_alone(tmp_path):
    """In a fresh interpreter, because this one may have imported the plugin already."""
    command = [sys.executable, "-W", "error", "-c", FOUND_BY_NAME]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)  # not the checkout's sources
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, config", CASES)
def test_compiled_functions_do_what_numpy_does(name, config, dtype):
    """Values, bits in pieces and in place, memory around: fastmlp's own comparison."""
    activation = fm.registry.activations.get(name, **config)
    assert activation.native.dtypes == ("float32", "float64")
    verify(activation, dtype)


def test_values_worked_by_hand():
    softsign = fm.registry.activations.get("numba_softsign")
    z = np.array([0.0, 1.0, -3.0])
    assert softsign(z).tolist() == [0.0, 0.5, -0.75]
    assert softsign.derivative(z, softsign(z)).tolist() == [1.0, 0.25, 0.0625]
    gaussian = fm.registry.activations.get("numba_gaussian", sigma=2.0)
    z = 2.0 * np.sqrt(2.0 * np.log([1.0, 2.0, 4.0]))
    np.testing.assert_allclose(gaussian(z), [1.0, 0.5, 0.25])
    np.testing.assert_allclose(gaussian.derivative(z, gaussian(z)), -z / 4.0 * [1.0, 0.5, 0.25])


@pytest.mark.parametrize("name, config", CASES[:2])
def test_derivative_is_that_of_the_function(name, config):
    """Fourth-order central difference in float64."""
    activation = fm.registry.activations.get(name, **config)
    z, h = np.linspace(-6, 6, 120), 1e-3  # 0 isn't one of them: softsign bends there
    f = activation.forward
    numeric = (f(z - 2 * h) - 8 * f(z - h) + 8 * f(z + h) - f(z + 2 * h)) / (12 * h)
    np.testing.assert_allclose(activation.derivative(z, f(z)), numeric, rtol=0, atol=1e-10)


@pytest.mark.parametrize("sigma", [0.0, -1.0, math.nan, math.inf])
def test_wrong_sigma(sigma):
    with pytest.raises(ValueError, match="sigma must be positive and finite, got"):
        fm.registry.activations.get("numba_gaussian", sigma=sigma)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name, config", CASES[:2])
def test_trains_saves_and_loads(name, config, dtype, tmp_path):
    """The loss falls, a file names the distribution, and the network that it gives goes on with the same bits."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 3)).astype(dtype)
    y = np.sin(x).sum(axis=1, keepdims=True)
    net = fm.Sequential(
        [fm.layers.Dense(16, activation={"name": name, **config}), fm.layers.Dense(1)],
        input_dim=3,
        dtype=dtype,
        seed=0,
    )
    net.compile(optimizer=fm.optimizers.Adam(0.01), loss="mse")
    losses = net.fit(x, y, epochs=40, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    path = tmp_path / "net.fastmlp"
    net.save(path)
    assert f"{DISTRIBUTION}:{name}".encode() in path.read_bytes()
    again = fm.load(path)
    for each in (net, again):
        each.fit(x, y, verbose=0)
    assert np.array_equal(again.predict(x), net.predict(x))
