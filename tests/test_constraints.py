"""Constraints: values worked by hand, their place in a step, what is kept where a step fails, files and copies."""

import contextlib
import copy
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import constraints as C
from fastmlp.layers import BatchNorm, Dense, LayerNorm, RMSNorm

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(24, 5)), RNG.normal(size=(24, 3))
W = [[3.0, 0.0, 0.3, -0.6], [-4.0, 0.0, 0.4, 0.8]]  # columns of length 5, 0, 0.5 and 1
BY_HAND = [
    (C.NonNeg(), [[3.0, 0.0, 0.3, 0.0], [0.0, 0.0, 0.4, 0.8]]),
    (C.MaxNorm(), [[1.2, 0.0, 0.3, -0.6], [-1.6, 0.0, 0.4, 0.8]]),
    (C.MaxNorm(0.5), [[0.3, 0.0, 0.3, -0.3], [-0.4, 0.0, 0.4, 0.4]]),
    (C.MaxNorm(0.0), [[0.0] * 4] * 2),
    (C.MaxNorm(1.0, axis=1), (np.array(W) / [[9.45**0.5], [16.8**0.5]]).tolist()),
    (C.MaxNorm(1.0, axis=(0, 1)), (np.array(W) / 26.25**0.5).tolist()),
    (C.UnitNorm(), [[0.6, 0.0, 0.6, -0.6], [-0.8, 0.0, 0.8, 0.8]]),
    (C.MinMaxNorm(0.75, 2.0), [[1.2, 0.0, 0.45, -0.6], [-1.6, 0.0, 0.6, 0.8]]),
    (C.MinMaxNorm(0.75, 2.0, rate=0.5), [[2.1, 0.0, 0.375, -0.6], [-2.8, 0.0, 0.5, 0.8]]),
    (C.MinMaxNorm(0.0, 1.0, axis=-2), [[0.6, 0.0, 0.3, -0.6], [-0.8, 0.0, 0.4, 0.8]]),
]  # fmt: skip


@pytest.mark.parametrize(("constraint", "expected"), BY_HAND, ids=lambda value: repr(value) if callable(value) else "")
def test_values_worked_by_hand(constraint, expected, dtype):
    w = np.array(W, dtype)
    given = w.copy()
    w.flags.writeable = False
    result = constraint(w)
    assert result.dtype == dtype and result.shape == w.shape
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=0)
    np.testing.assert_array_equal(w, given)


@pytest.mark.parametrize("constraint", [C.NonNeg(), C.MaxNorm(2), C.MinMaxNorm(0, 2)], ids=repr)
def test_what_is_allowed_keeps_its_bits(constraint, dtype):
    w = np.abs(np.random.default_rng(1).normal(size=(7, 9)) / 10).astype(dtype)
    assert constraint(w).tobytes() == w.tobytes()


@pytest.mark.parametrize("name", fm.registry.constraints.builtins())
def test_no_number_is_too_large_or_too_small(name, dtype):
    largest, least = np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal
    for value in (largest, least, -largest):
        result = C.get(name)(np.full((3, 2), value, dtype))
        assert np.isfinite(result).all()
        if name == "unit_norm":
            np.testing.assert_allclose(np.abs(result), 3**-0.5, rtol=1e-6)


def test_defaults_are_those_of_keras():
    assert C.MaxNorm().get_config() == {"max_value": 2, "axis": 0}
    assert C.UnitNorm().get_config() == {"axis": 0}
    assert C.MinMaxNorm().get_config() == {"min_value": 0.0, "max_value": 1.0, "rate": 1.0, "axis": 0}
    assert C.NonNeg().get_config() == {}


