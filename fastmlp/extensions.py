"""How an activation that is not built in runs: as a native kernel, as a recorded program, or in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from . import activations

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Extension", "extension_of"]


class Extension(NamedTuple):
    """How an activation runs.

    Attributes
    ----------
    kind : str
        ``"builtin"``, ``"native"``, ``"recorded"`` or ``"python"``; all but the last run inside the plan.
    reason : str or None
        Why it runs in Python.
    """

    kind: str
    reason: str | None = None


def extension_of(activation: activations.Activation, dtype: np.dtype[Any]) -> Extension:
    """How `activation` runs in a network of `dtype`."""
    if activations.kernel_of(activation) is not None:
        return Extension("builtin")
    return Extension("python", "recording is not built yet")
