"""Single steps: ``train_on_batch``, which ``fit`` repeats, ``loss_and_gradients``, ``apply_gradients``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import metrics
from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from ..errors import NonFiniteError
from ..user_code import returned_number
from .data import arguments, check_meaning, checked
from .gradients import Gradients, batch_statistics, changed_arrays, check_finite, checked_arrays, checked_statistics

if TYPE_CHECKING:
    from numpy.typing import NDArray


AS_BEFORE = "; the network is unchanged by this step"


def step(compiled: Compiled, executable: Executable, offset: int, batch: int, kept_row: int = 0) -> bool:
    """Do a whole step over rows that are bound; raise before anything of it is kept.

    False, and no step, if the weights of the batch sum to 0: then no row of it counts.
    """
    executable.begin(offset, batch, compiled.hyperparameters(1)[0], kept_row)
    if executable.run.weight == 0:
        return False
    arrays, counters = written_by_layers(compiled, executable).values(), compiled.memory.counters
    with compiled.guard.stepping("step", arrays=arrays, counters=counters):
        if not executable.execute(batch, "forward", "backward", "transform", "check"):
            raise non_finite(compiled, executable, batch)
        commit(compiled, executable)
    return True


def commit(compiled: Compiled, executable: Executable) -> None:
    """Update and count the step at hand; raise, and change nothing, if that gave NaN or infinity."""
    key = executable.commit()
    if key is not None:
        layer, step = key.rpartition(".")[0], compiled.steps + 1
        raise NonFiniteError(
            f"the update of {key!r} gives NaN or infinity at step {step}: lower the learning rate, scale the data, or "
            f"look at the optimizer's hyper-parameters and state{AS_BEFORE}",
            layer=layer,
            step=step,
        )


def written_by_layers(compiled: Compiled, executable: Executable) -> dict[str, NDArray[Any]]:
    """Return the arrays that layers of users may write to, by key: buffers."""
    return {} if executable.compiled else compiled.memory.buffers


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
            logs[name] = metric_value(metric)
    return logs


def metric_value(metric: metrics.Metric) -> float:
    """Return what a metric gives for the rows that it has seen; NaN is let through."""
    return returned_number(metric.result(), f"result of metric {metric!r}")


def update_metric(metric: metrics.Metric, executable: Executable, batch: int) -> None:
    """Show a metric in NumPy the batch that was run."""
    target, weight = executable.target(batch)
    output = executable.view(executable.plan.out, batch)
    for array in (target, output):
        array.flags.writeable = False  # views and copies of this call: what one metric does, the next must not see
    metric.update(target, output, weight)


def non_finite(compiled: Compiled, executable: Executable, batch: int) -> ValueError:
    """Return the error for the step at hand, with the place where NaN or infinity began."""
    where = executable.locate_nonfinite(batch)
    step = compiled.steps + 1
    if isinstance(where, int):
        key = compiled.network.layers[where].key
        return NonFiniteError(
            f"NaN or infinity in the output of layer {key!r} at step {step}: lower the learning rate, scale the "
            f"inputs, or look at the parameters{AS_BEFORE}",
            layer=key,
            step=step,
        )
    if where == "loss":
        try:  # which is NaN where a target was written to
            check_meaning(executable.target(batch)[0], compiled.units, compiled.objective()[0])
        except ValueError as error:
            return ValueError(f"{error}, in the batch of step {step}; it has changed since it was checked{AS_BEFORE}")
    if where in ("loss", "gradients") and executable.suspect is not None:
        what, number = executable.suspect
        return NonFiniteError(
            f"NaN or infinity from {what} at step {step}, although all its inputs are finite{AS_BEFORE}",
            layer=None if number is None else compiled.network.layers[number].key,
            step=step,
        )
    if where in ("loss", "gradients"):
        return NonFiniteError(
            f"NaN or infinity in the {where} at step {step}: lower the learning rate, or scale the data{AS_BEFORE}",
            step=step,
        )
    return NonFiniteError(
        f"NaN or infinity in {where}, in the batch of step {step}: clean the data{AS_BEFORE}", step=step
    )


def train_on_batch(compiled: Compiled, x: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
    """Do one step on one batch; return the loss and the metrics, of before the update."""
    given = arguments(compiled, x, y, sample_weight)
    with compiled.guard.changing("train_on_batch"):
        data = checked(compiled, given, training=True).readable(compiled.dtype)
        batch = len(data.x)
        executable = compiled.executables.training(batch)
        executable.bind(*data)
        try:
            step(compiled, executable, 0, batch)
            return logs(compiled, executable, batch)
        finally:
            executable.unbind()


def loss_and_gradients(compiled: Compiled, x: Any, y: Any, sample_weight: Any = None) -> tuple[float, Gradients]:
    """Return the loss that `fit` minimises and its gradients, in training mode, without a side effect."""
    given = arguments(compiled, x, y, sample_weight)
    with compiled.guard.changing("loss_and_gradients"):
        data = checked(compiled, given).readable(compiled.dtype)
        batch = len(data.x)
        executable = compiled.executables.training(batch)
        executable.bind(*data)
        try:
            executable.begin(0, batch)
            buffers = written_by_layers(compiled, executable)
            before = {key: array.copy() for key, array in buffers.items()}
            with compiled.guard.stepping("loss_and_gradients", arrays=buffers.values(), always=True):
                if not executable.execute(batch, "forward", "backward", "check"):
                    raise non_finite(compiled, executable, batch)
                written = changed_arrays(buffers, before)
            loss = executable.run.loss / executable.run.weight
        finally:
            executable.unbind()
        learned, gradients = executable.plan.learned, executable.gradients.items()  # of others it is 0
        arrays = {key: view.copy() if key in learned else np.zeros_like(view) for key, view in gradients}
        return loss, Gradients(arrays, batch_statistics(executable, batch), written)


def apply_gradients(compiled: Compiled, gradients: Mapping[str, Any]) -> None:
    """Do one step of the optimizer with gradients keyed as `parameters`."""
    if compiled.optimizer is None:
        raise RuntimeError("the network is not compiled: call compile(optimizer=...) first")
    memory = compiled.memory
    views = memory.gradients
    if not isinstance(gradients, Mapping):
        raise TypeError(f"gradients: expected a mapping keyed as parameters, got {type(gradients).__name__}")
    if gradients.keys() != views.keys():
        missing, unknown = sorted(set(views) - set(gradients)), sorted(set(gradients) - set(views))
        raise ValueError(f"gradients: expected the keys of parameters; missing {missing}, unknown {unknown}")
    arrays = checked_arrays(compiled, "gradient", gradients, views)
    statistics, buffers = checked_statistics(compiled, gradients)
    with compiled.guard.changing("apply_gradients"):
        executable = compiled.executables.applying(statistics=bool(statistics))
        wanted = executable.plan.statistics
        if not wanted.keys() <= statistics.keys():
            raise ValueError(f"statistics of gradients: missing {sorted(wanted.keys() - statistics.keys())}")
        # What the check in the kernels does not see: what transforms before it might hide, and what is not learned.
        unseen = arrays if compiled.gradient_transforms else arrays.keys() - executable.plan.learned
        check_finite(compiled, "gradient", {key: arrays[key] for key in unseen})
        for key, tensor in wanted.items():
            executable.view(tensor, 1)[0] = statistics[key]
        for key, array in arrays.items():
            views[key][...] = array
        executable.begin(0, 0, compiled.hyperparameters(1)[0])
        changed = [memory.buffers[key] for key in buffers]
        with compiled.guard.stepping("apply_gradients", arrays=changed, counters=memory.counters):
            for key, array in buffers.items():
                memory.buffers[key][...] = array
            if not executable.execute(0, "transform", "check"):
                check_finite(compiled, "gradient", arrays)
                raise non_finite(compiled, executable, 0)
            commit(compiled, executable)
