"""Stretches: some batches of a block, one after the other, in compiled calls where nothing on the way needs Python."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING

from ..threads import team
from . import step as steps

if TYPE_CHECKING:
    from .._compiler.compiled import Compiled
    from .._compiler.executable import Executable
    from .means import RunningMeans
    from .source import Block

__all__ = ["MOST_BATCHES", "run_stretch"]

MOST_BATCHES = 4096  # of a stretch: hyper-parameters are filled ahead for so many steps
COME_BACK = 0.1  # seconds after which a compiled call comes back, so that Ctrl-C is answered


def run_stretch(
    compiled: Compiled,
    block: Block,
    at: int,
    means: RunningMeans,
    *,
    training: bool,
    batches: float = math.inf,
    seconds: float = math.inf,
) -> int:
    """Run batches of a block from its row `at` on, and return the row that was reached.

    A stretch ends at the end of the block, after so many batches or seconds, and where a training is asked to stop.
    """
    size = block.batch_size
    end = min(len(block), at + int(min(batches, MOST_BATCHES)) * size)
    block.check_loss(compiled)
    means.follow()
    executable = compiled.training(size) if training else compiled.evaluating(size)
    stretch = _Stretch(compiled, executable, block, means, end, training, time.monotonic() + seconds)
    executable.bind(*block.data, block.order)
    try:
        if executable.compiled and not means.in_numpy:
            return stretch.run_compiled(at)
        return stretch.run_stepwise(at)
    finally:
        executable.unbind()


class _Stretch:
    """A stretch that is bound to an executable."""

    def __init__(
        self,
        compiled: Compiled,
        executable: Executable,
        block: Block,
        means: RunningMeans,
        end: int,
        training: bool,
        deadline: float,
    ) -> None:
        self.compiled, self.executable, self.block, self.means = compiled, executable, block, means
        self.end, self.training, self.deadline = end, training, deadline

    def _ends(self) -> bool:
        """Return whether the time is over, or the training is asked to stop."""
        return (self.training and self.compiled.stop_training) or time.monotonic() >= self.deadline

    def run_compiled(self, at: int) -> int:
        """Run whole epochs' worth of steps in C, which counts them where they are run."""
        compiled, run, size = self.compiled, self.executable.run, self.block.batch_size
        sections = self.executable.plan.sections
        first, last = sections["forward"][0], sections["commit" if self.training else "forward"][1]
        batches = -(-(self.end - at) // size)
        hyper = compiled.hyperparameters(batches) if self.training else None
        begun = compiled.steps
        while at < self.end:
            rest = None if hyper is None else hyper[compiled.steps - begun :]
            at, finite = run.epoch(
                *(first, last, at, self.end, size, compiled.seed, rest, team()),
                *(self.means.sums, min(COME_BACK, self.deadline - time.monotonic()), not self.training),
            )
            if not finite:
                batch = min(size, self.end - at)
                self.executable.begin(at, batch)
                raise steps.non_finite(compiled, self.executable, batch)
            if self._ends():
                break
        return at

    def run_stepwise(self, at: int) -> int:
        """Run one batch after the other from Python, where an operation or a metric is computed in NumPy."""
        while at < self.end:
            batch = min(self.block.batch_size, self.end - at)
            if self._run_one(at, batch):
                self.means.add(self.executable, batch)
            at += batch
            if self._ends():
                break
        return at

    def _run_one(self, at: int, batch: int) -> bool:
        """Run one batch; False, and nothing, if no row of it counts."""
        if self.training:
            return steps.step(self.compiled, self.executable, at, batch)
        self.executable.begin(at, batch)
        if self.executable.run.weight == 0:
            return False
        self.executable.execute(batch, "forward")
        return True
