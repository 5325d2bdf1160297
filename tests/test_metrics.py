"""Metrics by hand and as scikit-learn has them; exact over batches of any sizes, with weights, beside any loss."""

import math
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import metrics
from fastmlp.layers import Dense

NAN = float("nan")


def value(metric, y, p, weight=None, cuts=()):
    """What a metric gives of rows in batches that end at `cuts`."""
    y, p = np.asarray(y), np.asarray(p, dtype=float)
    weight = None if weight is None else np.asarray(weight, dtype=float)
    metric.reset()
    for first, last in zip((0, *cuts), (*cuts, len(y)), strict=True):
        metric.update(y[first:last], p[first:last], None if weight is None else weight[first:last])
    return metric.result()


# -- by hand -------------------------------------------------------------------------------------------------------

ANSWERS = [[1.0], [1], [0], [0], [1]], [[0.9], [0.4], [0.4], [0.6], [0.7]]  # 2 right yeses, 1 wrong, 1 missed
LABELS = [0, 1, 2, 2, 1]
CHANCES = [[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4], [0.1, 0.3, 0.6], [0.4, 0.3, 0.3]]  # answers 0 1 0 2 0
ROWS = np.eye(3)[LABELS]
HAND = {
    "binary accuracy": (metrics.BinaryAccuracy(), *ANSWERS, 3 / 5),
    "binary accuracy, threshold": (metrics.BinaryAccuracy(0.65), *ANSWERS, 4 / 5),
    "categorical accuracy": (metrics.CategoricalAccuracy(), ROWS, CHANCES, 3 / 5),
    "sparse accuracy": (metrics.SparseCategoricalAccuracy(), LABELS, CHANCES, 3 / 5),
    "top 1": (metrics.TopKCategoricalAccuracy(1), ROWS, CHANCES, 3 / 5),
    "top 2, a tie is among": (metrics.TopKCategoricalAccuracy(2), ROWS, CHANCES, 1),
    "sparse top 2": (metrics.SparseTopKCategoricalAccuracy(2), [2, 0], CHANCES[:2], 0),
    "precision": (metrics.Precision(), *ANSWERS, 2 / 3),
    "recall": (metrics.Recall(), *ANSWERS, 2 / 3),
    "f1": (metrics.F1Score(), *ANSWERS, 2 / 3),
    "precision, threshold": (metrics.Precision(0.65), *ANSWERS, 1),
    "recall, threshold": (metrics.Recall(0.8), *ANSWERS, 1 / 3),
    "no yes": (metrics.Precision(), [[0], [1]], [[0.1], [0.2]], 0),
    "nothing to find": (metrics.Recall(), [[0.0]], [[0.1]], 0),
    "precision of classes": (metrics.Precision(), LABELS, CHANCES, (1 / 3 + 1 + 1) / 3),
    "recall of classes": (metrics.Recall(), ROWS, CHANCES, (1 + 1 / 2 + 1 / 2) / 3),
    "f1 of classes": (metrics.F1Score(), LABELS, CHANCES, (1 / 2 + 2 / 3 + 2 / 3) / 3),
    "f1, micro": (metrics.F1Score(average="micro"), LABELS, CHANCES, 3 / 5),
    "f1, weighted": (metrics.F1Score(average="weighted"), LABELS, CHANCES, (1 / 2 + 2 * 2 / 3 + 2 * 2 / 3) / 5),
    "precision of class 0": (metrics.Precision(class_id=0), LABELS, CHANCES, 1 / 3),
    "a class that is nowhere": (metrics.Recall(), [0, 1], [[0.7, 0.2, 0.1], [0.7, 0.2, 0.1]], 1 / 2),
    "several answers": (
        metrics.Precision(kind="binary"),
        [[1, 0], [0, 1]],
        [[0.9, 0.8], [0.7, 0.6]],
        (1 / 2 + 1 / 2) / 2,
    ),
    # yeses .9 .4 .7, noes .4 .6: of 6 pairs 4 are right, and (.4, .4) is half
    "roc": (metrics.AUC(), *ANSWERS, 4.5 / 6),
    "roc, all equal": (metrics.AUC(), [[0.0], [1], [1]], [[0.3]] * 3, 1 / 2),
    "roc, one kind of target": (metrics.AUC(), [[1.0], [1]], [[0.3], [0.4]], NAN),
    "pr": (metrics.AUC("PR"), *ANSWERS, 1 / 3 * 1 + 1 / 3 * 1 + 1 / 3 * 3 / 5),
    "roc of two classes": (metrics.AUC(), [0, 1, 1], [[0.8, 0.2], [0.9, 0.1], [0.3, 0.7]], 1 / 2),
    # class 0: .6 before .2 .5 .1 .4: 1; class 1: .5 .3 of .3 .1 .3: (3 + 2) / 6 with 2 ties; class 2: .4 .6 of .1 .3 .3
    "roc of classes": (metrics.AUC(), LABELS, CHANCES, (1 + (3 + 1 + 0.5 + 0.5) / 6 + 1) / 3),
    "r2": (metrics.R2Score(), [[1.0], [2], [3]], [[1.0], [2], [5]], 1 - 4 / 2),
    "r2 of the mean": (metrics.R2Score(), [[1.0], [2], [3]], [[2.0]] * 3, 0),
    "r2 of two": (metrics.R2Score(), [[1.0, 0], [3, 0]], [[1.0, 0], [2, 0]], (1 - 1 / 2 + 1) / 2),
    "r2, a constant missed": (metrics.R2Score(), [[5.0], [5]], [[5.0], [6]], 0),
    "rmse": (metrics.RootMeanSquaredError(), [[1.0, 2], [3, 4]], [[1.0, 2], [3, 8]], 2),
    "mape": (metrics.MeanAbsolutePercentageError(), [[2.0, -4]], [[3.0, -3]], 37.5),
    "log loss": (metrics.LogLoss(), [[1.0], [0]], [[0.5], [0.75]], 1.5 * math.log(2)),
    "log loss of classes": (metrics.LogLoss(), LABELS[:1], CHANCES[:1], -math.log(0.6)),
    "log loss of logits": (metrics.LogLoss("binary", True), [[1.0]], [[-math.log(3)]], math.log(4)),
    "log loss of sure logits": (metrics.LogLoss("sparse", True), [1], [[900.0, -100.0]], 1000),
    "brier": (metrics.BrierScore(), [[1.0], [0]], [[0.5], [0.75]], (0.25 + 0.5625) / 2),
    "brier of classes": (metrics.BrierScore(), LABELS[:1], CHANCES[:1], 0.16 + 0.09 + 0.01),
    "brier of logits": (metrics.BrierScore(None, True), [[1.0]], [[0.0]], 0.25),
    # bins of a half: .1 .2 with one yes, .7 .9 with one
    "calibration": (
        metrics.ExpectedCalibrationError(2),
        [[0.0], [1], [0], [1]],
        [[0.1], [0.2], [0.7], [0.9]],
        (abs(1 - 0.3) + abs(1 - 1.6)) / 4,
    ),
    "calibration of classes": (metrics.ExpectedCalibrationError(1), LABELS, CHANCES, abs(3 - 2.6) / 5),
    "an edge belongs to the bin below": (metrics.ExpectedCalibrationError(2), [[1.0], [0]], [[0.5], [0.4]], 0.05),
}


