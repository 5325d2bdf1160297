"""Smooth activations as formulas in NumPy: traced, differentiated and compiled as anybody's would be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from .._tracing.trainable import Learned, check_number_or_learned
from ..checks import check_number
from ..registry import activations as registry
from ._base import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def erf(x: Any) -> Any:
    """Return the error function of an array, or of what stands for one while it is traced."""
    if hasattr(x, "function"):
        return x.function("erf")
    from .._tracing.operations import OPERATIONS  # late: built-ins with kernels never need it

    return OPERATIONS["erf"][1](x)


def _check_positive(name: str, value: float) -> float:
    if not check_number(name, value) > 0:
        raise ValueError(f"{name}: expected a number above 0, got {value!r}")
    return float(value)


class _Formula(Activation):
    initializer = "he_normal"


@registry.builtin("softplus")
class Softplus(_Formula):
    """``log(1 + e^z)``, without overflow (Dugas and others, NIPS 2000)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.logaddexp(z, z.dtype.type(0))


@registry.builtin("log_sigmoid")
class LogSigmoid(_Formula):
    """``log(1 / (1 + e^-z)) = -log(1 + e^-z)``, without overflow; its derivative is ``1 / (1 + e^z)``."""

    output = "log_probabilities"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return -np.logaddexp(-z, z.dtype.type(0))


@registry.builtin("squareplus")
class Squareplus(_Formula):
    """``(z + sqrt(z^2 + b)) / 2``, a softplus without exponentials (Barron, arXiv:2112.11687).

    The derivative is ``(1 + z / sqrt(z^2 + b)) / 2``. Below 0 it is computed as ``b / 2 / (sqrt(z^2 + b) - z)``, which
    does not cancel.

    Parameters
    ----------
    b : float
        Above 0; 4 gives ReLU's value within 1, at 0.
    """

    def __init__(self, b: float = 4.0) -> None:
        self.b = _check_positive("b", b)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        far = np.abs(z) + np.hypot(z, z.dtype.type(math.sqrt(self.b)))
        return np.where(z < 0, (self.b / 2) / far, far / 2)


@registry.builtin("softsign")
class Softsign(_Formula):
    """``z / (1 + |z|)`` (Glorot and Bengio, AISTATS 2010)."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z / (1 + np.abs(z))


@registry.builtin("silu", "swish")
class SiLU(_Formula):
    """``z sigmoid(beta z)``; beta 1 is SiLU (Ramachandran and others, arXiv:1710.05941).

    Parameters
    ----------
    beta : float, or learned
    """

    def __init__(self, beta: float | Learned = 1.0) -> None:
        self.beta = check_number_or_learned("beta", beta)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z / (1 + np.exp(-self.beta * z))


@registry.builtin("gelu")
class GELU(_Formula):
    """``z Phi(z)``, Phi the normal distribution function (Hendrycks and Gimpel, arXiv:1606.08415).

    Parameters
    ----------
    approximate : bool
        The form with tanh: ``z (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2``.
    """

    def __init__(self, approximate: bool = False) -> None:
        self.approximate = bool(approximate)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        if self.approximate:
            inner = np.tanh(math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z))
        else:
            inner = erf(z * math.sqrt(0.5))
        return 0.5 * z * (1 + inner)


@registry.builtin("mish")
class Mish(_Formula):
    """``z tanh(log(1 + e^z))`` (Misra, arXiv:1908.08681)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z * np.tanh(np.logaddexp(z, z.dtype.type(0)))


@registry.builtin("elu")
class ELU(_Formula):
    """``z if z > 0 else alpha (e^z - 1)`` (Clevert and others, arXiv:1511.07289).

    Parameters
    ----------
    alpha : float, or learned
    """

    def __init__(self, alpha: float | Learned = 1.0) -> None:
        self.alpha = check_number_or_learned("alpha", alpha)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 0, self.alpha * np.expm1(np.minimum(z, 0)), z)


@registry.builtin("celu")
class CELU(_Formula):
    """``max(z, 0) + min(0, alpha (e^(z / alpha) - 1))`` (Barron, arXiv:1704.07483).

    Parameters
    ----------
    alpha : float
        Above 0.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _check_positive("alpha", alpha)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 0, self.alpha * np.expm1(np.minimum(z, 0) / self.alpha), z)


@registry.builtin("selu")
class SELU(_Formula):
    """``1.0507... (z if z > 0 else 1.6732... (e^z - 1))`` (Klambauer and others, arXiv:1706.02515)."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        negative = (1.0507009873554805 * 1.6732632423543772) * np.expm1(np.minimum(z, 0))
        return np.where(z < 0, negative, 1.0507009873554805 * z)


@registry.builtin("tanh_shrink")
class TanhShrink(_Formula):
    """``z - tanh z``."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z - np.tanh(z)
