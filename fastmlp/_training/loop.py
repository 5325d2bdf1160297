"""``fit``: epochs over data, in stretches that end where somebody asked to be called."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._compiler.compiled import Compiled
from ..checks import check_count, check_integer, check_share
from ..errors import NonFiniteError
from .data import Dataset, Given, checked_for, converted, remember
from .evaluate import run_evaluation
from .identity import identity_of_network
from .means import RunningMeans
from .names import known_columns
from .position import Position
from .progress import print_line, prints_lines
from .source import ArraySource, Block, IterableSource, Source
from .state import restore_network, restore_position, state_of_network, state_of_position
from .stretch import run_stretch

if TYPE_CHECKING:
    from .._compiler.network import Network
    from ..callbacks import CallbackList

__all__ = ["Loop", "fit"]

VALIDATION_ROWS = 256  # of a batch of the validation, at least, where nobody listens to its batches


class Loop:
    """Trains a network, epoch by epoch, from a position on.

    Parameters
    ----------
    compiled : Compiled
    source : Source
        Where the batches come from.
    callbacks : CallbackList
        Whom to call; between two calls, steps run in compiled stretches.
    position : Position
        Where to begin; it goes along with the training, and is right whenever a callback is called.
    validation : Source, optional
    lines : bool
        Print a line for each epoch.
    """

    def __init__(
        self,
        compiled: Compiled,
        source: Source,
        callbacks: CallbackList,
        position: Position,
        *,
        validation: Source | None = None,
        lines: bool = False,
    ) -> None:
        self.compiled, self.source, self.callbacks, self.position = compiled, source, callbacks, position
        self.validation, self.lines = validation, lines
        self.first_epoch = position.epoch
        self.complete = False  # has ended, and not by an exception
        self._ended = False  # asked to, after the epoch before
        self._logs: dict[str, float] = {}  # of the epoch before

    def run(self, epochs: int) -> None:
        """Train until so many epochs are done, or the training is asked to stop.

        The network belongs to the calling thread all the time: another one may read it between two steps, and waits for
        that, but gets a RuntimeError where it wants more. Nobody ends the training.
        """
        with self.compiled.guard.claiming("fit"):
            try:
                params = {"epochs": epochs, "steps": self.source.n_batches, "verbose": int(self.lines)}
                self.callbacks.begin(params, self)
                while self.position.epoch < epochs and not self._ended:
                    self._run_epoch(epochs)
                    self._ended = self.compiled.stop_training
                self.complete = True
            finally:
                self.callbacks.end(self._logs)

    # -- for a training that may be killed, and goes on ----------------------------------------------------------

    def identity(self) -> dict[str, str]:
        """Return what must be the same for the training to go on: network, data, arguments, callbacks; in words."""
        found = {**identity_of_network(self.compiled), **self.source.identity()}
        if self.validation is not None:
            found |= {f"validation {name}": words for name, words in self.validation.identity().items()}
        found["initial_epoch"] = str(self.first_epoch)
        found["callbacks"] = ", ".join(type(callback).__name__ for callback in self.callbacks.callbacks)
        return found

    def get_state(self) -> dict[str, Any]:
        """Return all that decides how the training goes on: after a step, or after an epoch and its callbacks."""
        return {
            "network": state_of_network(self.compiled),
            "position": state_of_position(self.position),
            "callbacks": self.callbacks.get_state(),
            "stop_training": self.compiled.stop_training,
            "logs": dict(self._logs),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Put back what `get_state` returned, before a step."""
        restore_network(self.compiled, state["network"])
        restore_position(self.compiled, self.position, state["position"])
        self.callbacks.set_state(state["callbacks"])
        self.compiled.stop_training = self._ended = state["stop_training"]
        self._logs = dict(state["logs"])

    # -- epochs --------------------------------------------------------------------------------------------------

    def _run_epoch(self, epochs: int) -> None:
        """Run the rest of the epoch at hand, and its validation."""
        epoch = self.position.epoch
        begun = time.perf_counter()
        self.callbacks.on_epoch_begin(epoch)
        logs, rows = self._train()
        speed = rows / (time.perf_counter() - begun)
        self.position.next_epoch()
        if self.validation is not None:
            found = run_evaluation(self.compiled, self.validation, self.callbacks)
            logs |= {f"val_{name}": value for name, value in found.items()}
        if self.lines:
            print_line(epoch, epochs, logs, speed)
        self._logs = logs
        self.callbacks.on_epoch_end(epoch, logs)

    def _train(self) -> tuple[dict[str, float], int]:
        """Run the steps of the epoch at hand that are left; return the means of the epoch, and rows of these steps."""
        compiled, position, rows, first = self.compiled, self.position, 0, self.position.batch
        if position.order_key is None:
            position.order_key = compiled.epochs
        for block in self.source.blocks(position.batch, position.order_key):
            if position.means is None:  # here, since the first batch of an iterable may have built the network
                position.means = RunningMeans(compiled)
            rows += self._train_block(block, position.means)
            if compiled.stop_training:
                break
        if position.means is None:
            raise ValueError("fit: the iterable gave no batch; a generator is used up after one epoch, a list is not")
        if not position.means.counts and not compiled.stop_training:
            raise ValueError(
                f"weights: their sum is 0 in epoch {position.epoch + 1}, so that no sample counts; there was no step"
            )
        asked = self.source.limit
        if asked is not None and position.batch < asked and not compiled.stop_training:
            warnings.warn(
                f"fit: epoch {position.epoch + 1} has {position.batch} steps, {asked} were asked for: the data is at "
                "its end",
                stacklevel=6,
            )
        if rows and rows <= position.batch - first and compiled.network.takes_batch_statistics():
            warnings.warn(
                f"fit: all batches of epoch {position.epoch + 1} have one row, of which BatchNorm takes no statistics; "
                "let them have more",
                stacklevel=6,
            )
        compiled.epochs += 1
        return position.means.logs(), rows

    def _train_block(self, block: Block, means: RunningMeans) -> int:
        """Run the batches of a block, and return how many of its rows were reached."""
        compiled, position, callbacks = self.compiled, self.position, self.callbacks
        first, at = position.batch, 0
        while at < len(block.order):
            batches, seconds = callbacks.quiet_stretch(compiled.steps)
            if batches:
                batches = 1 if compiled.stop_training else batches  # asked for before the first step: as in Keras
                at = self._run(block, at, means, batches, seconds)
                position.batch = first + math.ceil(at / block.batch_size)
            else:
                at = block.skip_weightless(at)
                position.batch = first + math.ceil(at / block.batch_size)
                if at < len(block.order):
                    at = self._train_watched(block, at, means)
            if compiled.stop_training:
                break
        return at

    def _run(self, block: Block, at: int, means: RunningMeans, batches: float, seconds: float = math.inf) -> int:
        """Run a stretch, and return the row that was reached.

        Where a step meets NaN or infinity and a callback says that this ends the training, it does so here.
        """
        try:
            return run_stretch(self.compiled, block, at, means, training=True, batches=batches, seconds=seconds)
        except NonFiniteError as error:
            if not self.callbacks.ends_by(error):
                raise
            self.compiled.stop_training = True
            return at

    def _train_watched(self, block: Block, at: int, means: RunningMeans) -> int:
        """Run one step, and tell the callbacks that asked for it before and after."""
        number = self.position.batch
        self.callbacks.on_train_batch_begin(number)
        begun, at = self.compiled.steps, self._run(block, at, means, 1)
        if self.compiled.steps == begun:  # a step that met NaN, which ends the training
            return at
        self.position.batch = number + 1
        self.callbacks.on_train_batch_end(number, means.logs())
        return at


