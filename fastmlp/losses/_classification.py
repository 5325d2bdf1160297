"""Cross-entropies: of softmax or sigmoid outputs they are computed from the logits, jointly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_share
from ..registry import losses as registry
from ._base import Loss
from ._checks import numbers_above

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Crossentropy(Loss):
    """Base of losses of probabilities, which take logits just as well.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits.
    label_smoothing : float
        In [0, 1): the share of each target that is spread evenly over all answers.
    """

    def __init__(self, from_logits: bool = False, label_smoothing: float = 0.0) -> None:
        self.from_logits = bool(from_logits)
        self.label_smoothing = check_share("label_smoothing", label_smoothing)

    @property
    def probabilities(self) -> bool:  # type: ignore[override]
        return not self.from_logits

    @property
    def plain(self) -> bool:
        """Whether it is the cross-entropy that the kernels know."""
        return not self.label_smoothing

    def smoothed(self, y: NDArray[Any], answers: int) -> NDArray[Any]:
        """Return targets of which a share is spread over so many answers."""
        share = self.label_smoothing
        return y * (1 - share) + share / answers if share else y


def softmax_terms(z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Softmax and its logarithm by rows."""
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(log_p), log_p


def tiny(p: NDArray[Any]) -> NDArray[Any]:
    """Return probabilities of which the logarithm is finite."""
    return np.maximum(p, 1e-38 if p.dtype == np.float32 else 1e-300)


@registry.builtin("categorical_crossentropy")
class CategoricalCrossentropy(Crossentropy):
    """``-sum_j y_j log p_j``; targets are rows of probabilities, one-hot for instance.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = softmax(z)``.
    label_smoothing : float
        s in [0, 1): targets become ``(1 - s) y_j + s / units`` (Szegedy and others, arXiv:1512.00567).
    """

    accuracy = "categorical"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        y_true = self.smoothed(y_true, y_pred.shape[1])
        if self.from_logits:
            p, log_p = softmax_terms(y_pred)
            return -(y_true * log_p).sum(axis=1), p * y_true.sum(axis=1, keepdims=True) - y_true
        p = tiny(y_pred)
        return -(y_true * np.log(p)).sum(axis=1), -y_true / p


@registry.builtin("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(Crossentropy):
    """``-log p_k``; targets are the numbers k of classes, 0 .. units - 1.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = softmax(z)``.
    label_smoothing : float
        s in [0, 1): class k gets the target ``1 - s + s / units``, and any other ``s / units``.
    """

    labels = True
    accuracy = "sparse"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        one_hot = (y_true[:, None] == np.arange(y_pred.shape[1])).astype(y_pred.dtype)
        return CategoricalCrossentropy(self.from_logits, self.label_smoothing).value_and_gradient(one_hot, y_pred)


@registry.builtin("binary_crossentropy")
class BinaryCrossentropy(Crossentropy):
    """``-mean_j (w y_j log p_j + (1 - y_j) log(1 - p_j))``: one or several yes-or-no outputs; w is 1 by default.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = sigmoid(z)``.
    label_smoothing : float
        s in [0, 1): targets become ``(1 - s) y_j + s / 2``.
    pos_weight : float or sequence of float, optional
        w, above 0, by which a yes counts; one for all outputs, or one for each, which then runs in NumPy. Above 1 it
        raises recall, below 1 precision: for rare answers, the number of rows that say no by those that say yes.
    """

    accuracy = "binary"

    def __init__(
        self,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
        pos_weight: float | Sequence[float] | None = None,
    ) -> None:
        super().__init__(from_logits, label_smoothing)
        self.pos_weight = None if pos_weight is None else numbers_above("pos_weight", pos_weight)

    @property
    def plain(self) -> bool:
        """Whether it is the cross-entropy that the kernels know."""
        return not self.label_smoothing and self.pos_weight is None

    def target_units(self, units: int) -> int:
        """Return `units`, of which each must have its weight."""
        weights = self.pos_weight
        if isinstance(weights, tuple) and len(weights) != units:
            raise ValueError(f"{self!r}: pos_weight has {len(weights)} numbers, but the network has {units} outputs")
        return units

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        units = y_pred.shape[1]
        y_true = self.smoothed(y_true, 2)
        if self.pos_weight is not None:
            return self._weighted(y_true, y_pred, self.pos_weight)
        if self.from_logits:
            e = np.exp(-np.abs(y_pred))
            value = np.maximum(y_pred, 0) - y_true * y_pred + np.log1p(e)
            return value.mean(axis=1), (np.where(y_pred < 0, e, 1) / (1 + e) - y_true) / units
        p, q = tiny(y_pred), tiny(1 - y_pred)
        value = -(y_true * np.log(p) + (1 - y_true) * np.log(q))
        return value.mean(axis=1), ((1 - y_true) / q - y_true / p) / units

    def _weighted(
        self, y: NDArray[Any], y_pred: NDArray[Any], weight: float | tuple[float, ...]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        yes = y * (weight if isinstance(weight, float) else np.array(weight, dtype=y_pred.dtype))
        units = y_pred.shape[1]
        if self.from_logits:  # with log(1 + e^-z) = max(-z, 0) + log(1 + e^-|z|)
            e = np.exp(-np.abs(y_pred))
            value = (1 - y) * y_pred + (1 - y + yes) * (np.maximum(-y_pred, 0) + np.log1p(e))
            return value.mean(axis=1), (1 - y - (1 - y + yes) * np.where(y_pred < 0, 1, e) / (1 + e)) / units
        p, q = tiny(y_pred), tiny(1 - y_pred)
        value = -(yes * np.log(p) + (1 - y) * np.log(q))
        return value.mean(axis=1), ((1 - y) / q - yes / p) / units
