"""``sgd``, ``adam``, ``traced_update``: how a step moves the parameters (row 16), over flat arenas; or in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...optimizers import execution_of
from ..plan import Call, Note
from ..user_code import read_only

if TYPE_CHECKING:
    from ...optimizers import Optimizer
    from ..lower import Lowering

__all__ = ["add_update"]


def add_update(to: Lowering, optimizer: Optimizer) -> None:
    """Add the update of all parameters."""
    spec = execution_of(optimizer).kernel
    if spec is None:
        size = sum(view.size for view in to.memory.parameters.values())
        to.emit_python(_call(to.trainable), Note((size,), python=repr(optimizer)), f"optimizer {optimizer!r}")
        return
    size = to.memory.size
    if to.memory.flat_state.size != spec.slots * size:
        raise RuntimeError(
            f"{optimizer!r} keeps other state than when the network was compiled (was its momentum changed?): "
            "call compile again"
        )
    width = len(spec.hyperparameters)
    segments = [(first, last, group * width) for first, last, group in to.memory.segments(to.trainable)]
    if not segments:
        return
    fields: dict[str, Any] = {"segments": to.entries(segments), "n_segments": len(segments), "slot_stride": size}
    if spec.program is not None:
        fields |= {"program": to.load(spec.program), "n_slots": spec.slots}
    elif spec.name == "sgd":
        fields |= {"nesterov": spec.nesterov, "has_velocity": spec.has_velocity}
    to.emit(spec.name, Note((size,)), size=size, cost=32 * size, **fields)


def _call(keys: frozenset[str]) -> Call:
    """Return a call of ``optimizer.update`` for some parameters; the step puts back what one that fails has written."""

    def call(executable: Any, batch: int) -> None:
        arenas, optimizer = executable.arenas, executable.optimizer
        stepped = optimizer.at_step(executable.iteration)
        for key, parameter in arenas.parameters.items():
            if key not in keys:
                continue
            gradient, state = read_only(executable.gradients[key]), dict(arenas.state[key])
            learning_rate = float(executable.hyper[arenas.group_of(key)])
            answer = stepped.update(parameter, gradient, state, learning_rate, executable.iteration)
            _check_update(optimizer, key, answer, arenas.state[key], state)

    return call


def _check_update(
    optimizer: Optimizer, key: str, answer: object, before: dict[str, Any], state: dict[str, Any]
) -> None:
    """Check that an update has worked in place."""
    if answer is not None:
        raise TypeError(
            f"optimizer {optimizer!r}: update must change param in place and return None, got {type(answer).__name__}"
        )
    if any(state.get(name) is not array for name, array in before.items()) or len(state) != len(before):
        raise ValueError(
            f"optimizer {optimizer!r}: update must change the arrays of its state in place, and neither add, drop nor "
            f"replace any; state of {key!r}: {sorted(before)}, then {sorted(state)}"
        )
