"""``CallbackList``: the callbacks of one call, asked in their order, and when they want to be asked."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import NonFiniteError
from ._backup import BackupAndRestore, Training
from ._base import Callback, Logs
from ._checks import check_callbacks, interval_of, own_hooks
from ._history import History

if TYPE_CHECKING:
    from ..model import Sequential

__all__ = ["CallbackList"]

_BATCHES = frozenset(("on_train_batch_begin", "on_train_batch_end"))
_OF_HISTORY = own_hooks(History())


class CallbackList:
    """The callbacks of one ``fit``, asked in the order in which they were given, a `History` last.

    Behind all of them is a `BackupAndRestore`, wherever it was given: it keeps what they have made of the training.

    Parameters
    ----------
    callbacks : iterable of Callback
        Checked here: TypeError for what is no callback, and for hooks that can't be called.
    model : Sequential
        What the hooks see as ``self.model``.

    Attributes
    ----------
    callbacks : list of Callback
    history : History
        The first one among the callbacks, or one that was added.
    """

    def __init__(self, callbacks: object, model: Sequential) -> None:
        self.callbacks = check_callbacks(callbacks)
        self._model = model
        given = [callback for callback in self.callbacks if isinstance(callback, History)]
        self.history = given[0] if given else History()
        self._hooks: dict[str, list[Callable[..., None]]] = {}  # only those that somebody has
        self._watching: list[_Watcher] = []
        backups = [callback for callback in self.callbacks if isinstance(callback, BackupAndRestore)]
        if len(backups) > 1:
            raise ValueError(f"callbacks: a training is kept by one BackupAndRestore, got {len(backups)}")
        for backup in backups:
            self.callbacks.remove(backup)
        for callback in self.callbacks:
            self._add(callback, own_hooks(callback))
        if not given:
            self.callbacks.append(self.history)
            self._add(self.history, _OF_HISTORY)
        for backup in backups:
            self.callbacks.append(backup)
            self._add(backup, own_hooks(backup))
        self._due: list[_Watcher] = []
        self._begun: list[Callback] = []

    def _add(self, callback: Callback, hooks: list[str]) -> None:
        for hook in hooks:
            self._hooks.setdefault(hook, []).append(getattr(callback, hook))
        if callback.watches_batches and not _BATCHES.isdisjoint(hooks):
            self._watching.append(_Watcher(callback))

    def _call(self, hook: str, *arguments: Any) -> None:
        for method in self._hooks.get(hook, ()):
            method(*arguments)

    def begin(self, params: Mapping[str, Any], training: Training) -> None:
        """Hand over the network and what is known of the training, then call ``on_train_begin``."""
        self._model.history = self.history  # first: whatever fails from here on, it is this training's
        for callback in self.callbacks:
            callback.set_params(params)
            callback.set_model(self._model)
            if isinstance(callback, BackupAndRestore):
                callback.set_training(training)
        for callback in self.callbacks:
            callback.on_train_begin({})
            self._begun.append(callback)
        for watcher in self._watching:
            watcher.start_clock()

    def end(self, logs: Logs) -> None:
        """Call ``on_train_end`` of all callbacks that have begun, of each even if one before it fails."""
        begun, self._begun = self._begun, []
        self._end_each(iter(begun), logs)

    def _end_each(self, callbacks: Iterator[Callback], logs: Logs) -> None:
        for callback in callbacks:
            try:
                callback.on_train_end(logs)
            except BaseException:
                self._end_each(callbacks, logs)  # the others
                raise

    def get_state(self) -> list[Any]:
        """Return the state of each callback."""
        return [callback.get_state() for callback in self.callbacks]

    def set_state(self, states: list[Any]) -> None:
        """Put back what `get_state` returned."""
        for callback, state in zip(self.callbacks, states, strict=True):
            callback.set_state(state)

    def on_epoch_begin(self, epoch: int) -> None:
        """Tell that an epoch begins."""
        self._call("on_epoch_begin", epoch, {})

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Tell that an epoch has ended; what a hook adds to the logs is kept."""
        self._call("on_epoch_end", epoch, logs)

    def ends_by(self, error: NonFiniteError) -> bool:
        """Return whether a callback lets the error of a step end the training, and go no further."""
        return any([callback.ends_by(error) for callback in self.callbacks])

    # -- batches of training -------------------------------------------------------------------------------------

    def quiet_stretch(self, steps: int) -> tuple[float, float]:
        """Return for how many steps, and how many seconds, nobody wants to be called, when `steps` are done.

        0 steps: somebody wants to be called around the next one, and will be.
        """
        quiet_steps = quiet_seconds = math.inf
        if not self._watching:
            return quiet_steps, quiet_seconds
        self._due = []
        for watcher in self._watching:
            mine, seconds = watcher.quiet_stretch(steps)
            if mine == 0:
                self._due.append(watcher)
            quiet_steps, quiet_seconds = min(quiet_steps, mine), min(quiet_seconds, seconds)
        return quiet_steps, quiet_seconds

    def on_train_batch_begin(self, batch: int) -> None:
        """Tell those who want to be called around this step that it begins."""
        for watcher in self._due:
            watcher.callback.on_train_batch_begin(batch, {})

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Tell the same callbacks that the step has ended."""
        for watcher in self._due:
            watcher.callback.on_train_batch_end(batch, logs)
            watcher.start_clock()

    # -- validation ----------------------------------------------------------------------------------------------

    @property
    def watches_test_batches(self) -> bool:
        """Whether somebody listens to the batches of a validation."""
        return "on_test_batch_begin" in self._hooks or "on_test_batch_end" in self._hooks

    def on_test_begin(self) -> None:
        """Tell that a validation begins."""
        self._call("on_test_begin", {})

    def on_test_end(self, logs: Logs) -> None:
        """Tell that a validation has ended."""
        self._call("on_test_end", logs)

    def on_test_batch_begin(self, batch: int) -> None:
        """Tell that a batch of a validation begins."""
        self._call("on_test_batch_begin", batch, {})

    def on_test_batch_end(self, batch: int, logs: Logs) -> None:
        """Tell that a batch of a validation has ended."""
        self._call("on_test_batch_end", batch, logs)


class _Watcher:
    """A callback that listens to batches of training, with the time of its last call."""

    def __init__(self, callback: Callback) -> None:
        self.callback = callback
        self._called = 0.0

    def start_clock(self) -> None:
        """Count seconds from now on."""
        self._called = time.monotonic()

    def quiet_stretch(self, steps: int) -> tuple[float, float]:
        """Return for how many steps and seconds this callback needs no call, when `steps` are done."""
        n, seconds = interval_of(self.callback)
        if n is None and seconds is None:
            return 0, math.inf
        quiet_steps = math.inf if n is None else n - 1 - steps % n
        if seconds is None:
            return quiet_steps, math.inf
        left = self._called + seconds - time.monotonic()
        return (quiet_steps, left) if left > 0 else (0, math.inf)
