"""The fast path of `train_on_batch` and `predict`: the bits and the errors of the usual way, whatever comes in."""

import _thread
import contextlib
import gc
import os
import pickle
import sys
import threading
import time
import weakref

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _kernels, threads
from fastmlp._compiler import fastpath
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

N, FEATURES, UNITS = 24, 5, 3
SPARSE, ONE_HOT, BINARY, SQUARES = (
    *("sparse_categorical_crossentropy", "categorical_crossentropy"),
    *("binary_crossentropy", "mean_squared_error"),
)
LAST = {SPARSE: "softmax", ONE_HOT: "softmax", BINARY: "sigmoid", SQUARES: None}


def network(loss=SPARSE, optimizer="adam", metrics=("accuracy",), dtype="float32", units=UNITS, seed=0):
    layers = [Dense(7), BatchNorm(), Activation("relu"), Dropout(0.2), Dense(units, LAST[loss])]
    net = fm.Sequential(layers, input_dim=FEATURES, dtype=dtype, seed=seed)
    net.compile(fm.optimizers.get(optimizer), loss, metrics)
    return net


def data(loss=SPARSE, dtype="float32", n=N, units=UNITS):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, FEATURES)).astype(dtype)
    if loss == SPARSE:
        return x, rng.integers(0, units, n)
    return x, np.eye(units, dtype=dtype)[rng.integers(0, units, n)]


class Strange(np.ndarray):
    """An array that the fast path doesn't take, though its numbers are as good as any."""


def strange(array):
    return array.view(Strange)


@pytest.fixture
def slow(monkeypatch):
    """Names of the calls that did not take the fast path."""
    found, taken = [], threading.local()

    def watch(name, fast):
        method, fast_method = getattr(fm.Sequential, name), getattr(fastpath, fast)

        def watched(net, *arguments, **options):
            taken.here = False
            try:
                return method(net, *arguments, **options)
            finally:
                if not taken.here:
                    found.append(name)

        def watched_fast(*arguments):
            result = fast_method(*arguments)
            taken.here = result is not None
            return result

        monkeypatch.setattr(fm.Sequential, name, watched)
        monkeypatch.setattr(fastpath, fast, watched_fast)

    watch("train_on_batch", "train")
    watch("predict", "predict")
    return found


def without_fast_path(net):
    """Return a network whose calls all take the usual way."""
    executables = net.engine.executables

    def without(make):
        def made(rows):
            executable = make(rows)
            executable.fastpath = None
            return executable

        return made

    executables.training, executables.take_predicting = (
        without(executables.training),
        without(executables.take_predicting),
    )
    for executable in filter(None, (executables.for_training, *executables.for_predictions)):
        executable.fastpath = None
    return net


def warm(net, *arrays):
    """Return a network that has done its first calls, and so has a fast path."""
    net.train_on_batch(*arrays)
    net.predict(arrays[0])
    return net


# What takes the fast path


@pytest.mark.parametrize("loss", LAST)
@pytest.mark.parametrize("optimizer", ["sgd", {"name": "sgd", "momentum": 0.9, "nesterov": True}, "adam"])
@pytest.mark.parametrize("metrics", [(), ("accuracy",)])
def test_bits_of_the_usual_way(loss, optimizer, metrics, dtype, slow, snapshot, same_bits):
    """Loss, metric, parameters, state, statistics and counters of many steps, on batches that grow and shrink."""
    net, twin = (network(loss, optimizer, metrics, dtype) for _ in range(2))
    x, y = data(loss, dtype)
    for n in (9, 9, 4, N, 1, 9, N):
        assert net.train_on_batch(x[:n], y[:n]) == twin.train_on_batch(strange(x[:n]), y[:n])
        assert same_bits(snapshot(net), snapshot(twin))
        assert same_bits(net.predict(x[:n]), twin.predict(strange(x[:n])))
    assert net.engine.counters() == twin.engine.counters() == {"steps": 7, "iterations": 7, "epochs": 0}
    assert slow.count("train_on_batch") == 2 + 7  # where a batch was larger than all before
    assert slow.count("predict") == 2 + 7


def unpickled(array):
    copy = pickle.loads(pickle.dumps(array))
    assert copy.dtype is not array.dtype  # equal, but another object
    return copy


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def rows_of_more(array):
    return np.repeat(array, 3, axis=0)[::3]


