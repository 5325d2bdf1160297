"""``RunningMeans``: the loss and the metrics of an epoch, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from .step import metric_value, update_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._compiler.compiled import Compiled
    from .._compiler.executable import Executable
    from .source import Block

__all__ = ["RunningMeans"]

KEPT_BYTES = 512 << 10  # of outputs that wait for metrics in NumPy; at least those of a batch


def clone(metric: metrics.Metric) -> metrics.Metric:
    """Return a metric of the same configuration, with sums of its own."""
    return type(metric).from_config(metric.get_config())


class RunningMeans:
    """Weighted sums over the batches of an epoch, and the metrics that NumPy computes.

    Parameters
    ----------
    compiled : Compiled

    Attributes
    ----------
    sums : ndarray
        Of loss, compiled metric and weight, to which the kernels add.
    in_numpy : list of Metric
        Metrics that are computed in NumPy.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._kept: NDArray[Any] | None = None
        self._begin()

    def _begin(self) -> None:
        self._of = self._compiled.metrics
        # copies: an evaluation within a callback must not reset what an epoch has counted; None: the kernels count
        self._named = [(name, metric and clone(metric)) for name, metric in self._compiled.named_metrics()]
        self.in_numpy = [metric for _, metric in self._named if metric is not None]
        self.sums = np.zeros(3)
        for metric in self.in_numpy:
            metric.reset()

    def follow(self) -> None:
        """Begin anew if the network was compiled anew: then the metrics are others."""
        if self._of is not self._compiled.metrics:
            self._begin()

    def add(self, executable: Executable, batch: int) -> None:
        """Add the batch that an executable has just run."""
        run = executable.run
        self.sums += (run.loss, run.metric, run.weight)
        for metric in self.in_numpy:
            update_metric(metric, executable, batch)

    def room_for_outputs(self, batch_size: int) -> NDArray[Any]:
        """Return an array for the outputs of some batches, the same one for the whole epoch."""
        dtype, units = self._compiled.dtype, self._compiled.units
        batches = max(KEPT_BYTES // (batch_size * units * dtype.itemsize), 1)
        if self._kept is None or self._kept.shape != (batches * batch_size, units):
            self._kept = np.empty((batches * batch_size, units), dtype)
        return self._kept

    def add_kept(self, outputs: NDArray[Any], block: Block, first: int) -> None:
        """Show the metrics in NumPy the outputs of a block's rows from number `first` on, batch by batch.

        What they add up depends on the batches alone: neither on time, nor on who is called between them.
        """
        rows = block.order[first : first + len(outputs)]
        y, weight = block.data.y, block.data.weight
        assert y is not None
        target = y[rows]
        weights = None if weight is None else weight[rows]
        outputs = outputs.view()
        for array in (target, outputs):
            array.flags.writeable = False  # what one metric does, the next must not see
        for at in range(0, len(rows), block.batch_size):
            part = slice(at, at + block.batch_size)
            shares = None if weights is None else weights[part]
            if shares is None or shares.any():  # else it was no step, and has no outputs
                for metric in self.in_numpy:
                    metric.update(target[part], outputs[part], None if shares is None else shares.copy())

    def get_state(self) -> dict[str, Any]:
        """Return the sums, and what the metrics in NumPy have seen."""
        return {"sums": self.sums.copy(), "metrics": [metric.get_state() for metric in self.in_numpy]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        self.sums[...] = state["sums"]
        for metric, own in zip(self.in_numpy, state["metrics"], strict=True):
            metric.set_state(own)

    @property
    def counts(self) -> bool:
        """Whether some row has counted, so that there is a mean."""
        return bool(self.sums[2] > 0)

    def logs(self) -> dict[str, float]:
        """Return the means by name; NaN where no row has counted."""
        loss, hits, weight = self.sums.tolist()
        mean, share = (loss / weight, hits / weight) if weight else (float("nan"), float("nan"))
        logs = {"loss": mean}
        for name, metric in self._named:
            logs[name] = share if metric is None else metric_value(metric)
        return logs
