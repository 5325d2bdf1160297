"""``OfClasses``: metrics that must know what targets and outputs mean, which the loss tells them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._base import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..losses import Loss

KINDS = ("sparse", "categorical", "binary")


class OfClasses(Metric):
    """Base of metrics of classes and of yes-or-no answers.

    Parameters
    ----------
    kind : {None, "sparse", "categorical", "binary"}
        Targets are the numbers of classes, rows of probabilities of classes, or yes-or-no answers, one for each output.
        None takes what goes with the loss.
    from_logits : bool, optional
        Whether outputs are logits. None takes what goes with the loss.
    """

    of_probabilities = False  # whether it looks at how large they are

    def __init__(self, kind: str | None = None, from_logits: bool | None = None) -> None:
        if kind is not None and kind not in KINDS:
            raise ValueError(f"kind: expected None, {', '.join(map(repr, KINDS))}, got {kind!r}")
        self.kind = kind
        self.from_logits = None if from_logits is None else bool(from_logits)

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return the metric that knows what targets and outputs mean beside a loss."""
        check_rows(self, loss, units)
        kind = self.kind or loss.accuracy_of(units).replace("signs", "binary")
        if (kind == "sparse") != loss.labels:
            are = "labels" if loss.labels else "rows"
            raise ValueError(f"{self!r} is of kind {kind!r}, but targets of {type(loss).__name__} are {are}")
        if self.of_probabilities and loss.probabilities is False and not hasattr(loss, "from_logits"):
            raise ValueError(f"{self!r} looks at probabilities, but {type(loss).__name__} gives scores of any size")
        logits = loss.probabilities is False if self.from_logits is None else self.from_logits
        if (kind, logits) == (self.kind, self.from_logits):
            return self
        return type(self).from_config({**self.get_config(), "kind": kind, "from_logits": logits})

    def kind_of(self, y: NDArray[Any], outputs: NDArray[Any]) -> str:
        """Return the kind, by the shapes where no loss has told it."""
        return self.kind or ("sparse" if y.ndim == 1 else "categorical" if outputs.shape[1] > 1 else "binary")

    def rows_of(self, y: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
        """Return targets as rows ``(batch, units)``; labels become ones and zeros."""
        return one_hot(y, outputs.shape[1]) if y.ndim == 1 else y

    def probabilities_of(self, y: NDArray[Any], outputs: NDArray[Any]) -> NDArray[Any]:
        """Return the outputs as probabilities, in float64."""
        p = outputs.astype(np.float64)
        if not self.from_logits:
            return p
        if self.kind_of(y, outputs) == "binary":
            e = np.exp(-np.abs(p))
            return np.where(p < 0, e, 1) / (1 + e)
        p = np.exp(p - p.max(axis=1, keepdims=True))
        return np.asarray(p / p.sum(axis=1, keepdims=True))


def check_rows(metric: Metric, loss: Loss, units: int) -> None:
    """Refuse a loss whose targets are not those of single outputs; ValueError."""
    if loss.target_units(units) != units:
        raise ValueError(
            f"{metric!r} compares each output with its target, but {loss!r} has fewer targets than outputs"
        )


def one_hot(labels: NDArray[Any], classes: int) -> NDArray[Any]:
    """Return a row of ones and zeros for each label."""
    return np.asarray(labels[:, None] == np.arange(classes), dtype=np.float64)
