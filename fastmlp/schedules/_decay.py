"""Decays along one curve: exponential, inverse time, polynomial, linear."""

from __future__ import annotations

import math

from ..checks import check_number
from ..registry import schedules as registry
from ._base import Schedule, at_least_0, check_steps, done_before, power


@registry.builtin("exponential_decay")
class ExponentialDecay(Schedule):
    """``initial_learning_rate decay_rate^(t / decay_steps)``, ``t = step - 1`` (as Keras).

    Parameters
    ----------
    initial_learning_rate : float
        The value at step 1.
    decay_steps : float
        Steps after which the value is ``decay_rate`` times what it was.
    decay_rate : float
        At least 0.
    staircase : bool
        Whether ``t / decay_steps`` is rounded down, so that the value falls at once every ``decay_steps`` steps.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.decay_rate = at_least_0("decay_rate", decay_rate)
        self.staircase = bool(staircase)

    def __call__(self, step: int) -> float:
        share = done_before(step) / self.decay_steps
        return self.initial_learning_rate * power(self.decay_rate, math.floor(share) if self.staircase else share)


@registry.builtin("inverse_time_decay")
class InverseTimeDecay(Schedule):
    """``initial_learning_rate / (1 + decay_rate t / decay_steps)``, ``t = step - 1`` (as Keras).

    Parameters
    ----------
    initial_learning_rate : float
        The value at step 1.
    decay_steps : float
    decay_rate : float
        At least 0.
    staircase : bool
        Whether ``t / decay_steps`` is rounded down.
    """

    def __init__(
        self, initial_learning_rate: float, decay_steps: float, decay_rate: float, staircase: bool = False
    ) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.decay_rate = at_least_0("decay_rate", decay_rate)
        self.staircase = bool(staircase)

    def __call__(self, step: int) -> float:
        share = done_before(step) / self.decay_steps
        return self.initial_learning_rate / (1 + self.decay_rate * (math.floor(share) if self.staircase else share))


@registry.builtin("polynomial_decay")
class PolynomialDecay(Schedule):
    """``end + (initial - end) (1 - min(t, decay_steps) / decay_steps)^power``, ``t = step - 1`` (as Keras).

    Parameters
    ----------
    initial_learning_rate : float
        The value at step 1.
    decay_steps : float
        Steps until the end is reached.
    end_learning_rate : float
        The value from then on.
    power : float
        At least 0; 1 is a straight line.
    cycle : bool
        Whether the value rises again where the end was reached: ``decay_steps`` is then its least multiple that is not
        below t, and ``min(t, decay_steps)`` is t.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
    ) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.end_learning_rate = at_least_0("end_learning_rate", end_learning_rate)
        self.power = check_number("power", power, 0.0)
        self.cycle = bool(cycle)

    def __call__(self, step: int) -> float:
        t, steps = float(done_before(step)), self.decay_steps
        if self.cycle:
            steps *= max(1, math.ceil(t / steps))
        share = 1 - min(t, steps) / steps
        return (self.initial_learning_rate - self.end_learning_rate) * share**self.power + self.end_learning_rate


@registry.builtin("linear")
class Linear(Schedule):
    """``initial + (end - initial) min(t, decay_steps) / decay_steps``, ``t = step - 1``: down, or up as a warm-up.

    Parameters
    ----------
    initial_learning_rate : float
        The value at step 1.
    end_learning_rate : float
        The value from step ``decay_steps + 1`` on.
    decay_steps : float
        Steps on the way.
    """

    def __init__(self, initial_learning_rate: float, end_learning_rate: float, decay_steps: float) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.end_learning_rate = at_least_0("end_learning_rate", end_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)

    def __call__(self, step: int) -> float:
        share = min(done_before(step) / self.decay_steps, 1.0)
        return (1 - share) * self.initial_learning_rate + share * self.end_learning_rate
