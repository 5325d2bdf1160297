"""Arguments, names and configurations that are refused, with which words, and that nothing has changed then."""

import copy
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


def classifier(trained=True, **kwargs):
    """A network that has everything that a step may change, two steps old."""
    layers = [L.Dense(8), L.BatchNorm(), L.Activation("tanh"), L.Dropout(0.3), L.Dense(CLASSES, "softmax")]
    net = built(layers, "sparse_categorical_crossentropy", metrics=["accuracy"], **kwargs)
    for at in range(2 if trained else 0):
        net.train_on_batch(X[at::2], LABELS[at::2])
    return net


def regressor(optimizer="adam", metrics=()):
    layers = [L.Dense(8, "relu"), L.BatchNorm(), L.Dropout(0.3), L.Dense(CLASSES)]
    net = built(layers, "mse", optimizer, metrics)
    for at in range(2):
        net.train_on_batch(X[at::2], ROWS[at::2])
    return net


def brief(value):
    """A parameter in the name of its test."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".replace(" ", "")
    return value.__name__ if isinstance(value, type) else None


def train(net, x, y, **kwargs):
    net.train_on_batch(x, y, **kwargs)


def gradients(net, x, y, **kwargs):
    net.loss_and_gradients(x, y, **kwargs)


def fit(net, x, y, *, shuffle=False, **kwargs):
    net.fit(x, y, batch_size=BATCH, shuffle=shuffle, **kwargs)


def fit_stream(net, x, y, sample_weight=None):
    net.fit([(x, y) if sample_weight is None else (x, y, sample_weight)])


def evaluate(net, x, y, **kwargs):
    net.evaluate(x, y, **kwargs)


def gradients_like(net):
    return {key: np.ones_like(array) for key, array in net.parameters.items()}


# -- arguments -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, error, words",
    [
        (0, ValueError, "at least 1.*got 0"),
        (-1, ValueError, "at least 1.*got -1"),
        (2.5, TypeError, "integer.*got 2.5"),
        (8.0, TypeError, "integer.*got 8.0"),
        (True, TypeError, "integer.*got True"),
        (np.True_, TypeError, "integer.*got .*True"),
        ("8", TypeError, "integer.*got '8'"),
        ([8], TypeError, r"integer.*got \[8\]"),
    ],
)
def test_counts(value, error, words, says, refuses):
    for call in (
        lambda net: net.fit(X, LABELS, batch_size=value),
        lambda net: net.evaluate(X, LABELS, batch_size=value),
        lambda net: net.predict(X, batch_size=value),
    ):
        refuses(classifier, call, error, "batch_size", words)
    refuses(classifier, lambda net: net.fit(X, LABELS, epochs=value), error, "epochs", words)
    refuses(classifier, lambda net: net.fit(X, LABELS, steps_per_epoch=value), error, "steps_per_epoch", words)
    for make, name in ((L.Dense, "units"), (lambda n: fm.Sequential([L.Dense(3)], input_dim=n), "input_dim")):
        with pytest.raises(error) as caught:
            make(value)
        says(caught.value, name, words)
    unbuilt = fm.Sequential([L.Dense(3)])
    with pytest.raises(error) as caught:
        unbuilt.build(value)
    says(caught.value, "input_dim", words)
    assert not unbuilt.built


@pytest.mark.parametrize(
    "value, error, words",
    [
        (-1, ValueError, "at least 0.*got -1"),
        (0.5, TypeError, "integer.*got 0.5"),
        (True, TypeError, "integer.*got True"),
        ("0", TypeError, "integer.*got '0'"),
        (None, TypeError, "integer.*got None"),
    ],
)
def test_initial_epoch(value, error, words, refuses):
    refuses(classifier, lambda net: net.fit(X, LABELS, epochs=2, initial_epoch=value), error, "initial_epoch", words)


@pytest.mark.parametrize(
    "value, error, words",
    [
        (-0.1, ValueError, ["-0.1"]),
        (1, ValueError, [r"\b1(\.0)?\b"]),
        (1.5, ValueError, ["1.5"]),
        (NAN, ValueError, ["nan"]),
        (0.001, ValueError, ["0.001", "40"]),  # of 40 rows, none
        ("0.5", TypeError, ["number", "'0.5'"]),
        ("half", TypeError, ["number", "'half'"]),
        (None, TypeError, ["number", "None"]),
    ],
)
def test_validation_split(value, error, words, refuses):
    refuses(classifier, lambda net: net.fit(X, LABELS, validation_split=value), error, "validation_split", *words)


@pytest.mark.parametrize(
    "value", [(X,), (X, LABELS, None, None), "xy", X[:, :2], {"x": X, "y": LABELS}, iter([X, LABELS])], ids=str
)
def test_validation_data_of_another_form(value, refuses):
    refuses(
        classifier,
        lambda net: net.fit(X, LABELS, validation_data=value),
        (ValueError, TypeError),
        "validation_data",
        r"\(x, y\)",
    )


@pytest.mark.parametrize("value", ["yes", None, 3, -1])
def test_verbose(value, refuses):
    refuses(classifier, lambda net: net.fit(X, LABELS, verbose=value), ValueError, "verbose", "'auto'", str(value))


@pytest.mark.parametrize(
    "batches, error, words",
    [
        (X, ValueError, ["y is missing"]),
        (5, (ValueError, TypeError), ["iterable"]),
        (None, (ValueError, TypeError), ["iterable"]),
        ([], ValueError, ["no batch"]),
        (["ab"], TypeError, [r"\(x, y\)", "str"]),
        ([X], TypeError, [r"\(x, y\)", "ndarray"]),
        ([(X,)], TypeError, [r"\(x, y\)", "tuple"]),
        ([(X, LABELS, None, None)], TypeError, [r"\(x, y\)", "tuple"]),
        ([{"x": X, "y": LABELS}], TypeError, [r"\(x, y\)", "dict"]),
        ([(X, LABELS[:5])], ValueError, ["y", "40", r"\(5,\)"]),
    ],
)
def test_streams(batches, error, words, refuses):
    refuses(classifier, lambda net: net.fit(batches), error, *words)


def test_options_that_a_stream_can_not_have(refuses):
    stream = [(X, LABELS)]
    for option in ({"sample_weight": np.ones(N)}, {"class_weight": {0: 2.0}}, {"validation_split": 0.5}):
        refuses(classifier, lambda net, option=option: net.fit(stream, **option), ValueError, "without y")


def test_a_generator_is_used_up_after_one_epoch(same_future):
    net, twin = classifier(), classifier()
    with pytest.raises(ValueError, match=r"generator.*one epoch"):
        net.fit(((X, LABELS) for _ in range(2)), epochs=3)
    twin.fit([(X, LABELS)] * 2)
    same_future(net, twin)


# -- before it is built or compiled --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "use",
    [
        lambda net: net.parameters,
        lambda net: net.buffers,
        lambda net: net.optimizer_state,
        lambda net: net.count_params(),
        lambda net: net.apply_gradients({}),
    ],
)
def test_not_built(use, says):
    net = fm.Sequential([L.Dense(3)])
    net.compile("sgd", "mse")
    with pytest.raises(fm.NotBuiltError) as caught:
        use(net)
    says(caught.value, "input_dim", r"build\(")
    assert not net.built and net.input_dim is None


def test_not_compiled(same_future):
    net, twin = (fm.Sequential([L.Dense(3)], input_dim=FEATURES, seed=1) for _ in range(2))
    for call in (train, gradients, fit, evaluate, fit_stream):
        with pytest.raises(RuntimeError, match=r"compile\("):
            call(net, X, ROWS)
    with pytest.raises(RuntimeError, match=r"compile\("):
        net.apply_gradients({key: np.zeros_like(array) for key, array in net.parameters.items()})
    for one in (net, twin):
        one.compile("sgd", "mse")
    same_future(net, twin)


def test_compiled_without_a_loss():
    net = fm.Sequential([L.Dense(3)], input_dim=FEATURES, seed=1)
    net.compile("sgd")
    for call in (train, gradients, fit, evaluate):
        with pytest.raises(RuntimeError, match=r"loss"):
            call(net, X, ROWS)


def test_no_layers():
    for use in (lambda net: net.build(3), lambda net: net.predict(X)):
        with pytest.raises(ValueError, match="at least one layer"):
            use(fm.Sequential([]))


def test_built_for_another_number_of_features(same_future, refuses):
    refuses(classifier, lambda net: net.build(7), ValueError, "5", "7")
    net = classifier()
    net.build(FEATURES)  # again the same is no error, and no change
    same_future(net, classifier())


@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.fit(X, ROWS[:5]),
        lambda net: net.fit(X, ROWS[:, :2]),
        lambda net: net.fit(X, ROWS, validation_split=2),
        lambda net: net.fit(X, ROWS, sample_weight=-np.ones(N)),
        lambda net: net.fit(X, ROWS, validation_data=(X[:, :2], ROWS)),
        lambda net: net.fit(X, ROWS, verbose="loud"),
        lambda net: net.train_on_batch(X, ROWS[:, 0]),
        lambda net: net.evaluate(X, ROWS[:5]),
        lambda net: net.predict(X, out=np.empty((1, 1), "f4")),
        lambda net: net.predict(X, batch_size=0),
    ],
)
def test_a_refused_first_call_does_not_build(call):
    """Otherwise the features of the mistaken data would be the network's for good."""
    net = fm.Sequential([L.Dense(3)], seed=1)
    net.compile("sgd", "mse")
    with pytest.raises(ValueError):
        call(net)
    assert not net.built


