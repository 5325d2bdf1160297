"""``Loss``: value and gradient together, in NumPy; how it runs in a network follows from that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..configurable import Configurable
from ..registry import losses as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Loss(Configurable):
    """Base of all losses.

    A subclass writes `value_and_gradient`. If the value is a sum or mean of elementwise terms over the outputs,
    ``.sum(axis=1)`` at the end, and the gradient is elementwise, it is traced and runs compiled; anything else runs
    in NumPy at every step.

    Attributes
    ----------
    labels : bool
        Whether the target of a row is one integer, the number of a class.
    probabilities : bool
        Whether predictions must be probabilities (the last activation's trait ``output``).
    accuracy : str
        What the metric ``"accuracy"`` means beside this loss: ``"sparse"``, ``"categorical"``, ``"binary"``, or
        ``"shape"``: categorical for several outputs, binary for one.
    recordable : bool
        Whether `value_and_gradient` does the same at each call, so that it can be traced once.
    """

    labels: bool = False
    probabilities: bool = False
    accuracy: str = "shape"
    recordable: bool = True

    @property
    def target_probabilities(self) -> bool:
        """Whether targets are rows of probabilities, in [0, 1]."""
        return self.accuracy in ("binary", "categorical")

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the loss of each row ``(batch,)`` and its gradient by the predictions ``(batch, units)``.

        `y_true` is ``(batch, units)``, or ``(batch,)`` integers where `labels` is set.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no value_and_gradient(self, y_true, y_pred)")


registry.base = Loss
