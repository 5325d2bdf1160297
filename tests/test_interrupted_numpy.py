"""Ctrl-C where code of users runs in NumPy: all of before a step or all of after it, at every place."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from interrupter import in_thread, interrupted, places

import fastmlp as fm
from fastmlp._training.gradients import Gradients
from fastmlp.layers import BatchNorm, Dense, Dropout, Layer

ROWS, FEATURES, CLASSES, BATCH = 12, 4, 3, 4
RNG = np.random.default_rng(6)
X, Y = RNG.normal(size=(ROWS, FEATURES)).astype("f4"), RNG.integers(0, CLASSES, ROWS)
TARGETS = np.eye(CLASSES, dtype="f4")[Y]


class Centre(Layer):
    """Subtracts a running mean, which it keeps as a buffer, and adds a shift, which is learned."""

    def build(self, input_dim):
        self.add_buffer("mean", (input_dim,), 0.0)
        self.add_buffer("count", (1,), 0.0)
        self.add_parameter("shift", (input_dim,), "zeros")
        return input_dim

    def forward(self, x, *, training, rng):
        if training:
            self.buffers["count"] += 1
            self.buffers["mean"] *= 0.9
            self.buffers["mean"] += 0.1 * x.mean(axis=0)

        def backward(d):
            return d, {"shift": d.sum(axis=0)}

        return x - self.buffers["mean"] + self.parameters["shift"], backward


class Branching(fm.activations.Activation):
    """A ReLU that looks at its data, and so can't be traced."""

    def forward(self, z):
        return np.maximum(z, 0) if z.any() else z

    def derivative(self, z, a):
        return (z > 0).astype(z.dtype)


class Momentum(fm.optimizers.Optimizer):
    """Keeps two arrays, one of them of another dtype and shape."""

    def init_state(self, param):
        return {"v": np.zeros_like(param), "n": np.zeros(1, np.int64)}

    def update(self, param, grad, state, learning_rate, step):
        state["n"] += 1
        state["v"] *= 0.9
        state["v"] += grad
        param -= learning_rate * state["v"]


class Squares(fm.losses.Loss):
    recordable = False

    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return (d * d).sum(axis=1), 2 * d


class Weights(fm.regularizers.Regularizer):
    recordable = False

    def value_and_gradient(self, w):
        return 0.01 * float((w * w).sum()), 0.02 * w


class Largest(fm.metrics.Metric):
    def reset(self):
        self.most = 0.0

    def update(self, y_true, y_pred, weight):
        self.most = max(self.most, float(np.abs(y_pred - y_true).max()))

    def result(self):
        return self.most


class Ramp(fm.initializers.Initializer):
    def __call__(self, shape, rng, dtype):
        return np.linspace(-1, 1, int(np.prod(shape)), dtype=dtype).reshape(shape)


def falling(step):
    return 0.01 / step


class Own(fm.constraints.Constraint):
    def __call__(self, w):
        return np.where(w > 0, w / (1 + w), w)


def everything():
    layers = [
        Dense(5, kernel_initializer=Ramp(), kernel_regularizer=Weights(), bias_constraint=Own()),
        Centre(),
        BatchNorm(),
    ]
    return [*layers, fm.layers.Activation(Branching()), Dropout(0.2), Dense(CLASSES)]


MAKERS = {
    "a layer": lambda: ([Dense(5, "relu"), Centre(), Dense(CLASSES)], "adam", "mse", ()),
    "an activation": lambda: ([Dense(5, Branching()), BatchNorm(), Dense(CLASSES)], "adam", "mse", ()),
    "an optimizer": lambda: ([Dense(5, "relu"), BatchNorm(), Dense(CLASSES)], Momentum(0.01), "mse", ()),
    "a loss": lambda: ([Dense(5, "relu"), BatchNorm(), Dense(CLASSES)], "adam", Squares(), ()),
    "a metric": lambda: ([Dense(5, "relu"), BatchNorm(), Dense(CLASSES)], "adam", "mse", [Largest()]),
    "a schedule": lambda: ([Dense(5, "relu"), BatchNorm(), Dense(CLASSES)], fm.optimizers.Adam(falling), "mse", ()),
    "a constraint": lambda: (
        [Dense(5, "relu", kernel_constraint=Own()), BatchNorm(), Dense(CLASSES)],
        "adam",
        "mse",
        (),
    ),
    "everything": lambda: (everything(), Momentum(falling), Squares(), [Largest()]),
}


def network(kind, *, built=True, steps=1):
    layers, optimizer, loss, metrics = MAKERS[kind]()
    net = fm.Sequential(layers, input_dim=FEATURES if built else None, seed=2)
    net.compile(optimizer, loss, metrics)
    for _ in range(steps if built else 0):
        net.train_on_batch(X, TARGETS)
    return net


class Looks(fm.callbacks.Callback):
    """Uses the network between its steps."""

    def on_train_batch_end(self, batch, logs=None):
        self.model.predict(X[:2])
        self.model.evaluate(X[:4], TARGETS[:4])


def fit(net, callbacks=()):
    net.fit(X, TARGETS, batch_size=BATCH, shuffle=False, verbose=0, callbacks=callbacks)


def gradients(net):
    ones = {key: np.ones_like(array) for key, array in net.parameters.items()}
    return Gradients(ones, statistics={key: np.ones_like(array) for key, array in net.buffers.items()})


def steps_of_fit(net, number):
    net.train_on_batch(X[number * BATCH :][:BATCH], TARGETS[number * BATCH :][:BATCH])