def test_a_failed_build_leaves_nothing():
    class Fails(L.Layer):
        def build(self, input_dim):
            if broken:
                raise OSError("no")
            return input_dim

        def forward(self, x, *, training, rng):
            return x, lambda dy: (dy, {})

    broken = True
    net = fm.Sequential([L.Dense(4), Fails(), L.Dense(3)], seed=1)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            net.build(FEATURES)
        assert not net.built
    broken = False
    net.build(FEATURES)
    assert net.predict(X).shape == (N, 3)


# -- names and configurations --------------------------------------------------------------------------------------


KINDS = {
    "activation": (lambda name: L.Dense(3, name), "rleu", "relu"),
    "layer": (lambda name: fm.Sequential([name]), "desne", "dense"),
    "initializer": (lambda name: L.Dense(3, kernel_initializer=name), "he_norml", "he_normal"),
    "optimizer": (lambda name: classifier().compile(name), "adm", "adam"),
    "loss": (lambda name: regressor().compile("sgd", name), "mean_squared_eror", "mean_squared_error"),
    "metric": (lambda name: regressor().compile("sgd", "mse", [name]), "acuracy", "accuracy"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_names(kind, says):
    use, wrong, right = KINDS[kind]
    plural = "losses" if kind == "loss" else kind + "s"
    with pytest.raises(fm.UnknownNameError) as caught:
        use(wrong)
    assert isinstance(caught.value, LookupError) and isinstance(caught.value, ValueError)
    names = getattr(fm.registry, plural).names()
    assert names == sorted(names)
    says(caught.value, f"unknown {kind} '{wrong}'", f"did you mean '{right}'", re.escape(", ".join(names)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrong", [3, 2.5, object(), ["relu"], b"relu", {}, {"units": 3}])
def test_names_of_another_type(kind, wrong, says):
    with pytest.raises(TypeError) as caught:
        KINDS[kind][0](wrong)
    says(caught.value, kind, "expected a name", re.escape(repr(wrong)))


@pytest.mark.parametrize(
    "wrong", [{"name": "adam", "lr": 0.1}, {"name": "sgd", "momentum": 0.1, "beta_1": 0.1}], ids=str
)
def test_unknown_parameters_name_the_known_ones(wrong, refuses):
    key = "lr" if "lr" in wrong else "beta_1"
    refuses(regressor, lambda net: net.compile(wrong, "mse"), TypeError, f"unknown parameter '{key}'", "learning_rate=")


def test_missing_parameters_are_named():
    with pytest.raises(TypeError, match=r"'dense'.*missing parameter 'units'.*accepted: units"):
        fm.Sequential(["dense"])


@pytest.mark.parametrize("layers", [None, 3, L.Dense(3), "dense"], ids=brief)
def test_layers_that_are_no_list(layers, says):
    with pytest.raises(TypeError) as caught:
        fm.Sequential(layers)
    says(caught.value, "layers", "list|sequence|iterable")


@pytest.mark.parametrize("metrics", [None, "accuracy", fm.metrics.Accuracy(), 3], ids=brief)
def test_metrics_that_are_no_list(metrics, refuses):
    refuses(regressor, lambda net: net.compile("sgd", "mse", metrics), TypeError, "metrics", "list")


@pytest.mark.parametrize("metrics", [["mae", "mae"], ["mse", "mean_squared_error"], ["mae", fm.metrics.get("mae")]])
def test_two_metrics_of_one_name(metrics, refuses):
    """One of them would be lost in the logs."""
    refuses(regressor, lambda net: net.compile("sgd", "mse", metrics), ValueError, "metrics", "one name", "Mean")


@pytest.mark.parametrize(
    "callbacks",
    [None, fm.callbacks.EarlyStopping(), [fm.callbacks.EarlyStopping], [print], ["early"], [None]],
    ids=["none", "no list", "class", "function", "name", "list of none"],
)
def test_callbacks_of_another_type(callbacks, refuses):
    refuses(classifier, lambda net: net.fit(X, LABELS, callbacks=callbacks), TypeError, "callbacks?", "expected")


@pytest.mark.parametrize("wrong", [0, "float16", int, complex, ">f4", None, "foo"])
def test_dtype(wrong, says):
    with pytest.raises((TypeError, ValueError)) as caught:
        fm.Sequential([L.Dense(3)], dtype=wrong)
    says(caught.value, "dtype", "'float32' or 'float64'", re.escape(repr(wrong)))


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (-1, ValueError, "at least 0.*-1"),
        (2**64, ValueError, "2.64"),
        (1.5, TypeError, "integer.*1.5"),
        (True, TypeError, "integer.*True"),
        ("a", TypeError, "integer.*'a'"),
    ],
)
def test_seed(wrong, error, words, says):
    with pytest.raises(error) as caught:
        fm.Sequential([L.Dense(3)], seed=wrong)
    says(caught.value, "seed", words)
    assert fm.Sequential([L.Dense(3)], seed=2**64 - 1, input_dim=2).predict([[1.0, 2.0]]).shape == (1, 3)


SHARES = {
    "rate": L.Dropout,
    "momentum": lambda value: L.BatchNorm(momentum=value),
    "beta_1": lambda value: fm.optimizers.Adam(beta_1=value),
    "beta_2": lambda value: fm.optimizers.Adam(beta_2=value),
    " momentum": lambda value: fm.optimizers.SGD(momentum=value),
}
NUMBERS = {
    "epsilon": lambda value: L.BatchNorm(epsilon=value),
    " epsilon": lambda value: fm.optimizers.Adam(epsilon=value),
    "learning_rate": fm.optimizers.Adam,
    "alpha": fm.activations.LeakyReLU,
    "mean": lambda value: fm.initializers.RandomNormal(1.0, value),
}


@pytest.mark.parametrize("name", [*SHARES, *NUMBERS])
@pytest.mark.parametrize("wrong", [NAN, INF, "0.5", "much", None, [0.5], 1j, {}], ids=brief)
def test_numbers_of_another_type(name, wrong, says):
    """A string is no number, also where float() would read it: a configuration file was misread."""
    make = {**SHARES, **NUMBERS}[name]
    with pytest.raises(ValueError if isinstance(wrong, float) else TypeError) as caught:
        make(wrong)
    says(caught.value, name.strip(), "expected|must be", re.escape(repr(wrong)))


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("wrong", [-0.1, 1, 1.5])
def test_shares(name, wrong, says):
    with pytest.raises(ValueError) as caught:
        SHARES[name](wrong)
    says(caught.value, name.strip(), r"\[0, 1", str(wrong))


@pytest.mark.parametrize("wrong, error", [(-1.0, ValueError), (NAN, ValueError), (INF, ValueError), ("x", TypeError)])
def test_learning_rate_set_later(wrong, error, refuses):
    def use(net):
        net.optimizer.learning_rate = wrong

    refuses(classifier, use, error, "learning_rate", "expected", re.escape(repr(wrong)))


@pytest.mark.parametrize("wrong, error", [(-1.0, ValueError), (NAN, ValueError), ("x", TypeError), (None, TypeError)])
@pytest.mark.parametrize("call", [train, fit])
def test_schedules_that_give_no_rate(wrong, error, call, refuses):
    def use(net):
        net.optimizer.learning_rate = lambda step: wrong
        try:
            call(net, X, LABELS)
        finally:
            net.optimizer.learning_rate = 0.001

    refuses(classifier, use, error, "learning_rate", "expected", re.escape(repr(wrong)))


def test_a_schedule_that_raises(refuses):
    def use(net):
        net.optimizer.learning_rate = lambda step: 1 / 0
        try:
            net.train_on_batch(X, LABELS)
        finally:
            net.optimizer.learning_rate = 0.001

    refuses(classifier, use, ZeroDivisionError, "division")


MOMENTUM_LATER = """
import numpy as np
import fastmlp as fm
x, y = np.ones((8, 5), "f4"), np.zeros((8, 3), "f4")
for use in (
    lambda net: net.train_on_batch(x, y),
    lambda net: net.fit(x, y, epochs=2),
    lambda net: net.apply_gradients({key: np.ones_like(array) for key, array in net.parameters.items()}),
):
    net, plain = (fm.Sequential([fm.layers.Dense(400), fm.layers.Dense(3)], input_dim=5, seed=1) for _ in range(2))
    for one in (net, plain):
        one.compile(fm.optimizers.SGD(0.01), "mse")
    try:
        net.optimizer.momentum = 0.9
        use(net)
        assert all("velocity" in state for state in net.optimizer_state.values())
    except (ValueError, RuntimeError, AttributeError) as error:
        assert "momentum" in str(error), error
    else:
        use(plain)
        for key, array in net.parameters.items():
            np.testing.assert_allclose(array, plain.parameters[key], rtol=0.5, atol=0.5)
print("fine")
"""


def test_momentum_set_after_compile_has_its_state_or_is_refused(run_python):
    """The state for it was not made: the kernel must not write where there is none. In a process of its own, because
    it may take the interpreter with it."""
    assert run_python(MOMENTUM_LATER).strip() == "fine"


@pytest.mark.parametrize(
    "optimizer, name, value",
    [
        (fm.optimizers.Adam, "beta_1", 0.5),
        (fm.optimizers.Adam, "epsilon", 0.1),
        (lambda: fm.optimizers.SGD(momentum=0.9), "momentum", 0.5),
        (lambda: fm.optimizers.SGD(momentum=0.9), "nesterov", True),
    ],
)
@pytest.mark.filterwarnings("ignore:apply_gradients")  # a plain dict leaves running statistics
@pytest.mark.parametrize("call", [train, fit, lambda net, x, y: net.apply_gradients(gradients_like(net))])
def test_settings_of_an_optimizer_set_later_are_obeyed_or_refused(optimizer, name, value, call, contents, same, says):
    """A copy, which is compiled anew, tells what the new setting does to the next step."""
    net = regressor(optimizer())
    before = contents(net)
    try:
        setattr(net.optimizer, name, value)
        twin = copy.deepcopy(net)
        call(net, X, ROWS)
    except (AttributeError, RuntimeError, ValueError) as error:
        says(error, name, "compile")
        assert contents(net) == before
    else:
        call(twin, X, ROWS)
        same(net, twin)


SET_LATER = """
import sys
import numpy as np
import fastmlp as fm
rng = np.random.default_rng(0)
x, labels = rng.normal(size=(500, 5)).astype("f4"), rng.integers(0, 3, 500)
rows = rng.normal(size=(500, 3)).astype("f4")

def make(loss="sparse_categorical_crossentropy"):
    net = fm.Sequential([fm.layers.Dense(3, "softmax")], input_dim=5, seed=1)
    net.compile(fm.optimizers.SGD(0.0), loss)
    return net

net = make()
net.train_on_batch(x, labels)
net.evaluate(x, labels)
name, value = {
    "loss": ("loss", fm.losses.MeanSquaredError()),
    "optimizer": ("optimizer", fm.optimizers.SGD(1.0)),
    "metrics": ("metrics", (fm.metrics.Accuracy(),)),
}[sys.argv[1]]
try:
    setattr(net, name, value)
except AttributeError as error:
    assert "compile" in str(error) or "no setter" in str(error), error
else:
    if name == "loss":
        expected = make("mse").evaluate(x, rows)["loss"]
        np.testing.assert_allclose(net.train_on_batch(x, rows)["loss"], expected, rtol=1e-5)
        np.testing.assert_allclose(net.evaluate(x, rows)["loss"], expected, rtol=1e-5)
    elif name == "optimizer":
        before = net.parameters["0.kernel"].copy()
        net.train_on_batch(x, labels)
        assert not np.array_equal(before, net.parameters["0.kernel"])
    else:
        expected = (net.predict(x).argmax(axis=1) == labels).mean()
        np.testing.assert_allclose(net.train_on_batch(x, labels)["accuracy"], expected, rtol=1e-5)
print("fine")
"""


@pytest.mark.parametrize("name", ["loss", "optimizer", "metrics"])
def test_what_compile_chooses_can_not_be_swapped_behind_its_back(name, run_python):
    """Obeyed or refused; the plan that was made for labels must not read rows."""
    assert run_python(SET_LATER, arguments=[name]).strip() == "fine"


@pytest.mark.parametrize("wrong", ["loss", "metrics", "optimizer"])
def test_a_refused_compile_leaves_the_old_one(wrong, refuses):
    arguments = {"optimizer": "sgd", "loss": "mse", "metrics": [], wrong: ["none such"] if wrong == "metrics" else "?"}
    refuses(classifier, lambda net: net.compile(**arguments), fm.UnknownNameError, "unknown")


LOGITS = {
    "sparse_categorical_crossentropy": ("SparseCategoricalCrossentropy", "softmax"),
    "categorical_crossentropy": ("CategoricalCrossentropy", "softmax"),
    "binary_crossentropy": ("BinaryCrossentropy", "sigmoid"),
}


@pytest.mark.parametrize("loss", LOGITS)
@pytest.mark.parametrize(
    "end",
    [
        lambda: [L.Dense(CLASSES)],
        lambda: [L.Dense(CLASSES, "relu")],
        lambda: [L.Dense(CLASSES), L.Activation("tanh")],
        lambda: [L.Dense(CLASSES), L.BatchNorm()],
        lambda: [L.Dense(CLASSES), L.Dropout(0.1)],
        lambda: [L.Dense(CLASSES, "softmax"), L.Dense(CLASSES)],
    ],
    ids=["dense", "relu", "tanh", "batch norm", "dropout", "softmax too early"],
)
def test_logits_where_probabilities_are_expected(loss, end, says):
    name, remedy = LOGITS[loss]
    for build in (True, False):
        net = fm.Sequential(end(), input_dim=FEATURES if build else None)
        with pytest.raises(ValueError) as caught:
            net.compile("sgd", loss)
            net.build(FEATURES)
        says(caught.value, "probabilities", f"'{remedy}'|{remedy}", rf"{name}\(from_logits=True\)")
        assert net.loss is None or not net.built
        net.compile("sgd", {"name": loss, "from_logits": True})  # the second remedy is one


@pytest.mark.parametrize("metric", ["mse", "mae"])
@pytest.mark.parametrize("rows", [CLASSES, N])
def test_metrics_of_differences_between_labels_and_outputs(metric, rows, contents, says):
    """As many rows as classes would be broadcast to a number without meaning."""

    def use(net):
        net.compile("adam", "sparse_categorical_crossentropy", [metric])
        net.train_on_batch(X[:rows], LABELS[:rows])

    net, twin = classifier(), classifier()
    with pytest.raises(ValueError) as caught:
        use(net)
    says(caught.value, "mean_", "labels|one-hot|sparse|shape")
    kept, expected = contents(net), contents(twin)
    assert [name for name in kept if name.startswith(("parameter", "buffer")) and kept[name] != expected[name]] == []


def test_early_stopping_that_watches_nothing(says):
    with pytest.raises(ValueError) as caught:
        classifier().fit(X, LABELS, callbacks=[fm.callbacks.EarlyStopping()])
    says(caught.value, "'val_loss'", "accuracy, loss", "validation_data")
    for wrong in ({"mode": "up"}, {"patience": -1}, {"min_delta": -0.5}):
        with pytest.raises(ValueError) as caught:
            fm.callbacks.EarlyStopping(**wrong)
        says(caught.value, next(iter(wrong)), str(next(iter(wrong.values()))))


# -- threads -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong, error, words",
    [
        (0, ValueError, "at least 1.*0"),
        (-2, ValueError, "at least 1.*-2"),
        (2.0, TypeError, "integer.*2.0"),
        ("2", TypeError, "integer.*'2'"),
        (True, TypeError, "integer.*True"),
        (None, TypeError, "integer.*None"),
        (2**40, ValueError, str(2**40)),
    ],
)
def test_number_of_threads(wrong, error, words, says):
    before = fm.get_num_threads()
    with pytest.raises(error) as caught:
        fm.set_num_threads(wrong)
    says(caught.value, "threads", words)
    with pytest.raises(error), fm.num_threads(wrong):
        pass
    assert fm.get_num_threads() == before


THREADS = """
import os, sys
import fastmlp as fm
net = fm.Sequential([fm.layers.Dense(3)], input_dim=2)
for use in (fm.get_num_threads, lambda: net.predict([[1.0, 2.0]]), fm.config):
    try:
        use()
    except ValueError as error:
        print(error)
    else:
        print("accepted")
fm.set_num_threads(2)  # this one is not asked of the environment
print(net.predict([[1.0, 2.0]]).shape)
"""


@pytest.mark.parametrize("value", ["abc", "0", "-3", "2.5"])
def test_number_of_threads_in_the_environment(value, says, run_python):
    *errors, last = run_python(THREADS, FASTMLP_NUM_THREADS=value).splitlines()
    assert len(errors) == 3 and len(set(errors)) == 1
    says(errors[0], "FASTMLP_NUM_THREADS", "integer of at least 1", f"'{value}'")
    assert last == "(1, 3)"
