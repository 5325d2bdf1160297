"""``batchnorm``: ``z = gamma (x - mean) / sqrt(var + epsilon) + beta`` by columns (row 21), ``a = g(z)``.

By statistics of the batch in training, which the step commits to the running ones; else by those, folded into a product
before it where there is one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..ir import builder
from ..plan import BATCH, Note, Tensor
from .activation import Activated

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["BatchNorm"]


class BatchNorm(Activated):
    """Normalization of columns.

    Parameters
    ----------
    index, units, x : as `Operation`
    keys : dict
        Keys of ``gamma``, ``beta``, ``running_mean``, ``running_var``.
    momentum, epsilon : float
    by_batch : bool
        Whether mean and variance are those of the batch.
    trainable : bool
        Whether the way back makes gradients of gamma and beta.
    """

    takes_activation = True

    def __init__(
        self,
        index: int,
        units: int,
        x: Value,
        *,
        keys: dict[str, str],
        momentum: float,
        epsilon: float,
        by_batch: bool,
        trainable: bool,
    ) -> None:
        super().__init__(index, units, x)
        self.keys, self.momentum, self.epsilon = keys, momentum, epsilon
        self.by_batch, self.learns = by_batch, trainable
        self.statistics: dict[str, int] = {}

    def _arrays(self, to: Lowering, *names: str) -> dict[str, int]:
        return {name: to.array(self.keys[name]) for name in names}

    def forward(self, to: Lowering) -> None:
        x, units = self.x.at, self.output.units
        fused = self.forward_fields(to)
        self.statistics = self._of_batch(to, x) if self.by_batch else self._running(to)
        rows = {"units": units, "x": x.ref, "ldx": x.ld, "z": self.z.ref, "ldz": self.z.ld, "row_cost": 4 * units}
        note = Note((BATCH, units), (self.spec.name,) if self.spec else ())
        to.emit("batchnorm", note, **rows, **self._read(to), **fused)

    def _of_batch(self, to: Lowering, x: Tensor) -> dict[str, int]:
        """Add the statistics of the batch."""
        units = x.units
        statistics = self._lay_out_statistics(to) | {"inv": to.allocate(units)}
        rows = {"units": units, "x": x.ref, "ldx": x.ld, "row_cost": 4 * units}
        to.emit("batchnorm_statistics", Note((BATCH, units)), epsilon=self.epsilon, **rows, **statistics)
        return statistics

    def _lay_out_statistics(self, to: Lowering) -> dict[str, int]:
        """Take memory for mean and variance of the batch, and say where it is."""
        units = self.output.units
        statistics = {name: to.allocate(units) for name in ("mean", "var")}
        for name, ref in statistics.items():
            to.statistics[self.keys[f"running_{name}"]] = Tensor(ref, units, units)
        return statistics

    def expect_statistics(self, to: Lowering) -> None:
        if self.by_batch:
            self.statistics = self._lay_out_statistics(to)

    def _running(self, to: Lowering) -> dict[str, int]:
        """Add what is taken of the running statistics, ahead of all rows."""
        units = self.output.units
        statistics = {name: to.allocate(units) for name in ("mean", "inv")}
        arrays = self._arrays(to, "running_mean", "running_var")
        fields = {"layer": self.index, "units": units, "epsilon": self.epsilon}
        to.emit_ahead("batchnorm_running", Note((units,)), **fields, **arrays, **statistics)
        return statistics

    def folded_fields(self, to: Lowering, bias: int) -> dict[str, int]:
        """Add scale and shift of the product before it, which then does it all."""
        units = self.output.units
        affine = {"scale": to.allocate(units), "shift": to.allocate(units)}
        statistics = self._running(to)
        arrays = self._arrays(to, "gamma", "beta")
        fields = {"layer": self.index, "units": units, "bias": bias}
        to.emit_ahead("batchnorm_fold", Note((units,)), **fields, **affine, **arrays, **statistics)
        return affine

    def _read(self, to: Lowering) -> dict[str, int]:
        """Return what rows are normalized by."""
        statistics = {name: self.statistics[name] for name in ("mean", "inv")}
        return {**statistics, **self._arrays(to, "gamma", "beta")}

    def backward(self, to: Lowering) -> None:
        d, x, units = self.gradient_of_z(to), self.x.at, self.output.units
        dx = to.in_place(d) if to.needs(self.x) else d
        rows = {"units": units, "x": x.ref, "ldx": x.ld, "d": d.ref, "ldd": d.ld, "row_cost": 4 * units}
        note = Note((BATCH, units))
        read = self._read(to)
        to.emit("batchnorm_backward_sums", note, **read, **rows)
        if to.needs(self.x):
            rows |= {"batch_statistics": self.by_batch, "dx": dx.ref, "ld_dx": dx.ld}
            to.emit("batchnorm_backward", note, **read, **rows)
            to.give(self.x, dx)

    def update(self, to: Lowering) -> None:
        """Add what moves the running statistics, once the step is sure to be kept."""
        if self.by_batch:
            units = self.output.units
            fields: dict[str, Any] = {"layer": self.index, "units": units, "momentum": self.momentum}
            arrays = self._arrays(to, "running_mean", "running_var")
            statistics = {"mean": self.statistics["mean"], "var": self.statistics["var"]}
            to.emit("batchnorm_update", Note((units,)), **fields, **arrays, **statistics)

    def traces(self) -> list[tuple[int, Tensor, bool]]:
        """Return the variance too: an infinite one makes outputs of 0."""
        traces = super().traces()
        if self.by_batch:
            traces.insert(0, (self.index, Tensor(self.statistics["var"], self.x.units, self.x.units), True))
        return traces


@builder("batchnorm")
def add_batchnorm(graph: Graph, x: Value, *, keys: dict[str, str], momentum: float, epsilon: float) -> Value:
    """Add batch normalization; it takes statistics of the batch where it is trained."""
    settings: dict[str, Any] = {"momentum": momentum, "epsilon": epsilon, "trainable": graph.trainable}
    by_batch = graph.training and graph.trainable
    return graph.add(BatchNorm(graph.index, x.units, x, keys=keys, by_batch=by_batch, **settings))
