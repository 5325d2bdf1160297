"""``Sequential``: a network of layers, one after the other: the face of what `_compiler.compiled.Compiled` holds."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from . import _training, losses, metrics, optimizers
from ._compiler.compiled import Compiled, metric_name
from ._compiler.memory import ArrayMap
from ._compiler.network import check_layers
from .callbacks import Callback, CallbackList, History
from .checks import check_dtype, check_seed
from .layers import Layer
from .registry import layers as layer_registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ._training.step import Pullback
    from .inspection import Listing, Profile

__all__ = ["Sequential", "load"]


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
        checked = check_dtype(dtype), check_seed(seed)
        made: tuple[Layer, ...] = tuple(layer_registry.get(layer) for layer in layers)
        check_layers("layers", made)
        for layer in made:
            layer.owned = True
        self.engine = Compiled(made, *checked)
        self.history: History | None = None
        if input_dim is not None:
            self.build(input_dim)

    # -- building ------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in their order."""
        return self.engine.layers

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64."""
        return self.engine.dtype

    @property
    def seed(self) -> int:
        """What decides initial weights, shuffling and dropout."""
        return self.engine.seed

    @property
    def built(self) -> bool:
        """Whether the network has parameters."""
        return self.engine.built

    @property
    def input_dim(self) -> int | None:
        """Number of features, once it is known."""
        return self.engine.input_dim

    @property
    def stop_training(self) -> bool:
        """Whether `fit` is asked to end; a callback sets it."""
        return self.engine.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self.engine.stop_training = bool(value)

    def build(self, input_dim: int) -> None:
        """Lay out and initialize the parameters for `input_dim` features."""
        self.engine.build(input_dim)

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
        self.engine.compile(chosen, chosen_loss, chosen_metrics)

    @property
    def optimizer(self) -> optimizers.Optimizer | None:
        """What `compile` chose; its settings may be changed between steps."""
        return self.engine.optimizer

    @property
    def loss(self) -> losses.Loss | None:
        """What `compile` chose."""
        return self.engine.loss

    @property
    def metrics(self) -> tuple[metrics.Metric, ...]:
        """What `compile` chose."""
        return self.engine.metrics

    def _check_output(self, loss: losses.Loss) -> None:
        """A loss of probabilities needs a last activation that gives some."""
        if not self.layers or not self.layers[-1].tells_output:
            return  # a layer of somebody's own may well give probabilities
        last = self.layers[-1].output_activation
        if loss.probabilities and getattr(last, "output", None) != "probabilities":
            remedy = "sigmoid" if loss.accuracy == "binary" else "softmax"
            raise ValueError(
                f"{type(loss).__name__} expects probabilities, but the network ends in {last or self.layers[-1]!r}: "
                f"use activation={remedy!r} in the last layer, or {type(loss).__name__}(from_logits=True)"
            )

    # -- what it holds -------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> ArrayMap:
        """Learned arrays, ``"0.kernel"`` and so on: writable views; ``parameters[key] = values`` copies in."""
        return self.engine.parameters

    @property
    def buffers(self) -> ArrayMap:
        """Arrays that are kept but not learned, ``"1.running_mean"`` and so on."""
        return self.engine.buffers

    @property
    def optimizer_state(self) -> dict[str, ArrayMap]:
        """``optimizer_state["0.kernel"]["m"]`` and so on."""
        return self.engine.optimizer_state

    def count_params(self) -> int:
        """Return the number of learned numbers: (d + 1) m_1 + (m_1 + 1) m_2 + ... for dense layers (row 3)."""
        return sum(view.size for view in self.engine.parameters.values())

    def summary(self) -> str:
        """Print and return a table of the layers: outputs, parameters, and what runs in Python."""
        text = repr(self)
        print(text)
        return text

    def __repr__(self) -> str:
        from .inspection import describe

        return describe(self.engine)

    def plan(self, batch: int = 32, *, training: bool | None = None) -> Listing:
        """The operations that a training step or a prediction of `batch` rows runs; see `fastmlp.inspection.plan`."""
        from .inspection import plan

        return plan(self.engine, batch, training=training)

    def profile(self, x: Any, y: Any = None, *, repeats: int = 9) -> Profile:
        """What each operation of `plan` takes over some data; see `fastmlp.inspection.profile`."""
        from .inspection import profile

        return profile(self.engine, x, y, repeats=repeats)

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
        outputs = self.engine.predict_fast(x, batch_size, out)
        return _training.predict(self.engine, x, batch_size, out) if outputs is None else outputs

    def __call__(self, x: Any) -> NDArray[Any]:
        """`predict`."""
        return self.predict(x)

    # -- training ------------------------------------------------------------------------------------------------

    def train_on_batch(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """One step on one batch; returns the loss and the metrics, of before the update."""
        logs = self.engine.train_fast(x, y) if sample_weight is None else None
        return _training.train_on_batch(self.engine, x, y, sample_weight) if logs is None else logs

    def loss_and_gradients(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[float, dict[str, NDArray[Any]]]:
        """The loss that `fit` minimises and its gradients, keyed as `parameters`.

        In training mode, with the masks of the coming step; nothing of the network changes.
        """
        return _training.loss_and_gradients(self.engine, x, y, sample_weight)

    def apply_gradients(self, gradients: Mapping[str, Any]) -> None:
        """One step of the optimizer, with gradients keyed as `parameters`."""
        _training.apply_gradients(self.engine, gradients)

    def vjp(self, x: Any, *, training: bool = False) -> tuple[NDArray[Any], Pullback]:
        """Outputs, and a function from their gradient to those of parameters and inputs; see `_training.step.vjp`."""
        return _training.vjp(self.engine, x, training=training)

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
        """Train."""
        hooks = CallbackList(callbacks, self)
        _training.fit(
            self.engine,
            hooks,
            x,
            y,
            epochs=epochs,
            batch_size=batch_size,
            validation_data=validation_data,
            validation_split=validation_split,
            shuffle=shuffle,
            sample_weight=sample_weight,
            class_weight=class_weight,
            initial_epoch=initial_epoch,
            steps_per_epoch=steps_per_epoch,
            verbose=verbose,
        )
        return hooks.history

    def evaluate(self, x: Any, y: Any, *, batch_size: int = 32, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics over the data; running statistics, no dropout."""
        return _training.evaluate(self.engine, x, y, batch_size=batch_size, sample_weight=sample_weight)

    # -- files ---------------------------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the network to exactly `path`: the old file stays whole until the new one is; `fastmlp.load` reads it.

        Layers, parameters, buffers, optimizer and its state, loss, metrics, seed and counters are kept, so that
        training goes on to the bits that it would have reached. A network need be neither built nor compiled.

        Parameters
        ----------
        path : str or path-like
            A link is followed. A file that is replaced keeps its permissions.

        Raises
        ------
        UnknownNameError
            If a class of the network is in no registry; the message says how to register it.
        TypeError
            If a configuration holds what JSON can't.
        ValueError
            If it is of absurd size: a list of more than 100,000 entries, say.
        OSError
            If the file can't be written, or is no regular file.
        """
        from .serialization import save

        save(self.engine, path)

    def __reduce__(self) -> tuple[Any, ...]:
        from .serialization import from_bytes, to_bytes

        return from_bytes, (to_bytes(self.engine), Sequential)


def load(path: str | os.PathLike[str], *, verify: bool = True) -> Sequential:
    """Read a network that `Sequential.save` wrote: compiled if it was, ready to go on.

    Parameters
    ----------
    path : str or path-like
    verify : bool
        Whether an activation that is no built-in must give what it gave when the network was saved: values and
        derivatives at 16 points, to 1e-6 of each (1e-7 where it is small). Another version of its package that does so
        is taken without a word.

    Returns
    -------
    Sequential

    Raises
    ------
    OSError
        If the file isn't there or can't be opened.
    ValueError
        If the file is no fastmlp network, is damaged, or is of another format; the message names the path. If an
        activation is not what it was; the message says where, and which package to install.
    UnknownNameError
        If it names a class that neither this program nor an installed package registers; the message names the package
        to install. Nothing is imported but the plugin of that name.
    PluginError
        If that plugin fails to load.
    """
    from .serialization import load

    return load(path, Sequential, verify=verify)
