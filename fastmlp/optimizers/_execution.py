"""How an optimizer runs: by a kernel of ours, a traced program over all parameters, or in Python."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

from .._tracing.execution import Execution, in_python
from ._adam import Adam, AdamW
from ._base import Optimizer
from ._sgd import SGD

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .._tracing.assembly import Assembled

__all__ = ["KernelSpec", "execution_of"]


class KernelSpec(NamedTuple):
    """An optimizer as the kernels take it.

    Attributes
    ----------
    name : str
        The kernel: ``"sgd"``, ``"adam"`` or ``"traced_update"``.
    hyperparameters : tuple of str
        What the kernel reads at each step, in this order: `Optimizer.hyperparameters_at` gives the values. A program
        takes the learning rate, the step, and then the others.
    slots : int
        Arrays of state, each of the size of all parameters.
    has_velocity, nesterov : bool
        Of SGD, static.
    decays : bool
        Whether parameters with ``decay=True`` are multiplied by a factor first, which comes behind the
        hyper-parameters: 1 minus learning rate times weight decay.
    program : Assembled or None
        Of a traced update.
    ranges : tuple of int or None
        Of the state of a traced update that is known to stay finite, see `fastmlp._tracing.bounds`.
    """

    name: str
    hyperparameters: tuple[str, ...]
    slots: int
    has_velocity: bool = False
    nesterov: bool = False
    program: Assembled | None = None
    ranges: tuple[int, ...] | None = None
    decays: bool = False

    @property
    def width(self) -> int:
        """How many numbers the kernel reads of a group of parameters at each step."""
        return len(self.hyperparameters) + self.decays

    @property
    def guarded(self) -> bool:
        """Whether nothing is known about what its program makes of finite numbers."""
        return self.program is not None and self.ranges is None


def execution_of(optimizer: Optimizer) -> Execution[KernelSpec]:
    """Return how `optimizer` runs, in any dtype; it may be asked at every step.

    A subclass of a built-in may have changed it: it is traced if it says that it is elementwise. A traced
    one is traced again where an attribute has changed, learning rate and weight decay aside.
    """
    found = _execution_of(optimizer)
    if found.kernel is None or not optimizer.decays:
        return found
    return Execution(found.mode, found.kernel._replace(decays=True))


def _execution_of(optimizer: Optimizer) -> Execution[KernelSpec]:
    """Return how `optimizer` runs, the weight decay aside."""
    if type(optimizer) is SGD:
        has_velocity = callable(optimizer.momentum) or optimizer.momentum != 0
        return Execution(
            "builtin", KernelSpec("sgd", SGD.hyperparameters, int(has_velocity), has_velocity, optimizer.nesterov)
        )
    if isinstance(optimizer, Adam) and type(optimizer) in (Adam, AdamW) and not optimizer.amsgrad:
        return Execution("builtin", KernelSpec("adam", Adam.hyperparameters, 2))
    if not optimizer.elementwise:
        return in_python("its class doesn't say that it is elementwise")
    from .._tracing.cache import remembered  # late: built-ins never need it

    ignoring = optimizer.data_attributes | {"learning_rate", "weight_decay"}
    return remembered(optimizer, "update", lambda: _traced(optimizer), ignoring)


def _traced(optimizer: Optimizer) -> Execution[KernelSpec]:
    from .._tracing.updates import traced

    scheduled = optimizer.scheduled()
    twin = copy(optimizer)  # which gets to hold symbols
    first = {name: vars(optimizer).get(name) for name in ("learning_rate", *scheduled)}

    def make(values: Mapping[str, Any]) -> Optimizer:
        vars(twin).update(first | dict(values))
        return twin

    found = traced(make, {name: _schedule(optimizer, name) for name in scheduled})
    names = ("learning_rate", *scheduled)
    spec = KernelSpec("traced_update", names, found.slots, program=found.program, ranges=found.ranges)
    return Execution("traced", spec)


def _schedule(optimizer: Optimizer, name: str) -> Any:
    return lambda step: optimizer.hyperparameters_at(step, [name])[0]