TAKEN = {
    "plain": lambda a: a,
    "read-only": read_only,
    "every third row": rows_of_more,
    "rows backwards": lambda a: np.ascontiguousarray(a[::-1])[::-1],
    "longer rows": lambda a: np.hstack([a, a])[:, : a.shape[1]],
    "unpickled": unpickled,
    "a view": lambda a: a[:],
}


@pytest.mark.parametrize("layout", TAKEN)
def test_layouts_that_are_taken(layout, slow, same_bits):
    """Rows may be strided, numbers in a row not."""
    x, y = data(ONE_HOT)
    net, twin = (warm(network(ONE_HOT), x, y) for _ in range(2))
    expected = twin.train_on_batch(strange(x), y), twin.predict(strange(x))
    slow.clear()
    given, targets = TAKEN[layout](x), TAKEN[layout](y)
    assert net.train_on_batch(given, targets) == expected[0]
    assert same_bits(net.predict(given), expected[1])
    assert same_bits(net(given), expected[1])
    assert slow == []


@pytest.mark.parametrize("loss", [BINARY, SQUARES])
def test_one_output_may_come_without_a_dimension(loss, slow):
    x, y = data(loss)
    nets = [warm(network(loss, units=1), x, y[:, :1]) for _ in range(4)]
    slow.clear()
    columns = [y[:, :1], np.ascontiguousarray(y[:, 0]), y[:, 0], y[:, 1][::-1]]
    logs = [net.train_on_batch(x, column) for net, column in zip(nets, columns, strict=True)]
    assert slow == []
    assert logs[0] == logs[1] == logs[2] != logs[3]


def test_labels_may_come_in_a_column(slow):
    x, y = data()
    nets = [warm(network(), x, y) for _ in range(2)]
    slow.clear()
    assert nets[0].train_on_batch(x, y[:, None]) == nets[1].train_on_batch(x, y)
    assert slow == []


@pytest.mark.parametrize("n", [1, 10, N])
def test_predictions_belong_to_the_caller(n, dtype, same_bits):
    x, y = data(dtype=dtype)
    net = warm(network(dtype=dtype), x, y)
    first = net.predict(x[:n])
    kept = first.copy()
    second = net.predict(x[::-1][:n])
    assert first is not second
    assert same_bits(first, kept)
    assert first.flags.owndata and first.flags.writeable and first.flags.c_contiguous
    assert (type(first), first.dtype, first.shape) == (np.ndarray, np.dtype(dtype), (n, UNITS))


def test_out_is_written_and_returned(slow, same_bits):
    x, y = data()
    net = warm(network(), x, y)
    expected = net.predict(strange(x))
    slow.clear()
    out = np.full((N + 2, UNITS), np.nan, np.float32)
    view = out[1:-1]
    assert net.predict(x, out=view) is view
    assert same_bits(view, expected)
    assert np.isnan(out[[0, -1]]).all()
    assert net.predict(x, batch_size=N, out=view) is view
    assert slow == []
    assert net.predict(x, batch_size=N - 1, out=view) is view
    assert same_bits(view, expected)
    assert slow == ["predict"]


# What takes the usual way, to the same end


def unaligned(a):
    raw = np.zeros(a.nbytes + 1, np.uint8)
    view = raw[1:].view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


REFUSED = {
    "list": lambda a: a.tolist(),
    "subclass": strange,
    "matrix-like": lambda a: np.ma.masked_array(a),
    "float64": lambda a: a.astype(np.float64),
    "int32": lambda a: a.astype(np.int32),
    "big-endian": lambda a: a.astype(a.dtype.newbyteorder(">")),
    "Fortran": np.asfortranarray,
    "every other column": lambda a: np.repeat(a, 2, axis=1)[:, ::2],
    "unaligned": unaligned,
    "memoryview": lambda a: memoryview(a),
}


@pytest.mark.parametrize("layout", REFUSED)
@pytest.mark.parametrize("which", ["x", "y", "both"])
def test_layouts_that_are_refused(layout, which, slow, snapshot, same_bits):
    """No bit changes, and the fast path stays there for other calls."""
    arrays = data(ONE_HOT)
    whole = tuple(np.round(a) for a in arrays)  # so that integers are the same numbers
    net, twin = (warm(network(ONE_HOT), *whole) for _ in range(2))
    x, y = (REFUSED[layout](a) if which in (name, "both") else a for name, a in zip("xy", whole, strict=True))
    expected = [twin.train_on_batch(*whole) for _ in range(2)]
    slow.clear()
    assert net.train_on_batch(x, y) == expected[0]
    if which != "y":
        assert same_bits(net.predict(x), net.predict(whole[0]))
    assert slow == ["train_on_batch", "predict"][: 1 if which == "y" else 2]
    assert net.train_on_batch(*whole) == expected[1]
    assert same_bits(snapshot(net), snapshot(twin))
    assert len(slow) < 3


