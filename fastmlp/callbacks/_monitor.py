"""``Monitor``: base of callbacks that watch one value of the logs, and know which way it gets better."""

from __future__ import annotations

import math

from ..checks import check_number
from ..metrics import metric_name
from ._base import Callback, Logs

__all__ = ["Monitor"]


class Monitor(Callback):
    """Base of callbacks that watch a value: which one, which way is better, and from which difference on.

    Parameters
    ----------
    monitor : str
        A name in the logs: ``"val_loss"``, ``"loss"``, ``"val_accuracy"``, ...
    mode : {"auto", "min", "max"}
        Which way is better; "auto": down for a loss, as a metric says (`Metric.better`) for a metric. A ValueError when
        ``fit`` begins where nobody says.
    min_delta : float
        A value is better than another one if they differ by more than this, the right way.
    """

    min_delta: float = 0.0

    def __init__(self, monitor: str = "val_loss", *, mode: str = "auto", min_delta: float = 0.0) -> None:
        self.monitor = monitor
        self.mode = mode
        self.min_delta = min_delta

    def check_monitor(self) -> None:
        """Refuse a mode that is none, and a difference below 0; ValueError."""
        if not isinstance(self.monitor, str):
            raise TypeError(f"monitor: expected a name in the logs, got {self.monitor!r}")
        if self.mode not in ("auto", "min", "max"):
            raise ValueError(f"mode: expected 'auto', 'min' or 'max', got {self.mode!r}")
        check_number("min_delta", self.min_delta, 0.0)

    def is_better_up(self) -> bool:
        """Return whether larger values are better; a ValueError where nobody says."""
        if self.mode != "auto":
            return self.mode == "max"
        name = self.monitor.removeprefix("val_")
        if name == "loss":
            return False
        better = {metric_name(metric): metric.better for metric in self.model.metrics}.get(name)
        if better not in ("higher", "lower"):
            raise ValueError(
                f"{type(self).__name__}: mode='auto' can't know which way {self.monitor!r} gets better; give "
                "mode='max' or mode='min', or say it in the metric's class: better = 'higher' or 'lower'"
                + ("" if better is None else f", not {better!r}")
            )
        return better == "higher"

    def watched(self, logs: Logs | None) -> float:
        """Return the value that is watched; a ValueError where the logs don't have it."""
        logs = logs or {}
        if self.monitor not in logs:
            hint = "; give fit validation_data or validation_split" if self.monitor.startswith("val_") else ""
            raise ValueError(f"{type(self).__name__}: no {self.monitor!r} among {', '.join(sorted(logs))}{hint}")
        return logs[self.monitor]

    def is_better(self, value: float, than: float | None) -> bool:
        """Return whether a value is better than another one, None for the first; NaN and the worst infinity never."""
        up = self.is_better_up()
        if than is None:
            return value > -math.inf if up else value < math.inf
        return value - self.min_delta > than if up else value + self.min_delta < than
