"""Layers in wrong places, plugins that misbehave: what is said, and that the step before is kept."""

import contextlib
import re

import numpy as np
import pytest

import fastmlp as fm

L = fm.layers
N, FEATURES, CLASSES, BATCH = 40, 5, 3, 8
INF, NAN = np.inf, np.nan


def data(dtype="float32"):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, FEATURES)).astype(dtype)
    return x, rng.integers(0, CLASSES, N), rng.normal(size=(N, CLASSES)).astype(dtype)


X, LABELS, ROWS = data()
for array in (X, LABELS, ROWS):
    array.flags.writeable = False  # whatever is called, it must not write into its arguments


def built(layers, loss, optimizer="adam", metrics=(), **kwargs):
    net = fm.Sequential(layers, input_dim=FEATURES, seed=11, **kwargs)
    net.compile(optimizer, loss, metrics)
    return net


def regressor(optimizer="adam", metrics=()):
    layers = [L.Dense(8, "relu"), L.BatchNorm(), L.Dropout(0.3), L.Dense(CLASSES)]
    net = built(layers, "mse", optimizer, metrics)
    for at in range(2):
        net.train_on_batch(X[at::2], ROWS[at::2])
    return net


def train(net, x, y, **kwargs):
    net.train_on_batch(x, y, **kwargs)


def gradients(net, x, y, **kwargs):
    net.loss_and_gradients(x, y, **kwargs)


def fit(net, x, y, *, shuffle=False, **kwargs):
    net.fit(x, y, batch_size=BATCH, shuffle=shuffle, **kwargs)


def evaluate(net, x, y, **kwargs):
    net.evaluate(x, y, **kwargs)


def gradients_like(net):
    return {key: np.ones_like(array) for key, array in net.parameters.items()}


# -- layers in their places ----------------------------------------------------------------------------------------


def test_a_layer_of_another_network():
    layer = L.Dense(3)
    owner = fm.Sequential([layer], input_dim=FEATURES, seed=1)
    before = owner.predict(X)
    with pytest.raises(ValueError, match="another network"):
        fm.Sequential([L.Dense(5), layer])
    np.testing.assert_array_equal(owner.predict(X), before)


def test_a_layer_of_another_network_that_is_not_built_yet():
    layer = L.Dense(3)
    with pytest.raises(ValueError, match="another network"):
        for features, net in [(5, fm.Sequential([layer])), (7, fm.Sequential([layer]))]:
            net.build(features)


def test_a_layer_that_stands_twice():
    layer = L.Dense(3)
    with pytest.raises(ValueError, match="twice"):
        fm.Sequential([layer, L.Dense(4), layer])


def test_two_layers_of_one_name():
    with pytest.raises(ValueError, match=r"one name.*'hidden'"):
        fm.Sequential([L.Dense(3, name="hidden"), L.Dense(3, name="out"), L.Dense(3, name="hidden")])


@pytest.mark.parametrize("name", ["a.b", "3", "", 3, "²", ("a",), b"a", "."], ids=repr)
def test_bad_names_of_layers(name, says):
    """They are parts of keys, and of the names in files."""
    with pytest.raises((ValueError, TypeError)) as caught:
        L.Dense(3, name=name)
    says(caught.value, "name", re.escape(repr(name)))


class Composed(L.Layer):
    def __init__(self, parts, *, name=None):
        super().__init__(name=name)
        self.parts = parts

    def compose(self, input_dim):
        return self.parts


def one_layer_twice():
    layer = L.Dense(8)
    return [layer, layer]


@pytest.mark.parametrize(
    "parts, error, words",
    [
        (one_layer_twice, ValueError, ["twice"]),
        (lambda: [L.Dense(8, name="a"), L.Dense(3, name="a")], ValueError, ["one name", "'a'"]),
        (lambda: 5, TypeError, ["compose", "5"]),
        (lambda: [None], TypeError, ["layer", "None"]),
        (lambda: [L.Dense], TypeError, ["Dense"]),
        (lambda: [3], TypeError, ["layer", "3"]),
    ],
)
def test_bad_compositions(parts, error, words, says):
    """Two parts of one key, or one layer in two places, would share memory of the wrong size."""
    with pytest.raises(error) as caught:
        fm.Sequential([Composed(parts())], input_dim=FEATURES)
    says(caught.value, *words)


