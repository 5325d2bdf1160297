"""``gather``: the caller's rows, copied, for a first operation that can't read them where they lie."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._kernels import ARENAS, NONE, SHIFT
from ..ir import Operation
from ..plan import BATCH, Note, Tensor

if TYPE_CHECKING:
    from ..ir import Graph
    from ..lower import Lowering

__all__ = ["Gather", "add_where_needed", "callers_rows"]


def callers_rows(units: int) -> Tensor:
    """Return the rows of the caller's data, which an index finds."""
    return Tensor(ARENAS["x"] << SHIFT, 0, units)


class Gather(Operation):
    """``a = x[index]``."""

    def forward(self, to: Lowering) -> None:
        a = to.lay_out(self.output)
        to.emit("gather", Note((BATCH, a.units)), a=a.ref, lda=a.ld, units=a.units, row_cost=a.units)

    def backward(self, to: Lowering) -> None:
        to.give(self.x, to.gradient(self.output))

    def traces(self) -> list[tuple[int, Tensor, bool]]:
        """Return nothing: the data are looked at by themselves."""
        return []


def add_where_needed(graph: Graph) -> None:
    """Put a gather before operations that can't read the caller's rows, which is all but a single product."""
    readers = graph.input.readers
    if len(readers) == 1 and readers[0].reads_caller and graph.output is not graph.input:
        return
    graph.input.readers = []
    gather = Gather(NONE, graph.input.units, graph.input)
    for reader in readers:
        reader.inputs = tuple(gather.output if value is graph.input else value for value in reader.inputs)
        gather.output.readers.append(reader)
    graph.operations.insert(0, gather)
    if graph.output is graph.input:
        graph.output = gather.output
