"""``average``: an optimizer's moving average of the weights, last of all in a step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._kernels import NONE
from ...optimizers import AVERAGE, execution_of
from ..plan import Call, Note

if TYPE_CHECKING:
    from ...optimizers import Optimizer
    from ..lower import Lowering

__all__ = ["add_average"]


def add_average(to: Lowering, optimizer: Optimizer, *, compiled: bool) -> None:
    """Add the average of what is learned if it is `compiled`, as the update is, or if it is not.

    In Python it comes right behind update and constraints, compiled last of all.
    """
    averaging, spec = optimizer.averaging, execution_of(optimizer).kernel
    segments = to.memory.segments(to.trainable, merged=True)
    if averaging is None or not segments or compiled != (spec is not None):
        return
    to.index = NONE
    if spec is None:
        keys = [key for key in to.memory.parameters if key in to.trainable]
        to.emit_python(_call(keys), Note(python=f"averages of {optimizer!r}"))
        return
    to.records[-1]["barrier"] = True  # whether the update is taken back must be known
    size = to.memory.size
    fields = {"segments": to.entries(segments), "n_segments": len(segments), "offset": spec.slots * size}
    every = averaging.every or 0
    to.emit("average", Note((size,)), size=size, cost=2 * size, every=every, momentum=averaging.momentum, **fields)


def _call(keys: list[str]) -> Call:
    """Return what averages the copies that an update in Python, and constraints, have changed."""

    def call(executable: Any, batch: int) -> None:
        arenas, averaging = executable.arenas, executable.optimizer.averaging
        values = {id(target): value for _, target, value in executable.staged}
        for key in keys:
            average, w = values[id(arenas.state[key][AVERAGE])], values[id(arenas.parameters[key])]
            averaging.update(average, w, executable.iteration)

    return call
