"""What a program gives, beside what NumPy gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import TOLERANCE
from ..recording import Unrecordable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["check_within", "numpy_array", "run"]


def run(program: Any, *inputs: NDArray[Any], outputs: int = 2) -> list[NDArray[Any]]:
    """What a program makes of arrays of one shape."""
    found = [np.empty_like(inputs[0]) for _ in range(outputs)]
    program.run([x.ravel() for x in inputs], [x.reshape(-1) for x in found])
    return found


def numpy_array(what: str, value: object, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A result of NumPy code in float64, once its kind and shape are right."""
    array = np.asarray(value)
    if array.dtype.kind != "f" or array.shape != shape:
        raise Unrecordable(f"in NumPy, the {what} is {array.dtype} {array.shape}; expected floats of shape {shape}")
    return array.astype(np.float64)


def check_within(
    what: str,
    expected: list[NDArray[Any]],
    found: NDArray[Any],
    most: NDArray[Any],
    dtype: np.dtype[Any],
    where: Callable[[int], str],
) -> None:
    """Raises where a result lies beyond NumPy's, which come from a point and from beside it.

    `most` are the largest numbers on the way, `where` says what a row was made of. Nothing is asked for where
    NumPy overflows; but what is NaN there must not become a number, since it stops a training.
    """
    with np.errstate(all="ignore"):
        allowed = TOLERANCE[dtype.name] * np.maximum(most, np.abs(expected[0]))
        low, high = np.minimum.reduce(expected) - allowed, np.maximum.reduce(expected) + allowed
        wrong = np.isfinite(low) & np.isfinite(high) & ~((low <= found) & (found <= high))
        wrong |= np.logical_and.reduce([np.isnan(one) for one in expected]) & np.isfinite(found)
    if wrong.any():
        at = tuple(int(index[0]) for index in np.nonzero(wrong))
        raise Unrecordable(
            f"recorded, it gives the {what} {found[at]!s} at {where(at[0])}, where NumPy gives {expected[0][at]!s}"
        )
