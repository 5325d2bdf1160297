"""What is refused, with which words, and that nothing has changed then: data, arguments, plugins, callbacks, Ctrl-C."""

import contextlib
import copy
import dis
import functools
import json
import os
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastmlp as fm

L = fm.layers
N, FEATURES, CLASSES, BATCH = 40, 5, 3, 8
INF, NAN = np.inf, np.nan
PLACES = {"nan": NAN, "infinity": INF, "minus infinity": -INF}


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


def targets(net):
    return LABELS if net.loss.labels else ROWS


def contents(net):
    """Every array of a network, as bytes."""
    arrays = {f"parameter {key}": array for key, array in net.parameters.items()}
    arrays |= {f"buffer {key}": array for key, array in net.buffers.items()}
    for key, state in net.optimizer_state.items():
        arrays |= {f"state {key} {name}": np.asarray(array) for name, array in state.items()}
    return {name: array.tobytes() for name, array in arrays.items()}


def same(net, twin):
    """Fails with the names of what differs."""
    mine, other = contents(net), contents(twin)
    assert mine.keys() == other.keys()
    assert [name for name in mine if mine[name] != other[name]] == []


def same_future(net, twin, *, epochs=True):
    """The same arrays, and the same bits after what is done next: counters for Adam, masks and shuffling are alike."""
    same(net, twin)
    for one in (net, twin):
        one.train_on_batch(X, targets(one))
    same(net, twin)
    if epochs:
        for one in (net, twin):
            one.fit(X, targets(one), batch_size=BATCH)
        same(net, twin)


def says(error, *words):
    missing = [word for word in words if not re.search(word, str(error))]
    assert not missing, f"{missing} not in: {error}"


def refuses(make, call, error, *words):
    """`call(net)` raises, the message has all the words (regular expressions), and nothing has changed."""
    net, twin = make(), make()
    with pytest.raises(error) as caught:
        call(net)
    says(caught.value, *words)
    same_future(net, twin)
    return caught.value


def brief(value):
    """A parameter in the name of its test."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}".replace(" ", "")
    return value.__name__ if isinstance(value, type) else None


def changed(array, index, value):
    array = array.copy()
    array[index] = value
    return array


def train(net, x, y, **kwargs):
    net.train_on_batch(x, y, **kwargs)


def gradients(net, x, y, **kwargs):
    net.loss_and_gradients(x, y, **kwargs)


def fit(net, x, y, *, shuffle=False, **kwargs):
    net.fit(x, y, batch_size=BATCH, shuffle=shuffle, **kwargs)


def fit_stream(net, x, y, sample_weight=None):
    net.fit([(x, y) if sample_weight is None else (x, y, sample_weight)])


def validate(net, x, y, sample_weight=None):
    weight = () if sample_weight is None else (sample_weight,)
    net.fit(X, targets(net), validation_data=(x, y, *weight))


def evaluate(net, x, y, **kwargs):
    net.evaluate(x, y, **kwargs)


def predict(net, x, y):
    net.predict(x)


def vjp(net, x, y):
    net.vjp(x)


STEPS = [train, gradients, fit]
WITH_TARGETS = [*STEPS, fit_stream, validate, evaluate]
EVERY = [*WITH_TARGETS, predict, vjp]
steps = pytest.mark.parametrize("call", STEPS)
with_targets = pytest.mark.parametrize("call", WITH_TARGETS)
every = pytest.mark.parametrize("call", EVERY)

# -- shapes and dtypes ---------------------------------------------------------------------------------------------


@every
@pytest.mark.parametrize(
    "x, error, words",
    [
        (X[:, :4], ValueError, ["x", "expected 5 features", "got 4"]),
        (np.ones((N, 6), "f4"), ValueError, ["x", "expected 5 features", "got 6"]),
        (X[0], ValueError, ["x", "2 dimensions", r"\(5,\)", r"x\[None, :\]"]),
        (X[None], ValueError, ["x", "2 dimensions", r"\(1, 40, 5\)"]),
        (np.float32(3), ValueError, ["x", "2 dimensions", r"\(\)"]),
        (np.ones((N, 0), "f4"), ValueError, ["x", "5|at least one feature", r"0"]),
        ([[1, 2, 3, 4, 5], [1, 2]], TypeError, ["x", "numbers", "list"]),
        (X.astype(object), TypeError, ["x", "expected real", "object"]),
        (X.astype(str), TypeError, ["x", "expected real", "U"]),
        (X.astype("S8"), TypeError, ["x", "expected real", "S8"]),
        (X.astype(complex), TypeError, ["x", "expected real", "complex128"]),
        (X.astype("datetime64[s]"), TypeError, ["x", "expected real", "datetime64"]),
        (X.astype("timedelta64[s]"), TypeError, ["x", "expected real", "timedelta64"]),
        (np.zeros(N, [("a", "f4"), ("b", "f4")]), TypeError, ["x", "expected real", "a.*f4"]),
        ({"x": X}, TypeError, ["x", "expected", "dict|object"]),
        ("data.csv", TypeError, ["x", "expected real", "U8"]),
        (None, TypeError, ["x", "expected real", "None|object"]),
    ],
    ids=brief,
)
def test_inputs(call, x, error, words):
    refuses(classifier, lambda net: call(net, x, LABELS), error, *words)


@every
def test_overflow_of_inputs(call):
    """A finite number that the network's dtype does not have."""
    words = ["x", "beyond the range of float32", "float64"]
    refuses(classifier, lambda net: call(net, X.astype("f8") * 1e300, LABELS), ValueError, *words)


@with_targets
@pytest.mark.parametrize(
    "y, error, words",
    [
        (LABELS[:-1], ValueError, ["y", "expected 40", r"\(39,\)"]),
        (np.tile(LABELS, 2), ValueError, ["y", "expected 40", r"\(80,\)"]),
        (changed(LABELS, 7, -1), ValueError, ["y", "0 to 2", "-1"]),
        (changed(LABELS, 7, CLASSES), ValueError, ["y", "0 to 2", "3"]),
        (changed(LABELS.astype("u8"), 7, 2**64 - 1), ValueError, ["y", "0 to 2", "18446744073709551615"]),
        (LABELS + 0.5, ValueError, ["y", "whole numbers", "fractions"]),
        (changed(LABELS.astype("f4"), 3, NAN), ValueError, ["y", "NaN"]),
        (changed(LABELS.astype("f4"), 3, INF), ValueError, ["y", "inf"]),
        (changed(LABELS.astype("f4"), 3, -INF), ValueError, ["y", "inf"]),
        (np.eye(CLASSES)[LABELS], ValueError, ["y", r"\(40,\)", r"\(40, 3\)", "categorical_crossentropy"]),
        (LABELS[:, None, None], ValueError, ["y", r"\(40,\)", r"\(40, 1, 1\)"]),
        (LABELS.astype(str), TypeError, ["y", "expected real", "U"]),
        (LABELS.astype(object), TypeError, ["y", "expected real", "object"]),
        (LABELS.astype(complex), TypeError, ["y", "expected real", "complex"]),
        ([[0]] * 39 + [[0, 1]], TypeError, ["y", "numbers", "list"]),
    ],
    ids=brief,
)
def test_labels(call, y, error, words):
    refuses(classifier, lambda net: call(net, X, y), error, *words)


