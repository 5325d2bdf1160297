"""``layernorm``: ``z = gamma (x - mean) / sqrt(var + epsilon) + beta`` by rows, ``a = g(z)``.

RMSNorm has no mean and no beta. A row meets no other, so training and inference are the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._kernels import NONE
from ..ir import builder
from ..plan import BATCH, Note
from .activation import Activated

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["LayerNorm"]


class LayerNorm(Activated):
    """Normalization of rows.

    Parameters
    ----------
    index, x : as `Operation`
    gamma : str
        Key of the factors ``(units,)``.
    beta : str or None
        Key of what is added; None for RMSNorm, which doesn't subtract the mean either.
    epsilon : float
    trainable : bool
        Whether the way back makes gradients of gamma and beta.
    """

    takes_activation = True

    def __init__(self, index: int, x: Value, *, gamma: str, beta: str | None, epsilon: float, trainable: bool) -> None:
        super().__init__(index, x.units, x)
        self.gamma, self.beta, self.epsilon, self.learns = gamma, beta, epsilon, trainable
        self.statistics: dict[str, int] = {}

    def _arrays(self, to: Lowering) -> dict[str, int]:
        beta = NONE if self.beta is None else to.array(self.beta)
        return {"gamma": to.array(self.gamma), "beta": beta, **self.statistics}

    def forward(self, to: Lowering) -> None:
        x, units = self.x.at, self.output.units
        fused = self.forward_fields(to)
        mean = NONE if self.beta is None else to.allocate(to.capacity)
        self.statistics = {"mean": mean, "inv": to.allocate(to.capacity)}
        rows = {"units": units, "x": x.ref, "ldx": x.ld, "z": self.z.ref, "ldz": self.z.ld, "row_cost": 6 * units}
        note = Note((BATCH, units), (self.spec.name,) if self.spec else ())
        to.emit("layernorm", note, epsilon=self.epsilon, **rows, **self._arrays(to), **fused)

    def backward(self, to: Lowering) -> None:
        d, x, units = self.gradient_of_z(to), self.x.at, self.output.units
        note = Note((BATCH, units))
        rows = {"units": units, "x": x.ref, "ldx": x.ld, "d": d.ref, "ldd": d.ld, "row_cost": 4 * units}
        needs = to.needs(self.x)
        if self.learns:  # other memory than dx's, so that the two need no barrier between them
            to.emit_behind("layernorm_sums", note, barrier=not needs, **self._arrays(to), **rows)
        if needs:
            dx = to.new_gradient(self.x)
            arrays = {name: ref for name, ref in self._arrays(to).items() if name != "beta"}
            to.emit("layernorm_backward", note, **{**rows, "row_cost": 6 * units}, **arrays, dx=dx.ref, ld_dx=dx.ld)
            to.give(self.x, dx)


@builder("layernorm")
def add_layernorm(graph: Graph, x: Value, *, gamma: str, beta: str | None, epsilon: float) -> Value:
    """Add normalization of rows."""
    trainable = graph.trainable
    return graph.add(LayerNorm(graph.index, x, gamma=gamma, beta=beta, epsilon=epsilon, trainable=trainable))
