"""Sums of elementwise terms, recorded or in Python: how a loss (over a row) and a regularizer (of a parameter) runs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..losses import Loss, kernel_of
from ..recording import Unrecordable
from ..regularizers import Regularizer

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..program import Assembled

__all__ = ["Reduction", "loss_reduction", "penalty_reduction", "speed_of"]

CACHE = "_fastmlp_reductions"  # where an object keeps what was found, beside what it was found for
_busy: set[tuple[int, int]] = set()  # what is being recorded, by thread


class Reduction(NamedTuple):
    """What recording found: ``scale * sum(terms) + shift`` and the slopes of the terms; or why it runs in Python.

    Attributes
    ----------
    program : Assembled or None
        Of a loss from target and output to term and slope; of a regularizer from number and gradient to term and
        gradient with the slope added.
    value : Assembled or None
        Of a regularizer: from number to term, where no gradient is asked for.
    reason : str or None
        Why there is no program.
    """

    program: Assembled | None = None
    value: Assembled | None = None
    scale: float = 1.0
    shift: float = 0.0
    reason: str | None = None

    @property
    def operations(self) -> int:
        """Passes over a block."""
        return 0 if self.program is None else len(self.program.code)


def loss_reduction(loss: Loss, dtype: np.dtype[Any], units: int) -> Reduction:
    """How a loss without a kernel runs on outputs ``(batch, units)``; recorded anew where an attribute has changed."""
    from ._losses import recorded  # what kernels need no part of

    return _found(loss, (dtype, units), lambda: recorded(loss, dtype, units))


def penalty_reduction(regularizer: Regularizer, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Reduction:
    """How a regularizer of a parameter of this shape runs; recorded anew where an attribute has changed."""
    from ._penalties import recorded

    return _found(regularizer, (dtype, shape), lambda: recorded(regularizer, dtype, shape))


def speed_of(obj: Loss | Regularizer, dtype: np.dtype[Any]) -> tuple[str, str | None]:
    """``"builtin"``, ``"recorded"`` or ``"python"``, and why the last; on a few columns."""
    if isinstance(obj, Loss):
        if kernel_of(obj) is not None:
            return "builtin", None
        found = loss_reduction(obj, dtype, 3)
    else:
        found = penalty_reduction(obj, dtype, (4, 3))
    return ("python", found.reason) if found.program is None else ("recorded", None)


def _found(obj: Any, key: Any, record: Callable[[], Reduction]) -> Reduction:
    """What recording found, kept until an attribute changes."""
    seen = _settings(obj)
    kept = vars(obj).get(CACHE)
    if kept is None or not (kept[0] is None or _equal(kept[0], seen)):
        kept = vars(obj)[CACHE] = (seen, {})
    if key in kept[1]:
        found: Reduction = kept[1][key]
        return found
    me = (threading.get_ident(), id(obj))
    if me in _busy:  # its code builds or runs a network that it is recorded for
        return Reduction(reason="it uses a network of itself")
    _busy.add(me)
    try:
        found = record()
        if not _equal(seen, _settings(obj)):
            kept = vars(obj)[CACHE] = (None, {})  # whatever is set, from now on: it would be recorded at every step
            raise Unrecordable("it changes its own attributes when it is called")
    except Unrecordable as reason:
        found = Reduction(reason=str(reason))
    finally:
        _busy.discard(me)
    kept[1][key] = found
    return found


def _settings(obj: Any) -> dict[str, Any]:
    return {name: value for name, value in vars(obj).items() if name != CACHE}


def _equal(before: dict[str, Any], now: dict[str, Any]) -> bool:
    try:
        return bool(before == now)
    except ValueError:  # arrays among them
        return False
