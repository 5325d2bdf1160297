"""Focal losses: cross-entropies in which answers that are right already count less."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_number, check_share
from ..registry import losses as registry
from ._classification import Crossentropy, softmax_terms, tiny

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Focal(Crossentropy):
    def __init__(self, alpha: float, gamma: float, from_logits: bool, label_smoothing: float) -> None:
        super().__init__(from_logits, label_smoothing)
        self.alpha = check_share("alpha", alpha)
        self.gamma = check_number("gamma", gamma, 0.0)

    @property
    def plain(self) -> bool:
        """Whether it is the cross-entropy that the kernels know."""
        return False

    def focus(self, q: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return ``q^gamma`` and its derivative; q is how far an answer is from being right."""
        if self.gamma == 0:
            return q * 0 + 1, q * 0
        return q**self.gamma, self.gamma * (q if self.gamma >= 1 else tiny(q)) ** (self.gamma - 1)


@registry.builtin("binary_focal_crossentropy")
class BinaryFocalCrossentropy(_Focal):
    """``mean_j w_j q_j^gamma B_j``, B the binary cross-entropy, ``q = y (1 - p) + (1 - y) p``, w 1 or by class.

    Gradient ``w (q^gamma B' + gamma q^(gamma - 1) (1 - 2 y) B) / units`` by p, with ``B' = (1 - y) / (1 - p) - y / p``.
    Lin and others, arXiv:1708.02002; arguments as in Keras.

    Parameters
    ----------
    apply_class_balancing : bool
        Whether a yes counts alpha, and a no 1 - alpha: ``w = y alpha + (1 - y) (1 - alpha)``.
    alpha : float
        In [0, 1).
    gamma : float
        At least 0, where the focus is on all answers alike.
    from_logits : bool
        Whether the network gives logits z, with ``p = sigmoid(z)``.
    label_smoothing : float
        s in [0, 1): targets become ``(1 - s) y_j + s / 2``.
    """

    accuracy = "binary"

    def __init__(
        self,
        apply_class_balancing: bool = False,
        alpha: float = 0.25,
        gamma: float = 2.0,
        from_logits: bool = False,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(alpha, gamma, from_logits, label_smoothing)
        self.apply_class_balancing = bool(apply_class_balancing)

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        y = self.smoothed(y_true, 2)
        if self.from_logits:
            e = np.exp(-np.abs(y_pred))
            p, q = np.where(y_pred < 0, e, 1) / (1 + e), np.where(y_pred < 0, 1, e) / (1 + e)
            entropy = np.maximum(y_pred, 0) - y * y_pred + np.log1p(e)
            slope, inner = p - y, p * q
        else:
            p, q = y_pred, 1 - y_pred
            entropy = -(y * np.log(tiny(p)) + (1 - y) * np.log(tiny(q)))
            slope, inner = (1 - y) / tiny(q) - y / tiny(p), 1
        focus, steepness = self.focus(y * q + (1 - y) * p)
        value = focus * entropy
        gradient = focus * slope + steepness * (1 - 2 * y) * inner * entropy
        if self.apply_class_balancing:
            weight = y * self.alpha + (1 - y) * (1 - self.alpha)
            value, gradient = weight * value, weight * gradient
        return value.mean(axis=1), gradient / y_pred.shape[1]


@registry.builtin("categorical_focal_crossentropy")
class CategoricalFocalCrossentropy(_Focal):
    """``-alpha sum_j (1 - p_j)^gamma y_j log p_j``; targets are rows of probabilities, one-hot for instance.

    Gradient ``alpha y (gamma (1 - p)^(gamma - 1) log p - (1 - p)^gamma / p)`` by p. Lin and others, arXiv:1708.02002;
    arguments as in Keras. It is computed in NumPy.

    Parameters
    ----------
    alpha : float
        In [0, 1).
    gamma : float
        At least 0, where the focus is on all classes alike.
    from_logits : bool
        Whether the network gives logits z, with ``p = softmax(z)``.
    label_smoothing : float
        s in [0, 1): targets become ``(1 - s) y_j + s / units``.
    """

    accuracy = "categorical"

    def __init__(
        self, alpha: float = 0.25, gamma: float = 2.0, from_logits: bool = False, label_smoothing: float = 0.0
    ) -> None:
        super().__init__(alpha, gamma, from_logits, label_smoothing)

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        y = self.smoothed(y_true, y_pred.shape[1]) * self.alpha
        if not self.from_logits:
            p = tiny(y_pred)
            focus, steepness = self.focus(1 - y_pred)
            return -(focus * y * np.log(p)).sum(axis=1), y * (steepness * np.log(p) - focus / p)
        p, log_p = softmax_terms(y_pred)
        focus, steepness = self.focus(-np.expm1(log_p))
        by_log = y * (steepness * p * log_p - focus)  # the gradient by log p, of which each is z less one number
        return -(focus * y * log_p).sum(axis=1), by_log - p * by_log.sum(axis=1, keepdims=True)
