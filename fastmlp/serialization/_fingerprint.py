"""What an activation does at some fixed points: kept in a file, and compared when the file is loaded.

The code of a foreign activation isn't in the file, so another release of its package could give the loaded network
other outputs without a word. The points lie beside the usual kinks (but for 0), in rows that mix signs and sizes.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import real_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..activations import Activation

__all__ = ["check_form", "compare", "fingerprint"]

GRID = 1  # number of this set of points; other points need another number
POINTS = np.array(
    [
        [-18.5, -0.9, 0.06, 2.1],
        [-7.25, -0.35, 0.4, 3.2],
        [-3.3, -0.04, 0.85, 7.5],
        [-1.7, 0.0, 1.6, 19.0],
    ]
)
SLOPES = np.array([[1.0, -0.5, 0.25, 2.0], [0.5, 1.0, -1.5, 0.75], [-1.0, 2.0, 0.5, 1.5], [1.25, -0.25, 1.0, 0.5]])
PARTS = ("forward", "backward")
RELATIVE, ABSOLUTE = 1e-6, 1e-7  # between machines, also one that computes in float32 differs by less
LARGEST = float(np.finfo(np.float64).max)


def fingerprint(activation: Activation) -> dict[str, Any] | None:
    """Return values and derivatives at the points, as JSON has them; None where nothing could be compared.

    In float64, from the NumPy pair: ``forward(z)`` and ``backward(z, a, da)``, which is ``da * derivative(z, a)``
    unless overridden. `da` is 1 for an elementwise activation, else fixed numbers. What is not finite is None, and
    so is ``backward`` as a whole where there is none. An activation that can't be called on 4 rows of 4, or that
    gives other values when called again, has no fingerprint.
    """
    try:
        first, again = _take(activation), _take(activation)
    except Exception:  # a class that is saved before it works, or that wants rows of its own width
        return None
    return first if difference(first, again) is None else None


def _take(activation: Activation) -> dict[str, Any]:
    z = _read_only(POINTS.copy())
    da = _read_only(np.ones_like(POINTS) if activation.elementwise else SLOPES.copy())
    with np.errstate(all="ignore"):
        a = _checked("forward", activation.forward(z))
        try:
            dz: list[float | None] | None = _numbers(
                _checked("backward", activation.backward(z, _read_only(a.astype(np.float64)), da))
            )
        except NotImplementedError:
            dz = None
    return {"grid": GRID, "forward": _numbers(a), "backward": dz}


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    array.flags.writeable = False
    return array


def _checked(what: str, value: object) -> NDArray[Any]:
    array = real_array(what, value)
    if array.shape != POINTS.shape:
        raise ValueError(f"{what}: expected shape {POINTS.shape}, got {array.shape}")
    return array


def _numbers(array: NDArray[Any]) -> list[float | None]:
    return [number if math.isfinite(number) else None for number in array.astype(np.float64).ravel().tolist()]


def check_form(saved: Any) -> None:
    """Refuse what `fingerprint` doesn't write; ValueError."""
    if not isinstance(saved, dict) or saved.keys() != {"grid", *PARTS}:
        raise ValueError("damaged header: a fingerprint has grid, forward and backward")
    if saved["grid"] != GRID or isinstance(saved["grid"], bool):
        raise ValueError(f"a fingerprint of grid {saved['grid']!r}, of which this fastmlp knows {GRID} alone")
    for part in PARTS:
        numbers = saved[part]
        if numbers is None and part == "backward":
            continue
        if not isinstance(numbers, list) or len(numbers) != POINTS.size or not all(map(_is_number, numbers)):
            raise ValueError(f"damaged header: {part} of a fingerprint should be {POINTS.size} finite numbers or null")


def _is_number(value: Any) -> bool:
    if value is None:
        return True
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= LARGEST


def difference(saved: dict[str, Any], now: dict[str, Any]) -> str | None:
    """Return where two fingerprints differ first, in words; None where they agree to the tolerance."""
    for part in PARTS:
        then, today = saved[part], now[part]
        if then is None:
            continue  # saved without a derivative, which may have come since
        if today is None:
            return f"it had a derivative when it was saved, and has none now (no {part})"
        places = [at for at in range(POINTS.size) if not _close(then[at], today[at])]
        if places:
            at = places[0]
            return (
                f"{'derivative' if part == 'backward' else part} at {POINTS.flat[at]:g} was {_shown(then[at])}, is "
                f"{_shown(today[at])} ({len(places)} of {POINTS.size} points differ)"
            )
    return None


def _close(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is now
    return abs(now - then) <= RELATIVE * abs(then) + ABSOLUTE


def _shown(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.9g}"


def compare(activation: Activation, saved: dict[str, Any]) -> str | None:
    """Return how an activation differs from what was saved of it, in words."""
    try:
        now = _take(activation)
    except Exception as error:
        return f"it fails where it gave values: {type(error).__name__}: {error}"
    return difference(saved, now)
