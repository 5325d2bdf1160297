"""``Executable``: a plan bound to memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import ARENAS, SHIFT
from .._kernels import plan as kernel_plan
from ..threads import team
from .memory import Arenas, aligned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..optimizers import Optimizer
    from .plan import Plan, Tensor

__all__ = ["Executable"]

Segment = tuple[int, int] | Callable[[Any, int], None]


OF_CALLERS = tuple(ARENAS[name] for name in ("x", "target", "weight", "out", "kept"))


class Executable:
    """A plan bound to memory: what one caller at a time runs.

    Parameters
    ----------
    plan : Plan
    arenas : Arenas
        The network's; a plan that runs beside others can be given gradients of its own.
    seed : int
    settings : object
        What the plan was lowered from.
    optimizer : Optimizer, optional
    own_gradients : bool
    """

    def __init__(
        self,
        plan: Plan,
        arenas: Arenas,
        seed: int,
        settings: object,
        optimizer: Optimizer | None = None,
        *,
        own_gradients: bool = False,
    ) -> None:
        self.plan = plan
        self.arenas = arenas
        self.seed = seed
        self.optimizer = optimizer
        self.settings = settings
        self.backward: dict[int, Any] = {}  # what Python layers gave back
        self.work = aligned(plan.work, arenas.dtype)
        self.run = kernel_plan.Run(plan.ops, plan.table, arenas.counters, plan.capacity, arenas.dtype == np.float64)
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
            self.run.bind(ARENAS[name], array)
        self.identity = np.arange(plan.capacity, dtype=np.int64)
        self._data: dict[str, NDArray[Any] | None] = {}
        self._order = self.identity
        self._offset = 0
        self.hyper: NDArray[np.float64] | None = None
        self.iteration = 1
        self.step = 0
        self._segments = {name: self._split(*bounds) for name, bounds in plan.sections.items()}
        self.compiled = not plan.calls
        commit = plan.sections.get("commit", (0, 0))
        self.updates_in_python = any(at in plan.calls for at in range(*commit))
        self.fastpath: Any = None  # the fast path through it, if there is one

    def serves(self, rows: int, settings: object) -> bool:
        """Return whether this may run batches of up to `rows` under `settings`."""
        return self.settings is settings and self.plan.capacity >= rows

    def _split(self, first: int, last: int) -> list[Segment]:
        """Return runs of compiled operations, and the Python calls between them."""
        segments: list[Segment] = []
        start = first
        for at in range(first, last):
            if at in self.plan.calls:
                segments += [(start, at)] if at > start else []
                segments.append(self.plan.calls[at])
                start = at + 1
        return segments + ([(start, last)] if last > start else [])

    def bind(
        self,
        x: NDArray[Any],
        y: NDArray[Any] | None = None,
        weight: NDArray[Any] | None = None,
        order: NDArray[np.int64] | None = None,
    ) -> None:
        """Point the plan at data; `order` says which row comes when."""
        self._data = {"x": x, "y": y, "sample_weight": weight}
        self._order = self.identity if order is None else order
        self.run.bind(ARENAS["x"], x)
        self.run.bind(ARENAS["target"], y)
        self.run.bind(ARENAS["weight"], weight)
        self.run.bind_index(self._order)

    def unbind(self) -> None:
        """Let go of the caller's arrays."""
        self._data = {}
        for arena in OF_CALLERS:
            self.run.bind(arena, None)

    def begin(self, offset: int, batch: int, hyper: NDArray[np.float64] | None = None) -> None:
        """Open a step over `batch` rows of the order, from `offset` on, with the hyper-parameters of the step."""
        self._offset, self.hyper = offset, hyper
        self.step, self.iteration = int(self.arenas.counters[0]), int(self.arenas.counters[1]) + 1
        self.run.begin(offset, batch, self.seed, hyper)

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
        return math.isfinite(self.run.loss)

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
        """Return the first `batch` rows of a tensor in the work arena, or in the caller's output."""
        if tensor.ref >> SHIFT == ARENAS["out"]:
            return self.out[:batch]
        at = tensor.ref & ((1 << SHIFT) - 1)
        return self.work[at : at + batch * tensor.ld].reshape(batch, tensor.ld)[:, : tensor.units]

    def bind_out(self, out: NDArray[Any]) -> None:
        """Point the plan at the array for its outputs."""
        self.out = out
        self.run.bind(ARENAS["out"], out)

    def bind_kept(self, kept: NDArray[Any] | None) -> None:
        """Say where the outputs of the steps to come are kept, row after row; None: nowhere."""
        self.run.bind(ARENAS["kept"], kept)

    def batch_rows(self, batch: int) -> NDArray[np.int64]:
        """Return which rows of the data the step at hand takes."""
        return self._order[self._offset : self._offset + batch]

    def target(self, batch: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Return targets and weights of the batch."""
        y, weight = self._data["y"], self._data["sample_weight"]
        assert y is not None
        index = self.batch_rows(batch)
        return y[index], None if weight is None else weight[index]

    def locate_nonfinite(self, batch: int) -> int | str:
        """Return where the first non-finite number lies: in the data, or in the output of a layer (its index)."""
        index = self.batch_rows(batch)
        for name, array in self._data.items():
            if array is not None and not np.isfinite(array[index]).all():
                return name
        for place, tensor, once in self.plan.traces:
            if not np.isfinite(self.view(tensor, 1 if once else batch)).all():
                return place
        return "gradients" if math.isfinite(self.run.loss) else "loss"
