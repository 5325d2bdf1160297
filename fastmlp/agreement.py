"""Whether what was recorded of an activation does what NumPy does: looked at before it is used."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import TOLERANCE
from .recording import Unrecordable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .activations import Activation
    from .extensions import Recording
    from .learnable import Learned

__all__ = ["compare"]

SMALL = (0.0, 1e-30, 1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0, 50.0, 100.0, 1e3, 1e4)
GRID = np.concatenate([np.linspace(-12.3, 12.7, 101), SMALL, np.negative(SMALL)])
BEYOND = np.array([np.inf, -np.inf, np.nan])


def _trials(learned: Mapping[str, Learned]) -> Iterator[dict[str, float]]:
    """Values of learned parameters at which programs are compared: the first ones, and some beside them."""
    yield {name: parameter.value for name, parameter in learned.items()}
    for factor, shift in ((0.5, 0.25), (1.5, -0.25)) if learned else ():
        yield {name: parameter.value * factor or shift for name, parameter in learned.items()}


def compare(activation: Activation, recording: Recording, programs: tuple[Any, Any], dtype: np.dtype[Any]) -> None:
    """Raise `Unrecordable` if a program differs from NumPy on a grid; warn if it does at infinity or NaN."""
    for values in _trials(activation._learned()):
        with np.errstate(all="ignore"):
            _compare(activation._with(values), recording, programs, dtype, values)


def _compare(
    activation: Activation,
    recording: Recording,
    programs: tuple[Any, Any],
    dtype: np.dtype[Any],
    values: Mapping[str, float],
) -> None:
    grid = np.concatenate([GRID, BEYOND]).astype(dtype)
    z, da = grid[: len(GRID)], np.linspace(0.5, 1.5, len(GRID)).astype(dtype)
    graph, rows = recording.graph, recording.inputs({name: np.full_like(grid, values[name]) for name in values})
    given = {name: row[: len(z)] for name, row in rows.items()}
    whole = _forward(activation, grid)
    a = whole[: len(z)]
    *_, most = graph.evaluate([recording.a], {**given, "z": z})
    _same("forward", [a], _run(programs[0], z, *given.values())[0], z, most)
    ulp = 4 * np.spacing(np.abs(z))  # at a corner, either side is right
    sides = (z, z - ulp, z + ulp)
    found = _run(programs[1], z, a, da, *given.values(), outputs=1 + len(given))
    names = ("backward", *(f"derivative by {name!r}" for name in recording.learned))
    for node, name, got in zip((recording.dz, *recording.slopes), names, found, strict=True):
        *_, most = graph.evaluate([node], {**given, "z": z, "a": a, "da": da})
        expected = [_backward(activation, recording, node, {**given, "z": x, "da": da}) for x in sides]
        _same(name, expected, got, z, most)
    beyond = _run(programs[0], grid, *rows.values())[0][len(z) :]
    if not np.allclose(beyond, whole[len(z) :], TOLERANCE[dtype.name], 0, equal_nan=True):
        warnings.warn(
            f"activation {activation!r}, recorded, gives {beyond.tolist()} at {BEYOND.tolist()}, where NumPy gives "
            f"{whole[len(z) :].tolist()}",
            RuntimeWarning,
            stacklevel=2,
        )


def _forward(activation: Activation, z: NDArray[Any]) -> NDArray[Any]:
    return _array("forward", activation.forward, z)


def _backward(activation: Activation, recording: Recording, node: int, given: Mapping[str, Any]) -> NDArray[Any]:
    """dz in NumPy: by the class, or by the graph where it was differentiated, as it always is by parameters."""
    z, da = given["z"], given["da"]
    if node == recording.dz and recording.own:
        a = _forward(activation, z)
        return _array("backward", activation.backward, z, a, da)
    return recording.graph.evaluate([node], given, z.dtype)[0]


def _array(name: str, method: Any, z: NDArray[Any], *others: NDArray[Any]) -> NDArray[Any]:
    """What NumPy code returns, as the Python operation of a plan would take it."""
    arrays = [x.view() for x in (z, *others)]
    for x in arrays:
        x.flags.writeable = False
    try:
        value = method(*arrays)
    except Exception as error:  # as it will in Python at every step
        raise Unrecordable(f"{name}: in NumPy, {type(error).__name__}: {error}") from error
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.shape != z.shape:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise Unrecordable(f"{name}: in NumPy, it returns {got} for {z.dtype} {z.shape}")
    return value.astype(z.dtype)


def _run(program: Any, *inputs: NDArray[Any], outputs: int = 1) -> list[NDArray[Any]]:
    out = [np.empty_like(inputs[0]) for _ in range(outputs)]
    program.run(inputs, out)
    return out


def _same(name: str, expected: list[NDArray[Any]], found: NDArray[Any], z: NDArray[Any], most: NDArray[Any]) -> None:
    """That a result lies within NumPy's, which come from z and beside it, wherever they are finite."""
    allowed = TOLERANCE[found.dtype.name] * np.maximum(most, np.abs(expected[0]))
    low, high = np.minimum.reduce(expected) - allowed, np.maximum.reduce(expected) + allowed
    wrong = np.isfinite(low) & np.isfinite(high) & ~((low <= found) & (found <= high))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise Unrecordable(
            f"{name}: recorded, it gives {found[at]!s} at z = {z[at]!s}, where NumPy gives {expected[0][at]!s}"
        )