def fit(
    compiled: Compiled,
    callbacks: CallbackList,
    x: Any,
    y: Any,
    *,
    epochs: int,
    batch_size: int,
    validation_data: Sequence[Any] | None,
    validation_split: float,
    shuffle: bool,
    sample_weight: Any,
    class_weight: Mapping[int, float] | None,
    initial_epoch: int,
    steps_per_epoch: int | None,
    verbose: int | str,
) -> None:
    """Check everything, then train; the arguments are those of `Sequential.fit`."""
    batch_size = check_count("batch_size", batch_size)
    epochs = check_count("epochs", epochs)
    initial_epoch = check_integer("initial_epoch", initial_epoch, 0)
    split = check_share("validation_split", validation_split)
    limit = None if steps_per_epoch is None else check_count("steps_per_epoch", steps_per_epoch)
    compiled.objective()
    lines = prints_lines(verbose)
    given, given_held = _converted(compiled, x, y, split, validation_data, sample_weight, class_weight)
    if not compiled.built:  # before the call has the network to itself: see `arguments`
        _checked(compiled, given, given_held, split, batch_size)
    with compiled.guard.claiming("fit"):
        data, held = _checked(compiled, given, given_held, split, batch_size)
        source: Source
        if data is None:
            source = IterableSource(compiled, x, limit)
        else:
            source = ArraySource(compiled, data, batch_size, limit=limit, shuffle=shuffle)
        validation = None
        if held is not None:
            size = batch_size if callbacks.watches_test_batches else max(batch_size, VALIDATION_ROWS)
            validation = ArraySource(compiled, held, size)
        if given is not None:
            remember(compiled, given)
        compiled.stop_training = False
        Loop(compiled, source, callbacks, Position(initial_epoch), validation=validation, lines=lines).run(epochs)


