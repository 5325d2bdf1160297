"""A plan with memory of its own: what one caller at a time runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .core import ARENA, CODES, SHIFT
from .core import plan as core
from .state import Arenas, aligned
from .sweeps import sweep_of
from .threads import team

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .data import Rows
    from .lowering import Plan, Tensor
    from .optimizers import Optimizer
    from .reductions import Reduction

__all__ = ["Workspace"]

Segment = tuple[int, int] | Callable[[Any, int], None]


class Workspace:
    """Memory and bindings of a plan.

    Parameters
    ----------
    plan : Plan
    arenas : Arenas
        The network's; a plan that runs beside others can be given gradients of its own.
    seed : int
    optimizer : Optimizer, optional
    reductions : tuple
        What the plan was made for, beside the optimizer; see `fastmlp.objective.reductions_of`.
    own_gradients : bool
    """

    def __init__(
        self,
        plan: Plan,
        arenas: Arenas,
        seed: int,
        optimizer: Optimizer | None = None,
        *,
        reductions: tuple[Reduction, ...] = (),
        own_gradients: bool = False,
    ) -> None:
        self.plan = plan
        self.arenas = arenas
        self.seed = seed
        self.optimizer = optimizer
        self.sweep = None if optimizer is None else sweep_of(optimizer)  # what the plan was made for
        self.reductions = reductions
        self.backward: dict[int, Any] = {}  # what Python layers gave back
        self.work = aligned(plan.work, arenas.dtype)
        self.run = core.Run(plan.records, plan.table, arenas.counters, plan.capacity, arenas.dtype == np.float64)
        flat, self.gradients = arenas.flat_gradients, arenas.gradients
        if own_gradients:
            flat = aligned(arenas.size, arenas.dtype)
            self.gradients = arenas.views_of(flat)
        bindings = {
            "parameters": arenas.flat_parameters,
            "gradients": flat,
            "buffers": arenas.flat_buffers,
            "state": arenas.flat_state,
            "work": self.work,
        }
        for name, array in bindings.items():
            self.run.bind(ARENA[name], array)
        self.identity = np.arange(plan.capacity, dtype=np.int64)
        self._rows: Rows | None = None
        self._order = self.identity
        self._offset = 0
        self.learning_rate = 0.0
        self.iteration = 1
        self.step = 0
        self._segments = {name: self._split(*bounds) for name, bounds in plan.sections.items()}
        self.compiled = not plan.calls
        self.fastpath: Any = None  # the short way through it, if there is one

    def _split(self, first: int, last: int) -> list[Segment]:
        """Runs of compiled operations, and Python calls between them."""
        segments: list[Segment] = []
        start = first
        for at in range(first, last):
            if self.plan.ops["code"][at] == CODES["python"]:
                segments += [(start, at)] if at > start else []
                segments.append(self.plan.calls[int(self.plan.ops["kind"][at])])
                start = at + 1
        return segments + ([(start, last)] if last > start else [])

    def bind(self, rows: Rows, order: NDArray[np.int64] | None = None) -> None:
        """Point the plan at data; `order` says which row comes when."""
        self._rows = rows
        self._order = self.identity if order is None else order
        self.run.bind(ARENA["x"], rows.x)
        self.run.bind(ARENA["target"], rows.y)
        self.run.bind(ARENA["weight"], rows.weight)
        self.run.bind_index(self._order)

    def unbind(self) -> None:
        """Let go of the caller's arrays."""
        self._rows = None
        for name in ("x", "target", "weight", "out"):
            self.run.bind(ARENA[name], None)

    def begin(self, offset: int, batch: int, learning_rate: float = 0.0) -> None:
        """Open a step over `batch` rows of the order, from `offset` on."""
        self._offset, self.learning_rate = offset, learning_rate
        self.step, self.iteration = int(self.arenas.counters[0]), int(self.arenas.counters[1]) + 1
        self.run.begin(offset, batch, self.seed, self.hyper([learning_rate])[0])

    def hyper(self, rates: Any) -> NDArray[np.float64]:
        """A row of hyper-parameters for each learning rate."""
        further = np.broadcast_to(np.array(self.plan.further), (len(rates), len(self.plan.further)))
        return np.ascontiguousarray(np.column_stack([np.asarray(rates, np.float64), further]))

    def execute(self, batch: int, *sections: str) -> bool:
        """Run sections of the plan; False if a number that is not finite stopped them."""
        threads = team()
        for section in sections:
            for segment in self._segments[section]:
                if isinstance(segment, tuple):
                    if not self.run.execute(*segment, threads):
                        return False
                else:
                    segment(self, batch)
        return bool(np.isfinite(self.run.loss))

    def commit(self) -> None:
        """Update what is learned and count the step: in one call, if all of it is compiled."""
        *before, last = self._segments["commit"] or [(0, 0)]
        if not isinstance(last, tuple):
            before, last = [*before, last], (0, 0)
        for segment in before:
            if isinstance(segment, tuple):
                self.run.execute(*segment, team())
            else:
                segment(self, 0)
        self.run.execute(*last, team(), True)

    def view(self, tensor: Tensor, batch: int) -> NDArray[Any]:
        """The first `batch` rows of a tensor in the work arena, or in the caller's output."""
        if tensor.ref >> SHIFT == ARENA["out"]:
            return self.out[:batch]
        at = tensor.ref & ((1 << SHIFT) - 1)
        return self.work[at : at + batch * tensor.ld].reshape(batch, tensor.ld)[:, : tensor.units]

    def bind_out(self, out: NDArray[Any]) -> None:
        """Where a prediction goes."""
        self.out = out
        self.run.bind(ARENA["out"], out)

    def batch_rows(self, batch: int) -> NDArray[np.int64]:
        """Which rows of the data the step at hand takes."""
        return self._order[self._offset : self._offset + batch]

    def target(self, batch: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Targets and weights of the batch."""
        rows = self._rows
        assert rows is not None and rows.y is not None
        index = self.batch_rows(batch)
        return rows.y[index], None if rows.weight is None else rows.weight[index]

    def culprit(self, batch: int) -> int | str:
        """Where the first number that is not finite lies: in the data, or in the output of a layer (its place)."""
        rows = self._rows
        index = self.batch_rows(batch)
        if rows is not None:
            for name, array in (("x", rows.x), ("y", rows.y), ("sample_weight", rows.weight)):
                if array is not None and not np.isfinite(array[index]).all():
                    return name
        for place, tensor, once in self.plan.stages:
            if not np.isfinite(self.view(tensor, 1 if once else batch)).all():
                return place
        return "gradients" if np.isfinite(self.run.loss) else "loss"
