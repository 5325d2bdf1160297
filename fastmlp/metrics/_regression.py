"""Metrics of numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import metrics as registry
from ._base import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("mean_squared_error", "mse")
class MeanSquaredError(Metric):
    """``mean (yhat - y)^2`` over rows and outputs."""

    labels = False
    better = "lower"

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.square(y_pred - y_true).mean(axis=1))


@registry.builtin("mean_absolute_error", "mae")
class MeanAbsoluteError(Metric):
    """``mean |yhat - y|`` over rows and outputs."""

    labels = False
    better = "lower"

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.abs(y_pred - y_true).mean(axis=1))


@registry.builtin("root_mean_squared_error", "rmse")
class RootMeanSquaredError(MeanSquaredError):
    """``sqrt(mean (yhat - y)^2)``, the mean being over all rows and outputs."""

    def result(self) -> float:
        """Return the root of the mean over the rows seen."""
        return math.sqrt(super().result())


@registry.builtin("mean_absolute_percentage_error", "mape")
class MeanAbsolutePercentageError(Metric):
    """``100 mean |yhat - y| / max(|y|, 1e-7)`` over rows and outputs, as in Keras."""

    labels = False
    better = "lower"

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray((100 * np.abs(y_pred - y_true) / np.maximum(np.abs(y_true), 1e-7)).mean(axis=1))


@registry.builtin("r2_score")
class R2Score(Metric):
    """``1 - sum (yhat - y)^2 / sum (y - mean y)^2`` of each output, then the mean over the outputs.

    1 for a perfect prediction, 0 for that of the mean; below 0 is worse than that. Of targets that are all the same it
    is 1 if they are met, else 0. As in scikit-learn and Keras. Means and sums of squares of batches are put together
    (Chan and others, 1979), so that large targets lose no digits.
    """

    labels = False
    better = "higher"
    data_attributes: ClassVar[frozenset[str]] = Metric.data_attributes | {"mean", "squares", "errors"}

    mean: Any = 0.0  # of the targets of each output, and the sum of squares around it
    squares: Any = 0.0
    errors: Any = 0.0  # sum of squares of the errors

    def reset(self) -> None:
        """Forget what was seen."""
        self.weight = 0.0
        self.mean = self.squares = self.errors = 0.0

    def update(self, y_true: NDArray[Any], y_pred: NDArray[Any], weight: NDArray[Any] | None) -> None:
        """Put one batch to those before."""
        y, p = y_true.astype(np.float64), y_pred.astype(np.float64)
        shares = np.ones(len(y)) if weight is None else weight.astype(np.float64)
        total = float(shares.sum())
        if not total:
            return
        mean = shares @ y / total
        distance, both = mean - self.mean, self.weight + total
        self.squares = self.squares + shares @ (y - mean) ** 2 + distance**2 * (self.weight * total / both)
        self.mean = self.mean + distance * (total / both)
        self.errors = self.errors + shares @ (p - y) ** 2
        self.weight = both

    def result(self) -> float:
        """Return the mean over the outputs; NaN before anything was seen."""
        if not self.weight:
            return float("nan")
        met = np.where(self.errors == 0, 1.0, 0.0)
        share = np.divide(self.errors, self.squares, out=1 - met, where=np.asarray(self.squares > 0))
        return float((1 - share).mean())
