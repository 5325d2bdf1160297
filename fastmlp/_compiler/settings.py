"""``Settings``: what a plan is lowered from, as it is set at one time; equal settings, equal plans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from .. import losses
from ..sweeps import sweep_of

if TYPE_CHECKING:
    from ..optimizers import Optimizer
    from .compiled import Compiled

__all__ = ["Settings"]


class Settings(NamedTuple):
    """What plans depend on.

    Attributes
    ----------
    update : object
        How the optimizer runs; None in Python.
    reductions : tuple
        How a loss without a kernel and the regularizers run, the loss first.
    by_kernel : bool
        Whether the loss has a kernel.
    """

    update: Any
    reductions: tuple[Any, ...]
    by_kernel: bool

    @staticmethod
    def update_of(optimizer: Optimizer | None) -> Any:
        """Return how an optimizer runs in plans; None in Python."""
        return None if optimizer is None else sweep_of(optimizer)

    @classmethod
    def of(cls, compiled: Compiled) -> Settings:
        """Return what is set now."""
        memory, loss = compiled.memory, compiled.loss
        update = cls.update_of(compiled.optimizer)
        by_kernel = loss is None or losses.kernel_of(loss) is not None
        if by_kernel and not memory.regularizers:
            return cls(update, (), by_kernel)
        from ..reductions import loss_reduction, penalty_reduction  # built-ins with kernels never need it

        found = [
            penalty_reduction(regularizer, compiled.dtype, memory.parameters[key].shape)
            for key, regularizer in memory.regularizers.items()
        ]
        if loss is not None and not by_kernel:
            found.insert(0, loss_reduction(loss, compiled.dtype, compiled.units))
        return cls(update, tuple(found), by_kernel)

    @property
    def loss_runs_in_python(self) -> bool:
        """Whether NumPy computes the loss at every step."""
        return not self.by_kernel and self.reductions[0].program is None

    @property
    def penalties(self) -> tuple[Any, ...]:
        """How each regularizer runs."""
        return self.reductions if self.by_kernel else self.reductions[1:]


