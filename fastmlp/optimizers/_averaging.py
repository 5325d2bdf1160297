"""What an optimizer keeps of the weights of earlier steps: their exponential moving average."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import check_integer

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["AVERAGE", "Averaging", "check_every"]

AVERAGE = "average"  # how the state of an optimizer calls it


def check_every(name: str, value: Any) -> int | None:
    """Return a number of steps, at least 1, or None for never."""
    return None if value is None else check_integer(name, value, 1)


class Averaging(NamedTuple):
    """An exponential moving average of the weights.

    Attributes
    ----------
    momentum : float
        The share that is kept of the average.
    every : int or None
        After so many steps the weights become their average.
    """

    momentum: float
    every: int | None

    def update(self, average: NDArray[Any], w: NDArray[Any], step: int) -> None:
        """Take new weights in; `step` counts from 1."""
        new = self.momentum * average + (1 - self.momentum) * w
        np.clip(new, np.minimum(average, w), np.maximum(average, w), out=average)  # however it was rounded
        if self.every is not None and step % self.every == 0:
            w[...] = average
