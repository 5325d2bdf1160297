"""``predict`` and ``evaluate``, and the sums that an epoch of ``fit`` keeps too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from . import steps
from .checks import check_count, check_out
from .data import Rows, cast, in_place
from .doors import with_predict_door
from .objective import copy_of, is_compiled, named_metrics
from .threads import team
from .workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .model import Sequential

__all__ = ["Totals", "evaluate", "needs_python", "predict", "run_evaluation", "staged"]


PREDICT_ROWS = 1024  # rows of a prediction that are in flight at a time


def predict(net: Sequential, x: Any, batch_size: int | None, out: NDArray[Any] | None) -> NDArray[Any]:
    """The body of ``Sequential.predict``."""
    chunk = PREDICT_ROWS if batch_size is None else check_count("batch_size", batch_size)
    dtype = net.dtype
    with steps.unbuilt_if_refused(net):
        rows = net._as_rows(x, empty=True)
        units = net._built[-1].units
        if out is not None:
            check_out(out, (len(rows), units), dtype)
    if out is None:
        out = np.empty((len(rows), units), dtype)
    elif np.may_share_memory(out, rows):
        rows = rows.copy()  # outputs would be written over rows that are still to be read
    if not len(rows):
        return out
    with net._usage.reading("predict"):
        workspace = _predicting(net, min(chunk, len(rows)))
        try:
            for at in range(0, len(rows), chunk):
                part = rows[at : at + chunk]
                workspace.bind_out(out[at : at + chunk])
                workspace.bind(Rows(part if in_place(part, dtype) else cast(part, dtype)))
                workspace.begin(0, len(part))
                workspace.execute(len(part), "forward")
        finally:
            workspace.unbind()
            net._predicting.append(workspace)
    return out


def _predicting(net: Sequential, rows: int) -> Workspace:
    """A workspace that nobody uses, for batches of up to `rows`."""
    try:
        workspace = net._predicting.pop()
    except IndexError:
        pass
    else:
        if workspace.plan.capacity >= rows:
            return workspace
    plan = net._lowering(rows, training=False).predict()
    return with_predict_door(net, Workspace(plan, net._memory(), net.seed))


class Totals:
    """Weighted sums over the batches of an epoch."""

    def __init__(self, net: Sequential) -> None:
        # copies: an evaluation within a callback must not reset what an epoch has counted; None: the kernels count
        self.metrics = [(name, None if is_compiled(metric) else copy_of(metric)) for name, metric in named_metrics(net)]
        self.foreign = [metric for _, metric in self.metrics if metric is not None]
        self.sums = np.zeros(3)  # loss, compiled metric, weight
        self.rows = 0
        for metric in self.foreign:
            metric.reset()

    def add(self, workspace: Workspace, batch: int) -> None:
        """Add a step that Python has seen."""
        run = workspace.run
        self.sums += (run.loss, run.metric, run.weight)
        self.rows += batch
        for metric in self.foreign:
            steps.update_metric(metric, workspace, batch)

    def logs(self, prefix: str = "") -> dict[str, float]:
        """Means, by name."""
        loss, hits, weight = self.sums.tolist()
        mean, share = (loss / weight, hits / weight) if weight else (float("nan"), float("nan"))
        logs = {f"{prefix}loss": mean}
        for name, metric in self.metrics:
            logs[prefix + name] = share if metric is None else float(metric.result())
        return logs


def needs_python(totals: Totals, workspace: Workspace, data: Rows) -> bool:
    """Whether steps must come back to Python: metrics in NumPy, foreign code in a step, inputs to be cast."""
    return bool(totals.foreign) or not workspace.compiled or not data.in_place(workspace.arenas.dtype)


def staged(net: Sequential, workspace: Workspace, data: Rows, index: NDArray[np.int64]) -> None:
    """Binds some rows; only those that can't be read in place are copied."""
    if data.in_place(net.dtype):
        workspace.bind(data, index)
    else:
        workspace.bind(data.take(index, net.dtype))


def evaluate(net: Sequential, x: Any, y: Any, *, batch_size: int, sample_weight: Any = None) -> dict[str, float]:
    """Loss and metrics over the data."""
    batch_size = check_count("batch_size", batch_size)
    return run_evaluation(net, steps.prepare(net, x, y, sample_weight), batch_size).logs()


def run_evaluation(net: Sequential, data: Rows, batch_size: int) -> Totals:
    """`evaluate` over checked data."""
    n = len(data.x)
    batch_size = min(batch_size, n)
    with net._usage.changing("evaluate"):
        workspace = steps.evaluation_workspace(net, batch_size)
        totals = Totals(net)
        order = np.arange(n, dtype=np.int64)
        try:
            if not needs_python(totals, workspace, data):
                workspace.bind(data, order)
                first, last = workspace.plan.sections["forward"]
                at = 0
                while at < n:  # back every tenth of a second, for Ctrl-C
                    at, _ = workspace.run.epoch(
                        first, last, at, n, batch_size, net.seed, None, team(), totals.sums, 0.1, True
                    )
                return totals
            for at in range(0, n, batch_size):
                index = order[at : at + batch_size]
                staged(net, workspace, data, index)
                workspace.begin(0, len(index))
                if workspace.run.weight > 0:
                    workspace.execute(len(index), "forward")
                    totals.add(workspace, len(index))
            return totals
        finally:
            workspace.unbind()
