"""Layers in their places: composed ones replaced by their parts, each built on the outputs of the one before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from .. import activations
from ..checks import check_integer
from ..layers import Activation, BatchNorm, Dense, Dropout, Layer

__all__ = ["BuiltLayer", "arrays", "check_layers", "flatten"]


class BuiltLayer(NamedTuple):
    """A layer in its place: composed ones are replaced by their parts."""

    key: str
    layer: Layer
    inputs: int
    units: int


def flatten(layers: list[Layer], input_dim: int) -> list[BuiltLayer]:
    """Build each layer on the outputs of the one before it."""
    built: list[BuiltLayer] = []
    _flatten(layers, "", input_dim, built)
    return built


def _flatten(layers: list[Layer], prefix: str, inputs: int, built: list[BuiltLayer]) -> int:
    for index, layer in enumerate(layers):
        key = f"{prefix}{layer.name or index}"
        layer._start()
        parts = layer.compose(inputs)
        if parts is not None:
            check_layers(f"compose of {layer!r}", parts)
            inputs = _flatten(parts, key + ".", inputs, built)
            continue
        if isinstance(layer, Dense):
            layer.recommended = _recommended(layers[index:])
        units = check_integer(f"outputs of layer {key!r}", layer.build(inputs), 1)
        built.append(BuiltLayer(key, layer, inputs, units))
        inputs = units
    return inputs


def check_layers(source: str, layers: object) -> None:
    """Distinct layers of distinct names, none of which lives in another network."""
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


def _recommended(layers: list[Layer]) -> str:
    """The initializer of the activation that follows the first layer, past BatchNorm, Dropout and the identity."""
    for index, layer in enumerate(layers):
        if index and not isinstance(layer, (Activation, BatchNorm, Dropout)):
            break
        activation = getattr(layer, "activation", None)
        if activation is not None and type(activation) is not activations.Identity:
            return str(activation.initializer)
    return activations.Activation.initializer


def arrays(built: list[BuiltLayer], which: str) -> Mapping[str, Any]:
    """The specs of all parameters or buffers, by full key."""
    return {
        f"{place.key}.{name}": spec for place in built for name, spec in getattr(place.layer, f"_{which}_specs").items()
    }
