"""How an activation runs: by a kernel of ours, native functions, a traced program, or in Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._tracing.execution import Execution, in_python
from ..errors import UnknownNameError
from ..registry import activations as registry
from ._base import Activation
from ._builtin import Cos, Exponential, Identity, LeakyReLU, ReLU, Sigmoid, Sin, Softmax, Tanh

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .._tracing.elementwise import Functions, Made
    from .._tracing.native import NativeKernel

__all__ = [
    "KernelSpec",
    "builtin_kernel",
    "check_trainable",
    "derivative_in_numpy",
    "execution_of",
    "native_of",
    "verify",
]


class KernelSpec(NamedTuple):
    """An activation as the kernels take it.

    Attributes
    ----------
    name : str
        What the kernels call it; ``"extension"`` for programs and native functions.
    alpha, at_zero : float
        Its two numbers.
    extension : object
        Programs or native functions in memory, which must live as long as a plan points to them.
    reads_z : bool
        Whether the way back needs z, beside a.
    operations : int
        Passes over the numbers, forward and backward.
    parameters : tuple of str
        Trainable parameters, in the order of the programs' inputs behind the others; the way back gives their
        derivatives behind dz.
    """

    name: str
    alpha: float = 0.0
    at_zero: float = 1.0
    extension: Any = None
    reads_z: bool = True
    operations: int = 4
    parameters: tuple[str, ...] = ()


BUILTIN: dict[type[Activation], str] = {
    Identity: "identity",
    ReLU: "relu",
    LeakyReLU: "leaky_relu",
    Sigmoid: "sigmoid",
    Tanh: "tanh",
    Exponential: "exponential",
    Sin: "sin",
    Cos: "cos",
    Softmax: "softmax",
}
DERIVED_FROM_A = ("sigmoid", "tanh", "exponential")  # whose derivative needs their value alone: z is not kept


def builtin_kernel(activation: Activation) -> KernelSpec | None:
    """Return the kernel of a built-in, None for any other class (a subclass of a built-in may have changed it)."""
    name = BUILTIN.get(type(activation))
    if name is None:
        return None
    alpha, at_zero = getattr(activation, "alpha", 0.0), getattr(activation, "at_zero", 1.0)
    return KernelSpec(name, alpha, at_zero, reads_z=name not in DERIVED_FROM_A)


def execution_of(activation: Activation, dtype: Any) -> Execution[KernelSpec]:
    """Return how `activation` runs in a network of `dtype`.

    Raises
    ------
    PluginError
        If it has a native kernel that doesn't do what its NumPy form does, or none for `dtype`.
    """
    builtin = builtin_kernel(activation)
    if builtin is not None:
        return Execution("builtin", builtin)
    dtype = np.dtype(dtype)
    kernel = native_of(activation)
    if kernel is None:
        return _traced(activation, dtype)
    if activation.trainable_parameters():
        return in_python("its native kernel takes no learned parameters; set native = None")
    return _native(activation, kernel, dtype)


def check_trainable(activation: Activation, execution: Execution[KernelSpec]) -> None:
    """Refuse an activation with trainable parameters that would run in Python, where they would be constants."""
    if execution.mode == "python" and activation.trainable_parameters():
        raise TypeError(
            f"parameters of activation {activation!r} can't be learned, since it can't be traced ({execution.reason})"
        )


# -- traced ----------------------------------------------------------------------------------------------------------


def _traced(activation: Activation, dtype: np.dtype[Any]) -> Execution[KernelSpec]:
    from .._tracing.cache import entered
    from .._tracing.elementwise import traced
    from .._tracing.symbols import Untraceable

    if not activation.elementwise:
        return in_python("it works on whole rows (elementwise = False)")
    if not activation.recordable:
        return in_python("its class says that it can't be (recordable = False)")
    values = _initial_values(activation)
    try:
        with entered(activation):
            found = traced(type(activation), _maker(activation), values, dtype)
    except Untraceable as reason:
        return in_python(reason)
    spec = KernelSpec(
        "extension",
        extension=found.extension,
        reads_z=found.reads_z,
        operations=found.operations,
        parameters=tuple(values),
    )
    return Execution("traced", spec)


def _initial_values(activation: Activation) -> dict[str, float]:
    """Return the numbers that trainable parameters begin with."""
    return {name: parameter.value for name, parameter in activation.trainable_parameters().items()}


def _maker(activation: Activation) -> Made:
    """Return what makes the functions of an activation with values in place of its trainable parameters."""

    def make(values: Mapping[str, Any]) -> Functions:
        return _functions(activation.with_parameters(values))

    return make


def _functions(activation: Activation) -> Functions:
    from .._tracing.elementwise import Functions

    own = {name for name in ("derivative", "backward") if _overrides(activation, name)}
    return Functions(
        activation.forward,
        activation.backward,
        activation.derivative if "derivative" in own else None,
        "backward" in own,
        activation,
    )


def _overrides(activation: Activation, name: str) -> bool:
    return getattr(type(activation), name) is not getattr(Activation, name)


def derivative_in_numpy(activation: Activation, z: NDArray[Any]) -> NDArray[Any]:
    """Return the derivative at `z` of an activation that has none of its own, in NumPy."""
    from .._tracing.elementwise import derivative_in_numpy
    from .._tracing.symbols import Untraceable

    try:
        if not activation.elementwise:
            raise Untraceable("it works on whole rows (elementwise = False)")
        if not activation.recordable:
            raise Untraceable("its class says that it can't be (recordable = False)")
        return derivative_in_numpy(_maker(activation), _initial_values(activation), z)
    except Untraceable as reason:
        raise NotImplementedError(
            f"{type(activation).__qualname__} has neither derivative(self, z, a) nor backward(self, z, a, da), one of "
            f"which training needs, since it can't be differentiated ({reason})"
        ) from None


# -- native ----------------------------------------------------------------------------------------------------------


def native_of(activation: Activation) -> NativeKernel | None:
    """Return the native kernel of an activation, or None.

    Raises
    ------
    TypeError
        If its attribute ``native`` is something else.
    ValueError
        If the activation isn't elementwise.
    """
    from .._tracing.native import NativeKernel

    kernel: Any = activation.native
    if kernel is None:
        return None
    if not isinstance(kernel, NativeKernel):
        raise TypeError(
            f"{activation!r}: native must be a NativeKernel or None, got {type(kernel).__name__}; "
            "write native = fm.activations.NativeKernel(...)"
        )
    if not activation.elementwise:
        raise ValueError(f"{activation!r}: a native kernel is elementwise, but the activation says elementwise = False")
    return kernel


def verify(activation: Activation, dtype: Any) -> None:
    """Compare the native kernel of an activation with its NumPy form; once per class, configuration and dtype.

    Both functions run on a grid from -1e4 to 1e4 with zeros, subnormal and tiny values and NaN: whole and in pieces of
    many lengths (0 and 1 too), at any offset, in place and not. An activation without a native kernel passes.

    Parameters
    ----------
    activation : Activation
        With ``native``, and `forward` and `derivative` or `backward` in NumPy.
    dtype : {"float32", "float64"}
        Of the functions, and of the arrays that NumPy gets.

    Raises
    ------
    PluginError
        If a value differs from NumPy's by more than 1e-5 (float32) or 1e-12 (float64) of the largest of 1, z, a, da and
        dz, beyond what four roundings of z explain; if bits of an element depend on its place; if inputs or memory
        outside of the output are changed; if NaN doesn't come out as NaN. It says which function, at which z, what came
        and what NumPy gave, and `distribution` is that of an installed plugin.
    TypeError, ValueError, AttributeError
        If ``native`` is no NativeKernel, has no functions for `dtype`, or takes a parameter that is no number of the
        activation; a TypeError if there is no NumPy form.

    Notes
    -----
    Where NumPy's own result isn't finite, float64 decides; where that isn't finite either, nothing is compared.
    """
    from .._tracing.native import verify as verify_functions

    kernel = native_of(activation)
    if kernel is not None:
        verify_functions(kernel, _functions(activation), dtype, lambda: _distribution(activation))


def _distribution(activation: Activation) -> str | None:
    """Return the installed distribution that an activation's class comes from, if it does."""
    try:
        return registry.identify(activation).rpartition(":")[0] or None
    except UnknownNameError:
        return None


def _native(activation: Activation, kernel: NativeKernel, dtype: np.dtype[Any]) -> Execution[KernelSpec]:
    from .._tracing.vm import Extension

    verify(activation, dtype)
    forward, backward = kernel.addresses(dtype)
    values = np.asarray(kernel.values(activation), dtype=np.float64).tobytes()
    extension = Extension(None, None, forward, backward, values, kernel)
    return Execution("native", KernelSpec("extension", extension=extension, operations=8))
