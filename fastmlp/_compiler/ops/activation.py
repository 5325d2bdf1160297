"""``activation``: ``a = g(z)``, by itself or fused into the operation that makes z.

Its derivative enters in one place (row 13): where the gradient of the output is made, fused into the product that
makes it, or in an operation of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ... import activations
from ..._kernels import ACTIVATIONS
from ..ir import Operation, builder
from ..plan import BATCH, Note, Tensor

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["Activated", "Activation"]


class Activated(Operation):
    """Base of operations whose output may be an activation's value.

    Attributes
    ----------
    spec : activations.KernelSpec or None
        How the activation runs.
    z : Tensor
        What it is taken of; the way back may read it.
    """

    spec: activations.KernelSpec | None = None
    code: int = 0
    z: Tensor

    def fuse(self, spec: activations.KernelSpec) -> None:
        """Take an activation in."""
        self.spec = spec

    def forward_fields(self, to: Lowering) -> dict[str, Any]:
        """Lay out z and the output, which share memory where the way back allows; return the activation's fields."""
        self.z = a = to.lay_out(self.output)
        spec = self.spec
        if spec is None:
            return {}
        by_sign = to.keep and spec.name == "relu" and spec.at_zero == 1 and self._sign_is_hidden()
        self.code = ACTIVATIONS["relu_by_sign" if by_sign else spec.name]
        if to.keep and not by_sign and spec.reads_z:
            self.z = to.tensor(a.units)
        return {"a": a.ref, "lda": a.ld, **self._activation_fields(to)}

    def _sign_is_hidden(self) -> bool:
        """Return whether negative zeros may mark where ReLU's argument was negative, since nobody will see them."""
        readers = self.output.readers
        return len(readers) == 1 and not readers[0].in_python and not readers[0].adds_signed_zeros

    def _activation_fields(self, to: Lowering) -> dict[str, Any]:
        spec = self.spec
        assert spec is not None
        if spec.extension is not None:
            to.kept.append(spec.extension)
        address = 0 if spec.extension is None else int(spec.extension.address)
        return {"activation": self.code, "alpha": spec.alpha, "extension": address}

    def derivative_fields(self, to: Lowering) -> dict[str, Any]:
        """Return what the derivative reads; z and a have one layout."""
        assert self.spec is not None
        a = self.output.at
        own = {"at_zero": self.spec.at_zero, "z": self.z.ref, "ldz": self.z.ld, "a": a.ref, "lda": a.ld}
        return {**self._activation_fields(to), **own}

    def gradient_of_z(self, to: Lowering) -> Tensor:
        """Return the gradient of z; adds the derivative, unless it is fused into what made the output's gradient."""
        d = to.gradient(self.output)
        if self.spec is None or self in to.derived:
            return d
        dz = to.in_place(d)
        note = Note((BATCH, d.units), (self.spec.name,))
        rows = {"units": d.units, "d": d.ref, "ldd": d.ld, "dx": dz.ref, "ld_dx": dz.ld, "row_cost": 4 * d.units}
        to.emit("activation_backward", note, **self.derivative_fields(to), **rows)
        return dz


class Activation(Activated):
    """``a = g(x)``, elementwise, by a kernel, a traced program or native functions."""

    def __init__(self, index: int, units: int, x: Value, *, spec: activations.KernelSpec) -> None:
        super().__init__(index, units, x)
        self.fuse(spec)

    def forward(self, to: Lowering) -> None:
        spec, x, a = self.spec, self.x.at, to.lay_out(self.output)
        assert spec is not None
        self.z, self.code = x, ACTIVATIONS[spec.name]
        rows = {"units": a.units, "x": x.ref, "ldx": x.ld, "a": a.ref, "lda": a.ld}
        to.emit(
            "activation",
            Note((BATCH, a.units), (spec.name,)),
            **rows,
            **self._activation_fields(to),
            row_cost=2 * spec.operations * a.units,
        )

    def backward(self, to: Lowering) -> None:
        to.give(self.x, self.gradient_of_z(to))


@builder("activation")
def add_activation(graph: Graph, x: Value, *, activation: activations.Activation) -> Value:
    """Add an activation by the way in which it runs; the identity adds nothing."""
    execution = graph.execution_of(activation)
    spec = execution.kernel
    if spec is None:
        return graph.op("python_activation", x, activation=activation, reason=execution.reason)
    if spec.name == "softmax":
        return graph.op("softmax", x)
    if spec.parameters:
        return graph.op("parametric", x, spec=spec, parameters=[graph.key(name) for name in spec.parameters])
    if spec.name == "identity":
        return x
    return graph.add(Activation(graph.index, x.units, x, spec=spec))