@pytest.mark.parametrize("kind", [np.int32, np.uint8, np.float64, bool])
def test_labels_of_other_dtypes(kind, same_bits, snapshot):
    x, y = data()
    y %= 2
    net, twin = (warm(network(), x, y) for _ in range(2))
    assert net.train_on_batch(x, y.astype(kind)) == twin.train_on_batch(x, y)
    assert net.train_on_batch(x, np.repeat(y, 2)[::2]) == twin.train_on_batch(x, y)
    assert same_bits(snapshot(net), snapshot(twin))


def test_weights_take_the_usual_way(slow, snapshot, same_bits):
    """Ones are as none, to the bit."""
    x, y = data()
    net, twin = (warm(network(), x, y) for _ in range(2))
    slow.clear()
    assert net.train_on_batch(x, y, np.ones(N, np.float32)) == twin.train_on_batch(x, y)
    assert same_bits(snapshot(net), snapshot(twin))
    assert slow == ["train_on_batch"]


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("at", [0, 1, 7, 100 * FEATURES - 1, 100 * FEATURES])
def test_outputs_over_inputs(at, backwards, same_bits):
    """A prediction that is written over its rows, or over some of them: a layer that reads what it has written."""
    net = fm.Sequential([Dense(FEATURES)], input_dim=FEATURES, seed=0)
    rows = np.random.default_rng(0).normal(size=(100, FEATURES)).astype(np.float32)
    expected = net.predict(rows)
    memory = np.zeros(2 * rows.size, np.float32)
    x = memory[: rows.size].reshape(rows.shape)
    x = x[::-1] if backwards else x
    x[...] = rows
    out = memory[at : at + rows.size].reshape(rows.shape)
    assert net.predict(x, out=out) is out
    assert same_bits(out, expected)


class Shifted(fm.activations.Activation):
    """NumPy code within a step."""

    def forward(self, z):
        return np.where(z > 0.0, z, z * 0.5) + (0.25 if z.sum() > -np.inf else 0.0)

    def derivative(self, z, a):
        return np.where(z > 0, 1.0, 0.5).astype(z.dtype)


class Squares(fm.losses.Loss):
    recordable = False

    def value_and_gradient(self, y_true, y_pred):
        return ((y_pred - y_true) ** 2).sum(axis=1), 2 * (y_pred - y_true)


class Plain(fm.optimizers.Optimizer):
    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


FOREIGN = {
    "activation": ([Dense(UNITS, Shifted())], "sgd", "mse", []),
    "loss": ([Dense(UNITS)], "sgd", Squares(), []),
    "optimizer": ([Dense(UNITS)], Plain(), "mse", []),
    "metric": ([Dense(UNITS)], "sgd", "mse", ["mae"]),
    "accuracy of another kind": ([Dense(UNITS)], "sgd", "mse", [fm.metrics.Accuracy("binary"), "mse"]),
}


@pytest.mark.parametrize("what", FOREIGN)
def test_foreign_code_is_run(what, slow):
    """Steps that need Python have no fast path; predictions have one where the way forward needs no Python."""
    layers, optimizer, loss, metrics = FOREIGN[what]
    x, y = data(SQUARES)
    config = [type(layer).from_config(layer.get_config()) for layer in layers]
    net = fm.Sequential(config, input_dim=FEATURES, seed=0)
    net.compile(optimizer, loss, metrics)
    logs = [net.train_on_batch(x, y) for _ in range(3)]
    assert logs[0]["loss"] > logs[1]["loss"] > logs[2]["loss"]
    assert len(logs[0]) == 1 + len(metrics)
    assert slow == ["train_on_batch"] * 3
    for _ in range(2):
        net.predict(x)
    assert slow.count("predict") == (2 if what == "activation" else 1)


# What is refused


def unlike(array, place, value):
    copy = array.copy()
    copy[place] = value
    return copy


