"""``check`` looks for NaN and infinity in gradients; at ``abort_if_nonfinite`` all threads stop before the update.

They stop there too where the update might give NaN or infinity: large gradients, extraordinary hyper-parameters. Then
the step is done again, with an update that is guarded (`Executable.commit`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._kernels import NONE
from ...optimizers import execution_of
from ..plan import Note

if TYPE_CHECKING:
    from ...optimizers import Optimizer
    from ..lower import Lowering

__all__ = ["add_checks"]


def add_checks(to: Lowering, optimizer: Optimizer) -> None:
    """Check the gradients that were not checked where they are made, or transformed since; then stop if one is bad."""
    to.index = NONE
    checked = set() if to.transforms else to.checked
    others = [key for key in to.memory.parameters if key in to.trainable and key not in checked]
    for key in others:
        size = to.memory.parameters[key].size
        last = key == others[-1]
        fields = {"layer": to.layer_of(key), "x": to.array(key), "size": size, "cost": size}
        to.emit("check", Note((size,)), barrier=last, **fields)
    kernel = execution_of(optimizer).kernel
    updates = bool(to.trainable) and kernel is not None and not kernel.guarded  # by a compiled operation
    to.emit("abort_if_nonfinite", Note(), barrier=False, updates=updates)
