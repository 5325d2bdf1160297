"""The activation ``isrlu``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import NDArray


class ISRLU(fm.activations.Activation):
    """``a = z if z >= 0 else z / sqrt(1 + alpha z**2)``: an ELU that needs no exponential.

    Its derivative is 1, and ``(1 + alpha z**2)**(-3/2)`` below 0; it is above ``-1 / sqrt(alpha)``.

    Parameters
    ----------
    alpha : float
        Positive and finite, otherwise a ValueError.

    Notes
    -----
    Any shape; result in the dtype of ``z``. Carlile and others, 2017, "Improving deep learning by inverse square root
    linear units (ISRLUs)", arXiv:1710.09967.
    """

    initializer = "he_normal"

    def __init__(self, alpha: float = 1.0) -> None:
        if not (math.isfinite(alpha) and alpha > 0):
            raise ValueError(f"ISRLU: alpha must be positive and finite, got {alpha!r}")
        self.alpha = alpha

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``a``, elementwise."""
        low = np.minimum(z, 0)
        a: NDArray[Any] = np.where(z < 0, low / np.sqrt(1 + self.alpha * (low * low)), z)
        return a

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``da/dz``, elementwise."""
        low = np.minimum(z, 0)
        inverse = 1 / np.sqrt(1 + self.alpha * (low * low))
        slope: NDArray[Any] = inverse * inverse * inverse
        return slope
