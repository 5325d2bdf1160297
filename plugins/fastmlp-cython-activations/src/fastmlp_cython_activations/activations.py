"""The activations: NumPy, which says what they are, and beside it the capsules of `_kernels`, which are run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

from . import _kernels

if TYPE_CHECKING:
    from numpy.typing import NDArray


class CythonSwish(fm.activations.Activation):
    """``a = z / (1 + e^(-beta z))``, with ``s = 1 / (1 + e^(-beta z))``: ``da/dz = s + beta a (1 - s)``.

    Parameters
    ----------
    beta : float
        Finite, otherwise a ValueError; 0 halves `z`, and large values come close to ReLU.

    Notes
    -----
    Any shape, float32 or float64. Ramachandran, Zoph and Le, 2017, "Searching for activation functions",
    arXiv:1710.05941.
    """

    initializer = "he_normal"
    native = fm.activations.NativeKernel(_kernels.swish, params=("beta",))

    def __init__(self, beta: float = 1.0) -> None:
        if not math.isfinite(beta):
            raise ValueError(f"CythonSwish: beta must be finite, got {beta!r}")
        self.beta = beta

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``a``, elementwise."""
        with np.errstate(over="ignore"):  # z / inf is the 0 that it should be
            a: NDArray[Any] = z / (1 + np.exp(-self.beta * z))
        return a

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``da/dz``, elementwise."""
        with np.errstate(over="ignore"):
            s = 1 / (1 + np.exp(-self.beta * z))
        slope: NDArray[Any] = s + self.beta * a * (1 - s)
        return slope


class CythonISRU(fm.activations.Activation):
    """``a = z / sqrt(1 + alpha z^2)``, ``da/dz = (1 + alpha z^2)^(-3/2)``: a sigmoid without exponentials.

    Parameters
    ----------
    alpha : float
        Positive and finite, otherwise a ValueError; `a` stays within ``1 / sqrt(alpha)``.

    Notes
    -----
    Any shape, float32 or float64. Carlile et al., 2017, "Improving deep learning by inverse square root linear units",
    arXiv:1710.09967.
    """

    native = fm.activations.NativeKernel(_kernels.isru, params=("alpha",))

    def __init__(self, alpha: float = 1.0) -> None:
        if not (math.isfinite(alpha) and alpha > 0):
            raise ValueError(f"CythonISRU: alpha must be positive and finite, got {alpha!r}")
        self.alpha = alpha

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``a``, elementwise."""
        a: NDArray[Any] = z / np.sqrt(1 + self.alpha * z * z)
        return a

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``da/dz``, elementwise."""
        slope: NDArray[Any] = (1 + self.alpha * z * z) ** -1.5
        return slope