WRONG = [
    (lambda: C.MaxNorm(-1), ValueError, "max_value"),
    (lambda: C.MaxNorm(axis=0.5), TypeError, "axis"),
    (lambda: C.MaxNorm(axis=()), ValueError, "axis"),
    (lambda: C.MinMaxNorm(2, 1), ValueError, "min_value"),
    (lambda: C.MinMaxNorm(rate=1.5), ValueError, "rate"),
    (lambda: C.UnitNorm(axis=1)(np.ones(3)), ValueError, "axis"),
    (lambda: C.UnitNorm(axis=(0, -2))(np.ones((3, 2))), ValueError, "axis"),
    (lambda: Dense(2, kernel_constraint="max-norm"), fm.UnknownNameError, "max_norm"),
    (lambda: Dense(2, kernel_constraint=np.abs), TypeError, "fm.constraints.Constraint"),
]


@pytest.mark.parametrize(("make", "error", "word"), WRONG)
def test_what_makes_no_sense_is_refused(make, error, word):
    with pytest.raises(error, match=word):
        make()


# -- in networks -------------------------------------------------------------------------------------------------------


class Own(fm.optimizers.Optimizer):
    """Runs in NumPy."""

    def init_state(self, param):
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        state["m"] += grad
        param -= learning_rate * state["m"]


OPTIMIZERS = {
    "sgd": lambda: fm.optimizers.SGD(0.3, 0.5),
    "adam": lambda: fm.optimizers.Adam(0.1),
    "rmsprop": lambda: fm.optimizers.RMSprop(0.1),  # traced
    "own": lambda: Own(0.1),
    "clipped": lambda: fm.optimizers.Adam(fm.schedules.CosineDecay(0.1, 5), global_clipnorm=0.01),
    "clipped, own": lambda: Own(0.1, clipnorm=0.01),
}
CONSTRAINED = ["0.kernel", "0.bias", "1.gamma", "1.beta", "2.gamma", "3.kernel"]


def network(constraint, optimizer="adam", seed=1, dtype="float64", bias="zeros"):
    layers = [
        Dense(6, "tanh", kernel_constraint=constraint, bias_constraint=constraint, bias_initializer=bias),
        BatchNorm(gamma_constraint=constraint, beta_constraint=constraint),
        RMSNorm(gamma_constraint=constraint),
        Dense(3, kernel_constraint=constraint),
    ]
    net = fm.Sequential(layers, input_dim=5, seed=seed, dtype=dtype)
    net.compile(OPTIMIZERS[optimizer](), "mse")
    return net


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("constraint", [C.NonNeg(), C.MaxNorm(0.3), C.UnitNorm()], ids=repr)
def test_they_come_right_after_the_update(constraint, optimizer, contents):
    """A step is that of the same network without them, and then the constraint; all else is the same, bit for bit."""
    net, plain = network(constraint, optimizer), network(None, optimizer)
    for _ in range(3):
        logs = net.train_on_batch(X, Y)
        assert logs == plain.train_on_batch(X, Y)
        for key in CONSTRAINED:
            plain.parameters[key] = constraint(plain.parameters[key])
        assert contents(net) == contents(plain)
    assert net.parameters["3.bias"].any()


