"""Precision, recall, F1: by counts of right and wrong answers over all rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_integer, check_number
from ..registry import metrics as registry
from ._base import Metric, registered_name
from ._meaning import OfClasses, one_hot

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..losses import Loss

AVERAGES = ("macro", "micro", "weighted")


class _Counts(OfClasses):
    """Base of what is computed of right yeses, wrong yeses and wrong noes of each class."""

    better = "higher"
    data_attributes: ClassVar[frozenset[str]] = Metric.data_attributes | {"counts"}

    counts: NDArray[Any] | None = None  # rows: right yeses, wrong yeses, wrong noes; a column for each class

    def __init__(
        self,
        threshold: float | None = None,
        class_id: int | None = None,
        average: str = "macro",
        kind: str | None = None,
        from_logits: bool | None = None,
    ) -> None:
        super().__init__(kind, from_logits)
        if average not in AVERAGES:
            raise ValueError(f"average: expected one of {', '.join(map(repr, AVERAGES))}, got {average!r}")
        self.threshold = None if threshold is None else check_number("threshold", threshold)
        self.class_id = None if class_id is None else check_integer("class_id", class_id, 0)
        self.average = average

    @property
    def name(self) -> str | None:  # type: ignore[override]
        """What logs call it: with the class, where it looks at one."""
        return None if self.class_id is None else f"{registered_name(self)}_{self.class_id}"

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return the metric that knows what targets and outputs mean beside a loss."""
        if self.class_id is not None and self.class_id >= units:
            raise ValueError(f"{self!r} looks at class {self.class_id}, but the network has {units} outputs, from 0 on")
        found = super().for_loss(loss, units)
        if self.threshold is not None and found.get_config()["kind"] != "binary":
            raise ValueError(
                f"{self!r} has a threshold, but a row has one class here, which is that of the largest output"
            )
        return found

    def reset(self) -> None:
        """Forget what was seen."""
        self.counts = None

    def update(self, y_true: NDArray[Any], y_pred: NDArray[Any], weight: NDArray[Any] | None) -> None:
        """Count one batch."""
        if self.kind_of(y_true, y_pred) == "binary":
            least = self.threshold if self.threshold is not None else 0.0 if self.from_logits else 0.5
            yes, said = y_true > 0.5, y_pred > least
        else:
            labels = y_true if y_true.ndim == 1 else y_true.argmax(axis=1)
            yes, said = (one_hot(one, y_pred.shape[1]) > 0 for one in (labels, y_pred.argmax(axis=1)))
        shares = np.ones(len(y_pred)) if weight is None else weight.astype(np.float64)
        found = np.stack([shares @ both for both in (yes & said, ~yes & said, yes & ~said)])
        self.counts = found if self.counts is None else self.counts + found

    def result(self) -> float:
        """Return the mean over the classes that occur, in targets or in answers; NaN before anything was seen."""
        if self.counts is None:
            return float("nan")
        counts = self.counts
        if self.class_id is not None:
            counts = counts[:, self.class_id : self.class_id + 1]
        elif self.average == "micro":
            counts = counts.sum(axis=1, keepdims=True)
        values = self.of_counts(*counts)
        occurs = counts.sum(axis=0) > 0
        weights = counts[0] + counts[2] if self.average == "weighted" else occurs.astype(np.float64)
        return float((values * weights).sum() / weights.sum()) if weights.sum() else 0.0

    def of_counts(self, right: NDArray[Any], wrong: NDArray[Any], missed: NDArray[Any]) -> NDArray[Any]:
        """Return the metric of each class."""
        raise NotImplementedError


def _share(part: NDArray[Any], whole: NDArray[Any]) -> NDArray[Any]:
    """Return part / whole, and 0 for 0 / 0."""
    return np.asarray(np.divide(part, whole, out=np.zeros_like(part), where=whole > 0))


PARAMETERS = """

    With one output it is that of the answer yes. Where there are several classes, or answers, it is the mean over those
    that occur in targets or outputs. As scikit-learn's; Keras's counts all outputs above a threshold together.

    Parameters
    ----------
    threshold : float, optional
        Above it an output says yes; for yes-or-no answers alone. None: 0.5, or 0 beside a loss of logits or margins.
    class_id : int, optional
        The class, or output, to look at; None looks at all of them.
    average : {"macro", "micro", "weighted"}
        Every class counts alike; all answers are counted together; classes count by how often they are targets.
    kind, from_logits
        What targets and outputs mean; None takes what goes with the loss, see `OfClasses`.
    """


@registry.builtin("precision")
class Precision(_Counts):
    __doc__ = "Share of the answers yes that are right: ``TP / (TP + FP)``, 0 where there are none." + PARAMETERS

    def of_counts(self, right: NDArray[Any], wrong: NDArray[Any], missed: NDArray[Any]) -> NDArray[Any]:
        """Return the metric of each class."""
        return _share(right, right + wrong)


@registry.builtin("recall")
class Recall(_Counts):
    __doc__ = "Share of the targets yes that are found: ``TP / (TP + FN)``, 0 where there are none." + PARAMETERS

    def of_counts(self, right: NDArray[Any], wrong: NDArray[Any], missed: NDArray[Any]) -> NDArray[Any]:
        """Return the metric of each class."""
        return _share(right, right + missed)


@registry.builtin("f1_score")
class F1Score(_Counts):
    __doc__ = "Harmonic mean of precision and recall: ``2 TP / (2 TP + FP + FN)``, 0 for 0 / 0." + PARAMETERS

    def of_counts(self, right: NDArray[Any], wrong: NDArray[Any], missed: NDArray[Any]) -> NDArray[Any]:
        """Return the metric of each class."""
        return _share(2 * right, 2 * right + wrong + missed)
