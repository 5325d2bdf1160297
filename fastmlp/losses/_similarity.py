"""Losses that compare rows: of probabilities, by the Kullback-Leibler divergence; of directions, by their cosine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import losses as registry
from ._base import Loss
from ._classification import tiny

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHORTEST = 1e-7  # length of a vector that has a direction, as in Keras


@registry.builtin("kl_divergence")
class KLDivergence(Loss):
    """``sum_j y_j log(y_j / p_j)``, a term being 0 where y_j is; both are rows of probabilities.

    Gradient ``-y / p``. The cross-entropy less the entropy of the targets, so that it is 0 where ``p = y``: Kullback
    and Leibler, On information and sufficiency, Annals of Mathematical Statistics, 1951.
    """

    probabilities = True
    accuracy = "categorical"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        p = tiny(y_pred)
        return (y_true * (np.log(tiny(y_true)) - np.log(p))).sum(axis=1), -y_true / p


@registry.builtin("cosine_similarity")
class CosineSimilarity(Loss):
    """``-sum_j y_j yhat_j / (|y| |yhat|)``: -1 for the same direction, 0 for a right angle, 1 for the opposite one.

    Gradient ``-(u - (u v) v) / |yhat|`` with u and v the unit vectors of y and yhat. Lengths below 1e-7 count as 1e-7.
    It is computed in NumPy.
    """

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        lengths = [np.sqrt((x * x).sum(axis=1, keepdims=True)) for x in (y_true, y_pred)]
        u, v = (x / np.maximum(length, SHORTEST) for x, length in zip((y_true, y_pred), lengths, strict=True))
        cosine = (u * v).sum(axis=1, keepdims=True)
        turned = np.where(lengths[1] > SHORTEST, u - cosine * v, u)
        return -cosine[:, 0], -turned / np.maximum(lengths[1], SHORTEST)
