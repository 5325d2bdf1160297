"""``dropout``: ``a = mask x / (1 - rate)`` in training, nothing otherwise; the way back takes the same mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Dropout"]


class Dropout(Operation):
    """Zeros at random, by a counter generator that is keyed by seed, step, layer and element."""

    def __init__(self, index: int, x: Value, *, rate: float) -> None:
        super().__init__(index, x.units, x)
        self.rate = rate
        self.mask = 0

    def forward(self, to: Lowering) -> None:
        x, a = self.x.at, to.lay_out(self.output)
        self.mask = to.allocate(-(-to.capacity * x.units // to.dtype.itemsize))
        rows = {"units": x.units, "x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld, "row_cost": 16 * x.units}
        to.emit("dropout", Note((BATCH, x.units)), mask=self.mask, rate=self.rate, **rows)

    def backward(self, to: Lowering) -> None:
        d = to.gradient(self.output)
        dx = to.in_place(d)
        rows = {"units": d.units, "d": d.ref, "ldd": d.ld, "dx": dx.ref, "ld_dx": dx.ld, "row_cost": 2 * d.units}
        to.emit("dropout_backward", Note((BATCH, d.units)), mask=self.mask, rate=self.rate, **rows)
        to.give(self.x, dx)


@builder("dropout")
def add_dropout(graph: Graph, x: Value, *, rate: float) -> Value:
    """Add dropout; outside training there is nothing to add."""
    return graph.add(Dropout(graph.index, x, rate=rate)) if graph.training and rate > 0 else x
