"""Frames: tables with named columns (pandas, polars), told by ``columns`` and ``__array__``, without any dependency."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Names", "are_numbered", "check_distinct", "check_names", "check_order", "column_names", "numbers_of"]

REAL = "fiub"  # kinds of dtypes that hold real, integer or bool numbers
SHOWN = 12  # names in a message

Names = tuple[str | int, ...]


def column_names(value: object) -> Names | None:
    """Return the names of a frame's columns; None for what is no frame."""
    if isinstance(value, np.ndarray) or not hasattr(value, "__array__"):
        return None
    columns = getattr(value, "columns", None)
    if columns is None or callable(columns):
        return None
    return tuple(map(_plain, columns))


def are_numbered(names: Names) -> bool:
    """Return whether columns are numbered from 0 on, as those of a frame that was made of an array."""
    return names == tuple(range(len(names)))


def _plain(name: object) -> str | int:
    """Return a name as files can hold it."""
    if isinstance(name, int) and not isinstance(name, bool):
        return name
    return int(name) if isinstance(name, np.integer) else str(name)


def numbers_of(value: object) -> NDArray[Any] | None:
    """Return the numbers of a frame or a series whose array as a whole holds objects; None for what is neither.

    Such are columns of different kinds, and the nullable ones of pandas, in which what is missing becomes NaN.

    Raises
    ------
    TypeError
        If a column holds something else; the message names the first ones.
    """
    columns = getattr(value, "columns", None)
    if columns is None or callable(columns):
        return _numbers_of_column(value) if hasattr(value, "dtype") else None
    names = list(columns)
    parts = [_column(value, number, name) for number, name in enumerate(names)]
    found = [_numbers_of_column(part) for part in parts]
    wrong = [
        f"{name!r} ({getattr(part, 'dtype', type(part).__name__)})"
        for name, part, numbers in zip(names, parts, found, strict=True)
        if numbers is None
    ]
    if wrong:
        raise TypeError(f"columns {', '.join(wrong[:SHOWN])} hold something else than numbers, or lack some")
    return np.stack([numbers for numbers in found if numbers is not None], axis=1)


def _column(frame: Any, number: int, name: Any) -> Any:
    # By number where that goes: by a name that two columns have, pandas gives both.
    return frame.iloc[:, number] if hasattr(frame, "iloc") else frame[name]


def _numbers_of_column(column: Any) -> NDArray[Any] | None:
    """Return real numbers, NaN where pandas' nullable types lack one; None if a column holds anything else."""
    array = np.asarray(column)
    if array.dtype.kind in REAL:
        return array
    if array.dtype == object and getattr(column.dtype, "kind", "O") in REAL:
        found: NDArray[Any] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return found
    return None


def check_order(name: str, given: Names, expected: Names, attribute: str) -> None:
    """Refuse a frame whose columns are not those that a network knows, in their order; the message names both."""
    if given == expected:
        return
    twice = sorted({str(one) for one in given if given.count(one) > 1})
    missing = [one for one in expected if one not in given]
    additional = [one for one in given if one not in expected]
    found = [
        f"{label} {_shown(names)}"
        for label, names in (("missing", missing), ("extra", additional), ("twice", twice))
        if names
    ]
    raise ValueError(
        f"{name}: expected the columns {_shown(expected)} in this order, as the network was trained with, got "
        f"{_shown(given)}{': ' if found else ''}{', '.join(found)}; put them in order, or set "
        f"net.{attribute} = None to ignore the names"
    )


def check_names(name: str, names: Any, number: int | None) -> Names | None:
    """Return names that a user, or a file, gives for columns, of which there are so many: None, or distinct ones."""
    if names is None:
        return None
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise TypeError(f"{name}: expected a list of names, or None, got {names!r}")
    given = tuple(names)
    if not all(isinstance(one, (str, int)) and not isinstance(one, bool) for one in given):
        raise TypeError(f"{name}: expected names, text or whole numbers, got {_shown(given)}")
    check_distinct(name, given)
    if number is not None and len(given) != number:
        raise ValueError(f"{name}: expected {number}, one for each column, got {len(given)}")
    return given


def check_distinct(name: str, given: Names) -> None:
    """Refuse names that occur twice."""
    twice = sorted({str(one) for one in given if given.count(one) > 1})
    if twice:
        raise ValueError(f"{name}: two columns have the same name: {_shown(twice)}; rename one")


def _shown(names: Sequence[object]) -> str:
    """Return names in a message: not all of a wide table."""
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"{list(names[:SHOWN])}{more}"
