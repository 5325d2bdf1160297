"""``EarlyStopping``: end a training that no longer gets better, and keep its best weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_integer, check_number
from ._base import Logs
from ._monitor import Monitor

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["EarlyStopping"]


class EarlyStopping(Monitor):
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
    baseline : float, optional
        A value to get past. Patience is counted anew only by an epoch that is the best so far and better than this; an
        epoch that is the best so far never ends the training. As in Keras.
    start_from_epoch : int
        The first epoch that is looked at, counted from 0; those before it are a warm-up.
    verbose : {0, 1}
        Print a line where the training is stopped.

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
        baseline: float | None = None,
        start_from_epoch: int = 0,
        verbose: int = 0,
    ) -> None:
        super().__init__(monitor, mode=mode, min_delta=min_delta)
        self.patience = patience
        self.restore_best_weights = restore_best_weights
        self.baseline = baseline
        self.start_from_epoch = start_from_epoch
        self.verbose = verbose
        self._check_options()
        self._forget()

    def _check_options(self) -> None:
        self.check_monitor()
        check_number("patience", self.patience, 0.0)
        check_integer("start_from_epoch", self.start_from_epoch, 0)
        if self.baseline is not None:
            check_number("baseline", self.baseline)

    def _forget(self) -> None:
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.stopped_epoch: int | None = None
        self._reference: int | None = None  # the epoch from which patience is counted
        self._best_weights: dict[str, NDArray[Any]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training; check what was set since, and that it is known which way is better."""
        self._forget()
        self._check_options()
        self.is_better_up()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the weights of an epoch that is the best so far; stop after too many that are not."""
        value = self.watched(logs)
        if epoch < self.start_from_epoch:
            return
        if self._reference is None:  # the first epoch is one without improvement where a baseline was to be passed
            self._reference = epoch if self.baseline is None else epoch - 1
        if self.is_better(value, self.best):
            self.best, self.best_epoch = value, epoch
            if self.baseline is None or self.is_better(value, self.baseline):
                self._reference = epoch
            if self.restore_best_weights:
                arrays = {**self.model.parameters, **self.model.buffers}
                self._best_weights = {key: np.array(array) for key, array in arrays.items()}
        elif epoch - self._reference >= max(self.patience, 1):
            self.stopped_epoch = epoch
            self.model.stop_training = True
            if self.verbose:
                best = "no epoch" if self.best_epoch is None else f"epoch {self.best_epoch + 1}"
                print(f"epoch {epoch + 1}: early stopping, {best} was the best by {self.monitor}")

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Give back the best weights."""
        if self._best_weights:
            for mapping in (self.model.parameters, self.model.buffers):
                for key in mapping:
                    mapping[key] = self._best_weights[key]
        self._best_weights = {}

    def get_state(self) -> dict[str, Any]:
        """Return the best epoch so far, with its weights, and from where patience is counted."""
        return {
            **{name: getattr(self, name) for name in self.results},
            "reference": self._reference,
            "best_weights": self._best_weights,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        for name in self.results:
            setattr(self, name, state[name])
        self._reference, self._best_weights = state["reference"], dict(state["best_weights"])
