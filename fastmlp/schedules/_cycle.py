"""``OneCycle``: up to a large learning rate, and down to next to none."""

from __future__ import annotations

import math

from ..checks import check_number
from ..registry import schedules as registry
from ._base import Schedule, at_least_0, check_steps, done_before

ANNEALING = ("cos", "linear")


@registry.builtin("one_cycle")
class OneCycle(Schedule):
    """Rise from ``max / div_factor`` to ``max``, then fall to ``max / (div_factor final_div_factor)``, in one cycle.

    Smith and Topin, Super-convergence, arXiv:1708.07120; the numbers are those of torch's ``OneCycleLR``. With
    ``t = step - 1``, the top is reached at ``t = pct_start total_steps - 1``, the end at ``t = total_steps - 1``, the
    last of ``total_steps`` steps; from then on the value stays as it is. Between two values a and b, with the share s
    of the way, it is ``b + (a - b) (1 + cos(pi s)) / 2``, or ``a + (b - a) s``.

    Parameters
    ----------
    max_learning_rate : float
        The value at the top.
    total_steps : int
        At least 2.
    pct_start : float
        The share of the steps until the top, in [0, 1]; of at most a half with ``three_phase``.
    anneal_strategy : {"cos", "linear"}
    div_factor, final_div_factor : float
        Above 0.
    three_phase : bool
        Whether it falls back to the first value in as many steps as it rose in, and only then to the last one.
    """

    def __init__(
        self,
        max_learning_rate: float,
        total_steps: int,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
    ) -> None:
        self.max_learning_rate = at_least_0("max_learning_rate", max_learning_rate)
        self.total_steps = check_steps("total_steps", total_steps)
        if self.total_steps < 2:
            raise ValueError(f"total_steps: expected at least 2, got {total_steps!r}")
        self.pct_start = check_number("pct_start", pct_start, 0.0)
        most = 0.5 if three_phase else 1.0
        if self.pct_start > most:
            raise ValueError(f"pct_start: expected a share of at most {most:g}, got {pct_start!r}")
        if anneal_strategy not in ANNEALING:
            raise ValueError(f"anneal_strategy: expected one of {ANNEALING}, got {anneal_strategy!r}")
        self.anneal_strategy = anneal_strategy
        self.div_factor = check_steps("div_factor", div_factor)
        self.final_div_factor = check_steps("final_div_factor", final_div_factor)
        self.three_phase = bool(three_phase)

    def __call__(self, step: int) -> float:
        t, begun, rate = float(done_before(step)), 0.0, self.max_learning_rate / self.div_factor
        for end, target in self._phases():
            if t <= end:
                return self._between(rate, target, (t - begun) / (end - begun) if end > begun else 1.0)
            begun, rate = end, target
        return rate

    def _phases(self) -> list[tuple[float, float]]:
        """Return where each phase ends, and the value there."""
        top = self.max_learning_rate
        first = top / self.div_factor
        rise, last = self.pct_start * self.total_steps, (self.total_steps - 1.0, first / self.final_div_factor)
        if self.three_phase:
            return [(rise - 1, top), (2 * rise - 2, first), last]
        return [(rise - 1, top), last]

    def _between(self, first: float, last: float, share: float) -> float:
        if self.anneal_strategy == "linear":
            return first + (last - first) * share
        return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * share))
