"""``keep_output``: copies the outputs of the batch to where an epoch keeps them, for metrics that NumPy computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..plan import BATCH, Note, Tensor

if TYPE_CHECKING:
    from ..lower import Lowering

__all__ = ["add_keep_output"]


def add_keep_output(to: Lowering, out: Tensor) -> None:
    """Add the copy of the outputs; it does nothing in runs that keep none."""
    to.emit("keep_output", Note((BATCH, out.units)), x=out.ref, ldx=out.ld, units=out.units, row_cost=out.units)
