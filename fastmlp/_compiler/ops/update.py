"""``sgd``, ``adam``, ``traced_update``: how a step moves the parameters (row 16), over flat arenas; or in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...optimizers import AVERAGE, execution_of
from ...user_code import read_only
from ..plan import Call, Note

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
    if to.memory.flat_state.size != (spec.slots + (optimizer.averaging is not None)) * size:
        raise RuntimeError(
            f"{optimizer!r} keeps other state than when the network was compiled (was its momentum changed?): "
            "call compile again"
        )
    merged, alone = (
        [
            (first, last, group * spec.width)
            for first, last, group in to.memory.segments(to.trainable, merged=merged, decays=spec.decays)
        ]
        for merged in (spec.program is None, False)
    )
    if not merged:
        return
    fields: dict[str, Any] = {"segments": to.entries(merged), "n_segments": len(merged), "slot_stride": size}
    fields |= {"guarded_segments": to.entries(alone), "n_guarded": len(alone)}
    if spec.decays:
        fields["decay"] = len(spec.hyperparameters)  # behind them
    if spec.program is not None:
        fields |= {"program": to.load(spec.program), "n_slots": spec.slots}
        if spec.ranges is not None:
            fields["ranges"] = to.entries([spec.ranges])
    elif spec.name == "sgd":
        fields |= {"nesterov": spec.nesterov, "has_velocity": spec.has_velocity}
    to.emit(spec.name, Note((size,)), size=size, cost=32 * size, **fields)


def _call(keys: frozenset[str]) -> Call:
    """Return a call of ``optimizer.update`` for some parameters.

    It changes copies, which take the place of the numbers once the whole step is sure to be kept (`Executable.commit`).
    """
    copies: dict[str, tuple[Any, dict[str, Any]]] = {}  # the same in each step, as an optimizer may expect

    def call(executable: Any, batch: int) -> None:
        arenas, optimizer = executable.arenas, executable.optimizer
        stepped = optimizer.at_step(executable.iteration)
        (decay,) = optimizer.hyperparameters_at(executable.iteration, ["weight_decay"])
        gradients = {key: executable.gradients[key] for key in arenas.parameters if key in keys}
        optimizer.clipping.apply(list(gradients.values()))
        for key in gradients:
            parameter, state = arenas.parameters[key], arenas.state[key]
            if key not in copies:
                copies[key] = parameter.copy(), {name: array.copy() for name, array in state.items()}
            copy, kept = copies[key]
            targets = [(copy, parameter), *((kept[name], array) for name, array in state.items())]
            for value, target in targets:
                value[...] = target
            gradient = read_only(gradients[key])
            own = {name: array for name, array in kept.items() if optimizer.averaging is None or name != AVERAGE}
            given = dict(own)
            learning_rate = float(executable.hyper[arenas.group_of(key)])
            with np.errstate(all="ignore"):  # what is not finite is told by an error of ours
                if decay and arenas.specs[key].decay:
                    copy *= 1 - learning_rate * decay
                answer = stepped.update(copy, gradient, given, learning_rate, executable.iteration)
            _check_update(optimizer, key, answer, own, given)
            executable.staged += [(key, target, value) for value, target in targets]

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
