"""All that decides how a training goes on, as plain values and arrays: taken from it, and put back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._compiler.contents import arrays_of
from ..configurable import init_parameters
from .means import RunningMeans

if TYPE_CHECKING:
    from .._compiler.compiled import Compiled
    from .position import Position

__all__ = ["restore_network", "restore_position", "state_of_network", "state_of_position"]


# -- the network -----------------------------------------------------------------------------------------------------


def state_of_network(compiled: Compiled) -> dict[str, Any]:
    """Return the arrays of a network, its counters, its seed, and settings that may change while it is trained."""
    return {
        "input_dim": compiled.input_dim,
        "seed": compiled.seed,
        "arrays": dict(arrays_of(compiled)),
        "counters": compiled.counters(),
        "settings": {name: _settings(owner) for name, owner in _owners(compiled).items()},
    }


def restore_network(compiled: Compiled, state: dict[str, Any]) -> None:
    """Put back what `state_of_network` returned; ValueError, and nothing changes, if it is of another network."""
    if not compiled.built:
        compiled.build(state["input_dim"])
    places, arrays = arrays_of(compiled), state["arrays"]
    if places.keys() != arrays.keys():
        there, here = sorted(arrays.keys() - places.keys()), sorted(places.keys() - arrays.keys())
        raise ValueError(f"the network has other arrays: {there} are in the backup alone, {here} in the network alone")
    for name, place in places.items():
        if (place.shape, place.dtype) != (arrays[name].shape, arrays[name].dtype):
            raise ValueError(
                f"{name}: {arrays[name].dtype} {arrays[name].shape} in the backup, {place.dtype} {place.shape} in the "
                "network"
            )
    if compiled.seed != state["seed"]:
        compiled.take_seed(state["seed"])
    for name, owner in _owners(compiled).items():
        now = _settings(owner)
        for key, value in state["settings"].get(name, {}).items():
            if now.get(key) != value:
                setattr(owner, key, value)
    with compiled.guard.changing("fit"):
        for name, place in places.items():
            place[...] = arrays[name]
        compiled.restore_counters(state["counters"])


def _owners(compiled: Compiled) -> dict[str, Any]:
    """Return whose settings may change between steps, by name."""
    return {"optimizer": compiled.optimizer} | {
        f"layer {place.key}": place.layer for place in (compiled.network.layers if compiled.built else ())
    }


def _settings(owner: Any) -> dict[str, Any]:
    """Return the settings that are plain values; others are the script's: functions, say."""
    names = [*init_parameters(type(owner)), *(["trainable"] if hasattr(owner, "trainable") else [])]
    values = {name: getattr(owner, name, None) for name in names}
    return {name: value for name, value in values.items() if type(value) in (bool, int, float)}


# -- the position ----------------------------------------------------------------------------------------------------


def state_of_position(position: Position) -> dict[str, Any]:
    """Return where a training stands, with the sums of the epoch at hand."""
    means = position.means
    return {
        "epoch": position.epoch,
        "batch": position.batch,
        "order_key": position.order_key,
        "means": None if means is None else means.get_state(),
    }


def restore_position(compiled: Compiled, position: Position, state: dict[str, Any]) -> None:
    """Put back what `state_of_position` returned."""
    position.epoch, position.batch, position.order_key = state["epoch"], state["batch"], state["order_key"]
    position.means = None
    if state["means"] is not None:
        position.means = RunningMeans(compiled)
        position.means.set_state(state["means"])
