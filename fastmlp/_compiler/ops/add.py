"""``add``: ``a = x + y``, of two values or of two gradients of one value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note, Tensor

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Add", "emit_sum"]


def emit_sum(to: Lowering, x: Tensor, y: Tensor, a: Tensor) -> None:
    """Add the operation that writes the sum of `x` and `y` to `a`, which may be either."""
    rows = {"x": x.ref, "ldx": x.ld, "y": y.ref, "ldy": y.ld, "a": a.ref, "lda": a.ld}
    to.emit("add", Note((BATCH, a.units)), units=a.units, row_cost=2 * a.units, **rows)


class Add(Operation):
    """The sum of two values of as many columns; its gradient is that of both."""

    adds_signed_zeros = True

    def forward(self, to: Lowering) -> None:
        x, y = self.inputs
        emit_sum(to, x.at, y.at, to.lay_out(self.output))

    def backward(self, to: Lowering) -> None:
        d = to.gradient(self.output)
        if all(map(to.needs, self.inputs)):
            to.shared.add(d.ref)
        for value in self.inputs:
            to.give(value, d)


@builder("add")
def add_sum(graph: Graph, x: Value, y: Value) -> Value:
    """Add the sum of two values."""
    return graph.add(Add(graph.index, x.units, x, y))
