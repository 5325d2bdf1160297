"""What users' code gets to see, and how what it returns is checked where it comes back: nothing is ever broadcast."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import real_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Words", "all_finite", "pair", "put", "read_only", "returned", "returned_number"]


class Words:
    """Words of a message, composed only when it is shown, which is rare: texts of users' objects may be long."""

    def __init__(self, compose: Callable[[], str]) -> None:
        self._compose = compose

    def __str__(self) -> str:
        return self._compose()


def read_only(x: NDArray[Any]) -> NDArray[Any]:
    """Return a view that can't be written to."""
    view = x.view()
    view.flags.writeable = False
    return view


def returned(value: object, what: object, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return an array that user code gave, of real numbers and just this shape; NaN is left to the caller."""
    array = real_array(what, value)
    if array.shape != shape:
        raise ValueError(f"{what}: expected an array of shape {shape}, got {array.shape}")
    return array


def returned_number(value: object, what: str) -> float:
    """Return a number that user code gave; NaN is left to the caller."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]  # what ``np.where`` gives of numbers
    if isinstance(value, np.ndarray):
        raise ValueError(f"{what}: expected one number, shape (), got an array of shape {value.shape}")
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{what}: expected a number, got {value!r}")
    return float(value)


def put(target: NDArray[Any], value: object, what: str) -> None:
    """Copy what user code returned, once its shape and kind are right."""
    array = returned(value, what, target.shape)
    with np.errstate(over="ignore"):  # an infinity is found where it matters
        np.copyto(target, array, casting="same_kind" if array.dtype.kind == "f" else "unsafe")


def pair(value: object, what: str, names: str) -> tuple[Any, Any]:
    """Return the two values that user code was asked for."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        got = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
        raise TypeError(f"{what}: expected ({names}), got {got}")
    return value[0], value[1]


def all_finite(*arrays: Any) -> bool:
    """Return whether no number is NaN or infinite."""
    return all(bool(np.isfinite(array).all()) for array in arrays)
