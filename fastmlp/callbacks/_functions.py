"""``LambdaCallback``: hooks given as functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._base import HOOKS, Callback

__all__ = ["LambdaCallback"]


class LambdaCallback(Callback):
    """Call functions as hooks: ``LambdaCallback(on_epoch_end=lambda epoch, logs: print(logs))``.

    Parameters
    ----------
    every_n_steps, every_seconds : optional
        Around which steps ``on_train_batch_begin`` and ``on_train_batch_end`` are called, as in `Callback`.
    **hooks : callable
        By the names of hooks, with their arguments by position (``on_epoch_end(epoch, logs)``). None is no hook.

    Raises
    ------
    TypeError
        For a name that is no hook's; ``fit`` refuses functions of other arguments.
    """

    def __init__(
        self,
        *,
        every_n_steps: int | None = None,
        every_seconds: float | None = None,
        **hooks: Callable[..., Any] | None,
    ) -> None:
        self.every_n_steps = every_n_steps
        self.every_seconds = every_seconds
        for name, function in hooks.items():
            if name not in HOOKS:
                raise TypeError(f"LambdaCallback: {name!r} is no hook; hooks are {', '.join(HOOKS)}")
            if function is not None:
                setattr(self, name, function)
