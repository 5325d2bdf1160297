"""``Compiled``: a network below its façade. It owns all that lives as long as the network, and all that it runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import losses, metrics, optimizers
from .._kernels import concurrency
from ..checks import check_integer
from ..errors import NotBuiltError, UnknownNameError
from ..layers import Layer
from ..registry import metrics as metric_registry
from . import fastpath
from .executable import Executable
from .lower import Lowering
from .memory import Arenas, ArrayMap, State
from .network import Network, build_network
from .settings import Current, TrainingSettings, forward_settings, is_compiled, training_settings, with_update

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Compiled", "metric_name"]

FirstState = tuple[State, "NDArray[Any]"]

NOT_BUILT = "the network has no parameters yet: give input_dim, call build(n), or pass data to it first"


class Compiled:
    """A network ready to run.

    It owns the layers, their memory, the guard against use while the network changes, the counters, the optimizer, the
    loss, the metrics, and every executable: for training, evaluation, prediction, the optimizer alone, and
    vector-Jacobian products. One rule says when an executable is stale: when what it was lowered from is no longer what
    is set (`TrainingSettings`), or when a batch is larger than it has memory for.

    Parameters
    ----------
    layers : sequence of Layer
    dtype : numpy.dtype
        float32 or float64.
    seed : int
    """

    def __init__(self, layers: Sequence[Layer], dtype: np.dtype[Any], seed: int) -> None:
        self.layers: tuple[Layer, ...] = tuple(layers)
        self.dtype = dtype
        self.seed = seed
        self.guard = concurrency.AccessGuard()
        self._network: Network | None = None
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: losses.Loss | None = None
        self.metrics: tuple[metrics.Metric, ...] = ()
        self.gradient_transforms: tuple[Callable[[Lowering], None], ...] = ()
        self.stop_training = False  # asked of `fit`
        self._arenas: Arenas | None = None
        self._forward_settings: Current[tuple[Any, ...]]
        self._training_settings: Current[TrainingSettings]
        self._lowered_from: object
        self.for_training: Executable | None  # the last one, which fast paths try first
        self._evaluating: Executable | None
        self._applying: Executable | None
        self.for_predictions: list[Executable]  # idle ones: several threads may predict at once
        self._pulling_back: dict[bool, list[Executable]]  # idle ones of `vjp`, by training
        self._become()

    def _become(self, arenas: Arenas | None = None, state: FirstState | None = None, **attributes: Any) -> None:
        """Change attributes, and forget all executables; with `state`, the optimizer begins anew.

        All of it at once: wherever Ctrl-C comes, it finds everything as before or everything as after.
        """
        attributes |= {
            "_forward_settings": Current(lambda: forward_settings(self)),
            "_training_settings": Current(lambda: training_settings(self), lambda found: with_update(self, found)),
            **dict.fromkeys(("_lowered_from", "for_training", "_evaluating", "_applying")),
            **{"for_predictions": [], "_pulling_back": {False: [], True: []}},
        }
        change = vars(self).update
        if arenas is not None and state is not None:
            (arenas.state, arenas.flat_state), arenas.counters[1] = state, 0
        change(attributes)  # nothing was called since the line above, so that Python has looked for no signal

    # -- building ------------------------------------------------------------------------------------------------

    @property
    def built(self) -> bool:
        """Whether the network has parameters."""
        return self._arenas is not None

    @property
    def memory(self) -> Arenas:
        """The memory of a network that is built."""
        if self._arenas is None:
            raise NotBuiltError(NOT_BUILT)
        return self._arenas

    @property
    def network(self) -> Network:
        """The layers of a network that is built."""
        if self._network is None:
            raise NotBuiltError(NOT_BUILT)
        return self._network

    @property
    def input_dim(self) -> int | None:
        """Number of features, once it is known."""
        return None if self._network is None else self._network.inputs

    @property
    def units(self) -> int:
        """Number of outputs of a network that is built."""
        return self.network.units

    def build(self, input_dim: int) -> None:
        """Lay out and initialize the parameters for `input_dim` features."""
        inputs = check_integer("input_dim", input_dim, 1)
        self.build_for(inputs, lambda network: None)
        if inputs != self.input_dim:
            raise ValueError(f"already built for {self.input_dim} features, got {inputs}")

    def build_for(self, inputs: int, check: Callable[[Network], Any]) -> None:
        """Build for the data of a first call, unless another thread has: one of them builds, and the others wait.

        `check` may refuse the data, by an exception: then the network stays unbuilt, since its number of features may
        be the mistake.
        """
        if not self.layers:
            raise ValueError("a network needs at least one layer")
        with self.guard.building(lambda: self.built) as must_build:
            if must_build:
                network = build_network(self.layers, inputs)
                check(network)
                arenas = Arenas(network, self.dtype)
                arenas.initialize(network, self.seed)
                state = None if self.optimizer is None else _first_state(arenas, self.optimizer)
                self._become(arenas, state, _network=network, _arenas=arenas)

    # -- what to train for ---------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: optimizers.Optimizer,
        loss: losses.Loss | None,
        metrics: tuple[metrics.Metric, ...],
    ) -> None:
        """Choose optimizer, loss and metrics; the optimizer's state starts anew."""
        with self.guard.stepping("compile"):
            state = None if self._arenas is None else _first_state(self._arenas, optimizer)
            self._become(self._arenas, state, optimizer=optimizer, loss=loss, metrics=metrics)

    def transform_gradients(self, *transforms: Callable[[Lowering], None]) -> None:
        """Choose what adds operations between the way back and the update, in this order; see `Lowering`."""
        with self.guard.changing("transform_gradients"):
            self._become(gradient_transforms=transforms)

    def objective(self) -> tuple[losses.Loss, optimizers.Optimizer]:
        """Return loss and optimizer of a network that is compiled for training."""
        if self.loss is None or self.optimizer is None:
            raise RuntimeError("the network is not compiled: call compile(optimizer=..., loss=...) first")
        return self.loss, self.optimizer

    def accuracy_kind(self) -> str | None:
        """Return what ``"accuracy"`` means here, if it is asked for."""
        loss, _ = self.objective()
        if not any(map(is_compiled, self.metrics)):
            return None
        if loss.accuracy != "shape":
            return loss.accuracy
        return "categorical" if self.units > 1 else "binary"

    def named_metrics(self) -> list[tuple[str, metrics.Metric | None]]:
        """Return the metrics by their names in logs; None stands for the accuracy that the loss's kernel counts.

        Beside a loss that runs in Python, accuracy is computed in NumPy too.
        """
        named: list[tuple[str, metrics.Metric | None]] = []
        for metric in self.metrics:
            counted: metrics.Metric | None = metric
            if is_compiled(metric):
                counted = metrics.Accuracy(self.accuracy_kind()) if self.settings().loss_runs_in_python else None
            named.append((metric_name(metric), counted))
        return named

    def has_metrics_in_numpy(self) -> bool:
        """Return whether a metric must see targets and outputs."""
        return any(metric is not None for _, metric in self.named_metrics())

    # -- counters ------------------------------------------------------------------------------------------------
    # The kernels count too, so they live in memory: steps key dropout, iterations are the optimizer's, epochs key
    # shuffling.

    def _count(self, number: int) -> int:
        return 0 if self._arenas is None else int(self._arenas.counters[number])

    @property
    def steps(self) -> int:
        """Steps done."""
        return self._count(0)

    @property
    def iterations(self) -> int:
        """Steps of this optimizer."""
        return self._count(1)

    @iterations.setter
    def iterations(self, value: int) -> None:
        self.memory.counters[1] = value

    @property
    def epochs(self) -> int:
        """Epochs begun by `fit`, which never counts from 0 again."""
        return self._count(2)

    @epochs.setter
    def epochs(self, value: int) -> None:
        self.memory.counters[2] = value

    def counters(self) -> dict[str, int]:
        """Return all counters by name."""
        return {"steps": self.steps, "iterations": self.iterations, "epochs": self.epochs}

    def restore_counters(self, counters: dict[str, int]) -> None:
        """Put the counters back to what `counters` returned."""
        if self._arenas is not None:
            self._arenas.counters[:] = [counters[name] for name in ("steps", "iterations", "epochs")]

    def hyperparameters(self, n: int) -> NDArray[np.float64]:
        """Return the hyper-parameters of the optimizer at the next `n` steps, a row for each.

        A row has them all for each multiplier of the learning rate, which comes first.
        """
        optimizer, update = self.optimizer, self.settings().update
        assert optimizer is not None
        names = optimizer.hyperparameters[:1] if update.kernel is None else update.kernel.hyperparameters
        if not self.follows_schedule():
            row = self._for_multipliers(np.array([_values_of(optimizer, names)], np.float64))
            return row if n == 1 else np.repeat(row, n, axis=0)
        first = self.iterations + 1
        rows = [optimizer.hyperparameters_at(step, names) for step in range(first, first + n)]
        return self._for_multipliers(np.array(rows, np.float64))

    def _for_multipliers(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        multipliers = self.memory.multipliers
        if multipliers == (1.0,):
            return rows
        repeated = np.tile(rows, len(multipliers))
        repeated[:, :: rows.shape[1]] *= multipliers
        return repeated

    def follows_schedule(self) -> bool:
        """Return whether a hyper-parameter is a function of the step, or `learning_rate_at` the user's own."""
        optimizer = self.optimizer
        assert optimizer is not None
        if getattr(optimizer.learning_rate_at, "__func__", None) is not optimizers.Optimizer.learning_rate_at:
            return True
        return any(map(callable, _values_of(optimizer, optimizer.hyperparameters)))

    # -- executables ---------------------------------------------------------------------------------------------

    def settings(self) -> TrainingSettings:
        """Return what plans of training and evaluation depend on, as it is set now."""
        return self._training_settings.get()

    def lowering(self, capacity: int, *, training: bool) -> Lowering:
        """Return what makes one plan for batches of up to `capacity` rows."""
        forward = self._forward_settings.get()
        if forward is not self._lowered_from:  # activations run as they did for earlier plans only if they are the same
            self.memory.executions.clear()
            self._lowered_from = forward
        return Lowering(self.network, self.memory, capacity, training=training, transforms=self.gradient_transforms)

    def training(self, rows: int) -> Executable:
        """Return the executable of a training step for batches of up to `rows`.

        Where a metric is computed in NumPy, it can keep the outputs of its steps (`Executable.bind_kept`).
        """
        loss, optimizer = self.objective()
        settings = self.settings()
        if self.for_training is None or not self.for_training.serves(rows, settings):
            lowering, kept = self.lowering(rows, training=True), self.has_metrics_in_numpy()
            plan = lowering.train(loss, self.accuracy_kind(), optimizer, keep_outputs=kept)
            self.for_training = Executable(plan, self.memory, self.seed, settings, optimizer)
            fastpath.add_to_training(self, self.for_training)
        return self.for_training

    def evaluating(self, rows: int) -> Executable:
        """Return the executable of an evaluation for batches of up to `rows`; as `training`, it can keep outputs."""
        loss, _ = self.objective()
        settings = self.settings()
        if self._evaluating is None or not self._evaluating.serves(rows, settings):
            lowering, kept = self.lowering(rows, training=False), self.has_metrics_in_numpy()
            plan = lowering.evaluate(loss, self.accuracy_kind(), keep_outputs=kept)
            self._evaluating = Executable(plan, self.memory, self.seed, settings)
        return self._evaluating

    def applying(self) -> Executable:
        """Return the executable of the optimizer alone, which runs on no rows."""
        assert self.optimizer is not None
        settings = self.settings()
        if self._applying is None or not self._applying.serves(0, settings):
            plan = self.lowering(0, training=True).step(self.optimizer)
            executable = Executable(plan, self.memory, self.seed, settings, self.optimizer)
            executable.bind(np.empty((0, 1), self.dtype))
            self._applying = executable  # now, since Ctrl-C may come between two lines
        return self._applying

    def take_predicting(self, rows: int) -> Executable:
        """Return an idle executable of predictions for batches of up to `rows`; `give_predicting` takes it back."""
        settings = self._forward_settings.get()
        executable = _taken(self.for_predictions, rows, settings)
        if executable is None:
            plan = self.lowering(rows, training=False).predict()
            executable = Executable(plan, self.memory, self.seed, settings)
            fastpath.add_to_predicting(self, executable)
        return executable

    def predicts_by(self, executable: Executable) -> bool:
        """Return whether an executable of predictions is right for what is set now."""
        return executable.serves(0, self._forward_settings.get())

    def give_predicting(self, executable: Executable) -> None:
        """Take back an executable of predictions."""
        self.for_predictions.append(executable)

    def lend_pulling_back(self, rows: int, *, training: bool) -> tuple[Executable, concurrency.Loan]:
        """Return an executable of a vector-Jacobian product that nobody uses, and what gives it back.

        It has gradients of its own, so several may be in use at a time.
        """
        settings, idle = self._forward_settings.get(), self._pulling_back[training]
        executable = _taken(idle, rows, settings)
        if executable is None:
            plan = self.lowering(rows, training=training).vjp()
            executable = Executable(plan, self.memory, self.seed, settings, own_gradients=True)
        return executable, concurrency.Loan(idle, executable)

    # -- what it holds -------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> ArrayMap:
        """Learned arrays by key, writable views."""
        return ArrayMap(self.memory.parameters)

    @property
    def buffers(self) -> ArrayMap:
        """Arrays that are kept but not learned, by key."""
        return ArrayMap(self.memory.buffers)

    @property
    def optimizer_state(self) -> dict[str, ArrayMap]:
        """What the optimizer keeps, by key of the parameter, then by name."""
        return {key: ArrayMap(state) for key, state in self.memory.state.items()}


def _first_state(arenas: Arenas, optimizer: optimizers.Optimizer) -> FirstState:
    return arenas.first_state(optimizer, optimizers.execution_of(optimizer).mode != "python")


def metric_name(metric: metrics.Metric) -> str:
    """Return a metric's name in logs; an object of the user's own class needs no registered one."""
    try:
        return metric_registry.identify(metric)
    except UnknownNameError:
        return type(metric).__name__


def _values_of(optimizer: optimizers.Optimizer, names: tuple[str, ...]) -> list[Any]:
    attributes = vars(optimizer)  # past the descriptors, which are Python: some microseconds in each call of `fit`
    return [attributes[name] if name in attributes else getattr(optimizer, name) for name in names]


def _taken(idle: list[Executable], rows: int, settings: object) -> Executable | None:
    """Take an idle executable that serves so many rows; those that no longer do are forgotten."""
    while True:
        try:
            executable = idle.pop()  # one call, so that two threads never get the same
        except IndexError:
            return None
        if executable.serves(rows, settings):
            return executable
