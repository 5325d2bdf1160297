"""Regularizers: penalties of parameters, which are a part of the loss that training minimises."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._tracing.execution import Execution, in_python
from .checks import check_number
from .configurable import Configurable
from .registry import regularizers as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._tracing.assembly import Assembled

__all__ = ["L1", "L1L2", "L2", "OrthogonalRegularizer", "Regularizer"]


class Regularizer(Configurable):
    """Base of all regularizers: a penalty ``R(w)`` of a parameter, added to the loss.

    A subclass writes `value_and_gradient`. If the value is a sum of elementwise terms, ``np.sum(...)`` at the end, and
    the gradient is elementwise, it is traced and runs compiled; anything else runs in NumPy at every step.

    Attributes
    ----------
    recordable : bool
        Whether `value_and_gradient` does the same at each call, so that it can be traced once.
    """

    recordable: bool = True

    def value_and_gradient(self, w: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        """Return the penalty, one number, and its gradient by `w`, which is read-only, of the same shape."""
        raise NotImplementedError(f"{type(self).__qualname__} has no value_and_gradient(self, w)")


registry.base = Regularizer


def regularizer_of(identifier: Any) -> Regularizer | None:
    """Return the penalty that a layer is given: None, or what the registry takes."""
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


@registry.builtin("orthogonal")
class OrthogonalRegularizer(Regularizer):
    """``factor mean_{i<j} |u_i . u_j|``, u being the rows or columns of a matrix, divided by their norms (as Keras).

    With ``c = factor / pairs`` and S the signs of all ``u_i . u_j``, 0 for i = j, the gradient by ``u_i`` is ``g_i = c
    (S u)_i``, and that by the vector itself ``(g_i - u_i (u_i . g_i)) / norm_i``, 0 for a vector of zeros. Vectors that
    are orthogonal cost nothing, whatever their lengths. It runs in NumPy.

    Parameters
    ----------
    factor : float
        At least 0.
    mode : {"rows", "columns"}
        Of a kernel ``(inputs, units)`` columns are the weights into each unit.
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        self.factor = check_number("factor", factor, 0.0)
        if mode not in ("rows", "columns"):
            raise ValueError(f"mode: expected 'rows' or 'columns', got {mode!r}")
        self.mode = mode

    def value_and_gradient(self, w: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        if w.ndim != 2:
            raise ValueError(f"OrthogonalRegularizer: a matrix is needed, got the shape {w.shape}: give it to a kernel")
        rows = (w if self.mode == "rows" else w.T).astype(np.float64)
        norms = np.sqrt(np.square(rows).sum(axis=1, keepdims=True))
        u = rows / np.where(norms > 0, norms, 1.0)
        products = u @ u.T
        np.fill_diagonal(products, 0.0)
        pairs = len(u) * (len(u) - 1) / 2
        share = self.factor / pairs if pairs else 0.0
        g = share * (np.sign(products) @ u)
        slopes = (g - u * (u * g).sum(axis=1, keepdims=True)) / np.where(norms > 0, norms, np.inf)
        value = share * 0.5 * np.abs(products).sum()
        return value, np.ascontiguousarray(slopes if self.mode == "rows" else slopes.T, dtype=w.dtype)


class KernelSpec(NamedTuple):
    """A regularizer as the kernels take it: a penalty is ``scale * sum(terms) + shift``.

    Attributes
    ----------
    program : Assembled
        From number and gradient to term and gradient with the slope added.
    value : Assembled
        From number to term, where no gradient is asked for.
    scale, shift : float
    """

    program: Assembled
    value: Assembled
    scale: float
    shift: float

    @property
    def operations(self) -> int:
        """Return the passes over a block."""
        return len(self.program.code)


def execution_of(regularizer: Regularizer, dtype: Any, shape: tuple[int, ...]) -> Execution[KernelSpec]:
    """Return how `regularizer` runs on a parameter: by a traced program, or in Python; may be asked at every step."""
    if not regularizer.recordable:
        return in_python("its class says that it can't be (recordable = False)")
    from ._tracing.cache import remembered  # late: networks without regularizers never need it

    dtype = np.dtype(dtype)
    return remembered(regularizer, (dtype, shape), lambda: _traced(regularizer, dtype, shape))


def _traced(regularizer: Regularizer, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Execution[KernelSpec]:
    from ._tracing.array_sums import traced

    return Execution("traced", KernelSpec(*traced(type(regularizer), regularizer.value_and_gradient, dtype, shape)))


get = registry.get
