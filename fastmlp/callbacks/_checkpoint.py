"""``ModelCheckpoint``: save the network while it is trained."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from ..checks import check_count, check_number
from ._base import Logs
from ._frequency import Saving
from ._monitor import Monitor

__all__ = ["ModelCheckpoint"]


class _AnyName(dict[str, float]):
    """Has a number for every name, so that a format can be tried."""

    def __missing__(self, name: str) -> float:
        return 1 if name in ("epoch", "batch") else 1.0


class ModelCheckpoint(Saving, Monitor):
    """Save the network after epochs, after every n steps, or every so many seconds; all of them, or the best.

    Files are what `Sequential.save` writes: complete, in one go, so that a file of that name is always a whole one. To
    go on with a training that was killed, take `BackupAndRestore`.

    Parameters
    ----------
    filepath : str or path-like
        Where to save, exactly. ``{epoch}`` is the number of the epoch, counted from 1, ``{batch}`` that of the batch
        (between epochs there is none), and every name in the logs stands for its value:
        ``"{epoch:02d}-{val_loss:.3f}.npz"``. Folders are made.
    monitor : str
        What `save_best_only` watches.
    verbose : {0, 1}
        Print a line for each file.
    save_best_only : bool
        Save only where the watched value is better than at all times before.
    mode : {"auto", "min", "max"}
        Which way is better, as in `EarlyStopping`; asked for by `save_best_only` alone.
    save_freq : "epoch", int or None
        After each epoch and its validation, or after the steps whose number, over the life of the network, is a
        multiple of n. None: where `every_seconds` says, alone.
    every_seconds : float, optional
        Save also after the first step that ends so many seconds after the last such time.
    keep_last : int, optional
        Keep so many files of this training, the last ones; those before them are deleted once a new one is complete.
    initial_value_threshold : float, optional
        For `save_best_only`: what the first value must be better than.

    Attributes
    ----------
    best : float or None

    Examples
    --------
    >>> best = fm.callbacks.ModelCheckpoint("best.npz", save_best_only=True)
    >>> last = fm.callbacks.ModelCheckpoint("net-{epoch:03d}.npz", keep_last=3)
    """

    results = ("best",)

    def __init__(
        self,
        filepath: str | os.PathLike[str],
        monitor: str = "val_loss",
        *,
        verbose: int = 0,
        save_best_only: bool = False,
        mode: str = "auto",
        save_freq: str | int | None = "epoch",
        every_seconds: float | None = None,
        keep_last: int | None = None,
        initial_value_threshold: float | None = None,
    ) -> None:
        super().__init__(monitor, mode=mode)
        self.filepath = filepath
        self.verbose = verbose
        self.save_best_only = save_best_only
        self.save_freq = save_freq
        self.every_seconds = every_seconds
        self.keep_last = keep_last
        self.initial_value_threshold = initial_value_threshold
        self._check_options()
        self._forget()

    def _check_options(self) -> None:
        self.check_monitor()
        template = os.fspath(self.filepath)
        if not isinstance(template, str) or not template:
            raise TypeError(f"filepath: expected a str or a path, got {self.filepath!r}")
        try:
            template.format_map(_AnyName())
        except (ValueError, IndexError) as error:
            raise ValueError(f"filepath: {template!r} can't be formatted ({error}); a brace is written {{{{") from None
        self.check_frequency()
        if self.keep_last is not None:
            check_count("keep_last", self.keep_last)
        if self.initial_value_threshold is not None:
            check_number("initial_value_threshold", self.initial_value_threshold)
        if self.save_best_only and self.watches_batches and self.monitor.startswith("val_"):
            raise ValueError(
                f"ModelCheckpoint: {self.monitor!r} is known after epochs alone; with steps or seconds watch a value "
                "of the training, as monitor='loss', or let save_freq be 'epoch'"
            )

    def _forget(self) -> None:
        self.best: float | None = None if self.initial_value_threshold is None else float(self.initial_value_threshold)
        self._epoch = 0
        self._files: list[str] = []  # of this training, that are kept

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training; check what was set since."""
        self._check_options()
        self._forget()
        if self.save_best_only:
            self.is_better_up()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Remember the number of the epoch, for names of files."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Save after a step for which it was asked to."""
        self._save({"epoch": self._epoch + 1, "batch": batch + 1}, logs or {})

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Save after an epoch, if it was asked to."""
        if self.save_freq == "epoch":
            self._save({"epoch": epoch + 1}, logs or {})

    def _save(self, numbers: dict[str, int], logs: Logs) -> None:
        value = None
        if self.save_best_only:
            value = self.watched(logs)
            if not self.is_better(value, self.best):
                return
        path = self._file_name({**logs, **numbers})
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self.model.save(path)
        self.best = self.best if value is None else value
        self._keep(path)
        if self.verbose:
            print(f"epoch {numbers['epoch']}: saved to {path}")

    def _file_name(self, values: dict[str, Any]) -> str:
        template = os.fspath(self.filepath)
        try:
            return template.format(**values)
        except (KeyError, IndexError, ValueError, AttributeError) as error:
            raise ValueError(
                f"ModelCheckpoint: {template!r} can't be formatted ({error}); there are {', '.join(sorted(values))}"
            ) from None

    def _keep(self, path: str) -> None:
        """Count a file as the last one, and delete those that are too old."""
        self._files = [one for one in self._files if one != path] + [path]
        if self.keep_last is None:
            self._files = []
            return
        while len(self._files) > self.keep_last:
            with suppress(FileNotFoundError):
                os.unlink(self._files[0])
            del self._files[0]

    def get_state(self) -> dict[str, Any]:
        """Return the best value so far, and which files are kept."""
        return {"best": self.best, "files": list(self._files)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        self.best, self._files = state["best"], list(state["files"])