X, LABELS = data()
_, ROWS = data(ONE_HOT)
WRONG = {
    "no rows": (SPARSE, X[:0], LABELS[:0]),
    "one dimension": (SPARSE, X[0], LABELS),
    "three dimensions": (SPARSE, X[None], LABELS),
    "fewer features": (SPARSE, X[:, 1:], LABELS),
    "more features": (SPARSE, np.hstack([X, X]), LABELS),
    "complex": (SPARSE, X.astype(complex), LABELS),
    "objects": (SPARSE, X.astype(object), LABELS),
    "None": (SPARSE, None, LABELS),
    "no labels": (SPARSE, X, None),
    "fewer labels": (SPARSE, X, LABELS[1:]),
    "more labels": (SPARSE, X[1:], LABELS),
    "a negative label": (SPARSE, X, unlike(LABELS, 3, -1)),
    "a label too large": (SPARSE, X, unlike(LABELS, -1, UNITS)),
    "the largest label": (SPARSE, X, unlike(LABELS, 0, 2**63 - 1)),
    "the smallest label": (SPARSE, X, unlike(LABELS, 0, -(2**63))),
    "one-hot for labels": (SPARSE, X, np.eye(UNITS, dtype=np.int64)[LABELS]),
    "labels for one-hot": (ONE_HOT, X, LABELS),
    "fewer columns": (ONE_HOT, X, np.ascontiguousarray(ROWS[:, 1:])),
    "fewer targets": (ONE_HOT, X, ROWS[1:]),
    "a target above 1": (ONE_HOT, X, unlike(ROWS, (2, 1), 1.0001)),
    "a target below 0": (BINARY, X, unlike(ROWS, (-1, -1), -1e-6)),
    "an infinite target": (BINARY, X, unlike(ROWS, (0, 0), np.inf)),
    "NaN in x": (SPARSE, unlike(X, (3, 2), np.nan), LABELS),
    "infinity in x": (SPARSE, unlike(X, (0, 0), -np.inf), LABELS),
    "NaN in a target": (SQUARES, X, unlike(ROWS, (1, 2), np.nan)),
    "NaN in a probability": (ONE_HOT, X, unlike(ROWS, (1, 2), np.nan)),
    "infinity in a target": (SQUARES, X, unlike(ROWS, (1, 2), np.inf)),
    "numbers too large": (SQUARES, X * np.float32(1e30), ROWS),
}


def refused(call):
    with pytest.raises(Exception) as caught:
        call()
    return caught.value


@pytest.mark.parametrize("what", WRONG)
def test_errors_of_the_usual_way(what, slow, snapshot, same_bits):
    """The same type and text, nothing changed, and the next step is as if nothing had been."""
    loss, x, y = WRONG[what]
    usual = data(loss)
    net, twin = (warm(network(loss), *usual) for _ in range(2))
    before = snapshot(net)
    without_fast_path(twin)
    for _ in range(2):
        error, expected = (refused(lambda one=one: one.train_on_batch(x, y)) for one in (net, twin))
        assert (type(error), str(error)) == (type(expected), str(expected))
        assert vars(error) == vars(expected)
        assert same_bits(snapshot(net), before)
    slow.clear()
    assert net.train_on_batch(*usual) == twin.train_on_batch(*usual)
    assert same_bits(snapshot(net), snapshot(twin))
    assert slow == ["train_on_batch"]  # of the twin


@pytest.mark.parametrize(
    "wrong",
    [
        {"x": X[0]},
        {"x": X[:, 1:]},
        {"x": None},
        {"batch_size": 0},
        {"batch_size": True},
        {"batch_size": 100.0},
        {"batch_size": "3"},
        {"out": np.empty((N, UNITS))},
        {"out": np.empty((N, UNITS + 1), np.float32)},
        {"out": np.empty((N - 1, UNITS), np.float32)},
        {"out": np.empty(N * UNITS, np.float32)},
        {"out": np.empty((UNITS, N), np.float32).T},
        {"out": np.empty((N, 2 * UNITS), np.float32)[:, ::2]},
        {"out": np.empty((2 * N, UNITS), np.float32)[::2]},
        {"out": read_only(np.empty((N, UNITS), np.float32))},
        {"out": unaligned(np.empty((N, UNITS), np.float32))},
        {"out": [[0.0] * UNITS] * N},
    ],
)
def test_errors_of_predict(wrong, same_bits):
    net, twin = (warm(network(), X, LABELS) for _ in range(2))
    without_fast_path(twin)
    arguments = {"x": X, "batch_size": None, "out": None} | wrong
    x = arguments.pop("x")
    errors = [refused(lambda one=one: one.predict(x, **arguments)) for one in (net, twin)]
    assert [type(error) for error in errors] == [type(errors[0])] * 2
    assert str(errors[0]) == str(errors[1])
    assert same_bits(net.predict(X), twin.predict(X))


