"""What outputs mean: losses that don't go together with the last activation are refused, and accuracy counts by it."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import layers as L

N, FEATURES = 60, 4
RNG = np.random.default_rng(11)
X = RNG.normal(size=(N, FEATURES)).astype("f4")
LOSSES = fm.losses


class Sparsemax(fm.activations.Activation):
    """Works on whole rows, which sum to 1."""

    elementwise = False
    output = "probabilities"

    def forward(self, z):
        p = np.abs(z) + 1
        return (p / p.sum(axis=-1, keepdims=True)).astype(z.dtype)

    def backward(self, z, a, da):
        return da


class Probit(fm.activations.Activation):
    """Each output by itself."""

    output = "probabilities"

    def forward(self, z):
        return 0.5 + z / (2 * (1 + np.abs(z)))


class Noise(L.Layer):
    """Gives rows on, with noise in training, and says so."""

    output_is_known = keeps_meaning = True

    def forward(self, x, *, training, rng):
        return x + (rng.normal(size=x.shape) if training else 0), lambda dy: (dy, {})


class Block(L.Layer):
    """Stands for layers that nobody sees before the network is built."""

    def __init__(self, units, activation, **options):
        super().__init__(**options)
        self.units, self.activation = units, activation

    def compose(self, input_dim):
        return [L.Dense(3, "tanh"), L.Dense(self.units, self.activation)]


class Opaque(L.Layer):
    """Says nothing about its outputs."""

    def forward(self, x, *, training, rng):
        return 1 / (1 + np.exp(-x)), lambda dy: (dy, {})


class Focal(fm.losses.Loss):
    """A loss of somebody's own, of yes-or-no probabilities."""

    probabilities = True
    accuracy = "binary"

    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return (d * d).mean(axis=1), 2 * d / d.shape[1]


class Margin(fm.losses.Loss):
    """A loss of somebody's own, of numbers that say yes above 0."""

    probabilities = False
    accuracy = "binary"

    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - (2 * y_true - 1)
        return (d * d).mean(axis=1), 2 * d / d.shape[1]


def logits(name):
    return {"name": name, "from_logits": True}


def ends(*layers):
    return lambda: [L.Dense(5, "tanh"), *(layer() for layer in layers)]


def dense(units, activation=None):
    return lambda: L.Dense(units, activation)


def activation(one):
    return lambda: L.Activation(one)


BINARY, CATEGORICAL, SPARSE = "binary_crossentropy", "categorical_crossentropy", "sparse_categorical_crossentropy"

