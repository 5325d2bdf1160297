"""Losses by their formulas, number by number; smoothed and weighted cross-entropies; targets fewer than outputs."""

import math

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import losses
from fastmlp.layers import Dense

FEATURES = 4


def data(rows=30, units=3, seed=0, dtype="float64"):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, FEATURES)).astype(dtype), rng.normal(size=(rows, units)).astype(dtype)


def network(loss, units=3, last=None, dtype="float64", metrics=()):
    net = fm.Sequential([Dense(7, "tanh"), Dense(units, last)], input_dim=FEATURES, dtype=dtype, seed=3)
    net.compile("sgd", loss, metrics)
    return net


def value(loss, y, p):
    y = np.asarray(y) if loss.labels else np.asarray(y, dtype=float)
    return loss.value_and_gradient(y, np.asarray(p, dtype=float))[0].tolist()


# -- by hand -------------------------------------------------------------------------------------------------------

LOG2, LOG3 = math.log(2), math.log(3)
HAND = {  # loss, targets, predictions, value of each row
    "mape": (losses.MeanAbsolutePercentageError(), [[2.0, -4.0], [5.0, 1.0]], [[3.0, -3.0], [5.0, 4.0]], [37.5, 150]),
    "mape of 0": (losses.MeanAbsolutePercentageError(), [[0.0]], [[2e-7]], [200]),
    "msle": (losses.MeanSquaredLogarithmicError(), [[1.0, 2.0]], [[3.0, 2.0]], [LOG2**2 / 2]),
    "msle below 0": (losses.MeanSquaredLogarithmicError(), [[2.0]], [[-7.0]], [(math.log1p(1e-7) - LOG3) ** 2]),
    "kl": (losses.KLDivergence(), [[0.5, 0.5, 0], [1, 0, 0]], [[0.25, 0.5, 0.25], [0.5, 0.25, 0.25]], [LOG2 / 2, LOG2]),
    "kl of equals": (losses.KLDivergence(), [[0.7, 0.3, 0]], [[0.7, 0.3, 0]], [0]),
    "hinge": (losses.Hinge(), [[1, 0, -1]], [[0.5, 0.5, -3]], [2 / 3]),
    "squared hinge": (losses.SquaredHinge(), [[1, 0, -1]], [[0.5, 0.5, -3]], [2.5 / 3]),
    "categorical hinge": (losses.CategoricalHinge(), [[0, 1, 0], [1, 0, 0]], [[0.5, 2, 1.75], [9, 1, 2]], [0.75, 0]),
    "cosine": (losses.CosineSimilarity(), [[3, 4], [1, 0], [0, 0]], [[6, 8], [-2, 0], [1, 1]], [-1, 1, 0]),
    "cosine of 60 degrees": (losses.CosineSimilarity(), [[1, 0]], [[0.5, math.sqrt(0.75)]], [-0.5]),
    "quantile": (losses.Quantile(0.9), [[1.0, 1.0, 1.0]], [[0.0, 3.0, 1.0]], [(0.9 + 0.2) / 3]),
    "quantiles": (
        losses.Quantile([0.1, 0.5]),
        [[1.0, 10.0]],
        [[0.0, 3.0, 11.0, 10.0]],
        [(0.1 + 1.0 + 0.9 + 0.0) / 4],
    ),
    "gaussian": (losses.GaussianNLL(), [[1.0, 2.0]], [[3.0, 2.0, 0.0, LOG2]], [(4 + LOG2) / 4]),
    "gaussian, full": (losses.GaussianNLL(full=True), [[1.0]], [[1.0, 0.0]], [math.log(2 * math.pi) / 2]),
    "poisson deviance": (
        losses.PoissonDeviance(),
        [[2.0, 0.0, 3.0]],
        [[0.0, LOG2, LOG3]],
        [2 * ((2 * LOG2 - 1) + 2 + 0) / 3],
    ),
    "gamma deviance": (losses.GammaDeviance(), [[2.0, 3.0]], [[0.0, LOG3]], [2 * (-LOG2 + 1) / 2]),
    "binary, smoothed": (losses.BinaryCrossentropy(label_smoothing=0.2), [[1.0]], [[0.5]], [LOG2]),
    "binary, smoothed a lot": (
        losses.BinaryCrossentropy(label_smoothing=0.5),
        [[1.0, 0.0]],
        [[0.75, 0.75]],
        [-(0.75 * math.log(0.75) + 0.25 * math.log(0.25) + 0.25 * math.log(0.75) + 0.75 * math.log(0.25)) / 2],
    ),
    "binary, pos_weight": (losses.BinaryCrossentropy(pos_weight=3), [[1.0, 0.0]], [[0.5, 0.75]], [(3 + 2) * LOG2 / 2]),
    "binary, pos_weights": (
        losses.BinaryCrossentropy(pos_weight=[3, 5]),
        [[1.0, 1.0]],
        [[0.5, 0.25]],
        [(3 + 10) * LOG2 / 2],
    ),
    "categorical, smoothed": (
        losses.CategoricalCrossentropy(label_smoothing=0.3),
        [[0, 1, 0]],
        [[0.25, 0.5, 0.25]],
        [0.8 * LOG2 + 0.2 * 2 * LOG2],
    ),
    "sparse, smoothed": (
        losses.SparseCategoricalCrossentropy(label_smoothing=0.3),
        [1],
        [[0.25, 0.5, 0.25]],
        [0.8 * LOG2 + 0.2 * 2 * LOG2],
    ),
    "binary focal": (
        losses.BinaryFocalCrossentropy(),
        [[1.0, 0.0]],
        [[0.5, 0.75]],
        [(0.25 * LOG2 + 0.5625 * 2 * LOG2) / 2],
    ),
    "binary focal, balanced": (
        losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.25, gamma=1),
        [[1.0, 0.0]],
        [[0.5, 0.75]],
        [(0.25 * 0.5 * LOG2 + 0.75 * 0.75 * 2 * LOG2) / 2],
    ),
    "binary focal without focus": (losses.BinaryFocalCrossentropy(gamma=0), [[1.0]], [[0.5]], [LOG2]),
    "categorical focal": (
        losses.CategoricalFocalCrossentropy(),
        [[0, 1, 0]],
        [[0.25, 0.5, 0.25]],
        [0.25 * 0.25 * LOG2],
    ),
}


