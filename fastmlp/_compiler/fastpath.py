"""The fast path: a call whose arguments need no conversion reaches the plan without any Python in between.

What it takes is looked at in the kernels' `plan_fastpath`; for all else it returns None, and the caller goes the long
way, which alone knows errors.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .. import losses
from .._kernels import fastpath as core

if TYPE_CHECKING:
    from .compiled import Compiled
    from .executable import Executable

__all__ = ["add_to_predicting", "add_to_training", "predict", "train"]

train = core.train  # (executable, x, y) -> logs or None
predict = core.predict  # (idle executables, x, batch_size, out) -> outputs or None


def _common(compiled: Compiled, executable: Executable) -> tuple[Any, ...]:
    return (
        *(executable.run, compiled.guard, executable.seed, executable.identity, np.ndarray, compiled.dtype),
        *(compiled.input_dim, compiled.units),
    )


def add_to_predicting(compiled: Compiled, executable: Executable) -> None:
    """Give an executable of predictions its fast path, if it can have one."""
    if executable.compiled:
        executable.fastpath = core.PredictFastPath(*_common(compiled, executable), empty=np.empty)


def add_to_training(compiled: Compiled, executable: Executable) -> None:
    """Give an executable of training its fast path, if it can have one."""
    loss, optimizer = compiled.objective()
    named = compiled.named_metrics()
    if not executable.compiled or any(metric is not None for _, metric in named):
        return

    def fits() -> bool:
        """Return whether the plan is right for what is set now."""
        return executable.serves(0, compiled.settings())

    objects: list[Any] = [*compiled.memory.regularizers.values()]
    if losses.builtin_kernel(loss) is None:
        objects.insert(0, loss)
    executable.fastpath = core.TrainFastPath(
        *_common(compiled, executable),
        labels=np.dtype(np.int64) if loss.labels else None,
        probabilities=loss.accuracy in ("binary", "categorical"),
        settings=core.Settings("learning_rate", fits, optimizer, *compiled.metrics, *objects),
        metric=named[0][0] if named else None,
    )
