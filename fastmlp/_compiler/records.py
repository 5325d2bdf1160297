"""From what operations emit to the records that the kernels read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import CODES, NONE, OP

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["is_row_wise", "pack_records"]

ROW_WISE = frozenset(
    (
        *("gather", "dense", "batchnorm", "activation", "parametric", "dropout", "softmax", "loss"),
        *("softmax_backward", "activation_backward", "parametric_backward", "dropout_backward"),
        *("batchnorm_backward", "d_input"),
    )
)
OLD = {"parametric": "learned", "parametric_backward": "learned_backward", "parametric_sums": "learned_sums"}
OLD |= {"abort_if_nonfinite": "gate", "traced_update": "sweep"}
FIELDS = {
    "activation": "kind",
    "alpha": "slope",
    "x_offsets": "starts",
    "d_offsets": "starts",
    "program": "extension",
    "labels": "flag",
    "loss": "kind",
    "momentum": "rate",
    "checks": "flag",
    "blocks": "a",
    "ld_blocks": "lda",
    "batch_statistics": "flag",
    "learning": "flag",
    "parameter": "x",
    "sums": "a",
    "n": "size",
    "n_parameters": "kind",
    "parameters": "starts",
    "n_slots": "kind",
    "slot_stride": "slots",
    "nesterov": "flag",
    "fused": "walk",
}
REFERENCES: tuple[str, ...] = (
    *("x", "starts", "kernel", "bias", "z", "a", "d", "dx", "mask", "mean", "var", "inv"),
    *("gamma", "beta", "scale", "shift", "running_mean", "running_var"),
)


def is_row_wise(name: str) -> bool:
    """Return whether a row of the batch meets no other in an operation, so that it may be part of a fused group."""
    return name in ROW_WISE


def pack_records(records: list[dict[str, Any]]) -> NDArray[Any]:
    """Return the records of operations as the kernels read them."""
    ops = np.zeros(len(records), dtype=OP)
    for name in REFERENCES:
        ops[name] = NONE
    for op, record in zip(ops, records, strict=True):
        name = record["name"]
        op["code"] = CODES[OLD.get(name, name)]
        for field, value in record.items():
            if field in ("name", "note", "call", "segments", "n_segments", "has_velocity", "learning_rate"):
                continue
            if name in ("loss", "penalty", "penalty_sum") and field in ("scale", "shift"):
                op["slope" if field == "scale" else "rate"] = value
            elif field == "metric" and name != "loss":
                op["metric"] = value
            else:
                op[FIELDS.get(field, field)] = value
    return ops
