"""The conformance kit: what is right passes, and each broken thing is caught by the check that is meant for it."""

import itertools
import re
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import testing

KINDS = ("activations", "constraints", "initializers", "losses", "metrics", "optimizers", "regularizers")
BUILTIN = [(kind, name) for kind in KINDS for name in getattr(fm.registry, kind).builtins()]
L = fm.layers


@pytest.mark.parametrize("kind, name", BUILTIN)
def test_builtins_conform(kind, name):
    testing.check(name, kind=kind)


MADE = [
    *(L.Dense(4, "tanh"), L.Dense(3, use_bias=False), L.Activation("softmax"), L.BatchNorm(), L.Dropout(0.3)),
    *(fm.activations.ReLU(0.5), fm.activations.LeakyReLU(-0.3), fm.initializers.RandomNormal(0.1)),
    *(fm.optimizers.RMSprop(momentum=0.9, centered=True), fm.optimizers.Adam(amsgrad=True)),
    *(fm.optimizers.SGD(0.1, 0.9, nesterov=True), fm.losses.CategoricalCrossentropy(from_logits=True)),
    fm.losses.BinaryCrossentropy(from_logits=True),
    fm.schedules.CosineDecay(0.1, 100, warmup_target=0.2, warmup_steps=5),
    fm.schedules.CosineDecayRestarts(0.1, 10),
    fm.schedules.OneCycle(0.1, 100),
    fm.schedules.PiecewiseConstantDecay([1, 5], [0.3, 0.2, 0.1]),
    fm.schedules.Sequence([fm.schedules.Linear(0, 0.1, 2), fm.schedules.CosLog4(0.1, 50)], [2]),
]


@pytest.mark.parametrize("made", MADE, ids=repr)
def test_instances_conform(made):
    testing.check(made)


# -- what is right, in NumPy -------------------------------------------------------------------------------------------


class Cube(fm.activations.Activation):
    def __init__(self, scale=1.0):
        self.scale = scale

    def forward(self, z):
        return self.scale * z**3

    def derivative(self, z, a):
        return 3 * self.scale * z * z


class Log(fm.activations.Activation):
    conformance: ClassVar = {"domain": (0.5, 4.0)}

    def forward(self, z):
        return np.log(z)

    def derivative(self, z, a):
        return 1 / z


class Sparse(fm.activations.Activation):  # rows, with kinks
    elementwise = False

    def forward(self, z):
        return np.maximum(z - z.mean(axis=-1, keepdims=True), 0) + np.where(np.isnan(z), z, 0)

    def backward(self, z, a, da):
        d = np.where(a > 0, da, 0)
        return d - d.mean(axis=-1, keepdims=True)