@pytest.mark.parametrize("case", HAND)
def test_by_hand(case):
    loss, y, p, expected = HAND[case]
    assert value(loss, y, p) == pytest.approx(expected, rel=1e-12, abs=1e-12)


Y, P = np.array([0.5, 2.0, 3.0]), np.array([0.3, 1.1, -0.4])


def test_the_same_as_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    found = {
        loss: np.mean(value(loss, Y[:, None], P[:, None]))
        for loss in (losses.PoissonDeviance(), losses.GammaDeviance(), losses.Quantile(0.3))
    }
    expected = [
        metrics.mean_poisson_deviance(Y, np.exp(P)),
        metrics.mean_gamma_deviance(Y, np.exp(P)),
        metrics.mean_pinball_loss(Y, P, alpha=0.3),
    ]
    assert list(found.values()) == pytest.approx(expected, rel=1e-12)


# -- gradients -----------------------------------------------------------------------------------------------------

SET = [
    losses.BinaryCrossentropy(label_smoothing=0.3),
    losses.BinaryCrossentropy(pos_weight=2.5),
    losses.BinaryCrossentropy(True, 0.1, [2.5, 1, 0.2]),
    losses.BinaryFocalCrossentropy(True, 0.4, 1.5, label_smoothing=0.1),
    losses.BinaryFocalCrossentropy(gamma=0.5, from_logits=True),
    losses.BinaryFocalCrossentropy(gamma=0, from_logits=True),
    losses.CategoricalCrossentropy(label_smoothing=0.3),
    losses.CategoricalCrossentropy(True, 0.3),
    losses.SparseCategoricalCrossentropy(label_smoothing=0.3),
    losses.SparseCategoricalCrossentropy(True, 0.3),
    losses.CategoricalFocalCrossentropy(0.4, 0.5, label_smoothing=0.1),
    losses.CategoricalFocalCrossentropy(0.4, 3, True),
    losses.CategoricalFocalCrossentropy(gamma=0, from_logits=True),
    losses.Quantile([0.1, 0.5, 0.9]),
    losses.GaussianNLL(full=True),
]


