"""``select``: ``a_j = x_c`` of chosen columns; ``concatenate``: values side by side, each copied to its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note, Tensor

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Concatenate", "Select", "emit_zeros"]


def emit_copy(to: Lowering, x: Tensor, a: Tensor) -> None:
    """Add the operation that writes rows of `x` to `a`."""
    rows = {"x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld}
    to.emit("copy", Note((BATCH, x.units)), units=x.units, row_cost=x.units, **rows)


def emit_zeros(to: Lowering, dx: Tensor) -> None:
    """Add the operation that writes zeros to `dx`: the gradient of what is named by nobody."""
    rows = {"d": dx.ref, "ldd": dx.ld, "units": 0, "columns": 0, "inputs": dx.units, "dx": dx.ref, "ld_dx": dx.ld}
    to.emit("select_backward", Note((BATCH, dx.units)), row_cost=dx.units, **rows)


class Select(Operation):
    """Some columns of a value, by their numbers; one may come more than once."""

    adds_signed_zeros = True

    def __init__(self, index: int, x: Value, *, columns: Sequence[int]) -> None:
        super().__init__(index, len(columns), x)
        self.columns = columns
        self.at = 0

    def forward(self, to: Lowering) -> None:
        x, a = self.x.at, to.lay_out(self.output)
        self.at = to.entries([(column,) for column in self.columns])
        rows = {"x": x.ref, "ldx": x.ld, "units": a.units, "columns": self.at, "a": a.ref, "lda": a.ld}
        to.emit("select", Note((BATCH, a.units)), row_cost=2 * a.units, **rows)

    def backward(self, to: Lowering) -> None:
        if not to.needs(self.x):
            return
        d, dx = to.gradient(self.output), to.new_gradient(self.x)
        rows = {"d": d.ref, "ldd": d.ld, "units": d.units, "columns": self.at, "inputs": dx.units}
        to.emit("select_backward", Note((BATCH, dx.units)), row_cost=2 * dx.units, dx=dx.ref, ld_dx=dx.ld, **rows)
        to.give(self.x, dx)


class Concatenate(Operation):
    """Values side by side; the gradient of each is its part, copied, since it may be written over."""

    adds_signed_zeros = True

    def _parts(self, whole: Tensor) -> list[Tensor]:
        """Return the columns of each input in rows of the output."""
        parts, first = [], 0
        for value in self.inputs:
            parts.append(Tensor(whole.ref + first, whole.ld, value.units))
            first += value.units
        return parts

    def forward(self, to: Lowering) -> None:
        for value, part in zip(self.inputs, self._parts(to.lay_out(self.output)), strict=True):
            emit_copy(to, value.at, part)

    def backward(self, to: Lowering) -> None:
        d = to.gradient(self.output)
        for value, part in zip(self.inputs, self._parts(d), strict=True):
            if to.needs(value):
                dx = to.new_gradient(value)
                emit_copy(to, part, dx)
                to.give(value, dx)


@builder("select")
def add_select(graph: Graph, x: Value, *, columns: Sequence[int]) -> Value:
    """Add some columns of a value; all of them in their order are the value."""
    return x if list(columns) == list(range(x.units)) else graph.add(Select(graph.index, x, columns=columns))


@builder("concatenate")
def add_concatenate(graph: Graph, *values: Value) -> Value:
    """Add values side by side."""
    if len(values) == 1:
        return values[0]
    return graph.add(Concatenate(graph.index, sum(value.units for value in values), *values))
