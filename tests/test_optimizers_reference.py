"""Optimizers against the rules of torch, Keras and the papers: 60 steps in float64, see ``golden/optimizers.py``."""

import json

import numpy as np
import pytest
from golden.optimizers import CASES, FILE, KEPT, RATE, START, STEPS, gradient

import fastmlp as fm
from fastmlp.layers import Dense
from fastmlp.optimizers import execution_of

GOLDEN = json.loads(FILE.read_text(encoding="utf-8"))


def optimizer_of(name, in_numpy=False, **changes):
    case = CASES[name]
    cls = getattr(fm.optimizers, case.ours)
    if in_numpy:
        cls = type(cls.__name__, (cls,), {"elementwise": False})
    return cls(RATE, **{**case.settings, **changes})


def steps(optimizer):
    """Return a kernel after the steps that are kept."""
    net = fm.Sequential([Dense(len(START), use_bias=False)], input_dim=1, dtype="float64")
    net.parameters["0.kernel"] = np.array([START])
    net.compile(optimizer)
    kept = []
    for step in range(1, STEPS + 1):
        net.apply_gradients({"0.kernel": np.array([gradient(step)])})
        if step in KEPT:
            kept.append(net.parameters["0.kernel"][0].copy())
    return np.array(kept)


def check(found, name):
    """Moves agree to 1e-9 of themselves, but for what 60 sums near 1 round off."""
    expected = np.array(GOLDEN[name])
    moves = np.abs(expected - np.array(START))
    assert (np.abs(found - expected) <= 1e-9 * moves + 2e-14).all()


@pytest.mark.parametrize("in_numpy", [False, True], ids=["compiled", "in NumPy"])
@pytest.mark.parametrize("name", CASES)
def test_60_steps_by_the_rule_of_another_library(name, in_numpy):
    optimizer = optimizer_of(name, in_numpy)
    assert (execution_of(optimizer).mode == "python") == in_numpy
    check(steps(optimizer), name)


def test_every_built_in_is_compared():
    assert {case.ours for case in CASES.values()} == {
        type(fm.optimizers.get(name)).__name__
        for name in fm.registry.optimizers
        if fm.registry.optimizers.origin(name) == "built-in"
    }


# -- wrong rules fail ------------------------------------------------------------------------------------------------


class InsideTheRoot(fm.optimizers.Adam):
    elementwise = True

    def update(self, param, grad, state, learning_rate, step):
        m, v = state["m"], state["v"]
        m += 0.1 * (grad - m)
        v += 0.001 * (grad * grad - v)
        param -= learning_rate / (1 - 0.9**step) * m / np.sqrt(v / (1 - 0.999**step) + 1e-8)


class Uncorrected(fm.optimizers.Adam):
    """As Keras and scikit-learn have it: epsilon is added to a root that is not corrected."""

    elementwise = True

    def update(self, param, grad, state, learning_rate, step):
        m, v = state["m"], state["v"]
        m += 0.1 * (grad - m)
        v += 0.001 * (grad * grad - v)
        param -= learning_rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step) * m / (np.sqrt(v) + 1e-8)


@pytest.mark.parametrize("wrong", [InsideTheRoot, Uncorrected])
def test_a_wrong_place_of_epsilon_fails(wrong):
    with pytest.raises(AssertionError):
        check(steps(wrong(RATE)), "adam")


@pytest.mark.parametrize(
    "name, changes",
    [
        ("adam", {"epsilon": 1e-7}),
        ("rmsprop", {"rho": 0.9}),
        ("adagrad", {"epsilon": 1e-8}),
        ("adadelta", {"epsilon": 1e-7}),
        ("adamax", {"epsilon": 1e-7}),
        ("radam", {"epsilon": 1e-7}),
        ("nadam", {"momentum_decay": 1.0}),
        ("nesterov", {"nesterov": False}),
        ("amsgrad", {"amsgrad": False}),
        ("lion", {"beta_1": 0.8}),
        ("rmsprop, both", {"centered": False}),
    ],
)
def test_other_settings_fail(name, changes):
    with pytest.raises(AssertionError):
        check(steps(optimizer_of(name, **changes)), name)
