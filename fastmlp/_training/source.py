"""Sources of batches: arrays in memory, or an iterable; both hand out blocks that an executable reads in place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .._kernels import plan as kernel_plan
from .budget import copy_budget
from .data import Dataset, check_targets, prepare
from .identity import identity_of_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._compiler.compiled import Compiled
    from ..losses import Loss

__all__ = ["ArraySource", "Block", "IterableSource", "Source"]

BLOCK_BYTES = 256 << 10  # of rows that are cast at a time, where not all are: they should stay in cache


class Block:
    """Some batches of an epoch.

    Parameters
    ----------
    data : Dataset
        In the network's dtype, to be read in place.
    order : ndarray of int64
        The rows of `data` that the batches take, one batch after the other.
    batch_size : int
        Rows of each batch but the last.
    loss : Loss
        The loss that the targets were checked for.
    """

    def __init__(self, data: Dataset, order: NDArray[np.int64], batch_size: int, loss: Loss) -> None:
        self.data, self.order, self.batch_size, self.loss = data, order, batch_size, loss

    def check_loss(self, compiled: Compiled) -> None:
        """Check the targets once more where a callback has compiled the network for another loss."""
        if compiled.loss is not self.loss:
            loss, _ = compiled.objective()
            assert self.data.y is not None
            check_targets(self.data.y, len(self.data.x), compiled.units, loss, compiled.dtype)
            self.loss = loss

    def skip_weightless(self, at: int) -> int:
        """Return where the next batch begins of which some row counts: others are no steps."""
        weight = self.data.weight
        while weight is not None and at < len(self.order) and not weight[self.order[at : at + self.batch_size]].any():
            at = min(at + self.batch_size, len(self.order))
        return at


class Source(Protocol):
    """Where the batches of an epoch come from.

    Attributes
    ----------
    n_batches : int or None
        Batches of an epoch; None where nobody knows.
    limit : int or None
        Batches after which an epoch ends early.
    """

    n_batches: int | None
    limit: int | None

    def blocks(self, first: int, order_key: int | None) -> Iterator[Block]:
        """Return an epoch's batches from number `first` on."""

    def identity(self) -> dict[str, str]:
        """Return what tells these batches from others, in words."""


class ArraySource:
    """Batches of arrays in memory.

    Arrays of the network's dtype are read where they are. Others are cast once, if the source is read more than once
    and the copy fits into memory (`copy_budget`), else in blocks of many batches as these come. Labels and weights are
    those of when the source is made.

    Parameters
    ----------
    compiled : Compiled
    data : Dataset
    batch_size : int
    limit : int, optional
        Batches of an epoch, at most.
    shuffle : bool
        Take the rows in an order that is keyed by the seed and the key of an epoch.
    once : bool
        The source is read once.
    """

    def __init__(
        self,
        compiled: Compiled,
        data: Dataset,
        batch_size: int,
        *,
        limit: int | None = None,
        shuffle: bool = False,
        once: bool = False,
    ) -> None:
        self._compiled = compiled
        assert compiled.loss is not None
        self._loss = compiled.loss
        n = len(data.x)
        self._batch_size, self._shuffle = min(batch_size, n), shuffle
        self._end = n if limit is None else min(n, limit * self._batch_size)
        self._order = np.arange(n, dtype=np.int64)
        self.limit = limit
        self.n_batches: int | None = -(-self._end // self._batch_size)
        data = data.of_now()
        to_copy = data.copy_bytes(compiled.dtype)
        if to_copy and not once and to_copy <= copy_budget():
            data, to_copy = data.readable(compiled.dtype), 0
        self._data, self._in_place = data, not to_copy

    def blocks(self, first: int = 0, order_key: int | None = None) -> Iterator[Block]:
        """Return an epoch's batches from number `first` on: in one block, if nothing must be cast."""
        if self._shuffle:
            assert order_key is not None
            kernel_plan.shuffle(self._order, self._compiled.seed, order_key)
        order = self._order[first * self._batch_size : self._end]
        if self._in_place:
            return iter((Block(self._data, order, self._batch_size, self._loss),))
        return self._cast_blocks(order)

    def identity(self) -> dict[str, str]:
        """Return what tells these batches from others, in words: sizes and checksums of the data."""
        return {
            **identity_of_data(self._data, self._compiled.dtype),
            "batch_size": str(self._batch_size),
            "steps_per_epoch": str(self.limit),
            "shuffle": str(self._shuffle),
        }

    def _cast_blocks(self, order: NDArray[np.int64]) -> Iterator[Block]:
        dtype = self._compiled.dtype
        batches = max(BLOCK_BYTES // max(self._data.row_bytes(dtype) * self._batch_size, 1), 1)
        rows = batches * self._batch_size
        identity = np.arange(min(rows, len(order)), dtype=np.int64)
        for at in range(0, len(order), rows):
            part = slice(at, at + rows) if not self._shuffle else order[at : at + rows]
            data = self._data.take(part, dtype)
            yield Block(data, identity[: len(data.x)], self._batch_size, self._loss)


class IterableSource:
    """Batches of an iterable of ``(x, y[, weight])``, which is iterated anew each epoch.

    One whose weights are all 0 is no step, as among the batches of arrays.

    Parameters
    ----------
    compiled : Compiled
    batches : iterable
    limit : int, optional
        Batches of an epoch, at most.
    """

    def __init__(self, compiled: Compiled, batches: Iterable[Any], limit: int | None = None) -> None:
        self._compiled, self._batches = compiled, batches
        self.n_batches = self.limit = limit

    def blocks(self, first: int = 0, order_key: int | None = None) -> Iterator[Block]:
        """Yield an epoch's batches from number `first` on, each as a block."""
        for batch in islice(self._batches, first, self.limit):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError(f"fit: expected batches (x, y) or (x, y, weight), got {type(batch).__name__}")
            data = prepare(self._compiled, *batch, training=True, weightless=True).readable(self._compiled.dtype)
            loss, _ = self._compiled.objective()
            yield Block(data, np.arange(len(data.x), dtype=np.int64), len(data.x), loss)

    def identity(self) -> dict[str, str]:
        """Return what can be known of an iterable."""
        return {"x": "an iterable", "steps_per_epoch": str(self.limit)}
