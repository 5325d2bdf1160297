"""What Python's copy protocols take along of an object: everything, but for what belongs to its place."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

__all__ = ["reduced"]


def reduced(reduction: Any, without: Collection[str], through: Callable[..., Any] | None = None) -> Any:
    """Return what ``object.__reduce_ex__`` gave, changed.

    Parameters
    ----------
    reduction : tuple or str
        A class that writes ``__reduce__`` or ``__getstate__`` decides for itself: what it gives may be left as it is.
    without : collection of str
        Attributes that stay out of the state.
    through : callable, optional
        Makes the new object in the place of what did, which it gets before the arguments.
    """
    if not isinstance(reduction, tuple) or len(reduction) < 3:
        return reduction
    make, arguments, state, *rest = reduction
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if isinstance(attributes, dict):
        kept = {name: value for name, value in attributes.items() if name not in without}
        state = kept if slots is None else (kept, slots)
    if through is not None:
        make, arguments = through, (make, *arguments)
    return make, arguments, state, *rest
