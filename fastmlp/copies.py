"""What Python's copy protocols take along of an object: everything, but for what belongs to its place."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

__all__ = ["reduced"]


def reduced(reduction: Any, without: Collection[str]) -> Any:
    """Return what ``object.__reduce_ex__`` gave, some attributes left out of the state.

    A class that writes ``__getstate__`` decides for itself.
    """
    make, arguments, state, *rest = reduction
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if not isinstance(attributes, dict):
        return reduction
    kept = {name: value for name, value in attributes.items() if name not in without}
    return make, arguments, kept if slots is None else (kept, slots), *rest
