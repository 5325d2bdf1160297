"""Updates that are known to stay finite have no guard; what is known of them is true at the ends of all ranges."""

import itertools

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._tracing.bounds import GIVEN, RANGES
from fastmlp.layers import Dense
from fastmlp.optimizers import execution_of


class Moments(fm.optimizers.Optimizer):
    """Two averages, written as products and as differences, with their bias corrected."""

    elementwise = True
    epsilon = 1e-8

    def init_state(self, param):
        return {"m": np.zeros_like(param), "v": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        m, v = state["m"], state["v"]
        m *= 0.9
        m += 0.1 * grad
        v -= 0.01 * (v - grad * grad)
        param -= learning_rate * (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.99**step)) + self.epsilon)


class Sign(fm.optimizers.Optimizer):
    """Lion."""

    elementwise = True

    def init_state(self, param):
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * np.sign(0.9 * state["m"] + 0.1 * grad)
        state["m"] += 0.01 * (grad - state["m"])


class Weighty(Sign):
    """Nothing is known of the size of parameters."""

    def update(self, param, grad, state, learning_rate, step):
        super().update(param, grad, state, learning_rate, step)
        param -= learning_rate * 0.1 * param


class Total(Sign):
    """A sum has no bound."""

    def update(self, param, grad, state, learning_rate, step):
        state["m"] += grad
        param -= learning_rate * state["m"]


class Careless(Moments):
    epsilon = 0.0


class Exploding(Sign):
    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * np.expm1(grad)


KNOWN = [
    *(fm.optimizers.RMSprop(0.1), fm.optimizers.RMSprop(0.1, rho=0.5), Moments(0.1), Sign(0.1)),
    *(fm.optimizers.RMSprop(0.1, momentum=0.9), fm.optimizers.RMSprop(0.1, momentum=0.9, centered=True)),
    *(fm.optimizers.Adam(0.1, amsgrad=True), fm.optimizers.Adamax(0.1), fm.optimizers.RAdam(0.1)),
    *(fm.optimizers.RAdam(0.1, beta_2=0.5), fm.optimizers.Lion(0.1), fm.optimizers.Nadam(0.1)),
    *(fm.optimizers.Nadam(0.1, momentum_decay=0.0), fm.optimizers.Nadam(0.1, momentum_decay=2.0)),
]
UNKNOWN = [
    *(fm.optimizers.RMSprop(0.1, epsilon=0.0), fm.optimizers.RMSprop(0.1, rho=lambda step: 0.5), Weighty(0.1)),
    *(Total(0.1), Careless(0.1), Exploding(0.1), fm.optimizers.RMSprop(0.1, epsilon=1e-40)),
    *(fm.optimizers.Adagrad(0.1), fm.optimizers.Adadelta(0.1)),
]


@pytest.mark.parametrize("optimizer", UNKNOWN, ids=str)
def test_of_others_nothing_is_known(optimizer):
    kernel = execution_of(optimizer).kernel
    assert kernel.name == "traced_update" and kernel.ranges is None and kernel.guarded


@pytest.mark.parametrize("optimizer", KNOWN, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_ranges_hold_at_their_ends(optimizer, dtype):
    """A step from the ends of all ranges, and from beside 0, stays in them, and moves parameters that stay finite."""
    kernel = execution_of(optimizer).kernel
    assert not kernel.guarded
    most = np.finfo(dtype).max
    inner = [0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0]
    params = [most, -most, *inner]
    grads = [*GIVEN["grad"], *inner]
    states = [
        [value for value in (*RANGES[kind], RANGES[kind][1] / 3, *inner) if RANGES[kind][0] <= value]
        for kind in kernel.ranges
    ]
    points = np.array(list(itertools.product(params, grads, *states))).T.astype(dtype)
    program = kernel.program.load(np.dtype(dtype))
    for rate, step in itertools.product((64.0, 1e-3, 0.0), (1.0, 2.0, 1e6)):
        arrays = [np.ascontiguousarray(column) for column in points]
        program.run(arrays, [arrays[0], *arrays[2:]], (rate, step))
        assert np.isfinite(arrays[0]).all()
        for array, kind in zip(arrays[2:], kernel.ranges, strict=True):
            assert (array >= RANGES[kind][0]).all() and (array <= RANGES[kind][1]).all()


@pytest.mark.parametrize("optimizer", KNOWN, ids=str)
def test_guarded_or_not_a_step_has_the_same_bits(optimizer):
    """A state out of range is found where others may have written it; then the step is guarded, of all parameters."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.normal(size=(8, 2)).astype(np.float32)
    nets = []
    for guarded in (False, True):
        net = fm.Sequential([Dense(6, "tanh"), Dense(2)], input_dim=3, seed=0)
        net.compile(optimizer, "mse")
        net.layers[0].trainable = False  # so that what the second bias does changes no other gradient in the first step
        if guarded:
            for array in net.optimizer_state["1.bias"].values():
                array[0] = 1e32
        net.train_on_batch(x, y)
        nets.append(net)
    for key in ("0.kernel", "1.kernel"):
        np.testing.assert_array_equal(nets[1].parameters[key], nets[0].parameters[key])
    assert all(np.isfinite(array).all() for array in nets[1].parameters.values())


def test_a_state_below_its_range_is_refused():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.normal(size=(8, 2)).astype(np.float32)
    net = fm.Sequential([Dense(2)], input_dim=3, seed=0)
    net.compile(fm.optimizers.RMSprop(0.1), "mse")
    net.train_on_batch(x, y)
    net.optimizer_state["0.kernel"]["v"][0, 0] = -1e3
    before = {key: array.copy() for key, array in net.parameters.items()}
    with pytest.raises(fm.NonFiniteError):
        net.fit(x, y, verbose=0)
    for key, array in before.items():
        np.testing.assert_array_equal(net.parameters[key], array)
