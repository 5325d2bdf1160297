"""The fast path: a call whose arguments need no conversion reaches the plan without any Python in between.

What it takes is looked at in the kernels' `plan_fastpath`; for all else it returns None, and the caller goes the long
way, which alone knows errors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import optimizers
from .._kernels import fastpath as kernels
from ..configurable import VERSIONS

if TYPE_CHECKING:
    from .compiled import Compiled
    from .executable import Executable

__all__ = ["add_to_predicting", "add_to_training", "predict", "train"]

train = kernels.train  # (executable, x, y) -> logs or None
predict = kernels.predict  # (idle executables, x, batch_size, out) -> outputs or None


def _common(compiled: Compiled, executable: Executable, refresh: Callable[[], bool]) -> tuple[Any, ...]:
    return (
        *(executable.run, compiled.guard, executable.seed, executable.identity, np.ndarray, compiled.dtype),
        *(compiled.input_dim, compiled.units, VERSIONS, refresh),
    )


def add_to_predicting(compiled: Compiled, executable: Executable) -> None:
    """Give an executable of predictions its fast path, if it can have one."""

    def refresh() -> bool:
        """Return whether the plan is right for what is set now."""
        return compiled.executables.predicts_by(executable)

    if executable.compiled and not compiled.network.ids:
        executable.fastpath = kernels.PredictFastPath(*_common(compiled, executable, refresh), empty=np.empty)


def add_to_training(compiled: Compiled, executable: Executable) -> None:
    """Give an executable of training its fast path, if it can have one."""
    loss, optimizer = compiled.objective()
    named = compiled.named_metrics()
    if not executable.compiled or compiled.network.ids or any(metric is not None for _, metric in named):
        return
    update = optimizers.execution_of(optimizer).kernel
    assert update is not None
    hyper = np.zeros(len(compiled.memory.groups(decays=update.decays)) * update.width)

    def fill(step: int) -> None:
        hyper[:] = compiled.hyperparameters(1)[0]

    def follow_optimizer(fastpath: kernels.TrainFastPath) -> None:
        """Fill in the hyper-parameters: once, or in each step if one of them is a function of it."""
        scheduled = compiled.follows_schedule()
        if not scheduled:
            fill(0)
        fastpath.fill = fill if scheduled else None
        fastpath.watch(vars(optimizer))  # last: an interrupt before it leaves a change to be found

    def refresh() -> bool:
        """Return whether the plan is right for what is set now, with the hyper-parameters up to date."""
        if not executable.serves(0, compiled.executables.settings()):
            return False
        follow_optimizer(executable.fastpath)
        return True

    fastpath = kernels.TrainFastPath(
        *_common(compiled, executable, refresh),
        labels=np.dtype(np.int64) if loss.labels else None,
        metric=named[0][0] if named else None,
        hyper=hyper,
    )
    follow_optimizer(fastpath)
    executable.fastpath = fastpath
