"""``Dense``: a matrix product, a bias and an activation (rows 1 and 4)."""

from __future__ import annotations

from typing import Any

from ..activations import Activation as ActivationFunction
from ..checks import check_integer
from ..constraints import constraint_of
from ..registry import activations as activation_registry
from ..registry import initializers as initializer_registry
from ..registry import layers as registry
from ..regularizers import regularizer_of
from ._base import Compiler, Layer
from ._parametric import add_trainable_parameters


@registry.builtin("dense")
class Dense(Layer):
    """``z = x kernel + bias``, ``a = g(z)`` (row 1).

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : name, Activation or None
        g; None is the identity.
    use_bias : bool
    kernel_initializer : name, Initializer or None
        None takes what the next activation recommends, past BatchNorm and Dropout (row 18).
    bias_initializer : name or Initializer
    kernel_regularizer, bias_regularizer : name, Regularizer or None
        Penalties, which are a part of the loss.
    kernel_constraint, bias_constraint : name, Constraint or None
        What they are made to be after each update.
    name, trainable : as `Layer`

    Notes
    -----
    Parameters: ``kernel`` ``(inputs, units)``, ``bias`` ``(units,)``, and those of the activation that are
    `fastmlp.learned`.
    """

    output_is_known = True
    fixed_once_built = Layer.fixed_once_built | {
        *("use_bias", "kernel_initializer", "bias_initializer", "kernel_regularizer", "bias_regularizer"),
        *("kernel_constraint", "bias_constraint"),
    }

    def __init__(
        self,
        units: int,
        activation: Any = None,
        *,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.units = check_integer("units", units, 1)
        self.activation = activation_registry.get("identity" if activation is None else activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = None if kernel_initializer is None else initializer_registry.get(kernel_initializer)
        self.bias_initializer = initializer_registry.get(bias_initializer)
        self.kernel_regularizer = regularizer_of(kernel_regularizer)
        self.bias_regularizer = regularizer_of(bias_regularizer)
        self.kernel_constraint = constraint_of(kernel_constraint)
        self.bias_constraint = constraint_of(bias_constraint)

    @property
    def output_activation(self) -> ActivationFunction:
        """The activation."""
        activation: ActivationFunction = self.activation
        return activation

    def build(self, input_dim: int) -> int:
        initializer = self.recommended_initializer if self.kernel_initializer is None else self.kernel_initializer
        self.add_parameter("kernel", (input_dim, self.units), initializer, decay=True)
        if self.use_bias:
            self.add_parameter("bias", (self.units,), self.bias_initializer)
        add_trainable_parameters(self, self.activation, self.units)
        return self.units

    def lower(self, to: Compiler, x: Any) -> Any:
        bias = to.key("bias") if self.use_bias else None
        z = to.op("dense", x, units=self.units, kernel=to.key("kernel"), bias=bias)
        return to.op("activation", z, activation=self.activation)
