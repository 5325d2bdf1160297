"""``Activation``: an activation as a layer of its own."""

from __future__ import annotations

from typing import Any

from ..activations import Activation as ActivationFunction
from ..registry import activations as activation_registry
from ..registry import layers as registry
from ._base import Compiler, Layer
from ._parametric import add_trainable_parameters


@registry.builtin("activation")
class Activation(Layer):
    """``a = g(x)``.

    Parameters
    ----------
    activation : name or Activation
    name, trainable : as `Layer`

    Notes
    -----
    Parameters: those of the activation that are `fastmlp.learned`.
    """

    output_is_known = True
    keeps_meaning = True  # the identity, that is: others are an output activation
    transparent_to_initializer = True

    def __init__(self, activation: Any, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.activation = activation_registry.get(activation)

    @property
    def output_activation(self) -> ActivationFunction:
        """The activation."""
        activation: ActivationFunction = self.activation
        return activation

    def build(self, input_dim: int) -> int:
        add_trainable_parameters(self, self.activation, input_dim)
        return input_dim

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("activation", x, activation=self.activation)
