"""``Saving``: base of callbacks that save after epochs, after steps, or every so many seconds."""

from __future__ import annotations

from ..checks import check_count, check_number
from ._base import Callback

__all__ = ["Saving"]


class Saving(Callback):
    """Base of callbacks that save: when, as a subclass keeps it in `save_freq` and `every_seconds`.

    Attributes
    ----------
    save_freq : "epoch", int or None
        After each epoch; after steps whose number is a multiple of n; or where `every_seconds` says, alone.
    """

    save_freq: str | int | None
    every_seconds: float | None

    def check_frequency(self) -> None:
        """Refuse what is no frequency; TypeError, ValueError."""
        if self.save_freq != "epoch" and self.save_freq is not None:
            if isinstance(self.save_freq, str):
                raise ValueError(f"save_freq: expected 'epoch', a number of steps or None, got {self.save_freq!r}")
            check_count("save_freq", self.save_freq)
        if self.every_seconds is not None:
            check_number("every_seconds", self.every_seconds, 0.0)
        elif self.save_freq is None:
            raise ValueError("save_freq: None needs every_seconds, else nothing is ever saved")

    @property
    def every_n_steps(self) -> int | None:  # type: ignore[override]
        """The steps of `save_freq`, if it has some."""
        return None if self.save_freq is None or isinstance(self.save_freq, str) else self.save_freq

    @property
    def watches_batches(self) -> bool:  # type: ignore[override]
        """Whether it saves after steps."""
        return self.every_n_steps is not None or self.every_seconds is not None
