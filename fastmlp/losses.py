"""Losses: value and gradient together (row 11).

The value of a network's loss is the mean over the rows of the batch, weighted by the sample weights. Cross-entropies
of softmax or sigmoid outputs are computed from the logits, jointly; losses that are sums of elementwise terms are
recorded from their NumPy form (`fastmlp.reductions`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from .checks import check_number
from .configurable import Configurable
from .registry import losses as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BinaryCrossentropy",
    "CategoricalCrossentropy",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "SparseCategoricalCrossentropy",
]


class Kernel(NamedTuple):
    """A built-in loss as the kernels take it."""

    of_output: str  # on what the last layer gives
    of_logits: str | None  # jointly with the activation named by `joint`
    joint: str | None


class Loss(Configurable):
    """Base of all losses.

    A subclass writes `value_and_gradient`. If the value is a sum or mean of elementwise terms over the outputs,
    ``.sum(axis=1)`` at the end, and the gradient is elementwise, it is recorded and runs compiled; anything else runs
    in NumPy at every step.

    Attributes
    ----------
    labels : bool
        Whether the target of a row is one integer, the number of a class.
    probabilities : bool
        Whether predictions must be probabilities (the last activation's trait ``output``).
    accuracy : str
        What the metric ``"accuracy"`` means beside this loss: ``"sparse"``, ``"categorical"``, ``"binary"``, or
        ``"shape"``: categorical for several outputs, binary for one.
    recordable : bool
        Whether `value_and_gradient` does the same at each call, so that it can be recorded once.
    """

    labels: bool = False
    probabilities: bool = False
    accuracy: str = "shape"
    recordable: bool = True

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the loss of each row ``(batch,)`` and its gradient by the predictions ``(batch, units)``.

        `y_true` is ``(batch, units)``, or ``(batch,)`` integers where `labels` is set.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no value_and_gradient(self, y_true, y_pred)")


registry.base = Loss


@registry.builtin("half_squared_error")
class HalfSquaredError(Loss):
    """``1/2 sum_j (yhat_j - y_j)^2``, gradient ``yhat - y``."""

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        return 0.5 * (d * d).sum(axis=1), d


@registry.builtin("mean_squared_error", "mse")
class MeanSquaredError(Loss):
    """``mean_j (yhat_j - y_j)^2``, gradient ``2 (yhat - y) / units``."""

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        return (d * d).mean(axis=1), 2 * d / d.shape[1]


@registry.builtin("mean_absolute_error", "mae")
class MeanAbsoluteError(Loss):
    """``mean_j |yhat_j - y_j|``, gradient ``sign(yhat - y) / units``, which is 0 where they are equal."""

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        return np.abs(d).mean(axis=1), np.sign(d) / d.shape[1]


@registry.builtin("huber")
class Huber(Loss):
    """``mean_j h(yhat_j - y_j)``, ``h(d) = d^2 / 2`` up to delta, ``delta (|d| - delta / 2)`` beyond.

    The gradient is d, clipped to [-delta, delta], by units. Huber, Robust estimation of a location parameter, Annals of
    Mathematical Statistics, 1964.

    Parameters
    ----------
    delta : float
        Where squares become absolute values; positive.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = check_number("delta", delta, 0.0)
        if not self.delta:
            raise ValueError(f"delta: expected a positive number, got {delta!r}")

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        slope = np.clip(d, -self.delta, self.delta)
        return (slope * (d - slope / 2)).mean(axis=1), slope / d.shape[1]


@registry.builtin("log_cosh")
class LogCosh(Loss):
    """``mean_j log cosh(yhat_j - y_j)``, gradient ``tanh(yhat - y) / units``: about d^2 / 2, then |d| - log 2.

    As ``|d| + log1p(expm1(-2 |d|) / 2)``, which neither overflows nor cancels.
    """

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        d = y_pred - y_true
        far = np.abs(d)
        return (far + np.log1p(np.expm1(-2 * far) / 2)).mean(axis=1), np.tanh(d) / d.shape[1]


@registry.builtin("poisson")
class Poisson(Loss):
    """``mean_j (yhat_j - y_j log(yhat_j + 1e-7))``: counts y, of which the rates yhat are predicted.

    Gradient ``(1 - y / (yhat + 1e-7)) / units``. Minus the log-likelihood of the Poisson distribution, but for a
    constant; 1e-7 as in Keras. Rates must not be negative: end in ``"exponential"`` or ``"softplus"``.
    """

    conformance: ClassVar[dict[str, Any]] = {"domain": (0.1, 4.0)}

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        rate = y_pred + 1e-7
        return (y_pred - y_true * np.log(rate)).mean(axis=1), (1 - y_true / rate) / rate.shape[1]


@registry.builtin("hinge")
class Hinge(Loss):
    """``mean_j max(0, 1 - y_j yhat_j)``; targets are 1 or -1, and a 0 means -1.

    Gradient ``-y / units`` where the margin ``1 - y yhat`` is positive, else 0. Cortes and Vapnik, Support-vector
    networks, Machine Learning, 1995. What is predicted is the sign of an output; the metric ``"accuracy"`` of a single
    output asks for more than 0.5 instead.
    """

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        y = np.where(y_true == 0, -1, y_true)
        margin = 1 - y * y_pred
        return np.maximum(margin, 0).mean(axis=1), np.where(margin > 0, -y, 0) / margin.shape[1]


class _Crossentropy(Loss):
    def __init__(self, from_logits: bool = False) -> None:
        self.from_logits = bool(from_logits)

    @property
    def probabilities(self) -> bool:  # type: ignore[override]
        return not self.from_logits


def _softmax_terms(z: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Softmax and its logarithm by rows."""
    shifted = z - z.max(axis=1, keepdims=True)
    log_p = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return np.exp(log_p), log_p


def _tiny(p: NDArray[Any]) -> NDArray[Any]:
    return np.maximum(p, 1e-38 if p.dtype == np.float32 else 1e-300)


@registry.builtin("categorical_crossentropy")
class CategoricalCrossentropy(_Crossentropy):
    """``-sum_j y_j log p_j``; targets are rows of probabilities, one-hot for instance.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = softmax(z)``.
    """

    accuracy = "categorical"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        if self.from_logits:
            p, log_p = _softmax_terms(y_pred)
            return -(y_true * log_p).sum(axis=1), p * y_true.sum(axis=1, keepdims=True) - y_true
        p = _tiny(y_pred)
        return -(y_true * np.log(p)).sum(axis=1), -y_true / p


@registry.builtin("sparse_categorical_crossentropy")
class SparseCategoricalCrossentropy(_Crossentropy):
    """``-log p_k``; targets are the numbers k of classes, 0 .. units - 1.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = softmax(z)``.
    """

    labels = True
    accuracy = "sparse"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        one_hot = (y_true[:, None] == np.arange(y_pred.shape[1])).astype(y_pred.dtype)
        return CategoricalCrossentropy(self.from_logits).value_and_gradient(one_hot, y_pred)


@registry.builtin("binary_crossentropy")
class BinaryCrossentropy(_Crossentropy):
    """``-mean_j (y_j log p_j + (1 - y_j) log(1 - p_j))``: one or several yes-or-no outputs.

    Parameters
    ----------
    from_logits : bool
        Whether the network gives logits z, with ``p = sigmoid(z)``.
    """

    accuracy = "binary"

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        units = y_pred.shape[1]
        if self.from_logits:
            e = np.exp(-np.abs(y_pred))
            value = np.maximum(y_pred, 0) - y_true * y_pred + np.log1p(e)
            return value.mean(axis=1), (np.where(y_pred < 0, e, 1) / (1 + e) - y_true) / units
        p, q = _tiny(y_pred), _tiny(1 - y_pred)
        value = -(y_true * np.log(p) + (1 - y_true) * np.log(q))
        return value.mean(axis=1), ((1 - y_true) / q - y_true / p) / units


_KERNELS: dict[type[Loss], Kernel] = {
    HalfSquaredError: Kernel("half_squared_error", None, None),
    MeanSquaredError: Kernel("mean_squared_error", None, None),
    SparseCategoricalCrossentropy: Kernel("sparse_crossentropy", "sparse_softmax_crossentropy", "softmax"),
    CategoricalCrossentropy: Kernel("crossentropy", "softmax_crossentropy", "softmax"),
    BinaryCrossentropy: Kernel("binary_crossentropy", "sigmoid_crossentropy", "sigmoid"),
}


def kernel_of(loss: Loss) -> Kernel | None:
    """The kernel of a built-in; None for any other class."""
    return _KERNELS.get(type(loss))


get = registry.get
