"""``Compiled``: a network below its façade. It owns all that lives as long as the network, and all that it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import losses, metrics, optimizers
from .._kernels import concurrency
from ..checks import check_integer
from ..errors import NotBuiltError
from ..frames import Names, check_names
from ..layers import Layer
from ..metrics import metric_name
from . import fastpath
from .contents import restore, snapshot
from .executable import KEPT_BYTES, Executable
from .lower import Lowering
from .memory import Arenas, ArrayMap
from .network import Network, build_network
from .outputs import check_objective
from .settings import Current, TrainingSettings, forward_settings, is_compiled, training_settings, with_update

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Compiled"]

IDLE_BYTES = 256 << 20  # of idle executables for predictions, one for each thread, and as many for `vjp`
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
        self.feature_names: Names | None = None  # of the columns of the frames that it was trained with
        self.target_names: Names | None = None
        self.metadata: dict[str, Any] = {}  # what the user wants to be kept with it
        self.stop_training = False  # asked of `fit`
        self._checks = True
        self.told_of_statistics = False  # that a plain mapping of gradients leaves the running ones as they are
        self._arenas: Arenas | None = None
        self._drop_executables()

    def _drop_executables(self) -> None:
        self._forward_settings = Current(lambda: forward_settings(self))
        self._training_settings = Current(lambda: training_settings(self), lambda found: with_update(self, found))
        self._lowered_from: object = None
        self.for_training: Executable | None = None  # the last one, which fast paths try first
        self._evaluating: Executable | None = None
        self._applying: dict[bool, Executable] = {}  # of the optimizer alone, and with statistics of a batch
        self.for_predictions: list[Executable] = []  # idle ones: several threads may predict at once
        self._pulling_back: dict[bool, list[Executable]] = {False: [], True: []}  # idle ones of `vjp`, by training

    # -- copies --------------------------------------------------------------------------------------------------
    # Objects are copied by Python's own protocols; arrays as they are at one moment, into memory of the copy's own.

    def __getstate__(self) -> dict[str, Any]:
        return snapshot(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        Compiled.__init__(self, state["layers"], state["dtype"], state["seed"])
        restore(self, state)

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
        if not self.layers:
            raise ValueError("a network needs at least one layer")
        if self.built:
            if inputs != self.input_dim:
                raise ValueError(f"already built for {self.input_dim} features, got {inputs}")
            return
        if self.feature_names is not None and inputs != len(self.feature_names):
            raise ValueError(f"feature_names: there are {len(self.feature_names)}, but {inputs} features")
        with self.guard.changing("build"):
            network = build_network(self.layers, inputs)
            self._check_objective(network, self.loss, self.metrics)
            arenas = Arenas(network, self.dtype)
            arenas.initialize(network, self.seed)
            self._network, self._arenas = network, arenas
            self._drop_executables()
            network.mark_built(True)
            if self.optimizer is not None:
                self._reset_optimizer(self.optimizer)

    def build_unfilled(self, input_dim: int, check: Callable[[Network], None] | None = None) -> None:
        """Lay out the parameters for values that are stored, and that the caller puts there: none are drawn.

        `check` sees the network before there is memory for it.
        """
        with self.guard.changing("build"):
            network = build_network(self.layers, input_dim)
            if check is not None:
                check(network)
            self._network, self._arenas = network, Arenas(network, self.dtype)
            self._drop_executables()
            network.mark_built(True)

    def unbuild(self) -> None:
        """Go back to before `build`, for a first call that was refused."""
        if self._network is not None:
            self._network.mark_built(False)
        self._network = self._arenas = None
        self._drop_executables()

    def set_names(self, *, feature_names: Iterable[str | int] | None, target_names: Iterable[str | int] | None) -> None:
        """Set the names of columns, checked: as many as there are features and outputs, where these are known."""
        units = self.units if self.built else None
        features = check_names("feature_names", feature_names, self.input_dim)
        targets = check_names("target_names", target_names, units)
        self.feature_names, self.target_names = features, targets

    # -- what to train for ---------------------------------------------------------------------------------------

    def compile(
        self,
        optimizer: optimizers.Optimizer,
        loss: losses.Loss | None,
        metrics: tuple[metrics.Metric, ...],
    ) -> None:
        """Choose optimizer, loss and metrics; the optimizer's state starts anew."""
        self._check_objective(self._network, loss, metrics)
        with self.guard.changing("compile"):
            if self.built:
                self._reset_optimizer(optimizer)
            self.optimizer, self.loss, self.metrics = optimizer, loss, metrics
            optimizer.in_use = True
            self._drop_executables()

    @contextmanager
    def checks_later(self) -> Iterator[None]:
        """Let `compile` take what does not go together, which the next step refuses: files and copies are as they were.

        What a network was compiled for may have been changed since, and it predicts all the same.
        """
        self._checks = False
        try:
            yield
        finally:
            self._checks = True

    def check_objective(self) -> None:
        """Refuse a loss and metrics that don't go together with the outputs, as all of them are set now; ValueError."""
        self._check_objective(self._network, self.loss, self.metrics)

    def _check_objective(
        self, network: Network | None, loss: losses.Loss | None, metrics: tuple[metrics.Metric, ...]
    ) -> None:
        if self._checks:
            layers = self.layers if network is None else [place.layer for place in network.chain]
            check_objective(layers, None if network is None else network.units, loss, metrics)

    def transform_gradients(self, *transforms: Callable[[Lowering], None]) -> None:
        """Choose what adds operations between the way back and the update, in this order; see `Lowering`."""
        with self.guard.changing("transform_gradients"):
            self.gradient_transforms = transforms
            self._drop_executables()

    def _reset_optimizer(self, optimizer: optimizers.Optimizer) -> None:
        self.memory.reset_state(optimizer, optimizers.execution_of(optimizer).mode != "python")
        self.iterations = 0

    def objective(self) -> tuple[losses.Loss, optimizers.Optimizer]:
        """Return loss and optimizer of a network that is compiled for training."""
        if self.loss is None or self.optimizer is None:
            raise RuntimeError("the network is not compiled: call compile(optimizer=..., loss=...) first")
        return self.loss, self.optimizer

    def accuracy_kind(self) -> str | None:
        """Return what ``"accuracy"`` means here, if it is asked for."""
        loss, _ = self.objective()
        return loss.accuracy_of(self.units) if any(map(is_compiled, self.metrics)) else None

    def named_metrics(self) -> list[tuple[str, metrics.Metric | None]]:
        """Return the metrics by their names in logs; None stands for the accuracy that the loss's kernel counts.

        Beside a loss that runs in Python, accuracy is computed in NumPy too.
        """
        named: list[tuple[str, metrics.Metric | None]] = []
        loss, _ = self.objective()
        for metric in self.metrics:
            by_kernel = is_compiled(metric) and not self.settings().loss_runs_in_python
            named.append((metric_name(metric), None if by_kernel else metric.for_loss(loss, self.units)))
        return named

    def takes_batch_statistics(self) -> bool:
        """Return whether training normalizes by statistics of the batch, as layers are set now."""
        return any(place.trainable and place.layer.batch_statistics for place in self.network.layers)

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
        """Put the counters back to what `counters` returned, at the end of filling a network that was saved."""
        if self._arenas is not None:
            self._arenas.state_written(again=False)
            self._arenas.counters[:3] = [counters[name] for name in ("steps", "iterations", "epochs")]

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
        if _is_unfit(self.for_training, rows, settings):
            lowering, kept = self.lowering(rows, training=True), self.has_metrics_in_numpy()
            plan = lowering.train(loss, self.accuracy_kind(), optimizer, keep_outputs=kept)
            self.for_training = Executable(plan, self.memory, self.seed, settings, optimizer)
            if self.for_training.bytes <= KEPT_BYTES:  # else each batch comes here, and may find it far too large
                fastpath.add_to_training(self, self.for_training)
        assert self.for_training is not None
        return self.for_training

    def evaluating(self, rows: int) -> Executable:
        """Return the executable of an evaluation for batches of up to `rows`; as `training`, it can keep outputs."""
        (loss, _), settings = self.objective(), self.settings()
        if _is_unfit(self._evaluating, rows, settings):
            lowering, kept = self.lowering(rows, training=False), self.has_metrics_in_numpy()
            plan = lowering.evaluate(loss, self.accuracy_kind(), keep_outputs=kept)
            self._evaluating = Executable(plan, self.memory, self.seed, settings)
        assert self._evaluating is not None
        return self._evaluating

    def applying(self, *, statistics: bool) -> Executable:
        """Return the executable of the optimizer, and of what moves running statistics; it runs on no rows."""
        assert self.optimizer is not None
        settings = self.settings()
        found = self._applying.get(statistics)
        if found is None or not found.serves(0, settings):
            plan = self.lowering(0, training=True).step(self.optimizer, statistics=statistics)
            found = Executable(plan, self.memory, self.seed, settings, self.optimizer)
            found.bind(np.empty((0, 1), self.dtype))
            self._applying[statistics] = found  # now, since Ctrl-C may come between two lines
        return found

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
        self._give(self.for_predictions, executable)

    def take_pulling_back(self, rows: int, *, training: bool) -> Executable:
        """Return an executable of a vector-Jacobian product that nobody uses; `give_pulling_back` it back.

        It has gradients of its own, so several may be in use at a time.
        """
        settings = self._forward_settings.get()
        executable = _taken(self._pulling_back[training], rows, settings)
        if executable is None:
            plan = self.lowering(rows, training=training).vjp()
            executable = Executable(plan, self.memory, self.seed, settings, own_gradients=True)
        return executable

    def give_pulling_back(self, executable: Executable, *, training: bool) -> None:
        """Take back an executable of a vector-Jacobian product."""
        self._give(self._pulling_back[training], executable)

    def _give(self, idle: list[Executable], executable: Executable) -> None:
        """Keep an idle executable if its plan is right; of all that are idle the latest ones, up to IDLE_BYTES."""
        if self.built and self.predicts_by(executable):
            idle.append(executable)
        while len(idle) > 1 and sum(each.bytes for each in idle) > IDLE_BYTES:
            del idle[:1]  # nothing, if another thread was faster

    def kept_bytes(self) -> int:
        """Return the bytes of all workspaces that are kept for later calls."""
        idle = (*self.for_predictions, *self._pulling_back[False], *self._pulling_back[True])
        others = (self.for_training, self._evaluating, *self._applying.values())
        return sum(each.bytes for each in (*others, *idle) if each is not None)

    def release(self) -> None:
        """Give back all memory but that of parameters, gradients, state and buffers."""
        with self.guard.changing("release"):
            self._drop_executables()

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


def _values_of(optimizer: optimizers.Optimizer, names: tuple[str, ...]) -> list[Any]:
    attributes = vars(optimizer)  # past the descriptors, which are Python: some microseconds in each call of `fit`
    return [attributes[name] if name in attributes else getattr(optimizer, name) for name in names]


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
