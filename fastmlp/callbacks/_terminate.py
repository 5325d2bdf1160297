"""``TerminateOnNaN``: an end without an exception where NaN is met."""

from __future__ import annotations

from ..errors import NonFiniteError
from ._base import Callback, Logs

__all__ = ["TerminateOnNaN"]


class TerminateOnNaN(Callback):
    """End the training, without an exception, where a step meets NaN or infinity.

    A step that does is never done: without this callback ``fit`` raises its NonFiniteError. With it, the epoch ends
    before that step, as if ``stop_training`` had been set: validation and ``on_epoch_end`` follow, with means of the
    steps before (``nan`` if there are none), and parameters are finite ones. Keras, which finds the NaN after the step,
    has it in the parameters. Metrics in NumPy may lack the rows of some batches before the end.

    Attributes
    ----------
    error : NonFiniteError or None
        What ended the training; its ``layer`` and ``step`` say where.
    """

    results = ("error",)

    def __init__(self) -> None:
        self.error: NonFiniteError | None = None

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Forget an earlier training."""
        self.error = None

    def ends_by(self, error: NonFiniteError) -> bool:
        """Take the error of a step, so that it ends the training and goes no further."""
        self.error = error
        return True
