"""``embedding``: rows of a table by the ids in x, and ``embedding_sums``: the gradient of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..ir import Operation, builder
from ..plan import BATCH, Note
from .columns import emit_zeros

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Embedding"]


class Embedding(Operation):
    """The rows of a table that each column of x names, side by side.

    Parameters
    ----------
    index, x : as `Operation`
    embeddings : str
        Key of the table ``(ids, units)``.
    ids, units : int
    trainable : bool
        Whether the way back makes the table's gradient.
    """

    def __init__(self, index: int, x: Value, *, embeddings: str, ids: int, units: int, trainable: bool) -> None:
        super().__init__(index, x.units * units, x)
        self.embeddings, self.ids, self.units, self.learns = embeddings, ids, units, trainable

    def _fields(self, to: Lowering) -> dict[str, int]:
        x = self.x.at
        sides = {"inputs": x.units, "ids": self.ids, "units": self.units}
        return {"x": x.ref, "ldx": x.ld, "embeddings": to.array(self.embeddings), **sides}

    def forward(self, to: Lowering) -> None:
        a = to.lay_out(self.output)
        note = Note((BATCH, a.units))
        to.emit("embedding", note, a=a.ref, lda=a.ld, row_cost=4 * a.units, **self._fields(to))

    def backward(self, to: Lowering) -> None:
        d, needs = to.gradient(self.output), to.needs(self.x)
        if self.learns:
            cost = {"row_cost": 4.0 * d.units, "cost": float(self.ids * self.units)}
            note = Note((self.ids, BATCH, self.units))
            to.emit_behind("embedding_sums", note, barrier=not needs, d=d.ref, ldd=d.ld, **cost, **self._fields(to))
        if needs:
            dx = to.new_gradient(self.x)
            emit_zeros(to, dx)
            to.give(self.x, dx)


@builder("embedding")
def add_embedding(graph: Graph, x: Value, *, embeddings: str, ids: int, units: int) -> Value:
    """Add rows of a table."""
    trainable = graph.trainable
    return graph.add(Embedding(graph.index, x, embeddings=embeddings, ids=ids, units=units, trainable=trainable))
