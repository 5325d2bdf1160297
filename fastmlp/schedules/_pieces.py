"""Pieces: constants, steps down, and other schedules one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

from ..checks import check_integer, check_number
from ..registry import schedules as registry
from ._base import Schedule, at_least_0, check_steps, done_before, power


@registry.builtin("constant")
class ConstantSchedule(Schedule):
    """``value`` at every step: a piece of a `Sequence`, or what takes the place of a schedule.

    Parameters
    ----------
    value : float
        At least 0.
    """

    def __init__(self, value: float) -> None:
        self.value = at_least_0("value", value)

    def __call__(self, step: int) -> float:
        done_before(step)
        return self.value


@registry.builtin("step")
class StepDecay(Schedule):
    """``initial_learning_rate decay_rate^floor(t / decay_steps)``, ``t = step - 1``: down at once, every so many steps.

    It is `ExponentialDecay` with ``staircase=True``, and torch's ``StepLR``.

    Parameters
    ----------
    initial_learning_rate : float
        The value of the first ``decay_steps`` steps.
    decay_steps : float
    decay_rate : float
        At least 0.
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float, decay_rate: float = 0.1) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.decay_rate = at_least_0("decay_rate", decay_rate)

    def __call__(self, step: int) -> float:
        return self.initial_learning_rate * power(self.decay_rate, done_before(step) // self.decay_steps)


@registry.builtin("piecewise_constant_decay")
class PiecewiseConstantDecay(Schedule):
    """``values[i]`` where i is how many of the boundaries are below ``t = step - 1`` (as Keras).

    A boundary b belongs to what is before it, and ``t`` begins with 0: ``values[0]`` is taken for ``b + 1`` steps.

    Parameters
    ----------
    boundaries : sequence of float
        Each above that before it.
    values : sequence of float
        One more.
    """

    def __init__(self, boundaries: Iterable[float], values: Iterable[float]) -> None:
        self.boundaries = [_number("boundaries", value) for value in _listed("boundaries", boundaries)]
        self.values = [at_least_0("values", value) for value in _listed("values", values)]
        if any(first >= second for first, second in pairwise(self.boundaries)):
            raise ValueError(f"boundaries: expected each above that before it, got {self.boundaries}")
        if len(self.values) != len(self.boundaries) + 1:
            raise ValueError(
                f"values: expected one more than boundaries, {len(self.boundaries) + 1}, got {len(self.values)}"
            )

    def __call__(self, step: int) -> float:
        t = done_before(step)
        return self.values[sum(boundary < t for boundary in self.boundaries)]


@registry.builtin("sequence")
class Sequence(Schedule):
    """One schedule after the other: ``schedules[i](step - s)``, s being the steps of those before it.

    Each begins with its step 1, as if it were alone: in ``Sequence([Linear(0, 0.1, 100), CosineDecay(0.1, 900)],
    lengths=[100])`` the first 100 steps rise, and step 101 is the first of the cosine.

    Parameters
    ----------
    schedules : sequence of Schedule, dict, number or callable
        At least one. A number is a `ConstantSchedule`; with a plain function, the network can't be saved.
    lengths : sequence of int
        How many steps each of them takes, but for the last, which takes all that follow.
    """

    def __init__(self, schedules: Iterable[Any], lengths: Iterable[int]) -> None:
        self.schedules = [_piece(value) for value in _listed("schedules", schedules)]
        self.lengths = [check_integer("lengths", value, 1) for value in _listed("lengths", lengths)]
        if not self.schedules:
            raise ValueError("schedules: expected at least one")
        if len(self.lengths) != len(self.schedules) - 1:
            raise ValueError(
                f"lengths: expected one for each schedule but the last, {len(self.schedules) - 1}, "
                f"got {len(self.lengths)}"
            )

    def __call__(self, step: int) -> float:
        done_before(step)
        for schedule, length in zip(self.schedules, self.lengths, strict=False):
            if step <= length:
                return schedule(step)
            step -= length
        return self.schedules[-1](step)


def _listed(name: str, values: Any) -> list[Any]:
    if isinstance(values, (str, bytes, dict)) or not hasattr(values, "__iter__"):
        raise TypeError(f"{name}: expected a sequence, got {values!r}")
    return list(values)


def _number(name: str, value: Any) -> float:
    """Return a number of steps as it came: an integer stays one."""
    return check_integer(name, value, 0) if hasattr(value, "__index__") else check_number(name, value, 0.0)


def _piece(value: Any) -> Callable[[int], float]:
    if isinstance(value, (dict, type)):
        made: Schedule = registry.get(value)
        return made
    return value if callable(value) else ConstantSchedule(check_number("schedules", value, 0.0))
