"""What a compiled network is trained for: its loss, its optimizer, and its metrics with their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import losses, metrics, optimizers, regularizers
from .errors import UnknownNameError
from .registry import metrics as metric_registry

if TYPE_CHECKING:
    from ._tracing.execution import Execution
    from .model import Sequential

__all__ = [
    "accuracy_kind",
    "copy_of",
    "executions_of",
    "is_compiled",
    "metric_name",
    "named_metrics",
    "objective",
    "traced_parts",
]


def objective(net: Sequential) -> tuple[losses.Loss, optimizers.Optimizer]:
    """Loss and optimizer of a compiled network."""
    loss, optimizer = net.loss, net.optimizer
    if loss is None or optimizer is None:
        raise RuntimeError("the network is not compiled: call compile(optimizer=..., loss=...) first")
    return loss, optimizer


def traced_parts(net: Sequential) -> tuple[losses.Loss | regularizers.Regularizer, ...]:
    """What is traced, if it can be, beside the optimizer and activations: a loss without a kernel, regularizers."""
    penalties = tuple(net._memory().regularizers.values())
    loss, _ = objective(net)
    return penalties if losses.builtin_kernel(loss) is not None else (loss, *penalties)


def executions_of(net: Sequential) -> tuple[Execution[Any], ...]:
    """What a plan is made for, beside its optimizer: what those parts are now; nothing where there are none."""
    arenas = net._memory()
    loss, _ = objective(net)
    by_kernel = losses.builtin_kernel(loss) is not None
    if by_kernel and not arenas.regularizers:
        return ()
    of_loss = [] if by_kernel else [losses.execution_of(loss, net.dtype, net._built[-1].units)]
    of_parameters = [
        regularizers.execution_of(regularizer, net.dtype, arenas.parameters[key].shape)
        for key, regularizer in arenas.regularizers.items()
    ]
    return (*of_loss, *of_parameters)


def _loss_runs_in_python(net: Sequential) -> bool:
    loss, _ = objective(net)
    return losses.builtin_kernel(loss) is None and executions_of(net)[0].mode == "python"


def accuracy_kind(net: Sequential) -> str | None:
    """What "accuracy" means here, if it is asked for."""
    loss, _ = objective(net)
    if not any(is_compiled(metric) for metric in net.metrics):
        return None
    if loss.accuracy != "shape":
        return loss.accuracy
    return "categorical" if net._built[-1].units > 1 else "binary"


def named_metrics(net: Sequential) -> list[tuple[str, metrics.Metric]]:
    """The metrics with their names in logs; accuracy beside a loss in Python is computed in NumPy too."""
    named = []
    for metric in net.metrics:
        name = metric_name(metric)
        if is_compiled(metric) and _loss_runs_in_python(net):
            metric = metrics.Accuracy(accuracy_kind(net))
        named.append((name, metric))
    return named


def metric_name(metric: metrics.Metric) -> str:
    """Its name in logs; an object of the user's own class needs no registered one."""
    try:
        return metric_registry.identify(metric)
    except UnknownNameError:
        return type(metric).__name__


def is_compiled(metric: metrics.Metric) -> bool:
    """Whether a metric is computed by the loss's kernel: accuracy of the kind that goes with the loss."""
    return type(metric) is metrics.Accuracy and metric.kind is None


def copy_of(metric: metrics.Metric) -> metrics.Metric:
    """A metric of the same configuration, with sums of its own."""
    return type(metric).from_config(metric.get_config())