def test_predict_lets_nan_through(slow):
    net = warm(network(), X, LABELS)
    slow.clear()
    outputs = net.predict(unlike(X, (3, 2), np.nan))
    assert np.isnan(outputs[3]).all() and not np.isnan(np.delete(outputs, 3, axis=0)).any()
    assert net.predict(X[:0]).shape == (0, UNITS)
    assert slow == ["predict"]  # no rows


def test_a_step_that_fails_is_no_step(snapshot, same_bits):
    """Not the counter of dropout's masks either; then training goes on."""
    net, twin = (warm(network(), X, LABELS) for _ in range(2))
    with pytest.raises(fm.NonFiniteError) as caught:
        net.train_on_batch(unlike(X, (3, 2), np.nan), LABELS)
    assert caught.value.step == 2
    net.parameters["0.kernel"][0, 0] = np.inf
    with pytest.raises(fm.NonFiniteError) as caught:
        net.train_on_batch(X, LABELS)
    assert (caught.value.step, caught.value.layer) == (2, "0")
    net.parameters["0.kernel"][0, 0] = twin.parameters["0.kernel"][0, 0]
    for _ in range(3):
        assert net.train_on_batch(X, LABELS) == twin.train_on_batch(X, LABELS)
    assert same_bits(snapshot(net), snapshot(twin))


# Settings


def set_all(net, **settings):
    for name, value in settings.items():
        setattr(net.optimizer, name, value)


CHANGES = {
    "learning_rate": ("adam", lambda net: set_all(net, learning_rate=0.1), True),
    "an integer": ("adam", lambda net: set_all(net, learning_rate=1), True),
    "a schedule": ("adam", lambda net: set_all(net, learning_rate=lambda step: 0.1 / step), True),
    "beta_1": ("adam", lambda net: set_all(net, beta_1=0.5), True),
    "beta_2 and epsilon": ("adam", lambda net: set_all(net, beta_2=0.5, epsilon=1e-3), True),
    "momentum": ({"name": "sgd", "momentum": 0.9}, lambda net: set_all(net, momentum=0.5), True),
    "nesterov": ({"name": "sgd", "momentum": 0.9}, lambda net: set_all(net, nesterov=True), False),
    "through vars": ("adam", lambda net: vars(net.optimizer).update(beta_1=0.5), True),
    "all at once": ("adam", lambda net: setattr(net.optimizer, "__dict__", vars(fm.optimizers.Adam(0.1, 0.5))), True),
    "nothing": ("adam", lambda net: set_all(net, beta_1=float("0.9")), True),
}


@pytest.mark.parametrize("what", CHANGES)
def test_settings_count_from_the_next_step_on(what, slow, snapshot, same_bits):
    optimizer, change, short = CHANGES[what]
    net, twin, old = (warm(network(SQUARES, optimizer), X, ROWS) for _ in range(3))
    change(net)
    change(twin)
    slow.clear()
    for _ in range(2):
        assert net.train_on_batch(X, ROWS) == twin.train_on_batch(strange(X), ROWS)
        old.train_on_batch(X, ROWS)
    assert same_bits(snapshot(net), snapshot(twin))
    assert same_bits(snapshot(net), snapshot(old)) == (what == "nothing")
    assert len(slow) == 2 + (not short)  # those of the twin, and one for a new plan


def test_a_setting_of_ones_own(slow):
    """What the plan knows nothing of is looked at by those who do."""

    class Mine(fm.optimizers.RMSprop):
        """Not one of ours, so that it may have attributes of its own."""

    net, twin = (warm(network(optimizer=Mine(0.001)), X, LABELS) for _ in range(2))
    net.optimizer.note = "mine"
    net.optimizer.learning_rate_at = lambda step: 0.0
    before = {key: view.copy() for key, view in net.parameters.items()}
    net.train_on_batch(X, LABELS)
    assert all((view == before[key]).all() for key, view in net.parameters.items())
    del net.optimizer.note, net.optimizer.learning_rate_at
    twin.optimizer.learning_rate = 0.0
    twin.train_on_batch(X, LABELS)
    twin.optimizer.learning_rate = net.optimizer.learning_rate
    slow.clear()
    assert net.train_on_batch(X, LABELS) == twin.train_on_batch(X, LABELS)
    assert slow == []


