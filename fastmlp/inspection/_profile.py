"""What the operations of a plan take, one by one, on memory that is thrown away."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from .._kernels import peak
from .._training import step as steps
from .._training.data import Dataset, prepare, readable_rows, rows_of
from ..checks import check_count
from ..threads import team
from ._listing import HEAD, RIGHT, Listing, Operation, check_training, listing, lowered, table

if TYPE_CHECKING:
    from numpy.typing import NDArray


__all__ = ["Profile", "Timing", "profile"]

PEAK_WORK, PEAK_TRIES = 400_000, 8
_peaks: dict[int, float] = {}


class Timing(NamedTuple):
    """What one operation takes.

    Attributes
    ----------
    operation : Operation
    microseconds : float
        Median.
    gflops : float or None
        Floating-point operations of its multiply-adds, in 10^9 a second; None for what is no product.
    share : float or None
        That by the peak of the machine.
    """

    operation: Operation
    microseconds: float
    gflops: float | None
    share: float | None

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table."""
        return (*self.operation.cells, *_cells(self.microseconds, self.gflops, self.share))


def _cells(microseconds: float, gflops: float | None, share: float | None) -> tuple[str, str, str]:
    rate = "" if gflops is None else f"{gflops:.1f}"
    return f"{microseconds:,.1f}", rate, "" if share is None else f"{share:.0%}"


class Profile(list[Timing]):
    """What the operations of a plan take, in their order; prints as a table.

    Attributes
    ----------
    plan : Listing
        The operations.
    step_microseconds : float
        The whole step as it runs otherwise, in one go; median.
    peak_gflops : float
        Of the machine, in the network's dtype, on as many threads as the plan has.
    repeats : int
    """

    def __init__(self, plan: Listing, seconds: list[float], step_seconds: float, peak: float, repeats: int) -> None:
        self.plan = plan
        self.step_microseconds, self.peak_gflops, self.repeats = 1e6 * step_seconds, peak, repeats
        rows = zip(plan, seconds, strict=True)
        super().__init__(Timing(row, 1e6 * s, *self._rates(row.multiply_adds, 1e6 * s)) for row, s in rows)

    def _rates(self, multiply_adds: int, microseconds: float) -> tuple[float | None, float | None]:
        if not multiply_adds or microseconds <= 0:
            return None, None
        gflops = 2e-3 * multiply_adds / microseconds
        return gflops, gflops / self.peak_gflops

    @property
    def microseconds(self) -> float:
        """Sum over the operations."""
        return sum(timing.microseconds for timing in self)

    def to_dict(self) -> dict[str, Any]:
        """Return the same in dicts and lists, as JSON has them."""
        found = self.plan.to_dict()
        for row, timing in zip(found["operations"], self, strict=True):
            row.update(microseconds=timing.microseconds, gflops=timing.gflops, share=timing.share)
        found |= {"microseconds": self.microseconds, "step_microseconds": self.step_microseconds}
        return {**found, "peak_gflops": self.peak_gflops, "repeats": self.repeats}

    def __str__(self) -> str:
        work = self.plan.multiply_adds
        rows = [(*HEAD, "us", "GFLOP/s", "of peak"), *(timing.cells for timing in self)]
        for label, spent in (("one by one", self.microseconds), ("in one go", self.step_microseconds)):
            rows.append(("", "total", label, *[""] * 6, f"{work:,}", *_cells(spent, *self._rates(work, spent))))
        title = f"{self.plan.title}, medians of {self.repeats}; peak {self.peak_gflops:.0f} GFLOP/s"
        return "\n".join([title, *table(rows, (*RIGHT, 10, 11, 12)), *self.plan.notes])

    __repr__ = __str__


