"""The operations of a plan in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._compiler.compiled import Compiled
from .._kernels import NONE
from .._kernels import plan as kernel_plan
from ..checks import check_count, one_line
from ..threads import get_num_threads

if TYPE_CHECKING:
    from .._compiler.plan import Plan

__all__ = ["Listing", "Operation", "check_training", "listing", "lowered", "plan", "table"]

MOST_ROWS = 2**48
ENOUGH_ROWS = 4096  # plans for more have the same operations


class Operation(NamedTuple):
    """One operation of a plan.

    Attributes
    ----------
    number : int
        Its number in the plan.
    section : str
        ``"forward"``, ``"backward"``, ``"transform"`` (of gradients), ``"check"`` (for NaN and infinity) or
        ``"commit"`` (the update).
    name : str
        What it does, as `fastmlp._kernels` calls it: ``"dense"``, ``"d_kernel"``, ``"adam"``, ... or ``"python"``.
    layer : str or None
        The key of its layer; None for what belongs to none.
    shape : tuple of int
        Of a product ``(rows, depth, columns)``: 128x784x256; else of what it goes over.
    schedule : str or None
        ``"fused group"``: together with its neighbours, 128 rows at a time; ``"split"``: by itself over all rows. None
        for Python.
    threads : int
        How many take part.
    fused : tuple of str
        What it does besides: the activation, batch norm or derivative in a product, the bias' gradient, ...
    compiled : bool
    python : str or None
        The object that runs in Python.
    reason : str or None
        Why it does, if that is known.
    multiply_adds : int
        Of products; 0 for all else.
    """

    number: int
    section: str
    name: str
    layer: str | None
    shape: tuple[int, ...]
    schedule: str | None
    threads: int
    fused: tuple[str, ...]
    compiled: bool
    python: str | None
    reason: str | None
    multiply_adds: int

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table."""
        what = "compiled" if self.compiled else f"Python: {self.python}"
        return (
            *(str(self.number), self.section, self.name, one_line(self.layer or ""), "x".join(map(str, self.shape))),
            *(self.schedule or "", str(self.threads), ", ".join(self.fused), what),
            f"{self.multiply_adds:,}" if self.multiply_adds else "",
        )


HEAD = ("", "section", "operation", "layer", "shape", "schedule", "threads", "with", "runs", "multiply-adds")
RIGHT = (0, 4, 6, 9)


