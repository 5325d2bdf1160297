"""``fit``: epochs over data, one compiled call each where nothing on the way needs Python."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from .._kernels import plan as core
from ..callbacks import Callback, History, wants_batches
from ..checks import check_count, check_integer, check_share
from ..threads import team
from . import step as steps
from .data import Dataset, prepare, unbuilt_if_refused
from .evaluate import RunningMeans, needs_python, run_evaluation, staged

if TYPE_CHECKING:
    from ..model import Sequential

__all__ = ["fit"]


class Epoch:
    """One pass over the data, which may be repeated."""

    def __init__(self, compiled: Compiled, data: Dataset, batch_size: int, limit: int | None, shuffle: bool) -> None:
        n = len(data.x)
        self.compiled, self.data, self.batch_size, self.shuffle = compiled, data, min(batch_size, n), shuffle
        self.order = np.arange(n, dtype=np.int64)
        self.end = n if limit is None else min(n, limit * self.batch_size)
        self.rates = np.empty(-(-self.end // self.batch_size))  # learning rates, step by step

    def run(self, on_batch: Callable[[int, Mapping[str, float]], None] | None) -> RunningMeans:
        """All steps; compiled in one call where that is possible."""
        if self.shuffle:
            core.shuffle(self.order, self.compiled.seed, self.compiled.epochs)
        executable = self.compiled.training(self.batch_size)
        totals = RunningMeans(self.compiled)
        try:
            if on_batch is None and not needs_python(totals, executable, self.data):
                self._compiled(executable, totals)
                totals.rows = self.end
            else:
                self._stepwise(executable, totals, on_batch)
        finally:
            executable.unbind()
        return totals

    def _compiled(self, executable: Executable, totals: RunningMeans) -> None:
        """Comes back every tenth of a second, so that Ctrl-C is answered; steps are counted where they are run."""
        compiled, run, at = self.compiled, executable.run, 0
        executable.bind(*self.data, self.order)
        first, _ = executable.plan.sections["forward"]
        _, last = executable.plan.sections["commit"]
        self._fill_rates()
        begun = compiled.steps
        while at < self.end:
            at, fine = run.epoch(
                *(first, last, at, self.end, self.batch_size, compiled.seed),
                *(self.rates[compiled.steps - begun :], team(), totals.sums),
            )
            if not fine:
                batch = min(self.batch_size, self.end - at)
                executable.begin(at, batch)
                raise steps.non_finite(compiled, executable, batch)

    def _fill_rates(self) -> None:
        _, optimizer = self.compiled.objective()
        if not callable(optimizer.learning_rate):
            self.rates.fill(optimizer.learning_rate)
            return
        first = self.compiled.iterations + 1
        for step in range(len(self.rates)):
            self.rates[step] = optimizer.learning_rate_at(first + step)

    def _stepwise(
        self,
        executable: Executable,
        totals: RunningMeans,
        on_batch: Callable[[int, Mapping[str, float]], None] | None,
    ) -> None:
        for number, at in enumerate(range(0, self.end, self.batch_size)):
            index = self.order[at : min(at + self.batch_size, self.end)]
            staged(self.compiled, executable, self.data, index)
            if not steps.step(self.compiled, executable, 0, len(index)):
                continue
            totals.add(executable, len(index))
            if on_batch is not None:
                on_batch(number, steps.logs(self.compiled, executable, len(index)))
                if self.compiled.stop_training:
                    return


class Stream:
    """One pass over an iterable of ``(x, y[, weight])``, which may be repeated."""

    def __init__(self, compiled: Compiled, batches: Iterable[Any], limit: int | None) -> None:
        self.compiled, self.batches, self.limit = compiled, batches, limit

    def run(self, on_batch: Callable[[int, Mapping[str, float]], None] | None) -> RunningMeans:
        """All steps."""
        totals: RunningMeans | None = None
        for number, batch in enumerate(islice(self.batches, self.limit)):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError(f"fit: expected batches (x, y) or (x, y, weight), got {type(batch).__name__}")
            data = prepare(self.compiled, *batch).readable(self.compiled.dtype)
            totals = totals or RunningMeans(self.compiled)
            executable = self.compiled.training(len(data.x))
            executable.bind(*data)
            try:
                steps.step(self.compiled, executable, 0, len(data.x))
                totals.add(executable, len(data.x))
                if on_batch is not None:
                    on_batch(number, steps.logs(self.compiled, executable, len(data.x)))
            finally:
                executable.unbind()
            if self.compiled.stop_training:
                break
        if totals is None:
            raise ValueError("fit: the iterable gave no batch; a generator is used up after one epoch, a list is not")
        return totals


def _split(data: Dataset, share: float) -> tuple[Dataset, Dataset | None]:
    """The last share of the rows for validation."""
    n = len(data.x)
    kept = n - int(n * share)
    if share == 0 or kept == n:
        if share:
            raise ValueError(f"validation_split: {share} of {n} samples is none")
        return data, None

    def rows(part: slice) -> Dataset:
        return Dataset(*(None if array is None else array[part] for array in data))  # type: ignore[arg-type]

    train, validation = rows(slice(0, kept)), rows(slice(kept, None))
    for name, part in (("training", train), ("validation", validation)):
        if part.weight is not None and not part.weight.sum() > 0:
            raise ValueError(f"validation_split: the weights of the {name} share sum to 0")
    return train, validation


def _data(
    compiled: Compiled,
    x: Any,
    y: Any,
    split: float,
    validation_data: Sequence[Any] | None,
    sample_weight: Any,
    class_weight: Mapping[int, float] | None,
) -> tuple[Dataset | None, Dataset | None]:
    """Checked rows for training (None: `x` is an iterable of batches) and for validation."""
    data: Dataset | None = None
    validation: Dataset | None = None
    if y is not None:
        data, validation = _split(prepare(compiled, x, y, sample_weight, class_weight), split)
    elif sample_weight is not None or class_weight is not None or split:
        raise ValueError("fit: without y, weights come with the batches, and validation through validation_data")
    elif not isinstance(x, Iterable) or isinstance(x, np.ndarray):
        raise ValueError("fit: y is missing; without it x must be an iterable of (x, y) batches")
    if validation_data is not None:
        if split:
            raise ValueError("fit: give validation_data or validation_split, not both")
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight)")
        validation = prepare(compiled, *validation_data)
    return data, validation


def fit(
    compiled: Compiled,
    model: Sequential,
    x: Any,
    y: Any = None,
    *,
    epochs: int = 1,
    batch_size: int = 32,
    validation_data: Sequence[Any] | None = None,
    validation_split: float = 0.0,
    shuffle: bool = True,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    callbacks: Iterable[Callback] = (),
    initial_epoch: int = 0,
    steps_per_epoch: int | None = None,
    verbose: int | str = "auto",
) -> History:
    """Train a network; the body of ``Sequential.fit``.

    Parameters
    ----------
    x : array_like ``(n, features)``, or iterable of ``(x, y[, weight])`` where `y` is None
        An iterable is iterated anew each epoch.
    y : array_like
        Labels ``(n,)`` or rows ``(n, units)``, as the loss takes them.
    epochs : int
        The number of the last epoch; training goes from `initial_epoch` to it.
    batch_size : int
        Dataset of a step; the last batch of an epoch may have fewer, and counts accordingly.
    validation_data : (x, y) or (x, y, sample_weight), optional
    validation_split : float
        The last share of the rows is for validation, before any shuffling.
    shuffle : bool
        Keyed by the seed and an epoch counter that is never reset.
    sample_weight : array_like ``(n,)``, optional
        A batch whose weights sum to 0 is no step.
    class_weight : mapping of class to weight, optional
    callbacks : iterable of Callback
    initial_epoch : int
    steps_per_epoch : int, optional
        Steps after which an epoch ends early.
    verbose : {"auto", 0, 1}
        One line an epoch; "auto" prints to terminals and notebooks alone.

    Returns
    -------
    History

    Raises
    ------
    NonFiniteError
        If a step meets NaN or infinity; the network stays as after the last complete step.
    """
    batch_size = check_count("batch_size", batch_size)
    epochs = check_count("epochs", epochs)
    initial_epoch = check_integer("initial_epoch", initial_epoch, 0)
    split = check_share("validation_split", validation_split)
    limit = None if steps_per_epoch is None else check_count("steps_per_epoch", steps_per_epoch)
    compiled.objective()
    hooks = _checked_callbacks(callbacks)
    show = _shows(verbose)
    with unbuilt_if_refused(compiled):
        data, validation = _data(compiled, x, y, split, validation_data, sample_weight, class_weight)
    history = History()
    hooks.append(history)
    watching = [hook for hook in hooks if wants_batches(hook)]
    one = Stream(compiled, x, limit) if data is None else Epoch(compiled, data, batch_size, limit, shuffle)

    def on_batch(number: int, logs: Mapping[str, float]) -> None:
        for hook in watching:
            hook.on_batch_end(model, number, logs)

    compiled.stop_training = False
    for hook in hooks:
        hook.on_train_begin(model)
    for epoch in range(initial_epoch, epochs):
        begun = time.perf_counter()
        for hook in hooks:
            hook.on_epoch_begin(model, epoch)
        with compiled.guard.changing("fit"):
            totals = one.run(on_batch if watching else None)
            compiled.epochs += 1
        logs = totals.logs()
        seconds = time.perf_counter() - begun
        if validation is not None:
            logs |= run_evaluation(compiled, validation, max(batch_size, 256)).logs("val_")
        if show:
            print(_line(epoch, epochs, logs, totals.rows / seconds), flush=True)
        for hook in hooks:
            hook.on_epoch_end(model, epoch, logs)
        if compiled.stop_training:
            break
    for hook in hooks:
        hook.on_train_end(model)
    return history


def _checked_callbacks(callbacks: object) -> list[Callback]:
    if isinstance(callbacks, (str, Callback)) or not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks: expected a list of callbacks, got {callbacks!r}")
    checked = list(callbacks)
    for callback in checked:
        if not isinstance(callback, Callback):
            raise TypeError(f"callbacks: expected instances of fm.callbacks.Callback, got {callback!r}")
    return checked


def _shows(verbose: int | str) -> bool:
    if verbose == "auto":
        return sys.stdout.isatty() or "ipykernel" in sys.modules
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose: expected 'auto', 0 or 1, got {verbose!r}")
    return bool(verbose)


def _line(epoch: int, epochs: int, logs: Mapping[str, float], speed: float) -> str:
    width = len(str(epochs))
    values = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
    return f"epoch {epoch + 1:>{width}}/{epochs}  {values}  {speed:,.0f} samples/s"
