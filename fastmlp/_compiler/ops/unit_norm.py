"""``unit_norm``: ``a = x / max(||x||, epsilon)`` by rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["UnitNorm"]


class UnitNorm(Operation):
    """Rows divided by their L2 norm."""

    adds_signed_zeros = True

    def __init__(self, index: int, x: Value, *, epsilon: float) -> None:
        super().__init__(index, x.units, x)
        self.epsilon = epsilon
        self.inv = 0

    def forward(self, to: Lowering) -> None:
        x, a = self.x.at, to.lay_out(self.output)
        self.inv = to.allocate(to.capacity)
        rows = {"units": x.units, "x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld, "row_cost": 6 * x.units}
        to.emit("unit_norm", Note((BATCH, x.units)), epsilon=self.epsilon, inv=self.inv, **rows)

    def backward(self, to: Lowering) -> None:
        d, a = to.gradient(self.output), self.output.at
        dx = to.in_place(d)
        rows = {"units": d.units, "a": a.ref, "lda": a.ld, "d": d.ref, "ldd": d.ld, "dx": dx.ref, "ld_dx": dx.ld}
        note = Note((BATCH, d.units))
        to.emit("unit_norm_backward", note, epsilon=self.epsilon, inv=self.inv, row_cost=6 * d.units, **rows)
        to.give(self.x, dx)


@builder("unit_norm")
def add_unit_norm(graph: Graph, x: Value, *, epsilon: float) -> Value:
    """Add rows of length 1."""
    return graph.add(UnitNorm(graph.index, x, epsilon=epsilon))
