"""Data that is refused, with which words, and that nothing has changed then: shapes, dtypes, NaN, weights, outputs."""

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
def test_inputs(call, x, error, words, refuses):
    refuses(classifier, lambda net: call(net, x, LABELS), error, *words)


@every
def test_overflow_of_inputs(call, refuses):
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
def test_labels(call, y, error, words, refuses):
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
def test_targets(call, y, error, words, refuses):
    refuses(regressor, lambda net: call(net, X, y), error, *words)


@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy"])
@pytest.mark.parametrize("value", [-0.1, 1.5, -INF, INF])
@steps
def test_targets_that_are_no_probabilities(call, loss, value, same, says):
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


def test_labels_for_several_outputs_name_the_loss_for_them(says):
    net = built([L.Dense(CLASSES, "softmax")], "categorical_crossentropy")
    with pytest.raises(ValueError) as caught:
        net.fit(X, LABELS)
    says(caught.value, r"\(40, 3\)", r"\(40,\)", "sparse_categorical_crossentropy")


@pytest.mark.parametrize("call", [*WITH_TARGETS, vjp])
def test_empty_data(call, refuses):
    refuses(classifier, lambda net: call(net, X[:0], LABELS[:0]), ValueError, "no samples", r"\(0, 5\)")


def test_no_rows_are_predicted():
    net = classifier()
    out = net.predict(X[:0])
    assert out.shape == (0, CLASSES) and out.dtype == np.float32
    given = np.empty((0, CLASSES), "f4")
    assert net.predict(X[:0], out=given) is given


def test_overflow_in_the_middle_of_an_epoch(contents, same_future):
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
def test_layouts_give_the_same_bits_and_stay_as_they_are(name, same):
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


def test_read_only_data_and_a_memory_map(tmp_path, same):
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
def test_other_numbers_are_cast(dtype, same):
    x = np.arange(N * FEATURES).reshape(N, FEATURES).astype(dtype)
    net, twin = classifier(), classifier()
    plain = x.astype("f4")
    assert net.predict(x).tobytes() == twin.predict(plain).tobytes()
    for one, rows in ((net, x), (twin, plain)):
        one.fit(rows, LABELS, batch_size=BATCH)
    same(net, twin)


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u8", "f4", "f8", "f2", ">i8"])
def test_labels_of_any_number_type(dtype, same):
    net, twin = classifier(), classifier()
    for one, y in ((net, LABELS.astype(dtype)[::-1][::-1, None]), (twin, LABELS)):
        one.fit(X, y, batch_size=BATCH)
    same(net, twin)


def test_fewer_rows_than_a_batch_has(same_future):
    net, twin = classifier(), classifier()
    rows = slice(0, BATCH - 2)
    fit(net, X[rows], LABELS[rows])
    twin.train_on_batch(X[rows], LABELS[rows])
    assert net.evaluate(X[rows], LABELS[rows], batch_size=100) == twin.evaluate(X[rows], LABELS[rows], batch_size=3)
    same_future(net, twin, epochs=False)


# -- NaN and infinity ----------------------------------------------------------------------------------------------


