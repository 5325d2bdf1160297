"""``Activation``: forward and derivative together, in NumPy; how it runs in a network follows from that."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any

import numpy as np

from .._tracing.trainable import Learned
from ..configurable import Configurable
from ..registry import activations as registry
from ..user_code import returned

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._tracing.native import NativeKernel


class Activation(Configurable):
    """Base of all activations ``a = g(z)``.

    A subclass writes `forward`. If that can be traced, it runs compiled, and needs no more; where it can't be, it has
    `derivative` too, or, if it is not elementwise, `backward`.

    Attributes
    ----------
    initializer : str
        What a layer before this activation takes when it is given none.
    elementwise : bool
        Whether element i of the result depends on element i of the argument alone. If not, whole rows come in.
    recordable : bool
        Whether `forward`, `derivative` and `backward` do the same at each call, so that they can be traced once; if
        not, NumPy runs them at every step.
    output : str or None
        ``"probabilities"`` where the values of a row are probabilities: yes-or-no answers each by itself where it is
        elementwise (sigmoid), else of classes, which sum to 1 (softmax). Losses of probabilities ask for it, losses of
        logits refuse it. ``"log_probabilities"`` where they are the logarithms of such (log softmax, log sigmoid).
    native : NativeKernel or None
        Compiled functions that do the same; a subclass that changes `forward` sets its own, or None.
    """

    initializer: str = "lecun_normal"
    elementwise: bool = True
    recordable: bool = True
    output: str | None = None
    native: NativeKernel | None = None

    def _check_change(self, name: str, value: Any) -> None:
        if _learned_in(vars(self)[name]) != _learned_in(value):
            raise AttributeError(
                f"{name} of {self!r} can't become {value!r}: what is learned is settled when a network is built; make "
                "a new activation"
            )

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``g(z)``: a new array of the shape and dtype of `z`, which is read-only."""
        raise NotImplementedError(f"{type(self).__qualname__} has no forward(self, z)")

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``g'(z)``, elementwise; `a` is ``forward(z)``. By default `forward` is traced and differentiated."""
        from ._execution import derivative_in_numpy

        return derivative_in_numpy(self, z)

    def backward(self, z: NDArray[Any], a: NDArray[Any], da: NDArray[Any]) -> NDArray[Any]:
        """Return ``dz``, the gradient of the loss by `z`, from `da`, that by ``a = forward(z)``."""
        slope = returned(self.derivative(z, a), f"derivative of {self!r}", z.shape)
        dz: NDArray[Any] = da * slope
        return dz

    def __call__(self, z: Any) -> NDArray[Any]:
        """Return ``forward`` of anything that NumPy takes as an array of numbers."""
        if not hasattr(z, "__array_function__"):  # what has it is an array, or stands for one while it is traced
            z = np.asarray(z)
        return self.forward(z if z.dtype.kind == "f" else z.astype(np.float64))

    def trainable_parameters(self) -> dict[str, Learned]:
        """Return the parameters that layers train, by the names that they are kept under; see `fastmlp.learned`."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Learned)}

    def with_parameters(self, values: Mapping[str, Any]) -> Activation:
        """Return the same activation with other values in place of trainable parameters."""
        if not values:
            return self
        other = copy(self)
        vars(other).update(values)
        return other


def _learned_in(value: Any) -> list[Learned]:
    """Return the trainable parameters in a setting."""
    parts = value.values() if isinstance(value, Mapping) else [value]
    return [part for part in parts if isinstance(part, Learned)]


registry.base = Activation