class Specified(L.Layer):
    def __init__(self, specify):
        super().__init__()
        self.specify = specify

    def build(self, input_dim):
        return self.specify(self, input_dim)


@pytest.mark.parametrize(
    "specify, error, words",
    [
        (lambda layer, d: None, TypeError, ["outputs", "None"]),
        (lambda layer, d: 0, ValueError, ["outputs", "0"]),
        (lambda layer, d: 2.5, TypeError, ["outputs", "2.5"]),
        (lambda layer, d: (layer.add_parameter("a.b", (d,)), d)[1], ValueError, ["'a.b'"]),
        (lambda layer, d: (layer.add_parameter("", (d,)), d)[1], ValueError, ["''"]),
        (lambda layer, d: (layer.add_parameter(3, (d,)), d)[1], (TypeError, ValueError), ["3"]),
        (lambda layer, d: (layer.add_buffer("a.b", (d,)), d)[1], ValueError, ["'a.b'"]),
        (lambda layer, d: (layer.add_parameter("w", (-1,)), d)[1], ValueError, ["w", "-1"]),
        (lambda layer, d: (layer.add_parameter("w", (2.5,)), d)[1], TypeError, ["w", "2.5"]),
        (lambda layer, d: (layer.add_parameter("w", d), d)[1], TypeError, ["w", "shape", "5"]),
        (lambda layer, d: (layer.add_parameter("w", (d,), "one"), d)[1], fm.UnknownNameError, ["one"]),
        (lambda layer, d: (layer.add_parameter("w", (d,)), layer.add_parameter("w", (2,)), d)[2], ValueError, ["'w'"]),
        (lambda layer, d: (layer.add_parameter("w", (d,)), layer.add_buffer("w", (d,)), d)[2], ValueError, ["'w'"]),
    ],
)
def test_bad_specifications(specify, error, words, says):
    net = fm.Sequential([L.Dense(FEATURES), Specified(specify)])
    with pytest.raises(error) as caught:
        net.build(FEATURES)
    says(caught.value, *words)
    assert not net.built


@pytest.mark.parametrize(
    "value, words",
    [
        (lambda shape: np.ones(3), [r"\(5, 4\)", r"\(3,\)"]),
        (lambda shape: None, ["None"]),
        (lambda shape: 1.0, [r"\(5, 4\)", r"\(\)"]),
        (lambda shape: np.ones(shape, complex), ["complex"]),
        (lambda shape: np.full(shape, "a"), ["U1"]),
        (lambda shape: np.full(shape, NAN), ["(?i)nan|finite"]),
        (lambda shape: np.full(shape, 1e300), ["range|finite|overflow"]),
    ],
)
def test_bad_initializers(value, words, says):
    class Bad(fm.initializers.Initializer):
        def __call__(self, shape, rng, dtype):
            return value(shape)

    net = fm.Sequential([L.Dense(4, kernel_initializer=Bad())])
    with pytest.raises((ValueError, TypeError)) as caught:
        net.build(FEATURES)
    says(caught.value, "0.kernel", *words)
    assert not net.built


# -- plugins that misbehave ----------------------------------------------------------------------------------------


class Fault:
    """What a plugin does instead of its work, while it is set."""

    def __init__(self):
        self.now = None


