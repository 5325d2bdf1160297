"""Areas under curves, exactly, by the ranks of all outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import metrics as registry
from ._base import Metric
from ._meaning import OfClasses

if TYPE_CHECKING:
    from numpy.typing import NDArray

CURVES = ("ROC", "PR")


@registry.builtin("auc")
class AUC(OfClasses):
    """Area under the receiver operating characteristic, or under precision by recall; exact, from all outputs.

    ROC: the share of pairs of a yes and a no in which the yes has the larger output, where equal outputs count one
    half. PR: the average precision ``sum_n (R_n - R_(n-1)) P_n`` over the thresholds n, without interpolation. As
    scikit-learn's ``roc_auc_score`` and ``average_precision_score``; Keras's is an approximation by 200 thresholds.

    Of two classes it is that of class 1. Of more, or of several yes-or-no outputs, it is the mean over the classes of
    each against the others; those are left out that are in no row, or in all rows. NaN where nothing is left.

    All outputs of an epoch are kept until it ends: 4 or 8 bytes for each.

    Parameters
    ----------
    curve : {"ROC", "PR"}
        Logs call it ``"auc"`` and ``"auc_pr"``.
    kind, from_logits
        What targets and outputs mean; None takes what goes with the loss, see `OfClasses`.
    """

    better = "higher"
    data_attributes: ClassVar[frozenset[str]] = Metric.data_attributes | {"seen"}

    seen: list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]] | None = None  # answers, outputs, weights by batches

    def __init__(self, curve: str = "ROC", kind: str | None = None, from_logits: bool | None = None) -> None:
        super().__init__(kind, from_logits)
        if curve not in CURVES:
            raise ValueError(f"curve: expected 'ROC' or 'PR', got {curve!r}")
        self.curve = curve

    @property
    def name(self) -> str | None:  # type: ignore[override]
        """What logs call it."""
        return "auc_pr" if self.curve == "PR" else None

    def reset(self) -> None:
        """Forget what was seen."""
        self.seen = None

    def update(self, y_true: NDArray[Any], y_pred: NDArray[Any], weight: NDArray[Any] | None) -> None:
        """Keep one batch."""
        kind, outputs = self.kind_of(y_true, y_pred), y_pred
        if kind != "binary" and self.from_logits:
            outputs = self.probabilities_of(y_true, y_pred)  # logits of several rows are not comparable
        if kind == "categorical":
            y_true = y_true.argmax(axis=1)
        yes = self.rows_of(y_true, y_pred) > 0.5
        if kind != "binary" and yes.shape[1] == 2:
            yes, outputs = yes[:, 1:], outputs[:, 1:]
        shares = np.ones(len(outputs)) if weight is None else weight.astype(np.float64)
        if self.seen is None:
            self.seen = []
        self.seen.append((yes, outputs.copy(), shares))

    def result(self) -> float:
        """Return the area, of all rows seen."""
        if not self.seen:
            return float("nan")
        yes, outputs, shares = map(np.concatenate, zip(*self.seen, strict=True))
        area = roc_area if self.curve == "ROC" else average_precision
        areas = [area(yes[:, column], outputs[:, column], shares) for column in range(yes.shape[1])]
        defined = [one for one in areas if one == one]
        return sum(defined) / len(defined) if defined else float("nan")


def _cumulated(yes: NDArray[Any], scores: NDArray[Any], weight: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the weight of yeses and of noes down to each distinct score, from the largest on."""
    order = np.argsort(-scores, kind="stable")
    scores, yes, weight = scores[order], yes[order], weight[order]
    last = np.append(scores[1:] != scores[:-1], True)
    return np.cumsum(weight * yes)[last], np.cumsum(weight * ~yes)[last]


def roc_area(yes: NDArray[Any], scores: NDArray[Any], weight: NDArray[Any]) -> float:
    """Return the area under the receiver operating characteristic; NaN where all answers are the same."""
    if not np.isfinite(scores).all():
        return float("nan")
    right, wrong = (np.append(0.0, one) for one in _cumulated(yes, scores, weight))
    if not right[-1] or not wrong[-1]:
        return float("nan")
    return float((np.diff(wrong) * (right[1:] + right[:-1])).sum() / (2 * right[-1] * wrong[-1]))


def average_precision(yes: NDArray[Any], scores: NDArray[Any], weight: NDArray[Any]) -> float:
    """Return the average precision; NaN where no answer is yes."""
    if not np.isfinite(scores).all():
        return float("nan")
    right, wrong = _cumulated(yes, scores, weight)
    if not right[-1]:
        return float("nan")
    said = right + wrong
    precision = np.divide(right, said, out=np.zeros_like(right), where=said > 0)
    return float((np.diff(np.append(0.0, right)) * precision).sum() / right[-1])