def profile(compiled: Compiled, x: Any, y: Any = None, *, repeats: int = 9) -> Profile:
    """Run the operations of a step one by one over some data, and tell what each of them takes.

    Parameters
    ----------
    compiled : Compiled
        Nothing of it changes: the update, too, is done on copies.
    x : array_like ``(n, features)``
        All rows are one batch: give as many as a batch has.
    y : array_like, optional
        Targets: a training step is profiled. Without, a prediction.
    repeats : int
        Of which the medians are taken, after one step that isn't timed.

    Returns
    -------
    Profile
        A list of `Timing`, one for each operation of ``plan(compiled, n)``; ``print`` shows a table, ``to_dict()`` is
        for JSON.

    Raises
    ------
    NotBuiltError
        If the network has no parameters yet.
    RuntimeError
        If `y` is given, and the network is not compiled with a loss.
    TypeError, ValueError
        For data that `train_on_batch` or `predict` would refuse; NonFiniteError as there.

    Notes
    -----
    Otherwise operations run together: those of a fused group share 128 rows at a time while these are in cache, and a
    team is started once. By itself each goes over all rows, is split as it suits it alone, and starts a team of its own
    if it is large enough for one. Their sum is therefore another number than `step_microseconds`: it tells where time
    goes, not how much of it. Memory is taken for a batch of all rows and for a copy of parameters and optimizer state.
    """
    repeats = check_count("repeats", repeats)
    training = y is not None
    check_training(compiled, training)
    arenas = compiled.memory
    data = _data(compiled, x, y)
    batch = len(data.x)
    with compiled.guard.changing("profile"):
        plan = lowered(compiled, batch, training)
        optimizer = compiled.optimizer if training else None
        executable = Executable(plan, arenas.clone(), compiled.seed, settings=None, optimizer=optimizer)
        bench = _Bench(compiled, executable, batch, training)
        executable.bind(*data)
        if not training:
            executable.bind_out(np.empty((batch, compiled.units), compiled.dtype))
        with compiled.guard.stepping("profile", arrays=_written(compiled, executable), always=True):
            bench.first()
            times, whole = bench.repeat(repeats)
        rows = listing(compiled, plan, batch, training)
    peak = _peak(team()) * (0.5 if compiled.dtype == np.float64 else 1.0)
    return Profile(rows, np.median(times, axis=0).tolist(), float(np.median(whole)), peak, repeats)


def _data(compiled: Compiled, x: Any, y: Any) -> Dataset:
    """Return the data, checked as the calls that are profiled check it."""
    if y is not None:
        return prepare(compiled, x, y).readable(compiled.dtype)
    return Dataset(readable_rows(rows_of(compiled, x), compiled.dtype))


def _written(compiled: Compiled, executable: Executable) -> list[NDArray[Any]]:
    """Return what layers in Python may write to: they see the network's own arrays."""
    memory = compiled.memory
    return [] if executable.compiled else [memory.flat_parameters, memory.flat_buffers]


class _Bench:
    """Runs a plan on copies, whole or one operation after the other."""

    def __init__(self, compiled: Compiled, executable: Executable, batch: int, training: bool) -> None:
        self.compiled, self.executable, self.batch, self.training = compiled, executable, batch, training
        self.sections = executable.plan.sections
        self.number = len(executable.plan.ops)

    def begin(self) -> None:
        """Open a step at the network's numbers."""
        self.executable.arenas.take(self.compiled.memory)
        optimizer = self.executable.optimizer
        hyper = None if optimizer is None else self.compiled.hyperparameters(1)[0]
        self.executable.begin(0, self.batch, hyper)

    def first(self) -> None:
        """Run a step that is checked as any other."""
        self.begin()
        before = [name for name in self.sections if name != "commit"]
        if not self.executable.execute(self.batch, *before) and self.training:
            raise steps.non_finite(self.compiled, self.executable, self.batch)
        if self.training:
            steps.commit(self.compiled, self.executable)

    def repeat(self, repeats: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the seconds of each operation, and of the whole in one go, by repetition."""
        times, whole = np.zeros((repeats, self.number)), np.zeros(repeats)
        for number in range(repeats):
            self.begin()
            whole[number] = self._whole()
            self.begin()
            for section, (first, last) in self.sections.items():
                rows = 0 if section == "commit" else self.batch
                for at in range(first, last):
                    times[number, at] = self._one(at, rows)
        return times, whole

    def _one(self, at: int, rows: int) -> float:
        executable = self.executable
        if at not in executable.plan.calls:
            return float(executable.run.timed(at, at + 1, team()))
        call = executable.plan.calls[at]
        begun = time.perf_counter()
        call(executable, rows)
        return time.perf_counter() - begun

    def _whole(self) -> float:
        executable = self.executable
        if executable.compiled:
            return float(executable.run.timed(0, self.number, team()))
        begun = time.perf_counter()
        executable.execute(self.batch, *(name for name in self.sections if name != "commit"))
        if "commit" in self.sections:
            executable.commit()
        return time.perf_counter() - begun


def _peak(threads: int) -> float:
    """Return GFLOP/s of multiply-adds in float32 registers: the best of some tries, measured once in a process."""
    if threads not in _peaks:
        work = peak().fma_work
        best = 0.0
        for _ in range(PEAK_TRIES):
            begun = time.perf_counter()
            operations = work(PEAK_WORK, threads)
            best = max(best, operations / (time.perf_counter() - begun) / 1e9)
        _peaks[threads] = best
    return _peaks[threads]
