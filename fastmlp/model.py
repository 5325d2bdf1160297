"""``Sequential``: a network of layers, one after the other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import evaluation, losses, metrics, optimizers, steps
from .building import BuiltLayer, check_layers, flatten
from .callbacks import Callback, History
from .checks import check_dtype, check_integer, check_seed
from .data import as_rows
from .doors import predict_quickly, train_quickly
from .errors import NotBuiltError
from .layers import Activation, BatchNorm, Dense, Dropout, Layer
from .lowering import Lowering
from .objective import metric_name
from .registry import layers as layer_registry
from .state import Arenas, Counter, Views
from .usage import Usage
from .workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .inspection import Listing, Profile

__all__ = ["Sequential"]


class Sequential:
    """A network: `layers`, one after the other.

    Parameters
    ----------
    layers : sequence of Layer (or names, or configurations)
    input_dim : int, optional
        Number of features; it may also come with the first data, or with `build`.
    dtype : {"float32", "float64"}
        Of parameters and computation.
    seed : int, optional
        Decides initial weights, shuffling and dropout; None draws one. The same seed gives the same bits at any
        number of threads.
    """

    def __init__(
        self,
        layers: Iterable[Any] = (),
        *,
        input_dim: int | None = None,
        dtype: Any = "float32",
        seed: int | None = None,
    ) -> None:
        if isinstance(layers, (str, Mapping, Layer)) or not isinstance(layers, Iterable):
            raise TypeError(f"layers: expected a list of layers, got {layers!r}")
        self._dtype = check_dtype(dtype)
        self.seed = check_seed(seed)
        self.layers: tuple[Layer, ...] = tuple(layer_registry.get(layer) for layer in layers)
        check_layers("layers", self.layers)
        for layer in self.layers:
            layer.owned = True
        self.stop_training = False
        self._optimizer: optimizers.Optimizer | None = None
        self._loss: losses.Loss | None = None
        self._metrics: tuple[metrics.Metric, ...] = ()
        self._built: list[BuiltLayer] = []
        self._arenas: Arenas | None = None
        self._usage = Usage()
        self._reset_plans()
        if input_dim is not None:
            self.build(input_dim)

    def _reset_plans(self) -> None:
        self._training: Workspace | None = None
        self._evaluating: Workspace | None = None
        self._applying: Workspace | None = None
        self._predicting: list[Workspace] = []

    # Counters: steps key dropout, iterations are the optimizer's, epochs key shuffling.
    _steps = Counter(0)
    _iterations = Counter(1)
    _epochs = Counter(2)

    # -- building ------------------------------------------------------------------------------------------------

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self._dtype

    @property
    def built(self) -> bool:
        """Whether the network has parameters."""
        return self._arenas is not None

    @property
    def input_dim(self) -> int | None:
        """Number of features, once it is known."""
        return self._built[0].inputs if self._built else None

    def build(self, input_dim: int) -> None:
        """Lay out and initialize the parameters for `input_dim` features."""
        inputs = check_integer("input_dim", input_dim, 1)
        if not self.layers:
            raise ValueError("a network needs at least one layer")
        if self.built:
            if inputs != self.input_dim:
                raise ValueError(f"already built for {self.input_dim} features, got {inputs}")
            return
        with self._usage.changing("build"):
            built = flatten(list(self.layers), inputs)
            arenas = Arenas(built, self._dtype)
            arenas.initialize(built, self.seed)
            self._built, self._arenas = built, arenas
            self._reset_plans()
            if self.optimizer is not None:
                self._reset_optimizer(self.optimizer)

    def _unbuild(self) -> None:
        """Back to before `build`, for a first call that was refused."""
        self._built, self._arenas = [], None
        self._reset_plans()

    def _memory(self) -> Arenas:
        if self._arenas is None:
            raise NotBuiltError(
                "the network has no parameters yet: give input_dim, call build(n), or pass data to it first"
            )
        return self._arenas

    def compile(self, optimizer: Any = "sgd", loss: Any = None, metrics: Iterable[Any] = ()) -> None:
        """Choose how to train; the optimizer's state starts anew.

        Parameters
        ----------
        optimizer : name, Optimizer or configuration
        loss : name, Loss or configuration
            May be None for a network that is trained by `apply_gradients`, or not at all.
        metrics : iterable of names, Metrics or configurations
        """
        from .registry import metrics as metric_registry

        chosen = optimizers.get(optimizer)
        chosen_loss = None if loss is None else losses.get(loss)
        if isinstance(metrics, (str, Mapping)) or not isinstance(metrics, Iterable):
            raise TypeError(f"metrics: expected a list of names or metrics, got {metrics!r}")
        chosen_metrics = tuple(metric_registry.get(metric) for metric in metrics)
        if len(set(map(metric_name, chosen_metrics))) < len(chosen_metrics):
            raise ValueError(f"metrics: two of one name, of which the logs could keep one: {list(chosen_metrics)}")
        if chosen_loss is not None:
            self._check_output(chosen_loss)
            for metric in chosen_metrics:
                if chosen_loss.labels and not metric.labels:
                    raise ValueError(
                        f"metric {metric_registry.identify(metric)!r} compares outputs with rows of targets, but the "
                        f"targets of {type(chosen_loss).__name__} are labels"
                    )
        with self._usage.changing("compile"):
            if self.built:
                self._reset_optimizer(chosen)
            self._optimizer, self._loss, self._metrics = chosen, chosen_loss, chosen_metrics
            self._reset_plans()

    @property
    def optimizer(self) -> optimizers.Optimizer | None:
        """What `compile` chose; its settings may be changed between steps."""
        return self._optimizer

    @property
    def loss(self) -> losses.Loss | None:
        """What `compile` chose."""
        return self._loss

    @property
    def metrics(self) -> tuple[metrics.Metric, ...]:
        """What `compile` chose."""
        return self._metrics

    def _reset_optimizer(self, optimizer: optimizers.Optimizer) -> None:
        self._memory().reset_state(optimizer, optimizers.execution_of(optimizer).mode != "python")
        self._iterations = 0

    def _check_output(self, loss: losses.Loss) -> None:
        """A loss of probabilities needs a last activation that gives some."""
        last: Any = self.layers[-1] if self.layers else None
        if isinstance(last, (Activation, Dense)):
            last = last.activation
        elif not isinstance(last, (BatchNorm, Dropout)):
            return  # a layer of somebody's own may well give probabilities
        if loss.probabilities and getattr(last, "output", None) != "probabilities":
            remedy = "sigmoid" if loss.accuracy == "binary" else "softmax"
            raise ValueError(
                f"{type(loss).__name__} expects probabilities, but the network ends in {last!r}: use "
                f"activation={remedy!r} in the last layer, or {type(loss).__name__}(from_logits=True)"
            )

    # -- what it holds -------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> Views:
        """Learned arrays, ``"0.kernel"`` and so on: writable views; ``parameters[key] = values`` copies in."""
        return Views(self._memory().parameters)

    @property
    def buffers(self) -> Views:
        """Arrays that are kept but not learned, ``"1.running_mean"`` and so on."""
        return Views(self._memory().buffers)

    @property
    def optimizer_state(self) -> dict[str, Views]:
        """``optimizer_state["0.kernel"]["m"]`` and so on."""
        return {key: Views(state) for key, state in self._memory().state.items()}

    def count_params(self) -> int:
        """Number of learned numbers: (d + 1) m_1 + (m_1 + 1) m_2 + ... for dense layers (row 3)."""
        return sum(view.size for view in self._memory().parameters.values())

    def summary(self) -> str:
        """Print and return a table of the layers: outputs, parameters, and what runs in Python."""
        text = repr(self)
        print(text)
        return text

    def __repr__(self) -> str:
        from .summary import describe

        return describe(self)

    def plan(self, batch: int = 32, *, training: bool | None = None) -> Listing:
        """The operations that a training step or a prediction of `batch` rows runs; see `fastmlp.inspection.plan`."""
        from .inspection import plan

        return plan(self, batch, training=training)

    def profile(self, x: Any, y: Any = None, *, repeats: int = 9) -> Profile:
        """What each operation of `plan` takes over some data; see `fastmlp.inspection.profile`."""
        from .inspection import profile

        return profile(self, x, y, repeats=repeats)

    # -- prediction ----------------------------------------------------------------------------------------------

    def predict(self, x: Any, *, batch_size: int | None = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Outputs ``(n, units)`` of the rows of `x` ``(n, features)``; running statistics, no dropout.

        Row i has the bits of ``predict(x[i:i+1])``. Several Python threads may predict at once.

        Parameters
        ----------
        x : array_like
        batch_size : int, optional
            Rows worked on at a time; bounds the memory, changes no bit.
        out : ndarray, optional
            Where to write: C-contiguous, of the network's dtype, ``(n, units)``.
        """
        outputs: NDArray[Any] | None = predict_quickly(self._predicting, x, batch_size, out)
        return evaluation.predict(self, x, batch_size, out) if outputs is None else outputs

    def __call__(self, x: Any) -> NDArray[Any]:
        """`predict`."""
        return self.predict(x)

    def _lowering(self, capacity: int, *, training: bool) -> Lowering:
        return Lowering(self._built, self._memory(), capacity, training=training)

    def _as_rows(self, x: Any, *, empty: bool = False) -> NDArray[Any]:
        rows = as_rows(x, self.input_dim, empty=empty)
        if not self.built:
            self.build(rows.shape[1])
        return rows

    # -- training ------------------------------------------------------------------------------------------------

    def train_on_batch(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """One step on one batch; returns the loss and the metrics, of before the update."""
        logs: dict[str, float] | None = None if sample_weight is not None else train_quickly(self._training, x, y)
        return steps.train_on_batch(self, x, y, sample_weight) if logs is None else logs

    def loss_and_gradients(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[float, dict[str, NDArray[Any]]]:
        """The loss that `fit` minimises and its gradients, keyed as `parameters`.

        In training mode, with the masks of the coming step; nothing of the network changes.
        """
        return steps.loss_and_gradients(self, x, y, sample_weight)

    def apply_gradients(self, gradients: Mapping[str, Any]) -> None:
        """One step of the optimizer, with gradients keyed as `parameters`."""
        steps.apply_gradients(self, gradients)

    def vjp(self, x: Any, *, training: bool = False) -> tuple[NDArray[Any], steps.Pullback]:
        """Outputs, and a function from their gradient to those of parameters and inputs; see `fastmlp.steps.vjp`."""
        return steps.vjp(self, x, training=training)

    def fit(
        self,
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
        """Train for `epochs` passes over the data; see `fastmlp.training.fit`."""
        from .training import fit

        return fit(
            self,
            x,
            y,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            validation_split=validation_split,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=class_weight,
            callbacks=callbacks,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            verbose=verbose,
        )

    def evaluate(self, x: Any, y: Any, *, batch_size: int = 32, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics over the data; running statistics, no dropout."""
        return evaluation.evaluate(self, x, y, batch_size=batch_size, sample_weight=sample_weight)

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to exactly `path`, atomically; see `fastmlp.serialization`."""
        from .serialization import save

        save(self, path)

    def __reduce__(self) -> tuple[Any, ...]:
        from .serialization import from_bytes, to_bytes

        return from_bytes, (to_bytes(self),)
