"""``evaluate``: loss and metrics over data, also within ``fit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._compiler.compiled import Compiled
from ..checks import check_count
from .data import arguments, checked
from .means import RunningMeans
from .source import ArraySource, Source
from .stretch import run_stretch

if TYPE_CHECKING:
    from ..callbacks import CallbackList

__all__ = ["evaluate", "run_evaluation"]


def evaluate(compiled: Compiled, x: Any, y: Any, *, batch_size: int, sample_weight: Any = None) -> dict[str, float]:
    """Return the means of loss and metrics over the data."""
    batch_size = check_count("batch_size", batch_size)
    given = arguments(compiled, x, y, sample_weight)
    with compiled.guard.claiming("evaluate"):
        data = checked(compiled, given)
        data.check_finite("the data")
        return run_evaluation(compiled, ArraySource(compiled, data, batch_size, once=True))


def run_evaluation(compiled: Compiled, source: Source, callbacks: CallbackList | None = None) -> dict[str, float]:
    """Evaluate the batches of a source, within a call that has claimed the network.

    Callbacks are told, of each batch if one of them listens.
    """
    watched = callbacks is not None and callbacks.watches_test_batches
    means = RunningMeans(compiled)
    number = 0
    if callbacks is not None:
        callbacks.on_test_begin()
    for block in source.blocks(0, None):
        at = 0
        while at < len(block.order):
            if callbacks is not None and watched:
                callbacks.on_test_batch_begin(number)
                at = run_stretch(compiled, block, at, means, training=False, batches=1)
                callbacks.on_test_batch_end(number, means.logs())
                number += 1
            else:
                at = run_stretch(compiled, block, at, means, training=False)
    logs = means.logs()
    if callbacks is not None:
        callbacks.on_test_end(logs)
    return logs