@pytest.mark.parametrize("loss", SET, ids=repr)
def test_settings_conform(loss):
    fm.testing.check(loss)


def in_python(loss):
    return type(f"{type(loss).__name__}InPython", (type(loss),), {"recordable": False}).from_config(loss.get_config())


@pytest.mark.parametrize("loss", [loss for loss in SET if getattr(loss, "from_logits", None) is False], ids=repr)
def test_joint_form(loss, same):
    """Softmax and sigmoid go into the loss: the same numbers as of logits, and as of probabilities by themselves."""
    last = "sigmoid" if loss.accuracy == "binary" else "softmax"
    x, _ = data()
    y = np.arange(30) % 3 if loss.labels else np.eye(3)[np.arange(30) % 3]
    logits = type(loss).from_config({**loss.get_config(), "from_logits": True})
    net, of_logits, plain = network(loss, last=last), network(logits), network(in_python(loss), last=last)
    nets = (net, of_logits, plain)
    results = [one.loss_and_gradients(x, y) for one in nets]
    assert results[0][0] == results[1][0] == pytest.approx(results[2][0], rel=1e-12)
    for key, array in results[0][1].items():
        np.testing.assert_array_equal(array, results[1][1][key])
        np.testing.assert_allclose(array, results[2][1][key], rtol=1e-9, atol=1e-12)
    for one in nets:
        one.fit(x, y, epochs=2, batch_size=8)
    same(net, of_logits)
    np.testing.assert_allclose(net.predict(x), plain.predict(x), rtol=1e-10)


@pytest.mark.parametrize("loss", [loss for loss in SET if getattr(loss, "from_logits", None) is False], ids=repr)
def test_wrong_answers_that_are_sure_are_learned_from(loss):
    """A probability that rounds to 0 or 1 has a gradient all the same."""
    last = "sigmoid" if loss.accuracy == "binary" else "softmax"
    net = fm.Sequential([Dense(3, last)], input_dim=1, dtype="float32", seed=0)
    net.compile("sgd", loss)
    net.parameters["0.kernel"] = [[-200.0, 200.0, 200.0]]
    y = [0] if loss.labels else [[1, 0, 0]]
    found, gradients = net.loss_and_gradients([[1.0]], y)
    assert math.isfinite(found) and found > 10
    assert np.isfinite(gradients["0.kernel"]).all() and gradients["0.kernel"][0, 0] < -0.01
    assert net.predict([[1.0]])[0, 0] == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("loss", SET, ids=repr)
def test_accuracy_beside_it(loss, dtype):
    """The same in training, evaluation and from predictions, whoever counts it."""
    if loss.accuracy == "shape":
        pytest.skip("its outputs are no classes")
    last = None if loss.from_logits else "sigmoid" if loss.accuracy == "binary" else "softmax"
    net = network(loss, last=last, dtype=dtype, metrics=["accuracy"])
    x, _ = data(dtype=dtype)
    labels = np.random.default_rng(1).integers(0, 3, 30)
    y, p = labels if loss.labels else np.eye(3)[labels], net.predict(x)
    if loss.accuracy == "binary":
        expected = ((p > (0 if loss.from_logits else 0.5)) == (y > 0.5)).mean()
    else:
        expected = (p.argmax(axis=1) == labels).mean()
    assert net.evaluate(x, y)["accuracy"] == pytest.approx(expected, rel=1e-6)
    assert net.train_on_batch(x, y)["accuracy"] == pytest.approx(expected, rel=1e-6)


TRACED = [
    *(losses.BinaryCrossentropy(label_smoothing=0.3), losses.BinaryCrossentropy(pos_weight=2.5), losses.Quantile(0.2)),
    *(losses.BinaryFocalCrossentropy(), losses.BinaryFocalCrossentropy(True, 0.4, 1.5, True, 0.1)),
    *(losses.BinaryFocalCrossentropy(gamma=0.5), losses.BinaryFocalCrossentropy(gamma=0.5, from_logits=True)),
    *(losses.MeanAbsolutePercentageError(), losses.MeanSquaredLogarithmicError(), losses.KLDivergence()),
    *(losses.SquaredHinge(), losses.PoissonDeviance(), losses.GammaDeviance()),
]