CALLS = {  # each with what its steps are, one after the other
    "train_on_batch": (lambda net: net.train_on_batch(X, TARGETS), [lambda net: net.train_on_batch(X, TARGETS)]),
    "apply_gradients": (
        lambda net: net.apply_gradients(gradients(net)),
        [lambda net: net.apply_gradients(gradients(net))],
    ),
    "loss_and_gradients": (lambda net: net.loss_and_gradients(X, TARGETS), []),
    "vjp": (lambda net: net.vjp(X, training=True)[1](TARGETS), []),
    "evaluate": (lambda net: net.evaluate(X, TARGETS, batch_size=5), []),
    "fit": (fit, [partial(steps_of_fit, number=number) for number in range(3)]),
    "fit with callbacks": (lambda net: fit(net, [Looks()]), [partial(steps_of_fit, number=n) for n in range(3)]),
}


def wrong_after(make, call, steps, contents, stride=1):
    """What is wrong after an interruption of a call, at its places, which are numbered.

    A twin does the steps that the network has completed; both must have the same bits then, and the network be free.
    They go on from there, so that what an interruption has left behind shows in the next calls, too.
    """

    def state(net):
        return contents(net), net.engine.steps, net.engine.iterations

    net, twin = make(), make()
    for one in (net, twin):
        call(one)  # what is lowered in a first call is none of this
    wrong = []
    for at in places(stride):
        if not interrupted(at, lambda: call(net), folders=(__file__,)):
            break
        for step in steps:
            if state(net) != state(twin):
                step(twin)
        if state(net) != state(twin):
            return [*wrong, f"{at}: neither before nor after"]
        if in_thread(lambda: net.predict(X[:1])):
            return [*wrong, f"{at}: others can't use it any more"]
    assert at > 30, "nothing was traced"
    return wrong


CASES = [
    *((kind, "train_on_batch", 3) for kind in MAKERS),
    *(("an optimizer", name, 7) for name in ("apply_gradients", "fit")),
    *(("a layer", name, 7) for name in ("loss_and_gradients", "vjp", "evaluate", "fit")),
    *(("everything", name, 29 if name == "fit with callbacks" else 13) for name in CALLS if name != "train_on_batch"),
]


@pytest.mark.parametrize(("kind", "name", "stride"), CASES)
def test_a_step_is_kept_as_a_whole_or_not_at_all(kind, name, stride, contents):
    call, steps = CALLS[name]
    assert wrong_after(lambda: network(kind), call, steps, contents, stride) == []


def test_an_update_that_fails_is_taken_back(contents):
    """Half-way, by an error or by a state that it replaces: parameters, state and statistics are as before."""

    class Fails(Momentum):
        calls = 0

        def update(self, param, grad, state, learning_rate, step):
            super().update(param, grad, state, learning_rate, step)
            Fails.calls += 1
            if Fails.calls == 3:
                raise OSError("half-way")
            if Fails.calls == 4:
                state["n"] = state["n"] + 1

    layers = [Dense(5), Centre(), BatchNorm(), Dense(CLASSES)]
    net = fm.Sequential(layers, input_dim=FEATURES, seed=2)
    net.compile(Fails(0.1), "mse")
    before = contents(net)
    with pytest.raises(OSError, match="half-way"):
        net.train_on_batch(X, TARGETS)
    assert contents(net) == before and net.engine.steps == 0
    with pytest.raises(ValueError, match="state"):
        net.train_on_batch(X, TARGETS)
    assert contents(net) == before and net.engine.steps == 0
    net.train_on_batch(X, TARGETS)
    assert net.engine.steps == 1
    assert net.optimizer_state["0.kernel"]["n"] == 1


@pytest.mark.parametrize("kind", ["an optimizer", "everything"])
def test_an_interrupted_build_is_none(kind, contents):
    """Or a whole one: then there is state of the optimizer, too."""
    whole = network(kind, steps=0)
    for at in places(17):
        net = network(kind, built=False)
        if not interrupted(at, lambda net=net: net.build(FEATURES), folders=(__file__,)):
            break
        assert net.built in (False, True)
        if net.built:
            assert contents(net) == contents(whole)
        twin = network(kind, steps=0)
        for one in (net, twin):
            one.train_on_batch(X, TARGETS)
        assert contents(net) == contents(twin)
    assert at > 30


@pytest.mark.parametrize("kind", ["an optimizer", "everything", "a layer"])
@pytest.mark.parametrize("optimizer", ["sgd", Momentum])
def test_an_interrupted_compile_is_none(kind, optimizer, contents):
    """Or a whole one: the optimizer's state goes with the optimizer, and the counter of its steps with both."""

    def compile_it(net):
        net.compile(optimizer if isinstance(optimizer, str) else optimizer(0.3), "mean_absolute_error", ["mse"])

    for at in places(11):
        net, before, after = network(kind), network(kind), network(kind)
        compile_it(after)
        old = net.optimizer
        if not interrupted(at, lambda net=net: compile_it(net), folders=(__file__,)):
            break
        twin = before if net.optimizer is old else after
        assert type(net.loss) is type(twin.loss) and len(net.metrics) == len(twin.metrics)
        assert net.engine.counters() == twin.engine.counters()
        assert contents(net) == contents(twin)
        assert net.train_on_batch(X, TARGETS) == twin.train_on_batch(X, TARGETS)
        assert contents(net) == contents(twin)
    assert at > 20


def test_real_signals_at_random_moments(tmp_path):
    """The script that sends thousands of them, in a short form."""
    script = Path(__file__).parent.parent / "build_support" / "interrupts.py"
    command = [sys.executable, script, "--times", "60", "--only", "train_on_batch,apply_gradients,fit"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "60 signals" in done.stdout
    assert "within" in done.stdout
