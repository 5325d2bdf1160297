"""Doors: the short way of a call through a workspace, for plans that need no Python.

What a door takes is looked at in `fastmlp/_kernels/door.pyx`; for all else it returns None, and the caller goes the
long way, which is `steps` and `evaluation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .core import door as core
from .lowering import update_of
from .objective import executions_of, is_compiled, named_metrics, objective, traced_parts

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
        workspace.door = core.PredictDoor(*_common(net, workspace), empty=np.empty)
    return workspace


def with_train_door(net: Sequential, workspace: Workspace) -> Workspace:
    """A workspace of training, with its door if it can have one."""
    loss, optimizer = objective(net)
    named = named_metrics(net)
    if not workspace.compiled or not all(is_compiled(metric) for _, metric in named):
        return workspace
    settings = list(vars(optimizer))

    def fits() -> bool:
        """Whether the plan and what is done about metrics are right for what is set now."""
        return (
            workspace.update == update_of(optimizer)
            and workspace.executions == executions_of(net)
            and list(vars(optimizer)) == settings
            and all(is_compiled(metric) for _, metric in named)
        )

    workspace.door = core.TrainDoor(
        *_common(net, workspace),
        labels=np.dtype(np.int64) if loss.labels else None,
        shares=loss.accuracy in ("binary", "categorical"),
        settings=core.Settings("learning_rate", fits, optimizer, *net.metrics, *traced_parts(net)),
        metric=named[0][0] if named else None,
    )
    return workspace
