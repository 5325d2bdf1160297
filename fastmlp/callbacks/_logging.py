"""``CSVLogger``: the logs of epochs in a file of text."""

from __future__ import annotations

import io
import os
from typing import Any

from ._base import Callback, Logs

__all__ = ["CSVLogger"]


class CSVLogger(Callback):
    """Write the logs of each epoch to a file, a row for each: ``epoch``, then the logs in the order of their names.

    A row is in the file when the epoch has ended. A training that goes on by `BackupAndRestore` goes on with the file
    too: rows that were written after the backup are cut off, and written again.

    Parameters
    ----------
    filename : str or path-like
    separator : str
        One character, between the values.
    append : bool
        Go on with a file that is there, instead of replacing it; a header is written to an empty one alone.
    """

    def __init__(self, filename: str | os.PathLike[str], separator: str = ",", append: bool = False) -> None:
        if not isinstance(separator, str) or len(separator) != 1:
            raise ValueError(f"separator: expected one character, got {separator!r}")
        self.filename = os.fspath(filename)
        self.separator = separator
        self.append = append
        self._forget()

    def _forget(self) -> None:
        self._file: io.FileIO | None = None
        self._keys: list[str] | None = None
        self._bytes: int | None = None  # of the file, as far as a training that goes on has written it

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training. The file is opened where the first epoch begins."""
        self._forget()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Open the file, with the first epoch."""
        if self._file is None:
            self._file = self._open()

    def _open(self) -> io.FileIO:
        goes_on = self.append or self._bytes is not None
        file = io.FileIO(self.filename, "a+" if goes_on else "w+")  # each write is one of the system
        size = file.seek(0, os.SEEK_END)
        if self._bytes is not None:
            if size < self._bytes:
                file.close()
                raise ValueError(
                    f"CSVLogger: {self.filename} has {size} bytes, and had {self._bytes} at the backup that the "
                    "training goes on from; put the file back, or delete the backup to begin anew"
                )
            file.truncate(self._bytes)
        return file

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write a row, before the first one the header."""
        logs = logs or {}
        if self._file is None:
            self._file = self._open()
        from csv import writer

        rows: list[list[Any]] = []
        if self._keys is None:
            self._keys = sorted(logs)
            if self._file.seek(0, os.SEEK_END) == 0:
                rows.append(["epoch", *self._keys])
        rows.append([epoch, *(logs.get(key, "NA") for key in self._keys)])
        text = io.StringIO(newline="")
        writer(text, delimiter=self.separator, lineterminator="\n").writerows(rows)
        self._file.write(text.getvalue().encode())

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def get_state(self) -> dict[str, Any]:
        """Return the columns, and how long the file is."""
        return {"keys": self._keys, "bytes": None if self._file is None else self._file.seek(0, os.SEEK_END)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned, before the next row is written."""
        self._keys, self._bytes = state["keys"], state["bytes"]
        if self._file is not None:
            self._file.close()
            self._file = self._open()
