"""Single steps: ``train_on_batch``, which ``fit`` repeats, ``loss_and_gradients``, ``apply_gradients``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from ..checks import cast, real_array
from ..errors import NonFiniteError
from .data import arguments, checked

if TYPE_CHECKING:
    from numpy.typing import NDArray


def step(compiled: Compiled, executable: Executable, offset: int, batch: int) -> bool:
    """Do a whole step over rows that are bound; raise before anything of it is kept.

    False, and no step, if the weights of the batch sum to 0: then no row of it counts.
    """
    executable.begin(offset, batch, compiled.hyperparameters(1)[0])
    if executable.run.weight == 0:
        return False
    arrays = written_by_layers(compiled, executable) + written_by_update(compiled, executable)
    with compiled.guard.stepping("step", arrays=arrays, counters=compiled.memory.counters):
        if not executable.execute(batch, "forward", "backward", "transform", "check"):
            raise non_finite(compiled, executable, batch)
        executable.commit()
    return True


def written_by_layers(compiled: Compiled, executable: Executable) -> list[NDArray[Any]]:
    """Return the arrays that layers of users may write to: buffers."""
    buffers = compiled.memory.flat_buffers
    return [] if executable.compiled or not buffers.size else [buffers]


def written_by_update(compiled: Compiled, executable: Executable) -> list[NDArray[Any]]:
    """Return the arrays that an optimizer of users may write to: parameters and state."""
    return compiled.memory.updated() if executable.updates_in_python else []


def logs(compiled: Compiled, executable: Executable, batch: int) -> dict[str, float]:
    """Return loss and metrics of one batch."""
    run = executable.run
    logs = {"loss": run.loss / run.weight}
    for name, metric in compiled.named_metrics():
        if metric is None:
            logs[name] = run.metric / run.weight
        else:
            metric.reset()
            update_metric(metric, executable, batch)
            logs[name] = float(metric.result())
    return logs


def update_metric(metric: metrics.Metric, executable: Executable, batch: int) -> None:
    """Show a metric in NumPy the batch that was run."""
    target, weight = executable.target(batch)
    output = executable.view(executable.plan.out, batch)
    for array in (target, output):
        array.flags.writeable = False  # views and copies of this call: what one metric does, the next must not see
    metric.update(target, output, weight)


def non_finite(compiled: Compiled, executable: Executable, batch: int) -> NonFiniteError:
    """Return the error for the step at hand, with the place where NaN or infinity began."""
    where = executable.locate_nonfinite(batch)
    step = compiled.steps + 1
    kept = "; the network is as it was after the step before"
    if isinstance(where, int):
        key = compiled.network.layers[where].key
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


def train_on_batch(compiled: Compiled, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
    """Do one step on one batch; return the loss and the metrics, of before the update."""
    given = arguments(compiled, x, y, sample_weight)
    with compiled.guard.changing("train_on_batch"):
        data = checked(compiled, given).readable(compiled.dtype)
        batch = len(data.x)
        executable = compiled.training(batch)
        executable.bind(*data)
        try:
            step(compiled, executable, 0, batch)
            return logs(compiled, executable, batch)
        finally:
            executable.unbind()


def loss_and_gradients(
    compiled: Compiled, x: Any, y: Any, sample_weight: Any = None
) -> tuple[float, dict[str, NDArray[Any]]]:
    """Return the loss that `fit` minimises and its gradients, in training mode, without a side effect."""
    given = arguments(compiled, x, y, sample_weight)
    with compiled.guard.changing("loss_and_gradients"):
        data = checked(compiled, given).readable(compiled.dtype)
        batch = len(data.x)
        executable = compiled.training(batch)
        executable.bind(*data)
        try:
            executable.begin(0, batch)
            buffers = written_by_layers(compiled, executable)
            with compiled.guard.stepping("loss_and_gradients", arrays=buffers, always=True):
                if not executable.execute(batch, "forward", "backward", "check"):
                    raise non_finite(compiled, executable, batch)
            loss = executable.run.loss / executable.run.weight
        finally:
            executable.unbind()
        learned = compiled.network.trainable()  # of others there is no gradient: theirs is 0
        gradients = executable.gradients.items()
        return loss, {key: view.copy() if key in learned else np.zeros_like(view) for key, view in gradients}


def apply_gradients(compiled: Compiled, gradients: Mapping[str, Any]) -> None:
    """Do one step of the optimizer with gradients keyed as `parameters`."""
    if compiled.optimizer is None:
        raise RuntimeError("the network is not compiled: call compile(optimizer=...) first")
    views = compiled.memory.gradients
    if not isinstance(gradients, Mapping):
        raise TypeError(f"gradients: expected a mapping keyed as parameters, got {type(gradients).__name__}")
    if set(gradients) != set(views):
        missing, unknown = sorted(set(views) - set(gradients)), sorted(set(gradients) - set(views))
        raise ValueError(f"gradients: expected the keys of parameters; missing {missing}, unknown {unknown}")
    arrays = {
        key: cast(real_array(f"gradient {key}", gradient), compiled.dtype, f"gradient {key}")
        for key, gradient in gradients.items()
    }
    for key, array in arrays.items():
        if array.shape != views[key].shape:
            raise ValueError(f"gradient {key}: expected shape {views[key].shape}, got {array.shape}")
        if not np.logical_and.reduce(np.isfinite(array), axis=None):
            raise NonFiniteError(
                f"NaN or infinity in gradient {key}; nothing was changed",
                layer=key.rpartition(".")[0],
                step=compiled.steps + 1,
            )
    with compiled.guard.changing("apply_gradients"):
        for key, array in arrays.items():
            views[key][...] = array
        executable = compiled.applying()
        executable.begin(0, 0, compiled.hyperparameters(1)[0])
        written, counters = written_by_update(compiled, executable), compiled.memory.counters
        with compiled.guard.stepping("apply_gradients", arrays=written, counters=counters):
            executable.commit()