def _check_batch_size(network: Network, batch_size: int) -> None:
    """Refuse batches of one row where a layer takes statistics of the batch: they would make every input the same."""
    if batch_size == 1 and network.takes_batch_statistics():
        raise ValueError(
            "fit: with BatchNorm a batch needs at least 2 rows, of which it takes mean and variance; give a larger "
            "batch_size and more rows, use LayerNorm, or set trainable=False on BatchNorm to take running statistics"
        )


def _converted(
    compiled: Compiled,
    x: Any,
    y: Any,
    split: float,
    validation_data: Sequence[Any] | None,
    sample_weight: Any,
    class_weight: Mapping[int, float] | None,
) -> tuple[Given | None, Given | None]:
    """Return arrays for training (None: `x` is an iterable of batches) and for validation."""
    data: Given | None = None
    validation: Given | None = None
    if y is not None:
        data = converted(compiled, x, y, sample_weight, class_weight)
    elif sample_weight is not None or class_weight is not None or split:
        raise ValueError("fit: without y, weights come with the batches, and validation through validation_data")
    elif not isinstance(x, Iterable) or hasattr(x, "__array__") or hasattr(x, "shape"):
        raise ValueError("fit: y is missing; without it x must be an iterable of (x, y) batches")
    if validation_data is not None:
        if split:
            raise ValueError("fit: give validation_data or validation_split, not both")
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight)")
        validation = converted(compiled, *validation_data)
    return data, validation


def _checked(
    compiled: Compiled, given: Given | None, given_held: Given | None, split: float, batch_size: int
) -> tuple[Dataset | None, Dataset | None]:
    """Return the data, checked; a network that they are the first for is built for all of them, or for none."""

    def check(network: Network) -> tuple[Dataset | None, Dataset | None]:
        data = held = None
        if given is not None:
            data, held = _split(checked_for(compiled, network, given), split)
            _check_batch_size(network, min(batch_size, len(data.x)))
        if given_held is not None:
            known = known_columns(compiled).learned(None if given is None else given.columns)
            held = checked_for(compiled, network, given_held, known)
        if held is not None:
            held.check_finite("the validation data")
        return data, held

    first = given or given_held
    if first is None:
        return None, None
    if not compiled.built:
        compiled.build_for(first.x.shape[1], check)
    return check(compiled.network)


def _split(data: Dataset, share: float) -> tuple[Dataset, Dataset | None]:
    """Return the data without its last share of the rows, and that share, for validation."""
    if share == 0:
        return data, None
    n = len(data.x)
    kept = n - int(n * share)
    if kept == n:
        raise ValueError(f"validation_split: {share} of {n} samples is none")

    def rows(part: slice) -> Dataset:
        return Dataset(*(None if array is None else array[part] for array in data))  # type: ignore[arg-type]

    train, validation = rows(slice(0, kept)), rows(slice(kept, None))
    for name, part in (("training", train), ("validation", validation)):
        if part.weight is not None and not part.weight.sum() > 0:
            raise ValueError(f"validation_split: the weights of the {name} share sum to 0")
    return train, validation
