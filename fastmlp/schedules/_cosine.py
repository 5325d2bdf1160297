"""Cosines: half a wave, half waves with restarts, and the two of RealMLP."""

from __future__ import annotations

import math

from ..checks import check_number
from ..registry import schedules as registry
from ._base import Schedule, at_least_0, check_steps, done_before, power


def _half_wave(share: float) -> float:
    """Return ``(1 + cos(pi share)) / 2``, from 1 at 0 down to 0 at 1."""
    return 0.5 * (1.0 + math.cos(math.pi * share))


@registry.builtin("cosine_decay")
class CosineDecay(Schedule):
    """``initial ((1 - alpha) (1 + cos(pi min(t / decay_steps, 1))) / 2 + alpha)``, ``t = step - 1`` (as Keras).

    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, arXiv:1608.03983. With a
    ``warmup_target``, a straight line leads from ``initial_learning_rate`` to it in ``warmup_steps`` steps, and the
    cosine begins there, from the target on: ``decay_steps`` more.

    Parameters
    ----------
    initial_learning_rate : float
        The value at step 1.
    decay_steps : float
        Steps of the cosine, beside those of the warm-up.
    alpha : float
        The least value, as a share of that from which the cosine falls.
    warmup_target : float, optional
        None: no warm-up.
    warmup_steps : int or float
        At least 0.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)
        self.alpha = at_least_0("alpha", alpha)
        self.warmup_target = None if warmup_target is None else at_least_0("warmup_target", warmup_target)
        self.warmup_steps = check_steps("warmup_steps", warmup_steps) if warmup_steps else 0

    def __call__(self, step: int) -> float:
        t, top = float(done_before(step)), self.initial_learning_rate
        if self.warmup_target is not None:
            if t < self.warmup_steps:
                return (self.warmup_target - top) * (t / self.warmup_steps) + top
            t, top = t - self.warmup_steps, self.warmup_target
        return top * ((1 - self.alpha) * _half_wave(min(t, self.decay_steps) / self.decay_steps) + self.alpha)


@registry.builtin("cosine_decay_restarts")
class CosineDecayRestarts(Schedule):
    """``initial ((1 - alpha) m_mul^i (1 + cos(pi s)) / 2 + alpha)``: a cosine that begins again and again (as Keras).

    Period i, from 0 on, takes ``first_decay_steps t_mul^i`` steps; s, from 0 to 1, is the share of it that ``t = step -
    1`` has reached. Loshchilov and Hutter, SGDR, arXiv:1608.03983.

    Parameters
    ----------
    initial_learning_rate : float
        The value at step 1.
    first_decay_steps : float
        Steps of the first period.
    t_mul : float
        How much longer each period is than that before it; at least 1.
    m_mul : float
        What the initial value is multiplied by at each restart; at least 0.
    alpha : float
        The least value, as a share of the initial one.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
    ) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = check_steps("first_decay_steps", first_decay_steps)
        self.t_mul = check_number("t_mul", t_mul, 1.0)
        self.m_mul = at_least_0("m_mul", m_mul)
        self.alpha = at_least_0("alpha", alpha)

    def __call__(self, step: int) -> float:
        period, share = self._place(done_before(step) / self.first_decay_steps)
        top = (1 - self.alpha) * power(self.m_mul, period)
        return self.initial_learning_rate * (top * _half_wave(share) + self.alpha)

    def _place(self, periods: float) -> tuple[int, float]:
        """Return the period, and the share of it, after so many of the first one's length."""
        growth = self.t_mul - 1
        if growth == 0:
            return math.floor(periods), periods % 1.0
        period = math.floor(math.log1p(periods * growth) / math.log1p(growth))
        if self._begin(period + 1) <= periods:  # logarithms are rounded
            period += 1
        elif self._begin(period) > periods:
            period -= 1
        return period, (periods - self._begin(period)) / power(self.t_mul, period)

    def _begin(self, period: int) -> float:
        """Return where a period begins, in lengths of the first: ``(t_mul^i - 1) / (t_mul - 1)``."""
        if float(self.t_mul).is_integer():
            return (power(self.t_mul, period) - 1) / (self.t_mul - 1)  # whole, and so exact
        growth = self.t_mul - 1
        return math.expm1(period * math.log1p(growth)) / growth


@registry.builtin("coslog4")
class CosLog4(Schedule):
    """``max_learning_rate (1 - cos(2 pi log2(1 + 15 s))) / 2``, ``s = min((step - 1) / total_steps, 1)``.

    Four waves, each about twice as long as that before it, from 0 and back to 0: the learning rate of RealMLP
    (Holzmüller, Grinsztajn and Steinwart, Better by default, arXiv:2407.04491). At step 1 it is 0.

    Parameters
    ----------
    max_learning_rate : float
        The value at the tops of the waves.
    total_steps : float
        Steps until the end; from then on it is 0.
    """

    def __init__(self, max_learning_rate: float, total_steps: float) -> None:
        self.max_learning_rate = at_least_0("max_learning_rate", max_learning_rate)
        self.total_steps = check_steps("total_steps", total_steps)

    def __call__(self, step: int) -> float:
        share = min(done_before(step) / self.total_steps, 1.0)
        return self.max_learning_rate * 0.5 * (1.0 - math.cos(2 * math.pi * math.log2(1 + 15 * share)))


@registry.builtin("flat_cos")
class FlatCos(Schedule):
    """``initial_learning_rate (1 + cos(pi (max(1, 2 s) - 1))) / 2``, ``s = min((step - 1) / decay_steps, 1)``.

    Constant for one half of the steps, then half a wave down to 0: what RealMLP does with dropout and weight decay
    (Holzmüller, Grinsztajn and Steinwart, Better by default, arXiv:2407.04491).

    Parameters
    ----------
    initial_learning_rate : float
        The value of the first half.
    decay_steps : float
        Steps until 0 is reached, those of the first half among them.
    """

    def __init__(self, initial_learning_rate: float, decay_steps: float) -> None:
        self.initial_learning_rate = at_least_0("initial_learning_rate", initial_learning_rate)
        self.decay_steps = check_steps("decay_steps", decay_steps)

    def __call__(self, step: int) -> float:
        share = min(done_before(step) / self.decay_steps, 1.0)
        return self.initial_learning_rate * _half_wave(max(1.0, 2 * share) - 1)
