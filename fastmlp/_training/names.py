"""Names of columns: a network remembers those of the frames it was trained with, and refuses frames with others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..frames import Names, are_numbered, check_distinct, check_order, column_names

if TYPE_CHECKING:
    from .._compiler.compiled import Compiled

__all__ = ["Columns", "check_columns", "columns_of", "known_columns"]


class Columns(NamedTuple):
    """Names of the columns of inputs and targets; None for arrays, which have none."""

    x: Names | None
    y: Names | None

    def learned(self, given: Columns | None) -> Columns:
        """Return what a network that knows these remembers once it was trained with `given`."""
        return self if given is None else Columns(_learned(self.x, given.x), _learned(self.y, given.y))


def _learned(known: Names | None, given: Names | None) -> Names | None:
    return known if known is not None or given is None or are_numbered(given) else given


def columns_of(x: Any, y: Any = None) -> Columns | None:
    """Return the names of the columns of arguments, None if both are arrays; that of a single target says nothing."""
    if type(x) is np.ndarray and (y is None or type(y) is np.ndarray):
        return None
    targets = column_names(y)
    return Columns(column_names(x), None if targets is None or len(targets) < 2 else targets)


def known_columns(compiled: Compiled) -> Columns:
    """Return the names that a network remembers."""
    return Columns(compiled.feature_names, compiled.target_names)


def check_columns(given: Columns, known: Columns) -> None:
    """Refuse frames whose columns are others than those that a network knows, or in another order; ValueError.

    Where it knows none, they must be distinct. Columns that are numbered count as an array's, unless the names that it
    knows are numbers.
    """
    for name, names, expected, attribute in zip("xy", given, known, ("feature_names", "target_names"), strict=True):
        if names is None or (are_numbered(names) and not (expected and all(isinstance(one, int) for one in expected))):
            continue
        if expected is None:
            check_distinct(name, names)
        else:
            check_order(name, names, expected, attribute)