def test_a_schedule_is_asked_for_each_step(slow):
    asked = []
    net = warm(network(optimizer=fm.optimizers.Adam(lambda step: asked.append(step) or 0.001)), X, LABELS)
    slow.clear()
    for _ in range(4):
        net.train_on_batch(X, LABELS)
    assert asked == [1, 2, 3, 4, 5]
    assert slow == []


@pytest.mark.parametrize("rate", [lambda step: 1 / 0, lambda step: -1.0, lambda step: "0.1", lambda step: np.nan])
def test_a_schedule_that_fails(rate, snapshot, same_bits):
    net, twin = (warm(network(), X, LABELS) for _ in range(2))
    net.optimizer.learning_rate = twin.optimizer.learning_rate = rate
    before = snapshot(net)
    errors = [refused(lambda: net.train_on_batch(X, LABELS)), refused(lambda: twin.train_on_batch(strange(X), LABELS))]
    assert type(errors[0]) is type(errors[1]) and str(errors[0]) == str(errors[1])
    assert same_bits(snapshot(net), before)
    net.optimizer.learning_rate = twin.optimizer.learning_rate = 0.001
    assert net.train_on_batch(X, LABELS) == twin.train_on_batch(X, LABELS)


def test_a_schedule_that_uses_the_network():
    """It may look, and may not change."""
    net = warm(network(), X, LABELS)
    seen = []

    def rate(step):
        seen.append(net.predict(X))
        return 0.001

    net.optimizer.learning_rate = rate
    expected = net.predict(X)
    net.train_on_batch(X, LABELS)
    assert (seen[0] == expected).all()
    assert (net.predict(X) != expected).any()


def test_compile_makes_a_new_fast_path(snapshot, same_bits):
    net, twin = (warm(network(), X, LABELS) for _ in range(2))
    for optimizer, loss, metrics, y in (
        (fm.optimizers.SGD(0.5), SPARSE, [], LABELS),
        ("adam", ONE_HOT, ["accuracy"], ROWS),
        ("adam", ONE_HOT, ["accuracy", "mae"], ROWS),
        ("adam", SPARSE, ["accuracy"], LABELS),
    ):
        for one in (net, twin):
            one.compile(optimizer, loss, metrics)
        for _ in range(2):
            logs = net.train_on_batch(X, y)
            assert logs == twin.train_on_batch(strange(X), y)
        assert len(logs) == 1 + len(metrics)
        assert same_bits(snapshot(net), snapshot(twin))


def test_a_metric_that_changes_its_kind():
    x, y = data(ONE_HOT)
    net, twin = (warm(network(ONE_HOT), x, y) for _ in range(2))
    for kind in ("binary", None):
        for one in (net, twin):
            one.metrics[0].kind = kind
        assert net.train_on_batch(x, y) == twin.train_on_batch(strange(x), y)


def test_writes_through_views_are_seen(same_bits):
    net, twin = (warm(network(), X, LABELS) for _ in range(2))
    for one in (net, twin):
        one.parameters["0.kernel"] *= 0.5
        one.buffers["1.running_mean"][...] = 0.25
        one.optimizer_state["0.bias"]["m"][...] = 1.0
    assert same_bits(net.predict(X), twin.predict(strange(X)))
    assert net.train_on_batch(X, LABELS) == twin.train_on_batch(strange(X), LABELS)
    assert same_bits(net.predict(X), twin.predict(strange(X)))


def test_a_copy_has_a_fast_path_of_its_own(snapshot, same_bits):
    net = warm(network(), X, LABELS)
    before = snapshot(net)
    copy = pickle.loads(pickle.dumps(net))
    later = [copy.train_on_batch(X, LABELS) for _ in range(2)]
    assert same_bits(snapshot(net), before)
    assert [net.train_on_batch(X, LABELS) for _ in range(2)] == later


# Beside other calls