@steps
@pytest.mark.parametrize("value", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("make", [classifier, regressor])
def test_nan_in_inputs(make, call, value, refuses):
    error = refuses(
        make, lambda net: call(net, changed(X, (0, 4), value), targets(net)), fm.NonFiniteError, r"\bx\b", "step 3"
    )
    assert isinstance(error, ValueError) and error.step == 3 and error.layer is None


@steps
@pytest.mark.parametrize("value", PLACES.values(), ids=PLACES)
def test_nan_in_targets(call, value, refuses):
    error = refuses(
        regressor, lambda net: call(net, X, changed(ROWS, (0, 2), value)), fm.NonFiniteError, r"\by\b", "step 3"
    )
    assert error.step == 3 and error.layer is None


@pytest.mark.parametrize("loss", ["binary_crossentropy", "categorical_crossentropy"])
@steps
def test_nan_in_targets_of_probabilities(call, loss, same, says):
    def make():
        return built([L.Dense(CLASSES, "sigmoid" if loss.startswith("binary") else "softmax")], loss)

    net, twin = make(), make()
    with pytest.raises(ValueError) as caught:
        call(net, X, changed(np.eye(CLASSES)[LABELS], (0, 0), NAN))
    says(caught.value, r"\by\b", "(?i)nan")
    same(net, twin)


def stepwise(net):
    class Watch(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    return {"callbacks": [Watch()]}


WAYS = {  # through fit: in compiled calls, where nothing on the way needs Python
    "compiled": (lambda x: x, lambda net: {}, ()),
    "cast": (lambda x: x.astype("f8"), lambda net: {}, ()),
    "callback": (lambda x: x, stepwise, ()),
    "metric": (lambda x: x, lambda net: {}, ("mae",)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("where", ["x", "y"])
@pytest.mark.parametrize("value", PLACES.values(), ids=PLACES)
def test_nan_in_the_middle_of_an_epoch(way, where, value, same_future, says):
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
def test_nan_in_a_later_epoch_of_shuffled_rows(way, same_future, monkeypatch):
    """The third epoch meets it, at a step that only the shuffling knows."""
    monkeypatch.setattr("fastmlp._training.source.copy_budget", lambda: 0)  # else a cast is done once, before
    prepare, options, metrics = WAYS[way]
    net, twin = regressor(metrics=metrics), regressor(metrics=metrics)
    x = X.copy()

    class Spoil(fm.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
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


def test_nan_in_a_stream_keeps_the_batches_before(same_future):
    net, twin = regressor(), regressor()
    bad = changed(X, (1, 1), NAN)
    with pytest.raises(fm.NonFiniteError, match="x") as caught:
        net.fit([(X, ROWS), (X, ROWS), (bad, ROWS)])
    assert caught.value.step == 5
    for _ in range(2):
        twin.train_on_batch(X, ROWS)
    same_future(net, twin)


def test_a_stream_that_raises_keeps_the_batches_before(same_future):
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
def test_infinity_is_found_where_it_would_be_swallowed(kind, call, same_future):
    layers, values = SWALLOWED[kind]
    for value in values:
        net, twin = built(layers(), "mse"), built(layers(), "mse")
        with pytest.raises(fm.NonFiniteError, match=r"\bx\b"):
            call(net, changed(X, (0, 2), value), ROWS)
        same_future(net, twin)


@steps
def test_nan_in_a_sample_of_no_weight(call, refuses):
    weight = changed(np.ones(N), 3, 0)
    refuses(
        regressor, lambda net: call(net, changed(X, (3, 2), NAN), ROWS, sample_weight=weight), fm.NonFiniteError, "x"
    )


@steps
@pytest.mark.parametrize("key, layer", [("0.kernel", "0"), ("1.gamma", "1"), ("3.bias", "3")])
def test_nan_in_parameters_names_the_layer(call, key, layer, same, same_future, says):
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
def test_overflow_in_a_layer_names_it(call, same):
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
def test_overflow_in_the_variance_of_batch_norm(call, same_future):
    """z is finite, its variance beyond float32: running statistics must not become infinite."""

    def make():
        return built([L.Dense(4), L.BatchNorm(name="norm"), L.Dense(CLASSES)], "mse")

    net, twin = make(), make()
    with pytest.raises(fm.NonFiniteError) as caught:
        call(net, X * np.float32(1e25), ROWS)
    assert (caught.value.layer, caught.value.step) == ("norm", 1)
    same_future(net, twin)


def test_overflow_of_gradients(same_future):
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


EVALUATIONS = {
    "evaluate": lambda net, x, y: net.evaluate(x, y),
    "evaluate in batches": lambda net, x, y: net.evaluate(x, y, batch_size=3),
    "validation_data": lambda net, x, y: net.fit(X, ROWS, validation_data=(x, y)),
    "weighted": lambda net, x, y: net.fit(X, ROWS, validation_data=[x, y, np.linspace(0, 1, len(x))]),
    "validation_split": lambda net, x, y: net.fit(x, y, validation_split=0.5),
}
SPOILED = {
    "nan in x": (lambda: (changed(X, (30, 2), NAN), ROWS), "x", "column 2"),
    "infinity in x": (lambda: (changed(X, (30, 2), -INF), ROWS), "x", "column 2"),
    "float64": (lambda: (changed(X.astype("f8"), (30, 1), NAN), ROWS), "x", "column 1"),
    "float16": (lambda: (changed(X.astype("f2"), (30, 1), INF), ROWS), "x", "column 1"),
    "Fortran order": (lambda: (np.asfortranarray(changed(X, (30, 0), NAN)), ROWS), "x", "column 0"),
    "nan in y": (lambda: (X, changed(ROWS, (30, 1), NAN)), "y", "column 1"),
    "infinity in y": (lambda: (X, changed(ROWS, (30, 0), INF)), "y", "column 0"),
}


@pytest.mark.parametrize("call", EVALUATIONS)
@pytest.mark.parametrize("data", SPOILED)
def test_nan_in_an_evaluation_is_the_error_of_training(call, data, refuses):
    """Before the first step, and named by its place in the data that were given for it."""
    make, name, column = SPOILED[data]
    row = 30 - N // 2 if call == "validation_split" else 30
    whose = "the data" if call.startswith("evaluate") else "the validation data"
    error = refuses(
        regressor,
        lambda net: EVALUATIONS[call](net, *make()),
        fm.NonFiniteError,
        f"NaN or infinity in {name}, at row {row} and {column} of {whose}",
    )
    assert (error.layer, error.step) == (None, None)


@pytest.mark.parametrize("kind", SWALLOWED)
def test_infinity_that_an_evaluation_would_swallow_is_found(kind, refuses):
    layers, values = SWALLOWED[kind]
    for value in values:
        refuses(
            lambda: built(layers(), "mse"),
            lambda net, value=value: net.evaluate(changed(X, (0, 2), value), ROWS),
            fm.NonFiniteError,
            "x, at row 0 and column 2",
        )


def test_a_loss_that_overflows_in_an_evaluation_is_let_through(same_future):
    """The data are fine; who watches sees that the network is not."""
    net, twin = (built([L.Dense(CLASSES)], "mse") for _ in range(2))
    far = np.full_like(X, 3e38)
    stop = fm.callbacks.EarlyStopping(patience=2)
    history = net.fit(X, ROWS, epochs=9, validation_data=(far, ROWS), callbacks=[stop]).history
    twin.fit(X, ROWS, epochs=len(history["loss"]))
    assert not np.isfinite(history["val_loss"]).any() and np.isfinite(history["loss"]).all()
    assert not np.isfinite(net.evaluate(far, ROWS)["loss"])
    assert len(history["loss"]) == 3, "infinity is no improvement on infinity"
    same_future(net, twin)


# -- weights -------------------------------------------------------------------------------------------------------


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
def test_sample_weight(call, weight, error, words, refuses):
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
def test_class_weight(weight, error, words, refuses):
    refuses(classifier, lambda net: net.fit(X, LABELS, class_weight=weight), error, "weight", *words)


def test_class_weight_without_classes(refuses):
    """Targets of a regression have no classes."""
    refuses(regressor, lambda net: net.fit(X, ROWS, class_weight={0: 2.0}), ValueError, "class_weight")


@pytest.mark.parametrize("way", ["compiled", "cast", "callback"])
def test_a_batch_whose_weights_sum_to_zero(way, contents, says):
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


def test_weights_that_leave_nothing_on_one_side_of_a_split(refuses):
    for half in (slice(None, N // 2), slice(N // 2, None)):
        weight = changed(np.ones(N), half, 0)
        refuses(
            classifier,
            lambda net, weight=weight: fit(net, X, LABELS, sample_weight=weight, validation_split=0.5),
            ValueError,
            "weight",
            "sum",
        )


# -- outputs -------------------------------------------------------------------------------------------------------


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
def test_out(out, words, refuses):
    refuses(classifier, lambda net: net.predict(X, out=out), (ValueError, TypeError), "out", *words)


def test_out_that_is_read_only(refuses):
    out = np.zeros((N, CLASSES), "f4")
    out.flags.writeable = False
    refuses(classifier, lambda net: net.predict(X, out=out), ValueError, "out", "writable")
    assert not out.any()


@pytest.mark.parametrize("shift", [0, 3])
def test_out_that_overlaps_the_data(shift, says):
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
def test_setting_parameters(value, error, words, refuses):
    def use(net):
        net.parameters["0.kernel"] = value

    refuses(classifier, use, error, "0.kernel", *words)


def test_keys_of_parameters_are_fixed(says):
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


@pytest.mark.filterwarnings("ignore:apply_gradients")  # of a plain dict
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
def test_gradients(change, error, words, refuses):
    found = refuses(classifier, lambda net: net.apply_gradients(change(gradients_like(net))), error, *words)
    if isinstance(found, fm.NonFiniteError):
        assert (found.layer, found.step) == ("1", 3)


def test_nan_in_a_gradient_that_is_not_learned(refuses):
    def frozen():
        net = classifier()
        net.layers[0].trainable = False
        return net

    def apply(net):
        gradients = net.loss_and_gradients(X, LABELS)[1]
        gradients["0.kernel"][0, 0] = NAN
        net.apply_gradients(gradients)

    refuses(frozen, apply, fm.NonFiniteError, "0.kernel")


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
def test_vjp(dy, error, words, refuses):
    refuses(classifier, lambda net: net.vjp(X)[1](dy), error, "dy", *words)
