"""``learned``: what stands in an activation in place of a number, and becomes a trainable parameter of its layers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from ..checks import check_number
from ..configurable import Configurable

__all__ = ["Learned", "Untrainable", "check_number_or_learned", "initial", "learned", "no_initial_values"]

PER = ("layer", "unit")
_refusing: ContextVar[bool] = ContextVar("_refusing", default=False)


class Untrainable(TypeError):
    """A trainable parameter would be taken for a constant."""


class Learned(Configurable, NDArrayOperatorsMixin):
    """A trainable parameter of an activation; `learned` makes one.

    NumPy takes it as its initial value, so that an activation can be called before any layer has it. A layer that takes
    the activation has numbers of its own, which begin with that value.

    Parameters
    ----------
    value : float
        Where training begins.
    per : {"layer", "unit"}
        One number for all units of a layer, or one for each.
    """

    def __init__(self, value: float, per: str = "layer") -> None:
        self.value = check_number("learned", value)
        if not isinstance(per, str) or per not in PER:
            raise ValueError(f"per: expected one of {', '.join(PER)}, got {per!r}")
        self.per = per

    def _check_setting(self, name: str, value: Any) -> dict[str, Any]:
        raise AttributeError(f"{name} of {self!r} can't be changed: give the activation a fm.learned(...) of its own")

    def __repr__(self) -> str:
        return f"learned({self.value!r})" if self.per == PER[0] else f"learned({self.value!r}, per={self.per!r})"

    __ne__ = object.__ne__  # the opposite of Configurable's ==, not NumPy's operation

    def __float__(self) -> float:
        raise TypeError(f"{self!r} is no number yet: keep it as it came (self.beta = beta), for forward alone")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        self.check_constant()
        result = getattr(ufunc, method)(*map(initial, inputs), **kwargs)
        # NumPy makes a float64 of -1.0, which would make float64 of all that it meets
        plain = isinstance(result, np.generic) and all(type(x) in (Learned, int, float) for x in inputs)
        return result.item() if plain else result

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        self.check_constant()
        return func(*map(initial, args), **{name: initial(value) for name, value in kwargs.items()})

    def check_constant(self) -> None:
        """Raise while code is traced: this would be a constant of the program."""
        if _refusing.get():
            raise Untrainable(
                f"{self!r} would be a constant here: an activation learns what it keeps itself, as it came "
                "(self.beta = beta), not what stands in a list or belongs to another one"
            )


@contextmanager
def no_initial_values() -> Iterator[None]:
    """Refuse initial values while code is traced: symbols stand for parameters; one that is met itself was missed."""
    token = _refusing.set(True)
    try:
        yield
    finally:
        _refusing.reset(token)


def learned(value: float, per: str = "layer") -> Learned:
    """Make a parameter of an activation trainable.

    Given in place of a number, to `fastmlp.activations.recorded` or to an activation that keeps it under its own name
    and can be traced, it becomes a parameter of each layer that takes the activation: ``net.parameters["0.beta"]``.

    Parameters
    ----------
    value : float
        Where training begins. The activation keeps it; what is learned belongs to the layers.
    per : {"layer", "unit"}
        One number for all units of a layer, shape ``(1,)``, or one for each, shape ``(units,)``.

    Raises
    ------
    TypeError, ValueError
        If `value` is no finite number; if `per` is neither of the two.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> swish = fm.activations.recorded(lambda z, beta=1.0: z / (1 + np.exp(-beta * z)), beta=fm.learned(1.0))
    >>> net = fm.Sequential([fm.layers.Dense(4, activation=swish)], input_dim=3, seed=0)
    >>> net.parameters["0.beta"]
    array([1.], dtype=float32)
    """
    return Learned(value, per)


def initial(value: Any) -> Any:
    """Return the number that a trainable parameter begins with, also in a list; anything else as it is."""
    if isinstance(value, (list, tuple)):
        return [initial(part) for part in value]
    return value.value if isinstance(value, Learned) else value


def check_number_or_learned(name: str, value: Any) -> Any:
    """Check that a value is a finite number or a trainable parameter; return it."""
    return value if isinstance(value, Learned) else check_number(name, value)
