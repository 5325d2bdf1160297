"""Metrics of numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
