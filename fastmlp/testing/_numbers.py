"""Numbers for the checks: arguments, comparisons, finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from ._outcome import Failure, expect

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DTYPES", "array_of", "compare", "draw", "same_bits", "slopes", "unchanged"]

DTYPES = (np.dtype(np.float32), np.dtype(np.float64))
STEP = 1e-6  # of finite differences
KINK = 1e-3  # one-sided differences that differ by more, relatively, are on two sides of a kink
SHARE = 0.2  # of the points must be comparable
TOLERANCE = 1e-5  # where the second derivative jumps, a central difference is off by STEP times the jump


def draw(shape: tuple[int, ...], domain: Any = None, seed: int = 0, dtype: Any = np.float64) -> NDArray[Any]:
    """Return random numbers: normal, or uniform over a domain."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=shape) if domain is None else rng.uniform(domain[0], domain[1], size=shape)
    return np.asarray(values).astype(dtype)


def array_of(value: Any, what: str) -> NDArray[Any]:
    """Return what user code returned, if it is an array of floats; a NumPy scalar is an array of no axes."""
    if not isinstance(value, (np.ndarray, np.generic)):
        raise Failure(f"{what} returned {type(value).__name__}: return a NumPy array")
    array = np.asarray(value)
    expect(array.dtype.kind == "f", f"{what} returned dtype {array.dtype}: return an array of the dtype that came")
    return array


def same_bits(a: NDArray[Any], b: NDArray[Any]) -> bool:
    """Return whether two arrays are equal to the last bit."""
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


@contextmanager
def unchanged(what: str, **arrays: NDArray[Any]) -> Iterator[None]:
    """Fail if the block changes an array."""
    before = {name: array.copy() for name, array in arrays.items()}
    yield
    for name, array in arrays.items():
        expect(
            same_bits(array, before[name]),
            f"{what} writes into its argument {name}: work on new arrays ({name} = {name}.copy(), or no in-place "
            "operators)",
        )


def compare(found: NDArray[Any], wanted: NDArray[Any], tolerance: float, what: str, points: NDArray[Any]) -> None:
    """Fail with the worst place, unless the two agree relative to 1 + |wanted|, NaN being equal to NaN."""
    with np.errstate(all="ignore"):
        error = np.abs(found.astype(float) - wanted) / (1 + np.abs(wanted))
    same = (found == wanted) | (np.isnan(found) & np.isnan(wanted))
    error = np.where(same, 0.0, np.where(np.isnan(error), np.inf, error))
    if error.size and error.max() > tolerance:
        worst = np.unravel_index(int(error.argmax()), error.shape)
        raise Failure(f"{what}: at {points[worst]:.6g} got {found[worst]:.9g}, expected {wanted[worst]:.9g}")


def slopes(
    function: Callable[[NDArray[Any]], NDArray[Any]], x: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Return central differences of an elementwise function, their uncertainty, and where they can be trusted.

    They can't where the one-sided ones disagree, as at a kink, and where the function isn't finite.
    """
    with np.errstate(all="ignore"):
        below, at, above = function(x - STEP), function(x), function(x + STEP)
        left, right = (at - below) / STEP, (above - at) / STEP
        middle = (above - below) / (2 * STEP)
        gap = np.abs(right - left)
        trusted = np.isfinite(gap) & (gap <= KINK * (1 + np.abs(middle)))
    return middle, gap, trusted


def check_slopes(
    analytic: NDArray[Any],
    numeric: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    what: str,
    points: NDArray[Any],
    remedy: str,
) -> None:
    """Fail where an analytic derivative is away from `slopes`; also if there was too little to compare."""
    middle, gap, trusted = numeric
    if points.size and trusted.mean() < SHARE:
        raise Failure(
            f"{what} could be compared at {trusted.sum()} of {points.size} points only; declare where it is defined "
            'and smooth: conformance = {"domain": (low, high)}, or {"gradient": "surrogate"} if it isn\'t meant to be '
            "the derivative"
        )
    with np.errstate(all="ignore"):
        error = np.abs(analytic - middle) / (TOLERANCE * np.maximum(1, np.abs(middle)) + gap)
    error = np.where(trusted, np.where(np.isfinite(error), error, np.inf), 0.0)
    if error.size and error.max() > 1:
        worst = np.unravel_index(int(error.argmax()), error.shape)
        raise Failure(
            f"{what} is wrong at {points[worst]:.6g}: got {analytic[worst]:.9g}, finite differences give "
            f"{middle[worst]:.9g}; {remedy}"
        )
