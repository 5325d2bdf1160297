"""``standardize``: ``a = (x - mean) / max(sqrt(variance), epsilon)`` by columns, whose statistics are constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Standardize"]


class Standardize(Operation):
    """Columns shifted and scaled; the factors are made once for all rows.

    Parameters
    ----------
    index, x : as `Operation`
    mean, variance : str
        Keys of buffers ``(units,)``.
    epsilon : float
    """

    adds_signed_zeros = True

    def __init__(self, index: int, x: Value, *, mean: str, variance: str, epsilon: float) -> None:
        super().__init__(index, x.units, x)
        self.mean, self.variance, self.epsilon = mean, variance, epsilon
        self.inv = 0

    def forward(self, to: Lowering) -> None:
        x, a, units = self.x.at, to.lay_out(self.output), self.output.units
        self.inv = to.allocate(units)
        factors = {"layer": self.index, "units": units, "epsilon": self.epsilon, "var": to.array(self.variance)}
        to.emit_ahead("column_factors", Note((units,)), inv=self.inv, **factors)
        rows = {"units": units, "x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld, "row_cost": 2 * units}
        to.emit("standardize", Note((BATCH, units)), mean=to.array(self.mean), inv=self.inv, **rows)

    def backward(self, to: Lowering) -> None:
        d = to.gradient(self.output)
        dx = to.in_place(d)
        rows = {"units": d.units, "x": d.ref, "ldx": d.ld, "a": dx.ref, "lda": dx.ld, "row_cost": 2 * d.units}
        to.emit("standardize", Note((BATCH, d.units)), inv=self.inv, **rows)
        to.give(self.x, dx)


@builder("standardize")
def add_standardize(graph: Graph, x: Value, *, mean: str, variance: str, epsilon: float) -> Value:
    """Add normalization of columns by statistics that are kept."""
    return graph.add(Standardize(graph.index, x, mean=mean, variance=variance, epsilon=epsilon))
