"""Normalization by statistics of the batch (row 21)."""

from __future__ import annotations

from typing import Any

from ..checks import check_number, check_share
from ..registry import layers as registry
from ..regularizers import regularizer_of
from ._base import Compiler, Layer


@registry.builtin("batch_norm")
class BatchNorm(Layer):
    """``y = gamma (x - mean) / sqrt(var + epsilon) + beta`` per column (row 21), to be placed before the activation.

    In training mean and variance (divided by m) are those of the batch; else running ones, folded into the GEMM of a
    Dense before it.

    Parameters
    ----------
    momentum : float
        Share of the running statistics kept in a step.
    epsilon : float
    gamma_regularizer, beta_regularizer : name, Regularizer or None
        Penalties, which are a part of the loss.
    name : str, optional

    Notes
    -----
    Parameters: ``gamma``, ``beta``; buffers: ``running_mean``, ``running_var``; all ``(units,)``.
    Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    tells_output = True
    looked_past = True

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        gamma_regularizer: Any = None,
        beta_regularizer: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.momentum = check_share("momentum", momentum)
        self.epsilon = check_number("epsilon", epsilon, 0.0)
        if not self.epsilon:
            raise ValueError(f"epsilon: expected a positive number, got {epsilon!r}")
        self.gamma_regularizer = regularizer_of(gamma_regularizer)
        self.beta_regularizer = regularizer_of(beta_regularizer)

    def build(self, input_dim: int) -> int:
        self.add_parameter("gamma", (input_dim,), "ones")
        self.add_parameter("beta", (input_dim,), "zeros")
        self.add_buffer("running_mean", (input_dim,), 0.0)
        self.add_buffer("running_var", (input_dim,), 1.0)
        return input_dim

    def lower(self, to: Compiler, x: Any) -> Any:
        keys = {name: to.key(name) for name in ("gamma", "beta", "running_mean", "running_var")}
        return to.op("batchnorm", x, keys=keys, momentum=self.momentum, epsilon=self.epsilon)
