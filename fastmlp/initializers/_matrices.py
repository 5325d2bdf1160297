"""Matrices as a whole: orthogonal ones, and the identity."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import initializers as registry
from ._base import Initializer, finite, rounded

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


@registry.builtin("orthogonal")
class Orthogonal(Initializer):
    """``W = gain Q``, Q a random matrix with orthonormal columns, or rows if there are fewer of them (as Keras).

    It keeps the length of every vector (of those that pass it at all), so that signals and gradients neither vanish nor
    explode in a deep linear network.

    Parameters
    ----------
    gain : float
        Finite; otherwise a ValueError. ``sqrt(2)`` suits ReLU.

    Notes
    -----
    Saxe, McClelland and Ganguli, Exact solutions to the nonlinear dynamics of learning in deep linear neural networks,
    arXiv:1312.6120. The signs of QR are fixed as in Mezzadri, arXiv:math-ph/0609050: without, Q isn't uniformly
    distributed over the orthogonal matrices.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = finite(self, "gain", gain)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return a kernel ``(inputs, units)``; leading axes of a longer `shape` are taken together.

        Drawn and factorized in float64, then rounded; a ValueError if `shape` has less than two axes.
        """
        if len(shape) < 2:
            raise ValueError(f"Orthogonal: a matrix is needed, got the shape {shape}")
        rows, columns = math.prod(shape[:-1]), shape[-1]
        q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
        q = q * np.copysign(1.0, np.diagonal(r))
        w = q if rows >= columns else q.T
        return rounded(np.ascontiguousarray(self.gain * w).reshape(shape), dtype)


@registry.builtin("identity")
class Identity(Initializer):
    """``W = gain I``: ``gain`` on the diagonal, 0 elsewhere, also where there are more rows or columns (as Keras).

    A layer passes on its inputs at first: for layers that are put into a trained network, and for recurrences.

    Parameters
    ----------
    gain : float
        Finite; otherwise a ValueError.

    Notes
    -----
    Le, Jaitly and Hinton, A simple way to initialize recurrent networks of rectified linear units, arXiv:1504.00941.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = finite(self, "gain", gain)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return a kernel ``(inputs, units)``; draws nothing from `rng`; a ValueError unless `shape` has two axes."""
        if len(shape) != 2:
            raise ValueError(f"Identity: a matrix is needed, got the shape {shape}")
        return rounded(self.gain * np.eye(*shape), dtype)