def test_steps_and_predictions_within_a_callback(snapshot, same_bits):
    """In the middle of a weighted epoch, whose data is bound: the fast path neither takes it as its own nor lets go."""
    weight = np.linspace(0.5, 2, N)

    class Trains(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.predict(X)
            self.model.train_on_batch(X, LABELS)

    net, twin = (warm(network(), X, LABELS) for _ in range(2))
    net.fit(X, LABELS, sample_weight=weight, batch_size=8, shuffle=False, callbacks=[Trains()], verbose=0)
    for at in range(0, N, 8):
        rows = slice(at, at + 8)
        twin.train_on_batch(X[rows], LABELS[rows], weight[rows])
        twin.train_on_batch(X, LABELS)
    assert same_bits(snapshot(net), snapshot(twin))
    assert net.evaluate(X, LABELS, sample_weight=weight) == twin.evaluate(X, LABELS, sample_weight=weight)


def test_calls_from_within_a_step():
    """A step's Python code may predict, but not start another step on the same memory."""
    errors = []

    class Meddler(fm.activations.Activation):
        recordable = False
        net = None

        def forward(self, z):
            if self.net is not None:
                net, self.net = self.net, None
                net.predict(X)
                errors.append(refused(lambda: net.train_on_batch(X, LABELS)))
            return z

        def derivative(self, z, a):
            return np.ones_like(z)

    meddler = Meddler()
    net = fm.Sequential([Dense(4, meddler), Dense(UNITS, "softmax")], input_dim=FEATURES, seed=0)
    net.compile("adam", SPARSE)
    warm(net, X, LABELS)
    meddler.net = net
    net.train_on_batch(X, LABELS)
    assert type(errors[0]) is RuntimeError and "within a step" in str(errors[0])


def in_thread(call):
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def large(rows=1500, width=700):
    """A network and rows that keep a thread busy for a while, most of it without the GIL."""
    net = fm.Sequential([Dense(width, "tanh"), Dense(width, "tanh"), Dense(UNITS, "softmax")], input_dim=FEATURES)
    net.compile("sgd", SPARSE)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(rows, FEATURES)).astype(np.float32), rng.integers(0, UNITS, rows)
    return warm(net, x[:1000], y[:1000]), x[:1000], y[:1000]


@pytest.mark.parametrize("busy", ["predict", "train_on_batch"])
@pytest.mark.parametrize("other", ["predict", "train_on_batch", "compile"])
def test_another_thread_meets_a_call_that_runs(busy, other):
    """RuntimeError for a change beside anything, and for anything beside a change; two predictions run at once."""
    net, x, y = large()
    calls = {
        "predict": lambda: net.predict(x),
        "train_on_batch": lambda: net.train_on_batch(x, y),
        "compile": lambda: net.compile("sgd", SPARSE),
    }
    stop, running = threading.Event(), threading.Event()

    def keep_busy():
        fm.set_num_threads(1)
        while not stop.is_set():
            with contextlib.suppress(RuntimeError):  # the other came first
                calls[busy]()
            running.set()

    thread = in_thread(keep_busy)
    assert running.wait(60)
    met, end = None, time.monotonic() + (1 if busy == other == "predict" else 20)
    with fm.num_threads(1):
        while met is None and time.monotonic() < end:
            try:
                calls[other]()
            except RuntimeError as error:
                met = str(error)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    if busy == other == "predict":
        assert met is None
    else:
        assert met.startswith(f"{other}: another thread is {'changing' if other == 'predict' else 'using'}")
    for call in calls.values():  # all is free again
        call()


def test_many_threads_predict_on_the_fast_path(slow, same_bits):
    net = warm(network(), X, LABELS)
    inputs = [np.roll(X, i, axis=0).copy() for i in range(4)]
    right = [net.predict(x) for x in inputs]
    wrong, barrier = [], threading.Barrier(4)

    def caller(i):
        barrier.wait()
        for _ in range(2000):
            if not same_bits(net.predict(inputs[i]), right[i]):
                wrong.append(i)

    running = [in_thread(lambda i=i: caller(i)) for i in range(4)]
    for thread in running:
        thread.join(60)
        assert not thread.is_alive()
    assert wrong == []
    assert 1 <= slow.count("predict") <= 4  # once for each thread at most: the first use of an executable


@pytest.fixture
def asked():
    """Return which threads have been asked for their number of threads."""
    found = []

    def count():
        found.append(threading.get_ident())
        return threads.count_for_kernels()

    _kernels.concurrency.set_thread_source(count)
    _kernels.concurrency.forget_thread_count()
    yield found
    _kernels.concurrency.set_thread_source(threads.count_for_kernels)
    _kernels.concurrency.forget_thread_count()


