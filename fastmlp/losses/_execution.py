"""How a loss runs: by a kernel of ours, a traced program, or in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._tracing.execution import Execution, in_python
from ._base import Loss
from ._classification import BinaryCrossentropy, CategoricalCrossentropy, Crossentropy, SparseCategoricalCrossentropy
from ._focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from ._regression import HalfSquaredError, MeanSquaredError

if TYPE_CHECKING:
    from .._tracing.assembly import Assembled

__all__ = ["KernelSpec", "builtin_kernel", "execution_of", "joint_activation", "of_logits"]


class KernelSpec(NamedTuple):
    """A loss as the kernels take it.

    Attributes
    ----------
    of_output : str
        The kernel on what the last layer gives; ``"program"`` for a traced one.
    of_logits : str or None
        The kernel that takes logits.
    program : Assembled or None
        From target and output to term and slope; the value of a row is ``scale * sum(terms) + shift``.
    scale, shift : float
    """

    of_output: str
    of_logits: str | None = None
    program: Assembled | None = None
    scale: float = 1.0
    shift: float = 0.0

    @property
    def operations(self) -> int:
        """Return the passes over a block."""
        return 0 if self.program is None else len(self.program.code)


BUILTIN: dict[type[Loss], KernelSpec] = {
    HalfSquaredError: KernelSpec("half_squared_error"),
    MeanSquaredError: KernelSpec("mean_squared_error"),
    SparseCategoricalCrossentropy: KernelSpec("sparse_crossentropy", "sparse_softmax_crossentropy"),
    CategoricalCrossentropy: KernelSpec("crossentropy", "softmax_crossentropy"),
    BinaryCrossentropy: KernelSpec("binary_crossentropy", "sigmoid_crossentropy"),
}


JOINT: dict[type[Loss], str] = {  # the activation that goes into a loss, which is then computed from the logits
    SparseCategoricalCrossentropy: "softmax",
    CategoricalCrossentropy: "softmax",
    CategoricalFocalCrossentropy: "softmax",
    BinaryCrossentropy: "sigmoid",
    BinaryFocalCrossentropy: "sigmoid",
}


def builtin_kernel(loss: Loss) -> KernelSpec | None:
    """Return the kernel of a built-in, None for any other class (a subclass of a built-in may have changed it)."""
    if isinstance(loss, Crossentropy) and not loss.plain:
        return None
    return BUILTIN.get(type(loss))


def joint_activation(loss: Loss) -> str | None:
    """Return the last activation that is computed jointly with a loss of its probabilities, by the kernel's name."""
    return None if getattr(loss, "from_logits", False) else JOINT.get(type(loss))


def of_logits(loss: Loss) -> Loss:
    """Return the same loss, of logits."""
    return type(loss).from_config({**loss.get_config(), "from_logits": True})


def execution_of(loss: Loss, dtype: Any, units: int) -> Execution[KernelSpec]:
    """Return how `loss` runs on outputs ``(batch, units)`` of a network of `dtype`; it may be asked at every step."""
    kernel = builtin_kernel(loss)
    if kernel is not None:
        return Execution("builtin", kernel)
    if loss.labels:
        return in_python("its targets are labels")
    if not loss.recordable:
        return in_python("its class says that it can't be (recordable = False)")
    if loss.target_units(units) != units:
        return in_python("it has fewer targets than outputs")
    if JOINT.get(type(loss)) == "softmax":  # of logits or not: both forms of a loss run in the same way
        return in_python("it takes the softmax of whole rows")
    from .._tracing.cache import remembered  # late: built-ins with kernels never need it

    dtype = np.dtype(dtype)
    return remembered(loss, (dtype, units), lambda: _traced(loss, dtype, units))


def _traced(loss: Loss, dtype: np.dtype[Any], units: int) -> Execution[KernelSpec]:
    from .._tracing.row_sums import traced

    found = traced(type(loss), loss.value_and_gradient, dtype, units)
    return Execution("traced", KernelSpec("program", program=found.program, scale=found.scale, shift=found.shift))