def plugin_net(fault, kind):
    """A network with one plugin of a kind, two steps old; the plugin works until the fault is set."""

    class BadActivation(fm.activations.Activation):
        recordable = False

        def forward(self, z):
            return fault.now(z) if fault.now and kind == "forward" else z * 2

        def derivative(self, z, a):
            return fault.now(z) if fault.now and kind == "derivative" else np.full_like(z, 2)

        def backward(self, z, a, da):
            return fault.now(da) if fault.now and kind == "backward" else super().backward(z, a, da)

    class BadLayer(L.Layer):
        def build(self, input_dim):
            self.add_parameter("scale", (input_dim,), "ones")
            self.add_buffer("seen", ())
            return input_dim

        def forward(self, x, *, training, rng):
            if training:
                self.buffers["seen"] += 1
            if fault.now and kind == "layer":
                return fault.now(x)
            y = x * self.parameters["scale"]
            return (fault.now(y) if fault.now and kind == "output" else y), self.way_back(x)

        def way_back(self, x):
            scale = self.parameters["scale"]

            def backward(dy):
                if fault.now and kind == "pullback":
                    return fault.now(dy)
                gradients = {"scale": (dy * x).sum(axis=0)}
                if fault.now and kind == "gradients":
                    gradients = fault.now(gradients["scale"])
                return dy * scale, gradients

            return None if fault.now and kind == "way back" else backward

    class BadLoss(fm.losses.Loss):
        recordable = False  # it will do something else

        def value_and_gradient(self, y_true, y_pred):
            if fault.now and kind == "loss":
                return fault.now(y_true, y_pred)
            d = y_pred - y_true
            return (d * d).sum(axis=1), 2 * d

    class BadOptimizer(fm.optimizers.Optimizer):
        def init_state(self, param):
            return {"sum": np.zeros_like(param)}

        def update(self, param, grad, state, learning_rate, step):
            state["sum"] += grad
            param -= learning_rate * state["sum"] / step
            if fault.now and kind == "optimizer" and param.ndim == 1:  # not at once: the kernels are changed already
                fault.now(param, grad, state)

    middle = L.Dense(4, BadActivation() if kind in ("forward", "derivative", "backward") else None)
    layers = [middle, BadLayer(), L.BatchNorm(), L.Dropout(0.2), L.Dense(CLASSES)]
    net = built(layers, BadLoss() if kind == "loss" else "mse", BadOptimizer() if kind == "optimizer" else "adam")
    for at in range(2):
        net.train_on_batch(X[at::2], ROWS[at::2])
    return net


def write(array, *rest):
    array[...] = 7
    return array


ARRAYS = {  # what stands where an array (N, 4) should
    "none": (lambda z: None, (TypeError, ValueError), ["None"]),
    "wrong shape": (lambda z: z[:, :2], ValueError, [r"\d+, 4\)", r"\d+, 2\)"]),
    "transposed": (lambda z: z.T, ValueError, [r"\d+, 4\)", r"\(4, \d+\)"]),
    "complex": (lambda z: z * 1j, TypeError, ["complex64"]),
    "strings": (lambda z: z.astype(str), TypeError, ["U"]),
    "objects": (lambda z: z.astype(object), TypeError, ["object"]),
    "list of strings": (lambda z: [["a"] * 4] * len(z), TypeError, ["U1"]),
    "raises": (lambda z: 1 / 0, ZeroDivisionError, ["division"]),
    "nan": (lambda z: z * NAN, fm.NonFiniteError, ["step 3"]),
    "infinity": (lambda z: np.full(z.shape, INF), fm.NonFiniteError, ["step 3"]),
}
NAMED = {
    "forward": ["layer '?0'?", "forward", "BadActivation"],
    "derivative": ["backward|derivative", "BadActivation"],
    "backward": ["layer '?0'?", "backward", "BadActivation"],
    "output": ["layer '?1'?", "BadLayer"],
}


@pytest.fixture(scope="session")
def misbehaves(says, same_future):
    """The plugin's fault raises, and the network goes on from the step before."""

    def check(kind, answer, error, words, call):
        fault, none = Fault(), Fault()
        net, twin = plugin_net(fault, kind), plugin_net(none, kind)
        fault.now = answer
        with pytest.raises(error) as caught:
            call(net, X, ROWS)
        fault.now = None
        says(caught.value, *words)
        same_future(net, twin)
        return caught.value

    return check


@pytest.mark.parametrize("call", [train, gradients, fit])
@pytest.mark.parametrize("what", ARRAYS)
@pytest.mark.parametrize("kind", NAMED)
def test_plugins_that_return_something_else(kind, what, call, misbehaves):
    answer, error, words = ARRAYS[what]
    if what not in ("raises", "nan", "infinity"):
        words = words + NAMED[kind]
    if kind == "derivative" and what == "objects":
        error = (TypeError, ValueError)
    misbehaves(kind, answer, error, words, call)


@pytest.mark.parametrize("call", [train, gradients, fit])
@pytest.mark.parametrize("kind", ["forward", "derivative", "backward", "layer", "pullback"])
def test_plugins_that_write_into_what_they_are_given(kind, call, misbehaves):
    misbehaves(kind, write, ValueError, ["read-only"], call)


