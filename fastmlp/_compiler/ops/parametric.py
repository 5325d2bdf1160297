"""``parametric``: an activation with trainable parameters, ``a = g(x, p)``, ``dx = d dg/dx``, ``dp = sum d dg/dp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import activations
from ..._kernels import NONE
from ..ir import Operation, builder
from ..plan import BATCH, Note

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Parametric"]


class Parametric(Operation):
    """A traced activation some of whose numbers are parameters of the layer: one for all units, or one for each."""

    def __init__(
        self, index: int, x: Value, *, spec: activations.KernelSpec, parameters: Sequence[str], trainable: bool
    ) -> None:
        super().__init__(index, x.units, x)
        self.spec, self.parameters, self.learns = spec, parameters, trainable
        self.fields: dict[str, Any] = {}

    def forward(self, to: Lowering) -> None:
        x, a = self.x.at, to.lay_out(self.output)
        to.kept.append(self.spec.extension)
        self.fields = {
            "units": x.units,
            "n_parameters": len(self.parameters),
            "parameters": to.entries([self._entry(to, key) for key in self.parameters]),
            "extension": int(self.spec.extension.address),
        }
        rows = {"x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld, "row_cost": self.spec.operations * x.units}
        to.emit("parametric", Note((BATCH, x.units), self.spec.parameters), **self.fields, **rows)

    def _entry(self, to: Lowering, key: str) -> tuple[int, ...]:
        """Return where a parameter lies, whether there is one per unit, and room for what rows add to its gradient."""
        per_unit = to.memory.parameters[key].size == self.x.units
        ld = to.stride(self.x.units) if per_unit else 1
        slopes = to.allocate(to.capacity * ld) if to.keep else NONE
        return to.array(key), per_unit, slopes, ld

    def backward(self, to: Lowering) -> None:
        d, z, a = to.gradient(self.output), self.x.at, self.output.at
        dx = to.in_place(d)
        rows = {"z": z.ref, "ldz": z.ld, "a": a.ref, "lda": a.ld, "d": d.ref, "ldd": d.ld, "dx": dx.ref, "ld_dx": dx.ld}
        note = Note((BATCH, d.units), self.spec.parameters)
        to.emit("parametric_backward", note, **self.fields, **rows, row_cost=self.spec.operations * d.units)
        if self.learns:  # only what comes behind the way back reads the sums
            fields = {name: self.fields[name] for name in ("units", "n_parameters", "parameters")}
            last = not to.learning_before(self.x)
            to.emit_behind("parametric_sums", note, barrier=last, row_cost=d.units, **fields)
        to.give(self.x, dx)


@builder("parametric")
def add_parametric(graph: Graph, x: Value, *, spec: activations.KernelSpec, parameters: Sequence[str]) -> Value:
    """Add an activation with trainable parameters, whose keys come in the order of its program's inputs."""
    return graph.add(Parametric(graph.index, x, spec=spec, parameters=parameters, trainable=graph.trainable))