class Momentum(fm.optimizers.Optimizer):
    elementwise = True

    def init_state(self, param):
        return {"m": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        state["m"] *= 0.5
        state["m"] += grad
        param -= learning_rate * state["m"]


class Scaled(L.Layer):
    def build(self, input_dim):
        self.add_parameter("scale", (input_dim,), "ones")
        return input_dim

    def forward(self, x, *, training, rng):
        scale = self.parameters["scale"]
        return x * scale, lambda dy: (dy * scale, {"scale": (dy * x).sum(axis=0)})


class Noise(L.Layer):
    def forward(self, x, *, training, rng):
        return x + rng.normal(size=x.shape).astype(x.dtype) * training, lambda dy: (1 * dy, {})


class Block(L.Layer):
    def compose(self, input_dim):
        return [L.Dense(input_dim, "tanh"), Scaled()]


class LogCosh(fm.losses.Loss):
    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return np.log(np.cosh(d)).sum(axis=1), np.tanh(d)


class Root(fm.schedules.Schedule):
    def __init__(self, initial_learning_rate=0.1):
        self.initial_learning_rate = initial_learning_rate

    def __call__(self, step):
        return self.initial_learning_rate / step**0.5


class Box(fm.constraints.Constraint):
    def __init__(self, limit=0.05):
        self.limit = limit

    def __call__(self, w):
        return np.clip(w, -self.limit, self.limit)


class Largest(fm.metrics.Metric):
    def reset(self):
        self.largest = -np.inf

    def update(self, y_true, y_pred, weight):
        error = np.abs(y_pred - y_true).max(axis=1)
        self.largest = max(self.largest, float((error if weight is None else error[weight > 0]).max()))

    def result(self):
        return self.largest


class Few(fm.initializers.Initializer):
    def __call__(self, shape, rng, dtype):
        if len(shape) != 2:
            raise ValueError("a matrix is needed")
        return rng.choice([-0.5, 0.0, 0.5], shape).astype(dtype)


@pytest.mark.parametrize("cls", [Cube, Log, Sparse, Momentum, Scaled, Noise, Block, LogCosh, Largest, Few])
def test_what_is_right_passes(cls):
    testing.check(cls)


# -- what is broken ----------------------------------------------------------------------------------------------------


def variant(base, **members):
    """A subclass of one of the above, with a name that pickle finds."""
    name = f"Broken{next(NUMBERS)}"
    globals()[name] = type(name, (base,), {"__module__": __name__, "__qualname__": name, **members})
    return globals()[name]


NUMBERS = itertools.count()
GENERATOR = np.random.default_rng(0)
KEPT = np.zeros(1000)


def cube(change=lambda z: 0, **members):
    """A cube with a forward to which something is done."""
    return variant(Cube, **members, forward=lambda self, z: z**3 + change(z))


def into_itself(self, z):
    z **= 3
    return z


def picky(self, z):
    if np.isinf(z).any():
        raise ValueError("out of range")
    return z**3


def kept(self, z):
    out = KEPT[: z.size].reshape(z.shape)
    out[...] = z**3
    return out


def own_memory(self, x, *, training, rng):
    self.last = x
    return x * self.parameters["scale"], lambda dy: (
        dy * self.parameters["scale"],
        {"scale": (dy * self.last).sum(axis=0)},
    )


def batch_statistics(self, x, *, training, rng):
    return x - x.mean(axis=0), lambda dy: (dy - dy.mean(axis=0), {"scale": 0 * dy[0]})


def without(name):
    def update(self, param, grad, state, learning_rate, step):
        rate = 0.01 if name == "rate" else self.learning_rate if name == "schedule" else learning_rate
        step = -grad if name == "sign" else np.sign(grad.sum()) * np.abs(grad) if name == "others" else grad
        if name == "gradient":
            grad *= 0.5
        if name == "state":
            state["m"] = state["m"] + grad
        if name == "param":
            param = param - rate * step
            return
        param -= rate * step
        if name == "none":
            return param

    return update


def wrong_init(self, scale=1.0):
    self._scale = scale


def unstorable(self, scale=1.0):
    self.scale, self.function = scale, lambda: 0


def required(self, scale):
    self.scale = scale


def counts(self, z):
    self.calls = getattr(self, "calls", 0) + 1
    return self.scale * z**3 + 1e-3 * self.calls


def weightless(self, y_true, y_pred, weight):
    self.largest = max(self.largest, float(np.abs(y_pred - y_true).max()))


def grows(self, x):
    self.calls = getattr(self, "calls", 0) + 1
    return 0.01 * self.calls + 0 * x


BROKEN = [  # class, the check that is meant for it, words of its message
    (variant(Cube, forward=lambda self, z: (z**3).ravel()[:1]), "shape", "returned shape"),
    (variant(Cube, forward=lambda self, z: [1.0]), "shape", "list: return a NumPy array"),
    (variant(Cube, forward=lambda self, z: 1 / 0), "shape", "ZeroDivisionError.*test_conformance"),
    (variant(Cube, derivative=lambda self, z, a: 3.0), "shape", "derivative"),
    (cube(lambda z: np.float64(0)), "dtype", "float64 for float32"),
    (variant(Cube, derivative=lambda self, z, a: (3 * z * z).astype("f8")), "dtype", "backward.*float64 for float32"),
    (variant(Cube, forward=lambda self, z: z.astype(int)), "dtype", "int64"),
    (variant(Cube, forward=into_itself), "inputs_kept", "writes into its argument z"),
    (variant(Cube, forward=lambda self, z: z, derivative=lambda self, z, a: 1 + 0 * z), "new_arrays", "its argument"),
    (variant(Cube, forward=kept), "new_arrays", "the same memory"),
    (variant(Cube, derivative=lambda self, z, a: 2 * z * z), "derivative", "wrong at .*finite differences give"),
    (variant(Cube, derivative=lambda self, z, a: z * 3 * z * (z < 5)), "derivative", "wrong at 5"),
    (variant(Cube, derivative=lambda self, z, a: 3 * a / z), "derivative", "nan"),
    (variant(Log, conformance={"domain": (-9.0, 0.5)}), "derivative", "domain"),
    (variant(Sparse, backward=lambda self, z, a, da: np.where(a > 0, da, 0)), "derivative", "column"),
    (cube(lambda z: z.mean() if z.size else 0), "elementwise", "depends on other"),
    (variant(Cube, forward=lambda self, z: np.where(z > 0, z**3, 0 * (z > 0)).astype(z.dtype)), "nan", "NaN"),
    (variant(Cube, forward=picky), "infinity", "out of range.*What to do: Raise nothing"),
    (variant(Cube, forward=lambda self, z: np.sinh(z) / np.cosh(z)), "large", "float32 is NaN at"),
    (cube(lambda z: GENERATOR.normal(size=z.shape).astype(z.dtype)), "deterministic", "no random numbers"),
    (variant(Cube, forward=counts), "deterministic", "no state"),
    (variant(Cube, __init__=wrong_init), "configuration", "keep it"),
    (variant(Cube, __init__=required), "makes", "conformance"),
    (variant(Cube, __init__=unstorable), "copies", "pickle"),
    (variant(Cube, conformance={"speed": 1}), "loads", "unknown key 'speed'"),
    (variant(Cube, conformance={"nan": "no"}), "loads", "expected one of"),
    (variant(Sparse, conformance={"compiled": True}), "speed", "runs in Python"),
    (variant(Few, __call__=lambda self, shape, rng, dtype: np.ones(3)), "shape", "gave shape"),
    (variant(Few, __call__=lambda self, shape, rng, dtype: rng.normal(size=shape)), "dtype", "astype"),
    (variant(Few, __call__=lambda self, shape, rng, dtype: np.full(shape, np.inf, dtype)), "finite", "not finite"),
    (variant(Few, __call__=lambda self, s, rng, dtype: GENERATOR.normal(size=s).astype(dtype)), "repeatable", "rng"),
    (variant(Few, __call__=lambda self, s, rng, d: np.zeros(s, d) + 0 * rng.normal()), "seeds", "two seeds"),
    (variant(Few, __call__=lambda self, s, rng, d: np.random.normal(size=s).astype(d)), "global_state", "global"),  # noqa: NPY002
    (variant(Momentum, init_state=lambda self, param: {"m": np.zeros(1)}), "state", "zeros_like"),
    (variant(Momentum, init_state=lambda self, param: [param]), "state", "list"),
    (variant(Momentum, init_state=lambda self, param: {"m": param}), "state", "shares memory"),
    (variant(Momentum, update=without("none")), "in_place", "return nothing"),
    (variant(Momentum, update=without("param")), "in_place", "did not change param"),
    (variant(Momentum, update=without("state")), "in_place", "replaced the state"),
    (variant(Momentum, update=without("gradient")), "gradient_kept", "writes into its argument grad"),
    (variant(Momentum, update=without("rate")), "rate", "at learning_rate 0"),
    (variant(Momentum, update=without("schedule")), "schedule", "TypeError"),
    (variant(Momentum, update=without("sign")), "minimises", "sign of the step"),
    (variant(Momentum, update=without("others")), "elementwise", "elementwise is True"),
    (variant(Scaled, build=lambda self, input_dim: input_dim + 1), "outputs", "."),
    (variant(Scaled, forward=lambda self, x, *, training, rng: (x, lambda dy: (dy, {}))), "parameters", "scale"),
    (
        variant(Scaled, forward=lambda self, x, **_: (x * 1.5, lambda dy: (dy, {"scale": 0 * dy[0]}))),
        "gradients",
        "in use|in tr",
    ),
    (
        variant(Scaled, forward=lambda self, x, **_: (x.astype("f8"), lambda dy: (dy, {"scale": dy[0]}))),
        "dtype",
        "float64",
    ),
    (variant(Scaled, forward=batch_statistics), "rows", "running statistics"),
    (variant(Scaled, forward=own_memory), "no_memory", "closure"),
    (variant(LogCosh, value_and_gradient=lambda self, y, p: (np.square(p - y).mean(), p - y)), "shape", "axis=1"),
    (variant(LogCosh, value_and_gradient=lambda self, y, p: np.square(p - y)), "shape", "value per row"),
    (variant(LogCosh, value_and_gradient=lambda self, y, p: (np.square(p - y).sum(1), p - y)), "gradient", "own value"),
    (variant(Largest, reset=lambda self: None, largest=-np.inf), "forgets", "clear in reset"),
    (variant(Largest, update=weightless), "weighted", "use weight"),
    (variant(Largest, result=lambda self: np.array([1.0])), "result", "one finite number"),
    (variant(Root, __call__=lambda self, step: 1 / (step - 1)), "number", "ZeroDivisionError.*count from 1"),
    (variant(Root, __call__=lambda self, step: -0.1), "number", "at step 1 it gives -0.1"),
    (variant(Root, __call__=lambda self, step: np.full(1, 0.1)), "number", "at step 1"),
    (variant(Root, __call__=grows), "pure", "count nothing"),
    (variant(Box, __call__=lambda self, w: w[0]), "values", r"of shape \(3,\): return an array of the shape"),
    (variant(Box, __call__=lambda self, w: None), "values", "NoneType"),
    (variant(Box, __call__=lambda self, w: w / np.abs(w).max()), "values", "NaN or infinity"),
    (variant(Box, __call__=lambda self, w: np.clip(w, 0, 1, out=w)), "values", "w"),
    (variant(Box, __call__=grows), "same", "from w alone"),
]


@pytest.mark.parametrize("cls, name, words", BROKEN, ids=lambda value: getattr(value, "__name__", str(value)))
def test_what_is_broken_is_caught(cls, name, words):
    (meant,) = (check for check in testing.checks(cls) if check.name == name)
    status, text = meant.run()
    assert status == "failed" and re.search(words, text), (status, text)
    with pytest.raises(testing.ConformanceError, match=f"{cls.__qualname__}-{name}"):
        meant()
    with pytest.raises(testing.ConformanceError) as caught:
        testing.check(cls)
    assert f"\n- {name}: {text}" in str(caught.value)


def steps(self, z):
    return np.round(np.nan_to_num(z))


@pytest.mark.parametrize(
    "declared, failing", [({"nan": "any", "gradient": "surrogate"}, set()), ({}, {"nan", "derivative"})]
)
def test_a_class_declares_what_the_kit_cannot_know(declared, failing):
    cls = variant(Cube, conformance=declared, forward=steps, derivative=lambda self, z, a: np.ones_like(z))
    outcomes = {check.name: check.run().status for check in testing.checks(cls)}
    assert {name for name, status in outcomes.items() if status == "failed"} == failing
    assert {outcomes[name] for name in {"nan", "derivative"} - failing} <= {"skipped"}


def test_thread_dependence_is_caught():
    cls = cube(lambda z: np.float32(1e-3 * fm.get_num_threads()))
    (meant,) = (check for check in testing.checks(cls) if check.name == "threads")
    status, text = meant.run()
    assert status == "failed" and "2 threads give other bits than 1" in text


def test_a_state_outside_the_saved_arrays_is_caught(register):
    def update(self, param, grad, state, learning_rate, step):
        self.calls = getattr(self, "calls", 0) + 1
        param -= learning_rate / self.calls * grad

    cls = variant(Momentum, update=update)
    register("optimizers", "forgetful", cls)
    (meant,) = (check for check in testing.checks("forgetful") if check.name == "file")
    status, text = meant.run()
    assert status == "failed" and "keep all state" in text


DOCS = Path(__file__).parent.parent / "docs" / "write-a-plugin.md"


@pytest.mark.parametrize("kind", testing.OF_KIND)
def test_every_check_is_explained(kind):
    """In the documentation, and to who fails it."""
    listed = testing.checks(object, kind=kind)
    text = DOCS.read_text(encoding="utf-8")
    assert [check.name for check in listed if f"`{check.name}`" not in text] == []
    assert all(check.doc.endswith(".") and "\n" not in check.doc for check in listed)