@pytest.mark.parametrize("units", [1, 3, 100])
@pytest.mark.parametrize("loss", TRACED, ids=repr)
def test_traced(loss, units, dtype):
    """In both forms of a cross-entropy, so that what a plan takes is compiled."""
    for form in (loss, losses.of_logits(loss)) if hasattr(loss, "from_logits") else (loss,):
        execution = losses.execution_of(form, dtype, units)
        assert execution.mode == "traced", execution.reason


def test_changed_smoothing():
    """The step after a change takes it; without any, the kernel."""
    x, _ = data()
    y = np.eye(3)[np.arange(30) % 3]
    for name, last in (("categorical_crossentropy", "softmax"), ("binary_crossentropy", "sigmoid")):
        net = network(name, last=last, metrics=["accuracy"])
        plain = net.evaluate(x, y)
        assert net.loss_and_gradients(x, y)[0] == plain["loss"]
        net.loss.label_smoothing = 0.2
        expected = network({"name": name, "label_smoothing": 0.2}, last=last, metrics=["accuracy"])
        assert net.loss_and_gradients(x, y)[0] == expected.loss_and_gradients(x, y)[0] != plain["loss"]
        assert net.evaluate(x, y) == expected.evaluate(x, y)
        net.loss.label_smoothing = 0.0
        assert net.evaluate(x, y) == plain


# -- targets -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "units", "targets"),
    [(losses.GaussianNLL(), 2, 1), (losses.GaussianNLL(), 6, 3), (losses.Quantile([0.1, 0.9]), 6, 3)],
    ids=str,
)
def test_fewer_targets_than_outputs(loss, units, targets, tmp_path, says):
    x, y = data(units=targets)
    net = network(loss, units)
    for given in (y, y[:, 0], y.tolist()) if targets == 1 else (y, y.tolist()):
        assert net.evaluate(x, given)["loss"] == pytest.approx(np.mean(value(loss, y, net.predict(x))), rel=1e-12)
    before = net.evaluate(x, y)["loss"]
    history = net.fit(x, y, epochs=30, batch_size=7, validation_data=(x, y)).history
    assert history["val_loss"][-1] < before
    assert set(net.train_on_batch(x, y)) == {"loss"}
    with pytest.raises(ValueError) as caught:
        net.train_on_batch(x, data(units=units)[1])
    says(caught.value, f"({30}, {targets})", f"{units} outputs", type(loss).__name__)
    net.target_names = [f"target {number}" for number in range(targets)]
    with pytest.raises(ValueError, match="target_names"):
        net.target_names = [str(number) for number in range(units)]
    net.save(tmp_path / "net")
    again = fm.load(tmp_path / "net")
    assert again.loss == net.loss and again.target_names == net.target_names
    assert again.evaluate(x, y) == net.evaluate(x, y)
    assert "fewer targets than outputs" in repr(net)


@pytest.mark.parametrize("first", ["build", "compile"])
@pytest.mark.parametrize(
    ("loss", "units", "words"),
    [
        (losses.GaussianNLL(), 1, ["2 units", "1 output:"]),
        (losses.GaussianNLL(), 3, ["2 units", "3 outputs"]),
        (losses.Quantile([0.1, 0.5, 0.9]), 2, ["3 units", "2 outputs"]),
        (losses.BinaryCrossentropy(True, pos_weight=[1, 2]), 3, ["pos_weight", "2 numbers", "3 outputs"]),
    ],
    ids=str,
)
def test_outputs_that_a_loss_cannot_take(first, loss, units, words, says):
    net = fm.Sequential([Dense(units)], seed=0)
    if first == "build":
        net.build(2)
    with pytest.raises(ValueError) as caught:
        net.compile("sgd", loss)
        net.build(2)
    says(caught.value, *words)


@pytest.mark.parametrize("metric", ["mse", "mae", "accuracy"])
def test_metrics_of_single_outputs_are_refused_beside_it(metric, says):
    with pytest.raises(ValueError) as caught:
        network(losses.GaussianNLL(), 2, metrics=[metric])
    says(caught.value, metric if metric != "mse" and metric != "mae" else "mean_", "GaussianNLL")


