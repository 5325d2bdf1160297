"""``Metric``: what is watched beside the loss, batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..configurable import Configurable, init_parameters
from ..errors import UnknownNameError
from ..registry import metrics as registry
from ..user_code import returned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..losses import Loss


class Metric(Configurable):
    """Base of all metrics: `reset`, then `update` batch by batch, then `result`.

    A subclass that is a weighted mean over rows writes `rows` alone.

    Attributes
    ----------
    labels : bool
        Whether targets may be labels; if not, they must be rows as wide as the outputs.
    name : str or None
        What logs call it; None takes the name that it is registered by, or that of its class.
    better : {"higher", "lower", None}
        Which way is up, for `EarlyStopping(mode="auto")`; None says nothing, so that one has to choose.
    """

    data_attributes: ClassVar[frozenset[str]] = frozenset({"total", "weight"})

    total: float = 0.0
    weight: float = 0.0
    labels: bool = True
    name: str | None = None
    better: str | None = None

    def for_loss(self, loss: Loss, units: int) -> Metric:
        """Return the metric that counts beside a loss, of so many outputs: this one, or one that knows what they mean.

        `loss` tells by ``accuracy_of(units)``. A ValueError refuses a loss whose targets the metric can't take.
        """
        return self

    def reset(self) -> None:
        """Forget what was seen."""
        self.total = self.weight = 0.0

    def rows(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> NDArray[Any]:
        """Return the metric of each row ``(batch,)``."""
        raise NotImplementedError(f"{type(self).__qualname__} has neither rows nor update")

    def update(self, y_true: NDArray[Any], y_pred: NDArray[Any], weight: NDArray[Any] | None) -> None:
        """Take one batch in; `weight` is ``(batch,)`` or None."""
        rows = returned(self.rows(y_true, y_pred), f"rows of metric {self!r}", y_pred.shape[:1])
        values = rows.astype(np.float64, copy=False)
        self.total += float(values.sum() if weight is None else values @ weight)
        self.weight += float(len(values) if weight is None else weight.sum())

    def get_state(self) -> dict[str, Any]:
        """Return what was seen so far, for a training that is killed and goes on: all attributes but the settings.

        A metric that keeps more than numbers, strings, arrays, and lists, tuples and dicts of them writes its own.
        """
        settings = init_parameters(type(self))
        return {name: value for name, value in vars(self).items() if name not in settings}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take what `get_state` returned."""
        for name, value in state.items():
            setattr(self, name, value)

    def result(self) -> float:
        """Return the weighted mean over the rows seen."""
        return self.total / self.weight if self.weight else float("nan")


registry.base = Metric


def metric_name(metric: Metric) -> str:
    """Return a metric's name in logs; an object of the user's own class needs no registered one."""
    return metric.name if isinstance(metric.name, str) else registered_name(metric)


def registered_name(metric: Metric) -> str:
    """Return the name that a metric is registered by, or that of its class."""
    try:
        return registry.identify(metric)
    except UnknownNameError:
        return type(metric).__name__
