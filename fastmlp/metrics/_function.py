"""Metrics of functions, and the confusion matrix, which is no number."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import real_array
from ..registry import metrics as registry
from ._base import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["MeanOf", "confusion_matrix", "get"]


class MeanOf(Metric):
    """Weighted mean over rows of what a function gives for each: ``metrics=[function]`` makes one.

    Parameters
    ----------
    function : callable
        ``function(y_true, y_pred)`` returns a number for each row, ``(batch,)``: the mean over the outputs,
        ``.mean(axis=1)``, for instance. Means over a batch can't be put together, and are an error.
    name : str, optional
        What logs call it; default: the name of the function.
    better : {"higher", "lower", None}
        Which way is up, for `EarlyStopping(mode="auto")`.

    Notes
    -----
    Files can't hold a function: to save the network, make a class with `rows`, registered by a name.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> def largest_error(y_true, y_pred):
    ...     return np.abs(y_pred - y_true).max(axis=1)
    >>> net = fm.Sequential([fm.layers.Dense(2)], input_dim=2, seed=0)
    >>> net.compile("sgd", "mse", metrics=[largest_error])
    >>> sorted(net.evaluate(np.zeros((4, 2)), np.ones((4, 2))).items())
    [('largest_error', 1.0), ('loss', 1.0)]
    """

    instead_of_file: ClassVar[str] = (
        "files can't hold a function; write a class with rows(self, y_true, y_pred) in place of it, and register that "
        'by @fm.registry.metrics.register("name")'
    )

    def __init__(self, function: Callable[[Any, Any], Any], name: str | None = None, better: str | None = None) -> None:
        if not callable(function):
            raise TypeError(f"function: expected a callable, got {function!r}")
        called = str(name or getattr(function, "__name__", type(function).__name__))
        if not called.isidentifier():
            raise ValueError(
                f"{function!r} has no name for the logs: use fm.metrics.MeanOf(function, name=...), or write a "
                "subclass of fm.metrics.Metric with rows(self, y_true, y_pred)"
            )
        if better not in ("higher", "lower", None):
            raise ValueError(f"better: expected 'higher', 'lower' or None, got {better!r}")
        self.function = function
        self.name = called
        self.better = better

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        found: NDArray[Any] = self.function(y_true, y_pred)
        return found


def get(identifier: Any) -> Metric:
    """Return a metric by its name, class or configuration, or of a function; a metric comes back unchanged."""
    if callable(identifier) and not isinstance(identifier, (type, Metric)):
        return MeanOf(identifier)
    metric: Metric = registry.get(identifier)
    return metric


def confusion_matrix(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> NDArray[Any]:
    """Return how many rows of class i, at row i, were answered by class j, at column j.

    Parameters
    ----------
    y_true : array-like
        Labels ``(n,)``, or rows of probabilities ``(n, classes)``.
    y_pred : array-like
        What `predict` returns: the largest output is the answer; of one output, above 0.5 is class 1. Labels do, too.
    sample_weight : array-like, optional
        What each row counts ``(n,)``.

    Returns
    -------
    ndarray
        ``(classes, classes)``, of int64 without weights, else of float64.

    Raises
    ------
    ValueError
        If lengths differ, or labels are no whole numbers of at least 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.metrics.confusion_matrix([0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    array([[1, 0],
           [1, 1]])
    """
    (true, least), (answer, most) = (_labels(name, one) for name, one in (("y_true", y_true), ("y_pred", y_pred)))
    if len(true) != len(answer):
        raise ValueError(f"y_pred: expected {len(true)} rows, as y_true has, got {len(answer)}")
    weight = None
    if sample_weight is not None:
        weight = real_array("sample_weight", sample_weight).astype(np.float64)
        if weight.shape != true.shape:
            raise ValueError(f"sample_weight: expected shape {true.shape}, got {weight.shape}")
    classes = max(least, most)
    counts = np.bincount(true * classes + answer, weight, classes * classes)
    return np.asarray(counts.reshape(classes, classes))


def _labels(name: str, values: Any) -> tuple[NDArray[np.int64], int]:
    """Return labels, and how many classes there are at least."""
    array = real_array(name, values)
    if array.ndim == 2 and array.shape[1] > 1:
        return array.argmax(axis=1), array.shape[1]
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
        if name == "y_pred" and array.dtype.kind == "f":
            return (array > 0.5).astype(np.int64), 2
    if array.ndim != 1:
        raise ValueError(f"{name}: expected labels (n,) or rows (n, classes), got shape {array.shape}")
    if array.size and not ((array >= 0) & (array == np.floor(array))).all():
        raise ValueError(f"{name}: expected whole numbers of at least 0 as labels")
    labels = array.astype(np.int64)
    return labels, int(labels.max()) + 1 if labels.size else 0