@with_targets
@pytest.mark.parametrize(
    "y, error, words",
    [
        (ROWS[:-1], ValueError, ["y", "expected 40", r"\(39, 3\)"]),
        (ROWS[:, :2], ValueError, ["y", r"\(40, 3\)", r"\(40, 2\)"]),
        (ROWS[:, 0], ValueError, ["y", r"\(40, 3\)", r"\(40,\)"]),
        (ROWS[..., None], ValueError, ["y", r"\(40, 3\)", r"\(40, 3, 1\)"]),
        (ROWS.astype("f8") * 1e300, ValueError, ["y", "beyond the range of float32"]),
        (ROWS.astype(complex), TypeError, ["y", "expected real", "complex"]),
        (ROWS.astype(object), TypeError, ["y", "expected real", "object"]),
    ],
    ids=brief,
)
def test_targets(call, y, error, words):
    refuses(regressor, lambda net: call(net, X, y), error, *words)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("value", [-0.1, 1.5, -INF, INF])
@steps
def test_targets_that_are_no_probabilities(call, loss, value):
    def make():
        layers = [L.Dense(CLASSES, "sigmoid" if loss.startswith("binary") else "softmax")]
        net = built(layers, loss)
        net.train_on_batch(X, good)
        return net

    good = np.eye(CLASSES, dtype="f4")[LABELS]
    net, twin = make(), make()
    with pytest.raises(ValueError) as caught:
        call(net, X, changed(good, (3, 1), value))
    says(caught.value, "y", r"\[0, 1\]", str(value))
    same(net, twin)


def test_labels_for_several_outputs_name_the_loss_for_them():
    net = built([L.Dense(CLASSES, "softmax")], "categorical_crossentropy")
    with pytest.raises(ValueError) as caught:
        net.fit(X, LABELS)
    says(caught.value, r"\(40, 3\)", r"\(40,\)", "sparse_categorical_crossentropy")


@pytest.mark.parametrize("call", [*WITH_TARGETS, vjp])
def test_empty_data(call):
    refuses(classifier, lambda net: call(net, X[:0], LABELS[:0]), ValueError, "no samples", r"\(0, 5\)")


def test_no_rows_are_predicted():
    net = classifier()
    out = net.predict(X[:0])
    assert out.shape == (0, CLASSES) and out.dtype == np.float32
    given = np.empty((0, CLASSES), "f4")
    assert net.predict(X[:0], out=given) is given


def test_overflow_in_the_middle_of_an_epoch():
    """Found before the epoch, or when its batch comes: whole steps either way."""
    net, untouched, trained = classifier(), classifier(), classifier()
    x = changed(X.astype("f8"), (2 * BATCH + 3, 1), 1e300)
    with pytest.raises(ValueError, match="beyond the range of float32"):
        fit(net, x, LABELS)
    for at in (0, BATCH):
        trained.train_on_batch(X[at : at + BATCH], LABELS[at : at + BATCH])
    same_future(net, untouched if contents(net) == contents(untouched) else trained)


def test_large_float64_is_fine_for_a_network_of_float64():
    assert np.isfinite(built([L.Dense(3)], "mse", dtype="float64").predict(X.astype("f8") * 1e300)).all()


