"""``TensorBoard``: the logs of a training, and its weights, for TensorBoard to show."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np

from ..checks import check_count, check_integer
from ._base import Callback, Logs

__all__ = ["TensorBoard"]


class TensorBoard(Callback):
    """Write logs as TensorBoard reads them (``tensorboard --logdir logs``), with Keras's names of runs and values.

    Values of training are in ``<log_dir>/train``, those of validation in ``<log_dir>/validation``: ``epoch_loss``,
    ``epoch_accuracy``, ``epoch_learning_rate`` (where it is a number), by the number of the epoch from 0 on; and
    ``batch_loss`` and so on by the step, counted over the life of the network.

    Parameters
    ----------
    log_dir : str or path-like
    histogram_freq : int
        Histograms of the parameters after every so many epochs; 0 for none.
    write_steps_per_second : bool
        Write ``epoch_steps_per_second`` too.
    update_freq : "epoch", "batch" or int
        Write ``batch_*`` never, after each batch, or after steps whose number is a multiple of n.

    Raises
    ------
    ImportError
        Where the training begins, if there is no tensorboard: ``pip install "fastmlp[tensorboard]"``.
    """

    def __init__(
        self,
        log_dir: str | os.PathLike[str] = "logs",
        *,
        histogram_freq: int = 0,
        write_steps_per_second: bool = False,
        update_freq: str | int = "epoch",
    ) -> None:
        self.log_dir = log_dir
        self.histogram_freq = check_integer("histogram_freq", histogram_freq, 0)
        self.write_steps_per_second = write_steps_per_second
        self.update_freq = update_freq
        if isinstance(update_freq, str):
            if update_freq not in ("epoch", "batch"):
                raise ValueError(f"update_freq: expected 'epoch', 'batch' or a number of steps, got {update_freq!r}")
        else:
            check_count("update_freq", update_freq)
        self._writers: dict[str, Any] = {}
        self._begun = (0.0, 0)

    @property
    def every_n_steps(self) -> int | None:  # type: ignore[override]
        """The steps of `update_freq`, if it has some."""
        return None if isinstance(self.update_freq, str) else self.update_freq

    @property
    def watches_batches(self) -> bool:  # type: ignore[override]
        """Whether something is written after steps."""
        return self.update_freq != "epoch"

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Look whether there is tensorboard."""
        _import_tensorboard()
        self._writers = {}

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember when the epoch began."""
        self._begun = time.monotonic(), self._iterations()

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Write the means of the epoch so far."""
        step = self._iterations()
        for name, value in (logs or {}).items():
            self._write("train", f"batch_{name}", value, step)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the logs of an epoch, and histograms if it is their turn."""
        values = dict(logs or {})
        rate = self.model.optimizer.learning_rate
        if not callable(rate):
            values.setdefault("learning_rate", float(rate))
        if self.write_steps_per_second:
            begun, steps = self._begun
            values["steps_per_second"] = (self._iterations() - steps) / max(time.monotonic() - begun, 1e-9)
        for name, value in values.items():
            run = "validation" if name.startswith("val_") else "train"
            self._write(run, f"epoch_{name.removeprefix('val_')}", value, epoch)
        if self.histogram_freq and epoch % self.histogram_freq == 0:
            for key, array in self.model.parameters.items():
                self._write("train", key.replace(".", "/"), np.array(array, np.float64), epoch)
        for writer in self._writers.values():
            writer.flush()

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the files."""
        writers, self._writers = self._writers, {}
        for writer in writers.values():
            writer.close()

    def _iterations(self) -> int:
        return self.model.engine.steps

    def _write(self, run: str, tag: str, value: Any, step: int) -> None:
        """Write a number, or the histogram of an array."""
        event, scalar, histogram, open_writer = _import_tensorboard()
        if run not in self._writers:
            self._writers[run] = open_writer(os.path.join(os.fspath(self.log_dir), run))
        summary = histogram(tag, value) if isinstance(value, np.ndarray) else scalar(tag, float(value))
        self._writers[run].add_event(event(wall_time=time.time(), step=step, summary=summary))


def _import_tensorboard() -> tuple[Any, Any, Any, Any]:
    """Return what makes an event, the summaries of a number and of an array, and a writer of events."""
    try:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.histogram.summary_v2 import histogram_pb
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter
    except ImportError as error:
        raise ImportError(
            f'TensorBoard needs the package tensorboard ({error}): pip install "fastmlp[tensorboard]"'
        ) from error
    return Event, scalar_pb, histogram_pb, EventFileWriter