@pytest.mark.parametrize("case", HAND)
def test_by_hand(case):
    metric, y, p, expected = HAND[case]
    assert value(metric, y, p) == pytest.approx(expected, rel=1e-12, abs=1e-15, nan_ok=True)


@pytest.mark.parametrize("case", HAND)
def test_nothing_seen(case):
    metric = HAND[case][0]
    metric.reset()
    assert math.isnan(metric.result())


def test_large_targets_lose_no_digits():
    y = 1e9 + np.arange(100.0)[:, None]
    found = value(metrics.R2Score(), y, y + 1, cuts=(7, 8, 50))
    assert found == pytest.approx(1 - 100 / 83325, rel=1e-9)


# -- as scikit-learn has them --------------------------------------------------------------------------------------


def draw(kind, rows=200, units=4, seed=0):
    """Targets, outputs with many ties, weights with zeros."""
    rng = np.random.default_rng(seed)
    p = rng.integers(1, 6, size=(rows, units)).astype(float)
    labels = np.where(rng.uniform(size=rows) < 0.5, p.argmax(axis=1), rng.integers(0, units, rows))
    p /= p.sum(axis=1, keepdims=True)
    weight = rng.integers(0, 4, rows).astype(float)
    if kind == "sparse":
        return labels, p, weight
    if kind == "categorical":
        return np.eye(units)[labels], p, weight
    p = rng.integers(0, 11, size=(rows, units)) / 10
    return (rng.uniform(size=(rows, units)) < p).astype(float), p, weight