@pytest.mark.parametrize("make", [fm.optimizers.SGD, fm.optimizers.Adam, fm.optimizers.RMSprop, Own])
@pytest.mark.parametrize("every", [None, 2])
def test_averages_are_of_constrained_weights(make, every):
    net, plain = network(C.MaxNorm(0.3)), network(None)
    for one in (net, plain):
        averaged = make(0.1, use_ema=True, ema_momentum=0.75, ema_overwrite_frequency=every)
        one.compile(averaged if one is net else make(0.1), "mse")
    average = {key: state["average"].copy() for key, state in net.optimizer_state.items()}
    for step in (1, 2, 3):
        net.train_on_batch(X, Y)
        plain.train_on_batch(X, Y)
        for key, w in plain.parameters.items():
            if key in CONSTRAINED:
                plain.parameters[key] = C.MaxNorm(0.3)(w)
            average[key] = 0.75 * average[key] + 0.25 * w
            if every and step % every == 0:
                plain.parameters[key] = average[key]
            np.testing.assert_allclose(net.optimizer_state[key]["average"], average[key], rtol=1e-9, atol=1e-12)
            np.testing.assert_allclose(net.parameters[key], plain.parameters[key], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_way_to_train_constrains(optimizer, contents):
    nets = [network(C.MaxNorm(0.3), optimizer) for _ in range(4)]
    fit, batches, apply, threads = nets
    fit.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    with fm.num_threads(3):
        threads.fit(X, Y, batch_size=8, shuffle=False, verbose=0)
    for at in range(0, 24, 8):
        batches.train_on_batch(X[at : at + 8], Y[at : at + 8])
        _, gradients = apply.loss_and_gradients(X[at : at + 8], Y[at : at + 8])
        apply.apply_gradients(gradients)
    assert contents(fit) == contents(threads) == contents(batches) == contents(apply)
    assert np.linalg.norm(fit.parameters["0.kernel"], axis=0).max() <= 0.3 + 1e-12


def test_what_is_not_trained_is_left_alone():
    net = network(C.UnitNorm())
    net.layers[0].trainable = False
    before = {key: array.copy() for key, array in net.parameters.items()}
    net.train_on_batch(X, Y)
    np.testing.assert_array_equal(net.parameters["0.kernel"], before["0.kernel"])
    np.testing.assert_allclose(np.linalg.norm(net.parameters["3.kernel"], axis=0), 1)
    net.layers[0].trainable = True
    net.train_on_batch(X, Y)
    np.testing.assert_allclose(np.linalg.norm(net.parameters["0.kernel"], axis=0), 1)


def test_first_values_are_as_they_are_drawn():
    for key, array in network(C.NonNeg()).parameters.items():
        np.testing.assert_array_equal(array, network(None).parameters[key])


class Broken(C.Constraint):
    """Gives something else from its second call on."""

    def __init__(self, wrong=None):
        self.wrong = wrong
        self.calls = 0

    def __call__(self, w):
        self.calls += 1
        return w if self.calls < 2 else self.wrong(w)


def raises(w):
    raise RuntimeError("mine")


def stops(w):
    raise KeyboardInterrupt


def writes(w):
    w[...] = 0
    return w


FAILURES = {
    "NaN": (
        lambda w: w * np.nan,
        fm.NonFiniteError,
        r"NaN or infinity from constraint Broken.* of 0\.kernel at step 2",
    ),
    "a shape": (lambda w: w[:1], ValueError, r"constraint Broken.* of 0\.kernel: expected an array of shape \(5, 6\)"),
    "None": (lambda w: None, TypeError, "constraint Broken"),
    "complex": (lambda w: w * 1j, TypeError, "constraint Broken"),
    "an error": (raises, RuntimeError, "mine"),
    "Ctrl-C": (stops, KeyboardInterrupt, "^$"),
    "a write": (writes, ValueError, "read-only"),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("case", FAILURES)
def test_a_step_that_fails_changes_nothing(case, optimizer, contents):
    wrong, error, words = FAILURES[case]
    broken = Broken(wrong)
    net = fm.Sequential([Dense(6, "tanh", kernel_constraint=broken), BatchNorm(), Dense(3)], input_dim=5, seed=1)
    net.compile(OPTIMIZERS[optimizer](), "mse")
    net.train_on_batch(X, Y)
    before, twin = contents(net), copy.deepcopy(net)
    with pytest.raises(error, match=words):
        net.train_on_batch(X, Y)
    assert contents(net) == before
    twin.layers[0].kernel_constraint.calls = broken.calls = -99
    for each in (net, twin):
        each.train_on_batch(X, Y)
    assert contents(net) == contents(twin)


def test_an_update_that_gives_infinity_is_told_as_without(contents):
    net = network(C.MaxNorm(1.0), "sgd", dtype="float32")
    net.train_on_batch(X, Y)
    before = contents(net)
    net.optimizer.learning_rate = 1e39
    with pytest.raises(fm.NonFiniteError, match=r"the update of '.*' gives NaN or infinity at step 2"):
        net.train_on_batch(X, Y)
    assert contents(net) == before


def test_files_and_copies_go_on_with_them(tmp_path, contents):
    net = network({"name": "max_norm", "max_value": 0.4, "axis": (0,)})
    net.train_on_batch(X, Y)
    net.save(tmp_path / "net")
    others = [fm.load(tmp_path / "net"), copy.deepcopy(net), pickle.loads(pickle.dumps(net))]
    net.train_on_batch(X, Y)
    for other in others:
        assert other.layers[0].kernel_constraint == C.MaxNorm(0.4, (0,))
        other.train_on_batch(X, Y)
        assert contents(other) == contents(net)


def test_a_setting_of_one_holds_from_the_next_step_on():
    net = network(C.MaxNorm(0.5))
    net.train_on_batch(X, Y)
    net.layers[0].kernel_constraint.max_value = 0.25
    net.train_on_batch(X, Y)
    assert np.linalg.norm(net.parameters["0.kernel"], axis=0).max() <= 0.25 + 1e-12
    with pytest.raises(AttributeError, match="kernel_constraint"):
        net.layers[0].kernel_constraint = None


class Half(C.Constraint):
    def __call__(self, w):
        return w / 2


def test_one_of_ones_own_and_a_layer_of_ones_own(register, tmp_path, contents):
    class Shift(fm.layers.Layer):
        def __init__(self, shift_constraint=None, name=None, trainable=True):
            super().__init__(name=name, trainable=trainable)
            self.shift_constraint = None if shift_constraint is None else C.get(shift_constraint)

        def build(self, input_dim):
            self.add_parameter("shift", (input_dim,), "ones")
            return input_dim

        def forward(self, x, *, training, rng):
            return x + self.parameters["shift"], lambda dy: (dy, {"shift": dy.sum(axis=0)})

    register("constraints", "half", Half)
    register("layers", "shift", Shift)
    net, plain = (fm.Sequential([Shift(c), Dense(3)], input_dim=5, seed=0, dtype="float64") for c in ("half", None))
    for each in (net, plain):
        each.compile("sgd", "mse")
        each.train_on_batch(X, Y)
    np.testing.assert_array_equal(net.parameters["0.shift"], plain.parameters["0.shift"] / 2)
    net.save(tmp_path / "net")
    assert fm.load(tmp_path / "net").layers[0].shift_constraint == Half()
    with pytest.raises(NotImplementedError, match="Constraint has no __call__"):
        C.Constraint()(np.ones(2))


def test_the_summary_the_plan_and_the_profile_name_them():
    net = network(C.MaxNorm(0.5))
    text = repr(net)
    assert "in Python (NumPy):\n  constraint MaxNorm(max_value=0.5) of 0.kernel\n" in text
    found = [operation for operation in net.plan(24, training=True) if operation.python]
    assert len(found) == 1 and "MaxNorm(max_value=0.5) of 3.kernel" in found[0].python
    assert found[0].section == "commit" and not found[0].compiled
    with contextlib.redirect_stdout(None):
        assert len(net.profile(X, Y, repeats=1)) == len(net.plan(24, training=True))
    assert "all operations run compiled" in repr(network(None))


@pytest.mark.parametrize("layer", [LayerNorm, BatchNorm])
def test_scales_of_normalization(layer):
    net = fm.Sequential([layer(gamma_constraint="non_neg", beta_constraint=C.MaxNorm(0.01)), Dense(3)], input_dim=5)
    net.compile(fm.optimizers.SGD(50.0), "mse")
    net.train_on_batch(X, Y)
    assert (net.parameters["0.gamma"] >= 0).all() and (net.parameters["0.gamma"] == 0).any()
    assert np.linalg.norm(net.parameters["0.beta"]) == pytest.approx(0.01)
