"""Constraints: what parameters become after the update of a step, in NumPy, before anything of the step is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import NonFiniteError
from ...user_code import Words, all_finite, read_only, returned
from ..plan import Call, Note

if TYPE_CHECKING:
    from ...constraints import Constraint
    from ..lower import Lowering

__all__ = ["add_constraints"]


def add_constraints(to: Lowering) -> None:
    """Add what constrains parameters that are learned; to be called behind their update."""
    constraints = {key: one for key, one in to.memory.constraints.items() if key in to.trainable}
    if constraints:
        named = ", ".join(f"{one!r} of {key}" for key, one in constraints.items())
        size = sum(to.memory.parameters[key].size for key in constraints)
        to.emit_python(_call(list(constraints)), Note((size,), python=named))
        to.python += [f"constraint {one!r} of {key}" for key, one in constraints.items()]


def _named(constraint: Constraint, key: str) -> Words:
    return Words(lambda: f"constraint {constraint!r} of {key}")


def _call(keys: list[str]) -> Call:
    def call(executable: Any, batch: int) -> None:
        for key in keys:
            constraint, w = executable.arenas.constraints[key], executable.updated(key)
            if not all_finite(w):
                continue  # of the update, which is told by an error of its own
            what = _named(constraint, key)
            with np.errstate(all="ignore"):
                value = returned(constraint(read_only(w)), what, w.shape).astype(w.dtype)
            if not all_finite(value):
                step = executable.step + 1
                raise NonFiniteError(
                    f"NaN or infinity from {what} at step {step}, although all its inputs are finite; the network is "
                    "unchanged by this step",
                    layer=key.rpartition(".")[0],
                    step=step,
                )
            w[...] = value

    return call
