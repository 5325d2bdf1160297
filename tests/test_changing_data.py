"""Data that are written to while a network trains on them: found and said, or not seen; never a wrong number."""

import threading

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense

RNG = np.random.default_rng(4)
N, FEATURES = 48, 3
X = RNG.normal(size=(N, FEATURES)).astype("f4")


class Write(fm.callbacks.Callback):
    """Write into an array at the end of some epoch, or batch."""

    def __init__(self, array, value, *, epoch=0, each_batch=False):
        self.array, self.value, self.epoch = array, value, epoch
        if each_batch:
            self.on_train_batch_end = self.write
        else:
            self.on_epoch_end = self.write

    def write(self, number, logs=None):
        if number == self.epoch:
            self.array[...] = self.value


class Hits(fm.metrics.Metric):
    """A metric in NumPy."""

    def rows(self, y_true, y_pred):
        return (y_pred.argmax(axis=1) == y_true) * 1.0


def classifier(classes, loss="sparse_categorical_crossentropy", **settings):
    last = "sigmoid" if loss == "binary_crossentropy" else "softmax"
    net = fm.Sequential([Dense(classes, last)], input_dim=FEATURES, seed=1)
    net.compile("sgd", loss, **settings)
    return net


@pytest.mark.parametrize("classes", [2, 5, 70])  # rows of up to 64 columns are computed together
@pytest.mark.parametrize("value", [-1, 70, 10**9, -(2**62)])
@pytest.mark.parametrize("each_batch", [False, True])
@pytest.mark.parametrize("metrics", [[], ["accuracy", Hits()]], ids=["alone", "metrics"])
def test_labels_are_those_of_the_call(classes, value, each_batch, metrics, same):
    y = RNG.integers(0, classes, N)
    net, twin = classifier(classes, metrics=metrics), classifier(classes, metrics=metrics)
    expected = twin.fit(X, y.copy(), epochs=3, batch_size=10, validation_data=(X, y.copy()))
    found = net.fit(
        X, y, epochs=3, batch_size=10, validation_data=(X, y), callbacks=[Write(y, value, each_batch=each_batch)]
    )
    assert found.history == expected.history
    same(net, twin)


def test_weights_are_those_of_the_call(same):
    y, weight = RNG.integers(0, 3, N), RNG.uniform(0.5, 2, N).astype("f4")
    net, twin = classifier(3), classifier(3)
    twin.fit(X, y, epochs=2, sample_weight=weight.copy())
    net.fit(X, y, epochs=2, sample_weight=weight, callbacks=[Write(weight, -3.0)])
    same(net, twin)


@pytest.mark.parametrize("value", [1.5, -0.25, 1e6, np.inf, np.nan])
@pytest.mark.parametrize(
    ("loss", "classes"), [("categorical_crossentropy", 4), ("binary_crossentropy", 1), ("categorical_crossentropy", 80)]
)
def test_probabilities_that_are_none_any_more(value, loss, classes, says, snapshot, same_bits):
    y = np.eye(classes, dtype="f4")[RNG.integers(0, classes, N)]
    net, twin = classifier(classes, loss), classifier(classes, loss)
    twin.fit(X, y.copy(), epochs=2, batch_size=16)
    with pytest.raises(ValueError) as caught:
        net.fit(X, y, epochs=5, batch_size=16, callbacks=[Write(y[7:8], value, epoch=1)])
    says(caught.value, "y", "step [78 9]" if np.isfinite(value) else "step", "unchanged by this step")
    if np.isfinite(value):
        says(caught.value, r"probabilities in \[0, 1\]", f"{np.float32(value)}", "has changed since it was checked")
    else:
        assert isinstance(caught.value, fm.NonFiniteError)
    assert net.engine.steps >= 6
    if net.engine.steps == 6:
        assert same_bits(snapshot(net), snapshot(twin))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_written_into_the_inputs(dtype):
    x, y = X.astype(dtype), RNG.integers(0, 3, N)
    net = fm.Sequential([Dense(3, "softmax")], input_dim=FEATURES, seed=1, dtype=dtype)
    net.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(fm.NonFiniteError, match="in x") as caught:
        net.fit(x, y, epochs=4, batch_size=N, callbacks=[Write(x[3:4], np.nan, epoch=1)])
    assert caught.value.step == 3


def test_inputs_in_another_dtype_are_not_seen(same):
    x, y = X.astype("f8"), RNG.integers(0, 3, N)
    net, twin = classifier(3), classifier(3)
    twin.fit(x.copy(), y, epochs=3)
    net.fit(x, y, epochs=3, callbacks=[Write(x, np.nan)])
    same(net, twin)


def test_a_generator_may_yield_one_buffer(same):
    def batches(reuse):
        x, y, weight = np.empty((6, FEATURES), "f4"), np.empty(6, np.int64), np.empty(6, "f4")
        rng = np.random.default_rng(9)
        for _ in range(5):
            if not reuse:
                x, y, weight = np.empty_like(x), np.empty_like(y), np.empty_like(weight)
            x[:], y[:], weight[:] = rng.normal(size=x.shape), rng.integers(0, 3, 6), rng.uniform(1, 2, 6)
            yield x, y, weight

    net, twin = classifier(3, metrics=[fm.metrics.Accuracy("sparse")]), classifier(3)
    net.fit(batches(True))
    twin.fit(batches(False))
    same(net, twin)


@pytest.mark.parametrize("classes", [3, 90])
@pytest.mark.parametrize("rows", [1, 2, 33])
def test_the_fast_path_refuses_what_the_other_refuses(classes, rows):
    net = classifier(classes, metrics=["accuracy"])
    good = np.zeros(rows, np.int64)
    net.train_on_batch(X[:rows], good)
    before = {key: view.copy() for key, view in net.parameters.items()}
    for label in (classes, -1, 2**62, -(2**63)):
        bad = good.copy()
        bad[-1] = label
        with pytest.raises(ValueError, match=f"labels from 0 to {classes - 1}"):
            net.train_on_batch(X[:rows], bad)
    assert all(np.array_equal(net.parameters[key], before[key]) for key in before)
    assert net.engine.steps == 1


class Focal(fm.losses.Loss):
    """A traced loss whose targets are probabilities."""

    accuracy = "binary"

    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return (d * d).sum(axis=1), 2 * d


def test_a_traced_loss_of_probabilities_refuses_too():
    net = fm.Sequential([Dense(2, "sigmoid")], input_dim=FEATURES, seed=1)
    net.compile("sgd", Focal())
    good, bad = np.full((N, 2), 0.5, "f4"), np.full((N, 2), 1.5, "f4")
    net.train_on_batch(X, good)
    with pytest.raises(ValueError, match="probabilities"):
        net.train_on_batch(X, bad)
    with pytest.raises(ValueError, match="probabilities"):
        net.fit(X, good, epochs=3, callbacks=[Write(good, 2.0)])


def test_another_thread_writes_labels_during_steps():
    """Labels that change between check and step touch no memory but theirs, and give no number out of the air."""
    classes = 70
    net = classifier(classes)
    y, ends = np.zeros(N, np.int64), threading.Event()

    def write():
        while not ends.is_set():
            y[:] = 2**40
            y[:] = 5

    writer = threading.Thread(target=write)
    writer.start()
    try:
        found, refused = [], 0
        for _ in range(400):
            try:
                found.append(net.train_on_batch(X, y)["loss"])
            except ValueError:
                refused += 1
    finally:
        ends.set()
        writer.join()
    assert np.isfinite(found).all()
    assert len(found) + refused == 400
