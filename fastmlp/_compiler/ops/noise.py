"""``noise``: ``a = x + stddev n`` in training, nothing otherwise; its gradient is that of x."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Noise"]


class Noise(Operation):
    """Standard normal numbers by a counter generator that is keyed by seed, step, layer and element."""

    adds_signed_zeros = True

    def __init__(self, index: int, x: Value, *, stddev: float) -> None:
        super().__init__(index, x.units, x)
        self.stddev = stddev

    def forward(self, to: Lowering) -> None:
        x, a = self.x.at, to.lay_out(self.output)
        rows = {"units": x.units, "x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld, "row_cost": 40 * x.units}
        to.emit("noise", Note((BATCH, x.units)), stddev=self.stddev, **rows)

    def backward(self, to: Lowering) -> None:
        to.give(self.x, to.gradient(self.output))


@builder("noise")
def add_noise(graph: Graph, x: Value, *, stddev: float) -> Value:
    """Add Gaussian noise; outside training there is nothing to add."""
    return graph.add(Noise(graph.index, x, stddev=stddev)) if graph.training and stddev > 0 else x
