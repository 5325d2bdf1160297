"""What users' code gets to see, and how what it returns is checked before it is used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import real_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["pair", "put", "read_only"]


def read_only(x: NDArray[Any]) -> NDArray[Any]:
    """Return a view that can't be written to."""
    view = x.view()
    view.flags.writeable = False
    return view


def put(target: NDArray[Any], value: object, what: str) -> None:
    """Copy what user code returned, once its shape and kind are right."""
    array = real_array(what, value)
    if array.shape != target.shape:
        raise ValueError(f"{what}: expected an array of shape {target.shape}, got {array.shape}")
    np.copyto(target, array, casting="same_kind" if array.dtype.kind == "f" else "unsafe")


def pair(value: object, what: str, names: str) -> tuple[Any, Any]:
    """Return the two values that user code was asked for."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        got = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
        raise TypeError(f"{what}: expected ({names}), got {got}")
    return value[0], value[1]
