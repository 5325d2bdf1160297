"""``ProgressBar``: how far a training is, and how long it will take."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from typing import Any

from ..checks import check_number
from ._base import Callback, Logs

__all__ = ["ProgressBar"]


class ProgressBar(Callback):
    """Show how far a training is, its loss and metrics, and the time that is left.

    With tqdm (``pip install "fastmlp[progress]"``) it is one bar for the whole training, in terminals and notebooks.
    Without, a line is printed after each epoch, and within a long one every `line_seconds`. Give ``fit`` ``verbose=0``
    beside it, which would print lines of its own. What can't be printed is no reason to stop a training.

    Parameters
    ----------
    every_seconds : float
        Between two looks at the training, which takes it back to Python.
    line_seconds : float
        Between two lines within an epoch, where there is no bar.
    """

    def __init__(self, *, every_seconds: float = 0.1, line_seconds: float = 10.0) -> None:
        self.every_seconds = check_number("every_seconds", every_seconds, 0.0)
        self.line_seconds = check_number("line_seconds", line_seconds, 0.0)
        self._bar: Any = None
        self._forget()

    def _forget(self) -> None:
        self._epoch = 0
        self._epochs = 1
        self._steps: int | None = None  # of an epoch
        self._done = 0  # steps of the epoch at hand
        self._begun: tuple[float, float] | None = None  # when it was first seen, and how many epochs were done
        self._printed = 0.0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look whether there is tqdm."""
        self._forget()
        self._epochs, self._steps = self.params["epochs"], self.params["steps"]
        self._printed = time.monotonic()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Open the bar, with the first epoch."""
        self._epoch, self._done = epoch, 0
        if self._begun is None:
            self._begun = time.monotonic(), float(epoch)
            self._bar = _tqdm_bar(epoch * (self._steps or 0))
        self._show({})

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Show the means of the epoch so far."""
        self._done = batch + 1
        if self._bar is not None or time.monotonic() - self._printed >= self.line_seconds:
            self._show(logs or {}, line=True)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Show the means of the epoch."""
        self._done = self._steps or max(self._done, 1)
        self._show(logs or {}, line=True)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the bar, which stays to be read."""
        if self._bar is not None:
            with suppress(Exception):
                self._bar.close()
        self._bar = None

    def _show(self, logs: Logs, *, line: bool = False) -> None:
        values = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
        title = f"epoch {self._epoch + 1}/{self._epochs}"
        if self._bar is not None:
            with suppress(Exception):  # as of a stream that is closed
                self._bar.total = None if self._steps is None else self._epochs * self._steps
                self._bar.n = self._epoch * (self._steps or 0) + self._done
                self._bar.set_description_str(title, refresh=False)
                self._bar.set_postfix_str(values, refresh=False)
                self._bar.refresh()
        elif line:
            self._printed = time.monotonic()
            of = "" if self._steps is None else f"  step {self._done}/{self._steps}"
            text = f"{title}{of}{'  ' if values else ''}{values}  {_duration(self._left())} left"
            with suppress(Exception):
                try:
                    print(text)
                except UnicodeEncodeError:  # by the name of a metric
                    print(text.encode("ascii", "backslashreplace").decode())
                sys.stdout.flush()

    def _left(self) -> float | None:
        """Return the seconds that the rest of the training takes at the speed so far; None if it can't be known."""
        if self._begun is None or self._steps is None:
            return None
        begun, first = self._begun
        done = self._epoch + self._done / self._steps
        if done <= first:
            return None
        return (time.monotonic() - begun) / (done - first) * (self._epochs - done)


def _tqdm_bar(initial: int) -> Any:
    """Return a bar of tqdm, for terminals or notebooks; None without tqdm, or where it can't be made."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        return None
    with suppress(Exception):  # as of a stream that is closed
        return tqdm(initial=initial, unit="step", dynamic_ncols=True)
    return None


def _duration(seconds: float | None) -> str:
    """Return a duration as a clock shows it: ``0:07``, ``1:02:03``."""
    if seconds is None:
        return "?"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
