"""The plugins as their users meet them: by name, through entry points, in a network."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.native import verify

DISTRIBUTION = "fastmlp-cython-activations"
NAMES = {"cython_swish": "beta", "cython_isru": "alpha"}

FOUND_BY_NAME = """
import sys
import fastmlp as fm

for name in ("cython_swish", "cython_isru"):
    assert fm.registry.activations.origin(name).startswith("fastmlp-cython-activations ")
    assert not any(module.startswith("fastmlp_cython_activations") for module in sys.modules), "listing imported it"
for name in ("cython_swish", "cython_isru"):
    made = fm.registry.activations.get(f"fastmlp-cython-activations:{name}")
    assert type(made) is type(fm.registry.activations.get(name))
    assert fm.registry.activations.identify(made) == f"fastmlp-cython-activations:{name}"
"""


def test_found_by_entry_points_alone(tmp_path):
    """In a fresh interpreter, because this one may have imported the plugin already."""
    command = [sys.executable, "-W", "error", "-c", FOUND_BY_NAME]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)  # not the checkout's sources
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [1.0, 0.25, 7.5, 100.0])
@pytest.mark.parametrize("name", NAMES)
def test_the_extension_does_what_numpy_does(name, value, dtype):
    """Values, bits in pieces and in place, memory around: fastmlp's own comparison."""
    activation = fm.registry.activations.get(name, **{NAMES[name]: value})
    assert activation.native.dtypes == ("float32", "float64")
    verify(activation, dtype)


def test_values_worked_by_hand():
    isru = fm.registry.activations.get("cython_isru", alpha=0.5625)
    z = np.array([0.0, 1.0, -1.0, 4.0 / 3.0 * math.sqrt(3.0)])
    np.testing.assert_allclose(isru(z), [0.0, 0.8, -0.8, 2.0 / 3.0 * math.sqrt(3.0)])  # roots: 1, 5/4, 5/4, 2
    np.testing.assert_allclose(isru.derivative(z, isru(z)), [1.0, 0.512, 0.512, 0.125])
    swish = fm.registry.activations.get("cython_swish", beta=math.log(3.0))
    z = np.array([0.0, 1.0, -1.0])
    np.testing.assert_allclose(swish(z), [0.0, 0.75, -0.25])
    assert swish.derivative(z, swish(z))[0] == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_derivative_is_that_of_the_function(name):
    """Fourth-order central difference in float64."""
    activation = fm.registry.activations.get(name, **{NAMES[name]: 1.7})
    z, h = np.linspace(-6, 6, 121), 1e-3
    f = activation.forward
    numeric = (f(z - 2 * h) - 8 * f(z - h) + 8 * f(z + h) - f(z + 2 * h)) / (12 * h)
    np.testing.assert_allclose(activation.derivative(z, f(z)), numeric, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name, value", [("cython_swish", math.nan), ("cython_isru", 0.0), ("cython_isru", math.inf)])
def test_wrong_parameters(name, value):
    with pytest.raises(ValueError, match=r"must be (positive and )?finite, got"):
        fm.registry.activations.get(name, **{NAMES[name]: value})


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_trains_saves_and_loads(name, dtype, tmp_path):
    """The loss falls, a file names the distribution, and the network that it gives goes on with the same bits."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(64, 3)).astype(dtype)
    y = np.sin(x).sum(axis=1, keepdims=True)
    activation = {"name": name, NAMES[name]: 1.5}
    net = fm.Sequential(
        [fm.layers.Dense(16, activation=activation), fm.layers.Dense(1)], input_dim=3, dtype=dtype, seed=0
    )
    net.compile(optimizer="adam", loss="mse")
    losses = net.fit(x, y, epochs=40, batch_size=16, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    path = tmp_path / "net.fastmlp"
    net.save(path)
    assert f"{DISTRIBUTION}:{name}".encode() in path.read_bytes()
    again = fm.load(path)
    for each in (net, again):
        each.fit(x, y, verbose=0)
    assert np.array_equal(again.predict(x), net.predict(x))
