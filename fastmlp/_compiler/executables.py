"""``Executables``: what a network runs, made as it is needed, and kept as long as it is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .._kernels import concurrency
from . import fastpath
from .executable import KEPT_BYTES, Executable
from .lower import Lowering
from .settings import Current, TrainingSettings, forward_settings, training_settings, with_update

if TYPE_CHECKING:
    from ..optimizers import Optimizer
    from .compiled import Compiled
    from .plan import Plan, Tensor

__all__ = ["Executables"]

IDLE_BYTES = 256 << 20  # of idle executables for predictions, and for each kind of `vjp`: several threads need them


class Executables:
    """What runs for one network: training, evaluation, prediction, the optimizer alone, vector-Jacobian products.

    An executable is replaced where what it was lowered from is no longer what is set, where a batch is larger than it
    has memory for, or where recent batches are far smaller. A network that becomes another one gets new `Executables`.

    Parameters
    ----------
    owner : Compiled
    """

    def __init__(self, owner: Compiled) -> None:
        self._owner = owner
        self._forward_settings = Current(lambda: forward_settings(owner))
        self._training_settings = Current(
            lambda: training_settings(owner, self._forward_settings.get()), lambda found: with_update(owner, found)
        )
        self._lowered_from: object = None
        self.for_training: Executable | None = None  # the last one, which fast paths try first
        self._evaluating: Executable | None = None
        self._applying: dict[bool, Executable] = {}  # of the optimizer alone, and with statistics of a batch
        self.for_predictions: list[Executable] = []  # idle ones: several threads may predict at once
        self._pulling_back: dict[bool, list[Executable]] = {False: [], True: []}  # idle ones of `vjp`, by training
        self._differentiating: list[Executable] = []  # idle ones of `jacobian`

    def settings(self) -> TrainingSettings:
        """Return what plans of training and evaluation depend on, as it is set now."""
        return self._training_settings.get()

    def lowering(self, capacity: int, *, training: bool) -> Lowering:
        """Return what makes one plan for batches of up to `capacity` rows."""
        owner, forward = self._owner, self._forward_settings.get()
        if forward is not self._lowered_from:  # activations run as they did for earlier plans only if they are the same
            owner.memory.executions.clear()
            self._lowered_from = forward
        return Lowering(owner.network, owner.memory, capacity, training=training, transforms=owner.gradient_transforms)

    def _bound(self, plan: Plan, settings: object, optimizer: Optimizer | None = None) -> Executable:
        return Executable(plan, self._owner.memory, self._owner.seed, settings, optimizer)

    def training(self, rows: int) -> Executable:
        """Return the executable of a training step for batches of up to `rows`.

        Where a metric is computed in NumPy, it can keep the outputs of its steps (`Executable.bind_kept`).
        """
        settings = self.settings()
        if _is_unfit(self.for_training, rows, settings):
            owner = self._owner
            owner.network.check_ready()
            loss, optimizer = owner.objective()
            lowering, kept = self.lowering(rows, training=True), owner.has_metrics_in_numpy()
            plan = lowering.train(loss, owner.accuracy_kind(), optimizer, keep_outputs=kept)
            self.for_training = self._bound(plan, settings, optimizer)
            if self.for_training.bytes <= KEPT_BYTES:  # else each batch comes here, and may find it far too large
                fastpath.add_to_training(owner, self.for_training)
        assert self.for_training is not None
        return self.for_training

    def evaluating(self, rows: int) -> Executable:
        """Return the executable of an evaluation for batches of up to `rows`; as `training`, it can keep outputs."""
        settings = self.settings()
        if _is_unfit(self._evaluating, rows, settings):
            owner = self._owner
            owner.network.check_ready()
            loss, _ = owner.objective()
            lowering, kept = self.lowering(rows, training=False), owner.has_metrics_in_numpy()
            plan = lowering.evaluate(loss, owner.accuracy_kind(), keep_outputs=kept)
            self._evaluating = self._bound(plan, settings)
        assert self._evaluating is not None
        return self._evaluating

    def applying(self, *, statistics: bool) -> Executable:
        """Return the executable of the optimizer, and of what moves running statistics; it runs on no rows."""
        optimizer = self._owner.optimizer
        assert optimizer is not None
        settings = self.settings()
        found = self._applying.get(statistics)
        if found is None or not found.serves(0, settings):
            plan = self.lowering(0, training=True).step(optimizer, statistics=statistics)
            found = self._bound(plan, settings, optimizer)
            found.bind(np.empty((0, 1), self._owner.dtype))
            self._applying[statistics] = found  # now, since Ctrl-C may come between two lines
        return found

    def take_predicting(self, rows: int) -> Executable:
        """Return an idle executable of predictions for batches of up to `rows`; `give_predicting` takes it back."""
        settings = self._forward_settings.get()
        executable = _taken(self.for_predictions, rows, settings)
        if executable is None:
            self._owner.network.check_ready()
            executable = self._bound(self.lowering(rows, training=False).predict(), settings)
            fastpath.add_to_predicting(self._owner, executable)
        return executable

    def predicts_by(self, executable: Executable) -> bool:
        """Return whether an executable of predictions is right for what is set now."""
        return executable.serves(0, self._forward_settings.get())

    def give_predicting(self, executable: Executable) -> None:
        """Take back an executable of predictions."""
        concurrency.give_back(self.for_predictions, executable, IDLE_BYTES)

    def lend_pulling_back(self, rows: int, *, training: bool) -> tuple[Executable, concurrency.Loan]:
        """Return an executable of a vector-Jacobian product that nobody uses, and what gives it back.

        It has gradients of its own, so several may be in use at a time.
        """
        settings, idle = self._forward_settings.get(), self._pulling_back[training]
        executable = _taken(idle, rows, settings)
        if executable is None:
            self._owner.network.check_ready()
            owner, plan = self._owner, self.lowering(rows, training=training).vjp()
            executable = Executable(plan, owner.memory, owner.seed, settings, own_gradients=True)
        return executable, concurrency.Loan(idle, executable, IDLE_BYTES)

    def lend_differentiating(self, rows: int) -> tuple[Executable, concurrency.Loan]:
        """Return an executable of a vector-Jacobian product by the inputs alone, and what gives it back."""
        settings, idle = self._forward_settings.get(), self._differentiating
        executable = _taken(idle, rows, settings)
        if executable is None:
            self._owner.network.check_ready()
            owner, plan = self._owner, self.lowering(rows, training=False).vjp(learning=False)
            executable = Executable(plan, owner.memory, owner.seed, settings, own_gradients=True)
        return executable, concurrency.Loan(idle, executable, IDLE_BYTES)

    def seeing_layers(self, rows: int) -> tuple[Executable, dict[str, Tensor | None]]:
        """Return an executable of predictions that leaves the outputs of all layers, and where; it is not kept."""
        self._owner.network.check_ready()
        plan, places = self.lowering(rows, training=False).layer_outputs()
        return self._bound(plan, self._forward_settings.get()), places

    def kept_bytes(self) -> int:
        """Return the bytes of all workspaces that are kept for later calls."""
        idle = (*self.for_predictions, *self._pulling_back[False], *self._pulling_back[True], *self._differentiating)
        others = (self.for_training, self._evaluating, *self._applying.values())
        return sum(each.bytes for each in (*others, *idle) if each is not None)


def _is_unfit(executable: Executable | None, rows: int, settings: object) -> bool:
    """Return whether another executable is needed for batches of so many rows."""
    return executable is None or not executable.serves(rows, settings) or executable.outgrows(rows)


def _taken(idle: list[Executable], rows: int, settings: object) -> Executable | None:
    """Take an idle executable that fits so many rows; those that no longer do are forgotten."""
    while True:
        try:
            executable = idle.pop()  # one call, so that two threads never get the same
        except IndexError:
            return None
        if not _is_unfit(executable, rows, settings):
            return executable
