"""The way back: the stages in reverse. The derivative of an activation enters in one place (row 13): where the gradient
of its output is made, fused into the GEMM that makes it, or in an operation of its own."""

from __future__ import annotations

from typing import Any

from .. import activations
from ..core import NONE, plan
from ._base import READ, Stage, Tensor
from ._forward import Forward
from ._python import activation_backward, layer_backward

ROWS = 128  # of the batch: the gradients of a block may take about as much memory as the activations of so many
LEARNING = ("dense", "batchnorm", "learned", "python_layer")


class Backward(Forward):
    """Adds operations for the way back."""

    def _gradient_buffers(self, stages: list[Stage]) -> None:
        """Two buffers as wide as the widest stage: a stage reads one and writes the other, or works in place."""
        widest = max(max(stage.x.units, stage.out.units) for stage in stages)
        first = stages[-1].out.units if self._walks else widest
        numbers = [self.capacity * self._stride(units) for units in (first, 0 if self._walks else widest)]
        self._buffers = [self._allocate(number) for number in numbers]

    def _d(self, buffer: int, units: int) -> Tensor:
        return self._tensor(units, self._buffers[buffer])

    def _other(self, buffer: int, units: int) -> Tensor:
        """The gradient of a stage's input; in a walk it takes new memory, since d_kernel reads the old one later."""
        if self._walks:
            self._buffers[1 - buffer] = self._allocate(self.capacity * self._stride(units))
        return self._d(1 - buffer, units)

    def _backward(self, stages: list[Stage], *, to_input: bool) -> Tensor | None:
        """Operations of the way back, from the gradient in buffer 0; returns that of the input if it is asked for."""
        buffer, ready = 0, False
        self._sums: list[dict[str, Any]] = []  # of gradients that are made by blocks of the batch
        for at in reversed(range(len(stages))):
            stage = stages[at]
            self._at = stage.place
            before = stages[at - 1] if at else None
            learning = any(s.kind in LEARNING for s in stages[:at])
            further = to_input or learning
            d = self._d(buffer, stage.out.units)
            if stage.kernel is not None and not ready:
                self._derivative(stage, d)
            ready = False
            if stage.kind == "dense":
                ready = self._dense(stage, before, d, self._other(buffer, stage.x.units) if further else None)
                buffer = 1 - buffer
            elif stage.kind == "batchnorm":
                self._batchnorm(stage, d)
            elif stage.kind == "learned":
                self._learned(stage, d, last=not learning)
            elif stage.kind == "softmax":
                self._emit("softmax_backward", a=stage.out.ref, lda=stage.out.ld, **self._rows(d, 4))
            elif stage.kind == "dropout":
                self._emit("dropout_backward", **stage.extra, **self._rows(d, 2))
            elif stage.kind == "python_activation":
                self._emit_python(activation_backward(stage.extra["activation"], stage, d, self._key(stage)), "")
            elif stage.kind == "python_layer":
                target = self._other(buffer, stage.x.units)
                self._emit_python(layer_backward(self.built[stage.place], stage.place, d, target), "")
                buffer = 1 - buffer
            if not further:
                self._end_backward()
                return None
        self._end_backward()
        return self._d(buffer, stages[0].x.units)

    def _end_backward(self) -> None:
        """What waits for gradients of blocks, all of which are made by then."""
        self._end_walk()
        if self._sums:
            self._ops[-1]["barrier"] = self._sums[-1]["barrier"] = True
        self._ops += self._sums

    def _key(self, stage: Stage) -> str:
        return self.built[stage.place].key

    def _rows(self, d: Tensor, cost: int) -> dict[str, Any]:
        """Fields of an operation on the gradient, in place."""
        return {
            "units": d.units,
            "d": d.ref,
            "ldd": d.ld,
            "dx": d.ref,
            "ld_dx": d.ld,
            "row_cost": cost * d.units,
        }

    def _of_activation(self, stage: Stage) -> dict[str, Any]:
        """What the derivative of a stage's activation reads; z and a have one layout."""
        kernel = stage.kernel
        assert kernel is not None
        return {
            "kind": stage.code,
            "slope": kernel.alpha,
            "at_zero": kernel.at_zero,
            "extension": self._address(kernel),
            "z": stage.z.ref,
            "ldz": stage.z.ld,
            "a": stage.out.ref,
            "lda": stage.out.ld,
        }

    def _derivative(self, stage: Stage, d: Tensor) -> None:
        self._emit("activation_backward", **self._of_activation(stage), **self._rows(d, 4))

    def _dense(self, stage: Stage, before: Stage | None, d: Tensor, dx: Tensor | None) -> bool:
        """d_kernel, d_bias and, if `dx` is given, d_input; tells whether the derivative before it is in it."""
        place = self.built[stage.place]
        bias = self._parameter(stage.place, "bias") if place.layer.use_bias else NONE  # type: ignore[attr-defined]
        shape: dict[str, Any] = {
            "inputs": place.inputs,
            "units": place.units,
            "kernel": self._parameter(stage.place, "kernel"),
            "d": d.ref,
            "ldd": d.ld,
            "row_cost": place.inputs * place.units,
            "cost": READ * place.inputs * place.units,
        }
        x = stage.x
        # d_input writes another buffer, so the two need no barrier between them; sums have one of their own, at the end
        self._looked_at |= {f"{place.key}.kernel"} | ({f"{place.key}.bias"} if bias != NONE else set())
        fields = {**shape, "flag": self._checks, "bias": bias, **self._blocks(place.inputs, place.units)}
        self._emit_later("d_kernel", barrier=dx is None, x=x.ref, ldx=x.ld, starts=x.starts, **fields)
        if "a" in fields:
            size = place.inputs * place.units
            fields |= {"size": size, "row_cost": READ * size / 256, "cost": 0.0}  # of blocks of about so many rows
            self._sums.append(self._operation("d_kernel_sum", barrier=False, **fields))
        if dx is None:
            return False
        fused: dict[str, Any] = {} if before is None or before.kernel is None else self._of_activation(before)
        self._emit("d_input", **shape, **fused, starts=d.starts, dx=dx.ref, ld_dx=dx.ld)
        return bool(fused)

    def _blocks(self, inputs: int, units: int) -> dict[str, Any]:
        """Memory for the gradients of each block of the batch, where these are small beside its activations."""
        blocks = plan.most_blocks(self.capacity)
        widths = sum(place.units for place in self.built)
        if blocks == 1 or self.arenas.size > ROWS * widths:
            return {}
        ld = self._stride((inputs + 1) * units)
        return {"a": self._allocate(blocks * ld), "lda": ld}

    def _batchnorm(self, stage: Stage, d: Tensor) -> None:
        fields: dict[str, Any] = {**stage.extra, "x": stage.x.ref, "ldx": stage.x.ld}
        fields |= self._rows(d, 4)
        self._emit("batchnorm_backward_sums", **fields)
        self._emit("batchnorm_backward", flag=self.training, **fields)

    def _learned(self, stage: Stage, d: Tensor, *, last: bool) -> None:
        """dz, and the gradients of the activation's parameters, which only what comes behind the way back reads."""
        z, a = stage.x, stage.out
        fields = {**self._rows(d, 0), **stage.extra}
        self._emit("learned_backward", z=z.ref, ldz=z.ld, a=a.ref, lda=a.ld, **fields)
        fields = {"kind": stage.extra["kind"], "starts": stage.extra["starts"], "units": d.units}
        self._emit_later("learned_sums", barrier=last, row_cost=d.units, **fields)

    def _batchnorm_update(self, stage: Stage) -> None:
        """Running statistics, once the step is sure to be kept."""
        layer: Any = self.built[stage.place].layer
        self._emit(
            "batchnorm_update",
            layer=stage.place,
            units=stage.x.units,
            rate=layer.momentum,
            mean=stage.extra["mean"],
            var=stage.extra["var"],
            running_mean=self._parameter(stage.place, "running_mean"),
            running_var=self._parameter(stage.place, "running_var"),
        )


def is_kernel(activation: activations.Activation, name: str | None) -> bool:
    """Whether an activation is the built-in of that name."""
    kernel = activations.builtin_kernel(activation)
    return kernel is not None and kernel.name == name
