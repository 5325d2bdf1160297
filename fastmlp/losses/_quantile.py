"""Quantiles, one or several at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import losses as registry
from ._base import Loss
from ._checks import numbers_above

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("quantile")
class Quantile(Loss):
    """``mean max(q d, (q - 1) d)``, ``d = y - yhat``: the pinball loss, least where yhat is the quantile q of y.

    Several levels take an output each: of k targets and L levels the network gives ``k L`` outputs, those of the first
    target in the order of the levels, then those of the second. The mean is over all of them. The gradient by an output
    is -q where d is positive, 1 - q where it is negative, and 0 at 0, divided by the number of outputs. Koenker and
    Bassett, Regression quantiles, Econometrica, 1978.

    Parameters
    ----------
    levels : float or sequence of float
        Between 0 and 1; 0.5 is the median. Several are computed in NumPy.
    """

    def __init__(self, levels: float | Sequence[float] = 0.5) -> None:
        self.levels = numbers_above("levels", levels, 0.0, 1.0)

    def target_units(self, units: int) -> int:
        """Return how many targets have all levels among the outputs."""
        each = len(self.levels) if isinstance(self.levels, tuple) else 1
        if units % each:
            raise ValueError(
                f"{self!r} takes {each} outputs for each target, one a level, but the network has {units} "
                f"output{'s' * (units > 1)}: use {each} units in the last layer for each target"
            )
        return units // each

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        level: Any = self.levels
        if isinstance(level, tuple):
            y_true = np.repeat(y_true, len(level), axis=1)
            level = np.tile(np.array(level, dtype=y_pred.dtype), y_pred.shape[1] // len(level))
        d = y_true - y_pred
        slope = np.where(d < 0, 1 - level, np.where(d > 0, -level, 0.0)).astype(d.dtype)
        return np.maximum(level * d, (level - 1) * d).mean(axis=1), slope / d.shape[1]
