"""Normalization: of columns by statistics of the batch (row 21), and of rows by their own."""

from __future__ import annotations

import math
from typing import Any

from ..checks import check_number, check_share
from ..constraints import constraint_of
from ..registry import layers as registry
from ..regularizers import regularizer_of
from ._base import Compiler, Layer


def _check_epsilon(epsilon: float) -> float:
    number = check_number("epsilon", epsilon, 0.0)
    if not number:
        raise ValueError(f"epsilon: expected a positive number, got {epsilon!r}")
    return number


# What was laid out or is looked at by parameters, once a network is built.
FIXED = Layer.fixed_once_built | {"gamma_regularizer", "beta_regularizer", "gamma_constraint", "beta_constraint"}


@registry.builtin("batch_norm")
class BatchNorm(Layer):
    """``y = gamma (x - mean) / sqrt(var + epsilon) + beta`` per column (row 21), to be placed before the activation.

    In training mean and variance (divided by m) are those of the batch; else running ones, folded into the GEMM of a
    Dense before it. One row has no variance: `fit` refuses a batch size of 1. A step on a single row, an epoch's last
    one for instance, is done (outputs are beta, so that beta and the layers behind learn), but leaves the running
    statistics as they are.

    Parameters
    ----------
    momentum : float
        Share of the running statistics kept in a step.
    epsilon : float
        Positive: it is added to the variance, so that a column or row without any is no division by 0.
    gamma_regularizer, beta_regularizer : name, Regularizer or None
        Penalties, which are a part of the loss.
    gamma_constraint, beta_constraint : name, Constraint or None
        What they are made to be after each update.
    name, trainable : as `Layer`

    Notes
    -----
    Parameters: ``gamma``, ``beta``; buffers: ``running_mean``, ``running_var``; all ``(units,)``.
    Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    output_is_known = True
    transparent_to_initializer = True
    fixed_once_built = FIXED
    batch_statistics = True

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        gamma_regularizer: Any = None,
        beta_regularizer: Any = None,
        gamma_constraint: Any = None,
        beta_constraint: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.momentum = check_share("momentum", momentum)
        self.epsilon = _check_epsilon(epsilon)
        self.gamma_regularizer = regularizer_of(gamma_regularizer)
        self.beta_regularizer = regularizer_of(beta_regularizer)
        self.gamma_constraint = constraint_of(gamma_constraint)
        self.beta_constraint = constraint_of(beta_constraint)

    def build(self, input_dim: int) -> int:
        self.add_parameter("gamma", (input_dim,), "ones")
        self.add_parameter("beta", (input_dim,), "zeros")
        self.add_buffer("running_mean", (input_dim,), 0.0, least=-math.inf)
        self.add_buffer("running_var", (input_dim,), 1.0, least=0.0)
        return input_dim

    def lower(self, to: Compiler, x: Any) -> Any:
        keys = {name: to.key(name) for name in ("gamma", "beta", "running_mean", "running_var")}
        return to.op("batchnorm", x, keys=keys, momentum=self.momentum, epsilon=self.epsilon)


@registry.builtin("layer_norm")
class LayerNorm(Layer):
    """``y = gamma (x - mean) / sqrt(var + epsilon) + beta``, mean and variance (divided by n) of each row.

    A row meets no other: training and inference are the same, and a batch may be a single row.

    Parameters
    ----------
    epsilon : float
        Positive: it is added to the variance, so that a column or row without any is no division by 0.
    gamma_regularizer, beta_regularizer : name, Regularizer or None
        Penalties, which are a part of the loss.
    gamma_constraint, beta_constraint : name, Constraint or None
        What they are made to be after each update.
    name, trainable : as `Layer`

    Notes
    -----
    Parameters: ``gamma``, ``beta``, ``(units,)``. Ba, Kiros and Hinton, Layer normalization, arXiv:1607.06450.

    Examples
    --------
    >>> import fastmlp as fm
    >>> net = fm.Sequential([fm.layers.LayerNorm(epsilon=1e-12)], input_dim=2, dtype="float64", seed=0)
    >>> net.predict([[1.0, 3.0]])
    array([[-1.,  1.]])
    """

    output_is_known = True
    transparent_to_initializer = True
    fixed_once_built = FIXED

    def __init__(
        self,
        *,
        epsilon: float = 1e-5,
        gamma_regularizer: Any = None,
        beta_regularizer: Any = None,
        gamma_constraint: Any = None,
        beta_constraint: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.epsilon = _check_epsilon(epsilon)
        self.gamma_regularizer = regularizer_of(gamma_regularizer)
        self.beta_regularizer = regularizer_of(beta_regularizer)
        self.gamma_constraint = constraint_of(gamma_constraint)
        self.beta_constraint = constraint_of(beta_constraint)

    def build(self, input_dim: int) -> int:
        self.add_parameter("gamma", (input_dim,), "ones")
        self.add_parameter("beta", (input_dim,), "zeros")
        return input_dim

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("layernorm", x, gamma=to.key("gamma"), beta=to.key("beta"), epsilon=self.epsilon)


@registry.builtin("rms_norm")
class RMSNorm(Layer):
    """``y = gamma x / sqrt(mean(x^2) + epsilon)`` by rows: layer normalization without its mean and shift.

    Parameters
    ----------
    epsilon : float
        Positive: it is added to the mean square, so that a row of zeros is no division by 0.
    gamma_regularizer : name, Regularizer or None
        A penalty, which is a part of the loss.
    gamma_constraint : name, Constraint or None
        What it is made to be after each update.
    name, trainable : as `Layer`

    Notes
    -----
    Parameter: ``gamma``, ``(units,)``. Zhang and Sennrich, Root mean square layer normalization, arXiv:1910.07467.
    """

    output_is_known = True
    transparent_to_initializer = True
    fixed_once_built = FIXED

    def __init__(
        self,
        *,
        epsilon: float = 1e-5,
        gamma_regularizer: Any = None,
        gamma_constraint: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.epsilon = _check_epsilon(epsilon)
        self.gamma_regularizer = regularizer_of(gamma_regularizer)
        self.gamma_constraint = constraint_of(gamma_constraint)

    def build(self, input_dim: int) -> int:
        self.add_parameter("gamma", (input_dim,), "ones")
        return input_dim

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("layernorm", x, gamma=to.key("gamma"), beta=None, epsilon=self.epsilon)
