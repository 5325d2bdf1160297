"""What an optimizer clips of gradients before it uses them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import check_number

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Clipping", "check_limit"]


def check_limit(name: str, value: Any) -> float | None:
    """Return a limit of gradients, above 0, or None for none."""
    if value is None:
        return None
    limit = check_number(name, value, 0.0)
    if not limit:
        raise ValueError(f"{name}: expected a number above 0, or None, got {value!r}")
    return limit


class Clipping(NamedTuple):
    """The limits of gradients, of which several may hold: they are applied in this order.

    Attributes
    ----------
    value : float or None
        Each number g becomes ``min(max(g, -value), value)``.
    norm : float or None
        The gradient of each parameter whose norm is larger is scaled to this norm.
    global_norm : float or None
        All gradients together, if their norm is larger, are scaled to this norm.
    """

    value: float | None = None
    norm: float | None = None
    global_norm: float | None = None

    def __bool__(self) -> bool:
        return self != (None, None, None)

    def apply(self, gradients: list[NDArray[Any]]) -> None:
        """Clip finite gradients in place."""
        for g in gradients if self.value is not None else ():
            np.clip(g, -self.value, self.value, out=g)  # type: ignore[operator]
        for g in gradients if self.norm is not None else ():
            _scale([g], self.norm)
        if self.global_norm is not None:
            _scale(gradients, self.global_norm)


def _scale(gradients: list[NDArray[Any]], limit: float | None) -> None:
    most = max((float(np.abs(g).max(initial=0.0)) for g in gradients), default=0.0)
    if not most or limit is None:
        return
    # By the largest number, so that no square overflows.
    norm = np.sqrt(sum(np.square(g.astype(np.float64) / most).sum() for g in gradients))
    if norm > limit / most:
        for g in gradients:
            g *= g.dtype.type(limit / most / norm)
