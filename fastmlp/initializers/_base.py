"""``Initializer``: what draws the first values of a parameter, and the checks that its kinds share."""

from __future__ import annotations

import math
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from ..configurable import Configurable
from ..registry import initializers as registry

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray

__all__ = ["Initializer", "finite", "rounded"]


class Initializer(Configurable):
    """Base of all initializers.

    A subclass writes ``__call__`` and keeps what its ``__init__`` takes under the same names.
    """

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return new values.

        Parameters
        ----------
        shape : tuple of int
            ``(inputs, units)`` for a kernel, ``(units,)`` for a bias and the like.
        rng : numpy.random.Generator
            Source of randomness, made from the network's seed and the layer.
        dtype : dtype-like
            float32 or float64.

        Returns
        -------
        ndarray of `shape` and `dtype`
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no __call__(self, shape, rng, dtype)")


registry.base = Initializer


def finite(owner: Initializer, name: str, value: float, least: float = -math.inf) -> float:
    """Return a parameter as a float, refusing what isn't a finite number of at least `least`."""
    label = f"{type(owner).__name__}: {name}"
    if not isinstance(value, Real):
        raise TypeError(f"{label} must be a number, got {value!r}")
    if not math.isfinite(value) or value < least:
        bound = "" if least == -math.inf else f" and at least {least:g}"
        raise ValueError(f"{label} must be finite{bound}, got {value!r}")
    return float(value)


def rounded(values: NDArray[Any], dtype: DTypeLike) -> NDArray[Any]:
    """Round float64 to `dtype`; a value beyond its range is an error, not an infinite weight."""
    with np.errstate(over="ignore"):
        result = values.astype(dtype, copy=False)
    if not np.isfinite(result).all():
        raise ValueError(f"the initial values reach {np.abs(values).max():g}, beyond the range of {result.dtype}")
    return result
