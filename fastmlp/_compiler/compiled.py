"""``Compiled``: a network below its façade. It owns all that lives as long as the network, and all that it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import losses, metrics, optimizers
from .._kernels import concurrency
from ..checks import check_integer
from ..errors import NotBuiltError
from ..frames import Names, check_names
from ..layers import Layer
from ..metrics import metric_name
from .contents import restore, snapshot
from .executables import Executables
from .lower import Lowering
from .memory import Arenas, ArrayMap, FirstState
from .network import Network, build_network
from .outputs import check_objective
from .settings import is_compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Compiled"]

NOT_BUILT = "the network has no parameters yet: give input_dim, call build(n), or pass data to it first"


class Compiled:
    """A network ready to run.

    It owns the layers, their memory, the guard against use while the network changes, the counters, the optimizer, the
    loss, the metrics, and the executables.

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
        self.seed_is_drawn = False  # nobody has given one
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
        self.executables: Executables
        self._become()

    def _become(self, arenas: Arenas | None = None, state: FirstState | None = None, **attributes: Any) -> None:
        """Change attributes, and forget all executables; with `state`, the optimizer begins anew.

        All of it at once: wherever Ctrl-C comes, it finds everything as before or everything as after.
        """
        attributes["executables"] = Executables(self)
        change = vars(self).update
        if arenas is not None and state is not None:
            (arenas.state, arenas.flat_state), arenas.counters[1], arenas.counters[3] = state, 0, 1
        change(attributes)  # nothing was called since the line above, so that Python has looked for no signal

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
                network = self._network_for(inputs)
                check(network)
                arenas = Arenas(network, self.dtype)
                arenas.initialize(network, self.seed)
                state = None if self.optimizer is None else _first_state(arenas, self.optimizer)
                self._become_built(network, arenas, state)

    def _become_built(self, network: Network, arenas: Arenas, state: FirstState | None = None) -> None:
        """Have parameters from now on, and tell the layers."""
        try:
            network.mark_built(True)
            self._become(arenas, state, _network=network, _arenas=arenas)
        except BaseException:
            network.mark_built(self._network is network)
            raise

    def _network_for(self, inputs: int) -> Network:
        """Build the layers for so many features, unless their names or the loss do not fit."""
        if self.feature_names is not None and inputs != len(self.feature_names):
            raise ValueError(f"feature_names: there are {len(self.feature_names)}, but {inputs} features")
        network = build_network(self.layers, inputs)
        self._check_objective(network, self.loss, self.metrics)
        return network

    def build_unfilled(self, input_dim: int, check: Callable[[Network], None] | None = None) -> None:
        """Lay out the parameters for values that are stored, and that the caller puts there: none are drawn.

        `check` sees the network before there is memory for it.
        """
        with self.guard.changing("build"):
            network = build_network(self.layers, input_dim)
            if check is not None:
                check(network)
            self._become_built(network, Arenas(network, self.dtype))

    def set_names(self, *, feature_names: Iterable[str | int] | None, target_names: Iterable[str | int] | None) -> None:
        """Set the names of columns, checked: as many as there are features and targets, where these are known."""
        units = self.units if self.built else None
        if units is not None and self.loss is not None:
            with suppress(ValueError):  # a loss that has become one for other outputs, which the next step refuses
                units = self.loss.target_units(units)
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
        with self.guard.stepping("compile"):
            self._check_objective(self._network, loss, metrics)
            state = None if self._arenas is None else _first_state(self._arenas, optimizer)
            optimizer.in_use = True
            self._become(self._arenas, state, optimizer=optimizer, loss=loss, metrics=metrics)

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
            self._become(gradient_transforms=transforms)

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
        loss = self.loss
        assert loss is not None
        for metric in self.metrics:
            by_kernel = is_compiled(metric) and not self.executables.settings().loss_runs_in_python
            named.append((metric_name(metric), None if by_kernel else metric.for_loss(loss, self.units)))
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
        """Put the counters back to what `counters` returned, at the end of filling a network that was saved."""
        if self._arenas is not None:
            self._arenas.state_written(again=False)
            self._arenas.counters[:3] = [counters[name] for name in ("steps", "iterations", "epochs")]

    def hyperparameters(self, n: int) -> NDArray[np.float64]:
        """Return the hyper-parameters of the optimizer at the next `n` steps, a row for each.

        A row has them all for each group of parameters, the learning rate first, and behind them, if there is a weight
        decay, what parameters are multiplied by.
        """
        optimizer, update = self.optimizer, self.executables.settings().update
        assert optimizer is not None
        names = optimizer.hyperparameters[:1] if update.kernel is None else update.kernel.hyperparameters
        decays = update.kernel is not None and update.kernel.decays
        names = (*names, "weight_decay") if decays else names
        if not self.follows_schedule():
            row = self._for_groups(np.array([_values_of(optimizer, names)], np.float64), decays)
            return row if n == 1 else np.repeat(row, n, axis=0)
        first = self.iterations + 1
        rows = [optimizer.hyperparameters_at(step, names) for step in range(first, first + n)]
        return self._for_groups(np.array(rows, np.float64), decays)

    def _for_groups(self, rows: NDArray[np.float64], decays: bool) -> NDArray[np.float64]:
        groups = self.memory.groups(decays=decays)
        if groups == ((1.0, False),) and not decays:
            return rows
        width = rows.shape[1]
        repeated = np.tile(rows, len(groups))
        rates, last = repeated[:, ::width], repeated[:, width - 1 :: width]  # views
        rates *= [group.multiplier for group in groups]
        if decays:
            last[...] = 1 - rates * last * [group.decays for group in groups]
        return repeated

    def follows_schedule(self) -> bool:
        """Return whether a hyper-parameter is a function of the step, or `learning_rate_at` the user's own."""
        optimizer = self.optimizer
        assert optimizer is not None
        if getattr(optimizer.learning_rate_at, "__func__", None) is not optimizers.Optimizer.learning_rate_at:
            return True
        return any(map(callable, _values_of(optimizer, (*optimizer.hyperparameters, "weight_decay"))))

    def take_seed(self, seed: int) -> None:
        """Take the seed of a training that goes on, in place of one that was drawn."""
        with self.guard.changing("fit"):
            self._become(seed=seed)

    # -- memory --------------------------------------------------------------------------------------------------

    def release(self) -> None:
        """Give back all memory but that of parameters, gradients, state and buffers."""
        with self.guard.changing("release"):
            self._become()

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


def _values_of(optimizer: optimizers.Optimizer, names: tuple[str, ...]) -> list[Any]:
    attributes = vars(optimizer)  # past the descriptors, which are Python: some microseconds in each call of `fit`
    return [attributes[name] if name in attributes else getattr(optimizer, name) for name in names]
