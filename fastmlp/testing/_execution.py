"""How an object runs: inside the plan, or through Python."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import activations, losses, optimizers, regularizers
from .._tracing.execution import Execution
from ._outcome import Failure
from ._subject import Subject

__all__ = ["COMPILED", "UNITS", "execution_mode", "execution_of", "speed", "units_for"]

COMPILED = ("activations", "losses", "optimizers", "regularizers")  # the kinds that have a compiled form
UNITS = 3  # outputs of networks that objects are tried in
MOST_EACH = 8  # outputs of a target


def units_for(loss: Any) -> int:
    """Return a number of outputs that `loss` takes."""
    for units in range(UNITS, UNITS + MOST_EACH):
        try:
            loss.target_units(units)
        except ValueError:
            continue
        return units
    raise Failure(f"target_units refuses {UNITS} to {UNITS + MOST_EACH - 1} outputs: say which numbers it takes")


def execution_of(kind: str, obj: Any, dtype: Any = np.float32) -> Execution[Any]:
    """Return how an object runs in a network of `dtype`, of a few units."""
    if kind == "activations":
        return activations.execution_of(obj, dtype)
    if kind == "optimizers":
        return optimizers.execution_of(obj)
    if kind == "losses":
        return losses.execution_of(obj, dtype, units_for(obj))
    if kind == "regularizers":
        return regularizers.execution_of(obj, dtype, (4, 3))
    raise ValueError(f"kind: expected one of {', '.join(COMPILED)}, got {kind!r}")


def execution_mode(kind: str, cls: type[Any]) -> tuple[str | None, str | None]:
    """Return the mode of an object of a class, and why not faster; nothing for a kind that has no compiled form."""
    if kind not in COMPILED:
        return None, None
    try:
        made = cls(**getattr(cls, "conformance", {}).get("config", {}))
    except Exception as error:
        return None, f"can't be made without arguments ({type(error).__name__}: {error})"
    found = [execution_of(kind, made, dtype) for dtype in (np.float32, np.float64)]
    slowest = max(found, key=lambda one: one.mode == "python")
    return slowest.mode, slowest.reason


def speed(subject: Subject) -> str:
    """Write straight-line NumPy, summed up at the end alone, if it must run compiled."""
    return described(subject, execution_of(subject.kind, subject.make()))


def described(subject: Subject, execution: Execution[Any]) -> str:
    """Return how an object runs, in words; fail if it must run compiled and doesn't."""
    if execution.mode == "python" and subject.option("compiled"):
        raise Failure(f"runs in Python ({execution.reason}), but conformance declares compiled")
    return execution.mode + (f" ({execution.reason})" if execution.reason else "")