REFUSED = {
    "sigmoid, categorical": (ends(dense(3, "sigmoid")), CATEGORICAL, ["softmax", BINARY]),
    "sigmoid, sparse": (ends(dense(3, "sigmoid")), SPARSE, ["softmax", BINARY]),
    "hard sigmoid, sparse": (ends(dense(3, "hard_sigmoid")), SPARSE, ["softmax"]),
    "a sigmoid as a layer, categorical": (ends(dense(3), activation("sigmoid")), CATEGORICAL, ["softmax"]),
    "softmax, binary": (ends(dense(3, "softmax")), BINARY, ["sigmoid", CATEGORICAL, SPARSE]),
    "sparsemax of one's own, binary": (ends(dense(3, Sparsemax())), BINARY, ["sigmoid", CATEGORICAL]),
    "sigmoid, logits": (ends(dense(1, "sigmoid")), logits(BINARY), [r"from_logits=False", "no activation"]),
    "softmax, logits": (ends(dense(3, "softmax")), logits(SPARSE), [r"from_logits=False", "no activation"]),
    "softmax as a layer, logits": (ends(dense(3), activation("softmax")), logits(CATEGORICAL), ["from_logits=False"]),
    "sigmoid and dropout, logits": (ends(dense(2, "sigmoid"), lambda: L.Dropout(0.1)), logits(BINARY), ["no activ"]),
    "sigmoid and identity, logits": (ends(dense(2, "sigmoid"), activation("linear")), logits(BINARY), ["no activ"]),
    "sigmoid and noise, logits": (ends(dense(2, "sigmoid"), Noise), logits(BINARY), ["no activation"]),
    "probit of one's own, logits": (ends(dense(2, Probit())), logits(BINARY), ["from_logits=False"]),
    "recorded is no probability": (ends(dense(2, fm.activations.recorded(np.tanh))), BINARY, ["sigmoid"]),
    "sigmoid, hinge": (ends(dense(1, "sigmoid")), "hinge", ["no activation"]),
    "softmax, hinge": (ends(dense(3, "softmax")), "hinge", ["no activation"]),
    "softmax, identity and dropout": (
        ends(dense(3, "softmax"), lambda: L.Activation("linear"), lambda: L.Dropout(0.5)),
        SPARSE,
        ["training"],
    ),
    "softmax and dropout, probabilities": (ends(dense(3, "softmax"), lambda: L.Dropout(0.5)), SPARSE, ["move it"]),
    "a loss of one's own, softmax": (ends(dense(3, "softmax")), Focal(), ["Focal", "sigmoid"]),
    "a loss of one's own, logits": (ends(dense(3, "sigmoid")), Margin(), ["Margin", "no activation"]),
    "log softmax, probabilities": (ends(dense(3, "log_softmax")), SPARSE, ["softmax", "from_logits=True"]),
    "log softmax, binary": (ends(dense(3, "log_softmax")), BINARY, ["sigmoid", "logarithms"]),
    "log softmax, binary logits": (ends(dense(3, "log_softmax")), logits(BINARY), ["no activation", "logarithms"]),
    "log sigmoid, binary": (ends(dense(3, "log_sigmoid")), BINARY, ["sigmoid", "logarithms"]),
    "log sigmoid, binary logits": (ends(dense(1, "log_sigmoid")), logits(BINARY), ["no activation", "logarithms"]),
    "log sigmoid, categorical logits": (ends(dense(3, "log_sigmoid")), logits(CATEGORICAL), ["no activation"]),
    "log softmax, hinge": (ends(dense(3, "log_softmax")), "hinge", ["no activation"]),
    "log softmax, divergence": (ends(dense(3, "log_softmax")), "kl_divergence", ["softmax"]),
    "sparsemax, binary": (ends(dense(3, "sparsemax")), BINARY, ["sigmoid", CATEGORICAL]),
    "focal, categorical": (ends(dense(3)), "categorical_focal_crossentropy", ["softmax", "from_logits=True"]),
    "focal, binary": (ends(dense(3, "softmax")), "binary_focal_crossentropy", ["sigmoid"]),
    "one class, logits": (ends(dense(1)), logits(SPARSE), ["one output", BINARY]),
    "one class, sigmoid": (ends(dense(1, "sigmoid")), CATEGORICAL, ["one output", BINARY]),
    "a block, sigmoid": (lambda: [Block(3, "sigmoid")], CATEGORICAL, ["softmax"]),
    "a block, logits": (lambda: [Block(1, "sigmoid"), L.Dropout(0.1)], logits(BINARY), ["no activation"]),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("first", ["build", "compile"])
def test_losses_that_do_not_fit_the_outputs_are_refused(case, first, says):
    """By `compile` where the layers tell, else by `build`; nothing has changed then."""
    layers, loss, words = REFUSED[case]
    net = fm.Sequential(layers(), seed=0)
    if first == "build":
        net.build(FEATURES)
    with pytest.raises(ValueError) as caught:
        net.compile("sgd", loss)
        net.build(FEATURES)
    says(caught.value, *words)
    assert net.loss is None or not net.built
    if first == "compile" and "block" not in case:
        assert net.loss is None, "found before the network is built"


TAKEN = {
    "softmax, sparse": (ends(dense(3, "softmax")), SPARSE),
    "softmax as a layer, categorical": (ends(dense(3), activation("softmax")), CATEGORICAL),
    "sparsemax of one's own": (ends(dense(3, Sparsemax())), SPARSE),
    "log softmax, sparse logits": (ends(dense(3, "log_softmax")), logits(SPARSE)),
    "log softmax, categorical logits": (ends(dense(3, "log_softmax")), logits(CATEGORICAL)),
    "log softmax, squares": (ends(dense(3, "log_softmax")), "mse"),
    "sparsemax, categorical": (ends(dense(3, "sparsemax")), CATEGORICAL),
    "softmax, divergence": (ends(dense(3, "softmax")), "kl_divergence"),
    "sigmoid, binary": (ends(dense(3, "sigmoid")), BINARY),
    "probit of one's own, binary": (ends(dense(3, Probit())), BINARY),
    "none, logits": (ends(dense(3)), logits(SPARSE)),
    "tanh, logits": (ends(dense(1, "tanh")), logits(BINARY)),
    "softmax further ahead, logits": (ends(dense(3, "softmax"), dense(3)), logits(SPARSE)),
    "batch norm behind a sigmoid": (ends(dense(3, "sigmoid"), L.BatchNorm), logits(BINARY)),
    "a layer that says nothing": (ends(dense(3), Opaque), BINARY),
    "a layer that says nothing, logits": (ends(dense(3, "sigmoid"), Opaque), logits(BINARY)),
    "softmax, squares": (ends(dense(3, "softmax")), "mse"),
    "sigmoid, squares": (ends(dense(1, "sigmoid")), "mse"),
    "tanh, hinge": (ends(dense(1, "tanh")), "hinge"),
    "a loss of one's own, sigmoid": (ends(dense(3, "sigmoid")), Focal()),
    "a block, softmax": (lambda: [Block(3, "softmax")], CATEGORICAL),
    "softmax and the identity": (ends(dense(3, "softmax"), activation("linear")), SPARSE),
}


@pytest.mark.parametrize("case", TAKEN)
def test_losses_that_fit_the_outputs_are_taken(case):
    layers, loss = TAKEN[case]
    for first in ("build", "compile"):
        net = fm.Sequential(layers(), seed=0)
        if first == "build":
            net.build(FEATURES)
        net.compile("sgd", loss, metrics=["accuracy"])
        net.build(FEATURES)
        units = net.predict(X).shape[1]
        labels = RNG.integers(0, units, N)
        y = labels if net.loss.labels else np.eye(units)[labels].astype("f4")
        assert np.isfinite(net.train_on_batch(X, y)["loss"])


ONE_UNIT = {
    "dense": lambda: [L.Dense(1, "softmax")],
    "a layer of its own": lambda: [L.Dense(1), L.Activation("softmax")],
    "before the identity": lambda: [L.Dense(1, "softmax"), L.Activation("linear")],
    "before dropout": lambda: [L.Dense(1, "softmax"), L.Dropout(0.1)],
    "of one's own": lambda: [L.Dense(1, Sparsemax())],
    "sparsemax": lambda: [L.Dense(1, "sparsemax")],
    "log softmax": lambda: [L.Dense(1, "log_softmax")],
    "behind dropout": lambda: [L.Dense(1), L.Dropout(0.1), L.Activation("softmax")],
    "in a block": lambda: [Block(1, "softmax")],
}


@pytest.mark.parametrize("case", ONE_UNIT)
@pytest.mark.parametrize("loss", [None, "mse", CATEGORICAL, BINARY])
def test_a_softmax_of_one_unit_is_refused(case, loss, says):
    """It is 1 whatever the data, for any loss and without one."""
    net = fm.Sequential(ONE_UNIT[case](), seed=0)
    with pytest.raises(ValueError) as caught:
        net.compile("sgd", loss)
        net.build(FEATURES)
    if "softmax" not in (loss or "") and loss in (None, "mse"):
        says(caught.value, "one unit", "sigmoid", "2 units")
    assert not net.built
    with pytest.raises(ValueError, match="one unit"):
        fm.Sequential(ONE_UNIT[case](), input_dim=FEATURES)


def test_a_setting_that_makes_them_unfit_is_refused_at_the_next_call(says):
    net = fm.Sequential([L.Dense(3, "softmax")], input_dim=FEATURES, seed=0)
    net.compile("sgd", SPARSE, metrics=["accuracy"])
    labels = RNG.integers(0, 3, N)
    before = net.evaluate(X, labels)
    net.loss.from_logits = True
    for call in (net.evaluate, net.train_on_batch, net.loss_and_gradients):
        with pytest.raises(ValueError) as caught:
            call(X, labels)
        says(caught.value, "from_logits=False")
    net.loss.from_logits = False
    assert net.evaluate(X, labels) == before


def test_a_softmax_set_later_on_one_unit_is_refused_at_the_next_call():
    net = fm.Sequential([L.Dense(1, "sigmoid")], input_dim=FEATURES, seed=0)
    net.compile("sgd", "mse")
    before = net.predict(X)
    net.layers[0].activation = "softmax"
    for call in (lambda: net.predict(X), lambda: net.predict(X[:1]), lambda: net.train_on_batch(X, before)):
        with pytest.raises(ValueError, match="one unit"):
            call()
    net.layers[0].activation = "sigmoid"
    np.testing.assert_array_equal(net.predict(X), before)


@pytest.mark.parametrize(
    ("name", "value"),
    [("accuracy", "binry"), ("accuracy", None), ("probabilities", "yes")],
    ids=["typo", "none", "yes"],
)
def test_traits_that_say_nothing_are_refused(name, value, says):
    loss = type("Mine", (Focal,), {name: value})()
    with pytest.raises(ValueError) as caught:
        fm.Sequential([L.Dense(2, "sigmoid")], input_dim=FEATURES).compile("sgd", loss)
    says(caught.value, "Mine", name, "expected")


# -- accuracy --------------------------------------------------------------------------------------------------------

DIRECTION = RNG.normal(size=(FEATURES, 3))
YES = (X @ DIRECTION + 0.5 * RNG.normal(size=(N, 3)) > 0).astype("f4")


def signs(y, z):
    return ((z > 0) == (y > 0.5)).mean()


ACCURACIES = {  # loss, units, targets, metric
    "logits": (logits(BINARY), 1, YES[:, :1], "accuracy"),
    "several logits": (logits(BINARY), 3, YES, "accuracy"),
    "several logits, binary": (logits(BINARY), 3, YES, fm.metrics.Accuracy("binary")),
    "several logits, signs": (logits(BINARY), 3, YES, fm.metrics.Accuracy("signs")),
    "hinge of 1 and -1": ("hinge", 1, 2 * YES[:, :1] - 1, "accuracy"),
    "hinge of 1 and 0": ("hinge", 1, YES[:, :1], "accuracy"),
    "hinge of several": ("hinge", 3, 2 * YES - 1, "accuracy"),
    "hinge, binary": ("hinge", 3, 2 * YES - 1, fm.metrics.Accuracy("binary")),
    "a loss of one's own": (Margin(), 3, YES, "accuracy"),
    "a loss of one's own in Python": (type("InPython", (Margin,), {"recordable": False})(), 3, YES, "accuracy"),
}


@pytest.mark.parametrize("case", ACCURACIES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_and_margins_say_yes_above_0(case, dtype):
    loss, units, y, metric = ACCURACIES[case]
    net = fm.Sequential([L.Dense(units)], input_dim=FEATURES, seed=3, dtype=dtype)
    net.compile(fm.optimizers.SGD(0.0), loss, metrics=[metric])
    net.parameters["0.kernel"] = 0.2 * DIRECTION[:, :units]  # small numbers: most lie between 0 and 0.5
    z = net.predict(X)
    expected = signs(y, z)
    assert expected != ((z > 0.5) == (y > 0.5)).mean(), "data that can tell"
    assert expected > 0.7
    for found in (net.evaluate(X, y), net.train_on_batch(X, y), first_epoch(net, y)):
        assert found["accuracy"] == pytest.approx(expected, abs=1e-12)


def first_epoch(net, y):
    return {name: values[0] for name, values in net.fit(X, y, batch_size=7).history.items()}


def test_probabilities_say_yes_above_one_half():
    for metric in ("accuracy", fm.metrics.Accuracy("binary")):
        net = fm.Sequential([L.Dense(3, "sigmoid")], input_dim=FEATURES, seed=3)
        net.compile("sgd", BINARY, metrics=[metric])
        p = net.predict(X)
        expected = ((p > 0.5) == (YES > 0.5)).mean()
        assert net.evaluate(X, YES)["accuracy"] == pytest.approx(expected, abs=1e-12)
        assert expected != signs(YES, p)


KINDS = {  # what an accuracy of one's own choice asks of the targets
    "rows of labels": ("categorical", SPARSE, "softmax", ["labels"]),
    "yes or no of labels": ("binary", SPARSE, "softmax", ["labels"]),
    "signs of labels": ("signs", logits(SPARSE), None, ["labels"]),
    "labels of rows": ("sparse", CATEGORICAL, "softmax", ["rows", "leave out the kind"]),
    "labels of yes or no": ("sparse", BINARY, "sigmoid", ["rows"]),
}


@pytest.mark.parametrize("case", KINDS)
def test_kinds_of_accuracy_that_do_not_fit_the_targets_are_refused(case, says):
    """Else a network with as many rows as classes would get a number without meaning."""
    kind, loss, last, words = KINDS[case]
    net = fm.Sequential([L.Dense(3, last)], input_dim=FEATURES)
    with pytest.raises(ValueError) as caught:
        net.compile("sgd", loss, [fm.metrics.Accuracy(kind)])
    says(caught.value, *words)
    assert net.loss is None


def test_a_metric_of_ones_own_may_know_the_loss():
    class Positive(fm.metrics.Metric):
        """The share of outputs that say yes."""

        def __init__(self, least=None):
            self.least = least

        def for_loss(self, loss, units):
            return Positive(0.0 if loss.accuracy_of(units) == "signs" else 0.5)

        def rows(self, y_true, y_pred):
            return (y_pred > self.least).mean(axis=1)

    for loss, last, least in ((logits(BINARY), None, 0.0), (BINARY, "sigmoid", 0.5), ("mse", None, 0.5)):
        net = fm.Sequential([L.Dense(3, last)], input_dim=FEATURES, seed=1)
        net.compile("sgd", loss, [Positive()])
        assert net.evaluate(X, YES)["Positive"] == pytest.approx((net.predict(X) > least).mean(), abs=1e-12)
