"""What makes a network this one, apart from code: what files and copies keep, and how it is put back."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .compiled import Compiled

__all__ = ["DESCRIPTION", "Snapshot", "arrays_of", "check_values", "least_values", "restore", "snapshot"]

# Attributes of a `Compiled`. Files have them under these names, and may lack those that came later.
NAMES = ("feature_names", "target_names")
DESCRIPTION = ("layers", "input_dim", "dtype", "seed", "optimizer", "loss", "metrics", *NAMES, "metadata")


def arrays_of(compiled: Compiled) -> dict[str, NDArray[Any]]:
    """Return every array of a network, by its name in a file; none of one that isn't built."""
    if not compiled.built:
        return {}
    memory = compiled.memory
    views = {f"parameters/{key}": view for key, view in memory.parameters.items()}
    views |= {f"buffers/{key}": view for key, view in memory.buffers.items()}
    for key, state in memory.state.items():
        views |= {f"state/{key}/{name}": view for name, view in state.items()}
    return views


def least_values(compiled: Compiled) -> dict[str, float]:
    """Return the least value that arrays can have, by name; those that are not here may hold anything."""
    if not compiled.built:
        return {}
    least = {f"parameters/{key}": -math.inf for key in compiled.memory.parameters}
    for key, spec in compiled.network.specs("buffer").items():
        if spec.least is not None:
            least[f"buffers/{key}"] = spec.least
    of_state = {} if compiled.optimizer is None else compiled.optimizer.least_state
    for key, state in compiled.memory.state.items():
        least |= {f"state/{key}/{name}": of_state[name] for name in state if name in of_state}
    return least


def check_values(name: str, array: NDArray[Any], least: float) -> None:
    """Refuse NaN, infinity, and numbers below `least`."""
    if not array.size:
        return
    with np.errstate(all="ignore"):
        lowest, highest = float(array.min()), float(array.max())
    if not (math.isfinite(lowest) and math.isfinite(highest) and lowest >= least):
        bound = "" if least == -math.inf else f" of at least {least:g}"
        raise ValueError(f"{name}: expected finite numbers{bound}, got numbers from {lowest:g} to {highest:g}")


# -- copies ----------------------------------------------------------------------------------------------------------


class Snapshot(dict[str, "NDArray[Any]"]):
    """Copies of arrays that nobody else has, so that a deep copy may take them as they are."""

    def __deepcopy__(self, memo: object) -> Snapshot:
        return self


def snapshot(compiled: Compiled) -> dict[str, Any]:
    """Return all of a network: its objects, and copies of its arrays, taken at one moment."""
    with compiled.guard.reading("copy"):
        return {
            **{name: getattr(compiled, name) for name in DESCRIPTION},
            "gradient_transforms": compiled.gradient_transforms,
            "counters": compiled.counters(),
            "arrays": Snapshot({name: view.copy() for name, view in arrays_of(compiled).items()}),
        }


def restore(compiled: Compiled, state: dict[str, Any]) -> None:
    """Make a new network what `snapshot` returned."""
    compiled.metadata = state["metadata"]
    if state["input_dim"] is not None:
        compiled.build_unfilled(state["input_dim"])
        _fill(compiled, state["arrays"])  # the optimizer's state may begin with the parameters
    if state["optimizer"] is not None:
        with compiled.checks_later():
            compiled.compile(state["optimizer"], state["loss"], state["metrics"])
    compiled.set_names(**{name: state[name] for name in NAMES})  # behind the loss, which says how many targets
    if state["gradient_transforms"]:
        compiled.transform_gradients(*state["gradient_transforms"])
    _fill(compiled, state["arrays"])
    compiled.restore_counters(state["counters"])


def _fill(compiled: Compiled, arrays: Snapshot) -> None:
    for name, view in arrays_of(compiled).items():
        view[...] = arrays[name]
