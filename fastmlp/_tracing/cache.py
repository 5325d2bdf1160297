"""What tracing remembers: of an object as long as its attributes stay what they were, and of programs by what they do.

Objects that are asked about at every step (losses, regularizers, optimizers) are traced once for each dtype and shape,
and again when an attribute has changed. Programs are compared with NumPy once: graphs that are equal and belong to the
same code share them.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from ..configurable import Configurable
from .execution import Execution, in_python
from .symbols import Untraceable

__all__ = ["CHANGES", "attributes", "checked", "entered", "remembered"]

CHANGES = "it changes its own attributes when it is called"
NESTED = "it uses a network of itself"
MOST = 1000  # programs that are remembered
DEPTH = 8  # of attributes within attributes that are looked at

Spec = TypeVar("Spec")
Result = TypeVar("Result")


# -- attributes ------------------------------------------------------------------------------------------------------


class _Identity:
    """A value that equals itself alone."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value

    __hash__ = None  # type: ignore[assignment]


def attributes(owner: object, ignoring: Collection[str] = ()) -> dict[str, Any]:
    """Return the attributes of an object in a form that differs once one of them has changed.

    Numbers, strings, arrays, lists, dicts and objects with a configuration are compared by content, also where they
    were changed in place; anything else by identity.
    """
    return {name: _frozen(value, 0) for name, value in vars(owner).items() if name not in ignoring}


def _frozen(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is float:
        return value.hex()  # NaN equals NaN, and -0 differs from 0
    if kind in (int, bool, str, bytes, type(None)):
        return kind, value
    if depth >= DEPTH:
        return _Identity(value)
    if kind in (list, tuple):
        return kind, [_frozen(part, depth + 1) for part in value]
    if kind is dict:
        return [(key, _frozen(part, depth + 1)) for key, part in value.items()]
    if isinstance(value, (np.ndarray, np.generic)) and not value.dtype.hasobject:
        return value.dtype, value.shape, value.tobytes()
    if isinstance(value, Configurable):
        return kind, [(name, _frozen(part, depth + 1)) for name, part in vars(value).items()]
    return _Identity(value)


# -- objects ---------------------------------------------------------------------------------------------------------


class _Memory:
    """What was found for an object, by dtype and shape, and its attributes then; None if they change by themselves."""

    __slots__ = ("attributes", "found", "owner")

    def __init__(self, owner: object, seen: dict[str, Any] | None) -> None:
        self.owner: weakref.ref[Any] = weakref.ref(owner, lambda _: _memories.pop(id_, None))
        self.attributes = seen
        self.found: dict[Hashable, Execution[Any]] = {}
        id_ = id(owner)


_memories: dict[int, _Memory] = {}  # by the identity of the object: equal ones have memories of their own
_entered: set[tuple[int, int]] = set()  # what is being traced, by thread


def remembered(
    owner: object, key: Hashable, find: Callable[[], Execution[Spec]], ignoring: Collection[str] = ()
) -> Execution[Spec]:
    """Return how an object runs: what `find` returned before, or now if an attribute has changed since.

    Parameters
    ----------
    owner : object
    key : hashable
        What it is asked for: dtype, shape.
    find : callable
        Traces; may raise `Untraceable`.
    ignoring : collection of str
        Attributes that may change without a consequence.
    """
    seen = attributes(owner, ignoring)
    memory = _memories.get(id(owner))
    if memory is None or memory.owner() is not owner or memory.attributes not in (None, seen):
        memory = _memories[id(owner)] = _Memory(owner, seen)
    if key in memory.found:
        return memory.found[key]
    if _is_entered(owner):
        return in_python(NESTED)
    try:
        with entered(owner):
            found = find()
    except Untraceable as reason:
        found = in_python(reason)
    if memory.attributes is not None and attributes(owner, ignoring) != seen:
        memory = _memories[id(owner)] = _Memory(owner, None)  # else it would be traced at every step
        found = found if found.mode == "python" else in_python(CHANGES)
    memory.found[key] = found
    return found


@contextmanager
def entered(owner: object) -> Iterator[None]:
    """Guard the tracing of an object: raise `Untraceable` where its code builds or runs a network that needs it."""
    if _is_entered(owner):
        raise Untraceable(NESTED)
    me = (threading.get_ident(), id(owner))
    _entered.add(me)
    try:
        yield
    finally:
        _entered.discard(me)


def _is_entered(owner: object) -> bool:
    return (threading.get_ident(), id(owner)) in _entered


# -- programs --------------------------------------------------------------------------------------------------------

_checked: dict[Hashable, Any] = {}


def checked(key: Hashable, make: Callable[[], Result]) -> Result:
    """Return what `make` made for an equal key; it makes programs and compares them with NumPy, or raises.

    A key has the class whose code was traced, the graph, the dtype, and the shape where programs depend on it.
    """
    made: Result | None = _checked.get(key)
    if made is not None:
        return made
    try:
        made = make()
    except ValueError as error:  # too large for the virtual machine
        raise Untraceable(str(error)) from None
    if len(_checked) >= MOST:
        _checked.clear()
    _checked[key] = made
    return made
