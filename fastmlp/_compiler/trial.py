"""``Trial``: the update of a step on copies, for what Python makes of updated parameters before the step is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import ARENAS
from .._kernels import plan as kernel_plan
from .memory import aligned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .memory import Arenas
    from .plan import Plan

__all__ = ["Trial"]

CHANGED = ("parameters", "state", "buffers")  # arenas that a step writes to


class Trial:
    """A second run of a plan, whose updates go to copies of the arenas; it reads the same gradients and statistics.

    It is a run of its own, and not the network's on other memory for a while: so there is no moment at which Ctrl-C
    would leave that pointing at the copies.

    Parameters
    ----------
    plan : Plan
    arenas : Arenas
        The network's.
    gradients, work : ndarray
        Those of the run that goes before.

    Attributes
    ----------
    run : Run
        Its updates are guarded.
    parameters : dict of str to ndarray
        What they become, by key.
    """

    def __init__(self, plan: Plan, arenas: Arenas, gradients: NDArray[Any], work: NDArray[Any]) -> None:
        self.run = kernel_plan.Run(plan.ops, plan.table, arenas.counters, plan.capacity, arenas.dtype == np.float64)
        self.pairs = []  # of an arena and its copy
        self.bytes = 0
        for name in CHANGED:
            array: NDArray[Any] = getattr(arenas, f"flat_{name}")
            copy, undo = aligned(array.size, arenas.dtype), aligned(array.size, arenas.dtype)
            self.pairs.append((array, copy))
            self.bytes += copy.nbytes + undo.nbytes
            self.run.bind(ARENAS[name], copy)
            self.run.bind(ARENAS[f"undo {name}"], undo)
        self.run.bind(ARENAS["gradients"], gradients)
        self.run.bind(ARENAS["work"], work)
        self.parameters = arenas.views_of(self.pairs[0][1])

    def begin(self) -> None:
        """Take the numbers of before the update."""
        for array, copy in self.pairs:
            copy[...] = array

    def staged(self) -> list[tuple[str, NDArray[Any], NDArray[Any]]]:
        """Return what the step makes of each arena, as ``Run.execute`` takes it."""
        return [(name, array, copy) for name, (array, copy) in zip(CHANGED, self.pairs, strict=True)]
