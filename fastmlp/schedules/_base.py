"""``Schedule``: a pure function of the step, with a configuration; and the checks that its kinds share."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

from ..checks import check_integer, check_number
from ..configurable import Configurable
from ..registry import schedules as registry

__all__ = ["Schedule", "at_least_0", "check_steps", "done_before", "power"]


class Schedule(Configurable):
    """Base of all schedules: what a hyper-parameter of an optimizer is at each step.

    A subclass writes ``__call__`` and keeps what its ``__init__`` takes under the same names. Registered under a name,
    it is saved with the network:

    >>> import fastmlp as fm
    >>> @fm.registry.schedules.register("square_root_decay")
    ... class SquareRootDecay(fm.schedules.Schedule):
    ...     def __init__(self, initial_learning_rate=0.1):
    ...         self.initial_learning_rate = initial_learning_rate
    ...
    ...     def __call__(self, step):
    ...         return self.initial_learning_rate / step**0.5
    >>> fm.optimizers.SGD(SquareRootDecay(0.5)).learning_rate_at(4)
    0.25
    """

    def __call__(self, step: int) -> float:
        """Return the value at a step.

        Parameters
        ----------
        step : int
            Of the optimizer, counted from 1: 1 is the first update, where Keras counts 0.

        Returns
        -------
        float
            A number that the hyper-parameter may be: of a learning rate, finite and at least 0. The same for the same
            step, whatever was asked before, since many steps may be asked for ahead, and one more than once.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no __call__(self, step)")


registry.base = Schedule


def done_before(step: int) -> int:
    """Return the steps that were done before a step, 0 for the first, which is 1; ValueError below."""
    if step < 1:
        raise ValueError(f"step: schedules count from 1, the first update, got {step!r} (Keras counts from 0: add 1)")
    return step - 1


def at_least_0(name: str, value: Any) -> float:
    """Return a finite number of at least 0."""
    return check_number(name, value, 0.0)


def check_steps(name: str, value: Any) -> float:
    """Return a number of steps, which need not be whole: finite and above 0; integers stay integers."""
    if isinstance(value, Real) and not isinstance(value, (bool, float)) and hasattr(value, "__index__"):
        return check_integer(name, value, 1)
    number = check_number(name, value)
    if number <= 0:
        raise ValueError(f"{name}: expected a number of steps above 0, got {value!r}")
    return number


def power(base: float, exponent: float) -> float:
    """Return ``base ** exponent`` of a base of at least 0; infinity where it is beyond all numbers."""
    try:
        return float(base**exponent)
    except (OverflowError, ZeroDivisionError):
        return math.inf