@pytest.mark.parametrize(
    ("loss", "bad", "words"),
    [
        ("poisson_deviance", -1, "numbers of at least 0"),
        ("gamma_deviance", 0, "numbers above 0"),
        ("kl_divergence", 1.5, r"probabilities in \[0, 1\]"),
        ("categorical_hinge", -1, r"probabilities in \[0, 1\]"),
    ],
)
def test_targets_out_of_range(loss, bad, words):
    x, y = data(units=3)
    y = np.abs(y) / 10 + 0.1
    net = network(loss, last="softmax" if loss == "kl_divergence" else None)
    net.train_on_batch(x, y)
    y[3, 1] = bad
    for call in (net.train_on_batch, net.fit, net.evaluate, net.loss_and_gradients):
        with pytest.raises(ValueError, match=words):
            call(x, y)


# -- what they are made with ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        (losses.BinaryCrossentropy, {"label_smoothing": 1.0}),
        (losses.BinaryCrossentropy, {"label_smoothing": -0.1}),
        (losses.CategoricalCrossentropy, {"label_smoothing": math.nan}),
        (losses.BinaryCrossentropy, {"pos_weight": 0}),
        (losses.BinaryCrossentropy, {"pos_weight": [1, -1]}),
        (losses.BinaryCrossentropy, {"pos_weight": []}),
        (losses.BinaryFocalCrossentropy, {"gamma": -1}),
        (losses.CategoricalFocalCrossentropy, {"alpha": 2}),
        (losses.Quantile, {"levels": 0.0}),
        (losses.Quantile, {"levels": [0.5, 1.0]}),
        (losses.Quantile, {"levels": ()}),
    ],
)
def test_bad_values(cls, config):
    with pytest.raises(ValueError, match=next(iter(config))):
        cls(**config)


@pytest.mark.parametrize("bad", ["0.5", True, [0.5, "0.9"], {0.5}])
def test_bad_types(bad):
    for cls, name in ((losses.Quantile, "levels"), (losses.BinaryCrossentropy, "pos_weight")):
        with pytest.raises(TypeError, match=name):
            cls(**{name: bad})


def test_numbers_of_numpy():
    assert losses.Quantile(np.array([0.1, 0.9])) == losses.Quantile((0.1, 0.9)) == losses.Quantile([0.1, 0.9])
    assert losses.Quantile(np.float32(0.5)) == losses.Quantile()


# -- what they find ------------------------------------------------------------------------------------------------


def test_quantiles_of_a_sample():
    """One row of inputs: outputs go to the sample's quantiles."""
    y = np.random.default_rng(0).exponential(size=2001)
    net = fm.Sequential([Dense(3, kernel_initializer="zeros")], input_dim=1, dtype="float64", seed=0)
    net.compile(fm.optimizers.SGD(2.0), losses.Quantile([0.1, 0.5, 0.9]))
    net.fit(np.zeros((2001, 1)), y, epochs=300, batch_size=2001, verbose=0)
    np.testing.assert_allclose(net.predict([[0.0]])[0], np.quantile(y, [0.1, 0.5, 0.9]), atol=0.02)


def test_mean_and_variance_of_a_sample():
    y = np.random.default_rng(0).normal(3.0, 0.5, size=(1000, 1))
    net = fm.Sequential([Dense(2, kernel_initializer="zeros")], input_dim=1, dtype="float64", seed=0)
    net.compile(fm.optimizers.SGD(0.1), losses.GaussianNLL(full=True))
    net.fit(np.zeros((1000, 1)), y, epochs=400, batch_size=1000, verbose=0)
    mean, log_variance = net.predict([[0.0]])[0]
    assert mean == pytest.approx(y.mean(), abs=1e-3)
    assert math.exp(log_variance) == pytest.approx(y.var(), rel=1e-2)


@pytest.mark.parametrize("loss", ["poisson_deviance", "gamma_deviance"])
def test_means_of_counts_and_sizes(loss):
    y = np.random.default_rng(0).poisson(2.5, size=500) + 1.0
    net = fm.Sequential([Dense(1, kernel_initializer="zeros")], input_dim=1, dtype="float64", seed=0)
    net.compile(fm.optimizers.SGD(0.05), loss)
    net.fit(np.zeros((500, 1)), y, epochs=200, batch_size=500, verbose=0)
    assert math.exp(net.predict([[0.0]])[0, 0]) == pytest.approx(y.mean(), rel=1e-3)
