"""Activations: one object per idea, forward and derivative together.

Some have kernels of their own; others are a line of NumPy, traced into a program that runs inside the plan, as a
subclass written by a user is. `execution_of` tells of each how it runs.
"""

from __future__ import annotations

from typing import Any

from .._tracing.native import NativeKernel
from .._tracing.trainable import Learned
from ..registry import activations as registry
from ._base import Activation
from ._builtin import Cos, Exponential, Identity, LeakyReLU, ReLU, Sigmoid, Sin, Softmax, Tanh
from ._execution import KernelSpec as KernelSpec
from ._execution import builtin_kernel as builtin_kernel
from ._execution import check_trainable as check_trainable
from ._execution import execution_of as execution_of
from ._execution import verify as verify
from ._function import Recorded
from ._piecewise import HardShrink, HardSigmoid, HardSiLU, HardTanh, PReLU, ReLU6, SoftShrink, SparsePlus, Threshold
from ._rows import LogSoftmax, Sparsemax
from ._smooth import CELU, ELU, GELU, SELU, LogSigmoid, Mish, SiLU, Softplus, Softsign, Squareplus, TanhShrink

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
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "NativeKernel",
    "PReLU",
    "ReLU",
    "ReLU6",
    "Recorded",
    "SiLU",
    "Sigmoid",
    "Sin",
    "SoftShrink",
    "Softmax",
    "Softplus",
    "Softsign",
    "SparsePlus",
    "Sparsemax",
    "Squareplus",
    "Tanh",
    "TanhShrink",
    "Threshold",
    "get",
    "recorded",
]

for _cls in list(globals().values()):
    if isinstance(_cls, type) and issubclass(_cls, Activation):
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
        It computes what the program does, in NumPy or in a network.

    Raises
    ------
    TypeError
        If the function can't be traced (the message says why), or a parameter has no value.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> swish = fm.activations.recorded(lambda z, beta=1.0: z / (1 + np.exp(-beta * z)), beta=1.5)
    >>> swish(np.array([0.0, 1.0]))
    array([0.        , 0.81757448])
    """
    return Recorded.of(function, parameters)
