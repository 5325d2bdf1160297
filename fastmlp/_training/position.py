"""``Position``: where a training stands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .means import RunningMeans

__all__ = ["Position"]


class Position:
    """Where a training stands: all that decides what comes next, beside the network and the data.

    A training that goes on from a position, with the network, the data and the batch size of then, does the same to
    the bit as one that was never interrupted.

    Parameters
    ----------
    epoch : int
        The epoch at hand, as callbacks see it.
    batch : int
        The batches of it that are done.
    order_key : int or None
        What keys, beside the seed, the order of the rows in it: the network's epoch counter. None before its first
        batch.
    means : RunningMeans or None
        The loss and the metrics of it so far; None before its first batch.
    """

    def __init__(
        self, epoch: int = 0, batch: int = 0, order_key: int | None = None, means: RunningMeans | None = None
    ) -> None:
        self.epoch, self.batch, self.order_key, self.means = epoch, batch, order_key, means

    def next_epoch(self) -> None:
        """Go to the beginning of the next epoch."""
        self.epoch += 1
        self.batch, self.order_key, self.means = 0, None, None