@pytest.mark.parametrize("kind, layer", [("forward", "0"), ("output", "1")])
def test_the_layer_of_a_plugin_that_returns_nan(kind, layer, misbehaves):
    error = misbehaves(kind, lambda z: z * NAN, fm.NonFiniteError, [f"'{layer}'"], train)
    assert (error.layer, error.step) == (layer, 3)


IGNORED = lambda dy: (dy, {})  # noqa: E731


@pytest.mark.parametrize("call", [train, fit])
@pytest.mark.parametrize(
    "kind, answer, words",
    [
        ("layer", lambda x: None, ["None"]),
        ("layer", lambda x: x, ["backward"]),
        ("layer", lambda x: (x, IGNORED, 1), ["backward"]),
        ("layer", lambda x: (x, None), ["backward", "None"]),
        ("layer", lambda x: (x, {"scale": x}), ["backward", "dict"]),
        ("way back", True, ["backward", "None"]),
        ("pullback", lambda dy: None, ["backward", "None"]),
        ("pullback", lambda dy: dy, ["backward", "d_input|gradients"]),
        ("pullback", lambda dy: (dy, None), ["backward", "gradients", "None"]),
        ("pullback", lambda dy: (None, {"scale": np.ones(4)}), ["d_input", "None"]),
        ("pullback", lambda dy: (dy[:, 0], {"scale": np.ones(4)}), ["d_input", r"\(8|\(40"]),
        ("pullback", lambda dy: (dy * 1j, {"scale": np.ones(4)}), ["d_input", "complex"]),
        ("gradients", lambda g: {}, [r"\['scale'\]", r"\[\]"]),
        ("gradients", lambda g: {"scale": g, "shift": g}, [r"\['scale'\]", "shift"]),
        ("gradients", lambda g: {"scale": g[:2]}, ["'scale'", r"\(4,\)", r"\(2,\)"]),
        ("gradients", lambda g: {"scale": g * 1j}, ["'scale'", "complex"]),
        ("gradients", lambda g: {"scale": None}, ["'scale'", "None"]),
        ("gradients", lambda g: [g], ["gradients", "list"]),
    ],
)
def test_layers_that_return_something_else(kind, answer, words, call, misbehaves):
    misbehaves(kind, answer, (TypeError, ValueError), ["layer '?1'?", "BadLayer", *words], call)


@pytest.mark.parametrize("call", [train, gradients, fit])
@pytest.mark.parametrize(
    "answer, error, words",
    [
        (lambda t, p: None, (TypeError, ValueError), ["BadLoss", "None"]),
        (lambda t, p: (p - t).sum(axis=1), (TypeError, ValueError), ["BadLoss", "gradient"]),
        (lambda t, p: (np.square(p - t).mean(), p - t), ValueError, ["BadLoss", "value", r"\(\)", r"\(40,\)|\(8,\)"]),
        (lambda t, p: (np.square(p - t), p - t), ValueError, ["BadLoss", "value", "3", r"\(40,\)|\(8,\)"]),
        (lambda t, p: (np.ones(len(p)), (p - t)[:, :1]), ValueError, ["BadLoss", "gradient", "3", "1"]),
        (lambda t, p: (np.ones(len(p)), None), (TypeError, ValueError), ["BadLoss", "gradient", "None"]),
        (lambda t, p: (None, p - t), (TypeError, ValueError), ["BadLoss", "value", "None"]),
        (lambda t, p: (np.ones(len(p)) * 1j, p - t), TypeError, ["BadLoss", "value", "complex128"]),
        (lambda t, p: (np.ones(len(p)), (p - t) * 1j), TypeError, ["BadLoss", "gradient", "complex64"]),
        (lambda t, p: (write(p), p), ValueError, ["read-only"]),
        (lambda t, p: 1 / 0, ZeroDivisionError, ["division"]),
        (lambda t, p: (np.full(len(p), NAN), p - t), fm.NonFiniteError, ["loss", "step 3"]),
        (lambda t, p: (np.ones(len(p)), (p - t) * NAN), fm.NonFiniteError, ["gradient", "step 3"]),
    ],
)
def test_losses_that_return_something_else(answer, error, words, call, misbehaves):
    misbehaves("loss", answer, error, words, call)


