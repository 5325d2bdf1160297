"""Records for the kernels, from operations with the fields that lowering still names in the old way."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core import NONE, OPS, RECORD_BYTES, RENAMED

_ACTIVATION = {"activation": "kind", "alpha": "slope"}
_UPDATE = {"slot_stride": "slots"}
_FIELDS: dict[str, dict[str, str]] = {
    "dense": {"x_offsets": "starts", **_ACTIVATION},
    "batchnorm": _ACTIVATION,
    "activation": _ACTIVATION,
    "activation_backward": _ACTIVATION,
    "parametric": {"n_parameters": "kind", "parameters": "starts"},
    "parametric_backward": {"n_parameters": "kind", "parameters": "starts"},
    "parametric_sums": {"n_parameters": "kind", "parameters": "starts"},
    "loss": {"loss": "kind", "labels": "flag", "program": "extension", "scale": "slope", "shift": "rate"},
    "batchnorm_backward": {"batch_statistics": "flag"},
    "d_kernel": {"x_offsets": "starts", "checks": "flag", "blocks": "a", "ld_blocks": "lda"},
    "d_kernel_sum": {"x_offsets": "starts", "checks": "flag", "blocks": "a", "ld_blocks": "lda"},
    "d_input": {"d_offsets": "starts", **_ACTIVATION},
    "penalty": {"parameter": "x", "sums": "a", "learning": "flag", "program": "extension", "scale": "slope"},
    "penalty_sum": {"sums": "a", "n": "size", "shift": "rate"},
    "batchnorm_update": {"momentum": "rate"},
    "sgd": {**_UPDATE, "nesterov": "flag"},
    "adam": _UPDATE,
    "traced_update": {**_UPDATE, "program": "extension", "n_slots": "kind"},
    "python": {"call": "kind"},
}
_NAMES = {spec.code: name for name, spec in OPS.items()}


def records(ops: Any, table: list[Any]) -> tuple[Any, list[float]]:
    """Return operations as the kernels take them, and the hyper-parameters after the learning rate."""
    found = np.zeros((len(ops), RECORD_BYTES), np.uint8)
    further: list[float] = []
    for op, record in zip(ops, found, strict=True):
        name = _NAMES[int(op["code"])]
        spec = OPS[name]
        fields = record.view(np.dtype(spec.layout))
        renamed = {"fused": "walk", **_FIELDS.get(name, {})}
        for field in spec.layout["names"]:
            old = renamed.get(field, field)
            fields[field] = op[old] if old in ops.dtype.names else NONE if field in spec.references else 0
        if "segments" in spec.layout["names"]:
            fields["segments"], fields["n_segments"] = sum(map(len, table)), 1
            table.append(np.array([0, op["size"], 0], np.int64))
        if name == "sgd":
            fields["has_velocity"] = op["rate"] != 0
            further = [float(op["rate"])]
        if name == "adam":
            further = [float(op[field]) for field in ("beta1", "beta2", "epsilon")]
    return found, further


__all__ = ["RENAMED", "records"]
