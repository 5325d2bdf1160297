"""The initializer ``orthogonal``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class Orthogonal(fm.initializers.Initializer):
    """``W = gain Q``, where Q is a random matrix with orthonormal columns, or rows if it has fewer of them.

    It keeps the length of every vector (of those that pass it at all), so that signals and gradients neither
    vanish nor explode in a deep linear network.

    Parameters
    ----------
    gain : float
        Factor, finite, otherwise a ValueError; ``sqrt(2)`` suits ReLU.

    Notes
    -----
    Saxe et al., 2014, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
    arXiv:1312.6120. The signs are fixed as in Mezzadri, 2007, arXiv:math-ph/0609050; without that, Q isn't
    uniformly distributed.
    """

    def __init__(self, gain: float = 1.0) -> None:
        if not math.isfinite(gain):
            raise ValueError(f"Orthogonal: gain must be finite, got {gain!r}")
        self.gain = gain

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return a matrix ``(inputs, units)``; leading axes of a longer `shape` are taken together.

        Drawn and factorized in float64, then rounded; a ValueError if `shape` has less than two axes.
        """
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: a matrix is needed, got the shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q *= np.copysign(1.0, np.diagonal(r))
        w = q if rows >= columns else q.T
        return np.ascontiguousarray(self.gain * w, dtype).reshape(shape)
