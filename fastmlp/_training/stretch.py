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
    end = min(len(block.order), at + int(min(batches, MOST_BATCHES)) * size)
    deadline = time.monotonic() + seconds if seconds < math.inf else math.inf
    block.check_loss(compiled)
    means.follow()
    executable = compiled.training(size) if training else compiled.evaluating(size)
    executable.bind(*block.data, block.order)
    try:
        run = _run_stepwise if means.in_numpy or not executable.compiled else _run_compiled
        return run(compiled, executable, size, at, end, means, training, deadline)
    finally:
        executable.unbind()


def _ends(compiled: Compiled, training: bool, deadline: float) -> bool:
    """Return whether the training is asked to stop, or the time is over."""
    return (training and compiled.stop_training) or (deadline < math.inf and time.monotonic() >= deadline)


def _run_compiled(
    compiled: Compiled,
    executable: Executable,
    size: int,
    at: int,
    end: int,
    means: RunningMeans,
    training: bool,
    deadline: float,
) -> int:
    """Run many steps in one call, which counts them where they are run."""
    run, sections = executable.run, executable.plan.sections
    first, last = sections["forward"][0], sections["commit" if training else "forward"][1]
    batches = -(-(end - at) // size)
    hyper = compiled.hyperparameters(batches) if training else None
    while at < end:
        seconds = COME_BACK if deadline == math.inf else min(COME_BACK, deadline - time.monotonic())
        begun = compiled.steps
        at, finite = run.epoch(
            first, last, at, end, size, compiled.seed, hyper, team(), means.sums, seconds, not training
        )
        if not finite:
            batch = min(size, end - at)
            executable.begin(at, batch)
            raise steps.non_finite(compiled, executable, batch)
        if _ends(compiled, training, deadline):
            break
        hyper = None if hyper is None else hyper[compiled.steps - begun :]
    return at


def _run_stepwise(
    compiled: Compiled,
    executable: Executable,
    size: int,
    at: int,
    end: int,
    means: RunningMeans,
    training: bool,
    deadline: float,
) -> int:
    """Run one batch after the other from Python, where an operation or a metric is computed in NumPy."""
    run_one = steps.step if training else _evaluate_one
    while at < end:
        batch = min(size, end - at)
        if run_one(compiled, executable, at, batch):
            means.add(executable, batch)
        at += batch
        if _ends(compiled, training, deadline):
            break
    return at


def _evaluate_one(compiled: Compiled, executable: Executable, at: int, batch: int) -> bool:
    """Run one batch of an evaluation; False, and nothing, if no row of it counts."""
    executable.begin(at, batch)
    if executable.run.weight == 0:
        return False
    executable.execute(batch, "forward")
    return True
