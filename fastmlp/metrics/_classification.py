"""Metrics of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import metrics as registry
from ._base import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray


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
