"""Callbacks: what happens between the epochs (and, if asked for, the batches) of ``fit``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..model import Sequential

__all__ = ["Callback", "EarlyStopping", "History"]

Logs = Mapping[str, float]


class Callback:
    """Base of all callbacks; a subclass writes the hooks that it wants.

    A callback with `on_batch_end` takes ``fit`` back to Python after every step; others don't slow it.
    Setting ``net.stop_training = True`` ends the training after the epoch (or batch) at hand.
    """

    def on_train_begin(self, net: Sequential) -> None:
        """Before the first epoch."""

    def on_epoch_begin(self, net: Sequential, epoch: int) -> None:
        """Before an epoch, counted from 0."""

    def on_batch_end(self, net: Sequential, batch: int, logs: Logs) -> None:
        """After a step; `logs` holds its loss and metrics."""

    def on_epoch_end(self, net: Sequential, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation; `logs` holds what History keeps of it."""

    def on_train_end(self, net: Sequential) -> None:
        """After the last epoch."""


def wants_batches(callback: Callback) -> bool:
    """Whether a callback has a hook for batches."""
    return type(callback).on_batch_end is not Callback.on_batch_end


class History(Callback):
    """What ``fit`` returns.

    Attributes
    ----------
    history : dict of str to list of float
        ``loss``, metrics, and with validation ``val_loss`` and so on, one value an epoch.
    epoch : list of int
    """

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, net: Sequential, epoch: int, logs: Logs) -> None:
        self.epoch.append(epoch)
        for name, value in logs.items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"


class EarlyStopping(Callback):
    """Stops when a watched value no longer gets better, and gives back the best weights (row 23).

    Parameters
    ----------
    monitor : str
        A key of `History.history`.
    patience : int
        Epochs without improvement after which training stops, at least one.
    min_delta : float
        What counts as an improvement.
    mode : {"auto", "min", "max"}
        Which way is better; "auto": up for accuracies, down for the rest.
    restore_best_weights : bool
        Put parameters and buffers back to those of the best epoch.

    Attributes
    ----------
    best : float or None
    best_epoch, stopped_epoch : int or None
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        if mode not in ("auto", "min", "max"):
            raise ValueError(f"mode: expected 'auto', 'min' or 'max', got {mode!r}")
        if patience < 0 or min_delta < 0:
            raise ValueError(f"patience and min_delta: expected at least 0, got {patience} and {min_delta}")
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode
        self.restore_best_weights = restore_best_weights
        self._forget()

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._kept: dict[str, NDArray[Any]] = {}

    def on_train_begin(self, net: Sequential) -> None:
        self._forget()

    def _better(self, value: float) -> bool:
        if self.best is None:
            return value == value  # NaN is never the best
        up = self.mode == "max" or (self.mode == "auto" and self.monitor.endswith("accuracy"))
        return value > self.best + self.min_delta if up else value < self.best - self.min_delta

    def on_epoch_end(self, net: Sequential, epoch: int, logs: Logs) -> None:
        if self.monitor not in logs:
            hint = "; give fit validation_data or validation_split" if self.monitor.startswith("val_") else ""
            raise ValueError(f"EarlyStopping: no {self.monitor!r} among {', '.join(sorted(logs))}{hint}")
        value = logs[self.monitor]
        if self._better(value):
            self.best, self.best_epoch = value, epoch
            arrays = {**net.parameters, **net.buffers}
            self._kept = {key: np.array(array) for key, array in arrays.items()}
        elif self.best_epoch is not None and epoch - self.best_epoch >= max(self.patience, 1):
            self.stopped_epoch = epoch
            net.stop_training = True

    def on_train_end(self, net: Sequential) -> None:
        if self.restore_best_weights and self._kept:
            for mapping in (net.parameters, net.buffers):
                for key in mapping:
                    mapping[key] = self._kept[key]
        self._kept = {}
