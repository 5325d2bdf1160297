"""``clip_value``, ``squared_norm``, ``clip_norm``: what an optimizer clips of gradients, which are finite by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._kernels import NONE, PENALTY_CHUNK
from ..plan import Note

if TYPE_CHECKING:
    from ...optimizers import Clipping
    from ..lower import Lowering

__all__ = ["add_clipping"]


def add_clipping(to: Lowering, clipping: Clipping) -> None:
    """Clip the gradients of what is learned: by value, then each parameter's norm, then the norm of all."""
    to.index = NONE
    each = [to.memory.segments({key}, merged=False) for key in to.memory.specs if key in to.trainable]
    alone = [(first, last, k) for k, ((first, last, _),) in enumerate(filter(None, each))]  # neighbours may touch
    merged = [(first, last, 0) for first, last, _ in to.memory.segments(to.trainable, merged=True)]
    if not alone:
        return
    if clipping.value is not None:
        _emit(to, "clip_value", merged, clipping.value)
    for limit, segments in ((clipping.norm, alone), (clipping.global_norm, merged)):
        if limit is not None:
            chunks = sum(-(-(last - first) // PENALTY_CHUNK) for first, last, _ in segments)
            sums = to.allocate(chunks * 8 // to.dtype.itemsize)  # in double
            _emit(to, "squared_norm", segments, limit, sums)
            _emit(to, "clip_norm", segments, limit, sums)


def _emit(to: Lowering, name: str, segments: list[tuple[int, int, int]], limit: float, sums: int = NONE) -> None:
    size = sum(last - first for first, last, _ in segments)
    fields = {"segments": to.entries(segments), "n_segments": len(segments), "sums": sums, "limit": limit}
    to.emit(name, Note((size,), (f"limit {limit:g}",)), size=size, cost=size, **fields)
