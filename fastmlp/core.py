"""The compiled core of this processor's level, as the rest of the package sees it."""

from __future__ import annotations

from typing import Any

import numpy as np

import fastmlp._kernels.concurrency as concurrency

from ._kernels import level, load

__all__ = [
    "ACTIVATIONS",
    "ARENA",
    "CHUNK",
    "CODES",
    "LOSSES",
    "METRICS",
    "NONE",
    "OP",
    "SHIFT",
    "concurrency",
    "fastpath",
    "level",
    "machine",
    "plan",
    "program",
]

plan: Any = load(level, "plan")
program: Any = load(level, "vm")
fastpath: Any = load(level, "plan_fastpath")

_ops: Any = load(level, "plan_ops")
OPS: dict[str, Any] = _ops.OPS
RECORD_BYTES: int = _ops.RECORD_BYTES
# The fields that lowering fills, until `lowering._records` translates them.
_INTEGERS = (
    "code kind metric layer inputs units x ldx starts kernel bias z ldz a lda d ldd dx ld_dx mask mean var inv gamma "
    "beta scale shift running_mean running_var extension size slots flag walk barrier"
)
_FLOATS = "row_cost cost slope at_zero rate epsilon beta1 beta2"
OP: np.dtype[Any] = np.dtype([(n, "i8") for n in _INTEGERS.split()] + [(n, "f8") for n in _FLOATS.split()])
RENAMED = {
    "abort_if_nonfinite": "gate",
    "traced_update": "sweep",
    "parametric": "learned",
    "parametric_backward": "learned_backward",
    "parametric_sums": "learned_sums",
}
CODES: dict[str, int] = {RENAMED.get(name, name): spec.code for name, spec in OPS.items()}
ARENA: dict[str, int] = _ops.ARENAS
ACTIVATIONS: dict[str, int] = _ops.ACTIVATIONS
LOSSES: dict[str, int] = _ops.LOSSES
METRICS: dict[str, int] = _ops.METRICS
SHIFT: int = _ops.SHIFT
CHUNK: int = _ops.PENALTY_CHUNK
NONE = -1


def machine() -> Any:
    """What measures the processor; loaded when it is asked for."""
    return load(level, "peak")
