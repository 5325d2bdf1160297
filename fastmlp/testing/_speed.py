"""How fast an object runs: inside the plan, or through Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..extensions import Extension, extension_of
from ..optimizers import sweep_of

__all__ = ["TIMED", "speed_of"]

TIMED = ("activations", "optimizers")  # the kinds that have a compiled form


def speed_of(kind: str, obj: Any, dtype: Any = np.float32) -> Extension:
    """How an activation or an optimizer runs in a network of `dtype`."""
    if kind == "activations":
        return extension_of(obj, np.dtype(dtype))
    if kind == "optimizers":
        return Extension("builtin") if sweep_of(obj) is not None else Extension("python", "update runs in NumPy")
    raise ValueError(f"kind: expected one of {', '.join(TIMED)}, got {kind!r}")
