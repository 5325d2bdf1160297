"""Names of columns: a network remembers those of the frames that it is trained with, and takes no others."""

from __future__ import annotations

from typing import Any

from .._compiler.compiled import Compiled
from ..frames import are_numbered, check_distinct, check_order, column_names

__all__ = ["ForgetNamesIfRefused", "check_columns"]

REMEMBERED_AS = {"x": "feature_names", "y": "target_names"}


class ForgetNamesIfRefused:
    """Leave no names of columns behind a call that is refused."""

    def __init__(self, compiled: Compiled) -> None:
        self._compiled = compiled
        self._before = {attribute: getattr(compiled, attribute) for attribute in REMEMBERED_AS.values()}

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is not None:
            for attribute, names in self._before.items():
                setattr(self._compiled, attribute, names)


def check_columns(compiled: Compiled, name: str, value: Any, *, remember: bool = False) -> None:
    """Refuse a frame whose columns are others than those that the network was trained with, or in another order.

    With `remember`, a network without names gets those of the frame. Arrays, and frames whose columns are numbered
    where the network knows names, have none, and are taken as they are; the name of a single target says nothing.
    """
    given = column_names(value)
    if given is None or (name == "y" and len(given) < 2):
        return
    attribute = REMEMBERED_AS[name]
    known = getattr(compiled, attribute)
    if known is None:
        if remember and not are_numbered(given):
            check_distinct(name, given)
            setattr(compiled, attribute, given)
    elif not are_numbered(given) or all(isinstance(one, int) for one in known):
        check_order(name, given, known, attribute)
