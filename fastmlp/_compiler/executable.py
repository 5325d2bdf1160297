"""``Executable``: a plan bound to memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import ARENAS, SHIFT
from .._kernels import plan as kernel_plan
from ..optimizers import execution_of
from ..threads import team
from ..user_code import all_finite
from .memory import Arenas, aligned
from .trial import Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..optimizers import Optimizer
    from .plan import Plan, Tensor

__all__ = ["Executable"]

KEPT_BYTES = 64 << 20  # of an executable, which is kept however small the batches are,
SMALL_BATCHES = 16  # while a larger one is given up once so many in a row have needed a quarter of it at most

Segment = tuple[int, int] | Callable[[Any, int], None]


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
        self.suspect: tuple[str, int | None] | None = None  # user code that made the first NaN of this step
        self.staged: list[tuple[str, NDArray[Any], NDArray[Any]]] = []  # key, array, and what Python's update makes it
        self._segments = {name: self._split(*bounds) for name, bounds in plan.sections.items()}
        self.compiled = not plan.calls
        self._trial = Trial(plan, arenas, flat, self.work) if self._calls_after_update() else None
        self._runs = (self.run,) if self._trial is None else (self.run, self._trial.run)
        self.fastpath: Any = None  # the fast path through it, if there is one
        self.bytes = self.work.nbytes + plan.table.nbytes + self.identity.nbytes
        self.bytes += 0 if self._trial is None else self._trial.bytes
        self._small_batches = 0
        update = None if optimizer is None else execution_of(optimizer).kernel
        self._guards = update is not None and update.guarded
        if self._guards:
            self._guard_updates(True)

    def serves(self, rows: int, settings: object) -> bool:
        """Return whether this may run batches of up to `rows` under `settings`."""
        return self.settings is settings and self.plan.capacity >= rows

    def outgrows(self, rows: int) -> bool:
        """Return whether it has much more memory than batches need; asked for each batch, before it is run."""
        if self.bytes <= KEPT_BYTES:
            return False
        self._small_batches = self._small_batches + 1 if 4 * rows <= self.plan.capacity else 0
        return self._small_batches > SMALL_BATCHES

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

    def _calls_after_update(self) -> bool:
        """Return whether Python must see what compiled operations make of parameters before the step is kept."""
        compiled = False
        for segment in self._segments.get("commit", ()):
            if compiled and not isinstance(segment, tuple):
                return True
            compiled |= isinstance(segment, tuple)
        return False

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
        for run in self._runs:
            run.bind_data(x, y, weight, self._order)

    def unbind(self) -> None:
        """Let go of the caller's arrays."""
        self._data = {}
        for run in self._runs:
            run.unbind_data()

    def begin(self, offset: int, batch: int, hyper: NDArray[np.float64] | None = None, kept_row: int = 0) -> None:
        """Open a step over `batch` rows of the order, from `offset` on, with the hyper-parameters of the step.

        Outputs that are kept go to `kept_row` and those behind.
        """
        self._offset, self.hyper, self.suspect = offset, hyper, None
        self.step, self.iteration = int(self.arenas.counters[0]), int(self.arenas.counters[1]) + 1
        for run in self._runs:
            run.begin(offset, batch, self.seed, hyper, kept_row)

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

    def commit(self) -> str | None:
        """Update what is learned and count the step, in one call that does all of it or nothing.

        Returns
        -------
        str or None
            None if it is done. Else the key of a parameter or buffer that would get NaN or infinity, itself or in the
            optimizer's state; nothing has changed.
        """
        if self._trial is not None:
            return self._commit_tried(self._trial)
        *before, last = self._segments["commit"] or [(0, 0)]
        if not isinstance(last, tuple):
            before, last = [*before, last], (0, 0)
        guards = self.run.large and not self._guards
        if guards:
            self._guard_updates(True)
        self.staged = []
        try:
            for segment in before:
                assert not isinstance(segment, tuple)  # compiled operations come last
                segment(self, 0)
            for key, _, value in self.staged:
                if value.dtype.kind in "fc" and not np.isfinite(value).all():
                    return key
            done = self.run.execute(*last, team(), True, self.staged)
        finally:
            self.staged = []
            if guards:
                self._guard_updates(False)
        return None if done else self.arenas.key_at(self.run.overflow)

    def _commit_tried(self, trial: Trial) -> str | None:
        """Commit what an update of copies gives, and what Python makes of it."""
        self.staged = []
        try:
            trial.begin()
            for segment in self._segments["commit"]:
                if not isinstance(segment, tuple):
                    segment(self, 0)
                elif not trial.run.execute(*segment, team()):
                    return self.arenas.key_at(trial.run.overflow)
            for key, _, value in self.staged:
                if value.dtype.kind in "fc" and not np.isfinite(value).all():
                    return key
            self.run.execute(0, 0, team(), True, trial.staged() + self.staged)
        finally:
            self.staged = []
        return None

    def updated(self, key: str) -> NDArray[Any]:
        """Return what the update of the step at hand makes of a parameter; what is written there is kept with it."""
        target = self.arenas.parameters[key]
        for _, array, value in self.staged:
            if array is target:
                return value
        assert self._trial is not None
        return self._trial.parameters[key]

    def _guard_updates(self, guards: bool) -> None:
        """Give updates memory for what they overwrite, so that they can take it back; or take it away."""
        arenas = self.arenas
        for name, array in (
            ("parameters", arenas.flat_parameters),
            ("state", arenas.flat_state),
            ("buffers", arenas.flat_buffers),
        ):
            self.run.bind(ARENAS[f"undo {name}"], aligned(array.size, arenas.dtype) if guards else None)

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

    def watch(self, what: str, layer: int | None, results: Mapping[str, Any], inputs: Sequence[Any]) -> None:
        """Remember the first user code of a step that makes NaN or infinity of finite numbers; `what` names it."""
        for name, result in results.items():
            if self.suspect is None and not all_finite(result) and all_finite(*inputs):
                self.suspect = f"{what}, {name}", layer

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
