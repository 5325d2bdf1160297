"""``python``: a layer that runs in NumPy between two runs of compiled operations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ...user_code import pair, put, read_only
from ..ir import Operation, builder
from ..plan import BATCH, Call, Note, Tensor

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering
    from ..network import BuiltLayer

__all__ = ["PythonLayer"]


class PythonLayer(Operation):
    """``a, backward = layer.forward(x)``, ``dx, gradients = backward(d)``."""

    in_python = True
    learns = True  # its way back may do what it likes

    def __init__(self, index: int, x: Value, *, place: BuiltLayer, training: bool) -> None:
        super().__init__(index, place.units, x)
        self.place, self.training = place, training

    def _note(self) -> Note:
        return Note((BATCH, self.output.units), python=repr(self.place.layer))

    def forward(self, to: Lowering) -> None:
        to.lay_out(self.output)
        words = f"layer {self.place.key}: {self.place.layer!r}"
        to.emit_python(self._forward_call(self.x.at, self.output.at), self._note(), words)

    def _forward_call(self, x: Tensor, out: Tensor) -> Call:
        place, index, training = self.place, self.index, self.training
        what = f"layer {place.key}: forward of {place.layer!r}"

        def call(executable: Any, batch: int) -> None:
            rng = np.random.default_rng([executable.seed, executable.step, index])
            rows = read_only(executable.view(x, batch))
            y, backward = pair(place.layer.forward(rows, training=training, rng=rng), what, "outputs, backward")
            if not callable(backward):
                raise TypeError(f"{what}: expected a function as backward, got {type(backward).__name__}")
            put(executable.view(out, batch), y, what)
            executable.backward[index] = backward

        return call

    def backward(self, to: Lowering) -> None:
        d, dx = to.gradient(self.output), to.new_gradient(self.x)
        to.emit_python(self._backward_call(d, dx), self._note())
        to.give(self.x, dx)

    def _backward_call(self, d: Tensor, dx: Tensor) -> Call:
        place, index = self.place, self.index
        what = f"layer {place.key}: backward of {place.layer!r}"

        def call(executable: Any, batch: int) -> None:
            came = read_only(executable.view(d, batch))
            answer = executable.backward[index](came)
            d_input, gradients = pair(answer, what, "d_input, gradients")
            made = {"d_input": executable.view(dx, batch)}
            put(made["d_input"], d_input, f"{what}, d_input")
            if not isinstance(gradients, Mapping):
                raise TypeError(f"{what}: expected a dict of gradients, got {type(gradients).__name__}")
            names = place.layer.parameters
            if set(gradients) != set(names):
                raise ValueError(f"{what}: expected gradients of {sorted(names)}, got {sorted(map(str, gradients))}")
            for name, gradient in gradients.items():
                label = f"gradient of {name!r}"
                made[label] = executable.gradients[f"{place.key}.{name}"]
                put(made[label], gradient, f"{what}, {label}")
            executable.watch(what, index, made, [came])

        return call


@builder("python_layer")
def add_python_layer(graph: Graph, x: Value) -> Value:
    """Add the layer at hand, which has no operations of its own."""
    return graph.add(PythonLayer(graph.index, x, place=graph.layer, training=graph.training))
