"""``History``: what an epoch gave, kept."""

from __future__ import annotations

from typing import Any

from ._base import Callback, Logs

__all__ = ["History"]


class History(Callback):
    """Keep the logs of every epoch; ``fit`` has one, and returns it.

    One that is given to ``fit`` among the callbacks is used instead, and goes on growing from call to call.
    ``net.history`` is the last one, also after a ``fit`` that ended by an exception.

    Attributes
    ----------
    history : dict of str to list of float
        ``loss``, metrics, and with validation ``val_loss`` and so on, one value an epoch.
    epoch : list of int
    """

    results = ("history", "epoch")

    def __init__(self) -> None:
        self.history: dict[str, list[float]] = {}
        self.epoch: list[int] = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the logs of an epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def get_state(self) -> dict[str, Any]:
        """Return what is kept so far."""
        return {"history": {name: list(values) for name, values in self.history.items()}, "epoch": list(self.epoch)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        self.history, self.epoch = state["history"], state["epoch"]

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items())
        return f"<History of {len(self.epoch)} epochs{': ' + last if last else ''}>"
