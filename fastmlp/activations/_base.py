"""``Activation``: forward and derivative together, in NumPy; how it runs in a network is found out from that."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import real_array
from ..configurable import Configurable
from ..learnable import Learned
from ..native import NativeKernel
from ..registry import activations as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..layers import Layer


class Kernel(NamedTuple):
    """An activation as the kernels take it: its name there, its two numbers, and what a foreign one consists of."""

    name: str
    slope: float = 0.0
    at_zero: float = 1.0
    handle: Any = None
    reads_z: bool = True  # on the way back, beside a
    operations: int = 4  # passes over the numbers, there and back
    learned: tuple[str, ...] = ()  # parameters that layers learn, in the order of the programs' inputs


class Activation(Configurable):
    """Base of all activations ``a = g(z)``.

    A subclass writes `forward`. If that can be recorded, it runs compiled, and needs no more; where it can't be, it has
    `derivative` too, or, if it is not elementwise, `backward`.

    Attributes
    ----------
    initializer : str
        What a layer before this activation takes when it is given none.
    elementwise : bool
        Whether element i of the result depends on element i of the argument alone. If not, whole rows come in.
    recordable : bool
        Whether `forward`, `derivative` and `backward` do the same at each call, so that they can be recorded once; if
        not, NumPy runs them at every step.
    output : str or None
        ``"probabilities"`` where the values of a row are probabilities; losses of probabilities ask for it.
    native : NativeKernel or None
        Compiled functions that do the same; a subclass that changes `forward` sets its own, or None.
    """

    initializer: str = "lecun_normal"
    elementwise: bool = True
    recordable: bool = True
    output: str | None = None
    native: NativeKernel | None = None

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        """Return ``g(z)``: a new array of the shape and dtype of `z`, which is read-only."""
        raise NotImplementedError(f"{type(self).__qualname__} has no forward(self, z)")

    def derivative(self, z: NDArray[Any], a: NDArray[Any]) -> NDArray[Any]:
        """Return ``g'(z)``, elementwise; `a` is ``forward(z)``. By default `forward` is recorded and differentiated."""
        from ..extensions import differentiated

        return differentiated(self, z)

    def backward(self, z: NDArray[Any], a: NDArray[Any], da: NDArray[Any]) -> NDArray[Any]:
        """Return ``dz``, the gradient of the loss by `z`, from `da`, that by ``a = forward(z)``."""
        slope = real_array(f"derivative of {self!r}", self.derivative(z, a))
        if slope.shape != z.shape:
            raise ValueError(f"derivative of {self!r}: expected shape {z.shape}, got {slope.shape}")
        dz: NDArray[Any] = da * slope
        return dz

    def __call__(self, z: Any) -> NDArray[Any]:
        """``forward`` of anything that NumPy takes as an array of numbers."""
        if not hasattr(z, "__array_function__"):  # what has it is an array, or stands for one while it is recorded
            z = np.asarray(z)
        return self.forward(z if z.dtype.kind == "f" else z.astype(np.float64))

    def _learned(self) -> dict[str, Learned]:
        """Parameters that a layer is to learn, by the names that they are kept under."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Learned)}

    def _ask(self, layer: Layer, units: int) -> None:
        """Ask for learned parameters on behalf of a layer of so many units, which is being built."""
        for name, parameter in self._learned().items():
            if name in layer.parameter_specs:
                raise ValueError(
                    f"{self!r}: its learned parameter {name!r} has the name of an array of {type(layer).__name__}; "
                    "rename it"
                )
            shape = (units if parameter.per == "unit" else 1,)
            layer.add_parameter(name, shape, {"name": "constant", "value": parameter.value})
        if self._learned():
            from ..extensions import check_learns, extension_of

            check_learns(self, extension_of(self, np.dtype(np.float64)))

    def _with(self, values: Mapping[str, Any]) -> Activation:
        """The same with other values in place of learned parameters."""
        if not values:
            return self
        other = copy(self)
        vars(other).update(values)
        return other


registry.base = Activation
