"""Metrics: what is watched beside the loss."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .configurable import Configurable
from .registry import metrics as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Accuracy", "MeanAbsoluteError", "MeanSquaredError", "Metric"]


class Metric(Configurable):
    """Base of all metrics: `reset`, then `update` batch by batch, then `result`.

    A subclass that is a weighted mean over rows writes `rows` alone.
    """

    total: float = 0.0
    weight: float = 0.0
    labels: bool = True  # whether targets may be labels; if not, they must be rows as wide as the outputs

    def reset(self) -> None:
        """Forget what was seen."""
        self.total = self.weight = 0.0

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        """Return the metric of each row ``(batch,)``."""
        raise NotImplementedError(f"{type(self).__qualname__} has neither rows nor update")

    def update(self, y_true: NDArray[Any], y_pred: NDArray[Any], weight: NDArray[Any] | None) -> None:
        """See one batch; `weight` is ``(batch,)`` or None."""
        values = np.asarray(self.rows(y_true, y_pred), dtype=np.float64)
        self.total += float(values.sum() if weight is None else values @ weight)
        self.weight += float(len(values) if weight is None else weight.sum())

    def result(self) -> float:
        """The weighted mean over the rows seen."""
        return self.total / self.weight if self.weight else float("nan")


registry.base = Metric


@registry.builtin("accuracy")
class Accuracy(Metric):
    """Share of rows classified rightly; what that means follows from the loss and the outputs. Compiled.

    Labels: the largest output is the label. Rows of probabilities: the largest output is the largest target. One
    output, or yes-or-no outputs: on the same side of 0.5 as the target, averaged over the outputs.

    Parameters
    ----------
    kind : {None, "sparse", "categorical", "binary"}
        None takes what goes with the loss; a kind of one's own choice is computed in NumPy.
    """

    def __init__(self, kind: str | None = None) -> None:
        if kind not in (None, "sparse", "categorical", "binary"):
            raise ValueError(f"kind: expected None, 'sparse', 'categorical' or 'binary', got {kind!r}")
        self.kind = kind

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        if self.kind == "binary":
            return np.asarray(((y_pred > 0.5) == (y_true > 0.5)).mean(axis=1))
        labels = y_true if self.kind == "sparse" else y_true.argmax(axis=1)
        return np.asarray(y_pred.argmax(axis=1) == labels)


@registry.builtin("mean_squared_error", "mse")
class MeanSquaredError(Metric):
    """``mean (yhat - y)^2`` over rows and outputs."""

    labels = False

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.square(y_pred - y_true).mean(axis=1))


@registry.builtin("mean_absolute_error", "mae")
class MeanAbsoluteError(Metric):
    """``mean |yhat - y|`` over rows and outputs."""

    labels = False

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(np.abs(y_pred - y_true).mean(axis=1))


get = registry.get
