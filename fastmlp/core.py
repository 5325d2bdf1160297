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

OP: np.dtype[Any] = np.asarray(plan.op_template()).dtype  # the C struct of an operation, field by field
CODES: dict[str, int] = plan.CODES
ARENA: dict[str, int] = plan.ARENA
ACTIVATIONS: dict[str, int] = {**plan.ACTIVATIONS, "extension": plan.EXTENSION}
LOSSES: dict[str, int] = {**plan.LOSSES, "program": plan.PROGRAM}
METRICS: dict[str, int] = plan.METRICS
SHIFT: int = plan.REFERENCE_SHIFT
CHUNK: int = plan.CHUNK
NONE = -1


def machine() -> Any:
    """What measures the processor; loaded when it is asked for."""
    return load(level, "peak")