def table(rows: Sequence[tuple[str, ...]], right: Iterable[int]) -> list[str]:
    """Return lines of columns; those of `right` are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = set(right)
    return [
        "  ".join(
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class Listing(list[Operation]):
    """The operations of a plan, in their order; prints as a table.

    Attributes
    ----------
    batch : int
        Rows.
    training : bool
        Whether it is a training step, or a prediction.
    dtype : str
    threads : int
        How many there are to take part.
    """

    def __init__(self, operations: Iterable[Operation], batch: int, training: bool, dtype: str, threads: int) -> None:
        super().__init__(operations)
        self.batch, self.training, self.dtype, self.threads = batch, training, dtype, threads

    @property
    def multiply_adds(self) -> int:
        """Of all operations."""
        return sum(operation.multiply_adds for operation in self)

    @property
    def title(self) -> str:
        """What is listed."""
        what = "training step" if self.training else "prediction"
        return f"{what} of {self.batch} rows, {self.dtype}, threads: {self.threads}"

    @property
    def notes(self) -> list[str]:
        """What runs in Python for a reason that is known."""
        found = {operation.python: operation.reason for operation in self if operation.reason}
        return [f"{python} runs in Python: {reason}" for python, reason in found.items()]

    def to_dict(self) -> dict[str, Any]:
        """Return the same in dicts and lists, as JSON has them."""
        rows = [{**operation._asdict(), "shape": list(operation.shape)} for operation in self]
        return {
            "batch": self.batch,
            "training": self.training,
            "dtype": self.dtype,
            "threads": self.threads,
            "multiply_adds": self.multiply_adds,
            "operations": [{**row, "fused": list(row["fused"])} for row in rows],
        }

    def __str__(self) -> str:
        total = ("", "total", *[""] * 7, f"{self.multiply_adds:,}")
        lines = table([HEAD, *(operation.cells for operation in self), total], RIGHT)
        return "\n".join([self.title, *lines, *self.notes])

    __repr__ = __str__


def plan(compiled: Compiled, batch: int = 32, *, training: bool | None = None) -> Listing:
    """List the operations that a step over `batch` rows runs; nothing is run, and no memory of a batch taken.

    Parameters
    ----------
    compiled : Compiled
    batch : int
        Rows of a step, at least 1.
    training : bool, optional
        A training step (the network must be compiled with a loss), or a prediction. None takes the step if it can.

    Returns
    -------
    Listing
        A list of `Operation`; ``print`` shows a table, ``to_dict()`` is for JSON. Metrics in NumPy are no part of it.

    Raises
    ------
    NotBuiltError
        If the network has no parameters yet.
    RuntimeError
        If a training step is asked for, and the network is not compiled.
    """
    rows = check_count("batch", batch)
    if rows > MOST_ROWS:
        raise ValueError(f"batch: expected at most {MOST_ROWS} rows, got {rows}")
    training = check_training(compiled, training)
    with compiled.guard.reading("plan"):
        return listing(compiled, lowered(compiled, min(rows, ENOUGH_ROWS), training), rows, training)


def check_training(compiled: Compiled, training: object) -> bool:
    """Return whether to look at a training step."""
    if training is None:
        return compiled.optimizer is not None and compiled.loss is not None
    if not isinstance(training, (bool, np.bool_)):
        raise TypeError(f"training: expected True, False or None, got {training!r}")
    return bool(training)


def lowered(compiled: Compiled, capacity: int, training: bool) -> Plan:
    """Return the plan of a step or of a prediction."""
    if not training:
        return compiled.executables.lowering(capacity, training=False).predict()
    loss, optimizer = compiled.objective()
    return compiled.executables.lowering(capacity, training=True).train(loss, compiled.accuracy_kind(), optimizer)


def listing(compiled: Compiled, plan: Plan, batch: int, training: bool) -> Listing:
    """Return the operations of a plan, for so many rows, which may be more than it has memory for."""
    threads = get_num_threads()
    grouped, threads_of = _schedule(compiled, plan, batch, threads)
    operations = []
    for section, (first, last) in plan.sections.items():
        for at in range(first, last):
            operations.append(_operation(compiled, plan, at, section, batch, bool(grouped[at]), int(threads_of[at])))
    return Listing(operations, batch, training, compiled.dtype.name, threads)


def _schedule(compiled: Compiled, plan: Plan, batch: int, threads: int) -> tuple[Any, Any]:
    """Return which operations run in a fused group and how many threads each has, as the kernels decide it."""
    number = len(plan.ops)
    grouped, threads_of = np.zeros(number, np.intp), np.ones(number, np.intp)
    run = kernel_plan.Run(plan.ops, plan.table, compiled.memory.counters, plan.capacity, compiled.dtype == np.float64)
    # A compiled plan runs as a whole; where there is Python in it, each section by itself, up to the next call.
    for first, last in plan.sections.values() if plan.calls else [(0, number)]:
        calls = [at for at in range(first, last) if at in plan.calls]
        for begin, end in zip([first, *(at + 1 for at in calls)], [*calls, last], strict=True):
            if begin < end:
                run.schedule(begin, end, batch, threads, grouped, threads_of)
    return grouped, threads_of


def _operation(
    compiled: Compiled, plan: Plan, at: int, section: str, batch: int, grouped: bool, threads: int
) -> Operation:
    name, note = plan.names[at], plan.notes[at]
    layer = plan.layers[at]
    key = None if layer == NONE else compiled.network.layers[layer].key
    shape = note.shape_of(batch)
    if at in plan.calls:
        return Operation(at, section, name, key, shape, None, 1, (), False, note.python, note.reason, 0)
    work = math.prod(shape) if note.product else 0
    schedule = "fused group" if grouped else "split"
    return Operation(at, section, name, key, shape, schedule, threads, note.fused, True, None, None, work)
