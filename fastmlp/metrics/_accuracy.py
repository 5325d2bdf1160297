"""Accuracies of one kind each, by Keras's names, and those of the k largest outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_count, check_number
from ..registry import metrics as registry
from ._base import Metric
from ._meaning import check_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..losses import Loss


class _OfRows(Metric):
    better = "higher"
    labels = False

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return this one, beside a loss whose targets it can take."""
        check_rows(self, loss, units)
        return self


class _OfLabels(Metric):
    better = "higher"
    labels = True

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return this one, beside a loss whose targets it can take."""
        if not loss.labels:
            raise ValueError(
                f"{self!r} takes labels, but targets of {type(loss).__name__} are rows: use 'categorical_accuracy' or "
                "'top_k_categorical_accuracy'"
            )
        return self


@registry.builtin("binary_accuracy")
class BinaryAccuracy(_OfRows):
    """Share of outputs on the right side of a threshold; targets above 0.5 say yes.

    Parameters
    ----------
    threshold : float, optional
        An output above it says yes. None: 0.5, or 0 beside a loss of logits or margins.
    """

    def __init__(self, threshold: float | None = None) -> None:
        self.threshold = None if threshold is None else check_number("threshold", threshold)

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return the one whose threshold goes with the loss."""
        check_rows(self, loss, units)
        if self.threshold is not None or loss.probabilities is not False:
            return self
        return type(self)(0.0)

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        least = 0.5 if self.threshold is None else self.threshold
        return np.asarray(((y_pred > least) == (y_true > 0.5)).mean(axis=1))


@registry.builtin("categorical_accuracy")
class CategoricalAccuracy(_OfRows):
    """Share of rows whose largest output is at the largest target; the first of several."""

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(y_pred.argmax(axis=1) == y_true.argmax(axis=1))


@registry.builtin("sparse_categorical_accuracy")
class SparseCategoricalAccuracy(_OfLabels):
    """Share of rows whose largest output is at the label; the first of several."""

    conformance: ClassVar[dict[str, Any]] = {"targets": "labels"}

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(y_pred.argmax(axis=1) == y_true)


def _among(labels: NDArray[Any], y_pred: NDArray[Any], k: int) -> NDArray[Any]:
    """Return whether fewer than k outputs of a row are larger than that of its label."""
    own = np.take_along_axis(y_pred, labels[:, None], axis=1)
    return np.asarray((y_pred > own).sum(axis=1) < k) & np.isfinite(own[:, 0])


def _check_k(metric: Metric, k: int, units: int) -> None:
    if k >= units:
        raise ValueError(
            f"{metric!r} would be 1 whatever the network gives, which has {units} outputs: use a smaller k"
        )


@registry.builtin("top_k_categorical_accuracy")
class TopKCategoricalAccuracy(_OfRows):
    """Share of rows in which the class of the largest target is among the k largest outputs; equal ones are all among.

    Parameters
    ----------
    k : int
        At least 1, and less than there are outputs.
    """

    conformance: ClassVar[dict[str, Any]] = {"config": {"k": 2}}

    def __init__(self, k: int = 5) -> None:
        self.k = check_count("k", k)

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return this one; a ValueError refuses k that every row would have."""
        _check_k(self, self.k, units)
        return super().for_loss(loss, units)

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return _among(y_true.argmax(axis=1), y_pred, self.k)


@registry.builtin("sparse_top_k_categorical_accuracy")
class SparseTopKCategoricalAccuracy(_OfLabels):
    """Share of rows whose label is among the k largest outputs; equal ones are all among.

    Parameters
    ----------
    k : int
        At least 1, and less than there are outputs.
    """

    conformance: ClassVar[dict[str, Any]] = {"config": {"k": 2}, "targets": "labels"}

    def __init__(self, k: int = 5) -> None:
        self.k = check_count("k", k)

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return this one; a ValueError refuses k that every row would have."""
        _check_k(self, self.k, units)
        return super().for_loss(loss, units)

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        return _among(y_true, y_pred, self.k)
