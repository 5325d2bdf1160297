"""``Sequential``: a network of layers, one after the other, as users see it; what it does lies in `engine`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np

from . import losses, metrics, optimizers
from .checks import check_dtype, check_integer, check_seed
from .configurable import unknown_attribute
from .copies import reduced
from .layers import Layer, check_layers
from .registry import layers as layer_registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from . import _training
    from ._compiler import fastpath
    from ._compiler.compiled import Compiled
    from ._compiler.memory import ArrayMap
    from ._training.gradients import Gradients
    from ._training.vjp import Pullback
    from .callbacks import Callback, CallbackList, History
    from .inspection import Listing, Profile

__all__ = ["Sequential", "load"]

_OWN = ("engine", "history")
_SETTABLE = ("history", "stop_training", "trainable")
_INSTEAD = {
    **dict.fromkeys(("loss", "metrics", "optimizer"), "call compile()"),
    **dict.fromkeys(("parameters", "buffers"), "copy values in, net.parameters[key] = values"),
    **dict.fromkeys(("dtype", "layers", "seed"), "make a new network"),
    **dict.fromkeys(("built", "input_dim"), "call build(input_dim), once"),
}


class Sequential:
    """A network: layers, one after the other.

    Parameters
    ----------
    layers : iterable of Layer, name or configuration
        In the order in which data goes through them.
    input_dim : int, optional
        Number of features. It may also come with the first data, or with `build`.
    dtype : {"float32", "float64"}
        Of parameters and computation.
    seed : int, optional
        Decides initial weights, shuffling and dropout; None draws one, which `seed` tells. The same seed gives the same
        bits at any number of threads.

    Attributes
    ----------
    engine : Compiled
        The network below this face: its layers, memory, counters and compiled executables. For tools that look inside;
        it is no part of the public interface.
    history : History or None
        What the last `fit` has kept, also where it ended by an exception.

    Raises
    ------
    TypeError
        If `layers` is no list of layers.
    ValueError
        For another dtype, a seed beyond 64 bits, a layer object or a name that stands twice, or a layer of another
        network.
    UnknownNameError
        If a name is in no registry.

    Examples
    --------
    >>> net = fm.Sequential([fm.layers.Dense(64, "relu"), fm.layers.Dense(10, "softmax")], seed=0)
    >>> net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    >>> history = net.fit(x, y, epochs=10, batch_size=128, validation_split=0.1)
    >>> net.predict(x[:5]).shape
    (5, 10)
    """

    history: History | None = None

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
        self.engine: Compiled = _compiled(made, *checked)
        self.engine.seed_is_drawn = seed is None
        if input_dim is not None:
            self.build(input_dim)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _OWN:
            of_class = getattr(type(self), name, None)
            if name in _INSTEAD and isinstance(of_class, property):
                raise AttributeError(f"{name} can't be set: {_INSTEAD[name]}")
            if of_class is None and type(self) is Sequential:
                raise unknown_attribute("a Sequential", name, _SETTABLE)
        object.__setattr__(self, name, value)

    # -- building ------------------------------------------------------------------------------------------------

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, in their order."""
        return self.engine.layers

    @property
    def dtype(self) -> np.dtype[Any]:
        """float32 or float64: the type of parameters and computation."""
        return self.engine.dtype

    @property
    def seed(self) -> int:
        """The number that decides initial weights, shuffling and dropout."""
        return self.engine.seed

    @property
    def built(self) -> bool:
        """True once the network has parameters."""
        return self.engine.built

    @property
    def input_dim(self) -> int | None:
        """Number of features; None until it is known."""
        return self.engine.input_dim

    @property
    def trainable(self) -> bool:
        """Whether all layers are; setting it sets it on each of them."""
        return all(layer.trainable for layer in self.layers)

    @trainable.setter
    def trainable(self, value: bool) -> None:
        for layer in self.layers:
            layer.trainable = bool(value)

    @property
    def feature_names(self) -> tuple[str | int, ...] | None:
        """Names of the features, or None.

        They are those of the first frame (pandas, polars) that the network was trained with, or what is set here. A
        frame with other columns, or the same in another order, is then refused in every call; arrays have no names, and
        are taken. Set None to pass over names, and to take those of the next training.
        """
        return self.engine.feature_names

    @feature_names.setter
    def feature_names(self, names: Iterable[str | int] | None) -> None:
        self.engine.set_names(feature_names=names, target_names=self.target_names)

    @property
    def target_names(self) -> tuple[str | int, ...] | None:
        """Names of the targets, or None: of the first frame of several columns that came as `y`; as `feature_names`."""
        return self.engine.target_names

    @target_names.setter
    def target_names(self, names: Iterable[str | int] | None) -> None:
        self.engine.set_names(feature_names=self.feature_names, target_names=names)

    @property
    def stop_training(self) -> bool:
        """Set to True, by a callback or from another thread, to end `fit` after the batch or epoch at hand."""
        return self.engine.stop_training

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self.engine.stop_training = bool(value)

    def build(self, input_dim: int) -> None:
        """Lay out and initialize the parameters.

        Needed only where the parameters are wanted before the first data; calling it once more with the same number
        does nothing.

        Parameters
        ----------
        input_dim : int
            Number of features.

        Raises
        ------
        TypeError
            If `input_dim` is no integer.
        ValueError
            If it is below 1 or not the number that the network was built for, if there are no layers, if an
            initializer gives values of another shape, NaN or infinity, if the outputs are a softmax of one unit,
            or none that the loss takes.

        Examples
        --------
        >>> net = fm.Sequential([fm.layers.Dense(3)])
        >>> net.build(2)
        >>> net.parameters["0.kernel"].shape
        (2, 3)
        """
        self.engine.build(input_dim)

    def compile(self, optimizer: Any = "sgd", loss: Any = None, metrics: Iterable[Any] = ()) -> None:
        """Choose how to train; the optimizer's state starts anew.

        Parameters
        ----------
        optimizer : name, Optimizer or configuration
            ``"sgd"``, ``fm.optimizers.Adam(1e-3)``, ``{"name": "sgd", "momentum": 0.9}``. Its settings may be changed
            between steps: ``net.optimizer.learning_rate = 1e-4``.
        loss : name, Loss or configuration, optional
            None is for a network that is trained by `apply_gradients`, or not at all.
        metrics : iterable of names, Metrics, functions or configurations
            Shown beside the loss by `fit`, `evaluate` and `train_on_batch`. ``"accuracy"`` takes the meaning that goes
            with the loss.

        Raises
        ------
        UnknownNameError
            If a name is in no registry; the message lists those that are.
        TypeError
            If `metrics` is no list.
        ValueError
            If the loss and the last activation don't go together: probabilities are expected and none given, or given
            and not expected (``from_logits=True`` behind a sigmoid), those of classes (softmax) where answers by
            themselves are (sigmoid), or the other way round; the message names the remedies. If a network of one
            output chooses among classes; if two metrics have one name; if a metric compares rows and the loss takes
            labels.
        RuntimeError
            If another thread is using the network.

        Examples
        --------
        >>> net.compile(fm.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
        """
        from .metrics import get as get_metric
        from .metrics import metric_name

        chosen = optimizers.get(optimizer)
        chosen_loss = None if loss is None else losses.get(loss)
        if isinstance(metrics, (str, Mapping)) or not isinstance(metrics, Iterable):
            raise TypeError(f"metrics: expected a list of names or metrics, got {metrics!r}")
        chosen_metrics = tuple(get_metric(metric) for metric in metrics)
        if len(set(map(metric_name, chosen_metrics))) < len(chosen_metrics):
            raise ValueError(f"metrics: two of one name, of which the logs could keep one: {list(chosen_metrics)}")
        self.engine.compile(chosen, chosen_loss, chosen_metrics)

    @property
    def optimizer(self) -> Any:  # so that ``net.optimizer.momentum = 0.8`` passes type checkers, whatever the class
        """The `Optimizer` that `compile` chose, or None; its settings may be changed between steps."""
        return self.engine.optimizer

    @property
    def loss(self) -> losses.Loss | None:
        """The loss that `compile` chose."""
        return self.engine.loss

    @property
    def metrics(self) -> tuple[metrics.Metric, ...]:
        """The metrics that `compile` chose."""
        return self.engine.metrics

    # -- what it holds -------------------------------------------------------------------------------------------

    @property
    def parameters(self) -> ArrayMap:
        """The learned arrays, by name of the layer (default: its index) and of the array: ``"0.kernel"``.

        A mapping with fixed keys to writable views. ``parameters[key] = values`` copies values in, their shape checked;
        a write through a view, also one that is held from before, is seen by the next call.
        ``parameters.update(other, share=0.005)`` moves all of them towards those of another network.

        Raises
        ------
        NotBuiltError
            If the network has no parameters yet.

        Examples
        --------
        >>> net.parameters["0.kernel"] *= 0.5
        >>> net.parameters["0.bias"] = np.zeros(64)
        """
        return self.engine.parameters

    @property
    def buffers(self) -> ArrayMap:
        """The arrays that are kept and saved but not learned, ``"1.running_mean"`` and so on; views as `parameters`."""
        return self.engine.buffers

    @property
    def optimizer_state(self) -> dict[str, ArrayMap]:
        """What the optimizer remembers of each parameter, as views: ``optimizer_state["0.kernel"]["m"]``."""
        self.engine.memory.state_written(again=True)  # who has views can write at any time
        return self.engine.optimizer_state

    def release(self) -> None:
        """Give back the memory of plans and their workspaces; the next call makes what it needs anew.

        What is kept for later calls is: one workspace for training and one for evaluation, for the largest of recent
        batches (one of more than 64 MB is given up once 17 batches in a row need a quarter of it at most); and, since
        several threads may run them at once, up to 256 MB each for `predict`, for ``vjp(training=False)`` and for
        ``vjp(training=True)``, but always the latest one. Results don't change. Backward functions of `vjp` that are in
        use keep theirs.

        Raises
        ------
        RuntimeError
            If another thread uses the network.

        Examples
        --------
        >>> net.release()
        """
        self.engine.release()

    def count_params(self) -> int:
        """Return the number of learned numbers: ``(d + 1) m_1 + (m_1 + 1) m_2 + ...`` for dense layers (row 3).

        Raises
        ------
        NotBuiltError
            If the network has no parameters yet.
        """
        return sum(view.size for view in self.engine.parameters.values())

    def summary(self) -> None:
        """Print a table of the layers: their outputs, their parameters, and what runs in Python, with the reason.

        The same text is ``repr(net)``.

        Examples
        --------
        >>> net.summary()
        """
        print(self)

    def __repr__(self) -> str:
        from .inspection import describe

        return describe(self.engine)

    def plan(self, batch: int = 32, *, training: bool | None = None) -> Listing:
        """List the operations that a training step or a prediction runs; nothing is run.

        Parameters
        ----------
        batch : int
            Rows of a step, at least 1.
        training : bool, optional
            A training step (the network must be compiled with a loss), or a prediction. None takes the step if it can.

        Returns
        -------
        Listing
            A list of `inspection.Operation`; ``print`` shows a table, ``to_dict()`` is for JSON. Metrics in NumPy are
            no part of it.

        Raises
        ------
        NotBuiltError
            If the network has no parameters yet.
        RuntimeError
            If a training step is asked for, and the network is not compiled with a loss.
        TypeError, ValueError
            If an argument is of another type, or `batch` beyond its range.

        Examples
        --------
        >>> print(net.plan(128))
        """
        from .inspection import plan

        return plan(self.engine, batch, training=training)

    def profile(self, x: Any, y: Any = None, *, repeats: int = 9) -> Profile:
        """Run the operations of `plan` one by one over some data, and tell what each of them takes.

        Nothing of the network changes: the update, too, is done on copies.

        Parameters
        ----------
        x : array_like ``(n, features)``
            All rows are one batch: give as many as a batch has.
        y : array_like, optional
            Targets: a training step is profiled. Without, a prediction.
        repeats : int
            Runs of which the medians are taken, after one that isn't timed.

        Returns
        -------
        Profile
            A list of `inspection.Timing`, one for each operation; ``print`` shows a table, ``to_dict()`` is for JSON.

        Raises
        ------
        NotBuiltError
            If the network has no parameters yet.
        RuntimeError
            If `y` is given, and the network is not compiled with a loss.
        TypeError, ValueError
            For data that `train_on_batch` or `predict` would refuse; NonFiniteError as there.

        Notes
        -----
        Otherwise several operations go over some rows together while these are in cache, and a team of threads is
        started once; here each goes over all rows by itself. The sum of their times is therefore another number than
        the time of a step. Memory is taken for a batch of all rows and for a copy of parameters and optimizer state.

        Examples
        --------
        >>> print(net.profile(x[:128], y[:128]))
        """
        from .inspection import profile

        return profile(self.engine, x, y, repeats=repeats)

    # -- prediction ----------------------------------------------------------------------------------------------

    def predict(self, x: Any, *, batch_size: int | None = None, out: NDArray[Any] | None = None) -> NDArray[Any]:
        """Return the outputs of the rows of `x`; running statistics, no dropout.

        Row i has the bits of ``predict(x[i:i+1])``. NaN is let through. Several Python threads may predict at once.

        Parameters
        ----------
        x : array_like ``(n, features)``
            Real, integer or bool numbers of any dtype and layout; cast into the network's dtype piece by piece. A frame
            has the columns of `feature_names`, in their order.
        batch_size : int, optional
            Rows worked on at a time, 1024 by default; never more where all operations are compiled. Changes no bit.
        out : ndarray ``(n, units)``, optional
            Where to write: C-contiguous, of the network's dtype.

        Returns
        -------
        ndarray ``(n, units)``
            `out`, or a new array that belongs to the caller.

        Raises
        ------
        TypeError
            For data that are no numbers.
        ValueError
            For another shape, another number of features, or numbers beyond the range of the network's dtype.
        RuntimeError
            If another thread is changing the network.

        Examples
        --------
        >>> net.predict(x[:1])
        """
        outputs = fastpath.predict(self.engine.executables.for_predictions, x, batch_size, out)
        return _training.predict(self.engine, x, batch_size, out) if outputs is None else outputs

    def layer_outputs(self, x: Any) -> dict[str, NDArray[Any]]:
        """Return what each layer gives for the rows of `x`, of one pass; running statistics, no dropout.

        Parameters
        ----------
        x : array_like ``(n, features)``
            As `predict` takes it.

        Returns
        -------
        dict of str to ndarray
            By the layer's name (default: its index), in the order in which layers run: new arrays ``(n, units)``.
            Layers that others consist of have keys like ``"1.0"``, as their parameters have.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `predict`.

        Notes
        -----
        `predict` folds batch norm into the product before it, and may differ from the last of them in the last digits.
        `truncate` gives a network for one of them.

        Examples
        --------
        >>> hidden = net.layer_outputs(x)["0"]
        """
        return _training.layer_outputs(self.engine, x)

    def jacobian(self, x: Any) -> NDArray[Any]:
        """Return the derivatives of the outputs by the inputs, ``J[i, u, f] = dy_iu / dx_if``, for each row of `x`.

        Running statistics, no dropout; compiled: one way forward, and a way back to the inputs for each output. The
        same bits at any number of threads.

        Parameters
        ----------
        x : array_like ``(n, features)``
            As `predict` takes it.

        Returns
        -------
        ndarray ``(n, units, features)``
            A new array. Of columns of ids (`layers.Embedding`) it is 0.

        Raises
        ------
        TypeError, ValueError, RuntimeError
            As `predict`.

        Examples
        --------
        >>> net.jacobian(x).shape
        """
        return _training.jacobian(self.engine, x)

    def truncate(self, k: int | str) -> Sequential:
        """Return a network of the first layers, which shares nothing with this one: for outputs of hidden layers.

        Parameters
        ----------
        k : int or str
            How many layers; a negative number leaves out so many at the end. Or the name of the last one to keep.

        Returns
        -------
        Sequential
            Of copies (`layers.Layer.copy`) with their learned numbers and names; it is not compiled. Built if this one
            is.

        Raises
        ------
        TypeError, ValueError
            If no layer would be left, there are fewer than k, or none has that name.

        Examples
        --------
        >>> hidden = net.truncate(-1).predict(x)
        """
        layers = self.layers
        if isinstance(k, str):
            names = [layer.name for layer in layers]
            if k not in names:
                raise ValueError(f"k: no layer is called {k!r}; names are {[name for name in names if name] or 'none'}")
            count = names.index(k) + 1
        else:
            count = check_integer("k", k, -len(layers))
            count = count + len(layers) if count < 0 else count
            if not 0 < count <= len(layers):
                raise ValueError(f"k: expected at least one and at most {len(layers)} layers, got {k}")
        with self.engine.guard.reading("truncate"):
            copies = [layer.copy() for layer in layers[:count]]
        net = Sequential(copies, input_dim=self.input_dim, dtype=self.dtype, seed=self.seed)
        net.feature_names = self.feature_names
        return net

    def __call__(self, x: Any) -> NDArray[Any]:
        """Return ``predict(x)``."""
        return self.predict(x)

    # -- training ------------------------------------------------------------------------------------------------

    def train_on_batch(self, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Do one step on one batch: what `fit` repeats.

        Parameters
        ----------
        x : array_like ``(batch, features)``
        y : array_like
            Labels ``(batch,)`` or rows ``(batch, units)``, as the loss takes them.
        sample_weight : array_like ``(batch,)``, optional
            At least 0, with a sum above 0: where no row counts there is no step, and no loss to return, but a
            ValueError. (`fit` goes on to the next batch.)

        Returns
        -------
        dict of str to float
            ``loss`` (penalties included) and the metrics, of before the update.

        Raises
        ------
        NonFiniteError
            If NaN or infinity is met in data, outputs, loss, gradients or updated numbers; its `layer` and `step` say
            where. The network stays as it was.
        TypeError, ValueError
            For data that are no numbers, or of another shape; nothing changes.
        RuntimeError
            If the network is not compiled with a loss, or another thread is using it.

        Examples
        --------
        >>> for x, y in batches:
        ...     logs = net.train_on_batch(x, y)
        """
        logs = fastpath.train(self.engine.executables.for_training, x, y) if sample_weight is None else None
        return _training.train_on_batch(self.engine, x, y, sample_weight) if logs is None else logs

    def loss_and_gradients(self, x: Any, y: Any, sample_weight: Any = None) -> tuple[float, Gradients]:
        """Return the loss that `fit` minimises over a batch, and its gradients.

        In training mode: statistics of the batch, and the dropout masks of the coming step. Nothing of the network
        changes; `apply_gradients` then does the rest of the step.

        Parameters
        ----------
        x : array_like ``(batch, features)``
        y : array_like
            Labels ``(batch,)`` or rows ``(batch, units)``, as the loss takes them.
        sample_weight : array_like ``(batch,)``, optional
            As in `train_on_batch`: gradients of no row would be a step all the same, by momentum.

        Returns
        -------
        loss : float
            Penalties included.
        gradients : dict of str to ndarray
            New arrays, keyed as `parameters`. The dict also carries the ``statistics`` of the batch, by the keys of
            `buffers`: change it in place, so that `apply_gradients` gets them too.

        Raises
        ------
        NonFiniteError, TypeError, ValueError, RuntimeError
            As `train_on_batch`.

        Examples
        --------
        >>> loss, gradients = net.loss_and_gradients(x, y)
        >>> for gradient in gradients.values():
        ...     np.clip(gradient, -1, 1, out=gradient)
        >>> net.apply_gradients(gradients)
        """
        return _training.loss_and_gradients(self.engine, x, y, sample_weight)

    def apply_gradients(self, gradients: Mapping[str, Any]) -> None:
        """Do one step of the optimizer with gradients of one's own.

        With those that `loss_and_gradients` or the backward function of `vjp` has returned, running statistics move as
        in `train_on_batch`.

        Parameters
        ----------
        gradients : mapping of str to array_like
            Keyed as `parameters`, all keys, each of its parameter's shape. A plain mapping leaves running statistics as
            they are; a network with BatchNorm warns of it once.

        Raises
        ------
        NonFiniteError
            If one of them, or a number after the update, is NaN or infinite; nothing changes.
        TypeError, ValueError
            If keys are missing or unknown, or a gradient is of another shape; nothing changes.
        NotBuiltError
            If the network has no parameters yet.
        RuntimeError
            If the network is not compiled, or another thread is using it.

        Examples
        --------
        >>> _, backward = net.vjp(x, training=True)
        >>> gradients, d_input = backward(dy)
        >>> net.apply_gradients(gradients)
        """
        _training.apply_gradients(self.engine, gradients)

    def vjp(self, x: Any, *, training: bool = False) -> tuple[NDArray[Any], Pullback]:
        """Return the outputs, and a function from their gradient to those of parameters and inputs.

        The vector-Jacobian product, for losses of one's own. No side effect either way; in training the gradients carry
        the statistics of the batch, as those of `loss_and_gradients`.

        Parameters
        ----------
        x : array_like ``(n, features)``
        training : bool
            Use statistics of the batch and the dropout masks of the coming step, instead of running statistics and no
            dropout.

        Returns
        -------
        y : ndarray ``(n, units)``
        backward : callable
            ``backward(dy) -> (gradients, d_input)`` for `dy` ``(n, units)``: a dict of new arrays keyed as
            `parameters`, and ``(n, features)``. It may be called more than once, also by several threads (one waits for
            the other, 5 seconds at most), until a step changes the parameters: from then on it is a RuntimeError. Don't
            write to parameters between the two: that is not found out.

        Raises
        ------
        TypeError, ValueError
            For data that are no numbers, or of another shape.
        RuntimeError
            If another thread is changing the network.

        Examples
        --------
        >>> y, backward = net.vjp(x)
        >>> gradients, d_input = backward(2 * (y - target) / len(y))
        """
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
        """Train for some passes over the data, called epochs.

        The same as `train_on_batch` over the same rows, to the bit, but steps run in compiled calls of many, which end
        where a callback asked to be called. Ctrl-C is answered within a tenth of a second, or after the step at hand.

        Parameters
        ----------
        x : array_like ``(n, features)``, or iterable of ``(x, y)`` or ``(x, y, sample_weight)``
            An iterable is given without `y`, gives the batches, and is iterated anew each epoch. The names of a frame's
            columns are remembered as `feature_names`. Arrays are of any dtype and layout: those of the network's dtype
            with contiguous rows are read where they are. Others are cast once for the call, so that what is written
            into them meanwhile is not seen; where a copy would take more than a quarter of the available memory, or
            more than 1 GiB, in blocks as they are needed. Labels and weights are those of when the call begins. What is
            read in place is looked at again in each step: NaN is an error also where it was written meanwhile, and so
            is a target that the loss can't take.
        y : array_like
            Labels ``(n,)`` or rows ``(n, units)``, as the loss takes them.
        epochs : int
            The number of the last epoch; training goes from `initial_epoch` to it.
        batch_size : int
            Rows of a step; the last batch of an epoch may have fewer, and counts accordingly. At least 2 with
            BatchNorm, whose running statistics stay as they are where the last batch has one row.
        validation_data : (x, y) or (x, y, sample_weight), optional
            Evaluated after each epoch; its means are in the logs as ``val_loss`` and so on.
        validation_split : float in [0, 1)
            Take the last share of the rows for validation, before any shuffling.
        shuffle : bool
            Take the rows in another order each epoch, keyed by the seed and an epoch counter that is never reset.
        sample_weight : array_like ``(n,)``, optional
            At least 0. A batch whose weights are all 0 is no step, whatever gives the batches; an epoch of such batches
            alone is an error.
        class_weight : mapping of int to float, optional
            Multiplies the weights of the samples of a class; 1 for a class that is not named. Classes are labels, the
            largest of a row of targets, or 0 and 1 for one yes-or-no output; several such outputs have no classes.
        callbacks : iterable of Callback
            Called in their order; see `fastmlp.callbacks.Callback`.
        initial_epoch : int
            Number of the first epoch.
        steps_per_epoch : int, optional
            Steps after which an epoch ends early; a warning tells where the data has fewer.
        verbose : {"auto", 0, 1}
            Print a line after each epoch; "auto" prints to terminals and notebooks alone.

        Returns
        -------
        History
            ``history.history`` maps ``loss``, the metrics, ``val_loss`` and so on to lists, a value an epoch. It is
            `history` too, also after an exception.

        Raises
        ------
        NonFiniteError
            If a step meets NaN or infinity in data, outputs, loss, gradients or updated numbers; its `layer` and `step`
            say where. The network stays as after the last complete step. If there is NaN or infinity in the validation
            data, before the first.
        TypeError
            For data that are no numbers, for what is no callback, and for a callback with a misspelt hook or one of
            other arguments.
        ValueError
            For data of another shape, and for arguments beyond their range. Like a TypeError, it comes before anything
            changes.
        RuntimeError
            If the network is not compiled with a loss, or another thread is using it.

        Notes
        -----
        Whatever ends the training, ``on_train_end`` of the callbacks is called; an exception goes on to the caller
        afterwards. During the call the network belongs to this thread. Another one may read it meanwhile (`predict`,
        `vjp`, `save`, copies): it is let in between two steps, and while callbacks run, and waits for that, 5 seconds
        at most; the training waits until it is done. Whatever else another thread tries (a second `fit`, `evaluate`,
        `compile`) is a RuntimeError there, and never ends this call. Views of `parameters` can be read at any time,
        but show half a step if a step is under way.

        Examples
        --------
        >>> stop = fm.callbacks.EarlyStopping(patience=5)
        >>> history = net.fit(x, y, epochs=100, batch_size=128, validation_split=0.1, callbacks=[stop])
        >>> history.history["val_loss"][-1]
        """
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
        """Return the means of loss and metrics over the data; running statistics, no dropout.

        Parameters
        ----------
        x : array_like ``(n, features)``
            Of any dtype and layout; what can't be read where it is, is cast in blocks.
        y : array_like
            Labels ``(n,)`` or rows ``(n, units)``, as the loss takes them.
        batch_size : int
            Rows worked on at a time.
        sample_weight : array_like ``(n,)``, optional

        Returns
        -------
        dict of str to float
            ``loss`` (penalties included) and the metrics.

        Raises
        ------
        NonFiniteError
            If there is NaN or infinity in the data. A loss that overflows is no error, but infinity or NaN.
        TypeError, ValueError
            For data that are no numbers, or of another shape.
        RuntimeError
            If the network is not compiled with a loss, or another thread is using it.

        Examples
        --------
        >>> net.evaluate(x_test, y_test)["accuracy"]
        """
        return _training.evaluate(self.engine, x, y, batch_size=batch_size, sample_weight=sample_weight)

    # -- files and copies ----------------------------------------------------------------------------------------

    @property
    def metadata(self) -> dict[str, Any]:
        """What you want to be kept with the network: the names of features and classes, a threshold, where it is from.

        A dict, empty at first, that `save` writes and `fastmlp.load` brings back. Keys are strings, and values what
        JSON has: dicts, lists, strings, finite numbers, True, False and None; `save` refuses others.

        Examples
        --------
        >>> net.metadata["classes"] = ["setosa", "versicolor", "virginica"]
        """
        return self.engine.metadata

    @metadata.setter
    def metadata(self, value: dict[str, Any]) -> None:
        if not isinstance(value, dict):
            raise TypeError(f"metadata: expected a dict, got {value!r}")
        self.engine.metadata = value

    def save(self, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
        """Write the network to exactly `path`: the old file stays whole until the new one is; `fastmlp.load` reads it.

        Layers, parameters, buffers, optimizer and its state, loss, metrics, seed, counters and `metadata` are kept, so
        that training goes on to the bits that it would have reached. A network need be neither built nor compiled.

        Parameters
        ----------
        path : str, bytes or path-like
            A link is followed; ``~`` is not expanded. A file that is replaced keeps its permissions.

        Raises
        ------
        UnknownNameError
            If a class of the network is in no registry; the message says how to register it.
        TypeError
            If a configuration or the metadata hold what JSON can't.
        ValueError
            If they are of absurd size (a list of more than 100,000 entries, say), or if numbers can't be what they are:
            NaN or infinity in a parameter, a variance below 0.
        OSError
            If the file can't be written, or is no regular file; the error names `path`.

        Notes
        -----
        The file is written beside `path` under a name that begins with ``.fastmlp-``, and takes its place when it is
        complete and safe on the disk. If anything fails, Ctrl-C too, it is deleted, and the old file is as it was. What
        a process that was killed has left is deleted by the next `save` into that folder; after a restart of the
        machine, or from another one, once it is a day old.

        Examples
        --------
        >>> net.save("digits.npz")
        >>> net = fm.load("digits.npz")
        """
        from .serialization import save

        save(self.engine, path)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle and deep copy: the class and all attributes, but for `history`, which is that of one network's `fit`.

        Objects are copied by Python's own protocols, so classes need no registered name; pickle finds them by module.
        Arrays are copied as they are at one moment. A copy shares nothing with its original.
        """
        return reduced(super().__reduce_ex__(max(protocol, 2)), {"history"}, _made)

    def __copy__(self) -> Sequential:
        """Copy as `copy.deepcopy` does: two networks never share parameters."""
        return deepcopy(self)


def _compiled(layers: tuple[Layer, ...], dtype: np.dtype[Any], seed: int) -> Compiled:
    """Make what is below a network."""
    _import_what_runs()
    from ._compiler.compiled import Compiled

    return Compiled(layers, dtype, seed)


def _import_what_runs() -> None:
    """Import compiler and training, with the first network and not with fastmlp."""
    global CallbackList, _training, fastpath  # once: an import in each method would take a microsecond of every call
    from . import _training
    from ._compiler import fastpath
    from .callbacks import CallbackList


def _made(make: Callable[..., Sequential], *arguments: Any) -> Sequential:
    """Make an empty network for a copy: it may be the first one of its process."""
    _import_what_runs()
    return make(*arguments)


def load(path: str | bytes | os.PathLike[str] | os.PathLike[bytes], *, verify: bool = True) -> Sequential:
    """Read a network that `Sequential.save` wrote: compiled if it was, ready to go on.

    Parameters
    ----------
    path : str, bytes or path-like
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
        If the file is no fastmlp network, is damaged, is of another format, or takes more memory than there is; the
        message names the path. If an activation is not what it was; the message says where, and which package to
        install.
    UnknownNameError
        If it names a class that neither this program nor an installed package registers; the message names the package
        to install. Nothing is imported but the plugin of that name.
    PluginError
        If that plugin fails to load.
    """
    from .serialization import load

    return load(path, Sequential, verify=verify)
