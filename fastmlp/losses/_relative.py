"""Losses of numbers by their size: absolute percentage errors, errors of logarithms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import losses as registry
from ._base import Loss

if TYPE_CHECKING:
    from numpy.typing import NDArray

LEAST = 1e-7  # Keras's epsilon


@registry.builtin("mean_absolute_percentage_error", "mape")
class MeanAbsolutePercentageError(Loss):
    """``100 mean_j |yhat_j - y_j| / max(|y_j|, 1e-7)``, as in Keras.

    Gradient ``100 sign(yhat - y) / max(|y|, 1e-7) / units``. A target of 0 counts 1e9 times its error: leave such rows
    out, or take another loss.
    """

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d, scale = y_pred - y_true, 100 / np.maximum(np.abs(y_true), LEAST)
        return (scale * np.abs(d)).mean(axis=1), scale * np.sign(d) / d.shape[1]


@registry.builtin("mean_squared_logarithmic_error", "msle")
class MeanSquaredLogarithmicError(Loss):
    """``mean_j (log(1 + yhat_j) - log(1 + y_j))^2``, of numbers of at least 1e-7, as in Keras: less becomes 1e-7.

    Gradient ``2 (log(1 + yhat) - log(1 + y)) / (1 + yhat) / units``, and 0 where yhat is less than 1e-7: end in an
    activation of positive values, such as ``"softplus"``.
    """

    conformance: ClassVar[dict[str, Any]] = {"domain": (0.1, 4.0)}

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        predicted = np.maximum(y_pred, LEAST)
        d = np.log1p(predicted) - np.log1p(np.maximum(y_true, LEAST))
        slope = 2 * d / (1 + predicted)
        return (d * d).mean(axis=1), np.where(y_pred < LEAST, 0, slope) / y_pred.shape[1]
