"""Weights that leave nothing to count, and weights of classes where there are none."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import layers as L

N, FEATURES, BATCH = 24, 3, 4
RNG = np.random.default_rng(8)
X = RNG.normal(size=(N, FEATURES)).astype("f4")
Y = RNG.normal(size=N).astype("f4")
WEIGHT = np.ones(N, "f4")
WEIGHT[4:8] = WEIGHT[20:] = 0  # two whole batches, the last among them
WEIGHT[13] = 0


class InNumpy(fm.activations.Activation):
    recordable = False

    def forward(self, z):
        return np.tanh(z)

    def derivative(self, z, a):
        return 1 - a * a


class Spread(fm.metrics.Metric):
    def rows(self, y_true, y_pred):
        assert len(y_true)
        return np.abs(y_pred - y_true).max(axis=1)


def network(activation="relu", metrics=()):
    net = fm.Sequential([L.Dense(4, activation), L.Dropout(0.2), L.Dense(1)], input_dim=FEATURES, seed=1)
    net.compile("adam", "mse", metrics)
    return net


def batches(*starts):
    return [(X[i : i + BATCH], Y[i : i + BATCH], WEIGHT[i : i + BATCH]) for i in starts or range(0, N, BATCH)]


class Generator:
    """An iterable whose epochs are generators."""

    def __iter__(self):
        yield from batches()


@pytest.mark.parametrize("activation", ["relu", InNumpy()], ids=["compiled", "in NumPy"])
@pytest.mark.parametrize("metrics", [[], ["mse"], [Spread()]], ids=["none", "mse", "own"])
@pytest.mark.parametrize("data", [batches(), Generator()], ids=["list", "generator"])
@pytest.mark.parametrize("hooks", [False, True], ids=["plain", "hooks"])
def test_a_batch_without_weight_is_no_step_however_data_come(activation, metrics, data, hooks, same):
    class Watch(fm.callbacks.Callback):
        def __init__(self):
            self.seen = []

        def on_train_batch_end(self, batch, logs=None):
            self.seen.append((batch, logs["loss"]))

    net, twin = network(activation, metrics=metrics), network(activation, metrics=metrics)
    watches = Watch(), Watch()
    callbacks = [[watch] if hooks else [] for watch in watches]
    found = net.fit(data, epochs=3, callbacks=callbacks[0], verbose=0).history
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, "callbacks": callbacks[1]}
    assert found == twin.fit(X, Y, sample_weight=WEIGHT, epochs=3, **options).history
    assert all(np.isfinite(column).all() for column in found.values())
    same(net, twin)
    assert watches[0].seen == watches[1].seen
    assert net.engine.counters() == twin.engine.counters() == {"steps": 12, "iterations": 12, "epochs": 3}


def test_the_first_batch_may_be_one_without_weight(same):
    net, twin = (fm.Sequential([L.Dense(2), L.Dense(1)], seed=0) for _ in range(2))
    for one in (net, twin):
        one.compile("adam", "mse")
    net.fit(batches(4, 0, 8), verbose=0)
    twin.build(FEATURES)
    twin.fit(batches(0, 8), verbose=0)
    same(net, twin)


def test_steps_per_epoch_counts_batches_without_weight(same):
    net, twin = network(), network()
    net.fit(batches(), steps_per_epoch=2, verbose=0)
    twin.fit(batches(0), verbose=0)
    same(net, twin)


EPOCHS_OF_NOTHING = {
    "list": lambda net: net.fit(batches(4, 20), verbose=0),
    "one batch": lambda net: net.fit(batches(20), epochs=2, verbose=0),
    "arrays that end early": lambda net: net.fit(
        X[4:], Y[4:], sample_weight=WEIGHT[4:], batch_size=BATCH, steps_per_epoch=1, shuffle=False, verbose=0
    ),
    "arrays": lambda net: net.fit(X[4:8], Y[4:8], sample_weight=WEIGHT[4:8], verbose=0),
}


@pytest.mark.parametrize("case", EPOCHS_OF_NOTHING)
def test_an_epoch_without_weight_is_refused(case, refuses):
    """It has no mean: NaN would be one that nobody has asked for."""
    refuses(network, EPOCHS_OF_NOTHING[case], ValueError, "weight", "sum", "no sample counts")


SINGLE = {
    "train_on_batch": lambda net: net.train_on_batch(X, Y, np.zeros(N)),
    "train_on_batch of one row": lambda net: net.train_on_batch(X[:1], Y[:1], [0.0]),
    "loss_and_gradients": lambda net: net.loss_and_gradients(X, Y, np.zeros(N, int)),
    "evaluate": lambda net: net.evaluate(X, Y, sample_weight=np.zeros(N, bool)),
    "validation": lambda net: net.fit(X, Y, validation_data=(X, Y, np.zeros(N))),
    "too small for float32": lambda net: net.train_on_batch(X, Y, np.full(N, 1e-60)),
}


@pytest.mark.parametrize("case", SINGLE)
def test_calls_that_return_a_mean_refuse_weights_of_0(case, refuses):
    refuses(network, SINGLE[case], ValueError, "weight", "sum", "no sample counts")


# -- weights of classes ----------------------------------------------------------------------------------------------

SEVERAL = {
    "probabilities": ("sigmoid", "binary_crossentropy", lambda y: y),
    "logits": (None, {"name": "binary_crossentropy", "from_logits": True}, lambda y: y),
    "one-hot": ("sigmoid", "binary_crossentropy", lambda y: np.eye(3)[: len(y)].repeat(8, axis=0)),
    "margins": (None, "hinge", lambda y: 2 * y - 1),
    "a loss of one's own": (None, type("Own", (fm.losses.Hinge,), {"accuracy": "binary"})(), lambda y: y),
}


@pytest.mark.parametrize("case", SEVERAL)
@pytest.mark.parametrize("weight", [{0: 5.0, 1: 1.0}, {2: 0.1}, {}], ids=str)
def test_class_weight_of_several_yes_or_no_outputs_is_refused(case, weight, says, same):
    activation, loss, of = SEVERAL[case]
    y = of((RNG.random((N, 3)) < 0.5).astype("f4"))

    net, twin = (fm.Sequential([L.Dense(3, activation)], input_dim=FEATURES, seed=0) for _ in range(2))
    for one in (net, twin):
        one.compile("sgd", loss)
    with pytest.raises(ValueError) as caught:
        net.fit(X, y, class_weight=weight)
    says(caught.value, "class_weight", "3 outputs", "sample_weight")
    same(net, twin)
    assert net.fit(X, y).history == twin.fit(X, y).history


ONE = {
    "probabilities": ("sigmoid", "binary_crossentropy", lambda y: y),
    "logits": (None, {"name": "binary_crossentropy", "from_logits": True}, lambda y: y[:, None]),
    "margins": (None, "hinge", lambda y: 2 * y - 1),
}


@pytest.mark.parametrize("case", ONE)
def test_class_weight_of_one_yes_or_no_output(case, same):
    activation, loss, of = ONE[case]
    labels = RNG.integers(0, 2, N)
    nets = []
    for options in ({"class_weight": {0: 0.25, 1: 3.0}}, {"sample_weight": np.array([0.25, 3.0])[labels]}):
        net = fm.Sequential([L.Dense(1, activation)], input_dim=FEATURES, seed=0)
        net.compile("adam", loss, metrics=["accuracy"])
        nets.append((net, net.fit(X, of(labels), epochs=2, verbose=0, **options).history))
    assert nets[0][1] == nets[1][1]
    same(nets[0][0], nets[1][0])
