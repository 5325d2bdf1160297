"""Compares what compiled code gives with what NumPy gives, before it is used: one tolerance, one rule for NaN.

A value must lie within what NumPy gives at the same point and beside it (at a corner or a jump, either side is right),
up to a share of the largest number on the way. Where NumPy overflows nothing is asked for. But what is NaN in NumPy
must not become a number, since a NaN stops a training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .symbols import Untraceable

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TOLERANCE", "Difference", "check_same", "difference", "numpy_result", "run"]

# What compiled code may differ from NumPy by, as a share of the largest number on the way.
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


class Difference(NamedTuple):
    """Where compiled code differs from NumPy: the point nearest to zero, both values there, and how many points do."""

    point: str
    found: str
    expected: str
    points: int

    def __str__(self) -> str:
        return f"it gives {self.found} at {self.point}, where NumPy gives {self.expected}"


def difference(
    found: NDArray[Any],
    expected: Sequence[NDArray[Any]],
    largest: NDArray[Any],
    inputs: Mapping[str, NDArray[Any]],
    dtype: np.dtype[Any],
    wrong: NDArray[np.bool_] | None = None,
) -> Difference | None:
    """Return where values differ from NumPy's, if they do.

    Parameters
    ----------
    found : ndarray
        What the compiled code gives.
    expected : sequence of ndarray
        What NumPy gives: first at the point itself, then beside it.
    largest : ndarray
        The largest numbers on the way, of which the tolerance is a share.
    inputs : mapping of str to ndarray
        What the points consist of, by name; each of the shape of `found`, or of one number.
    dtype : {float32, float64}
        In which it was computed; the tolerance is that of this dtype.
    wrong : ndarray of bool, optional
        Points that are wrong in any case.
    """
    with np.errstate(all="ignore"):
        allowed = TOLERANCE[dtype.name] * np.maximum(largest, np.abs(expected[0]))
        low, high = np.minimum.reduce(expected) - allowed, np.maximum.reduce(expected) + allowed
        asked = np.isfinite(low) & np.isfinite(high)
        wrong = np.zeros(found.shape, np.bool_) if wrong is None else wrong
        wrong = wrong | (asked & ~((low <= found) & (found <= high)))
        wrong |= np.logical_and.reduce([np.isnan(one) for one in expected]) & np.isfinite(found)
    if not wrong.any():
        return None
    places = np.flatnonzero(wrong)
    inputs = {name: np.broadcast_to(values, found.shape).ravel() for name, values in inputs.items()}
    distances = np.abs(next(iter(inputs.values()))[places])
    at = int(places[np.where(np.isnan(distances), np.inf, distances).argmin()])
    point = ", ".join(f"{name} = {values[at]!s}" for name, values in inputs.items())
    return Difference(point, str(found.flat[at]), str(expected[0].flat[at]), len(places))


def check_same(
    what: str,
    found: NDArray[Any],
    expected: Sequence[NDArray[Any]],
    largest: NDArray[Any],
    inputs: Mapping[str, NDArray[Any]],
    dtype: np.dtype[Any],
) -> None:
    """Raise `Untraceable` where a program differs from NumPy; parameters as of `difference`."""
    wrong = difference(found, expected, largest, inputs, dtype)
    if wrong is not None:
        raise Untraceable(f"{what}: traced, {wrong}")


def run(
    program: Any, inputs: Sequence[NDArray[Any]], outputs: int, scalars: Sequence[float] = ()
) -> list[NDArray[Any]]:
    """Return what a loaded program makes of arrays of one shape."""
    found = [np.empty(inputs[0].shape, inputs[0].dtype) for _ in range(outputs)]
    program.run([np.ascontiguousarray(x).reshape(-1) for x in inputs], [x.reshape(-1) for x in found], scalars)
    return found


def numpy_result(what: str, value: object, shape: tuple[int, ...]) -> NDArray[Any]:
    """Return what NumPy code gave, once its kind and shape are right."""
    array = np.asarray(value)
    if array.dtype.kind != "f" or array.shape != shape:
        raise Untraceable(f"in NumPy, the {what} is {array.dtype} {array.shape}; expected floats of shape {shape}")
    return array
