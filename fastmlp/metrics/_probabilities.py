"""Metrics of probabilities: log loss, Brier score, calibration error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_count
from ..registry import metrics as registry
from ._base import Metric
from ._meaning import OfClasses

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("log_loss")
class LogLoss(OfClasses):
    """``-sum_j y_j log p_j`` of classes, ``-mean_j (y_j log p_j + (1 - y_j) log(1 - p_j))`` of yes-or-no answers.

    The cross-entropy without penalties, smoothing and weights of the loss; beside it, or beside any other.

    Parameters
    ----------
    kind, from_logits
        What targets and outputs mean; None takes what goes with the loss, see `OfClasses`.
    """

    better = "lower"
    of_probabilities = True

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        y, z = self.rows_of(y_true, y_pred), y_pred.astype(np.float64)
        binary = self.kind_of(y_true, y_pred) == "binary"
        if self.from_logits and binary:
            return np.asarray((np.logaddexp(z, 0) - y * z).mean(axis=1))
        if self.from_logits:
            return np.asarray((y * (np.logaddexp.reduce(z, axis=1)[:, None] - z)).sum(axis=1))
        tiny = 1e-38 if y_pred.dtype == np.float32 else 1e-300
        log_p = np.log(np.maximum(z, tiny))
        if binary:
            return np.asarray(-(y * log_p + (1 - y) * np.log(np.maximum(1 - z, tiny))).mean(axis=1))
        return np.asarray(-(y * log_p).sum(axis=1))


@registry.builtin("brier_score")
class BrierScore(OfClasses):
    """``sum_j (p_j - y_j)^2`` of classes, ``mean_j (p_j - y_j)^2`` of yes-or-no answers.

    Between 0 and 2, or 1. Brier, Verification of forecasts expressed in terms of probability, Monthly Weather Review,
    1950.

    Parameters
    ----------
    kind, from_logits
        What targets and outputs mean; None takes what goes with the loss, see `OfClasses`.
    """

    better = "lower"
    of_probabilities = True

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        squares = (self.probabilities_of(y_true, y_pred) - self.rows_of(y_true, y_pred)) ** 2
        binary = self.kind_of(y_true, y_pred) == "binary"
        return np.asarray(squares.mean(axis=1) if binary else squares.sum(axis=1))


@registry.builtin("expected_calibration_error")
class ExpectedCalibrationError(OfClasses):
    """``sum_b |right_b - sure_b| / n``: how far the network is from being right as often as it says.

    Answers fall into bins of equal width by their probability. Of classes it is that of the largest output, and
    ``right_b`` counts the answers of a bin that are right; of yes-or-no outputs it is that of yes, and ``right_b``
    counts the targets yes. ``sure_b`` sums up the probabilities of a bin. Guo and others, arXiv:1706.04599.

    Parameters
    ----------
    bins : int
    kind, from_logits
        What targets and outputs mean; None takes what goes with the loss, see `OfClasses`.
    """

    better = "lower"
    of_probabilities = True
    data_attributes: ClassVar[frozenset[str]] = Metric.data_attributes | {"gaps"}

    gaps: Any = 0.0  # right less sure, of each bin

    def __init__(self, bins: int = 15, kind: str | None = None, from_logits: bool | None = None) -> None:
        super().__init__(kind, from_logits)
        self.bins = check_count("bins", bins)

    def reset(self) -> None:
        """Forget what was seen."""
        self.gaps, self.weight = 0.0, 0.0

    def update(self, y_true: NDArray[Any], y_pred: NDArray[Any], weight: NDArray[Any] | None) -> None:
        """Put one batch into the bins."""
        p = self.probabilities_of(y_true, y_pred)
        shares = np.ones(len(p)) if weight is None else weight.astype(np.float64)
        if self.kind_of(y_true, y_pred) == "binary":
            right, sure = y_true.ravel() > 0.5, p.ravel()
            shares = np.repeat(shares, p.shape[1])
        else:
            labels = y_true if y_true.ndim == 1 else y_true.argmax(axis=1)
            right, sure = p.argmax(axis=1) == labels, p.max(axis=1)
        edges = np.ceil(np.nan_to_num(sure) * self.bins) - 1  # (b / bins, (b + 1) / bins] is bin b
        bins = np.clip(edges, 0, self.bins - 1).astype(np.int64)
        self.gaps = self.gaps + np.bincount(bins, shares * (right - sure), self.bins)
        self.weight += float(shares.sum())

    def result(self) -> float:
        """Return the mean distance over all answers."""
        return float(np.abs(self.gaps).sum() / self.weight) if self.weight else float("nan")
