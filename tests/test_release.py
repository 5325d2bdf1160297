"""Memory that is kept between calls is bounded, and `release` gives it back."""

import threading

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._compiler import executable, executables
from fastmlp.layers import BatchNorm, Dense

FEATURES, UNITS = 4, 3


class Doubled(fm.layers.Layer):
    """Runs in Python, and sees batches."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, training, rng):
        self.seen.append(len(x))
        return 2 * x, lambda dy: (2 * dy, {})


def network(*layers):
    net = fm.Sequential([Dense(64, "tanh"), BatchNorm(), *layers, Dense(UNITS)], input_dim=FEATURES, seed=0)
    net.compile("adam", "mse")
    return net


def data(n):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, FEATURES)).astype(np.float32), rng.normal(size=(n, UNITS)).astype(np.float32)


def kept(net):
    return net.engine.executables.kept_bytes()


def test_predictions_keep_what_1024_rows_need():
    net, other = network(), network()
    x, _ = data(5000)
    small = net.predict(x)
    before = kept(net)
    np.testing.assert_array_equal(other.predict(x, batch_size=5000), small)
    assert kept(other) == before
    np.testing.assert_array_equal(other.predict(x[:1], batch_size=10**9), small[:1])
    out = np.empty((5000, UNITS), np.float32)
    assert other.predict(x, batch_size=4000, out=out) is out
    np.testing.assert_array_equal(out, small)
    assert kept(other) == before


def test_layers_in_python_see_the_batches_that_were_asked_for():
    layer = Doubled()
    net = network(layer)
    x, _ = data(3000)
    net.predict(x, batch_size=2000)
    assert layer.seen == [2000, 1000]
    net.predict(x)
    assert layer.seen[2:] == [1024, 1024, 952]


def test_a_large_workspace_is_given_up_once_batches_are_small(monkeypatch):
    monkeypatch.setattr(executable, "KEPT_BYTES", 100_000)
    monkeypatch.setattr(executables, "KEPT_BYTES", 100_000)
    net, twin = network(), network()
    x, y = data(4000)
    for each in (net, twin):
        each.train_on_batch(x, y)
        each.evaluate(x, y, batch_size=4000)
    large = kept(net)
    for k in range(40):  # as long as large batches come too, it stays
        each = net.engine.executables.for_training
        net.train_on_batch(x[:10], y[:10])
        if k % 10 == 9:
            net.train_on_batch(x, y)
        assert net.engine.executables.for_training is each
    for _ in range(40):
        net.train_on_batch(x[:10], y[:10])
        net.evaluate(x[:10], y[:10], batch_size=10)
    assert kept(net) < large / 50
    steps = net.engine.executables.for_training
    assert net.train_on_batch(x[:10], y[:10]) and net.engine.executables.for_training is steps
    for k in range(40):
        twin.train_on_batch(x[:10], y[:10])
        if k % 10 == 9:
            twin.train_on_batch(x, y)
    for _ in range(40):
        twin.train_on_batch(x[:10], y[:10])
    twin.train_on_batch(x[:10], y[:10])
    np.testing.assert_array_equal(net.parameters["0.kernel"], twin.parameters["0.kernel"])


def test_idle_executables_are_bounded(monkeypatch):
    monkeypatch.setattr(executables, "IDLE_BYTES", 200_000)
    net = network()
    x, _ = data(100)
    for count in (2, 12):
        backwards = [net.vjp(x)[1] for _ in range(count)]
        expected = backwards[0](np.ones((100, UNITS)))[1]
        np.testing.assert_array_equal(backwards[-1](np.ones((100, UNITS)))[1], expected)
        del backwards
        assert 0 < kept(net) <= 200_000
    net.vjp(data(3000)[0])  # larger than the bound: the latest one stays
    large = kept(net)
    assert large > 200_000
    net.vjp(data(3000)[0])
    assert kept(net) == large
    net.release()
    together = threading.Barrier(6)

    def predicts():
        for _ in range(5):
            together.wait()
            net.predict(x.astype(np.float64))

    threads = [threading.Thread(target=predicts) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0 < kept(net) <= 200_000


def test_release_gives_all_back_and_changes_no_result():
    net, twin = network(), network()
    x, y = data(300)
    for each in (net, twin):
        each.fit(x, y, batch_size=100, verbose=0)
    outputs, backward = net.vjp(x)
    net.evaluate(x, y)
    gradients = net.loss_and_gradients(x, y)[1]
    assert kept(net) > 0
    net.release()
    assert kept(net) == 0
    backward(np.ones_like(outputs))  # keeps its own, until it dies
    del backward
    assert kept(net) == 0
    net.apply_gradients(gradients)
    twin.apply_gradients(twin.loss_and_gradients(x, y)[1])
    for each in (net, twin):
        each.fit(x, y, batch_size=100, verbose=0)
    np.testing.assert_array_equal(net.predict(x), twin.predict(x))
    net.release()
    net.release()
    fm.Sequential([Dense(3)]).release()  # not built: there is nothing


def test_release_waits_for_nobody():
    net = network()
    x, y = data(20)

    class Releases(fm.callbacks.Callback):
        def on_epoch_end(self, epoch, logs):
            def other():
                with pytest.raises(RuntimeError):
                    net.release()

            thread = threading.Thread(target=other)
            thread.start()
            thread.join()
            net.release()  # the thread that trains may

    net.fit(x, y, epochs=3, verbose=0, callbacks=[Releases()])
    assert net.engine.steps == 3
