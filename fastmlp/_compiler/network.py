"""The layers of a network as it is built: composed ones replaced by their parts, each on the outputs before it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ..activations import Activation as ActivationFunction
from ..activations import Identity
from ..checks import check_integer
from ..configurable import init_parameters
from ..layers import Layer, check_layers

__all__ = ["BuiltLayer", "Network", "build_network"]


class BuiltLayer(NamedTuple):
    """A layer in a network.

    Attributes
    ----------
    key : str
        The first part of the keys of its parameters.
    layer : Layer
    inputs, units : int
        Columns of what it takes and of what it gives.
    branches : tuple of tuple of BuiltLayer
        Chains of layers on the same inputs, whose outputs this one joins; they run before it.
    columns : tuple of sequence of int
        Which of the inputs each branch takes.
    frozen_by : tuple of Layer
        The layers that this one is a part of, which freeze it when they are not trainable.
    """

    key: str
    layer: Layer
    inputs: int
    units: int
    branches: tuple[tuple[BuiltLayer, ...], ...] = ()
    columns: tuple[Sequence[int], ...] = ()
    frozen_by: tuple[Layer, ...] = ()

    @property
    def trainable(self) -> bool:
        """Whether its parameters are learned, as it is set now."""
        return self.layer.trainable and all(layer.trainable for layer in self.frozen_by)


class Network(NamedTuple):
    """The layers of a network.

    Attributes
    ----------
    layers : list of BuiltLayer
        All of them, in the order in which they run; a layer's number there keys its random numbers.
    chain : tuple of BuiltLayer
        Those that stand in no branch of another.
    described : tuple of Layer
        All layers that it has been built of, those that others stand for included.
    keys : dict of Layer to str
        The first part of the keys of the parameters of each of these.
    ids : dict of int to int
        Columns of the data that hold whole numbers from 0 on, and how many of these there are.
    """

    layers: list[BuiltLayer]
    chain: tuple[BuiltLayer, ...]
    described: tuple[Layer, ...]
    keys: dict[Layer, str]
    ids: dict[int, int]

    @property
    def inputs(self) -> int:
        """Number of features."""
        return self.chain[0].inputs

    @property
    def units(self) -> int:
        """Number of outputs."""
        return self.chain[-1].units

    def takes_batch_statistics(self) -> bool:
        """Return whether training normalizes by statistics of the batch, as layers are set now."""
        return any(place.trainable and place.layer.batch_statistics for place in self.layers)

    def mark_built(self, built: bool) -> None:
        """Tell the layers that a network has been built of them, or is no more."""
        for layer in self.described:
            layer.built = built
            if built and layer.carried:
                layer.carried = {}

    def check_ready(self) -> None:
        """Let layers refuse to run that lack what they need."""
        for place in self.layers:
            place.layer.check_ready()

    def specs(self, which: str) -> Mapping[str, Any]:
        """Return what layers asked for, by full key; `which` is ``"parameter"`` or ``"buffer"``."""
        return {
            f"{place.key}.{name}": spec
            for place in self.layers
            for name, spec in getattr(place.layer, f"{which}_specs").items()
        }

    def trainable(self) -> frozenset[str]:
        """Return the keys of the parameters that are learned, as it is set now."""
        return frozenset(
            f"{place.key}.{name}"
            for place in self.layers
            if place.trainable
            for name, spec in place.layer.parameter_specs.items()
            if spec.trainable
        )


def build_network(layers: Iterable[Layer], input_dim: int) -> Network:
    """Build each layer on the outputs of the one before it."""
    builder = _Builder()
    chain = builder.chain(list(layers), "", range(input_dim), input_dim, ())
    described = tuple(builder.described)
    if not chain:
        raise ValueError(f"a network needs at least one layer, but {described!r} stand for none")
    twice = [layer for layer, times in Counter(described).items() if times > 1]
    if twice:
        raise ValueError(f"{twice[0]!r} stands twice in the network, in layers that stand for others; make two")
    return Network(builder.built, tuple(chain), described, builder.keys, builder.ids)


class _Builder:
    """Collects the layers of a network in the order in which they run."""

    def __init__(self) -> None:
        self.built: list[BuiltLayer] = []
        self.described: list[Layer] = []
        self.keys: dict[Layer, str] = {}
        self.ids: dict[int, int] = {}

    def chain(
        self,
        layers: Sequence[Layer],
        prefix: str,
        source: Sequence[int] | None,
        inputs: int,
        inside: tuple[Layer, ...],
    ) -> list[BuiltLayer]:
        """Build layers one after the other; composed ones are replaced by their parts.

        `source` are the columns of the data that come in, None where what comes in has been computed.
        """
        chain: list[BuiltLayer] = []
        recommended = _recommended(layers)
        for index, layer in enumerate(layers):
            key = f"{prefix}{layer.name or index}"
            layer.begin_build()
            self.described.append(layer)
            self.keys[layer] = key
            parts = layer.compose(inputs)
            if parts is not None:
                check_layers(f"compose of {layer!r}", parts)
                inner = self.chain(parts, f"{key}.", source, inputs, (*inside, layer))
                source = None if inner else source
                chain += inner
                inputs = inner[-1].units if inner else inputs
                _tell_units(layer, inputs)
                continue
            layer.recommended_initializer = recommended[index]
            place = self.layer(layer, key, source, inputs, inside)
            self.built.append(place)
            chain.append(place)
            source, inputs = None, place.units
        return chain

    def layer(
        self, layer: Layer, key: str, source: Sequence[int] | None, inputs: int, inside: tuple[Layer, ...]
    ) -> BuiltLayer:
        """Build one layer, after its branches if it has some."""
        branches = layer.branches()
        columns = tuple(layer.branch_columns(inputs)) if branches else ()
        chains = []
        for number, (branch, taken) in enumerate(zip(branches, columns, strict=True)):
            prefix = f"{key}.{number}." if len(branches) > 1 else f"{key}."
            origin = None if source is None else [source[column] for column in taken]
            chains.append(tuple(self.chain(branch, prefix, origin, len(taken), (*inside, layer))))
        if layer.ids is not None:
            self.note_ids(layer, source)
        if not branches:
            units = layer.build(inputs)
        else:
            widths = zip(chains, columns, strict=True)
            units = layer.build_join(inputs, [chain[-1].units if chain else len(taken) for chain, taken in widths])
        units = check_integer(f"outputs of layer {key!r}", units, 1)
        _tell_units(layer, units)
        return BuiltLayer(key, layer, inputs, units, tuple(chains), columns, inside)

    def note_ids(self, layer: Layer, source: Sequence[int] | None) -> None:
        """Note which columns of the data hold the ids of a layer."""
        if source is None:
            raise ValueError(
                f"{layer!r} reads whole numbers, but a layer before it computes what it would get: let it be the first "
                "layer, or the first of a branch of Columns or Parallel"
            )
        assert layer.ids is not None
        for column in source:
            self.ids[column] = min(layer.ids, self.ids.get(column, layer.ids))


def _tell_units(layer: Layer, units: int) -> None:
    """Let a layer know its number of outputs, unless that is a setting of its own."""
    of_class = type(layer)
    if not hasattr(of_class, "units") and "units" not in init_parameters(of_class):
        layer.units = units


def _recommended(layers: Sequence[Layer]) -> list[str]:
    """Return the initializer for each layer: its activation's, or the next one's past layers that don't matter."""
    found: list[str] = []
    recommended = ActivationFunction.initializer
    for layer in reversed(layers):  # once, from the end: each layer knows what stands behind it
        activation = layer.output_activation
        if activation is not None and type(activation) is not Identity:
            recommended = str(activation.initializer)
        found.append(recommended)
        if not layer.transparent_to_initializer:
            recommended = ActivationFunction.initializer
    return found[::-1]