def test_the_same_as_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    labels, p, w = draw("sparse")
    yes, q, _ = draw("binary", units=1)
    many, r, _ = draw("binary")
    answers, said = p.argmax(axis=1), q > 0.5
    f1 = {average: sk.f1_score(labels, answers, average=average, sample_weight=w) for average in ("macro", "micro")}
    pairs = [
        (metrics.Precision(), labels, p, sk.precision_score(labels, answers, average="macro", sample_weight=w)),
        (metrics.Recall(), labels, p, sk.recall_score(labels, answers, average="macro", sample_weight=w)),
        (metrics.F1Score(), labels, p, f1["macro"]),
        (metrics.F1Score(average="micro"), labels, p, f1["micro"]),
        (
            metrics.Precision(average="weighted"),
            *(labels, p),
            sk.precision_score(labels, answers, average="weighted", sample_weight=w),
        ),
        (metrics.F1Score(), yes, q, sk.f1_score(yes[:, 0], said[:, 0], sample_weight=w)),
        (
            metrics.F1Score(kind="binary"),
            *(many, r),
            sk.f1_score(many, r > 0.5, average="macro", sample_weight=w),
        ),
        (metrics.AUC(), yes, q, sk.roc_auc_score(yes[:, 0], q[:, 0], sample_weight=w)),
        (metrics.AUC("PR"), yes, q, sk.average_precision_score(yes[:, 0], q[:, 0], sample_weight=w)),
        (metrics.AUC(), labels, p, sk.roc_auc_score(np.eye(4)[labels], p, average="macro", sample_weight=w)),
        (
            metrics.AUC("PR", "binary"),
            *(many, r),
            sk.average_precision_score(many, r, average="macro", sample_weight=w),
        ),
        (metrics.LogLoss(), labels, p, sk.log_loss(labels, p, sample_weight=w)),
        (metrics.BrierScore(), yes, q, sk.brier_score_loss(yes[:, 0], q[:, 0], sample_weight=w)),
        (metrics.R2Score(), many, r, sk.r2_score(many, r, sample_weight=w)),
        (
            metrics.RootMeanSquaredError(),
            *(yes, q),
            math.sqrt(sk.mean_squared_error(yes, q, sample_weight=w)),
        ),
        (
            metrics.MeanAbsolutePercentageError(),
            *(yes + 1, q),
            100 * sk.mean_absolute_percentage_error(yes + 1, q, sample_weight=w),
        ),
        (
            metrics.SparseTopKCategoricalAccuracy(1),
            *(labels, p + 1e-6 * np.arange(4)),
            sk.top_k_accuracy_score(labels, p + 1e-6 * np.arange(4), k=1, sample_weight=w),
        ),
    ]
    for metric, y, outputs, expected in pairs:
        assert value(metric, y, outputs, w, (1, 50, 51)) == pytest.approx(expected, rel=1e-9), repr(metric)
    np.testing.assert_array_equal(metrics.confusion_matrix(labels, p), sk.confusion_matrix(labels, answers))


# -- over batches, in networks -------------------------------------------------------------------------------------

NAMES = [name for name in fm.registry.metrics.builtins() if "sparse" not in name and "top_k" not in name]


