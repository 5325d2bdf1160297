"""``BackupAndRestore``: a training that was killed goes on where it was."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from ..checks import one_line
from ._base import Logs
from ._frequency import Saving

if TYPE_CHECKING:
    from ..model import Sequential

__all__ = ["BackupAndRestore", "Training"]

FORMAT = 1


class Training(Protocol):
    """What a training offers, so that it can be kept and go on.

    Attributes
    ----------
    complete : bool
        Whether it has ended as it should, not by an exception.
    """

    complete: bool

    def identity(self) -> dict[str, str]:
        """Return what must be the same for it to go on, in words."""

    def get_state(self) -> dict[str, Any]:
        """Return all that decides how it goes on."""

    def set_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_state` returned."""


class BackupAndRestore(Saving):
    """Keep a training in a file, and go on from it: killed at any moment and started again by the same script, it ends
    in the same bits as one that was left alone.

    The file has all that decides how a training goes on: parameters, running statistics, the state of the optimizer,
    the counters that key dropout, shuffling and schedules, the position in the epoch, the sums of its loss and metrics,
    the learning rate and other numbers that callbacks may have set, and the state of the callbacks (`EarlyStopping`,
    `ReduceLROnPlateau`, `ModelCheckpoint`, `CSVLogger`, the `History`, and yours where they have ``get_state`` and
    ``set_state``). It is written in one go, so that a whole one is there at every moment; it holds no code.

    Where ``fit`` finds it, it goes on from there: ``on_train_begin`` and, in the middle of an epoch, ``on_epoch_begin``
    are called as ever; what they change is then put back. The script must give the same network, data, arguments and
    callbacks; others are a ValueError that names what differs (`epochs` may be more; of arrays of more than 64 MB
    4096 rows are compared; an iterable must give the same batches, which nobody can check). When ``fit`` has ended,
    early too, but not by an exception, the file is deleted.

    Parameters
    ----------
    path : str or path-like
        The file, exactly. Its folder must be there.
    save_freq : "epoch", int or None
        After each epoch, when all callbacks have been called, or after steps whose number is a multiple of n. None:
        where `every_seconds` says, alone.
    every_seconds : float, optional
        Also after the first step that ends so many seconds after the last such time.
    delete_checkpoint : bool
        Delete the file when the training is complete. If it is kept, the next ``fit`` finds it complete.

    Attributes
    ----------
    restored : tuple of int or None
        Epoch and batch, counted from 0, from which the last ``fit`` went on.

    Notes
    -----
    The same bits are promised as they are for trainings that are left alone: in one version of fastmlp, on one
    instruction-set level. A seed that nobody has given is the one of the training that goes on. Python attributes of
    layers and losses of your own are not kept; what a metric of yours keeps is (`Metric.get_state`).

    Examples
    --------
    >>> backup = fm.callbacks.BackupAndRestore("training.backup", save_freq=1000)
    >>> history = net.fit(x, y, epochs=100, callbacks=[backup])
    """

    results = ("restored",)

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        save_freq: str | int | None = "epoch",
        every_seconds: float | None = None,
        delete_checkpoint: bool = True,
    ) -> None:
        self.path = os.fspath(path)
        self.save_freq = save_freq
        self.every_seconds = every_seconds
        self.delete_checkpoint = delete_checkpoint
        self.check_frequency()
        self.restored: tuple[int, int] | None = None
        self._training: Training | None = None
        self._identity: dict[str, str] = {}
        self._put_back: dict[str, Any] | None = None  # once more, after on_epoch_begin
        self._seen: tuple[Any, ...] = ()

    def set_training(self, training: Training) -> None:
        """Take the training that is going to be kept, with which all callbacks but this one have begun."""
        self._training = training

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Go on from the file, if it is there and of this training."""
        self.check_frequency()
        self.restored = self._put_back = None
        self._identity = self._now.identity()
        if os.path.exists(self.path):
            self._restore()
        self._seen = self._trained_objects(self.model)

    @property
    def _now(self) -> Training:
        assert self._training is not None
        return self._training

    @staticmethod
    def _trained_objects(model: Sequential) -> tuple[Any, ...]:
        return (model, model.optimizer, model.loss, model.metrics)

    def _restore(self) -> None:
        from ..archives import read_tree

        tree = read_tree(self.path)
        try:
            if tree.get("format") != FORMAT:
                raise ValueError(f"expected format {FORMAT}, got {tree.get('format')!r:.80}")
            self._check(tree["identity"])
            self._now.set_state(tree["state"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.path}: no backup of this training ({type(error).__name__}: {one_line(error)})"
            ) from error
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}; delete the file to begin anew") from error
        position = tree["state"]["position"]
        self._identity, self.restored = tree["identity"], (position["epoch"], position["batch"])
        self._put_back = tree["state"] if position["batch"] else None

    def _check(self, then: dict[str, str]) -> None:
        """Refuse the backup of another training; of a network that this callback has trained, its settings may differ.

        It is the very same one then, and callbacks may have changed its learning rate since the backup.
        """
        now = self._identity
        same = bool(self._seen) and all(map(_is, self._seen, self._trained_objects(self.model)))
        ours = ("layer ", "optimizer", "loss", "metrics", "seed") if same else ()
        differing = [
            f"{name} was {then.get(name, 'not there')}, is {now.get(name, 'not there')}"
            for name in dict.fromkeys([*then, *now])
            if then.get(name) != now.get(name) and not (ours and name.startswith(ours))
        ]
        if differing:
            raise ValueError(f"the backup of another training: {'; '.join(differing)}")

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Put back once more what hooks of the epoch's beginning have changed, where it goes on in the middle."""
        if self._put_back is not None:
            self._now.set_state(self._put_back)
            self._put_back = None

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Keep the training after a step, unless it ends with it."""
        if not self.model.stop_training:
            self._keep()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the training after an epoch."""
        if self.save_freq == "epoch":
            self._keep()

    def _keep(self) -> None:
        from ..archives import write_tree

        tree = {"format": FORMAT, "identity": self._identity, "state": self._now.get_state()}
        write_tree(self.path, tree)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Delete the file of a training that is complete."""
        if self._now.complete and self.delete_checkpoint:
            with suppress(FileNotFoundError):
                os.unlink(self.path)
        self._training = self._put_back = None


def _is(one: object, other: object) -> bool:
    return one is other
