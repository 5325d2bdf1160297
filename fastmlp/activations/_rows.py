"""Activations of whole rows beside softmax: its logarithm, and the projection to probabilities of which many are 0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import activations as registry
from ._base import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("log_softmax")
class LogSoftmax(Activation):
    """``a_j = z_j - max z - log sum_k e^(z_k - max z)`` over each row; ``dz = da - e^a sum da``.

    Logarithms of probabilities are logits as good as any: as a last activation it goes with
    ``CategoricalCrossentropy(from_logits=True)``, though no activation is faster there. It is computed in NumPy.
    """

    elementwise = False
    output = "log_probabilities"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        shifted = z - z.max(axis=-1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))

    def backward(self, z: NDArray[Any], a: NDArray[Any], da: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(da - np.exp(a) * da.sum(axis=-1, keepdims=True))


@registry.builtin("sparsemax")
class Sparsemax(Activation):
    """``a = max(z - tau, 0)``, tau so that each row sums to 1: the probabilities that are nearest to z.

    ``dz = s (da - sum s da / sum s)``, s being 1 where a is positive, else 0. Martins and Astudillo, arXiv:1602.02068.
    A class far behind has the probability 0 and no gradient: before a cross-entropy softmax learns, where this may not.
    It is computed in NumPy.
    """

    elementwise = False
    output = "probabilities"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        shifted = z - z.max(axis=-1, keepdims=True)
        falling = -np.sort(-shifted, axis=-1)
        over = np.cumsum(falling, axis=-1) - 1  # of the k largest, less 1: k tau, if these are all
        counts = np.arange(1, z.shape[-1] + 1, dtype=z.dtype)
        most = np.maximum((counts * falling > over).sum(axis=-1, keepdims=True), 1)  # 0 where there is a NaN
        tau = np.take_along_axis(over, most - 1, axis=-1) / most.astype(z.dtype)
        return np.asarray(np.maximum(shifted - tau, 0))

    def backward(self, z: NDArray[Any], a: NDArray[Any], da: NDArray[Any]) -> NDArray[Any]:
        support = (a > 0).astype(z.dtype)
        mean = (support * da).sum(axis=-1, keepdims=True) / support.sum(axis=-1, keepdims=True)
        return np.asarray(np.where(a > 0, da - mean, a * 0))
