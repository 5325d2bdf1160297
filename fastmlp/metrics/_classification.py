"""Metrics of classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import metrics as registry
from ._base import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..losses import Loss


KINDS = ("sparse", "categorical", "binary", "signs")


@registry.builtin("accuracy")
class Accuracy(Metric):
    """Share of rows classified rightly; what that means follows from the loss and the outputs. Compiled.

    Labels: the largest output is the label. Rows of probabilities: the largest output is the largest target. One
    output, or yes-or-no outputs: on the same side of 0.5 as the target, averaged over the outputs; logits and margins
    say yes above 0.

    Parameters
    ----------
    kind : {None, "sparse", "categorical", "binary", "signs"}
        None takes what goes with the loss; a kind of one's own choice is computed in NumPy. ``"binary"`` is
        ``"signs"``, the side of 0, beside a loss of logits or margins.
    """

    better = "higher"

    def __init__(self, kind: str | None = None) -> None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind: expected None, {', '.join(map(repr, KINDS))}, got {kind!r}")
        self.kind = kind

    @property
    def labels(self) -> bool:  # type: ignore[override]
        """Whether targets may be labels."""
        return self.kind in (None, "sparse")

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return the accuracy of the kind that goes with the loss."""
        kind = loss.accuracy_of(units) if self.kind is None else self.kind
        if loss.target_units(units) != units:
            raise ValueError(
                f"metric 'accuracy' compares each output with its target, but {loss!r} has fewer targets than outputs"
            )
        if kind == "sparse" and not loss.labels:
            raise ValueError(
                f"metric {self!r} takes labels, but targets of {type(loss).__name__} are rows; leave out the kind"
            )
        if kind == "binary" and loss.probabilities is False:
            kind = "signs"
        return self if kind == self.kind else type(self).from_config({**self.get_config(), "kind": kind})

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        if self.kind in ("binary", "signs"):
            least = 0.5 if self.kind == "binary" else 0.0
            return np.asarray(((y_pred > least) == (y_true > 0.5)).mean(axis=1))
        labels = y_true if self.kind == "sparse" else y_true.argmax(axis=1)
        return np.asarray(y_pred.argmax(axis=1) == labels)
