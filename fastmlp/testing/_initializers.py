"""Checks of initializers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._networks import file, threads, trains
from ._numbers import DTYPES, array_of, same_bits
from ._outcome import Failure, Skipped, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHECKS"]

KERNEL = (6, 4)
OTHERS = ((1, 1), (4, 6), (5,), (2, 3, 4))


def _values(subject: Subject, shape: tuple[int, ...], dtype: Any = np.float64, seed: int = 0) -> NDArray[Any]:
    return array_of(subject.make()(shape, np.random.default_rng(seed), dtype), "the initializer")


def shape(subject: Subject) -> None:
    """Return an array of the shape asked for; a shape that makes no sense is a ValueError."""
    expect(
        _values(subject, KERNEL).shape == KERNEL,
        f"for a kernel {KERNEL} it gave shape {_values(subject, KERNEL).shape}",
    )
    for wanted in OTHERS:
        try:
            got = _values(subject, wanted).shape
        except ValueError:
            continue
        expect(got == wanted, f"for shape {wanted} it gave {got}: return that shape, or raise a ValueError")


def dtype(subject: Subject) -> None:
    """Return the dtype asked for, float32 or float64, given as a string or as np.dtype."""
    for wanted in (*DTYPES, *map(str, DTYPES)):
        got = _values(subject, KERNEL, wanted).dtype
        expect(got == wanted, f"for dtype {wanted} it gave {got}: end with values.astype(dtype)")


def finite(subject: Subject) -> None:
    """Return finite numbers."""
    for wanted in DTYPES:
        values = _values(subject, (40, 30), wanted)
        expect(np.isfinite(values).all(), f"{(~np.isfinite(values)).sum()} of {values.size} values are not finite")


def new_arrays(subject: Subject) -> None:
    """Return a new array at every call, one that may be written to."""
    made, rng = subject.make(), np.random.default_rng(0)
    first = array_of(made(KERNEL, rng, np.float64), "the initializer")
    second = array_of(made(KERNEL, rng, np.float64), "the initializer")
    expect(not np.shares_memory(first, second), "two calls return the same memory: return a new array each time")


def repeatable(subject: Subject) -> None:
    """Draw from rng alone: the same state of it gives the same values."""
    made = subject.make()
    first = made(KERNEL, np.random.default_rng(1), np.float64)
    for other in (made, subject.make()):
        expect(
            same_bits(np.asarray(other(KERNEL, np.random.default_rng(1), np.float64)), np.asarray(first)),
            "the same rng gave other values: draw from the rng that is given, and keep no state between calls",
        )


def seeds(subject: Subject) -> None:
    """Give other values for another seed."""
    rng = np.random.default_rng(1)
    before = rng.bit_generator.state
    first = subject.make()(KERNEL, rng, np.float64)
    if rng.bit_generator.state == before:
        raise Skipped("it draws nothing from rng")
    expect(
        not np.array_equal(first, _values(subject, KERNEL, seed=2)),
        "two seeds give the same values: use the numbers that are drawn from rng",
    )


def global_state(subject: Subject) -> None:
    """Leave np.random's global state alone."""
    before = np.random.get_state()  # noqa: NPY002 - the very state that is looked at
    _values(subject, KERNEL)
    after = np.random.get_state()  # noqa: NPY002
    if any(not np.array_equal(a, b) for a, b in zip(before, after, strict=True)):
        raise Failure("it draws from np.random's global generator: use the rng that is given (rng.normal(...))")


CHECKS = (shape, dtype, finite, new_arrays, repeatable, seeds, global_state, trains, threads, file)
