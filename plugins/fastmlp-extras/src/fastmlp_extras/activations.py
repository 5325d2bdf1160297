"""The activation ``squareplus``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Squareplus(fm.activations.Activation):
    """``a = (z + sqrt(z**2 + b)) / 2``: a smooth ReLU that needs no exponential.

    Its derivative is ``(1 + z / sqrt(z**2 + b)) / 2 = a / sqrt(z**2 + b)``.

    Parameters
    ----------
    b : float
        Width of the bend, positive and finite, otherwise a ValueError; towards 0 it becomes ReLU, and
        ``b = 4 log(2)**2`` agrees with softplus at 0.

    Notes
    -----
    Any shape; result in the dtype of ``z``. Barron, 2021, "Squareplus: a softplus-like algebraic rectifier",
    arXiv:2112.11687.
    """

    initializer = "he_normal"

    def __init__(self, b: float = 4.0) -> None:
        if not (math.isfinite(b) and b > 0):
            raise ValueError(f"Squareplus: b must be positive and finite, got {b!r}")
        self.b = b

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``a``, elementwise."""
        # (z + r) / 2 cancels for z << 0; the same value is max(z, 0) + (r - |z|) / 2, and r**2 - z**2 = b.
        r = np.sqrt(z * z + self.b)
        a: NDArray[Any] = np.maximum(z, 0) + self.b / (2 * (r + np.abs(z)))
        return a

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``da/dz``, elementwise."""
        slope: NDArray[Any] = a / np.sqrt(z * z + self.b)
        return slope
