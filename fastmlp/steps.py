"""Single steps: ``train_on_batch``, which ``fit`` repeats, ``loss_and_gradients``, ``apply_gradients``, ``vjp``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from . import metrics, optimizers
from .checks import real_array
from .data import Rows, cast, check_range, check_targets, check_weights, in_place
from .doors import with_train_door
from .errors import NonFiniteError
from .lowering import update_of
from .objective import accuracy_kind, executions_of, is_compiled, named_metrics, objective
from .state import Views
from .workspace import Workspace

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .model import Sequential


Pullback = Callable[[Any], "tuple[dict[str, NDArray[Any]], NDArray[Any]]"]


class Restore:
    """Puts an array back to what it was, if the block fails or in any case."""

    def __init__(self, array: NDArray[Any] | None, always: bool) -> None:
        self._array, self._always = array, always
        self._kept = None if array is None else array.copy()

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, *rest: Any) -> None:
        if self._array is not None and (self._always or kind is not None):
            self._array[...] = self._kept


@contextmanager
def unbuilt_if_refused(net: Sequential) -> Iterator[None]:
    """A first call that is refused leaves no parameters: its number of features may be the mistake."""
    fresh = not net.built
    try:
        yield
    except Exception:
        if fresh:
            net._unbuild()
        raise


def prepare(
    net: Sequential,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
) -> Rows:
    """Checked data of a call; the inputs keep their dtype."""
    loss, _ = objective(net)
    with unbuilt_if_refused(net):
        rows = net._as_rows(x)
        check_range(rows, net._dtype)
        units = net._built[-1].units
        targets = check_targets(y, len(rows), units, loss, net._dtype)
        weight = check_weights(sample_weight, class_weight, targets, units, loss, net._dtype)
    return Rows(rows, targets, weight)


def train_workspace(net: Sequential, rows: int) -> Workspace:
    """The workspace of training, for batches of up to `rows`, made anew where it is too small or for other settings."""
    loss, optimizer = objective(net)
    workspace: Workspace | None = net._training
    found = executions_of(net)
    if (
        workspace is None
        or workspace.plan.capacity < rows
        or workspace.update != update_of(optimizer)
        or workspace.executions != found
    ):
        plan = net._lowering(rows, training=True).train(loss, accuracy_kind(net), optimizer)
        workspace = Workspace(plan, net._memory(), net.seed, optimizer, executions=found)
        workspace = with_train_door(net, workspace)
        net._training = workspace
    return workspace


def evaluation_workspace(net: Sequential, rows: int) -> Workspace:
    """As `train_workspace`, for `evaluate`."""
    loss, _ = objective(net)
    found = executions_of(net)
    workspace: Workspace | None = net._evaluating
    if workspace is None or workspace.plan.capacity < rows or workspace.executions != found:
        plan = net._lowering(rows, training=False).evaluate(loss, accuracy_kind(net))
        workspace = net._evaluating = Workspace(plan, net._memory(), net.seed, executions=found)
    return workspace


def optimizer_workspace(net: Sequential, optimizer: optimizers.Optimizer) -> Workspace:
    """As `train_workspace`, for `apply_gradients`: the optimizer alone, on no rows."""
    workspace: Workspace | None = net._applying
    if workspace is None or workspace.update != update_of(optimizer):
        plan = net._lowering(0, training=True).step(optimizer)
        workspace = Workspace(plan, net._memory(), net.seed, optimizer)
        workspace.bind(Rows(np.empty((0, 1), net._dtype)))
        net._applying = workspace
    return workspace


def step(net: Sequential, workspace: Workspace, offset: int, batch: int) -> bool:
    """A whole step over rows that are bound; raises before anything of it is kept.

    False, and no step, if the weights of the batch sum to 0: then no row of it counts.
    """
    _, optimizer = objective(net)
    workspace.begin(offset, batch, optimizer.learning_rate_at(net._iterations + 1))
    if workspace.run.weight == 0:
        return False
    with net._usage.stepping(), kept_buffers(net, workspace):
        if not workspace.execute(batch, "forward", "backward", "check"):
            raise non_finite(net, workspace, batch)
        workspace.commit()
    return True


def kept_buffers(net: Sequential, workspace: Workspace, *, always: bool = False) -> Restore:
    """Buffers that layers in Python may have written, put back if the step fails."""
    return Restore(None if workspace.compiled else net._memory().flat_buffers, always)


def logs(net: Sequential, workspace: Workspace, batch: int) -> dict[str, float]:
    """Loss and metrics of one batch."""
    run = workspace.run
    logs = {"loss": run.loss / run.weight}
    for name, metric in named_metrics(net):
        if is_compiled(metric):
            logs[name] = run.metric / run.weight
        else:
            metric.reset()
            update_metric(metric, workspace, batch)
            logs[name] = float(metric.result())
    return logs


def update_metric(metric: metrics.Metric, workspace: Workspace, batch: int) -> None:
    """Shows a metric in NumPy the batch that was run."""
    target, weight = workspace.target(batch)
    output = workspace.view(workspace.plan.out, batch)
    for array in (target, output):
        array.flags.writeable = False  # views and copies of this call: what one metric does, the next must not see
    metric.update(target, output, weight)


def non_finite(net: Sequential, workspace: Workspace, batch: int) -> NonFiniteError:
    """The error for the step at hand, with the place where NaN or infinity began."""
    where = workspace.culprit(batch)
    step = net._steps + 1
    kept = "; the network is as it was after the step before"
    if isinstance(where, int):
        key = net._built[where].key
        return NonFiniteError(
            f"NaN or infinity in the output of layer {key!r} at step {step}: lower the learning rate, scale the "
            f"inputs, or look at the parameters{kept}",
            layer=key,
            step=step,
        )
    if where in ("loss", "gradients"):
        return NonFiniteError(
            f"NaN or infinity in the {where} at step {step}: lower the learning rate, or scale the data{kept}",
            step=step,
        )
    return NonFiniteError(f"NaN or infinity in {where}, in the batch of step {step}: clean the data{kept}", step=step)


def train_on_batch(net: Sequential, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
    """One step on one batch; returns the loss and the metrics, of before the update."""
    data = prepare(net, x, y, sample_weight).readable(net._dtype)
    batch = len(data.x)
    with net._usage.changing("train_on_batch"):
        workspace = train_workspace(net, batch)
        workspace.bind(data)
        try:
            step(net, workspace, 0, batch)
            return logs(net, workspace, batch)
        finally:
            workspace.unbind()


def loss_and_gradients(
    net: Sequential, x: Any, y: Any, sample_weight: Any = None
) -> tuple[float, dict[str, NDArray[Any]]]:
    """The loss that `fit` minimises and its gradients, keyed as `parameters`; in training mode, no side effect."""
    data = prepare(net, x, y, sample_weight).readable(net._dtype)
    batch = len(data.x)
    with net._usage.changing("loss_and_gradients"):
        workspace = train_workspace(net, batch)
        workspace.bind(data)
        try:
            workspace.begin(0, batch)
            with net._usage.stepping(), kept_buffers(net, workspace, always=True):
                if not workspace.execute(batch, "forward", "backward", "check"):
                    raise non_finite(net, workspace, batch)
            loss = workspace.run.loss / workspace.run.weight
        finally:
            workspace.unbind()
        return loss, {key: view.copy() for key, view in workspace.gradients.items()}


def apply_gradients(net: Sequential, gradients: Mapping[str, Any]) -> None:
    """One step of the optimizer with gradients keyed as `parameters`."""
    if net.optimizer is None:
        raise RuntimeError("the network is not compiled: call compile(optimizer=...) first")
    views = Views(net._memory().gradients)
    if not isinstance(gradients, Mapping):
        raise TypeError(f"gradients: expected a mapping keyed as parameters, got {type(gradients).__name__}")
    if set(gradients) != set(views):
        missing, unknown = sorted(set(views) - set(gradients)), sorted(set(gradients) - set(views))
        raise ValueError(f"gradients: expected the keys of parameters; missing {missing}, unknown {unknown}")
    arrays = {
        key: cast(real_array(f"gradient {key}", gradient), net._dtype, f"gradient {key}")
        for key, gradient in gradients.items()
    }
    for key, array in arrays.items():
        if array.shape != views[key].shape:
            raise ValueError(f"gradient {key}: expected shape {views[key].shape}, got {array.shape}")
        if not np.isfinite(array).all():
            raise NonFiniteError(
                f"NaN or infinity in gradient {key}; nothing was changed",
                layer=key.rpartition(".")[0],
                step=net._steps + 1,
            )
    with net._usage.changing("apply_gradients"):
        apply(net, views, arrays)


def apply(net: Sequential, views: Views, arrays: dict[str, NDArray[Any]]) -> None:
    optimizer = net.optimizer
    assert optimizer is not None
    for key, array in arrays.items():
        views[key] = array
    workspace = optimizer_workspace(net, optimizer)
    workspace.begin(0, 0, optimizer.learning_rate_at(net._iterations + 1))
    with net._usage.stepping():
        workspace.commit()


def vjp(net: Sequential, x: Any, *, training: bool = False) -> tuple[NDArray[Any], Pullback]:
    """Outputs, and a function from their gradient to those of parameters and inputs.

    Parameters
    ----------
    x : array_like ``(n, features)``
    training : bool
        Statistics of the batch and this step's dropout masks; no side effect either way.

    Returns
    -------
    y : ndarray ``(n, units)``
    backward : callable
        ``backward(dy) -> (gradients keyed as parameters, d_input)``; may be called more than once, before the
        parameters change.
    """
    rows = net._as_rows(x)
    rows = rows if in_place(rows, net._dtype) else cast(rows, net._dtype)
    batch = len(rows)
    with net._usage.reading("vjp"):
        plan = net._lowering(batch, training=training).vjp()
        workspace = Workspace(plan, net._memory(), net.seed, own_gradients=True)
        workspace.bind(Rows(rows))
        workspace.begin(0, batch)
        with kept_buffers(net, workspace, always=True):
            workspace.execute(batch, "forward")
    d_out, d_input = plan.d_out, plan.d_input
    assert d_out is not None and d_input is not None

    def backward(dy: Any) -> tuple[dict[str, NDArray[Any]], NDArray[Any]]:
        dy = real_array("dy", dy)
        target = workspace.view(d_out, batch)
        if dy.shape != target.shape:
            raise ValueError(f"dy: expected shape {target.shape}, got {dy.shape}")
        with net._usage.reading("vjp"):
            target[...] = cast(dy, net._dtype, "dy")
            workspace.execute(batch, "backward")
        gradients = {key: view.copy() for key, view in workspace.gradients.items()}
        return gradients, workspace.view(d_input, batch).copy()

    return workspace.view(plan.out, batch).copy(), backward
