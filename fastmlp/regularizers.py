"""Regularizers: penalties of parameters, which are a part of the loss that training minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import check_number
from .configurable import Configurable
from .registry import regularizers as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["L1", "L1L2", "L2", "Regularizer"]


class Regularizer(Configurable):
    """Base of all regularizers: a penalty ``R(w)`` of a parameter, added to the loss.

    A subclass writes `value_and_gradient`. If the value is a sum of elementwise terms, ``np.sum(...)`` at the end, and
    the gradient is elementwise, it is recorded and runs compiled; anything else runs in NumPy at every step.

    Attributes
    ----------
    recordable : bool
        Whether `value_and_gradient` does the same at each call, so that it can be recorded once.
    """

    recordable: bool = True

    def value_and_gradient(self, w: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Return the penalty, one number, and its gradient by `w`, which is read-only, of the same shape."""
        raise NotImplementedError(f"{type(self).__qualname__} has no value_and_gradient(self, w)")


registry.base = Regularizer


def regularizer_of(identifier: Any) -> Regularizer | None:
    """What a layer is given as a penalty: None, or what the registry takes."""
    return None if identifier is None else registry.get(identifier)


@registry.builtin("l1")
class L1(Regularizer):
    """``l1 sum |w|``, gradient ``l1 sign(w)``, which is 0 at 0.

    Tibshirani, Regression shrinkage and selection via the lasso, JRSS B, 1996.

    Parameters
    ----------
    l1 : float
        At least 0.
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = check_number("l1", l1, 0.0)

    def value_and_gradient(self, w: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        return self.l1 * np.abs(w).sum(), self.l1 * np.sign(w)


@registry.builtin("l2")
class L2(Regularizer):
    """``l2 sum w^2``, gradient ``2 l2 w``, without the half that other texts have (as Keras).

    Hoerl and Kennard, Ridge regression, Technometrics, 1970.

    Parameters
    ----------
    l2 : float
        At least 0.
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = check_number("l2", l2, 0.0)

    def value_and_gradient(self, w: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        return self.l2 * (w * w).sum(), 2 * self.l2 * w


@registry.builtin("l1_l2")
class L1L2(Regularizer):
    """``sum l1 |w| + l2 w^2``, gradient ``l1 sign(w) + 2 l2 w``.

    Zou and Hastie, Regularization and variable selection via the elastic net, JRSS B, 2005.

    Parameters
    ----------
    l1, l2 : float
        At least 0.
    """

    def __init__(self, l1: float = 0.01, l2: float = 0.01) -> None:
        self.l1 = check_number("l1", l1, 0.0)
        self.l2 = check_number("l2", l2, 0.0)

    def value_and_gradient(self, w: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        return (self.l1 * np.abs(w) + self.l2 * (w * w)).sum(), self.l1 * np.sign(w) + 2 * self.l2 * w


get = registry.get
