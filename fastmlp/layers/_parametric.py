"""What layers ask for on behalf of an activation with trainable parameters."""

from __future__ import annotations

import numpy as np

from ..activations import Activation, check_trainable, execution_of
from ._base import Layer

__all__ = ["add_trainable_parameters"]


def add_trainable_parameters(layer: Layer, activation: Activation, units: int) -> None:
    """Ask for the trainable parameters of an activation, for a layer of so many units that is being built."""
    parameters = activation.trainable_parameters()
    for name, parameter in parameters.items():
        if name in layer.parameter_specs:
            raise ValueError(
                f"{activation!r}: its learned parameter {name!r} has the name of an array of {type(layer).__name__}; "
                "rename it"
            )
        shape = (units if parameter.per == "unit" else 1,)
        layer.add_parameter(name, shape, {"name": "constant", "value": parameter.value})
    if parameters:
        check_trainable(activation, execution_of(activation, np.float64))
