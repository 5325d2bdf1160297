"""The layers of a network as it is built: composed ones replaced by their parts, each built on the outputs before it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..activations import Activation as ActivationFunction
from ..activations import Identity
from ..checks import check_integer
from ..configurable import init_parameters
from ..layers import Layer

__all__ = ["BuiltLayer", "array_specs", "build_layers", "check_layers"]


class BuiltLayer(NamedTuple):
    """A layer in a network.

    Attributes
    ----------
    key : str
        The first part of the keys of its parameters.
    layer : Layer
    inputs, units : int
        Columns of what it takes and of what it gives.
    """

    key: str
    layer: Layer
    inputs: int
    units: int


def build_layers(layers: Iterable[Layer], input_dim: int) -> list[BuiltLayer]:
    """Build each layer on the outputs of the one before it."""
    built: list[BuiltLayer] = []
    _build(list(layers), "", input_dim, built)
    return built


def _build(layers: Sequence[Layer], prefix: str, inputs: int, built: list[BuiltLayer]) -> int:
    for index, layer in enumerate(layers):
        key = f"{prefix}{layer.name or index}"
        layer.begin_build()
        parts = layer.compose(inputs)
        if parts is not None:
            check_layers(f"compose of {layer!r}", parts)
            inputs = _build(parts, key + ".", inputs, built)
            _tell_units(layer, inputs)
            continue
        layer.recommended_initializer = _recommended(layers[index:])
        units = check_integer(f"outputs of layer {key!r}", layer.build(inputs), 1)
        _tell_units(layer, units)
        built.append(BuiltLayer(key, layer, inputs, units))
        inputs = units
    return inputs


def _tell_units(layer: Layer, units: int) -> None:
    """Let a layer know its number of outputs, unless that is a setting of its own."""
    of_class = type(layer)
    if not hasattr(of_class, "units") and "units" not in init_parameters(of_class):
        layer.units = units


def _recommended(layers: Sequence[Layer]) -> str:
    """Return the initializer that the activation behind the first layer recommends, past layers that don't matter."""
    for index, layer in enumerate(layers):
        if index and not layer.looked_past:
            break
        activation = getattr(layer, "activation", None)
        if activation is not None and type(activation) is not Identity:
            return str(activation.initializer)
    return ActivationFunction.initializer


def check_layers(source: str, layers: object) -> None:
    """Check that these are distinct layers of distinct names, none of which lives in another network."""
    if not isinstance(layers, (tuple, list)):
        raise TypeError(f"{source}: expected a list of layers, got {layers!r}")
    for layer in layers:
        if not isinstance(layer, Layer):
            raise TypeError(f"{source}: expected layers, got {layer!r}")
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError(f"{source}: a layer object stands twice in the network; make two")
    names = [layer.name for layer in layers if layer.name is not None]
    if len(set(names)) < len(names):
        raise ValueError(f"{source}: two layers have one name: {sorted(n for n in set(names) if names.count(n) > 1)}")
    for layer in layers:
        if getattr(layer, "parameters", None) or getattr(layer, "owned", False):
            raise ValueError(f"{source}: {layer!r} belongs to another network; make a new layer")


def array_specs(built: list[BuiltLayer], which: str) -> Mapping[str, Any]:
    """Return what layers asked for, by full key; `which` is ``"parameter"`` or ``"buffer"``."""
    return {
        f"{place.key}.{name}": spec for place in built for name, spec in getattr(place.layer, f"{which}_specs").items()
    }
