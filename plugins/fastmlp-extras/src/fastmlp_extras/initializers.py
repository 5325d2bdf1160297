"""The initializer ``sparse_normal``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


class SparseNormal(fm.initializers.Initializer):
    """``w ~ N(0, stddev**2)`` for a few inputs of each unit, drawn for each, and 0 for all others.

    What comes into a unit does not grow with the number of inputs, and units differ by what they look at.

    Parameters
    ----------
    connections : int
        Inputs of each unit, at least 1; all of them where there are fewer.
    stddev : float
        Finite and not negative, otherwise a ValueError.

    Notes
    -----
    Martens, 2010, "Deep learning via Hessian-free optimization", ICML, section 5, with 15 connections.
    """

    def __init__(self, connections: int = 15, stddev: float = 1.0) -> None:
        if connections < 1:
            raise ValueError(f"SparseNormal: connections must be at least 1, got {connections!r}")
        if not 0 <= stddev < math.inf:
            raise ValueError(f"SparseNormal: stddev must be finite and at least 0, got {stddev!r}")
        self.connections = connections
        self.stddev = stddev

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return a kernel ``(inputs, units)``; leading axes of a longer `shape` are taken together.

        Drawn in float64, then rounded; a ValueError if `shape` has less than two axes.
        """
        if len(shape) < 2:
            raise ValueError(f"SparseNormal: a matrix is needed, got the shape {shape}")
        w = self.stddev * rng.standard_normal((math.prod(shape[:-1]), shape[-1]))
        ranks = rng.random(w.shape).argsort(axis=0).argsort(axis=0)  # of each column a permutation
        return np.where(ranks < self.connections, w, 0.0).astype(dtype).reshape(shape)
