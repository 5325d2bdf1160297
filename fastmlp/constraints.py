"""Constraints: what a parameter may be, seen to after each update."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .checks import check_integer, check_number
from .configurable import Configurable
from .registry import constraints as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Constraint", "MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"]


class Constraint(Configurable):
    """Base of all constraints: after each update of a step, a parameter ``w`` becomes ``constraint(w)``.

    A subclass writes ``__call__``. It runs in NumPy at every step, on what the update is about to make of the
    parameter: if it fails, or gives NaN or infinity, nothing of the step is kept. First values are left as they are
    drawn, and so are parameters that are not trained.
    """

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        """Return what `w`, which is read-only, becomes: an array of its shape, or `w` itself where it may stay."""
        raise NotImplementedError(f"{type(self).__qualname__} has no __call__(self, w)")


registry.base = Constraint


def constraint_of(identifier: Any) -> Constraint | None:
    """Return the constraint that a layer is given: None, or what the registry takes."""
    return None if identifier is None else registry.get(identifier)


@registry.builtin("non_neg")
class NonNeg(Constraint):
    """``w`` where ``w >= 0``, else 0 (as Keras)."""

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        return np.where(w < 0, w.dtype.type(0), w)


class _OfNorms(Constraint):
    """Scales vectors, those along some axes, by what their Euclidean norms are to be."""

    axis: int | tuple[int, ...]

    def _wanted(self, norms: NDArray[Any]) -> NDArray[Any]:
        """Return the norms, float64, that vectors of these norms are to have."""
        raise NotImplementedError

    def __call__(self, w: NDArray[Any]) -> NDArray[Any]:
        axes = self.axis if isinstance(self.axis, tuple) else (self.axis,)
        if not all(-w.ndim <= axis < w.ndim for axis in axes) or len({axis % w.ndim for axis in axes}) < len(axes):
            raise ValueError(f"{self!r}: axis: expected (different) axes of an array of shape {w.shape}")
        values = w.astype(np.float64)
        largest = np.abs(values).max(axis=axes, keepdims=True, initial=0.0)
        values /= np.where(largest > 0, largest, 1.0)  # so that no square overflows, or becomes 0
        lengths = np.sqrt(np.square(values).sum(axis=axes, keepdims=True))
        with np.errstate(over="ignore"):
            norms = np.minimum(lengths * largest, np.finfo(np.float64).max)
        wanted = self._wanted(norms)
        scaled = values / np.where(lengths > 0, lengths, 1.0) * wanted
        return np.where((wanted == norms) | (lengths == 0), w, scaled.astype(w.dtype))


@registry.builtin("max_norm")
class MaxNorm(_OfNorms):
    """``w min(1, max_value / |w|)``: vectors longer than ``max_value`` are shortened to it; others keep their bits.

    Srebro, Rennie and Jaakkola, Maximum-margin matrix factorization, NIPS 2004; beside dropout: Srivastava et al., JMLR
    2014. Keras's, but for the 1e-7 that Keras adds to the norm, by which it shortens all vectors a little.

    Parameters
    ----------
    max_value : float
        At least 0.
    axis : int or tuple of int
        Along which vectors lie: 0 takes the weights that come into each unit of a kernel ``(inputs, units)``.
    """

    def __init__(self, max_value: float = 2, axis: Any = 0) -> None:
        self.max_value = check_number("max_value", max_value, 0.0)
        self.axis = _check_axis(axis)

    def _wanted(self, norms: NDArray[Any]) -> NDArray[Any]:
        return np.minimum(norms, self.max_value)


@registry.builtin("unit_norm")
class UnitNorm(_OfNorms):
    """``w / |w|``: vectors of length 1; zeros stay zeros. Keras's, but for the 1e-7 that Keras adds to the norm.

    Parameters
    ----------
    axis : int or tuple of int
        Along which vectors lie, as in `MaxNorm`.
    """

    def __init__(self, axis: Any = 0) -> None:
        self.axis = _check_axis(axis)

    def _wanted(self, norms: NDArray[Any]) -> NDArray[Any]:
        return np.ones_like(norms)


@registry.builtin("min_max_norm")
class MinMaxNorm(_OfNorms):
    """``w (rate clip(|w|, min_value, max_value) / |w| + 1 - rate)``: lengths between two limits; zeros stay zeros.

    Keras's, but for the 1e-7 that Keras adds to the norm.

    Parameters
    ----------
    min_value, max_value : float
        The limits, ``0 <= min_value <= max_value``.
    rate : float
        The share of the way to the limit that each step goes, in [0, 1].
    axis : int or tuple of int
        Along which vectors lie, as in `MaxNorm`.
    """

    def __init__(self, min_value: float = 0.0, max_value: float = 1.0, rate: float = 1.0, axis: Any = 0) -> None:
        self.min_value = check_number("min_value", min_value, 0.0)
        self.max_value = check_number("max_value", max_value, 0.0)
        if self.min_value > self.max_value:
            raise ValueError(f"MinMaxNorm: min_value {min_value!r} is greater than max_value {max_value!r}")
        self.rate = check_number("rate", rate, 0.0)
        if self.rate > 1:
            raise ValueError(f"rate: expected a number in [0, 1], got {rate!r}")
        self.axis = _check_axis(axis)

    def _wanted(self, norms: NDArray[Any]) -> NDArray[Any]:
        return norms + self.rate * (np.clip(norms, self.min_value, self.max_value) - norms)


def _check_axis(axis: Any) -> int | tuple[int, ...]:
    if isinstance(axis, (list, tuple)):
        if not axis:
            raise ValueError("axis: expected at least one axis, got none")
        return tuple(check_integer("axis", one, -64) for one in axis)
    return check_integer("axis", axis, -64)


get = registry.get
