"""``python``: an activation that runs in NumPy between two runs of compiled operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...activations import Activation
from ...user_code import put, read_only, returned
from ..ir import Operation, builder
from ..plan import BATCH, Call, Note, Tensor

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering

__all__ = ["PythonActivation"]


class PythonActivation(Operation):
    """``a = activation.forward(x)``, ``dx = activation.backward(x, a, d)``."""

    in_python = True

    def __init__(self, index: int, x: Value, *, key: str, activation: Activation, reason: str | None) -> None:
        super().__init__(index, x.units, x)
        self.key, self.activation, self.reason = key, activation, reason

    def _note(self) -> Note:
        return Note((BATCH, self.output.units), python=repr(self.activation), reason=self.reason)

    def forward(self, to: Lowering) -> None:
        to.lay_out(self.output)
        words = f"layer {self.key}: activation {self.activation!r} ({self.reason})"
        to.emit_python(self._forward_call(self.x.at, self.output.at), self._note(), words)

    def _forward_call(self, x: Tensor, out: Tensor) -> Call:
        activation, what = self.activation, f"layer {self.key}: forward of activation {self.activation!r}"

        def call(executable: Any, batch: int) -> None:
            z = read_only(executable.view(x, batch))
            put(executable.view(out, batch), activation.forward(z), what)

        return call

    def backward(self, to: Lowering) -> None:
        d = to.gradient(self.output)
        dx = to.in_place(d)
        to.emit_python(self._backward_call(self.x.at, self.output.at, d, dx), self._note())
        to.give(self.x, dx)

    def _backward_call(self, x: Tensor, out: Tensor, d: Tensor, dx: Tensor) -> Call:
        index, activation = self.index, self.activation
        what = f"layer {self.key}: backward of activation {activation!r}"

        def call(executable: Any, batch: int) -> None:
            da = read_only(executable.view(d, batch))
            z, a = read_only(executable.view(x, batch)), read_only(executable.view(out, batch))
            dz = returned(activation.backward(z, a, da), what, z.shape)
            executable.watch(what, index, {"dz": dz}, [z, a, da])
            put(executable.view(dx, batch), dz, what)

        return call


@builder("python_activation")
def add_python_activation(graph: Graph, x: Value, *, activation: Activation, reason: str | None) -> Value:
    """Add an activation that can't be compiled."""
    key = graph.layer.key
    return graph.add(PythonActivation(graph.index, x, key=key, activation=activation, reason=reason))
