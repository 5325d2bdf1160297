"""Losses of numbers: squared and absolute errors, Huber, log cosh, Poisson."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import losses as registry
from ._base import Loss
from ._checks import number_above

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("half_squared_error")
class HalfSquaredError(Loss):
    """``1/2 sum_j (yhat_j - y_j)^2``, gradient ``yhat - y``."""

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        return 0.5 * (d * d).sum(axis=1), d


@registry.builtin("mean_squared_error", "mse")
class MeanSquaredError(Loss):
    """``mean_j (yhat_j - y_j)^2``, gradient ``2 (yhat - y) / units``."""

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        return (d * d).mean(axis=1), 2 * d / d.shape[1]


@registry.builtin("mean_absolute_error", "mae")
class MeanAbsoluteError(Loss):
    """``mean_j |yhat_j - y_j|``, gradient ``sign(yhat - y) / units``, which is 0 where they are equal."""

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        return np.abs(d).mean(axis=1), np.sign(d) / d.shape[1]


@registry.builtin("huber")
class Huber(Loss):
    """``mean_j h(yhat_j - y_j)``, ``h(d) = d^2 / 2`` up to delta, ``delta (|d| - delta / 2)`` beyond.

    The gradient is d, clipped to [-delta, delta], by units. Huber, Robust estimation of a location parameter, Annals of
    Mathematical Statistics, 1964.

    Parameters
    ----------
    delta : float
        Where squares become absolute values; positive.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = number_above("delta", delta)

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        slope = np.clip(d, -self.delta, self.delta)
        return (slope * (d - slope / 2)).mean(axis=1), slope / d.shape[1]


@registry.builtin("log_cosh")
class LogCosh(Loss):
    """``mean_j log cosh(yhat_j - y_j)``, gradient ``tanh(yhat - y) / units``: about d^2 / 2, then |d| - log 2.

    As ``|d| + log1p(expm1(-2 |d|) / 2)``, which neither overflows nor cancels.
    """

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        far = np.abs(d)
        return (far + np.log1p(np.expm1(-2 * far) / 2)).mean(axis=1), np.tanh(d) / d.shape[1]


@registry.builtin("poisson")
class Poisson(Loss):
    """``mean_j (yhat_j - y_j log(yhat_j + 1e-7))``: counts y, of which the rates yhat are predicted.

    Gradient ``(1 - y / (yhat + 1e-7)) / units``. Minus the log-likelihood of the Poisson distribution, but for a
    constant; 1e-7 as in Keras. Rates must not be negative: end in ``"exponential"`` or ``"softplus"``.
    """

    conformance: ClassVar[dict[str, Any]] = {"domain": (0.1, 4.0)}

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        rate = y_pred + 1e-7
        return (y_pred - y_true * np.log(rate)).mean(axis=1), (1 - y_true / rate) / rate.shape[1]
