"""Checks of plain arguments: what came, what was expected."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from .frames import numbers_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "cast",
    "check_choice",
    "check_count",
    "check_dtype",
    "check_integer",
    "check_number",
    "check_out",
    "check_range",
    "check_seed",
    "check_share",
    "in_place",
    "one_line",
    "real_array",
]


def check_choice(name: str, value: object, choices: Sequence[str]) -> str:
    """Return one of several strings."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, choices))}, got {value!r}")
    return value


def check_integer(name: str, value: object, least: int) -> int:
    """Return an integer of at least `least`; bools and floats are no integers."""
    if type(value) is int and value >= least:
        return value
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    number = int(value.__index__())
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    return number


def check_count(name: str, value: object) -> int:
    """Return an integer of at least 1."""
    return check_integer(name, value, 1)


def check_number(name: str, value: Any, least: float = -math.inf) -> float:
    """Return a finite number of at least `least`; a string is no number, also where float() would read it."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    number = float(value)
    if not math.isfinite(number) or number < least:
        bound = "" if least == -math.inf else f" of at least {least:g}"
        raise ValueError(f"{name}: expected a finite number{bound}, got {value!r}")
    return number


def check_share(name: str, value: Any) -> float:
    """Return a number in [0, 1)."""
    if not isinstance(value, Real) or isinstance(value, bool):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    number = float(value)
    if not 0 <= number < 1:
        raise ValueError(f"{name}: expected a number in [0, 1), got {value!r}")
    return number


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """Return a dtype, float32 or float64."""
    try:
        found = None if dtype is None else np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in (np.dtype(np.float32), np.dtype(np.float64)) or not found.isnative:
        raise ValueError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
    return found


def check_seed(seed: object) -> int:
    """Return a seed of 64 bits; None draws one."""
    if seed is None:
        return int.from_bytes(os.urandom(4), "little")
    number = check_integer("seed", seed, 0)
    if number >= 2**64:
        raise ValueError(f"seed: expected less than 2^64, got {number}")
    return number


def real_array(name: object, value: object) -> NDArray[Any]:
    """Return an array of real, integer or bool numbers; nothing that has a meaning beyond them is dropped."""
    array = value if type(value) is np.ndarray else _as_array(name, value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{name}: expected real, integer or bool numbers, got dtype {array.dtype}; convert it first")
    return array


def _as_array(name: object, value: Any) -> NDArray[Any]:
    """Return the array that an object stands for; refuse sparse ones, and masked entries."""
    if value is None:
        raise TypeError(f"{name}: expected real numbers in an array, got None")
    _check_dense(name, value)
    try:
        array = np.asanyarray(value)
        if array.dtype.kind not in "fiub":
            numbers = numbers_of(value)
            array = array if numbers is None else numbers
    except (ValueError, TypeError) as error:
        raise TypeError(f"{name}: expected an array of numbers, got {type(value).__name__} ({error})") from None
    if array.dtype == object and array.size:
        _check_dense(name, array.flat[0])
    if _is_masked(array) or _is_masked(value):
        raise TypeError(
            f"{name}: some entries are masked, so that they have no number; give what its .filled(number) returns, or "
            "leave out their rows"
        )
    return np.asarray(array)


def _check_dense(name: object, value: object) -> None:
    """Refuse a sparse matrix or array, told by what all of them have."""
    if hasattr(value, "nnz"):
        remedy = next((method for method in ("toarray", "todense") if hasattr(value, method)), "toarray")
        raise TypeError(
            f"{name}: expected a dense array, got a sparse one ({type(value).__name__}); give what its .{remedy}() "
            "returns, or batches of rows made dense one by one"
        )


def _is_masked(value: object) -> bool:
    """Return whether an array, or one in a list, has masked entries; told by ``mask``, as ``numpy.ma`` comes late."""
    if isinstance(value, np.ndarray):
        return bool(np.any(getattr(value, "mask", False)))
    nested = isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], (list, tuple, np.ndarray))
    return nested and any(map(_is_masked, value))  # type: ignore[call-overload]


def check_out(out: Any, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
    """Check an array to write to: of that shape and dtype, contiguous."""
    if not isinstance(out, np.ndarray) or out.dtype != dtype or out.shape != shape:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
        raise ValueError(f"out: expected an array of {dtype} and shape {shape}, got {got}")
    if not (out.flags.c_contiguous and out.flags.writeable and out.flags.aligned):
        raise ValueError("out: expected a writable, aligned, C-contiguous array")


def in_place(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Return whether the kernels can read these rows where they are: rows may be strided, numbers in a row not."""
    size = dtype.itemsize
    return (
        array.dtype == dtype
        and array.flags.aligned
        and (array.shape[1] == 1 or array.strides[1] == size)
        and array.strides[0] % size == 0
    )


def check_range(array: NDArray[Any], dtype: np.dtype[Any], name: object = "x") -> None:
    """Refuse finite numbers that `dtype` can't hold, without a copy; infinities are left to who meets them."""
    if array.dtype.kind != "f" or array.dtype.itemsize <= dtype.itemsize or not array.size:
        return
    most = np.finfo(dtype).max
    if any(np.isfinite(extreme) and abs(extreme) > most for extreme in (array.min(), array.max())):
        raise ValueError(f"{name}: values beyond the range of {dtype}; scale them, or use float64")


def cast(array: NDArray[Any], dtype: np.dtype[Any], name: str = "x") -> NDArray[Any]:
    """Return `array` in `dtype`, contiguous and aligned; a finite number beyond its range is an error."""
    if array.dtype == dtype and array.flags.c_contiguous and array.flags.aligned:
        return array
    with np.errstate(over="raise"):
        try:
            return np.require(array, dtype, ["C", "A"])
        except FloatingPointError:
            raise ValueError(f"{name}: values beyond the range of {dtype}; scale them, or use float64") from None


def one_line(text: object, most: int = 1000) -> str:
    """Return text as a terminal can show it on a line: cut, and what can't be printed escaped."""
    whole = str(text)
    shown = whole[:most]
    if not shown.isprintable():
        shown = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in shown)
    return shown if len(whole) <= most else f"{shown}..."
