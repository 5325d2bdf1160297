"""``dense``: ``z = x kernel + bias``, ``a = g(z)`` (row 1), and on the way back
``d_kernel = x^T d``, ``d_bias = sum d``, ``d_input = d kernel^T g'(z_before)`` (rows 13 to 15)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..._kernels import NONE, plan
from ..emit import READ
from ..ir import builder
from ..plan import BATCH, Note, Tensor
from .activation import Activated

if TYPE_CHECKING:
    from ..ir import Graph, Value
    from ..lower import Lowering
    from .batchnorm import BatchNorm

__all__ = ["Dense"]

BLOCK_ROWS = 128  # of the batch: gradients of a block may take about as much memory as the activations of so many


class Dense(Activated):
    """A matrix product with what follows it in its epilogue: bias, batch norm by running statistics, activation.

    Parameters
    ----------
    index, units, x : as `Operation`
    kernel : str
        Key of the kernel ``(inputs, units)``.
    bias : str or None
        Key of the bias ``(units,)``.
    trainable : bool
        Whether the way back makes their gradients.
    """

    reads_caller = True
    takes_activation = True

    def __init__(self, index: int, units: int, x: Value, *, kernel: str, bias: str | None, trainable: bool) -> None:
        super().__init__(index, units, x)
        self.kernel, self.bias, self.learns = kernel, bias, trainable
        self.folded: BatchNorm | None = None

    def fold(self, batchnorm: BatchNorm) -> None:
        """Take batch norm by running statistics in, as scale and shift of the product."""
        self.folded = batchnorm

    def _sides(self, to: Lowering) -> dict[str, Any]:
        """Return what all its products have: sides, kernel, costs."""
        inputs, units = self.x.units, self.output.units
        sides = {"inputs": inputs, "units": units, "kernel": to.array(self.kernel)}
        return {**sides, "row_cost": inputs * units, "cost": READ * inputs * units}

    def _bias(self, to: Lowering) -> int:
        return NONE if self.bias is None else to.array(self.bias)

    def forward(self, to: Lowering) -> None:
        x = self.x.at
        fused = self.forward_fields(to)
        bias = self._bias(to)
        folded = {} if self.folded is None else self.folded.folded_fields(to, bias)
        rows = {"x": x.ref, "ldx": x.ld, "x_offsets": x.offsets, "z": self.z.ref, "ldz": self.z.ld}
        names = (*(("batchnorm",) if folded else ()), *((self.spec.name,) if self.spec else ()))
        note = Note((BATCH, x.units, self.output.units), names, product=True)
        to.emit("dense", note, **self._sides(to), bias=bias, **folded, **fused, **rows)

    def backward(self, to: Lowering) -> None:
        d = self.gradient_of_z(to)
        dx = to.new_gradient(self.x) if to.needs(self.x) else None
        if self.learns:
            self._kernel_gradient(to, d, last=dx is None)
        if dx is not None:
            self._input_gradient(to, d, dx)
            to.give(self.x, dx)

    def _kernel_gradient(self, to: Lowering, d: Tensor, *, last: bool) -> None:
        """Add d_kernel and d_bias, by blocks of the batch where their memory is small beside the activations'."""
        x, inputs, units = self.x.at, self.x.units, self.output.units
        to.checked |= {self.kernel} | ({self.bias} if self.bias is not None else set())
        blocks = self._blocks(to)
        rows = {"x": x.ref, "ldx": x.ld, "x_offsets": x.offsets, "d": d.ref, "ldd": d.ld}
        fields = {**self._sides(to), "bias": self._bias(to), "checks": to.checks, **rows, **blocks}
        of_bias = ("d_bias",) if self.bias is not None else ()
        checked = ("check",) if to.checks else ()
        note = Note((inputs, BATCH, units), of_bias + (() if blocks else checked), product=True)
        # d_input writes other memory, so the two need no barrier between them; sums have one of their own, at the end
        to.emit_behind("d_kernel", note, barrier=last, **fields)
        if blocks:
            size = inputs * units
            fields |= {"row_cost": READ * size / 256, "cost": 0.0}  # of blocks of about so many rows
            to.sums.append(to.record("d_kernel_sum", Note((size,), of_bias + checked), barrier=False, **fields))

    def _blocks(self, to: Lowering) -> dict[str, Any]:
        """Return memory for the gradients of each block of the batch, where these are small beside its activations."""
        blocks = plan.most_blocks(to.capacity)
        if blocks == 1 or to.memory.size > BLOCK_ROWS * to.widths:
            return {}
        ld = to.stride((self.x.units + 1) * self.output.units)
        return {"blocks": to.allocate(blocks * ld), "ld_blocks": ld}

    def _input_gradient(self, to: Lowering, d: Tensor, dx: Tensor) -> None:
        """Add d_input, with the derivative of the activation that made x where this is all that reads it."""
        before = self.x.source
        fused: dict[str, Any] = {}
        names: tuple[str, ...] = ()
        if isinstance(before, Activated) and before.spec is not None and len(self.x.readers) == 1:
            fused, names = before.derivative_fields(to), (f"derivative of {before.spec.name}",)
            to.derived.add(before)
        note = Note((BATCH, self.output.units, self.x.units), names, product=True)
        rows = {"d": d.ref, "ldd": d.ld, "d_offsets": d.offsets, "dx": dx.ref, "ld_dx": dx.ld}
        to.emit("d_input", note, **self._sides(to), **fused, **rows)


@builder("dense")
def add_dense(graph: Graph, x: Value, *, units: int, kernel: str, bias: str | None = None) -> Value:
    """Add ``x kernel + bias``."""
    return graph.add(Dense(graph.index, units, x, kernel=kernel, bias=bias, trainable=graph.trainable))
