"""Activations with kernels of their own (rows 2, 5 to 8 and 10 of ``docs/equations.md``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_number
from ..registry import activations as registry
from ._base import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _one_of(name: str, value: float, *allowed: float) -> float:
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(str, allowed))}, got {value!r}")
    return float(value)


@registry.builtin("identity", "linear")
class Identity(Activation):
    """``g(z) = z``. Without another activation, stacked layers are one affine map (row 2)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z.copy()

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return np.ones_like(z)


@registry.builtin("relu")
class ReLU(Activation):
    """``g(z) = 0 if z < 0 else z``, ``g'(z) = 1 if z > 0 else 0``, and `at_zero` at 0 (row 6). NaN propagates forward.

    Parameters
    ----------
    at_zero : {1, 0.5, 0}
        The derivative at 0, of either sign.
    """

    initializer = "he_normal"

    def __init__(self, at_zero: float = 1.0) -> None:
        self.at_zero = _one_of("at_zero", at_zero, 1.0, 0.5, 0.0)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 0, z.dtype.type(0), z)

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return np.where(z == 0, self.at_zero, z >= 0).astype(z.dtype)


@registry.builtin("leaky_relu")
class LeakyReLU(Activation):
    """``g(z) = alpha z if z < 0 else z``, ``g'(z) = alpha if z < 0 else 1`` (row 7).

    Parameters
    ----------
    alpha : float
        The slope below zero.
    """

    initializer = "he_normal"

    def __init__(self, alpha: float = 0.01) -> None:
        self.alpha = check_number("alpha", alpha)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 0, z * z.dtype.type(self.alpha), z)

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 0, self.alpha, 1.0).astype(z.dtype)


@registry.builtin("sigmoid")
class Sigmoid(Activation):
    """``g(z) = 1 / (1 + e^-z)``, ``g'(z) = a (1 - a)``, at most 0.25 (row 5); no overflow for any z."""

    output = "probabilities"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        e = np.exp(-np.abs(z))
        return np.where(z < 0, e, z.dtype.type(1)) / (1 + e)

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return a * (1 - a)


@registry.builtin("tanh")
class Tanh(Activation):
    """``g(z) = tanh z``, ``g'(z) = 1 - a^2`` (row 8)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.tanh(z)

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return 1 - a * a


@registry.builtin("exponential")
class Exponential(Activation):
    """``g(z) = e^z = g'(z)`` (row 10)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.exp(z)

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return a


@registry.builtin("sin")
class Sin(Activation):
    """``g(z) = sin z``, ``g'(z) = cos z`` (row 10)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.sin(z)

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return np.cos(z)


@registry.builtin("cos")
class Cos(Activation):
    """``g(z) = cos z``, ``g'(z) = -sin z`` (row 10)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.cos(z)

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        return -np.sin(z)


@registry.builtin("softmax")
class Softmax(Activation):
    """``a_j = e^z_j / sum_k e^z_k`` over each row; ``dz = a (da - sum da a)``."""

    elementwise = False
    output = "probabilities"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        e = np.exp(z - z.max(axis=-1, keepdims=True))
        return np.asarray(e / e.sum(axis=-1, keepdims=True))

    def backward(self, z: NDArray[Any], a: NDArray[Any], da: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(a * (da - (da * a).sum(axis=-1, keepdims=True)))
