"""``average``: an optimizer's moving average of the weights, last of all in a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._kernels import NONE
from ...optimizers import execution_of
from ..plan import Note

if TYPE_CHECKING:
    from ...optimizers import Optimizer
    from ..lower import Lowering

__all__ = ["add_average"]


def add_average(to: Lowering, optimizer: Optimizer) -> None:
    """Add the average of what is learned; an optimizer in Python makes its own (see `update`)."""
    averaging, spec = optimizer.averaging, execution_of(optimizer).kernel
    segments = to.memory.segments(to.trainable, merged=True)
    if averaging is None or spec is None or not segments:
        return
    to.index = NONE
    to.records[-1]["barrier"] = True  # whether the update is taken back must be known
    size = to.memory.size
    fields = {"segments": to.entries(segments), "n_segments": len(segments), "offset": spec.slots * size}
    every = averaging.every or 0
    to.emit("average", Note((size,)), size=size, cost=2 * size, every=every, momentum=averaging.momentum, **fields)
