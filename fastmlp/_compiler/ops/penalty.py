"""``penalty``: what a regularizer adds to the loss and to a gradient that is complete; ``penalty_sum``: all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..._kernels import NONE, PENALTY_CHUNK
from ...regularizers import KernelSpec, execution_of
from ...user_code import pair, put, read_only, returned_number
from ..plan import Call, Note

if TYPE_CHECKING:
    from ..lower import Lowering

__all__ = ["add_penalties"]


def add_penalties(to: Lowering, *, learning: bool) -> None:
    """Add the values, summed up in chunks and then into the loss; with `learning`, slopes too, which must be finite."""
    regularizers = to.memory.regularizers
    if not regularizers:
        return
    to.index = NONE
    found = {
        key: execution_of(regularizer, to.dtype, to.memory.parameters[key].shape)
        for key, regularizer in regularizers.items()
    }
    _add_compiled(to, {key: one.kernel for key, one in found.items() if one.kernel is not None}, learning)
    foreign = {key: one.reason for key, one in found.items() if one.kernel is None}
    if foreign:
        to.checked -= set(foreign)
        named = ", ".join(f"{regularizers[key]!r} of {key}" for key in foreign)
        why = "; ".join(dict.fromkeys(str(reason) for reason in foreign.values()))
        slopes = to.trainable if learning else frozenset()
        to.emit_python(_call(list(foreign), slopes), Note(python=named, reason=why))
        to.python += [f"regularizer {regularizers[key]!r} of {key} ({reason})" for key, reason in foreign.items()]


def _add_compiled(to: Lowering, found: dict[str, KernelSpec], learning: bool) -> None:
    sizes = {key: to.memory.parameters[key].size for key in found}
    chunks = {key: -(-size // PENALTY_CHUNK) for key, size in sizes.items()}
    double = np.dtype(np.float64).itemsize // to.dtype.itemsize  # sums are in double
    sums = first = to.allocate(sum(chunks.values()) * double)
    last = next(reversed(found), None)
    for key, one in found.items():
        to.emit(
            "penalty",
            Note((sizes[key],), (f"{to.memory.regularizers[key]!r} of {key}",)),
            layer=to.layer_of(key),
            parameter=to.array(key),
            sums=first,
            size=sizes[key],
            learning=learning and key in to.trainable,
            program=to.load(one.program if learning and key in to.trainable else one.value),
            scale=one.scale,
            cost=2 * one.operations * sizes[key],
            barrier=key == last,
        )
        first += double * chunks[key]
    if found:
        to.checked |= set(found)
        n = sum(chunks.values())
        to.emit("penalty_sum", Note((n,)), sums=sums, n=n, shift=sum(one.shift for one in found.values()))


def _call(keys: list[str], learning: frozenset[str]) -> Call:
    """Return what adds penalties of some parameters to the loss, and of those that learn to the gradients."""

    def call(executable: Any, batch: int) -> None:
        for key in keys:
            regularizer, w = executable.arenas.regularizers[key], executable.arenas.parameters[key]
            what = f"regularizer {regularizer!r} of {key}"
            with np.errstate(all="ignore"):
                answer = regularizer.value_and_gradient(read_only(w))
            penalty, slope = pair(answer, what, "value, gradient")
            value = returned_number(penalty, f"{what}, value")
            executable.watch(what, None, {"value": value}, [w])
            executable.run.loss += executable.run.weight * value
            if key in learning:
                slopes = np.empty_like(w)
                put(slopes, slope, f"{what}, gradient")
                executable.watch(what, None, {"gradient": slopes}, [w])
                executable.gradients[key] += slopes

    return call
