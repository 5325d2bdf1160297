"""Stretches: some batches of a block, one after the other, in compiled calls where nothing on the way needs Python."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, NamedTuple

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
    end = min(len(block.order), at + int(min(batches, MOST_BATCHES)) * size)
    deadline = time.monotonic() + seconds if seconds < math.inf else math.inf
    block.check_loss(compiled)
    means.follow()
    executables = compiled.executables
    executable = executables.training(size) if training else executables.evaluating(size)
    stretch = _Stretch(compiled, executable, block, means, training, deadline)
    executable.bind(*block.data, block.order)
    try:
        if not executable.compiled:
            return _run_stepwise(stretch, at, end)
        return _run_keeping(stretch, at, end) if means.in_numpy else _run_compiled(stretch, at, end)
    finally:
        executable.unbind()


class _Stretch(NamedTuple):
    """What runs, over which data, and until when."""

    compiled: Compiled
    executable: Executable
    block: Block
    means: RunningMeans
    training: bool
    deadline: float

    def ends(self) -> bool:
        """Return whether the training is asked to stop, or the time is over."""
        if self.training and self.compiled.stop_training:
            return True
        return self.deadline < math.inf and time.monotonic() >= self.deadline


def _run_compiled(stretch: _Stretch, at: int, end: int, kept_from: int = 0) -> int:
    """Run many batches in one call, which counts steps where they are run; return the row reached."""
    compiled, executable, block, means, training, deadline = stretch
    run, sections, size = executable.run, executable.plan.sections, block.batch_size
    first, last = sections["forward"][0], sections["commit" if training else "forward"][1]
    hyper = compiled.hyperparameters(-(-(end - at) // size)) if training else None
    # Between two calls, others may read the network; an evaluation leaves it as it is.
    holding = compiled.guard.changing("fit") if training else compiled.guard.reading("evaluate")
    while at < end:
        seconds = COME_BACK if deadline == math.inf else min(COME_BACK, deadline - time.monotonic())
        begun = compiled.steps if training else 0
        with holding:
            at, fine = run.epoch(
                *(first, last, at, end, size, compiled.seed, hyper, team(), means.sums, seconds, not training),
                kept_from,
            )
        if not fine:  # do that step again, with a look at its update; or see what is not finite
            batch = min(size, end - at)
            if steps.step(compiled, executable, at, batch, at - kept_from):
                means.sums += run.loss, run.metric, run.weight
            at += batch
        if at == end or stretch.ends():
            break
        hyper = None if hyper is None else hyper[compiled.steps - begun :]
    return at


def _run_keeping(stretch: _Stretch, at: int, end: int) -> int:
    """Run as `_run_compiled`, and let metrics in NumPy read the outputs that were kept, many batches at a time."""
    executable, block, means = stretch.executable, stretch.block, stretch.means
    kept = means.room_for_outputs(block.batch_size)
    executable.bind_kept(kept)
    while at < end:
        begun = at
        at = _run_compiled(stretch, begun, min(end, begun + len(kept)), kept_from=begun)
        means.add_kept(kept[: at - begun], block, begun)
        if stretch.ends():
            break
    return at


def _run_stepwise(stretch: _Stretch, at: int, end: int) -> int:
    """Run one batch after the other from Python, where an operation is computed in NumPy."""
    compiled, executable, block, means, training, _ = stretch
    run_one = steps.step if training else _evaluate_one
    while at < end:
        batch = min(block.batch_size, end - at)
        if run_one(compiled, executable, at, batch):
            means.add(executable, batch)
        at += batch
        if stretch.ends():
            break
    return at


def _evaluate_one(compiled: Compiled, executable: Executable, at: int, batch: int) -> bool:
    """Run one batch of an evaluation; False, and nothing, if no row of it counts."""
    executable.begin(at, batch)
    if executable.run.weight == 0:
        return False
    executable.execute(batch, "forward")
    return True
