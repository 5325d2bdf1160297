"""Activations of linear pieces as formulas in NumPy: traced, differentiated and compiled as anybody's would be."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._tracing.trainable import Learned, check_number_or_learned, learned
from ..checks import check_number
from ..registry import activations as registry
from ._base import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray


class _Formula(Activation):
    initializer = "he_normal"


@registry.builtin("prelu")
class PReLU(_Formula):
    """``z if z >= 0 else alpha z``, alpha learned for each unit (He and others, arXiv:1502.01852).

    Parameters
    ----------
    alpha : learned, or float
        ``learned(0.25)`` is one number for the whole layer.
    """

    def __init__(self, alpha: float | Learned = learned(0.25, per="unit")) -> None:  # noqa: B008  nothing changes it
        self.alpha = check_number_or_learned("alpha", alpha)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 0, self.alpha * z, z)


@registry.builtin("relu6")
class ReLU6(_Formula):
    """``min(max(z, 0), 6)``."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.clip(z, 0, 6)


@registry.builtin("hard_sigmoid")
class HardSigmoid(_Formula):
    """``clip(z / 6 + 1/2, 0, 1)``."""

    initializer = "lecun_normal"
    output = "probabilities"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.clip(z / 6 + 0.5, 0, 1)


@registry.builtin("hard_tanh")
class HardTanh(_Formula):
    """``clip(z, -1, 1)``."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.clip(z, -1, 1)


@registry.builtin("hard_silu", "hard_swish")
class HardSiLU(_Formula):
    """``z clip(z / 6 + 1/2, 0, 1)`` (Howard and others, arXiv:1905.02244)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z * np.clip(z / 6 + 0.5, 0, 1)


@registry.builtin("sparse_plus")
class SparsePlus(_Formula):
    """``0 if z <= -1 else z if z >= 1 else (z + 1)^2 / 4``, with a continuous derivative, as in Keras.

    That is 0, 1 and ``(z + 1) / 2``: the hard sigmoid of ``z``, whose integral it is.
    """

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        near = np.clip(z, -1, 1) + 1
        return near * near / 4 + np.maximum(z - 1, 0)


class _Threshold(_Formula):
    initializer = "lecun_normal"

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = check_number("threshold", threshold, 0.0)


@registry.builtin("hard_shrink")
class HardShrink(_Threshold):
    """``z if |z| > threshold else 0``.

    Parameters
    ----------
    threshold : float
        At least 0.
    """

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(np.abs(z) <= self.threshold, z.dtype.type(0), z)


@registry.builtin("soft_shrink")
class SoftShrink(_Threshold):
    """``sign(z) max(|z| - threshold, 0)``.

    Parameters
    ----------
    threshold : float
        At least 0.
    """

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z - np.clip(z, -self.threshold, self.threshold)


@registry.builtin("threshold")
class Threshold(_Formula):
    """``z if z > threshold else value``.

    Parameters
    ----------
    threshold, value : float
    """

    def __init__(self, threshold: float = 0.0, value: float = 0.0) -> None:
        self.threshold = check_number("threshold", threshold)
        self.value = check_number("value", value)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(z <= self.threshold, z.dtype.type(self.value), z)
