"""The activations: NumPy, which says what they are; numba comes with the first look at ``native``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import NDArray


class NumbaSoftsign(fm.activations.Activation):
    """``a = z / (1 + |z|)``, ``da/dz = 1 / (1 + |z|)^2``: a sigmoid without exponentials.

    Notes
    -----
    Any shape, float32 or float64. Turian, Bergstra and Bengio, 2009, "Quadratic features and deep architectures for
    chunking", NAACL HLT.
    """

    @property
    def native(self) -> fm.activations.NativeKernel:
        """The compiled functions, made when they are asked for first."""
        from . import _kernels

        return _kernels.softsign()

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``a``, elementwise."""
        a: NDArray[Any] = z / (1 + np.abs(z))
        return a

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``da/dz``, elementwise."""
        slope: NDArray[Any] = 1 / np.square(1 + np.abs(z))
        return slope


class NumbaGaussian(fm.activations.Activation):
    """``a = e^(-(z / sigma)^2 / 2)``, ``da/dz = -a z / sigma^2``: a unit that answers near ``z = 0`` only.

    Parameters
    ----------
    sigma : float
        Width of the bell, positive and finite, otherwise a ValueError.

    Notes
    -----
    Any shape, float32 or float64.
    """

    def __init__(self, sigma: float = 1.0) -> None:
        if not (math.isfinite(sigma) and sigma > 0):
            raise ValueError(f"NumbaGaussian: sigma must be positive and finite, got {sigma!r}")
        self.sigma = sigma

    @property
    def native(self) -> fm.activations.NativeKernel:
        """The compiled functions, made when they are asked for first."""
        from . import _kernels

        return _kernels.gaussian()

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``a``, elementwise."""
        a: NDArray[Any] = np.exp(-0.5 * np.square(z / self.sigma))
        return a

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``da/dz``, elementwise."""
        slope: NDArray[Any] = a * (-z / self.sigma**2)
        return slope