@pytest.mark.parametrize("case", HAND)
def test_batches_and_weights(case):
    """Of batches of any sizes the same as of all rows; a weight of 2 counts a row twice, and 0 not at all."""
    metric, y, p, _ = HAND[case]
    y, p = np.concatenate([y] * 4), np.concatenate([p] * 4)
    weight = np.random.default_rng(1).integers(0, 3, len(y))
    for given in (None, weight):
        whole = value(metric, y, p, given)
        for cuts in ((1,), (1, 2), (len(y) // 2,), tuple(range(1, len(y)))):
            assert value(metric, y, p, given, cuts) == pytest.approx(whole, rel=1e-9, abs=1e-12, nan_ok=True)
    expected = value(metric, np.repeat(y, weight, axis=0), np.repeat(p, weight, axis=0))
    assert value(metric, y, p, weight) == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("name", fm.registry.metrics.builtins())
def test_which_way_is_up(name):
    lower = ("error", "mse", "mae", "mape", "loss", "brier", "rmse")
    assert fm.metrics.get(name).better == ("lower" if any(word in name for word in lower) else "higher")


def network(units, loss, last, metrics, dtype="float32", seed=3):
    net = fm.Sequential([Dense(6, "tanh"), Dense(units, last)], input_dim=4, dtype=dtype, seed=seed)
    net.compile("sgd", loss, metrics)
    return net


OF_CLASSES = ["precision", "recall", "f1_score", "auc", metrics.AUC("PR"), "log_loss", "brier_score"]
OF_CLASSES.append("expected_calibration_error")
BESIDE = {  # loss of probabilities, last activation, units, targets
    "binary": ("binary_crossentropy", "sigmoid", 1, lambda labels: labels % 2),
    "answers": ("binary_crossentropy", "sigmoid", 3, lambda labels: np.eye(3)[labels]),
    "sparse": ("sparse_categorical_crossentropy", "softmax", 3, lambda labels: labels),
    "categorical": ("categorical_crossentropy", "softmax", 3, lambda labels: np.eye(3)[labels]),
    "two classes": ("sparse_categorical_crossentropy", "softmax", 2, lambda labels: labels % 2),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", BESIDE)
def test_logits_give_what_probabilities_give(case, dtype):
    """In `evaluate`, `fit` and `train_on_batch`, and whatever the batches."""
    loss, last, units, targets = BESIDE[case]
    rng = np.random.default_rng(0)
    x, labels, weight = rng.normal(size=(50, 4)), rng.integers(0, 3, 50), rng.uniform(0, 2, 50)
    y = targets(labels)
    net = network(units, loss, last, OF_CLASSES, dtype)
    logits = network(units, {"name": loss, "from_logits": True}, None, OF_CLASSES, dtype)
    expected = net.evaluate(x, y, sample_weight=weight)
    tolerance = 1e-4 if dtype == "float32" else 1e-9
    assert all(np.isfinite(one) for one in expected.values())
    assert expected["log_loss"] == pytest.approx(expected["loss"], rel=tolerance)
    for other in (net.evaluate(x, y, sample_weight=weight, batch_size=7), logits.evaluate(x, y, sample_weight=weight)):
        assert other == pytest.approx(expected, rel=tolerance)
    net.optimizer.learning_rate = 0.0
    history = net.fit(x, y, sample_weight=weight, batch_size=7, validation_data=(x, y, weight)).history
    assert {name: history[name][0] for name in expected} == pytest.approx(expected, rel=tolerance)
    assert {name: history[f"val_{name}"][0] for name in expected} == pytest.approx(expected, rel=tolerance)
    assert net.train_on_batch(x, y, weight) == pytest.approx(expected, rel=tolerance)


@pytest.mark.parametrize("loss", [{"name": "binary_crossentropy", "from_logits": True}, "hinge", "squared_hinge"])
def test_signs_say_yes(loss):
    net = network(2, loss, None, ["accuracy", "binary_accuracy", "precision", "recall"])
    x = np.random.default_rng(0).normal(size=(30, 4))
    y = (x[:, :2] > 0).astype(float)
    logs = net.evaluate(x, y)
    said = net.predict(x) > 0
    right = (said & (y > 0)).sum(axis=0)
    assert logs["accuracy"] == logs["binary_accuracy"] == pytest.approx((said == y).mean())
    assert logs["precision"] == pytest.approx((right / said.sum(axis=0)).mean())
    assert logs["recall"] == pytest.approx((right / y.sum(axis=0)).mean())


@pytest.mark.parametrize(
    ("metric", "loss", "last", "words"),
    [
        ("categorical_accuracy", "sparse_categorical_crossentropy", "softmax", ["labels"]),
        ("binary_accuracy", "sparse_categorical_crossentropy", "softmax", ["labels"]),
        ("r2_score", "sparse_categorical_crossentropy", "softmax", ["labels"]),
        ("sparse_categorical_accuracy", "categorical_crossentropy", "softmax", ["labels", "'categorical_accuracy'"]),
        ("top_k_categorical_accuracy", "categorical_crossentropy", "softmax", ["3 outputs", "smaller k"]),
        (metrics.Precision(kind="sparse"), "categorical_crossentropy", "softmax", ["sparse", "rows"]),
        (metrics.Recall(kind="binary"), "sparse_categorical_crossentropy", "softmax", ["binary", "labels"]),
        (metrics.Recall(0.7), "categorical_crossentropy", "softmax", ["threshold", "largest"]),
        (metrics.F1Score(class_id=3), "categorical_crossentropy", "softmax", ["class 3", "3 outputs"]),
        ("log_loss", "hinge", None, ["probabilities", "Hinge"]),
        ("brier_score", "squared_hinge", None, ["probabilities"]),
        ("auc", fm.losses.Quantile([0.1, 0.5, 0.9]), None, ["fewer targets"]),
        ("mape", fm.losses.Quantile([0.1, 0.5, 0.9]), None, ["1 target beside 3 outputs"]),
    ],
    ids=repr,
)
def test_metrics_that_do_not_fit_the_loss(metric, loss, last, words, says):
    with pytest.raises(ValueError) as caught:
        network(3, loss, last, [metric])
    says(caught.value, *words)


@pytest.mark.parametrize(
    ("cls", "config"),
    [
        *(
            (metrics.Precision, {"average": "samples"}),
            (metrics.Recall, {"class_id": -1}),
            (metrics.AUC, {"curve": "X"}),
        ),
        *((metrics.LogLoss, {"kind": "signs"}), (metrics.ExpectedCalibrationError, {"bins": 0})),
        *((metrics.TopKCategoricalAccuracy, {"k": 0}), (metrics.BinaryAccuracy, {"threshold": math.nan})),
    ],
)
def test_bad_values(cls, config):
    with pytest.raises(ValueError, match=next(iter(config))):
        cls(**config)


def test_names_in_logs():
    """One class, and another curve, have names of their own; the same twice is refused."""
    chosen = ["auc", metrics.AUC("PR"), "recall", metrics.Recall(class_id=0), metrics.Recall(class_id=2), "mape"]
    net = network(3, "categorical_crossentropy", "softmax", chosen)
    logs = net.evaluate(np.ones((5, 4)), np.eye(3)[[0, 1, 2, 0, 1]])
    names = ["loss", "auc", "auc_pr", "recall", "recall_0", "recall_2", "mean_absolute_percentage_error"]
    assert list(logs) == names
    with pytest.raises(ValueError, match="two of one name"):
        network(3, "categorical_crossentropy", "softmax", ["auc", metrics.AUC()])


def test_names_of_ones_own_class():
    class Found(metrics.Recall):
        pass

    net = network(3, "categorical_crossentropy", "softmax", [Found(), Found(class_id=1)])
    assert list(net.evaluate(np.ones((3, 4)), np.eye(3))) == ["loss", "Found", "Found_1"]


def test_files_and_copies(tmp_path):
    chosen = [*OF_CLASSES, metrics.Recall(class_id=1, average="micro"), metrics.TopKCategoricalAccuracy(2)]
    net = network(3, "categorical_crossentropy", "softmax", chosen)
    x, y = np.random.default_rng(0).normal(size=(40, 4)), np.eye(3)[np.arange(40) % 3]
    expected = net.evaluate(x, y)
    net.save(tmp_path / "net")
    for other in (fm.load(tmp_path / "net"), pickle.loads(pickle.dumps(net))):
        assert other.metrics == net.metrics and other.evaluate(x, y) == expected


def test_early_stopping_knows_the_way():
    x, y = np.random.default_rng(0).normal(size=(40, 4)), np.arange(40) % 2
    net = network(1, "binary_crossentropy", "sigmoid", ["auc", "brier_score"])
    for monitor in ("val_auc", "val_brier_score"):
        stopping = fm.callbacks.EarlyStopping(monitor, patience=100)
        history = net.fit(x, y, epochs=5, validation_data=(x, y), callbacks=[stopping]).history[monitor]
        assert stopping.best == (max if "auc" in monitor else min)(history)


# -- functions -----------------------------------------------------------------------------------------------------


def largest_error(y_true, y_pred):
    return np.abs(y_pred - y_true).max(axis=1)


class Gap:
    def __call__(self, y_true, y_pred):
        return (y_pred - y_true)[:, 0]


def test_a_function(tmp_path):
    """Its mean over the rows, by weight; named by the function."""
    chosen = [largest_error, Gap(), metrics.MeanOf(lambda y, p: p[:, 1], name="second", better="higher")]
    net = network(3, "mse", None, chosen, "float64")
    rng = np.random.default_rng(0)
    x, y, weight = rng.normal(size=(20, 4)), rng.normal(size=(20, 3)), rng.uniform(size=20)
    p = net.predict(x)
    expected = {
        "largest_error": np.average(np.abs(p - y).max(axis=1), weights=weight),
        "Gap": np.average((p - y)[:, 0], weights=weight),
        "second": np.average(p[:, 1], weights=weight),
    }
    for batch_size in (32, 7, 1):
        logs = net.evaluate(x, y, sample_weight=weight, batch_size=batch_size)
        assert {name: logs[name] for name in expected} == pytest.approx(expected, rel=1e-12)
    assert [metric.better for metric in net.metrics] == [None, None, "higher"]
    assert "largest_error" in repr(net.metrics[0])
    with pytest.raises(TypeError, match=r"largest_error.*register"):
        net.save(tmp_path / "net")
    own = network(3, "mse", None, [largest_error])
    assert pickle.loads(pickle.dumps(own.metrics[0])) == own.metrics[0]


def test_a_function_sees_targets_that_are_fewer_than_outputs():
    def miss(y_true, y_pred):
        return np.abs(y_pred[:, 0] - y_true[:, 0])

    net = network(2, fm.losses.GaussianNLL(), None, [miss], "float64")
    x = np.random.default_rng(0).normal(size=(10, 4))
    assert net.evaluate(x, x[:, 0])["miss"] == pytest.approx(np.abs(net.predict(x)[:, 0] - x[:, 0]).mean())


def test_functions_that_are_no_metrics(says):
    def mean(y_true, y_pred):
        return np.abs(y_pred - y_true).mean()

    x = np.ones((5, 4))
    with pytest.raises((TypeError, ValueError)) as caught:
        network(3, "mse", None, [mean]).evaluate(x, x[:, :3])
    says(caught.value, "mean", r"\(5,\)")
    with pytest.raises(ValueError, match="MeanOf"):
        network(3, "mse", None, [lambda y, p: p[:, 0]])
    with pytest.raises(TypeError, match="callable"):
        metrics.MeanOf(3)
    with pytest.raises(ValueError, match="better"):
        metrics.MeanOf(largest_error, better="up")
    with pytest.raises(ValueError, match="two of one name"):
        network(3, "mse", None, [largest_error, largest_error])


# -- the confusion matrix ------------------------------------------------------------------------------------------


def test_confusion_matrix():
    expected = [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    for y in (LABELS, ROWS, np.array(LABELS)[:, None]):
        for p in (CHANCES, [0, 1, 0, 2, 0]):
            found = metrics.confusion_matrix(y, p)
            assert found.tolist() == expected and found.dtype == np.int64
    weighted = metrics.confusion_matrix(LABELS, CHANCES, sample_weight=[1, 0.5, 2, 0, 4])
    assert weighted.tolist() == [[1, 0, 0], [4, 0.5, 0], [2, 0, 0]]
    assert metrics.confusion_matrix(*ANSWERS).tolist() == [[1, 1], [1, 2]]
    assert metrics.confusion_matrix([0, 0], np.array([[0.1], [0.2]])).tolist() == [[2, 0], [0, 0]]


@pytest.mark.parametrize(
    ("y", "p", "weight", "words"),
    [
        ([0, 1], [0], None, "2 rows"),
        ([0.5], [0], None, "whole"),
        ([-1], [0], None, "whole"),
        ([0], [[[1]]], None, "shape"),
        ([0], [1], [1, 2], "sample_weight"),
    ],
)
def test_confusion_matrix_of_what_is_none(y, p, weight, words):
    with pytest.raises(ValueError, match=words):
        metrics.confusion_matrix(y, p, sample_weight=weight)
