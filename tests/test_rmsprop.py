"""RMSprop, which is traced: against the formula, and against itself in NumPy."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense


class InNumPy(fm.optimizers.RMSprop):
    elementwise = False


def network(optimizer, dtype="float64"):
    net = fm.Sequential([Dense(7, "tanh"), Dense(2)], input_dim=3, seed=1, dtype=dtype)
    net.compile(optimizer, "mean_squared_error")
    return net


def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((40, 3)), rng.standard_normal((40, 2))


def test_two_steps_by_hand():
    net = fm.Sequential([Dense(1, use_bias=False, kernel_initializer="ones")], input_dim=1, dtype="float64")
    net.compile(fm.optimizers.RMSprop(0.1, rho=0.5, epsilon=1e-3), "half_squared_error")
    net.train_on_batch([[1.0]], [[3.0]])  # g = 1 - 3 = -2, v = 2, w = 1 + 0.2 / (sqrt 2 + 0.001)
    first = 1 + 0.2 / (np.sqrt(2) + 1e-3)
    assert net.parameters["0.kernel"][0, 0] == pytest.approx(first, rel=1e-14)
    net.train_on_batch([[1.0]], [[3.0]])
    g = first - 3
    second = first - 0.1 * g / (np.sqrt(0.5 * 2 + 0.5 * g * g) + 1e-3)
    assert net.parameters["0.kernel"][0, 0] == pytest.approx(second, rel=1e-14)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rho": 0.5, "epsilon": 1e-3},
        {"learning_rate": lambda step: 0.01 / step},
        {"rho": lambda step: 1 - 1 / (step + 1)},
        {"momentum": 0.9, "centered": True},
        {"momentum": lambda step: 0.9 / step},
    ],
    ids=["defaults", "numbers", "falling rate", "rising rho", "centered, with momentum", "falling momentum"],
)
def test_compiled_it_does_what_it_does_in_numpy(settings):
    one, other, (x, y) = network(fm.optimizers.RMSprop(**settings)), network(InNumPy(**settings)), data()
    assert "all operations run compiled" in repr(one) and "in Python" in repr(other)
    for net in (one, other):
        net.fit(x, y, epochs=3, batch_size=16, verbose=0)
    for key, view in one.parameters.items():
        np.testing.assert_allclose(view, other.parameters[key], rtol=1e-11, atol=1e-13)


def test_its_name_and_settings():
    assert isinstance(fm.optimizers.get("rmsprop"), fm.optimizers.RMSprop)
    assert fm.optimizers.RMSprop() == fm.optimizers.RMSprop(0.001, 0.9, momentum=0.0, epsilon=1e-8, centered=False)
    with pytest.raises(ValueError, match="rho"):
        fm.optimizers.RMSprop(rho=1.0)