def test_a_loss_that_writes_into_its_targets_does_not_reach_the_data():
    class Writes(fm.losses.Loss):
        def value_and_gradient(self, y_true, y_pred):
            with contextlib.suppress(ValueError):
                y_true[...] = 0
            return np.square(y_pred).sum(axis=1), 2 * y_pred

    rows = ROWS.copy()
    net = built([L.Dense(CLASSES)], Writes())
    net.train_on_batch(X, rows)
    net.fit(X, rows)
    net.evaluate(X, rows)
    np.testing.assert_array_equal(rows, ROWS)


@pytest.mark.parametrize("call", [train, fit, lambda net, x, y: net.apply_gradients(gradients_like(net))])
@pytest.mark.parametrize(
    "answer, error, words",
    [
        (lambda p, g, s: 1 / 0, ZeroDivisionError, ["division"]),
        (lambda p, g, s: write(g), ValueError, ["read-only"]),
        (lambda p, g, s: (write(p), write(s["sum"]), 1 / 0), ZeroDivisionError, ["division"]),
        (lambda p, g, s: (s.update(more=np.ones(3)), 1 / 0), ZeroDivisionError, ["division"]),
        (lambda p, g, s: (s.clear(), 1 / 0), ZeroDivisionError, ["division"]),
        (lambda p, g, s: (s.update(sum=np.ones(3)), 1 / 0), ZeroDivisionError, ["division"]),
        (lambda p, g, s: exec("raise KeyboardInterrupt"), KeyboardInterrupt, []),
    ],
    ids=["raises", "writes gradient", "spoils", "adds state", "drops state", "replaces state", "Ctrl-C"],
)
def test_an_optimizer_that_fails_leaves_the_step_before(answer, error, words, call, misbehaves):
    """Parameters, state, and the buffers that a layer in Python has written on the way."""
    misbehaves("optimizer", answer, error, words, call)


@pytest.mark.parametrize(
    "state, words",
    [
        (lambda p: None, ["dict", "None"]),
        (lambda p: [np.zeros_like(p)], ["dict", "list"]),
        (lambda p: {"m": 0.0}, ["'m'", "float"]),
        (lambda p: {"m": [0.0]}, ["'m'", "list"]),
    ],
)
def test_states_that_are_no_arrays(state, words, refuses):
    class Bad(fm.optimizers.Optimizer):
        def init_state(self, param):
            return state(param)

        def update(self, param, grad, state, learning_rate, step):
            pass

    refuses(regressor, lambda net: net.compile(Bad(), "mse"), TypeError, "Bad", "init_state", *words)


WITHIN = """
import sys
import numpy as np
import fastmlp as fm
L = fm.layers
x, y = np.ones((40, 5), "f4"), np.ones((40, 3), "f4")
CALLS = {
    "train_on_batch": lambda: net.train_on_batch(x[:10], y[:10]),
    "fit": lambda: net.fit(x[:10], y[:10]),
    "loss_and_gradients": lambda: net.loss_and_gradients(x[:10], y[:10]),
    "apply_gradients": lambda: net.apply_gradients({k: a * 0 for k, a in net.parameters.items()}),
    "compile": lambda: net.compile("adam", "mse"),
}

def within(where):
    global todo
    if where == sys.argv[1] and todo:
        call, todo = todo, None
        try:
            CALLS[call]()
        except RuntimeError:
            refused.append(call)

class Activation(fm.activations.Activation):
    recordable = False

    def forward(self, z):
        within("activation")
        return z.copy()

    def derivative(self, z, a):
        return np.ones_like(z)

class Layer(L.Layer):
    def forward(self, x, *, training, rng):
        within("layer")
        return x.copy(), lambda dy: (dy, {})

class Loss(fm.losses.Loss):
    recordable = False

    def value_and_gradient(self, y_true, y_pred):
        within("loss")
        return np.square(y_pred - y_true).sum(axis=1), 2 * (y_pred - y_true)

class Optimizer(fm.optimizers.Optimizer):
    def update(self, param, grad, state, learning_rate, step):
        within("optimizer")
        param -= learning_rate * grad

def make():
    net = fm.Sequential([L.Dense(300), L.Dense(4, Activation()), Layer(), L.Dense(3)], input_dim=5, seed=1)
    net.compile(Optimizer(0.01), Loss())
    return net

todo, refused = None, []
for call in CALLS:
    net, twin = make(), make()
    for one in (net, twin):
        one.train_on_batch(x, y)
    todo = call
    net.train_on_batch(x, y)
    todo = call
    net.fit(x, y, batch_size=20)
    twin.train_on_batch(x, y)
    twin.fit(x, y, batch_size=20)
    for key, array in net.parameters.items():
        assert array.tobytes() == twin.parameters[key].tobytes(), (call, key)
assert refused == [call for call in CALLS for _ in range(2)], refused
print("fine")
"""


