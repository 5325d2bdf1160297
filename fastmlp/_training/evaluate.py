"""``evaluate``: loss and metrics over data, and the running means that an epoch of ``fit`` keeps too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from ..checks import check_count
from ..threads import team
from .data import Dataset, prepare
from .step import update_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RunningMeans", "evaluate", "needs_python", "run_evaluation", "staged"]


def clone(metric: metrics.Metric) -> metrics.Metric:
    """Return a metric of the same configuration, with sums of its own."""
    return type(metric).from_config(metric.get_config())


class RunningMeans:
    """Weighted sums over the batches of an epoch."""

    def __init__(self, compiled: Compiled) -> None:
        # copies: an evaluation within a callback must not reset what an epoch has counted; None: the kernels count
        self.metrics = [(name, metric and clone(metric)) for name, metric in compiled.named_metrics()]
        self.foreign = [metric for _, metric in self.metrics if metric is not None]
        self.sums = np.zeros(3)  # loss, compiled metric, weight
        self.rows = 0
        for metric in self.foreign:
            metric.reset()

    def add(self, executable: Executable, batch: int) -> None:
        """Add a step that Python has seen."""
        run = executable.run
        self.sums += (run.loss, run.metric, run.weight)
        self.rows += batch
        for metric in self.foreign:
            update_metric(metric, executable, batch)

    def logs(self, prefix: str = "") -> dict[str, float]:
        """Means, by name."""
        loss, hits, weight = self.sums.tolist()
        mean, share = (loss / weight, hits / weight) if weight else (float("nan"), float("nan"))
        logs = {f"{prefix}loss": mean}
        for name, metric in self.metrics:
            logs[prefix + name] = share if metric is None else float(metric.result())
        return logs


def needs_python(totals: RunningMeans, executable: Executable, data: Dataset) -> bool:
    """Whether steps must come back to Python: metrics in NumPy, foreign code in a step, inputs to be cast."""
    return bool(totals.foreign) or not executable.compiled or not data.in_place(executable.arenas.dtype)


def staged(compiled: Compiled, executable: Executable, data: Dataset, index: NDArray[np.int64]) -> None:
    """Binds some rows; only those that can't be read in place are copied."""
    if data.in_place(compiled.dtype):
        executable.bind(*data, index)
    else:
        executable.bind(*data.take(index, compiled.dtype))


def evaluate(compiled: Compiled, x: Any, y: Any, *, batch_size: int, sample_weight: Any = None) -> dict[str, float]:
    """Loss and metrics over the data."""
    batch_size = check_count("batch_size", batch_size)
    return run_evaluation(compiled, prepare(compiled, x, y, sample_weight), batch_size).logs()


def run_evaluation(compiled: Compiled, data: Dataset, batch_size: int) -> RunningMeans:
    """`evaluate` over checked data."""
    n = len(data.x)
    batch_size = min(batch_size, n)
    with compiled.guard.changing("evaluate"):
        executable = compiled.evaluating(batch_size)
        totals = RunningMeans(compiled)
        order = np.arange(n, dtype=np.int64)
        try:
            if not needs_python(totals, executable, data):
                executable.bind(*data, order)
                first, last = executable.plan.sections["forward"]
                rates = np.zeros(-(-n // batch_size))
                at = 0
                while at < n:  # back every tenth of a second, for Ctrl-C
                    part = rates[at // batch_size :]
                    at, _ = executable.run.epoch(
                        first, last, at, n, batch_size, compiled.seed, part, team(), totals.sums, 0.1, True
                    )
                return totals
            for at in range(0, n, batch_size):
                index = order[at : at + batch_size]
                staged(compiled, executable, data, index)
                executable.begin(0, len(index))
                if executable.run.weight > 0:
                    executable.execute(len(index), "forward")
                    totals.add(executable, len(index))
            return totals
        finally:
            executable.unbind()
