"""The way forward: stages, each a fused run of nodes."""

from __future__ import annotations

from typing import Any

from .. import activations
from ..core import ACTIVATIONS, ARENA, NONE, SHIFT
from ._base import READ, Base, Node, Stage, Tensor
from ._python import activation_forward, layer_forward


class Forward(Base):
    """Adds operations for the way forward."""

    def _forward(self, nodes: list[Node], *, keep: bool, out: Tensor | None) -> list[Stage]:
        """Operations of the way forward; `keep` what the way back needs; the last stage writes to `out` if given."""
        x = Tensor(ARENA["x"] << SHIFT, 0, self.built[0].inputs)
        stages: list[Stage] = []
        if not nodes or nodes[0].kind != "dense":
            copy = self._tensor(x.units) if nodes or out is None else out
            self._emit("gather", a=copy.ref, lda=copy.ld, units=x.units, row_cost=x.units)
            stages.append(Stage("gather", 0, x, copy))
            x = copy
        at = 0
        while at < len(nodes):
            used, fused = self._match(nodes, at, keep)
            target = out if at + used == len(nodes) else None
            self._at = nodes[at].place
            self._hidden = at + used < len(nodes) and not nodes[at + used].kind.startswith("python")
            stage = getattr(self, f"_forward_{nodes[at].kind}")(nodes[at], x, fused, keep, target)
            stages.append(stage)
            x = stage.out
            at += used
        self._at = NONE
        return stages

    def _match(self, nodes: list[Node], at: int, keep: bool) -> tuple[int, dict[str, Node]]:
        """How many nodes the stage from `at` on takes in, and those that it fuses."""
        fused: dict[str, Node] = {}
        used = 1
        rest = nodes[at + 1 :]
        if nodes[at].kind == "dense" and not keep and not self.training and rest and rest[0].kind == "batchnorm":
            fused["batchnorm"] = rest.pop(0)
            used += 1
        if nodes[at].kind in ("dense", "batchnorm") and rest and rest[0].kind == "activation":
            fused["activation"] = rest.pop(0)
            used += 1
        return used, fused

    def _activate(self, stage: Stage, fused: dict[str, Node], keep: bool, out: Tensor | None) -> dict[str, Any]:
        """The fields of an activation fused into a stage; it overwrites its argument where the way back allows."""
        stage.z = stage.out = out or self._tensor(self.built[stage.place].units)
        if "activation" not in fused:
            return {}
        activation = fused["activation"].activation
        assert activation is not None
        stage.kernel = kernel = self._kernel(activation)
        assert kernel is not None
        by_sign = keep and self._hidden and kernel.name == "relu" and kernel.at_zero == 1
        stage.code = ACTIVATIONS["relu_by_sign" if by_sign else kernel.name]
        if keep and not by_sign and kernel.reads_z:
            stage.z = self._tensor(stage.out.units)
        return {
            "a": stage.out.ref,
            "lda": stage.out.ld,
            "kind": stage.code,
            "slope": kernel.alpha,
            "at_zero": kernel.at_zero,
            "extension": self._address(kernel),
        }

    def _forward_dense(self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None) -> Stage:
        place = self.built[node.place]
        stage = Stage("dense", node.place, x, x)
        fields = self._activate(stage, fused, keep, out)
        kernel = self._parameter(node.place, "kernel")
        bias = self._parameter(node.place, "bias") if place.layer.use_bias else NONE  # type: ignore[attr-defined]
        shape: dict[str, Any] = {"inputs": place.inputs, "units": place.units, "kernel": kernel, "bias": bias}
        if "batchnorm" in fused:
            shape |= self._fold(fused["batchnorm"], bias)
        self._emit(
            "dense",
            **shape,
            **fields,
            x=x.ref,
            ldx=x.ld,
            starts=x.starts,
            z=stage.z.ref,
            ldz=stage.z.ld,
            row_cost=place.inputs * place.units,
            cost=READ * place.inputs * place.units,
        )
        return stage

    def _fold(self, node: Node, bias: int) -> dict[str, Any]:
        """Batch norm with running statistics as scale and shift of the product before it."""
        units = self.built[node.place].units
        scale, shift = self._vector(units), self._vector(units)
        fields = self._running(node)
        self._emit_ahead(
            "batchnorm_fold",
            layer=node.place,
            units=units,
            bias=bias,
            scale=scale,
            shift=shift,
            gamma=self._parameter(node.place, "gamma"),
            beta=self._parameter(node.place, "beta"),
            **fields,
        )
        return {"scale": scale, "shift": shift}

    def _running(self, node: Node) -> dict[str, Any]:
        units = self.built[node.place].units
        layer: Any = self.built[node.place].layer
        fields: dict[str, Any] = {"mean": self._vector(units), "inv": self._vector(units)}
        self._emit_ahead(
            "batchnorm_running",
            layer=node.place,
            units=units,
            epsilon=layer.epsilon,
            running_mean=self._parameter(node.place, "running_mean"),
            running_var=self._parameter(node.place, "running_var"),
            **fields,
        )
        return fields

    def _forward_batchnorm(
        self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None
    ) -> Stage:
        layer: Any = self.built[node.place].layer
        units = x.units
        stage = Stage("batchnorm", node.place, x, x)
        fields = self._activate(stage, fused, keep, out)
        if self.training:
            statistics: dict[str, Any] = {
                "mean": self._vector(units),
                "var": self._vector(units),
                "inv": self._vector(units),
            }
            self._emit(
                "batchnorm_statistics",
                units=units,
                x=x.ref,
                ldx=x.ld,
                epsilon=layer.epsilon,
                row_cost=4 * units,
                **statistics,
            )
        else:
            statistics = self._running(node)
        stage.extra = {
            **statistics,
            "gamma": self._parameter(node.place, "gamma"),
            "beta": self._parameter(node.place, "beta"),
        }
        self._emit(
            "batchnorm",
            units=units,
            x=x.ref,
            ldx=x.ld,
            z=stage.z.ref,
            ldz=stage.z.ld,
            row_cost=4 * units,
            **stage.extra,
            **fields,
        )
        return stage

    def _forward_activation(
        self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None
    ) -> Stage:
        assert node.activation is not None
        kernel = self._kernel(node.activation)
        assert kernel is not None
        stage = Stage("activation", node.place, x, out or self._tensor(x.units))
        stage.z, stage.kernel, stage.code = x, kernel, ACTIVATIONS[kernel.name]
        self._emit(
            "activation",
            units=x.units,
            x=x.ref,
            ldx=x.ld,
            a=stage.out.ref,
            lda=stage.out.ld,
            kind=ACTIVATIONS[kernel.name],
            slope=kernel.alpha,
            extension=self._address(kernel),
            row_cost=2 * kernel.operations * x.units,
        )
        return stage

    def _forward_learned(self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None) -> Stage:
        """An activation with learned parameters; `keep` makes room for what each row adds to their gradients."""
        assert node.activation is not None
        kernel = self._kernel(node.activation)
        assert kernel is not None
        stage = Stage("learned", node.place, x, out or self._tensor(x.units))
        rows = []
        for name in kernel.parameters:
            per_unit = self.built[node.place].layer.parameters[name].size == x.units
            ld = self._stride(x.units) if per_unit else 1
            slopes = self._allocate(self.capacity * ld) if keep else NONE
            rows.append((self._parameter(node.place, name), per_unit, slopes, ld))
        stage.extra = {
            "kind": len(rows),
            "starts": self._entries(rows),
            "extension": self._address(kernel),
            "row_cost": kernel.operations * x.units,
        }
        fields = {"x": x.ref, "ldx": x.ld, "a": stage.out.ref, "lda": stage.out.ld}
        self._emit("learned", units=x.units, **fields, **stage.extra)
        return stage

    def _forward_softmax(self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None) -> Stage:
        stage = Stage("softmax", node.place, x, out or self._tensor(x.units))
        self._emit(
            "softmax",
            units=x.units,
            x=x.ref,
            ldx=x.ld,
            a=stage.out.ref,
            lda=stage.out.ld,
            row_cost=16 * x.units,
        )
        return stage

    def _forward_dropout(self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None) -> Stage:
        layer: Any = self.built[node.place].layer
        stage = Stage("dropout", node.place, x, out or self._tensor(x.units))
        mask = self._allocate(-(-self.capacity * x.units // self.arenas.dtype.itemsize))
        stage.extra = {"mask": mask, "rate": layer.rate}
        self._emit(
            "dropout",
            units=x.units,
            layer=node.place,
            x=x.ref,
            ldx=x.ld,
            a=stage.out.ref,
            lda=stage.out.ld,
            row_cost=16 * x.units,
            **stage.extra,
        )
        return stage

    def _forward_python_activation(
        self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None
    ) -> Stage:
        assert node.activation is not None
        stage = Stage("python_activation", node.place, x, out or self._tensor(x.units))
        stage.extra = {"activation": node.activation}
        key = self.built[node.place].key
        reason = activations.execution_of(node.activation, self.arenas.dtype).reason
        self._emit_python(
            activation_forward(node.activation, x, stage.out, key),
            f"layer {key}: activation {node.activation!r} ({reason})",
        )
        return stage

    def _forward_python_layer(
        self, node: Node, x: Tensor, fused: dict[str, Node], keep: bool, out: Tensor | None
    ) -> Stage:
        place = self.built[node.place]
        stage = Stage("python_layer", node.place, x, out or self._tensor(place.units))
        self._emit_python(
            layer_forward(place, node.place, x, stage.out, self.training),
            f"layer {place.key}: {place.layer!r}",
        )
        return stage
