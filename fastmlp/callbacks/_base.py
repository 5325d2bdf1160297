"""``Callback``: the hooks that ``fit`` calls, with Keras's names, arguments and order."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from ..configurable import init_parameters, is_builtin, unknown_attribute
from ..errors import NonFiniteError

if TYPE_CHECKING:
    from ..model import Sequential

__all__ = ["HOOKS", "Callback", "Logs"]

Logs = dict[str, float]

_PAIRS = {
    "train": ("logs",),
    "epoch": ("epoch", "logs"),
    "train_batch": ("batch", "logs"),
    "test": ("logs",),
    "test_batch": ("batch", "logs"),
    "predict": ("logs",),
    "predict_batch": ("batch", "logs"),
}

# Hooks by name, with the arguments that they are called with, by position.
HOOKS = {f"on_{of}_{when}": arguments for of, arguments in _PAIRS.items() for when in ("begin", "end")}


class Callback:
    """Base of all callbacks; a subclass writes the hooks that it wants.

    Hooks have Keras's names, arguments and order. The network is ``self.model``; ``self.model.stop_training = True``
    ends the training after the batch or the epoch at hand. A hook with other arguments, or a method whose name begins
    with ``on_`` and is no hook's, is a TypeError when ``fit`` begins.

    A callback with a hook for batches of training takes ``fit`` back to Python around every step. One that does not
    need every step says so, and costs next to nothing: with `every_n_steps` or `every_seconds` (or both: whichever
    comes first) its ``on_train_batch_begin`` and ``on_train_batch_end`` are called around those steps alone.

    Attributes
    ----------
    model : Sequential
        The network that is trained; set when ``fit`` begins.
    params : mapping
        ``epochs``, ``steps`` (batches of an epoch, None where nobody knows) and ``verbose``; set when ``fit`` begins.
    every_n_steps : int or None
        Around steps whose number is a multiple of n. Steps are counted over the life of the network, from 1, as in
        error messages; they are in its files too.
    every_seconds : float or None
        Around the first step after so many seconds without a call, counted from the beginning of ``fit``.
    watches_batches : bool
        False if its hooks for batches of training are not to be called at all; looked at when ``fit`` begins.

    Examples
    --------
    >>> class Log(fm.callbacks.Callback):
    ...     every_n_steps = 100
    ...
    ...     def on_train_batch_end(self, batch, logs=None):
    ...         print(batch, logs["loss"])
    """

    results: ClassVar[tuple[str, ...]] = ()  # of fastmlp's own callbacks: what a training leaves in them
    every_n_steps: int | None = None
    every_seconds: float | None = None
    watches_batches: bool = True
    model: Sequential = None  # type: ignore[assignment]  # before any fit
    params: Mapping[str, Any] = MappingProxyType({})

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.results and not hasattr(type(self), name) and is_builtin(type(self)):
            settings = init_parameters(type(self))
            if name not in settings and not name.startswith("_"):
                raise unknown_attribute(type(self).__name__, name, settings)
        object.__setattr__(self, name, value)

    def set_model(self, model: Sequential) -> None:
        """Take the network that is going to be trained."""
        self.model = model

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Take what is known of the training: ``epochs``, ``steps``, ``verbose``."""
        self.params = params

    def get_state(self) -> dict[str, Any]:
        """Return what the callback must know again if the training is killed and goes on; by default nothing.

        For `BackupAndRestore`: numbers, strings, None, arrays, and lists, tuples and dicts of them. Callbacks are asked
        between two steps, or after an epoch, when all of them have been called.
        """
        return {}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned in the process before, after ``on_train_begin`` (and once more, in the middle
        of an epoch, after ``on_epoch_begin``), in place of what these have set."""

    def ends_by(self, error: NonFiniteError) -> bool:
        """Return whether a step's NaN or infinity ends the training without an exception; by default not."""
        return False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Do something before the first epoch."""

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Do something after the last epoch, and where ``fit`` ends by an exception; `logs` are the last epoch's."""

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Do something before an epoch, counted from 0."""

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Do something after an epoch and its validation; `logs` is what `History` keeps of it."""

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Do something before a step; `batch` is its number in the epoch, counted from 0."""

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Do something after a step; `logs` are the means of the epoch so far."""

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Do something before a validation."""

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Do something after a validation; `logs` are its means, without ``val_``."""

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Do something before a batch of a validation."""

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Do something after a batch of a validation; `logs` are the means so far."""

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Do something before a prediction. ``predict`` takes no callbacks: `fit` never calls this."""

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Do something after a prediction. ``predict`` takes no callbacks: `fit` never calls this."""

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Do something before a batch of a prediction. ``predict`` takes no callbacks: `fit` never calls this."""

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Do something after a batch of a prediction. ``predict`` takes no callbacks: `fit` never calls this."""
