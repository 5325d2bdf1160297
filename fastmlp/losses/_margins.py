"""Losses of margins: hinge, squared hinge, and that of several classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import losses as registry
from ._base import Loss

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Margin(Loss):
    probabilities = False
    accuracy = "signs"


@registry.builtin("hinge")
class Hinge(_Margin):
    """``mean_j max(0, 1 - y_j yhat_j)``; targets are 1 or -1, and a 0 means -1.

    Gradient ``-y / units`` where the margin ``1 - y yhat`` is positive, else 0. Cortes and Vapnik, Support-vector
    networks, Machine Learning, 1995. What is predicted is the sign of an output, and so counts ``"accuracy"``.
    """

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        y = np.where(y_true == 0, -1, y_true)
        margin = 1 - y * y_pred
        return np.maximum(margin, 0).mean(axis=1), np.where(margin > 0, -y, 0) / margin.shape[1]


@registry.builtin("squared_hinge")
class SquaredHinge(_Margin):
    """``mean_j max(0, 1 - y_j yhat_j)^2``; targets are 1 or -1, and a 0 means -1.

    Gradient ``-2 y max(0, 1 - y yhat) / units``. Tang, arXiv:1306.0239.
    """

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        y = np.where(y_true == 0, -1, y_true)
        margin = np.maximum(1 - y * y_pred, 0)
        return (margin * margin).mean(axis=1), -2 * y * margin / y_pred.shape[1]


@registry.builtin("categorical_hinge")
class CategoricalHinge(Loss):
    """``max(0, 1 + max_j (1 - y_j) yhat_j - sum_j y_j yhat_j)``; targets are one-hot rows.

    With the gradient ``(1 - y_j) - y_j`` for the largest ``(1 - y_j) yhat_j`` and ``-y_j`` for the others, where the
    loss is positive, else 0. As in Keras; after Weston and Watkins, ESANN 1999. It is computed in NumPy.
    """

    probabilities = False
    accuracy = "categorical"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        others = (1 - y_true) * y_pred
        rows, most = np.arange(len(y_pred)), others.argmax(axis=1)
        margin = 1 + others[rows, most] - (y_true * y_pred).sum(axis=1)
        slope = -y_true
        slope[rows, most] += 1 - y_true[rows, most]
        return np.maximum(margin, 0), np.where(margin[:, None] > 0, slope, 0)
