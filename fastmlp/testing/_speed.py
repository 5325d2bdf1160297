"""How fast an object runs: inside the plan, or through Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..extensions import extension_of
from ..reductions import speed_of as speed_of_reduction
from ..sweeps import speed_of as speed_of_optimizer
from ._outcome import Failure
from ._subject import Subject

__all__ = ["TIMED", "speed", "speed_of", "speed_of_class"]

TIMED = ("activations", "losses", "optimizers", "regularizers")  # the kinds that have a compiled form


def speed_of(kind: str, obj: Any, dtype: Any = np.float32) -> tuple[str, str | None]:
    """How an object runs in a network of `dtype`, and why not faster."""
    if kind == "activations":
        found = extension_of(obj, np.dtype(dtype))
        return found.kind, found.reason
    if kind == "optimizers":
        return speed_of_optimizer(obj)
    if kind in ("losses", "regularizers"):
        return speed_of_reduction(obj, np.dtype(dtype))
    raise ValueError(f"kind: expected one of {', '.join(TIMED)}, got {kind!r}")


def speed_of_class(kind: str, cls: type[Any]) -> tuple[str | None, str | None]:
    """How an object of a class runs, and why not faster; nothing for a kind that has no compiled form."""
    if kind not in TIMED:
        return None, None
    try:
        made = cls(**getattr(cls, "conformance", {}).get("config", {}))
    except Exception as error:
        return None, f"can't be made without arguments ({type(error).__name__}: {error})"
    kinds = {speed_of(kind, made, dtype) for dtype in (np.float32, np.float64)}
    return max(kinds, key=lambda one: one[0] == "python")


def speed(subject: Subject) -> str:
    """Write straight-line NumPy, summed up at the end alone, if it must run compiled."""
    kind, reason = speed_of(subject.kind, subject.make())
    if kind == "python" and subject.option("compiled"):
        raise Failure(f"runs in Python ({reason}), but conformance declares compiled")
    return kind + (f" ({reason})" if reason else "")
