"""Cross-entropies: of softmax or sigmoid outputs they are computed from the logits, jointly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import losses as registry
from ._base import Loss

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Crossentropy(Loss):
    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = bool(from_logits)

    @property
    def probabilities(self) -> bool:  # type: ignore[override]
        return not self.from_logits


def _softmax_terms(z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Softmax and its logarithm by rows."""
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(log_p), log_p


def _tiny(p: NDArray[Any]) -> NDArray[Any]:
    return np.maximum(p, 1e-38 if p.dtype == np.float32 else 1e-300)


@registry.builtin("categorical_crossentropy")
class CategoricalCrossentropy(_Crossentropy):
    """``-sum_j y_j log p_j``; targets are rows of probabilities, one-hot for instance.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = softmax(z)``.
    """

    accuracy = "categorical"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.from_logits:
            p, log_p = _softmax_terms(y_pred)
            return -(y_true * log_p).sum(axis=1), p * y_true.sum(axis=1, keepdims=True) - y_true
        p = _tiny(y_pred)
        return -(y_true * np.log(p)).sum(axis=1), -y_true / p


@registry.builtin("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_Crossentropy):
    """``-log p_k``; targets are the numbers k of classes, 0 .. units - 1.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = softmax(z)``.
    """

    labels = True
    accuracy = "sparse"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        one_hot = (y_true[:, None] == np.arange(y_pred.shape[1])).astype(y_pred.dtype)
        return CategoricalCrossentropy(self.from_logits).value_and_gradient(one_hot, y_pred)


@registry.builtin("binary_crossentropy")
class BinaryCrossentropy(_Crossentropy):
    """``-mean_j (y_j log p_j + (1 - y_j) log(1 - p_j))``: one or several yes-or-no outputs.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = sigmoid(z)``.
    """

    accuracy = "binary"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        units = y_pred.shape[1]
        if self.from_logits:
            e = np.exp(-np.abs(y_pred))
            value = np.maximum(y_pred, 0) - y_true * y_pred + np.log1p(e)
            return value.mean(axis=1), (np.where(y_pred < 0, e, 1) / (1 + e) - y_true) / units
        p, q = _tiny(y_pred), _tiny(1 - y_pred)
        value = -(y_true * np.log(p) + (1 - y_true) * np.log(q))
        return value.mean(axis=1), ((1 - y_true) / q - y_true / p) / units
