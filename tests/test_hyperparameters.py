"""Hyper-parameters of optimizers: numbers or functions of the step, checked, for each form of an optimizer."""

import copy
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense
from fastmlp.optimizers import execution_of


def falling(step):
    return 0.9 / step


class Momentum(fm.optimizers.Optimizer):
    """As SGD, by a class of one's own."""

    hyperparameters = ("learning_rate", "momentum", "damping")
    elementwise = True

    def __init__(self, learning_rate=0.01, momentum=0.9, damping=0.5):
        super().__init__(learning_rate)
        self.momentum, self.damping = momentum, damping

    def init_state(self, param):
        return {"v": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        v = state["v"]
        v *= self.momentum
        v -= (1 - self.damping) * learning_rate * grad
        param += v


class InNumPy(Momentum):
    elementwise = False


# -- values ----------------------------------------------------------------------------------------------------------


def test_each_class_declares_them_in_the_order_of_its_kernel():
    assert fm.optimizers.Optimizer.hyperparameters == ("learning_rate",)
    assert fm.optimizers.SGD.hyperparameters == ("learning_rate", "momentum")
    assert fm.optimizers.Adam.hyperparameters == ("learning_rate", "beta_1", "beta_2", "epsilon")


def test_values_at_a_step():
    adam = fm.optimizers.Adam(lambda step: 0.1 / step, beta_1=falling, epsilon=1e-7)
    assert adam.hyperparameters_at(3) == [0.1 / 3, 0.9 / 3, 0.999, 1e-7]
    assert adam.hyperparameters_at(2, ["epsilon", "beta_1"]) == [1e-7, 0.45]
    assert adam.learning_rate_at(4) == 0.025
    assert adam.scheduled() == {"beta_1": falling}
    assert fm.optimizers.SGD(0.5).hyperparameters_at(1) == [0.5, 0.0]
    assert Momentum(momentum=falling).hyperparameters_at(2) == [0.01, 0.45, 0.5]


def test_they_may_be_set_at_any_time():
    sgd = fm.optimizers.SGD(0.1)
    sgd.learning_rate *= 0.5
    sgd.momentum = falling
    assert sgd.hyperparameters_at(2) == [0.05, 0.45]
    sgd.momentum = 0.25
    assert sgd.momentum == 0.25
    assert sgd == fm.optimizers.SGD(0.05, 0.25)
    for twin in (copy.deepcopy(sgd), pickle.loads(pickle.dumps(sgd))):
        assert twin == sgd and twin.hyperparameters_at(1) == [0.05, 0.25]


WRONG = {
    "learning_rate": ((-1.0, ValueError), (np.nan, ValueError), ("fast", TypeError), (None, TypeError)),
    "beta_1": ((1.0, ValueError), (-0.1, ValueError), ("x", TypeError)),
    "epsilon": ((-1e-9, ValueError), (True, TypeError)),
}


@pytest.mark.parametrize(
    ("name", "value", "error"), [(name, *pair) for name, pairs in WRONG.items() for pair in pairs], ids=str
)
def test_values_are_checked_when_they_are_set_and_when_a_function_gives_them(name, value, error):
    adam = fm.optimizers.Adam()
    with pytest.raises(error, match=name):
        setattr(adam, name, value)
    assert adam == fm.optimizers.Adam()
    setattr(adam, name, lambda step: value)
    with pytest.raises(error, match=name):
        adam.hyperparameters_at(1)


def test_values_of_ones_own_must_be_finite_numbers():
    for value, error in ((np.inf, ValueError), ("x", TypeError)):
        with pytest.raises(error, match="momentum"):
            Momentum(momentum=lambda step, value=value: value).hyperparameters_at(1)
    assert Momentum(momentum=lambda step: -0.5).hyperparameters_at(1)[1] == -0.5


def test_one_that_was_never_set_is_an_attribute_error():
    bare = fm.optimizers.Adam.__new__(fm.optimizers.Adam)
    with pytest.raises(AttributeError, match="beta_1"):
        _ = bare.beta_1


def test_numbers_for_an_update():
    """A copy with the values of a step, where there is a function; else the object itself."""
    sgd = fm.optimizers.SGD(0.1, falling)
    at = sgd.at_step(2)
    assert at.momentum == 0.45
    assert sgd.momentum is falling
    assert fm.optimizers.SGD(0.1, 0.9).at_step(2).momentum == 0.9
    plain = Momentum()
    assert plain.at_step(7) is plain


BUILT_INS = [fm.registry.optimizers.resolve(name) for name in fm.registry.optimizers.builtins()]
SCHEDULED = [(cls, name) for cls in BUILT_INS for name in (*cls.hyperparameters, "weight_decay")]


@pytest.mark.parametrize("cls, name", SCHEDULED)
def test_each_may_be_a_function_of_the_step(cls, name):
    """Of every built-in; compiled as in NumPy, and a constant function does what its value does."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    base = {"momentum": 0.5} if name == "momentum" else {}
    usual = getattr(cls(**base), name)

    def trained(cls, value):
        net = fm.Sequential([Dense(5, "tanh"), Dense(2)], input_dim=3, seed=1, dtype="float64")
        net.compile(cls(**{**base, name: value}), "mse")
        net.fit(x, y, epochs=4, batch_size=16, verbose=0)
        return np.concatenate([array.ravel() for array in net.parameters.values()])

    def changing(step):
        return 0.5 * usual * (1 + 1 / step) + (0.1 / step if name == "weight_decay" else 0.0)

    in_numpy = type(cls.__name__, (cls,), {"elementwise": False})
    np.testing.assert_allclose(trained(cls, changing), trained(in_numpy, changing), rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(trained(cls, lambda step: usual), trained(cls, usual), rtol=1e-10, atol=1e-13)
    assert not np.allclose(trained(cls, changing), trained(cls, usual), rtol=1e-13, atol=0)


@pytest.mark.parametrize("cls, name", SCHEDULED)
def test_each_may_change_between_steps(cls, name):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 2))
    given = {"momentum": 0.5} if name == "momentum" else {}
    in_numpy = type(cls.__name__, (cls,), {"elementwise": False})
    nets = []
    for kind in (cls, in_numpy):
        net = fm.Sequential([Dense(5, "tanh"), Dense(2)], input_dim=3, seed=1, dtype="float64")
        net.compile(kind(**given), "mse")
        for value in (0.25, 0.5, 0.125):
            net.train_on_batch(x, y)
            setattr(net.optimizer, name, value)
            net.train_on_batch(x, y)
        nets.append(net)
    for key, array in nets[0].parameters.items():
        np.testing.assert_allclose(array, nets[1].parameters[key], rtol=1e-10, atol=1e-13)


@pytest.mark.parametrize(
    "make, name",
    [
        (lambda: fm.optimizers.RMSprop(), "centered"),
        (lambda: fm.optimizers.Adam(), "amsgrad"),
        (lambda: fm.optimizers.AdamW(amsgrad=True), "amsgrad"),
        (lambda: fm.optimizers.RMSprop(), "momentum"),
    ],
)
def test_settings_that_decide_on_state_are_settled_by_it(make, name):
    optimizer = make()
    before = getattr(optimizer, name)
    setattr(optimizer, name, not before if isinstance(before, bool) else 0.5)
    optimizer = make()
    net = fm.Sequential([Dense(2)], input_dim=3)
    net.compile(optimizer, "mse")
    with pytest.raises(AttributeError, match=f"{name}: can't become .* compiled with {name}={before}"):
        setattr(optimizer, name, not before if isinstance(before, bool) else 0.5)
    setattr(optimizer, name, before)
    assert optimizer == make()


# -- how they run ----------------------------------------------------------------------------------------------------


def test_what_built_in_kernels_read():
    found = execution_of(fm.optimizers.SGD(momentum=0.9, nesterov=True))
    assert (found.mode, *found.kernel[:5]) == ("builtin", "sgd", ("learning_rate", "momentum"), 1, True, True)
    assert execution_of(fm.optimizers.SGD()).kernel[2:4] == (0, False)
    found = execution_of(fm.optimizers.Adam())
    assert found.kernel[:3] == ("adam", ("learning_rate", "beta_1", "beta_2", "epsilon"), 2)
    assert execution_of(fm.optimizers.Adam(beta_2=falling)) == found


def test_a_velocity_is_kept_where_the_momentum_is_a_function():
    sgd = fm.optimizers.SGD(momentum=lambda step: 0.0)
    assert execution_of(sgd).kernel.has_velocity
    assert list(sgd.init_state(np.zeros(2))) == ["velocity"]
    param, state = np.ones(2), {"velocity": np.full(2, 5.0)}
    sgd.at_step(1).update(param, np.ones(2), state, 0.5, 1)
    assert param.tolist() == [0.5, 0.5] and state["velocity"].tolist() == [-0.5, -0.5]


def test_functions_become_scalars_of_a_traced_program_and_numbers_constants():
    plain, one, two = (
        execution_of(Momentum(**given))
        for given in ({}, {"momentum": falling}, dict(momentum=falling, damping=falling))
    )
    assert [found.mode for found in (plain, one, two)] == ["traced"] * 3
    assert plain.kernel.hyperparameters == ("learning_rate",)
    assert plain.kernel.program.scalars == ("learning_rate", "step")
    assert one.kernel.hyperparameters == ("learning_rate", "momentum")
    assert one.kernel.program.scalars == ("learning_rate", "step", "momentum")
    assert two.kernel.program.scalars == ("learning_rate", "step", "momentum", "damping")
    assert two.kernel.slots == 1


def test_a_program_with_functions_does_what_numpy_does(dtype):
    optimizer = Momentum(0.1, falling, lambda step: 0.1 * step)
    kernel = execution_of(optimizer).kernel
    program = kernel.program.load(dtype)
    rng = np.random.default_rng(0)
    param, v = rng.normal(size=(2, 50)).astype(dtype)
    expected, state = param.copy(), {"v": v.copy()}
    for step in range(1, 5):
        grad = rng.normal(size=50).astype(dtype)
        rate, *others = optimizer.hyperparameters_at(step, kernel.hyperparameters)
        program.run([param, grad, v], [param, v], (rate, step, *others))
        optimizer.at_step(step).update(expected, grad, state, rate, step)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    np.testing.assert_allclose(param, expected, rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(v, state["v"], rtol=tolerance, atol=tolerance)


def test_a_traced_update_may_read_its_own_learning_rate():
    """It is the one of the step, not the one that was set when it was traced."""

    class Own(fm.optimizers.Optimizer):
        elementwise = True

        def update(self, param, grad, state, learning_rate, step):
            param -= self.learning_rate * grad

    optimizer = Own(0.5)
    program = execution_of(optimizer).kernel.program.load(np.dtype("f8"))
    param = np.ones(3)
    program.run([param, np.ones(3)], [param], (0.25, 1.0))
    assert param.tolist() == [0.75] * 3
    assert vars(optimizer) == vars(Own(0.5))


def test_an_update_that_changes_itself_is_not_traced():
    class Counts(Momentum):
        def update(self, param, grad, state, learning_rate, step):
            self.calls = getattr(self, "calls", 0) + 1
            super().update(param, grad, state, learning_rate, step)

    optimizer = Counts()
    assert execution_of(optimizer).reason == "it changes its own attributes when it is called"
    assert not hasattr(optimizer, "calls")


def test_a_function_in_python_is_asked_at_each_step():
    """Each update gets the numbers of its step."""
    x, y = np.random.default_rng(1).normal(size=(2, 30, 3))
    nets = []
    for momentum in (falling, 0.9):
        net = fm.Sequential([Dense(3)], input_dim=3, dtype="float64", seed=0)
        net.compile(InNumPy(0.05, momentum), "mse")
        nets.append(net)
    for step in range(1, 4):
        nets[1].optimizer.momentum = falling(step)
        for net in nets:
            net.train_on_batch(x, y)
    for key, view in nets[0].parameters.items():
        np.testing.assert_array_equal(view, nets[1].parameters[key])
