"""Compares the programs of an elementwise function with NumPy, on a grid."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .comparison import TOLERANCE, check_same, run
from .symbols import Untraceable

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .elementwise import Elementwise, Functions, Made

__all__ = ["compare"]

SMALL = (0.0, 1e-30, 1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0, 50.0, 100.0, 1e3, 1e4)
GRID = np.concatenate([np.linspace(-12.3, 12.7, 101), SMALL, np.negative(SMALL)])
BEYOND = np.array([np.inf, -np.inf, np.nan])


def compare(
    make: Made,
    parameters: Mapping[str, float],
    found: Elementwise,
    programs: tuple[Any, Any],
    dtype: np.dtype[Any],
) -> None:
    """Raise `Untraceable` if a program differs from NumPy on a grid; warn if it does at infinity."""
    for values in _trials(parameters):
        with np.errstate(all="ignore"):
            _compare_at(make(values), found, programs, dtype, values)


def _trials(parameters: Mapping[str, float]) -> Iterator[dict[str, float]]:
    """Give values of trainable parameters at which programs are compared: the first ones, and some beside them."""
    yield dict(parameters)
    for factor, shift in ((0.5, 0.25), (1.5, -0.25)) if parameters else ():
        yield {name: value * factor or shift for name, value in parameters.items()}


def _compare_at(
    functions: Functions,
    found: Elementwise,
    programs: tuple[Any, Any],
    dtype: np.dtype[Any],
    values: Mapping[str, float],
) -> None:
    whole = np.concatenate([GRID, BEYOND]).astype(dtype)
    n = len(GRID)
    z, da = whole[:n], np.linspace(0.5, 1.5, n).astype(dtype)
    columns = found.inputs({name: np.full_like(whole, values[name]) for name in values})
    given = {name: column[:n] for name, column in columns.items()}
    expected_whole = _in_numpy("forward", functions.forward, whole)
    found_whole = run(programs[0], [whole, *columns.values()], 1)[0]
    *_, most = found.graph.evaluate([found.a], {**given, "z": z})
    a = expected_whole[:n]
    check_same("forward", found_whole[:n], [a], most, {"z": z}, dtype)
    check_same("forward", found_whole[-1:], [expected_whole[-1:]], np.zeros(1), {"z": whole[-1:]}, dtype)
    ulp = 4 * np.spacing(np.abs(z))  # at a corner, either side is right
    sides = (z, z - ulp, z + ulp)
    results = run(programs[1], [z, a, da, *given.values()], 1 + len(given))
    names = ("backward", *(f"derivative by {name!r}" for name in found.parameters))
    for node, name, got in zip((found.dz, *found.slopes), names, results, strict=True):
        *_, most = found.graph.evaluate([node], {**given, "z": z, "a": a, "da": da})
        expected = [_backward(functions, found, node, {**given, "z": x, "da": da}) for x in sides]
        check_same(name, got, expected, most, {"z": z}, dtype)
    beyond, expected_beyond = found_whole[n:], expected_whole[n:]
    if not np.allclose(beyond, expected_beyond, TOLERANCE[dtype.name], 0, equal_nan=True):
        warnings.warn(
            f"{functions.owner!r}, traced, gives {beyond.tolist()} at {BEYOND.tolist()}, where NumPy gives "
            f"{expected_beyond.tolist()}",
            RuntimeWarning,
            stacklevel=2,
        )


def _backward(functions: Functions, found: Elementwise, node: int, given: Mapping[str, Any]) -> NDArray[Any]:
    """Return dz in NumPy: by the code, or by the graph where it was differentiated, as it always is by parameters."""
    z, da = given["z"], given["da"]
    if node == found.dz and not found.differentiated:
        a = _in_numpy("forward", functions.forward, z)
        return _in_numpy("backward", functions.backward, z, a, da)
    return found.graph.evaluate([node], given, z.dtype)[0]


def _in_numpy(name: str, function: Callable[..., Any], z: NDArray[Any], *others: NDArray[Any]) -> NDArray[Any]:
    """Return what NumPy code gives, as the Python operation of a plan would take it."""
    arrays = [x.view() for x in (z, *others)]
    for x in arrays:
        x.flags.writeable = False
    try:
        value = function(*arrays)
    except Exception as error:  # as it will in Python at every step
        raise Untraceable(f"{name}: in NumPy, {type(error).__name__}: {error}") from error
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.shape != z.shape:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise Untraceable(f"{name}: in NumPy, it returns {got} for {z.dtype} {z.shape}")
    return value.astype(z.dtype)
