"""Lowering: from layers to a plan, a flat list of operations over arenas sized before the run.

Layers add nodes; `Lowering` turns them into operations, fusing what can be: an activation into the GEMM or batch norm
before it, its derivative into the GEMM that feeds it, batch norm at inference into the GEMM's epilogue.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import losses
from ..core import ARENA, LOSSES, METRICS, NONE, OP, SHIFT
from ..optimizers import Optimizer
from ..sweeps import sweep_of
from ._backward import is_kernel
from ._base import Base, Plan, Stage, Tensor
from ._penalties import Penalties
from ._python import loss_call, optimizer_call
from ._records import records

if TYPE_CHECKING:
    from ..losses import Loss

__all__ = ["Base", "Lowering", "Plan", "Tensor"]


class Lowering(Penalties):
    """Makes plans; each method one kind, each instance one plan."""

    def predict(self) -> Plan:
        """The way forward alone, to the caller's array."""
        units = self.built[-1].units
        out = Tensor(ARENA["out"] << SHIFT, units, units)
        return self._finish(self._forward(self.nodes, keep=False, out=out))

    def evaluate(self, loss: Loss, metric: str | None) -> Plan:
        """Forward, loss and metric."""
        stages, out = self._forward_to_loss(loss, metric, keep=False)
        self._penalties(learning=False)
        return self._finish(stages, out=out)

    def train(self, loss: Loss, metric: str | None, optimizer: Optimizer) -> Plan:
        """A whole step; its sections can be run apart."""
        stages, out = self._forward_to_loss(loss, metric, keep=True)
        marks = {"forward": len(self._ops)}
        d_out = self._d(0, stages[-1].out.units)
        self._checks = True
        self._backward(stages, to_input=False)
        self._penalties(learning=True)
        marks["backward"] = len(self._ops)
        self._check()
        marks["check"] = len(self._ops)
        self._optimizer(optimizer)
        for stage in stages:
            if stage.kind == "batchnorm":
                self._batchnorm_update(stage)
        marks["commit"] = len(self._ops)
        return self._finish(stages, marks, out=out, d_out=d_out)

    def _check(self) -> None:
        """Looks for NaN and infinity in the gradients; those of dense layers are looked at where they are made."""
        self._at = NONE
        places = {place.key: number for number, place in enumerate(self.built)}
        others = [key for key in self.arenas.parameters if key not in self._looked_at]
        for key in others:
            size = self.arenas.parameters[key].size
            last = key == others[-1]
            place = places[key.rpartition(".")[0]]
            self._emit("check", layer=place, x=self.arenas.reference(key), size=size, cost=size, barrier=last)
        self._emit("gate", barrier=False)

    def step(self, optimizer: Optimizer) -> Plan:
        """The optimizer alone."""
        self._optimizer(optimizer)
        return self._finish([], {"commit": len(self._ops)}, out=Tensor(NONE, 0, 0))

    def vjp(self) -> Plan:
        """Forward, and the way back from a gradient that the caller writes into ``d_out``."""
        stages = self._forward(self.nodes, keep=True, out=None)
        marks = {"forward": len(self._ops)}
        self._gradient_buffers(stages)
        d_out = self._d(0, stages[-1].out.units)
        d_input = self._backward(stages, to_input=True)
        marks["backward"] = len(self._ops)
        return self._finish(stages, marks, d_out=d_out, d_input=d_input)

    def _forward_to_loss(self, loss: Loss, metric: str | None, *, keep: bool) -> tuple[list[Stage], Tensor]:
        """Stages up to what the loss takes, the loss, and where the predictions are.

        A last softmax or sigmoid whose cross-entropy is taken goes into the loss: it reads the logits, and writes
        probabilities and the gradient of the logits.
        """
        kernel = losses.kernel_of(loss)
        nodes = self.nodes
        joint, from_logits = False, kernel is not None and bool(getattr(loss, "from_logits", False))
        if kernel is not None and kernel.joint and not from_logits and nodes:
            last = nodes[-1].activation
            joint = last is not None and is_kernel(last, kernel.joint)
        stages = self._forward(nodes[:-1] if joint else nodes, keep=keep, out=None)
        z = stages[-1].out
        out = self._tensor(z.units) if joint or from_logits else z
        self._gradient_buffers(stages)
        d = self._d(0, z.units)
        fields: dict[str, Any] = {"z": z.ref, "ldz": z.ld, "a": out.ref, "lda": out.ld, "d": d.ref, "ldd": d.ld}
        if kernel is None:
            self._recorded_loss(loss, metric, z, d, fields)
            return stages, z
        name = kernel.of_logits if joint or from_logits else kernel.of_output
        assert name is not None
        self._loss(name, metric, flag=loss.labels, units=z.units, row_cost=8 * z.units, **fields)
        return stages, z if from_logits else out

    def _loss(self, name: str, metric: str | None, **fields: Any) -> None:
        self._emit("loss", kind=LOSSES[name], metric=METRICS[metric] if metric else 0, **fields)
        self._emit_later("loss_sum", metric=bool(metric), barrier=False)

    def _recorded_loss(self, loss: Loss, metric: str | None, z: Tensor, d: Tensor, fields: dict[str, Any]) -> None:
        """A loss without a kernel: its program, or its Python code."""
        from ..reductions import loss_reduction  # what kernels need no part of

        found = loss_reduction(loss, self.arenas.dtype, z.units)
        if found.program is None:
            self._emit_python(loss_call(loss, z, d), f"loss {loss!r} ({found.reason})")
            return
        fields |= {"extension": self._loaded(found.program), "slope": found.scale, "rate": found.shift}
        self._loss("program", metric, units=z.units, row_cost=2 * found.operations * z.units, **fields)

    def _optimizer(self, optimizer: Optimizer) -> None:
        sweep = sweep_of(optimizer)
        if sweep is None:
            self._emit_python(optimizer_call(), f"optimizer {optimizer!r}")
            return
        size = self.arenas.size
        slots = len(optimizer.init_state(np.zeros(1, self.arenas.dtype)))
        if self.arenas.flat_state.size != slots * size:
            raise RuntimeError(
                f"{optimizer!r} keeps other state than when the network was compiled (was its momentum changed?): "
                "call compile again"
            )
        fields: dict[str, Any] = dict(sweep.fields)
        if sweep.program is not None:
            fields |= {"extension": self._loaded(sweep.program), "kind": slots}
        self._emit(sweep.code, size=size, slots=size, cost=32 * size, **fields)

    def _finish(
        self,
        stages: list[Stage],
        marks: dict[str, int] | None = None,
        *,
        out: Tensor | None = None,
        d_out: Tensor | None = None,
        d_input: Tensor | None = None,
    ) -> Plan:
        """The operations as one structured array."""
        self._end_walk()
        ops = np.zeros(len(self._ops), dtype=OP)
        for name in REFERENCES:
            ops[name] = NONE
        for op, row in zip(ops, self._ops, strict=True):
            for name, value in row.items():
                op[name] = value
        table = list(self._table)
        packed, further = records(ops, table)
        sections: dict[str, tuple[int, int]] = {}
        first = 0
        for name, mark in (marks or {"forward": len(self._ops)}).items():
            sections[name] = (first, mark)
            first = mark
        return Plan(
            ops,
            np.concatenate(table),
            self.capacity,
            self._work,
            sections,
            self._calls,
            out or stages[-1].out,
            d_out,
            d_input,
            [trace for stage in stages for trace in _traces(stage)],
            [what for what in self._python if what],
            self._kept,
            packed,
            further,
        )


def _traces(stage: Stage) -> list[tuple[int, Tensor, bool]]:
    """Where a NaN or an infinity of this stage shows: in the variance that it took, or in what it gave."""
    traces = [(stage.place, stage.out, False)]
    if "var" in stage.extra:
        units = stage.out.units
        traces.insert(0, (stage.place, Tensor(stage.extra["var"], units, units), True))
    return traces


REFERENCES: tuple[str, ...] = (
    *("x", "starts", "kernel", "bias", "z", "a", "d", "dx", "mask", "mean", "var", "inv"),
    *("gamma", "beta", "scale", "shift", "running_mean", "running_var"),
)
