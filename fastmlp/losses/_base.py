"""``Loss``: value and gradient together, in NumPy; how it runs in a network follows from that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..configurable import Configurable
from ..registry import losses as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray


ACCURACIES = ("sparse", "categorical", "binary", "signs", "shape")


class Loss(Configurable):
    """Base of all losses.

    A subclass writes `value_and_gradient`. If the value is a sum or mean of elementwise terms over the outputs,
    ``.sum(axis=1)`` at the end, and the gradient is elementwise, it is traced and runs compiled; anything else runs
    in NumPy at every step.

    Attributes
    ----------
    labels : bool
        Whether the target of a row is one integer, the number of a class.
    probabilities : bool or None
        True: predictions must be probabilities (the last activation's trait ``output``). False: they must be none, but
        logits or margins, of which those above 0 say yes. None: either.
    accuracy : str
        What the metric ``"accuracy"`` means beside this loss, and so what targets are. ``"sparse"``, ``"categorical"``:
        a row has one class, given by its number or as a row of probabilities that sum to 1; then the last activation,
        if predictions must be probabilities, is one over whole rows, such as softmax. ``"binary"``: each output is a
        yes-or-no answer by itself, with a probability as target; then it is one such as sigmoid. ``"signs"``: the same
        for margins, whose targets may be negative. ``"shape"``: categorical for several outputs, binary for one.
    recordable : bool
        Whether `value_and_gradient` does the same at each call, so that it can be traced once.
    """

    labels: bool = False
    probabilities: bool | None = None
    accuracy: str = "shape"
    recordable: bool = True

    @property
    def target_probabilities(self) -> bool:
        """Whether targets are rows of probabilities, in [0, 1]."""
        return self.accuracy in ("binary", "categorical")

    @property
    def target_range(self) -> tuple[float, float] | None:
        """The least and the largest number that a target may be, where the loss is not defined for any number."""
        return (0.0, 1.0) if self.target_probabilities else None

    def target_units(self, units: int) -> int:
        """Return how many targets a row has beside so many outputs: as many, unless a loss says otherwise.

        A ValueError refuses a number of outputs that the loss can't take. A loss with fewer targets than outputs runs
        in NumPy.
        """
        return units

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the loss of each row ``(batch,)`` and its gradient by the predictions ``(batch, units)``.

        `y_true` is ``(batch, target_units(units))``, or ``(batch,)`` integers where `labels` is set.
        """
        raise NotImplementedError(f"{type(self).__qualname__} has no value_and_gradient(self, y_true, y_pred)")

    def check_traits(self) -> None:
        """Check what a class says of itself; ValueError."""
        if self.accuracy not in ACCURACIES:
            raise ValueError(f"{self!r}: accuracy: expected one of {', '.join(ACCURACIES)}, got {self.accuracy!r}")
        if self.probabilities not in (True, False, None):
            raise ValueError(f"{self!r}: probabilities: expected True, False or None, got {self.probabilities!r}")

    def accuracy_of(self, units: int) -> str:
        """Return what accuracy counts of so many outputs, by what they mean.

        ``"sparse"`` and ``"categorical"``: the largest output. ``"binary"``: the side of 0.5 on which an output lies.
        ``"signs"``: the side of 0, for logits and margins.
        """
        kind = self.accuracy
        if kind == "shape":
            kind = "categorical" if units > 1 else "binary"
        return "signs" if kind == "binary" and self.probabilities is False else kind


registry.base = Loss
