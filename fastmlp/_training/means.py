"""``RunningMeans``: the loss and the metrics of an epoch, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import metrics
from .step import update_metric

if TYPE_CHECKING:
    from .._compiler.compiled import Compiled
    from .._compiler.executable import Executable

__all__ = ["RunningMeans"]


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
        Metrics that must see each batch.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
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

    def logs(self, prefix: str = "") -> dict[str, float]:
        """Return the means by name; NaN where no row has counted."""
        loss, hits, weight = self.sums.tolist()
        mean, share = (loss / weight, hits / weight) if weight else (float("nan"), float("nan"))
        logs = {f"{prefix}loss": mean}
        for name, metric in self._named:
            logs[prefix + name] = share if metric is None else float(metric.result())
        return logs
