"""Activations of one line: written in NumPy, recorded, differentiated and compiled as anybody's would be."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_number
from ..learnable import Learned, check_number_or_learned, learned
from ..registry import activations as registry
from ._base import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray


def erf(x: Any) -> Any:
    """The error function of an array, or of what stands for one while it is recorded."""
    if hasattr(x, "function"):
        return x.function("erf")
    from ..program import OPERATIONS  # which built-ins with kernels have no part of

    return OPERATIONS["erf"][1](x)


def _positive(name: str, value: float) -> float:
    if not check_number(name, value) > 0:
        raise ValueError(f"{name}: expected a number above 0, got {value!r}")
    return float(value)


class _Line(Activation):
    initializer = "he_normal"


@registry.builtin("softplus")
class Softplus(_Line):
    """``log(1 + e^z)``, without overflow (Dugas and others, NIPS 2000)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.logaddexp(z, z.dtype.type(0))


@registry.builtin("softsign")
class Softsign(_Line):
    """``z / (1 + |z|)`` (Glorot and Bengio, AISTATS 2010)."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z / (1 + np.abs(z))


@registry.builtin("silu", "swish")
class SiLU(_Line):
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
class GELU(_Line):
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
class Mish(_Line):
    """``z tanh(log(1 + e^z))`` (Misra, arXiv:1908.08681)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z * np.tanh(np.logaddexp(z, z.dtype.type(0)))


@registry.builtin("prelu")
class PReLU(_Line):
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


@registry.builtin("elu")
class ELU(_Line):
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
class CELU(_Line):
    """``max(z, 0) + min(0, alpha (e^(z / alpha) - 1))`` (Barron, arXiv:1704.07483).

    Parameters
    ----------
    alpha : float
        Above 0.
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = _positive("alpha", alpha)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.where(z < 0, self.alpha * np.expm1(np.minimum(z, 0) / self.alpha), z)


@registry.builtin("selu")
class SELU(_Line):
    """``1.0507... (z if z > 0 else 1.6732... (e^z - 1))`` (Klambauer and others, arXiv:1706.02515)."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        negative = (1.0507009873554805 * 1.6732632423543772) * np.expm1(np.minimum(z, 0))
        return np.where(z < 0, negative, 1.0507009873554805 * z)


@registry.builtin("relu6")
class ReLU6(_Line):
    """``min(max(z, 0), 6)``."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.clip(z, 0, 6)


@registry.builtin("hard_sigmoid")
class HardSigmoid(_Line):
    """``clip(z / 6 + 1/2, 0, 1)``."""

    initializer = "lecun_normal"
    output = "probabilities"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.clip(z / 6 + 0.5, 0, 1)


@registry.builtin("hard_tanh")
class HardTanh(_Line):
    """``clip(z, -1, 1)``."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return np.clip(z, -1, 1)


@registry.builtin("hard_silu", "hard_swish")
class HardSiLU(_Line):
    """``z clip(z / 6 + 1/2, 0, 1)`` (Howard and others, arXiv:1905.02244)."""

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z * np.clip(z / 6 + 0.5, 0, 1)


class _Threshold(_Line):
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


@registry.builtin("tanh_shrink")
class TanhShrink(_Line):
    """``z - tanh z``."""

    initializer = "lecun_normal"

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        return z - np.tanh(z)


@registry.builtin("threshold")
class Threshold(_Line):
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
