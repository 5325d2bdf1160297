"""Native functions instead of a program: `NativeKernel` takes them, `verify` compares them with NumPy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_dtype, check_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from .elementwise import Functions

__all__ = ["NativeKernel", "verify"]


class NativeKernel:
    """Compiled functions of an elementwise activation, run inside the plan by every thread.

    An activation has one in its attribute ``native``, beside `forward` and `derivative` (or `backward`) in NumPy, with
    which the functions are compared before a network uses them.

    Parameters
    ----------
    capsule : PyCapsule, optional
        One capsule ``"fastmlp.activation.v1"`` of the struct in ``fastmlp/activation.h``, instead of pairs.
    float32, float64 : pair of functions, optional
        ``(forward, backward)`` of that dtype, by numba (``cfunc``) or ctypes; ``T`` is float or double::

            void forward(const T *z, T *a, ptrdiff_t n, const double *params)
            void backward(const T *z, const T *a, const T *da, T *dz, ptrdiff_t n, const double *params)

        They get n >= 0 elements, aligned as ``T`` is; ``a`` may be ``z`` and ``dz`` may be ``da``. They are called from
        many threads without the GIL; the bits of an element depend on that element and `params` alone.
    params : tuple of str
        Attributes of the activation that the functions get, as doubles in this order.

    Raises
    ------
    TypeError
        If something else comes, a signature differs (where it can be seen), or a function is a Python callback.
    ValueError
        If a capsule has another name, ABI or size, half of a pair is missing, or a name in `params` stands twice.

    Notes
    -----
    The functions, or the capsule, are kept alive. A copy is the object itself; it can't be pickled, so an activation
    has it as an attribute of its class or as a property.
    """

    def __init__(
        self, capsule: object = None, /, *, float32: Any = None, float64: Any = None, params: Any = ()
    ) -> None:
        from .native_sources import read_capsule, read_pair

        pairs = {"float32": float32, "float64": float64}
        given = [name for name, pair in pairs.items() if pair is not None]
        if (capsule is None) == (not given):
            came = f"a capsule and {' and '.join(given)}" if given else "nothing"
            raise TypeError(f"NativeKernel: expected one capsule, or pairs float32=, float64=; got {came}")
        self.params = _names(params)
        self._owners = (capsule, float32, float64)
        if given:
            self._addresses = {name: read_pair(pairs[name], name) for name in given}
        else:
            self._addresses = read_capsule(capsule)
        self._verified: set[tuple[object, ...]] = set()

    @property
    def dtypes(self) -> tuple[str, ...]:
        """Names of the dtypes that have functions."""
        return tuple(self._addresses)

    def addresses(self, dtype: Any) -> tuple[int, int]:
        """Return where forward and backward for `dtype` begin; a TypeError if there are none."""
        name = check_dtype(dtype).name
        if name not in self._addresses:
            raise TypeError(
                f"{self!r} has no functions for {name}; make the network with dtype={self.dtypes[0]!r}, or give the "
                f"kernel {name}=(forward, backward)"
            )
        return self._addresses[name]

    def values(self, owner: object) -> NDArray[np.float64]:
        """Return the attributes of an activation that the functions get, in the order of `params`, float64.

        Raises
        ------
        AttributeError
            If it has no attribute of that name.
        TypeError, ValueError
            If one isn't a real number; if it isn't finite.
        """
        numbers = []
        for name in self.params:
            try:
                value = getattr(owner, name)
            except AttributeError:
                raise AttributeError(
                    f"{owner!r}: its native kernel takes {name!r}, but it has no such attribute; keep it "
                    f"(self.{name} = {name}), or change params={self.params}"
                ) from None
            numbers.append(check_number(f"{owner!r}: {name}, a parameter of its native kernel", value))
        return np.array(numbers, np.float64)

    def __repr__(self) -> str:
        return f"<NativeKernel of {' and '.join(self.dtypes)}, params={self.params}>"

    def __copy__(self) -> NativeKernel:
        return self

    def __deepcopy__(self, memo: object) -> NativeKernel:
        return self

    def __reduce__(self) -> Any:
        raise TypeError(
            "a NativeKernel holds addresses of this process and can't be pickled; make it an attribute of the "
            "activation's class, or a property, not of the instance"
        )


def _names(params: Any) -> tuple[str, ...]:
    if isinstance(params, str):
        raise TypeError(f"params: expected a tuple of names, got {params!r}; write ({params!r},)")
    names = tuple(params) if isinstance(params, (tuple, list)) else (params,)
    if not all(isinstance(name, str) for name in names):
        raise TypeError(f"params: expected a tuple of names, got {params!r}")
    if len(set(names)) < len(names):
        raise ValueError(f"params: each name once, got {params!r}")
    return names


def verify(kernel: NativeKernel, functions: Functions, dtype: Any, distribution: Callable[[], str | None]) -> None:
    """Compare a native kernel with functions in NumPy; once per class, configuration and dtype.

    Both functions run on a grid from -1e4 to 1e4 with zeros, subnormal and tiny values and NaN: whole and in pieces of
    many lengths (0 and 1 too), at any offset, in place and not.

    Parameters
    ----------
    kernel : NativeKernel
    functions : Functions
        The same in NumPy; the kernel gets attributes of their owner, which has a ``get_config()``.
    dtype : {"float32", "float64"}
        Of the functions, and of the arrays that NumPy gets.
    distribution : callable
        Tells which installed distribution the object comes from, if it does, for messages.

    Raises
    ------
    PluginError
        If a value differs from NumPy's by more than 1e-5 (float32) or 1e-12 (float64) of the largest of 1, z, a, da and
        dz, beyond what four roundings of z explain; if bits of an element depend on its place; if inputs or memory
        outside of the output are changed; if NaN doesn't come out as NaN. It says which function, at which z, what came
        and what NumPy gave.
    TypeError, ValueError, AttributeError
        As `NativeKernel.addresses` and `NativeKernel.values`; a TypeError if there is no NumPy form.

    Notes
    -----
    Where NumPy's own result isn't finite, float64 decides; where that isn't finite either, nothing is compared.
    """
    dtype, owner = check_dtype(dtype), functions.owner
    key = (type(owner), repr(owner.get_config()), kernel.values(owner).tobytes(), dtype.name)
    if key in kernel._verified:
        return
    from .native_verification import compare

    compare(kernel, functions, dtype, distribution)
    kernel._verified.add(key)
