"""``softmax``: ``a_j = e^x_j / sum_k e^x_k`` over each row, ``dx = a (d - sum d a)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Softmax"]


class Softmax(Operation):
    """Softmax by rows; before its cross-entropy it goes into the loss instead."""

    def forward(self, to: Lowering) -> None:
        x, a = self.x.at, to.lay_out(self.output)
        rows = {"units": x.units, "x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld, "row_cost": 16 * x.units}
        to.emit("softmax", Note((BATCH, x.units)), **rows)

    def backward(self, to: Lowering) -> None:
        d, a = to.gradient(self.output), self.output.at
        dx = to.in_place(d)
        rows = {"units": d.units, "d": d.ref, "ldd": d.ld, "dx": dx.ref, "ld_dx": dx.ld, "row_cost": 4 * d.units}
        to.emit("softmax_backward", Note((BATCH, d.units)), a=a.ref, lda=a.ld, **rows)
        to.give(self.x, dx)


@builder("softmax")
def add_softmax(graph: Graph, x: Value) -> Value:
    """Add softmax."""
    return graph.add(Softmax(graph.index, x.units, x))
