"""``fit``: epochs over data, one compiled call each where nothing on the way needs Python."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from . import steps
from .callbacks import Callback, History, wants_batches
from .checks import check_count, check_integer, check_share
from .core import plan as core
from .data import Rows
from .evaluation import Totals, needs_python, run_evaluation, staged
from .objective import objective
from .threads import team

if TYPE_CHECKING:
    from .model import Sequential
    from .workspace import Workspace

__all__ = ["fit"]


class Epoch:
    """One pass over the data, which may be repeated."""

    def __init__(self, net: Sequential, data: Rows, batch_size: int, limit: int | None, shuffle: bool) -> None:
        n = len(data.x)
        self.net, self.data, self.batch_size, self.shuffle = net, data, min(batch_size, n), shuffle
        self.order = np.arange(n, dtype=np.int64)
        self.end = n if limit is None else min(n, limit * self.batch_size)
        self.rates = np.empty(-(-self.end // self.batch_size))  # learning rates, step by step

    def run(self, on_batch: Callable[[int, Mapping[str, float]], None] | None) -> Totals:
        """All steps; compiled in one call where that is possible."""
        if self.shuffle:
            core.shuffle(self.order, self.net.seed, self.net._epochs)
        workspace = steps.train_workspace(self.net, self.batch_size)
        totals = Totals(self.net)
        try:
            if on_batch is None and not needs_python(totals, workspace, self.data):
                self._compiled(workspace, totals)
                totals.rows = self.end
            else:
                self._stepwise(workspace, totals, on_batch)
        finally:
            workspace.unbind()
        return totals

    def _compiled(self, workspace: Workspace, totals: Totals) -> None:
        """Comes back every tenth of a second, so that Ctrl-C is answered; steps are counted where they are run."""
        net, run, at = self.net, workspace.run, 0
        workspace.bind(self.data, self.order)
        first, _ = workspace.plan.sections["forward"]
        _, last = workspace.plan.sections["commit"]
        self._fill_rates()
        begun = net._steps
        while at < self.end:
            at, fine = run.epoch(
                *(first, last, at, self.end, self.batch_size, net.seed),
                *(workspace.hyper(self.rates[net._steps - begun :]), team(), totals.sums),
            )
            if not fine:
                batch = min(self.batch_size, self.end - at)
                workspace.begin(at, batch)
                raise steps.non_finite(net, workspace, batch)

    def _fill_rates(self) -> None:
        _, optimizer = objective(self.net)
        if not callable(optimizer.learning_rate):
            self.rates.fill(optimizer.learning_rate)
            return
        first = self.net._iterations + 1
        for step in range(len(self.rates)):
            self.rates[step] = optimizer.learning_rate_at(first + step)

    def _stepwise(
        self,
        workspace: Workspace,
        totals: Totals,
        on_batch: Callable[[int, Mapping[str, float]], None] | None,
    ) -> None:
        for number, at in enumerate(range(0, self.end, self.batch_size)):
            index = self.order[at : min(at + self.batch_size, self.end)]
            staged(self.net, workspace, self.data, index)
            if not steps.step(self.net, workspace, 0, len(index)):
                continue
            totals.add(workspace, len(index))
            if on_batch is not None:
                on_batch(number, steps.logs(self.net, workspace, len(index)))
                if self.net.stop_training:
                    return


class Stream:
    """One pass over an iterable of ``(x, y[, weight])``, which may be repeated."""

    def __init__(self, net: Sequential, batches: Iterable[Any], limit: int | None) -> None:
        self.net, self.batches, self.limit = net, batches, limit

    def run(self, on_batch: Callable[[int, Mapping[str, float]], None] | None) -> Totals:
        """All steps."""
        totals: Totals | None = None
        for number, batch in enumerate(islice(self.batches, self.limit)):
            if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
                raise TypeError(f"fit: expected batches (x, y) or (x, y, weight), got {type(batch).__name__}")
            data = steps.prepare(self.net, *batch).readable(self.net.dtype)
            totals = totals or Totals(self.net)
            workspace = steps.train_workspace(self.net, len(data.x))
            workspace.bind(data)
            try:
                steps.step(self.net, workspace, 0, len(data.x))
                totals.add(workspace, len(data.x))
                if on_batch is not None:
                    on_batch(number, steps.logs(self.net, workspace, len(data.x)))
            finally:
                workspace.unbind()
            if self.net.stop_training:
                break
        if totals is None:
            raise ValueError("fit: the iterable gave no batch; a generator is used up after one epoch, a list is not")
        return totals


def _split(data: Rows, share: float) -> tuple[Rows, Rows | None]:
    """The last share of the rows for validation."""
    n = len(data.x)
    kept = n - int(n * share)
    if share == 0 or kept == n:
        if share:
            raise ValueError(f"validation_split: {share} of {n} samples is none")
        return data, None

    def rows(part: slice) -> Rows:
        return Rows(*(None if array is None else array[part] for array in data))  # type: ignore[arg-type]

    train, validation = rows(slice(0, kept)), rows(slice(kept, None))
    for name, part in (("training", train), ("validation", validation)):
        if part.weight is not None and not part.weight.sum() > 0:
            raise ValueError(f"validation_split: the weights of the {name} share sum to 0")
    return train, validation


def _data(
    net: Sequential,
    x: Any,
    y: Any,
    split: float,
    validation_data: Sequence[Any] | None,
    sample_weight: Any,
    class_weight: Mapping[int, float] | None,
) -> tuple[Rows | None, Rows | None]:
    """Checked rows for training (None: `x` is an iterable of batches) and for validation."""
    data: Rows | None = None
    validation: Rows | None = None
    if y is not None:
        data, validation = _split(steps.prepare(net, x, y, sample_weight, class_weight), split)
    elif sample_weight is not None or class_weight is not None or split:
        raise ValueError("fit: without y, weights come with the batches, and validation through validation_data")
    elif not isinstance(x, Iterable) or isinstance(x, np.ndarray):
        raise ValueError("fit: y is missing; without it x must be an iterable of (x, y) batches")
    if validation_data is not None:
        if split:
            raise ValueError("fit: give validation_data or validation_split, not both")
        if not isinstance(validation_data, (tuple, list)) or len(validation_data) not in (2, 3):
            raise ValueError("validation_data: expected (x, y) or (x, y, sample_weight)")
        validation = steps.prepare(net, *validation_data)
    return data, validation


def fit(
    net: Sequential,
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
        Rows of a step; the last batch of an epoch may have fewer, and counts accordingly.
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
    objective(net)
    hooks = _checked_callbacks(callbacks)
    show = _shows(verbose)
    with steps.unbuilt_if_refused(net):
        data, validation = _data(net, x, y, split, validation_data, sample_weight, class_weight)
    history = History()
    hooks.append(history)
    watching = [hook for hook in hooks if wants_batches(hook)]
    one = Stream(net, x, limit) if data is None else Epoch(net, data, batch_size, limit, shuffle)

    def on_batch(number: int, logs: Mapping[str, float]) -> None:
        for hook in watching:
            hook.on_batch_end(net, number, logs)

    net.stop_training = False
    for hook in hooks:
        hook.on_train_begin(net)
    for epoch in range(initial_epoch, epochs):
        begun = time.perf_counter()
        for hook in hooks:
            hook.on_epoch_begin(net, epoch)
        with net._usage.changing("fit"):
            totals = one.run(on_batch if watching else None)
            net._epochs += 1
        logs = totals.logs()
        seconds = time.perf_counter() - begun
        if validation is not None:
            logs |= run_evaluation(net, validation, max(batch_size, 256)).logs("val_")
        if show:
            print(_line(epoch, epochs, logs, totals.rows / seconds), flush=True)
        for hook in hooks:
            hook.on_epoch_end(net, epoch, logs)
        if net.stop_training:
            break
    for hook in hooks:
        hook.on_train_end(net)
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
