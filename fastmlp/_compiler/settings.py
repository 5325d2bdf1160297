"""What plans are lowered from, as it is set at one time: equal settings, equal plans.

That is the one rule of when an executable is stale. Objects may be changed at any time; `VERSIONS` counts such changes,
so that settings are looked at again only where one has happened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from .. import activations, losses, metrics, optimizers, regularizers
from ..configurable import HYPERPARAMETERS, SETTINGS, VERSIONS, is_builtin
from ..layers import Layer
from .outputs import check_outputs

if TYPE_CHECKING:
    from .compiled import Compiled
    from .network import BuiltLayer

__all__ = ["Current", "TrainingSettings", "forward_settings", "is_compiled", "training_settings", "with_update"]

PLAIN = (bool, int, float, str, type(None))
Found = TypeVar("Found")


class Current(Generic[Found]):
    """What is found about settings, found again after a change; the same object as long as it is equal.

    Parameters
    ----------
    find : callable
        Finds it.
    find_update : callable, optional
        ``find_update(found)`` finds it where hyper-parameters alone have changed.
    """

    def __init__(self, find: Callable[[], Found], find_update: Callable[[Found], Found] | None = None) -> None:
        self._find, self._find_update = find, find_update
        self._found: Found | None = None
        self._versions = (-1, -1)

    def get(self) -> Found:
        """Return what holds now."""
        versions = VERSIONS[SETTINGS], VERSIONS[HYPERPARAMETERS]
        if self._found is None or self._versions[0] != versions[0]:
            found = self._find()
        elif self._versions != versions and self._find_update is not None:
            found = self._find_update(self._found)
        else:
            return self._found
        if found != self._found:
            self._found = found
        self._versions = versions
        assert self._found is not None
        return self._found


class TrainingSettings(NamedTuple):
    """What plans of training and evaluation depend on.

    Attributes
    ----------
    forward : tuple
        What layers are, see `forward_settings`.
    loss : Execution or None
        How the loss runs.
    loss_values : dict
        Its numbers and flags.
    penalties : tuple of Execution
        How each regularizer runs.
    update : Execution or None
        How the optimizer runs.
    metrics_compiled : tuple of bool
        Which metrics the loss's kernel counts.
    clipping : Clipping or None
        What the optimizer clips of gradients.
    averaging : Averaging or None
        How it averages weights.
    """

    forward: tuple[Any, ...]
    loss: Any
    loss_values: dict[str, Any]
    penalties: tuple[Any, ...]
    update: Any
    metrics_compiled: tuple[bool, ...]
    clipping: optimizers.Clipping | None
    averaging: optimizers.Averaging | None

    @property
    def loss_runs_in_python(self) -> bool:
        """Whether NumPy computes the loss at every step."""
        return self.loss is not None and self.loss.mode == "python"


def forward_settings(compiled: Compiled) -> tuple[Any, ...]:
    """Return what plans depend on of the layers."""
    check_outputs([place.layer for place in compiled.network.chain])
    return tuple(map(_layer_settings, compiled.network.layers))


def training_settings(compiled: Compiled, forward: tuple[Any, ...]) -> TrainingSettings:
    """Return what plans of training and evaluation depend on, beside `forward_settings`."""
    loss, optimizer, memory = compiled.loss, compiled.optimizer, compiled.memory
    compiled.check_objective()
    return TrainingSettings(
        forward,
        None if loss is None else losses.execution_of(loss, compiled.dtype, compiled.units),
        {} if loss is None else _plain(loss),
        tuple(
            regularizers.execution_of(regularizer, compiled.dtype, memory.parameters[key].shape)
            for key, regularizer in memory.regularizers.items()
        ),
        None if optimizer is None else optimizers.execution_of(optimizer),
        tuple(map(is_compiled, compiled.metrics)),
        None if optimizer is None else optimizer.clipping,
        None if optimizer is None else optimizer.averaging,
    )


def is_compiled(metric: metrics.Metric) -> bool:
    """Return whether a metric is counted by the loss's kernel: accuracy of the kind that goes with the loss."""
    return type(metric) is metrics.Accuracy and metric.kind is None


def with_update(compiled: Compiled, settings: TrainingSettings) -> TrainingSettings:
    """Return the settings with the optimizer as it runs now: whether it keeps a velocity, or what was traced of it."""
    update = None if compiled.optimizer is None else optimizers.execution_of(compiled.optimizer)
    return settings if update == settings.update else settings._replace(update=update)


def _layer_settings(place: BuiltLayer) -> tuple[Any, ...]:
    """Return the numbers and flags of a layer, and what its activation is; a layer in Python is asked at every step."""
    layer = place.layer
    if type(layer).lower is Layer.lower:
        return (place.trainable,)
    if not is_builtin(type(layer)):  # it may hand over what it likes
        from .._tracing.cache import attributes

        return place.trainable, attributes(layer, ignoring=layer.data_attributes)
    activation = getattr(layer, "activation", None)
    return place.trainable, _plain(layer), None if activation is None else _activation_settings(activation)


def _activation_settings(activation: activations.Activation) -> Any:
    """Return what an activation is: its kernel, or its class with all its attributes."""
    kernel = activations.builtin_kernel(activation)
    if kernel is not None:
        return kernel
    from .._tracing.cache import attributes  # built-ins with kernels never need it

    return type(activation), attributes(activation)


def _plain(owner: object) -> dict[str, Any]:
    return {name: value for name, value in vars(owner).items() if isinstance(value, PLAIN)}