def layouts(x):
    """The same numbers in other memory: name to array."""
    wide = np.full((2 * len(x), 3 * x.shape[1]), -7.0, x.dtype)
    wide[::2, ::3] = x
    raw = np.empty(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[...] = x
    padded = np.full((len(x), x.shape[1] + 3), 9.0, x.dtype)
    padded[:, 1:-2] = x
    return {
        "fortran": np.asfortranarray(x),
        "rows reversed": x[::-1].copy()[::-1],
        "columns reversed": x[:, ::-1].copy()[:, ::-1],
        "every second row and third column": wide[::2, ::3],
        "part of a wider array": padded[:, 1:-2],
        "unaligned": unaligned,
        "byte-swapped": x.astype(x.dtype.newbyteorder()),
        "float64": x.astype("f8"),
        "long double": x.astype("g"),
        "list": x.tolist(),
    }


@pytest.mark.parametrize("name", layouts(X))
def test_layouts_give_the_same_bits_and_stay_as_they_are(name):
    x, y, weight = layouts(X)[name], layouts(ROWS)[name], np.linspace(0.5, 2, N)
    before = np.array(x), np.array(y)
    net, twin = regressor(), regressor()
    assert net.predict(x).tobytes() == twin.predict(X).tobytes()
    assert net.evaluate(x, y, sample_weight=weight) == twin.evaluate(X, ROWS, sample_weight=weight)
    for one, (rows, goals) in ((net, (x, y)), (twin, (X, ROWS))):
        one.train_on_batch(rows, goals, weight[::-1])
        one.fit(rows, goals, epochs=2, batch_size=7, sample_weight=weight)
    same(net, twin)
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_read_only_data_and_a_memory_map(tmp_path):
    np.save(tmp_path / "x.npy", X)
    net, twin = classifier(), classifier()
    for one, x in ((net, np.load(tmp_path / "x.npy", mmap_mode="r")), (twin, X)):
        assert not x.flags.writeable
        one.fit(x, LABELS, batch_size=BATCH, epochs=2)
        one.train_on_batch(x, LABELS)
        one.predict(x)
    same(net, twin)
    np.testing.assert_array_equal(np.load(tmp_path / "x.npy"), data()[0])
    np.testing.assert_array_equal(X, data()[0])


@pytest.mark.parametrize("dtype", ["bool", "i1", "u1", "i8", "u8", "f2", ">i4"])
def test_other_numbers_are_cast(dtype):
    x = np.arange(N * FEATURES).reshape(N, FEATURES).astype(dtype)
    net, twin = classifier(), classifier()
    plain = x.astype("f4")
    assert net.predict(x).tobytes() == twin.predict(plain).tobytes()
    for one, rows in ((net, x), (twin, plain)):
        one.fit(rows, LABELS, batch_size=BATCH)
    same(net, twin)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u8", "f4", "f8", "f2", ">i8"])
def test_labels_of_any_number_type(dtype):
    net, twin = classifier(), classifier()
    for one, y in ((net, LABELS.astype(dtype)[::-1][::-1, None]), (twin, LABELS)):
        one.fit(X, y, batch_size=BATCH)
    same(net, twin)


# -- NaN and infinity ----------------------------------------------------------------------------------------------


@steps
@pytest.mark.parametrize("value", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_nan_in_inputs(make, call, value):
    error = refuses(
        make, lambda net: call(net, changed(X, (0, 4), value), targets(net)), fm.NonFiniteError, r"\bx\b", "step 3"
    )
    assert isinstance(error, ValueError) and error.step == 3 and error.layer is None


@steps
@pytest.mark.parametrize("value", PLACES.values(), ids=PLACES)
def test_nan_in_targets(call, value):
    error = refuses(
        regressor, lambda net: call(net, X, changed(ROWS, (0, 2), value)), fm.NonFiniteError, r"\by\b", "step 3"
    )
    assert error.step == 3 and error.layer is None


@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy"])
@steps
def test_nan_in_targets_of_probabilities(call, loss):
    def make():
        return built([L.Dense(CLASSES, "sigmoid" if loss.startswith("binary") else "softmax")], loss)

    net, twin = make(), make()
    with pytest.raises(ValueError) as caught:
        call(net, X, changed(np.eye(CLASSES)[LABELS], (0, 0), NAN))
    says(caught.value, r"\by\b", "(?i)nan")
    same(net, twin)


def stepwise(net):
    class Watch(fm.callbacks.Callback):
        def on_batch_end(self, net, batch, logs):
            pass

    return {"callbacks": [Watch()]}


WAYS = {  # through fit: one compiled call, or back to Python after each step, for one reason or another
    "compiled": (lambda x: x, lambda net: {}, ()),
    "cast": (lambda x: x.astype("f8"), lambda net: {}, ()),
    "callback": (lambda x: x, stepwise, ()),
    "metric": (lambda x: x, lambda net: {}, ("mae",)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["x", "y"])
@pytest.mark.parametrize("value", PLACES.values(), ids=PLACES)
def test_nan_in_the_middle_of_an_epoch(way, where, value):
    prepare, options, metrics = WAYS[way]
    net, twin = regressor(metrics=metrics), regressor(metrics=metrics)
    row = 2 * BATCH + 3
    x = prepare(changed(X, (row, 1), value) if where == "x" else X)
    y = changed(ROWS, (row, 1), value) if where == "y" else ROWS
    with pytest.raises(fm.NonFiniteError) as caught:
        fit(net, x, y, **options(net))
    says(caught.value, rf"\b{where}\b", "step 5")
    assert caught.value.step == 5
    for at in (0, BATCH):
        twin.train_on_batch(X[at : at + BATCH], ROWS[at : at + BATCH])
    same_future(net, twin)


@pytest.mark.parametrize("way", WAYS)
def test_nan_in_a_later_epoch_of_shuffled_rows(way):
    """The third epoch meets it, at a step that only the shuffling knows."""
    prepare, options, metrics = WAYS[way]
    net, twin = regressor(metrics=metrics), regressor(metrics=metrics)
    x = X.copy()

    class Spoil(fm.callbacks.Callback):
        def on_epoch_begin(self, net, epoch):
            rows[17] = NAN if epoch == 2 else X[17]

    rows = prepare(x)
    rows = rows.copy() if rows is X else rows
    keywords = options(net)
    keywords["callbacks"] = [Spoil(), *keywords.get("callbacks", [])]
    with pytest.raises(fm.NonFiniteError) as caught:
        fit(net, rows, ROWS, epochs=5, shuffle=True, **keywords)
    per_epoch = N // BATCH
    done = caught.value.step - 1 - 2 - 2 * per_epoch
    assert 0 <= done < per_epoch
    fit(twin, X, ROWS, epochs=2, shuffle=True)
    if done:
        fit(twin, X, ROWS, steps_per_epoch=done, shuffle=True)
    same_future(net, twin, epochs=False)


def test_nan_in_a_stream_keeps_the_batches_before():
    net, twin = regressor(), regressor()
    bad = changed(X, (1, 1), NAN)
    with pytest.raises(fm.NonFiniteError, match="x") as caught:
        net.fit([(X, ROWS), (X, ROWS), (bad, ROWS)])
    assert caught.value.step == 5
    for _ in range(2):
        twin.train_on_batch(X, ROWS)
    same_future(net, twin)


def test_a_stream_that_raises_keeps_the_batches_before():
    def batches():
        yield X, ROWS
        yield X[:5], ROWS[:5]
        raise OSError("cut off")

    net, twin = regressor(), regressor()
    with pytest.raises(OSError, match="cut off"):
        net.fit(batches())
    twin.train_on_batch(X, ROWS)
    twin.train_on_batch(X[:5], ROWS[:5])
    same_future(net, twin)


SWALLOWED = {  # an infinite input of which nothing is seen in the outputs, nor in the gradients
    "tanh": (lambda: [L.Activation("tanh"), L.Dense(CLASSES)], (INF, -INF)),
    "sigmoid": (lambda: [L.Activation("sigmoid"), L.Dense(CLASSES)], (INF, -INF)),
    "relu": (lambda: [L.Activation("relu"), L.Dense(CLASSES)], (-INF,)),
    "exponential": (lambda: [L.Activation("exponential"), L.Dense(CLASSES)], (-INF,)),
    "dropout": (lambda: [L.Dropout(0.999), L.Dense(CLASSES)], (NAN, INF)),
    "tanh of a product": (lambda: [L.Dense(8, "tanh"), L.Dense(CLASSES)], (INF, -INF)),
    "relu of a product": (lambda: [L.Dense(8, "relu"), L.Dense(CLASSES)], (INF, -INF)),
    "sigmoid of a product": (lambda: [L.Dense(8, "sigmoid"), L.Dense(CLASSES)], (INF, -INF)),
    "dropout of a product": (lambda: [L.Dense(8, "relu"), L.Dropout(0.999), L.Dense(CLASSES)], (NAN, INF, -INF)),
    "a kernel of zeros": (lambda: [L.Dense(8, "tanh", kernel_initializer="zeros"), L.Dense(CLASSES)], (INF, NAN)),
}


@steps
@pytest.mark.parametrize("kind", SWALLOWED)
def test_infinity_is_found_where_it_would_be_swallowed(kind, call):
    layers, values = SWALLOWED[kind]
    for value in values:
        net, twin = built(layers(), "mse"), built(layers(), "mse")
        with pytest.raises(fm.NonFiniteError, match=r"\bx\b"):
            call(net, changed(X, (0, 2), value), ROWS)
        same_future(net, twin)


@steps
def test_nan_in_a_sample_of_no_weight(call):
    weight = changed(np.ones(N), 3, 0)
    refuses(
        regressor, lambda net: call(net, changed(X, (3, 2), NAN), ROWS, sample_weight=weight), fm.NonFiniteError, "x"
    )


@steps
@pytest.mark.parametrize("key, layer", [("0.kernel", "0"), ("1.gamma", "1"), ("3.bias", "3")])
def test_nan_in_parameters_names_the_layer(call, key, layer):
    def make():
        net = regressor()
        net.parameters[key].flat[0] = NAN
        return net

    net, twin = make(), make()
    with pytest.raises(fm.NonFiniteError) as caught:
        call(net, X, ROWS)
    says(caught.value, "step 3", f"'{layer}'")
    assert (caught.value.layer, caught.value.step) == (layer, 3)
    same(net, twin)
    for one in (net, twin):
        one.parameters[key].flat[0] = 0.5
    same_future(net, twin)


@steps
def test_overflow_in_a_layer_names_it(call):
    def make():
        net = built([L.Dense(4, name="first"), L.Dense(CLASSES, name="second")], "mse")
        net.parameters["first.kernel"][...] = 1e30
        net.parameters["second.kernel"][...] = 1e30
        return net

    net, twin = make(), make()
    with pytest.raises(fm.NonFiniteError) as caught:
        call(net, np.ones((BATCH, FEATURES), "f4"), np.zeros((BATCH, CLASSES), "f4"))
    assert (caught.value.layer, caught.value.step) == ("second", 1)
    same(net, twin)


@steps
def test_overflow_in_the_variance_of_batch_norm(call):
    """z is finite, its variance beyond float32: running statistics must not become infinite."""

    def make():
        return built([L.Dense(4), L.BatchNorm(name="norm"), L.Dense(CLASSES)], "mse")

    net, twin = make(), make()
    with pytest.raises(fm.NonFiniteError) as caught:
        call(net, X * np.float32(1e25), ROWS)
    assert (caught.value.layer, caught.value.step) == ("norm", 1)
    same_future(net, twin)


def test_overflow_of_gradients():
    """Outputs, loss and its gradient are finite, the gradient of the kernel is not."""
    net, twin = (built([L.Dense(CLASSES, kernel_initializer="zeros")], "half_squared_error") for _ in range(2))
    with pytest.raises(fm.NonFiniteError, match=r"gradients.*step 1"):
        net.train_on_batch(X * np.float32(1e30), ROWS * np.float32(1e15))
    same_future(net, twin)


@pytest.mark.parametrize("make", [classifier, regressor])
def test_nan_passes_through_predict(make):
    net, x = make(), X.copy()
    clean = net.predict(X)
    x[3, 1], x[7] = NAN, INF
    out = net.predict(x)
    rest = np.delete(np.arange(N), [3, 7])
    assert np.isnan(out[3]).all()
    assert out[rest].tobytes() == clean[rest].tobytes()
    assert net.predict(x[3:4]).shape == (1, CLASSES)


def test_nan_in_validation_data_does_not_stop_training():
    net, twin = regressor(), regressor()
    history = net.fit(X, ROWS, epochs=2, validation_data=(changed(X, (0, 0), NAN), ROWS)).history
    twin.fit(X, ROWS, epochs=2)
    assert np.isnan(history["val_loss"]).all() and np.isfinite(history["loss"]).all()
    same_future(net, twin)


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
def test_counts(value, error, words):
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
def test_initial_epoch(value, error, words):
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
def test_validation_split(value, error, words):
    refuses(classifier, lambda net: net.fit(X, LABELS, validation_split=value), error, "validation_split", *words)


@pytest.mark.parametrize(
    "value", [(X,), (X, LABELS, None, None), "xy", X[:, :2], {"x": X, "y": LABELS}, iter([X, LABELS])], ids=str
)
def test_validation_data_of_another_form(value):
    refuses(
        classifier,
        lambda net: net.fit(X, LABELS, validation_data=value),
        (ValueError, TypeError),
        "validation_data",
        r"\(x, y\)",
    )


@pytest.mark.parametrize("value", ["yes", None, 3, -1])
def test_verbose(value):
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
def test_streams(batches, error, words):
    refuses(classifier, lambda net: net.fit(batches), error, *words)


def test_options_that_a_stream_can_not_have():
    stream = [(X, LABELS)]
    for option in ({"sample_weight": np.ones(N)}, {"class_weight": {0: 2.0}}, {"validation_split": 0.5}):
        refuses(classifier, lambda net, option=option: net.fit(stream, **option), ValueError, "without y")


def test_a_generator_is_used_up_after_one_epoch():
    net, twin = classifier(), classifier()
    with pytest.raises(ValueError, match=r"generator.*one epoch"):
        net.fit(((X, LABELS) for _ in range(2)), epochs=3)
    twin.fit([(X, LABELS)] * 2)
    same_future(net, twin)


@pytest.mark.parametrize(
    "weight, error, words",
    [
        (-np.ones(N), ValueError, ["at least 0"]),
        (changed(np.ones(N), 5, NAN), ValueError, ["finite|NaN"]),
        (changed(np.ones(N), 5, INF), ValueError, ["finite"]),
        (np.zeros(N), ValueError, ["sum", "0"]),
        (np.ones(N - 1), ValueError, [r"\(40,\)", r"\(39,\)"]),
        (np.ones((N, 1)), ValueError, [r"\(40,\)", r"\(40, 1\)"]),
        (2.0, ValueError, [r"\(40,\)", r"\(\)"]),
        (np.ones(N, complex), TypeError, ["complex"]),
        (np.ones(N, object), TypeError, ["object"]),
        (["heavy"] * N, TypeError, ["U5"]),
        (np.full(N, 1e300), ValueError, ["beyond the range of float32"]),
        (np.full(N, 1e-300), ValueError, ["sum|float32"]),  # zero as float32
    ],
    ids=brief,
)
@with_targets
def test_sample_weight(call, weight, error, words):
    refuses(classifier, lambda net: call(net, X, LABELS, sample_weight=weight), error, "weight", *words)


@pytest.mark.parametrize(
    "weight, error, words",
    [
        ({0: -1.0}, ValueError, ["at least 0"]),
        ({1: NAN}, ValueError, ["finite|NaN"]),
        ({1: INF}, ValueError, ["finite"]),
        (dict.fromkeys(range(CLASSES), 0), ValueError, ["sum", "0"]),
        ({CLASSES: 2.0}, ValueError, ["0 to 2", "3"]),
        ({-1: 2.0}, ValueError, ["0 to 2", "-1"]),
        ({"cat": 2.0}, TypeError, ["integers", "'cat'"]),
        ({1.5: 2.0}, TypeError, ["integers", "1.5"]),
        ({True: 2.0}, TypeError, ["integers", "True"]),
        ({0: "heavy"}, (TypeError, ValueError), ["class_weight", "'heavy'"]),
        ({0: None}, (TypeError, ValueError), ["class_weight", "None|nan"]),
        ({0: [1, 2]}, (TypeError, ValueError), ["class_weight", r"\[1, 2\]"]),
        ([1.0, 2.0, 3.0], TypeError, ["class_weight", "mapping|dict", "list"]),
        ("balanced", TypeError, ["class_weight", "mapping|dict", "balanced|str"]),
    ],
    ids=brief,
)
def test_class_weight(weight, error, words):
    refuses(classifier, lambda net: net.fit(X, LABELS, class_weight=weight), error, "weight", *words)


def test_class_weight_without_classes():
    """Targets of a regression have no classes."""
    refuses(regressor, lambda net: net.fit(X, ROWS, class_weight={0: 2.0}), ValueError, "class_weight")


@pytest.mark.parametrize("way", ["compiled", "cast", "callback"])
def test_a_batch_whose_weights_sum_to_zero(way):
    """Such a batch of an epoch is an error, or counts for nothing; it never makes NaN or a wrong mean."""
    weight = changed(np.ones(N), slice(BATCH, 2 * BATCH), 0)
    prepare, options, _ = WAYS[way]
    net = built([L.Dense(CLASSES)], "mse", fm.optimizers.SGD(0.0))
    before = contents(net)
    try:
        history = fit_history(net, prepare(X), ROWS, sample_weight=weight, shuffle=False, **options(net))
    except ValueError as error:
        says(error, "weight", "sum", "0")
    else:
        expected = net.evaluate(X, ROWS, sample_weight=weight)["loss"]
        np.testing.assert_allclose(history["loss"], [expected], rtol=1e-5)
    assert contents(net) == before


def fit_history(net, x, y, **kwargs):
    return net.fit(x, y, batch_size=BATCH, **kwargs).history


def test_weights_that_leave_nothing_on_one_side_of_a_split():
    for half in (slice(None, N // 2), slice(N // 2, None)):
        weight = changed(np.ones(N), half, 0)
        refuses(
            classifier,
            lambda net, weight=weight: fit(net, X, LABELS, sample_weight=weight, validation_split=0.5),
            ValueError,
            "weight",
            "sum",
        )


@pytest.mark.parametrize(
    "out, words",
    [
        (np.empty((N, CLASSES + 1), "f4"), [r"\(40, 3\)", r"\(40, 4\)"]),
        (np.empty((N - 1, CLASSES), "f4"), [r"\(40, 3\)", r"\(39, 3\)"]),
        (np.empty(N * CLASSES, "f4"), [r"\(40, 3\)", r"\(120,\)"]),
        (np.empty((N, CLASSES)), ["float32", "float64"]),
        (np.empty((CLASSES, N), "f4").T, ["contiguous"]),
        (np.empty((N, 2 * CLASSES), "f4")[:, ::2], ["contiguous"]),
        (np.empty((N, CLASSES), ">f4"), ["float32", ">f4"]),
        ([[0.0] * CLASSES] * N, ["array", "list"]),
        (True, ["array", "bool"]),
    ],
    ids=brief,
)
def test_out(out, words):
    refuses(classifier, lambda net: net.predict(X, out=out), (ValueError, TypeError), "out", *words)


def test_out_that_is_read_only():
    out = np.zeros((N, CLASSES), "f4")
    out.flags.writeable = False
    refuses(classifier, lambda net: net.predict(X, out=out), ValueError, "out", "writable")
    assert not out.any()


@pytest.mark.parametrize("shift", [0, 3])
def test_out_that_overlaps_the_data(shift):
    """Right, or refused: a row is read after another row's outputs are written."""
    rows, width = 100, 300
    net = fm.Sequential([L.Dense(width)], input_dim=width, seed=1)
    memory = np.random.default_rng(2).normal(size=(rows + shift, width)).astype("f4")
    x, out = memory[:rows], memory[shift:]
    expected, before = net.predict(x.copy()), memory.copy()
    try:
        net.predict(x, out=out)
    except ValueError as error:
        says(error, "out", "overlap|memory")
        np.testing.assert_array_equal(memory, before)
    else:
        np.testing.assert_array_equal(out, expected)


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
def test_not_built(use):
    net = fm.Sequential([L.Dense(3)])
    net.compile("sgd", "mse")
    with pytest.raises(fm.NotBuiltError) as caught:
        use(net)
    says(caught.value, "input_dim", r"build\(")
    assert not net.built and net.input_dim is None


def test_not_compiled():
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


def test_built_for_another_number_of_features():
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
def test_unknown_names(kind):
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
def test_names_of_another_type(kind, wrong):
    with pytest.raises(TypeError) as caught:
        KINDS[kind][0](wrong)
    says(caught.value, kind, "expected a name", re.escape(repr(wrong)))


@pytest.mark.parametrize(
    "wrong", [{"name": "adam", "lr": 0.1}, {"name": "sgd", "momentum": 0.1, "beta1": 0.1}], ids=str
)
def test_unknown_parameters_name_the_known_ones(wrong):
    key = "lr" if "lr" in wrong else "beta1"
    refuses(regressor, lambda net: net.compile(wrong, "mse"), TypeError, f"unknown parameter '{key}'", "learning_rate=")


def test_missing_parameters_are_named():
    with pytest.raises(TypeError, match=r"'dense'.*missing parameter 'units'.*accepted: units"):
        fm.Sequential(["dense"])


@pytest.mark.parametrize("layers", [None, 3, L.Dense(3), "dense"], ids=brief)
def test_layers_that_are_no_list(layers):
    with pytest.raises(TypeError) as caught:
        fm.Sequential(layers)
    says(caught.value, "layers", "list|sequence|iterable")


@pytest.mark.parametrize("metrics", [None, "accuracy", fm.metrics.Accuracy(), 3], ids=brief)
def test_metrics_that_are_no_list(metrics):
    refuses(regressor, lambda net: net.compile("sgd", "mse", metrics), TypeError, "metrics", "list")


@pytest.mark.parametrize("metrics", [["mae", "mae"], ["mse", "mean_squared_error"], ["mae", fm.metrics.get("mae")]])
def test_two_metrics_of_one_name(metrics):
    """One of them would be lost in the logs."""
    refuses(regressor, lambda net: net.compile("sgd", "mse", metrics), ValueError, "metrics", "one name", "Mean")


@pytest.mark.parametrize(
    "callbacks",
    [None, fm.callbacks.EarlyStopping(), [fm.callbacks.EarlyStopping], [print], ["early"], [None]],
    ids=["none", "no list", "class", "function", "name", "list of none"],
)
def test_callbacks_of_another_type(callbacks):
    refuses(classifier, lambda net: net.fit(X, LABELS, callbacks=callbacks), TypeError, "callbacks?", "expected")


@pytest.mark.parametrize("wrong", [0, "float16", int, complex, ">f4", None, "foo"])
def test_dtype(wrong):
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
def test_seed(wrong, error, words):
    with pytest.raises(error) as caught:
        fm.Sequential([L.Dense(3)], seed=wrong)
    says(caught.value, "seed", words)
    assert fm.Sequential([L.Dense(3)], seed=2**64 - 1, input_dim=2).predict([[1.0, 2.0]]).shape == (1, 3)


SHARES = {
    "rate": L.Dropout,
    "momentum": lambda value: L.BatchNorm(momentum=value),
    "beta1": lambda value: fm.optimizers.Adam(beta1=value),
    "beta2": lambda value: fm.optimizers.Adam(beta2=value),
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
def test_numbers_of_another_type(name, wrong):
    """A string is no number, also where float() would read it: a configuration file was misread."""
    make = {**SHARES, **NUMBERS}[name]
    with pytest.raises(ValueError if isinstance(wrong, float) else TypeError) as caught:
        make(wrong)
    says(caught.value, name.strip(), "expected|must be", re.escape(repr(wrong)))


@pytest.mark.parametrize("name", SHARES)
@pytest.mark.parametrize("wrong", [-0.1, 1, 1.5])
def test_shares(name, wrong):
    with pytest.raises(ValueError) as caught:
        SHARES[name](wrong)
    says(caught.value, name.strip(), r"\[0, 1", str(wrong))


@pytest.mark.parametrize("wrong, error", [(-1.0, ValueError), (NAN, ValueError), (INF, ValueError), ("x", TypeError)])
def test_learning_rate_set_later(wrong, error):
    def use(net):
        net.optimizer.learning_rate = wrong

    refuses(classifier, use, error, "learning_rate", "expected", re.escape(repr(wrong)))


@pytest.mark.parametrize("wrong, error", [(-1.0, ValueError), (NAN, ValueError), ("x", TypeError), (None, TypeError)])
@pytest.mark.parametrize("call", [train, fit])
def test_schedules_that_give_no_rate(wrong, error, call):
    def use(net):
        net.optimizer.learning_rate = lambda step: wrong
        try:
            call(net, X, LABELS)
        finally:
            net.optimizer.learning_rate = 0.001

    refuses(classifier, use, error, "learning_rate", "expected", re.escape(repr(wrong)))


def test_a_schedule_that_raises():
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


def test_momentum_set_after_compile_has_its_state_or_is_refused(tmp_path):
    """The state for it was not made: the kernel must not write where there is none. In a process of its own, because
    it may take the interpreter with it."""
    assert python(MOMENTUM_LATER, tmp_path).strip() == "fine"


@pytest.mark.parametrize(
    "optimizer, name, value",
    [
        (fm.optimizers.Adam, "beta1", 0.5),
        (fm.optimizers.Adam, "epsilon", 0.1),
        (lambda: fm.optimizers.SGD(momentum=0.9), "momentum", 0.5),
        (lambda: fm.optimizers.SGD(momentum=0.9), "nesterov", True),
    ],
)
@pytest.mark.parametrize("call", [train, fit, lambda net, x, y: net.apply_gradients(gradients_like(net))])
def test_settings_of_an_optimizer_set_later_are_obeyed_or_refused(optimizer, name, value, call):
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
def test_what_compile_chooses_can_not_be_swapped_behind_its_back(name, tmp_path):
    """Obeyed or refused; the plan that was made for labels must not read rows."""
    assert python(SET_LATER, tmp_path, name).strip() == "fine"


@pytest.mark.parametrize("wrong", ["loss", "metrics", "optimizer"])
def test_a_refused_compile_leaves_the_old_one(wrong):
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
def test_logits_where_probabilities_are_expected(loss, end):
    name, remedy = LOGITS[loss]
    for build in (True, False):
        net = fm.Sequential(end(), input_dim=FEATURES if build else None)
        with pytest.raises(ValueError) as caught:
            net.compile("sgd", loss)
            net.build(FEATURES)
        says(caught.value, "probabilities", f"'{remedy}'|{remedy}", rf"{name}\(from_logits=True\)")
        assert net.loss is None or not net.built
        net.compile("sgd", {"name": loss, "from_logits": True})  # the second remedy is one


# -- parameters and gradients --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, error, words",
    [
        (np.zeros((5, 9)), ValueError, [r"\(5, 8\)", r"\(5, 9\)"]),
        (np.zeros((8, 5)), ValueError, [r"\(5, 8\)", r"\(8, 5\)"]),
        (3.0, ValueError, [r"\(5, 8\)", r"\(\)"]),
        (np.zeros((5, 8), complex), TypeError, ["complex"]),
        (np.zeros((5, 8), object), TypeError, ["object"]),
        (np.full((5, 8), "a"), TypeError, ["U1"]),
        (np.full((5, 8), 1e300), ValueError, ["range", "float32"]),
        ([[1.0] * 8] * 4 + [[1.0]], (TypeError, ValueError), ["list|shape"]),
    ],
    ids=brief,
)
def test_setting_parameters(value, error, words):
    def use(net):
        net.parameters["0.kernel"] = value

    refuses(classifier, use, error, "0.kernel", *words)


def test_keys_of_parameters_are_fixed():
    net = classifier()
    for mapping, key in ((net.parameters, "0.kernl"), (net.buffers, "1.mean"), (net.optimizer_state["0.bias"], "n")):
        with pytest.raises(KeyError) as caught:
            mapping[key]
        says(caught.value, key, *mapping)
        with pytest.raises(KeyError):
            mapping[key] = np.zeros(3)
        with pytest.raises((AttributeError, TypeError)):
            del mapping[next(iter(mapping))]


def gradients_like(net):
    return {key: np.ones_like(array) for key, array in net.parameters.items()}


@pytest.mark.parametrize(
    "change, error, words",
    [
        (lambda g: {}, ValueError, ["missing", "0.kernel"]),
        (lambda g: {**g, "9.bias": g["0.bias"]}, ValueError, ["unknown", "9.bias"]),
        (lambda g: {**g, "0.bias": np.ones(9)}, ValueError, ["0.bias", r"\(8,\)", r"\(9,\)"]),
        (lambda g: {**g, "0.bias": 1.0}, ValueError, ["0.bias", r"\(8,\)", r"\(\)"]),
        (lambda g: {**g, "0.bias": None}, (TypeError, ValueError), ["0.bias"]),
        (lambda g: {**g, "0.bias": np.ones(8, complex)}, TypeError, ["0.bias", "complex"]),
        (lambda g: {**g, "0.bias": np.ones(8, object)}, TypeError, ["0.bias", "object"]),
        (lambda g: {**g, "0.bias": ["a"] * 8}, TypeError, ["0.bias", "U1"]),
        (lambda g: {**g, "0.bias": np.full(8, 1e300)}, ValueError, ["0.bias", "float32"]),
        (lambda g: {**g, "1.beta": changed(np.ones(8), 3, NAN)}, fm.NonFiniteError, ["1.beta"]),
        (lambda g: {**g, "1.beta": changed(np.ones(8), 3, -INF)}, fm.NonFiniteError, ["1.beta"]),
        (lambda g: list(g.values()), TypeError, ["gradients", "mapping|dict", "list"]),
        (lambda g: None, TypeError, ["gradients", "mapping|dict", "None"]),
    ],
)
def test_gradients(change, error, words):
    found = refuses(classifier, lambda net: net.apply_gradients(change(gradients_like(net))), error, *words)
    if isinstance(found, fm.NonFiniteError):
        assert (found.layer, found.step) == ("1", 3)


@pytest.mark.parametrize(
    "dy, error, words",
    [
        (np.ones((N, CLASSES + 1)), ValueError, [r"\(40, 3\)", r"\(40, 4\)"]),
        (np.ones(N), ValueError, [r"\(40, 3\)", r"\(40,\)"]),
        (np.ones((N, CLASSES), complex), TypeError, ["complex"]),
        (np.ones((N, CLASSES), object), TypeError, ["object"]),
        (None, (TypeError, ValueError), [r"None|\(\)"]),
        (np.full((N, CLASSES), 1e300), ValueError, ["float32"]),
    ],
    ids=brief,
)
def test_vjp(dy, error, words):
    refuses(classifier, lambda net: net.vjp(X)[1](dy), error, "dy", *words)


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
def test_bad_names_of_layers(name):
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
def test_bad_compositions(parts, error, words):
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
def test_bad_specifications(specify, error, words):
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
def test_bad_initializers(value, words):
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


def misbehaves(kind, answer, error, words, call):
    """The plugin's fault raises, and the network goes on from the step before."""
    fault, none = Fault(), Fault()
    net, twin = plugin_net(fault, kind), plugin_net(none, kind)
    fault.now = answer
    with pytest.raises(error) as caught:
        call(net, X, ROWS)
    fault.now = None
    says(caught.value, *words)
    same_future(net, twin)
    return caught.value


@pytest.mark.parametrize("call", [train, gradients, fit])
@pytest.mark.parametrize("what", ARRAYS)
@pytest.mark.parametrize("kind", NAMED)
def test_plugins_that_return_something_else(kind, what, call):
    answer, error, words = ARRAYS[what]
    if what not in ("raises", "nan", "infinity"):
        words = words + NAMED[kind]
    if kind == "derivative" and what == "objects":
        error = (TypeError, ValueError)
    misbehaves(kind, answer, error, words, call)


@pytest.mark.parametrize("call", [train, gradients, fit])
@pytest.mark.parametrize("kind", ["forward", "derivative", "backward", "layer", "pullback"])
def test_plugins_that_write_into_what_they_are_given(kind, call):
    misbehaves(kind, write, ValueError, ["read-only"], call)


@pytest.mark.parametrize("kind, layer", [("forward", "0"), ("output", "1")])
def test_the_layer_of_a_plugin_that_returns_nan(kind, layer):
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
def test_layers_that_return_something_else(kind, answer, words, call):
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
def test_losses_that_return_something_else(answer, error, words, call):
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
def test_an_optimizer_that_fails_leaves_the_step_before(answer, error, words, call):
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
def test_states_that_are_no_arrays(state, words):
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
def test_calls_from_within_a_step_are_refused(place, tmp_path):
    """A plugin that uses the network that is using it: its memory is in use. A process of its own, as it may crash."""
    assert python(WITHIN, tmp_path, place).strip() == "fine"


def test_methods_that_were_forgotten():
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
    half = type("NoDerivative", (fm.activations.Activation,), {"forward": lambda self, z: z * 1})()
    net = built([L.Dense(4, half), L.Dense(CLASSES)], "mse")
    assert net.predict(X).shape == (N, CLASSES)
    before = contents(net)
    with pytest.raises(NotImplementedError) as caught:
        net.train_on_batch(X, ROWS)
    says(caught.value, "NoDerivative", "derivative", "backward")
    assert contents(net) == before


def test_a_metric_can_not_spoil_what_the_next_one_sees():
    class Writes(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            y_pred -= y_true
            return np.square(y_pred).sum(axis=1)

    class Sees(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            return np.abs(y_pred - y_true).sum(axis=1)

    names = {"test_bad_input.writes": Writes, "test_bad_input.sees": Sees}
    for name, cls in names.items():
        fm.registry.metrics.register(name, cls, override=True)
    try:
        net = built([L.Dense(CLASSES)], "mse", "sgd", ["test_bad_input.writes", "test_bad_input.sees"])
        expected = np.abs(net.predict(X) - ROWS).sum(axis=1).mean()
        try:
            logs = net.evaluate(X, ROWS)
        except ValueError as error:
            says(error, "read-only")
        else:
            np.testing.assert_allclose(logs["test_bad_input.sees"], expected, rtol=1e-5)
    finally:
        for name in names:
            fm.registry.metrics._runtime.pop(name)


@pytest.mark.parametrize("call", [train, fit, evaluate])
def test_a_metric_that_raises(call):
    class Raises(fm.metrics.Metric):
        broken = False

        def rows(self, y_true, y_pred):
            return np.zeros(len(y_pred)) if not Raises.broken else 1 / 0

    fm.registry.metrics.register("test_bad_input.raises", Raises, override=True)
    try:
        net = regressor(metrics=["test_bad_input.raises"])
        Raises.broken = True
        with pytest.raises(ZeroDivisionError):
            call(net, X, ROWS)
        Raises.broken = False
        twin = regressor(metrics=["test_bad_input.raises"])
        if contents(net) != contents(twin):  # the step was complete when the metric saw it
            rows = slice(0, N if call is train else BATCH)
            assert call is train or call is fit
            if call is train:
                twin.train_on_batch(X[rows], ROWS[rows])
            else:
                fit(twin, X, ROWS, steps_per_epoch=1)
        same_future(net, twin, epochs=False)
    finally:
        fm.registry.metrics._runtime.pop("test_bad_input.raises")


@pytest.mark.parametrize("metric", ["mse", "mae"])
@pytest.mark.parametrize("rows", [CLASSES, N])
def test_metrics_of_differences_between_labels_and_outputs(metric, rows):
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


# -- callbacks -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_batch_end", "on_epoch_end", "on_train_end"])
def test_callbacks_that_raise(hook):
    def fail(self, net, *rest):
        if hook in ("on_train_begin", "on_train_end") or rest[0] == 1:  # the second epoch, or batch
            raise OSError("disk full")

    Fails = type("Fails", (fm.callbacks.Callback,), {hook: fail})
    net, twin = classifier(), classifier()
    with pytest.raises(OSError, match="disk full"):
        net.fit(X, LABELS, epochs=2, batch_size=BATCH, shuffle=False, callbacks=[Fails()])
    if hook == "on_batch_end":
        for at in (0, BATCH):
            twin.train_on_batch(X[at : at + BATCH], LABELS[at : at + BATCH])
    elif hook != "on_train_begin":
        epochs = {"on_epoch_begin": 1, "on_epoch_end": 2, "on_train_end": 2}[hook]
        twin.fit(X, LABELS, epochs=epochs, batch_size=BATCH, shuffle=False)
    same_future(net, twin)
    assert in_thread(lambda: net.predict(X)) == []  # nobody is taken to use it still


def in_thread(call):
    """Errors of a call in another thread of Python."""
    errors = []

    def run():
        try:
            call()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(10)
    return errors if not thread.is_alive() else [TimeoutError("no answer")]


@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.train_on_batch(X, LABELS),
        lambda net: net.fit(X, LABELS),
        lambda net: net.predict(X),
        lambda net: net.compile("sgd"),
        lambda net: net.loss_and_gradients(X, LABELS),
    ],
    ids=["train_on_batch", "fit", "predict", "compile", "loss_and_gradients"],
)
def test_another_thread_during_fit(call):
    errors = []

    class Elsewhere(fm.callbacks.Callback):
        def on_batch_end(self, net, batch, logs):
            errors.extend(in_thread(lambda: call(net)))

    net, twin = classifier(), classifier()
    fit(net, X, LABELS, callbacks=[Elsewhere()])
    fit(twin, X, LABELS)
    assert [type(error) for error in errors] == [RuntimeError] * (N // BATCH)
    says(errors[0], "another thread", "copy")
    same_future(net, twin)


def test_calls_within_a_callback_leave_the_training_alone():
    class Looks(fm.callbacks.Callback):
        def on_batch_end(self, net, batch, logs):
            net.predict(X)
            net.evaluate(X, ROWS)
            net.loss_and_gradients(np.tile(X, (2, 1)), np.tile(ROWS, (2, 1)))
            net.vjp(X)

    net, twin = regressor(metrics=["mae"]), regressor(metrics=["mae"])
    seen = fit_history(net, X, ROWS, epochs=2, callbacks=[Looks()])
    assert seen == fit_history(twin, X, ROWS, epochs=2)
    same_future(net, twin)


def test_fewer_rows_than_a_batch_has():
    net, twin = classifier(), classifier()
    rows = slice(0, BATCH - 2)
    fit(net, X[rows], LABELS[rows])
    twin.train_on_batch(X[rows], LABELS[rows])
    assert net.evaluate(X[rows], LABELS[rows], batch_size=100) == twin.evaluate(X[rows], LABELS[rows], batch_size=3)
    same_future(net, twin, epochs=False)


def test_steps_within_a_callback_count():
    class Trains(fm.callbacks.Callback):
        def on_batch_end(self, net, batch, logs):
            net.train_on_batch(X, LABELS)  # more rows than a batch of fit has

    net, twin = classifier(), classifier()
    fit(net, X, LABELS, callbacks=[Trains()])
    for at in range(0, N, BATCH):
        twin.train_on_batch(X[at : at + BATCH], LABELS[at : at + BATCH])
        twin.train_on_batch(X, LABELS)
    same_future(net, twin, epochs=False)


def test_compile_within_a_callback_is_obeyed_or_refused():
    class Compiles(fm.callbacks.Callback):
        def on_batch_end(self, net, batch, logs):
            if batch == 0:
                net.compile(fm.optimizers.SGD(0.0), "mse")
                self.kept = contents(net)

    net, watch = regressor(), Compiles()
    try:
        fit(net, X, ROWS, callbacks=[watch])
    except RuntimeError as error:
        says(error, "compile")
        assert isinstance(net.optimizer, fm.optimizers.Adam)
    else:
        after = contents(net)
        assert [name for name in after if name.startswith("parameter") and after[name] != watch.kept[name]] == []


def test_early_stopping_that_watches_nothing():
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
def test_number_of_threads(wrong, error, words):
    before = fm.get_num_threads()
    with pytest.raises(error) as caught:
        fm.set_num_threads(wrong)
    says(caught.value, "threads", words)
    with pytest.raises(error), fm.num_threads(wrong):
        pass
    assert fm.get_num_threads() == before


def python(code, folder, *arguments, **environ):
    """What a new interpreter prints; it must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        cwd=folder,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


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
def test_number_of_threads_in_the_environment(value, tmp_path):
    *errors, last = python(THREADS, tmp_path, FASTMLP_NUM_THREADS=value).splitlines()
    assert len(errors) == 3 and len(set(errors)) == 1
    says(errors[0], "FASTMLP_NUM_THREADS", "integer of at least 1", f"'{value}'")
    assert last == "(1, 3)"


# -- Ctrl-C --------------------------------------------------------------------------------------------------------

INTERRUPTED = """
import json, os, signal, sys, threading, time
import numpy as np
import fastmlp as fm

class Watch(fm.callbacks.Callback):
    def on_batch_end(self, net, batch, logs):
        pass

def make():
    L = fm.layers
    layers = [L.Dense(16), L.BatchNorm(), L.Activation("tanh"), L.Dropout(0.2), L.Dense(3, "softmax")]
    net = fm.Sequential(layers, input_dim=8, seed=3)
    net.compile("adam", "sparse_categorical_crossentropy")
    return net

def arrays(net):
    state = [view for views in net.optimizer_state.values() for view in views.values()]
    return b"".join(a.tobytes() for a in (*net.parameters.values(), *net.buffers.values(), *state))

rng = np.random.default_rng(0)
x, y = rng.normal(size=(3000, 8)).astype("f4"), rng.integers(0, 3, 3000)
data = {"batch_size": 32, "callbacks": [Watch()] if sys.argv[1] == "stepwise" else []}
sent = []

def interrupt():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

net, twin = make(), make()
threading.Timer(0.5, interrupt).start()
try:
    net.fit(x, y, epochs=10**9, **data)
except KeyboardInterrupt:
    late = time.perf_counter() - sent[0]
steps, epochs = net._steps, net._epochs
if epochs:
    twin.fit(x, y, epochs=epochs, **data)
if rest := steps - epochs * -(-3000 // 32):
    twin.fit(x, y, steps_per_epoch=rest, **data)
same = arrays(net) == arrays(twin)
losses = [one.train_on_batch(x, y)["loss"] for one in (net, twin)]
goes_on = arrays(net) == arrays(twin) and losses[0] == losses[1]
net.fit(x, y, **data)
print(json.dumps({"late": late, "steps": steps, "same": same, "goes_on": goes_on, "loss": losses[0]}))
"""


@pytest.mark.parametrize("way", ["compiled", "stepwise"])
def test_interrupted_fit(way, tmp_path):
    """It ends soon, and as after a complete step: replaying that many steps gives the same bits, then and later."""
    found = json.loads(python(INTERRUPTED, tmp_path, way))
    assert found["steps"] > 10
    assert found["late"] < 0.8
    assert np.isfinite(found["loss"])
    assert found["same"] and found["goes_on"]


INTERRUPTED_EVALUATION = """
import json, os, signal, sys, threading, time
import numpy as np
import fastmlp as fm

net = fm.Sequential([fm.layers.Dense(256, "tanh"), fm.layers.Dense(256, "tanh"), fm.layers.Dense(1)], input_dim=64)
net.compile("sgd", "mse")
fm.set_num_threads(1)
x = np.broadcast_to(np.ones(64, "f4"), (20_000_000, 64))  # takes no memory
y = np.broadcast_to(np.ones(1, "f4"), (20_000_000, 1))
begun = time.perf_counter()
net.evaluate(x[:2000], y[:2000])
begun = time.perf_counter()
net.evaluate(x[:20_000], y[:20_000])
rows = min(int(4 * 20_000 / (time.perf_counter() - begun)), len(x))  # about four seconds
sent = []

def interrupt():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Timer(0.3, interrupt).start()
try:
    if sys.argv[1] == "predict":
        net.predict(x[:rows])
    else:
        net.evaluate(x[:rows], y[:rows])
    print("the end was reached")
except KeyboardInterrupt:
    print(time.perf_counter() - sent[0])
"""


@pytest.mark.parametrize("call", ["predict", "evaluate"])
def test_interrupted_predict_and_evaluate(call, tmp_path):
    assert float(python(INTERRUPTED_EVALUATION, tmp_path, call)) < 1.5


class Interrupter:
    """A trace function that raises KeyboardInterrupt where Python itself would, at the n-th such place in fastmlp.

    Signals are answered where a function begins, where a loop goes back, and after a call of something compiled.
    """

    FOLDERS = (os.path.dirname(fm.__file__), contextlib.__file__)

    def __init__(self, at):
        self.left = at
        self.calling = set()  # frames whose last operation was a call that has not entered Python

    def __call__(self, frame, event, argument):
        if event == "call":
            self.calling.discard(frame.f_back)
            code = frame.f_code
            if not code.co_filename.startswith(self.FOLDERS) or code.co_name == "<genexpr>":
                return None  # an interrupt in the closing of a generator is only printed
            frame.f_trace_opcodes = True
            self.place()
        elif event == "opcode":
            name = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            if frame in self.calling or name.startswith("JUMP_BACKWARD"):
                self.place()
            self.calling.discard(frame)
            if name.startswith("CALL") and "INTRINSIC" not in name:
                self.calling.add(frame)
        return self

    def place(self):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt


def interrupted(at, call):
    """Whether a call has so many places where it could be interrupted; it was, if so."""
    before = sys.gettrace()
    sys.settrace(Interrupter(at))
    try:
        call()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


INTERRUPTIBLE = {
    "train_on_batch": lambda net: net.train_on_batch(X, LABELS),
    "apply_gradients": lambda net: net.apply_gradients(gradients_like(net)),
}


@functools.cache
def interrupted_everywhere(name):
    """What is wrong after an interruption of a call, and what others may no longer use, by the number of the place."""
    call = INTERRUPTIBLE[name]
    before, after = classifier(), classifier()
    call(after)
    allowed = [contents(before), contents(after)]
    later = []
    for one in (before, after):
        call(one)
        later.append(contents(one))
    at, wrong, stuck = 0, [], []
    while True:
        at += 1
        net = classifier()
        if not interrupted(at, lambda net=net: call(net)):
            break
        if in_thread(lambda net=net: net.predict(X[:1])):
            stuck.append(at)
        found = contents(net)
        if found not in allowed:
            wrong.append(f"{at}: neither before nor after")
            continue
        call(net)
        if contents(net) != later[allowed.index(found)]:
            wrong.append(f"{at}: the next step is another")
    assert at > 30, "nothing was traced"
    return wrong, stuck


@pytest.mark.parametrize("name", INTERRUPTIBLE)
def test_ctrl_c_at_any_place_leaves_a_complete_step(name):
    """Parameters, state, statistics and counters are all of before the step, or all of after it."""
    assert interrupted_everywhere(name)[0] == []


@pytest.mark.parametrize("name", INTERRUPTIBLE)
def test_ctrl_c_at_any_place_leaves_the_network_to_others(name):
    assert interrupted_everywhere(name)[1] == []
