"""Doors: the short way of a call through a workspace, for plans that need no Python.

What a door takes is looked at in `fastmlp/_kernels/plan_fastpath.pyx`; for all else it returns None, and the caller
goes the long way, which is `steps` and `evaluation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .core import fastpath as core
from .objective import is_compiled, named_metrics, objective, recorded_parts, reductions_of
from .sweeps import sweep_of

if TYPE_CHECKING:
    from .model import Sequential
    from .workspace import Workspace

__all__ = ["predict_quickly", "train_quickly", "with_predict_door", "with_train_door"]

train_quickly = core.train  # (workspace, x, y) -> logs
predict_quickly = core.predict  # (idle workspaces, x, batch_size, out) -> outputs


def _common(net: Sequential, workspace: Workspace) -> tuple[Any, ...]:
    inputs, units = net.input_dim, net._built[-1].units
    return workspace.run, net._usage, workspace.seed, workspace.identity, np.ndarray, net.dtype, inputs, units


def with_predict_door(net: Sequential, workspace: Workspace) -> Workspace:
    """A workspace of `predict`, with its door if it can have one."""
    if workspace.compiled:
        workspace.fastpath = core.PredictFastPath(*_common(net, workspace), empty=np.empty)
    return workspace


def with_train_door(net: Sequential, workspace: Workspace) -> Workspace:
    """A workspace of training, with its door if it can have one."""
    loss, optimizer = objective(net)
    named = named_metrics(net)
    if not workspace.compiled or not all(is_compiled(metric) for _, metric in named):
        return workspace
    settings = list(vars(optimizer))
    hyper = np.zeros(1 + len(workspace.plan.further))

    def fill(step: int) -> None:
        hyper[:] = workspace.hyper([optimizer.learning_rate_at(step)])[0]

    def filled() -> Any:
        """What fills the hyper-parameters step by step; None if they are constant, and filled now."""
        if callable(optimizer.learning_rate):
            return fill
        fill(1)
        return None

    def fits() -> bool:
        """Whether the plan and what is done about metrics are right for what is set now."""
        found = (
            workspace.sweep == sweep_of(optimizer)
            and workspace.reductions == reductions_of(net)
            and list(vars(optimizer)) == settings
            and all(is_compiled(metric) for _, metric in named)
        )
        if found:
            workspace.fastpath.fill = filled()
        return found

    workspace.fastpath = core.TrainFastPath(
        *_common(net, workspace),
        labels=np.dtype(np.int64) if loss.labels else None,
        probabilities=loss.accuracy in ("binary", "categorical"),
        settings=core.Settings(fits, optimizer, *net.metrics, *recorded_parts(net)),
        metric=named[0][0] if named else None,
        hyper=hyper,
        fill=filled(),
    )
    return workspace
