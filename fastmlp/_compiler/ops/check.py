"""``check`` looks for NaN and infinity in gradients; at ``abort_if_nonfinite`` all threads stop before the update."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._kernels import NONE
from ..plan import Note

if TYPE_CHECKING:
    from ..lower import Lowering

__all__ = ["add_checks"]


def add_checks(to: Lowering) -> None:
    """Check the gradients that were not checked where they are made, or transformed since; then stop if one is bad."""
    to.index = NONE
    checked = set() if to.transforms else to.checked
    others = [key for key in to.memory.parameters if key in to.trainable and key not in checked]
    for key in others:
        size = to.memory.parameters[key].size
        last = key == others[-1]
        fields = {"layer": to.layer_of(key), "x": to.array(key), "size": size, "cost": size}
        to.emit("check", Note((size,)), barrier=last, **fields)
    to.emit("abort_if_nonfinite", Note(), barrier=False)
