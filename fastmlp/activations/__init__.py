"""Activations: one object per idea, forward and derivative together.

Some have kernels of their own; others are a line of NumPy, recorded into a program that runs inside the plan, as a
subclass written by a user is.
"""

from __future__ import annotations

from typing import Any

from ..learnable import Learned
from ..native import NativeKernel
from ..registry import activations as registry
from ._base import Activation, Kernel
from ._kernels import (
    Cos,
    Exponential,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    Sin,
    Softmax,
    Tanh,
    kernel_of,
)
from ._lines import (
    CELU,
    ELU,
    GELU,
    SELU,
    HardShrink,
    HardSigmoid,
    HardSiLU,
    HardTanh,
    Mish,
    PReLU,
    ReLU6,
    SiLU,
    Softplus,
    SoftShrink,
    Softsign,
    TanhShrink,
    Threshold,
)

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Cos",
    "Exponential",
    "HardShrink",
    "HardSiLU",
    "HardSigmoid",
    "HardTanh",
    "Identity",
    "Kernel",
    "LeakyReLU",
    "Mish",
    "NativeKernel",
    "PReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Sin",
    "SoftShrink",
    "Softmax",
    "Softplus",
    "Softsign",
    "Tanh",
    "TanhShrink",
    "Threshold",
    "get",
    "kernel_of",
    "recorded",
]

for _cls in (value for name, value in list(globals().items()) if name in __all__ and isinstance(value, type)):
    if _cls is not NativeKernel:
        _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get


def recorded(function: Any, /, **parameters: float | Learned) -> Activation:
    """Make an activation of a function, without a class.

    Parameters
    ----------
    function : callable
        ``function(z, **parameters)`` in NumPy, elementwise. It is called once, with a symbol; what it does becomes a
        program, which is differentiated, and saved in files as data.
    **parameters : float, or learned
        Values for the function's other parameters, in place of their defaults; ``fm.learned(1.0)`` makes one a
        parameter of each layer that takes the activation.

    Returns
    -------
    Activation
        `fastmlp.recorded.Recorded`; it computes what the program does, in NumPy or in a network.

    Raises
    ------
    TypeError
        If the function can't be recorded (the message says why), or a parameter has no value.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> swish = fm.activations.recorded(lambda z, beta=1.0: z / (1 + np.exp(-beta * z)), beta=1.5)
    >>> swish(np.array([0.0, 1.0]))
    array([0.        , 0.81757448])
    """
    from ..recorded import Recorded

    return Recorded.of(function, parameters)
