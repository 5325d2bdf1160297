"""``EarlyStopping``: end a training that no longer gets better, and keep its best weights."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_number
from ..metrics import metric_name
from ._base import Callback, Logs

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EarlyStopping"]


class EarlyStopping(Callback):
    """Stop when a watched value no longer gets better, and give back the best weights (row 23).

    The best weights come back also where ``fit`` ends by an exception, by a NonFiniteError or Ctrl-C.

    Parameters
    ----------
    monitor : str
        A name in the logs: ``"val_loss"``, ``"loss"``, ``"val_accuracy"``, ...
    patience : int
        Epochs without improvement after which training stops, at least one. NaN is no improvement, nor is an
        infinite loss.
    min_delta : float
        What counts as an improvement.
    mode : {"auto", "min", "max"}
        Which way is better; "auto": down for a loss, as a metric says (`Metric.better`) for a metric. A ValueError when
        ``fit`` begins where nobody says.
    restore_best_weights : bool
        Put parameters and buffers back to those of the best epoch when the training ends.

    Attributes
    ----------
    best : float or None
    best_epoch, stopped_epoch : int or None
    """

    results = ("best", "best_epoch", "stopped_epoch")

    def __init__(
        self,
        monitor: str = "val_loss",
        *,
        patience: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ) -> None:
        self.monitor = monitor
        self.patience = patience
        self.min_delta = min_delta
        self.mode = mode
        self.restore_best_weights = restore_best_weights
        self._check_options()
        self._forget()

    def _check_options(self) -> None:
        if self.mode not in ("auto", "min", "max"):
            raise ValueError(f"mode: expected 'auto', 'min' or 'max', got {self.mode!r}")
        check_number("patience", self.patience, 0.0)
        check_number("min_delta", self.min_delta, 0.0)

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._reference: int | None = None  # the epoch from which patience is counted: the best, or the first
        self._best_weights: dict[str, NDArray[Any]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training; check what was set since, and that it is known which way is better."""
        self._forget()
        self._check_options()
        self._is_better_up()

    def _is_better_up(self) -> bool:
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        better = {metric_name(metric): metric.better for metric in self.model.metrics}.get(name)
        if better not in ("higher", "lower"):
            raise ValueError(
                f"EarlyStopping: mode='auto' can't know which way {self.monitor!r} gets better; give mode='max' or "
                "mode='min', or say it in the metric's class: better = 'higher' or 'lower'"
                + ("" if better is None else f", not {better!r}")
            )
        return better == "higher"

    def _improves(self, value: float) -> bool:
        up = self._is_better_up()
        if self.best is None:  # neither NaN nor the worst infinity is ever the best
            return value > -math.inf if up else value < math.inf
        return value > self.best + self.min_delta if up else value < self.best - self.min_delta

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the weights of an epoch that is the best so far; stop after too many that are not."""
        logs = logs or {}
        if self.monitor not in logs:
            hint = "; give fit validation_data or validation_split" if self.monitor.startswith("val_") else ""
            raise ValueError(f"EarlyStopping: no {self.monitor!r} among {', '.join(sorted(logs))}{hint}")
        value = logs[self.monitor]
        if self._improves(value):
            self.best, self.best_epoch, self._reference = value, epoch, epoch
            if self.restore_best_weights:
                arrays = {**self.model.parameters, **self.model.buffers}
                self._best_weights = {key: np.array(array) for key, array in arrays.items()}
        elif self._reference is None:
            self._reference = epoch
        elif epoch - self._reference >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Give back the best weights."""
        if self._best_weights:
            for mapping in (self.model.parameters, self.model.buffers):
                for key in mapping:
                    mapping[key] = self._best_weights[key]
        self._best_weights = {}
