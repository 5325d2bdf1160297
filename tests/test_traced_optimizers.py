"""Traced optimizers: what is traced, the same weights as in NumPy, and settings that change."""

import copy
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense
from fastmlp.optimizers import execution_of

ROWS, FIRST, LAST = 90, 7, 3


class Traced(fm.optimizers.Optimizer):
    elementwise = True


class Lion(Traced):
    def __init__(self, learning_rate=1e-3, beta_1=0.9, beta_2=0.99):
        super().__init__(learning_rate)
        self.beta_1, self.beta_2 = beta_1, beta_2

    def init_state(self, param):
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        m = state["m"]
        param -= learning_rate * np.sign(self.beta_1 * m + (1 - self.beta_1) * grad)
        m *= self.beta_2
        m += (1 - self.beta_2) * grad


class Adam(Traced):
    def init_state(self, param):
        return {"m": np.zeros_like(param), "v": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        m, v = state["m"], state["v"]
        m += 0.1 * (grad - m)
        v += 0.001 * (grad * grad - v)
        param -= learning_rate / (1 - 0.9**step) * m / (np.sqrt(v / (1 - 0.999**step)) + 1e-8)


class Plain(Traced):
    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


class Previous(Traced):
    """Keeps the parameter of the step before, and begins from one that is not zero."""

    def init_state(self, param):
        return {"old": np.full_like(param, 0.5)}

    def update(self, param, grad, state, learning_rate, step):
        before = param.copy()
        param += 0.1 * (param - state["old"]) - learning_rate * grad
        state["old"][...] = before


class Adagrad(Traced):
    def init_state(self, param):
        return {"sum": np.full_like(param, 0.1)}

    def update(self, param, grad, state, learning_rate, step):
        state["sum"] += np.square(grad)
        param -= learning_rate * grad / np.sqrt(state["sum"])


TRACED = [Lion, Adam, Plain, Previous, Adagrad]


def data(dtype="float64"):
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, FIRST)).astype(dtype), rng.integers(0, LAST, ROWS)


def trained(optimizer, dtype="float64", threads=1, epochs=4):
    x, y = data(dtype)
    layers = [Dense(19, "tanh"), BatchNorm(), Dense(LAST, "softmax")]
    net = fm.Sequential(layers, input_dim=FIRST, dtype=dtype, seed=2)
    net.compile(optimizer, "sparse_categorical_crossentropy")
    with fm.num_threads(threads):
        net.fit(x, y, epochs=epochs, batch_size=32, verbose=0)
    return net


def weights(net):
    return np.concatenate([value.ravel() for value in net.parameters.values()])


def in_numpy(cls):
    return type(cls.__name__, (cls,), {"elementwise": False})


@pytest.mark.parametrize("cls", TRACED)
def test_traced_optimizers_train_as_in_numpy(cls):
    assert execution_of(cls(0.01)).mode == "traced"
    assert execution_of(in_numpy(cls)(0.01)).mode == "python"
    np.testing.assert_allclose(
        weights(trained(cls(0.01))), weights(trained(in_numpy(cls)(0.01))), rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("cls", TRACED)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(cls, dtype):
    first = weights(trained(cls(0.01), dtype))
    for threads in (2, 3):
        assert first.tobytes() == weights(trained(cls(0.01), dtype, threads)).tobytes()


def test_a_traced_adam_is_the_built_in_one():
    np.testing.assert_allclose(
        weights(trained(Adam(0.01))), weights(trained(fm.optimizers.Adam(0.01))), rtol=1e-9, atol=1e-11
    )


def test_the_learning_rate_may_be_a_schedule_and_change():
    def rate(step):
        return 0.01 / step

    expected, found = (trained(cls(rate)) for cls in (in_numpy(Lion), Lion))
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-10)
    for net in (expected, found):
        net.optimizer.learning_rate = 0.5
        net.train_on_batch(*data())
    np.testing.assert_allclose(weights(found), weights(expected), rtol=1e-10)


def test_a_setting_that_changes_holds_from_the_next_step():
    nets = [trained(cls(0.01)) for cls in (in_numpy(Lion), Lion)]
    for net in nets:
        net.optimizer.beta_1 = 0.2
        for _ in range(3):
            net.train_on_batch(*data())
    np.testing.assert_allclose(weights(nets[1]), weights(nets[0]), rtol=1e-10)


def test_state_is_kept_by_copies_and_pickles():
    fm.registry.optimizers.register("test_traced_optimizers.adam", Adam, override=True)
    net = trained(Adam(0.01))
    others = copy.deepcopy(net), pickle.loads(pickle.dumps(Adam(0.01)))
    assert execution_of(others[1]).mode == "traced"
    for one in (net, others[0]):
        one.train_on_batch(*data())
    assert weights(net).tobytes() == weights(others[0]).tobytes()


class Branches(Traced):
    def update(self, param, grad, state, learning_rate, step):
        if step > 2:
            param -= learning_rate * grad


class Mixes(Traced):
    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad / np.linalg.norm(grad)


class Replaces(Traced):
    def init_state(self, param):
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        state["m"] = grad
        param -= learning_rate * grad


class Four(Traced):
    def init_state(self, param):
        return {name: np.zeros_like(param) for name in "abcd"}

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * (grad + state["a"] + state["b"] + state["c"] + state["d"])


class Scalar(Traced):
    def init_state(self, param):
        return {"norm": np.zeros(())}

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


class Counts(Traced):
    calls = 0

    def update(self, param, grad, state, learning_rate, step):
        self.calls += 1
        param -= learning_rate * grad * self.calls


class Writes(Traced):
    def update(self, param, grad, state, learning_rate, step):
        grad *= 2
        param -= learning_rate * grad


@pytest.mark.parametrize(
    "cls, reason",
    [
        (Branches, "branches on data"),
        (Mixes, "norm"),
        (Replaces, "replaces an array of its state"),
        (Four, "at most 3"),
        (Scalar, "no array of the parameter's shape"),
        (Counts, "two calls do different things"),
        (Writes, "read-only"),
    ],
)
def test_what_can_not_be_traced_says_why(cls, reason):
    found = execution_of(cls(0.01))
    assert found.mode == "python"
    assert reason in found.reason


def test_summary_names_what_runs_in_python(capsys):
    trained(Branches(0.01), epochs=1).summary()
    assert "optimizer Branches" in capsys.readouterr().out
    trained(Lion(0.01), epochs=1).summary()
    assert "all operations run compiled" in capsys.readouterr().out
