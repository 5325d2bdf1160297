"""Checks of layers that are to live in one network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..registry import layers as registry
from ._base import Layer

__all__ = ["check_layers", "take_layers"]


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
        raise ValueError(f"{source}: two layers have one name: {_repeated(names)}")
    for layer in layers:
        if getattr(layer, "parameters", None) or getattr(layer, "owned", False):
            raise ValueError(f"{source}: {layer!r} belongs to another network; make a new layer")


def take_layers(source: str, chains: Sequence[Any]) -> tuple[tuple[Layer, ...], ...]:
    """Return chains of layers that a layer is to own: each is given as a layer, or as a list of them."""
    made: list[tuple[Layer, ...]] = []
    for chain in chains:
        if isinstance(chain, (str, Mapping, Layer)):
            chain = (chain,)
        if not isinstance(chain, Iterable):
            raise TypeError(f"{source}: expected a layer or a list of layers, got {chain!r}")
        made.append(tuple(registry.get(layer) for layer in chain))
        check_layers(source, made[-1])
    layers = [layer for one in made for layer in one]
    if len({id(layer) for layer in layers}) < len(layers):
        raise ValueError(f"{source}: a layer object stands twice in the network; make two")
    for layer in layers:
        layer.owned = True
    return tuple(made)


def _repeated(names: list[str]) -> list[str]:
    return sorted(name for name, times in Counter(names).items() if times > 1)
