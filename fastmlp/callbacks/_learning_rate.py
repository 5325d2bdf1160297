"""Callbacks that set the learning rate between epochs: ``LearningRateScheduler``, ``ReduceLROnPlateau``."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from ..checks import check_integer, check_number
from ._base import Callback, Logs
from ._monitor import Monitor

__all__ = ["LearningRateScheduler", "ReduceLROnPlateau"]


def _learning_rate(callback: Callback) -> float:
    """Return the learning rate of the network that is trained, which must be a number to be set between epochs."""
    rate = callback.model.optimizer.learning_rate
    if callable(rate):
        raise TypeError(
            f"{type(callback).__name__}: the optimizer's learning_rate is a function of the step, {rate!r}, which it "
            "would replace; give the optimizer a number, or leave the callback out"
        )
    return float(rate)


class LearningRateScheduler(Callback):
    """Set the learning rate before each epoch: ``learning_rate = schedule(epoch, learning_rate)``.

    A schedule of steps, not of epochs, is a function that the optimizer gets as its ``learning_rate``; it costs
    nothing, and needs no callback. The logs of the epoch get ``learning_rate``, as in Keras.

    Parameters
    ----------
    schedule : callable
        ``schedule(epoch, learning_rate)`` with the number of the epoch, counted from 0, and the learning rate of now;
        or ``schedule(epoch)``. What it gives is checked as a learning rate that is set.
    verbose : {0, 1}
        Print a line for each epoch.

    Examples
    --------
    >>> halve = fm.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2 if epoch % 10 == 9 else rate)
    """

    def __init__(self, schedule: Callable[..., float], verbose: int = 0) -> None:
        if not callable(schedule):
            raise TypeError(f"schedule: expected a function of epoch and learning rate, got {schedule!r}")
        self.schedule = schedule
        self.verbose = verbose

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Refuse an optimizer whose learning rate is a function of the step."""
        _learning_rate(self)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Set the learning rate of an epoch."""
        arguments: tuple[Any, ...] = (epoch, _learning_rate(self))
        try:
            inspect.signature(self.schedule).bind(*arguments)
        except TypeError:
            arguments = (epoch,)
        except ValueError:  # a function that was compiled without its signature
            pass
        self.model.optimizer.learning_rate = check_number("the schedule's learning rate", self.schedule(*arguments), 0)
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate {_learning_rate(self):g}")

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Add the learning rate to the logs."""
        if logs is not None:
            logs["learning_rate"] = _learning_rate(self)


class ReduceLROnPlateau(Monitor):
    """Lower the learning rate where a watched value no longer gets better: ``max(factor * rate, min_lr)``.

    The rule is Keras's. Each epoch of the cool-down that follows counts as none. The logs of an epoch get
    ``learning_rate``, the one that it was trained with.

    Parameters
    ----------
    monitor : str
        A name in the logs: ``"val_loss"``, ``"loss"``, ``"val_accuracy"``, ...
    factor : float
        Below 1, at least 0.
    patience : int
        Epochs without improvement after which the rate is lowered. NaN is no improvement.
    verbose : {0, 1}
        Print a line where it is lowered.
    mode : {"auto", "min", "max"}
        Which way is better, as in `EarlyStopping`.
    min_delta : float
        What counts as an improvement.
    cooldown : int
        Epochs after a change during which nothing is counted.
    min_lr : float
        The learning rate goes no lower.

    Attributes
    ----------
    best : float or None
    """

    results = ("best",)

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        factor: float = 0.1,
        patience: int = 10,
        verbose: int = 0,
        mode: str = "auto",
        min_delta: float = 1e-4,
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.factor = factor
        self.patience = patience
        self.verbose = verbose
        self.cooldown = cooldown
        self.min_lr = min_lr
        self._check_options()
        self._forget()

    def _check_options(self) -> None:
        self.check_monitor()
        if check_number("factor", self.factor, 0.0) >= 1:
            raise ValueError(f"factor: expected a number below 1, got {self.factor!r}")
        check_integer("patience", self.patience, 0)
        check_integer("cooldown", self.cooldown, 0)
        check_number("min_lr", self.min_lr, 0.0)

    def _forget(self) -> None:
        self.best: float | None = None
        self._wait = 0
        self._cooling = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training; check what was set since, and that there is a rate to lower."""
        self._forget()
        self._check_options()
        self.is_better_up()
        _learning_rate(self)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Count an epoch, and lower the learning rate after too many without improvement."""
        value, rate = self.watched(logs), _learning_rate(self)
        if logs is not None:
            logs["learning_rate"] = rate
        if self._cooling:
            self._cooling -= 1
            self._wait = 0
        if self.is_better(value, self.best):
            self.best, self._wait = value, 0
        elif not self._cooling:
            self._wait += 1
            if self._wait >= self.patience and rate > self.min_lr:
                self._lower(epoch, rate)

    def _lower(self, epoch: int, rate: float) -> None:
        lower = max(rate * self.factor, float(self.min_lr))
        self.model.optimizer.learning_rate = lower
        self._cooling, self._wait = self.cooldown, 0
        if self.verbose:
            print(f"epoch {epoch + 1}: learning rate lowered to {lower:g}")

    def get_state(self) -> dict[str, Any]:
        """Return the best value so far, and what is counted; the learning rate is the optimizer's."""
        return {"best": self.best, "wait": self._wait, "cooling": self._cooling}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        self.best, self._wait, self._cooling = state["best"], state["wait"], state["cooling"]