@pytest.mark.parametrize("place", ["activation", "layer", "loss", "optimizer"])
def test_calls_from_within_a_step_are_refused(place, run_python):
    """A plugin that uses the network that is using it: its memory is in use. A process of its own, as it may crash."""
    assert run_python(WITHIN, arguments=[place]).strip() == "fine"


def test_methods_that_were_forgotten(contents, says):
    cases = [
        ([L.Dense(4, type("NoForward", (fm.activations.Activation,), {})()), L.Dense(CLASSES)], "mse", "sgd"),
        ([type("NoForward", (L.Layer,), {})(), L.Dense(CLASSES)], "mse", "sgd"),
        ([L.Dense(CLASSES)], type("NoForward", (fm.losses.Loss,), {})(), "sgd"),
        ([L.Dense(CLASSES)], "mse", type("NoForward", (fm.optimizers.Optimizer,), {})()),
    ]
    for (layers, loss, optimizer), method in zip(
        cases, ["forward", "forward", "value_and_gradient", "update"], strict=True
    ):
        net = built(layers, loss, optimizer)
        before = contents(net)
        with pytest.raises(NotImplementedError) as caught:
            net.train_on_batch(X, ROWS)
        says(caught.value, "NoForward", method)
        assert contents(net) == before
    half = type("NoDerivative", (fm.activations.Activation,), {"forward": lambda self, z: z * 1, "recordable": False})()
    net = built([L.Dense(4, half), L.Dense(CLASSES)], "mse")
    assert net.predict(X).shape == (N, CLASSES)
    before = contents(net)
    with pytest.raises(NotImplementedError) as caught:
        net.train_on_batch(X, ROWS)
    says(caught.value, "NoDerivative", "derivative", "backward")
    assert contents(net) == before


def test_a_metric_can_not_spoil_what_the_next_one_sees(says, register):
    class Writes(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            y_pred -= y_true
            return np.square(y_pred).sum(axis=1)

    class Sees(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            return np.abs(y_pred - y_true).sum(axis=1)

    names = {"test_bad_plugins.writes": Writes, "test_bad_plugins.sees": Sees}
    for name, cls in names.items():
        register("metrics", name, cls)
    net = built([L.Dense(CLASSES)], "mse", "sgd", ["test_bad_plugins.writes", "test_bad_plugins.sees"])
    expected = np.abs(net.predict(X) - ROWS).sum(axis=1).mean()
    try:
        logs = net.evaluate(X, ROWS)
    except ValueError as error:
        says(error, "read-only")
    else:
        np.testing.assert_allclose(logs["test_bad_plugins.sees"], expected, rtol=1e-5)


@pytest.mark.parametrize("call", [train, fit, evaluate])
def test_a_metric_that_raises(call, contents, same_future, register):
    class Raises(fm.metrics.Metric):
        broken = False

        def rows(self, y_true, y_pred):
            return np.zeros(len(y_pred)) if not Raises.broken else 1 / 0

    register("metrics", "test_bad_plugins.raises", Raises)
    net = regressor(metrics=["test_bad_plugins.raises"])
    Raises.broken = True
    with pytest.raises(ZeroDivisionError):
        call(net, X, ROWS)
    Raises.broken = False
    twin = regressor(metrics=["test_bad_plugins.raises"])
    if contents(net) != contents(twin):  # the steps were complete when the metric saw them
        assert call is train or call is fit
        if call is train:
            twin.train_on_batch(X, ROWS)
        else:
            fit(twin, X, ROWS, steps_per_epoch=net.engine.steps - twin.engine.steps)
    same_future(net, twin, epochs=False)