def test_the_number_of_threads_is_asked_once(asked, same_bits):
    """By each thread of Python; and again where it is set."""
    net = warm(network(), X, LABELS)
    asked.clear()
    _kernels.concurrency.forget_thread_count()

    def use():
        for _ in range(3):
            net.predict(X)
        net.train_on_batch(X, LABELS)

    use()
    assert asked == [threading.get_ident()]
    use()
    in_thread(use).join(60)
    assert len(asked) == 2
    with fm.num_threads(3):
        use()
        assert len(asked) == 3
    use()
    assert len(asked) == 4
    before = fm.get_num_threads()
    fm.set_num_threads(before)
    use()
    assert len(asked) == 5


FORK = """
import os, warnings
import numpy as np
import fastmlp as fm

warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
net = fm.Sequential([fm.layers.Dense(3, "softmax")], input_dim=5, seed=0)
net.compile("sgd", "sparse_categorical_crossentropy")
x, y = np.ones((4, 5), np.float32), np.arange(4) % 3
fm.set_num_threads(4)
for _ in range(3):
    net.train_on_batch(x, y)
child = os.fork()
if child == 0:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            net.train_on_batch(x, y)
            net.predict(x)
    words = [str(warning.message).split()[:3] for warning in caught]
    os._exit(0 if words == [["this", "process", "was"]] and fm.get_num_threads() == 1 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_child_is_warned_once(run_python):
    """On the fast path too, though its parent has been asked for its number of threads."""
    assert run_python(FORK) == "0\n"


def test_ctrl_c_between_two_steps(snapshot, same_bits):
    """Parameters and counters are those of a whole number of steps, and nobody is taken to use the network still."""
    net = warm(network(), X, LABELS)
    for delay in np.linspace(0.001, 0.01, 10):
        timer = threading.Timer(delay, _thread.interrupt_main)
        with pytest.raises(KeyboardInterrupt):
            timer.start()
            while True:
                net.train_on_batch(X, LABELS)
        timer.join()
    twin = network()
    for _ in range(net.engine.steps):
        twin.train_on_batch(X, LABELS)
    assert same_bits(snapshot(net), snapshot(twin))
    answers = []
    in_thread(lambda: answers.append(net.train_on_batch(X, LABELS))).join(60)
    assert answers == [twin.train_on_batch(X, LABELS)]


# Nothing is kept


def calls_of_all_kinds(net, x, y, out):
    """Make calls that take the fast path, that don't, and that fail."""
    net.train_on_batch(x, y)
    net.predict(x)
    net.predict(x, out=out)
    net.train_on_batch(strange(x), y)
    for call in (
        lambda: net.train_on_batch(x, y[1:]),
        lambda: net.train_on_batch(x, y + 100),
        lambda: net.train_on_batch(x * np.float32(np.nan), y),
        lambda: net.predict(x[:, 1:]),
        lambda: net.predict(x, out=out[1:]),
    ):
        with pytest.raises(ValueError):
            call()


def test_nothing_keeps_the_arrays():
    """They can be resized, and are freed; no reference is counted twice or forgotten."""
    x, y = data()
    out = np.empty((N, UNITS), np.float32)
    net = warm(network(), x, y)
    watched = [x, y, out, x.dtype, y.dtype, np.ndarray, net.optimizer, *vars(net.optimizer).values()]
    calls_of_all_kinds(net, x, y, out)
    gc.collect()
    before = [sys.getrefcount(thing) for thing in watched]
    for _ in range(50):
        calls_of_all_kinds(net, x, y, out)
    gc.collect()
    after = [sys.getrefcount(thing) for thing in watched]
    assert max(abs(a - b) for a, b in zip(after, before, strict=True)) < 10  # others hold dtypes and classes too
    assert after[:3] == before[:3]
    outputs = net.predict(x)
    del watched
    x.resize(0)  # refused where somebody else has a reference
    y.resize(0)
    out.resize(0)
    outputs.resize(0)
    gone = [weakref.ref(array) for array in (x, y, out, outputs)]
    del x, y, out, outputs
    assert [reference() for reference in gone] == [None] * 4


def test_a_network_is_freed_with_its_fast_path():
    net = warm(network(), X, LABELS)
    gone = [weakref.ref(thing) for thing in (net, net.engine, net.engine.executables.training(N), net.optimizer)]
    arena = weakref.ref(net.engine.memory.flat_parameters)
    del net
    gc.collect()
    assert [reference() for reference in (*gone, arena)] == [None] * 5
