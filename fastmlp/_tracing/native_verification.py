"""Compares native functions with NumPy: values, bits in pieces and in place, memory around."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from ..checks import real_array
from ..errors import PluginError
from .comparison import difference

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .elementwise import Functions
    from .native import NativeKernel

    Array = NDArray[Any]

__all__ = ["compare"]

PIECES = (1, 2, 0, 3, 5, 7, 8, 15, 16, 17, 31, 33, 64)
GUARD = 64  # elements before and after each array; a power of two, so that offsets are what they are called
POINTER, COUNT = ctypes.c_void_p, ctypes.c_ssize_t
FORWARD = ctypes.CFUNCTYPE(None, POINTER, POINTER, COUNT, POINTER)
BACKWARD = ctypes.CFUNCTYPE(None, POINTER, POINTER, POINTER, POINTER, COUNT, POINTER)


def grid(dtype: np.dtype[Any]) -> Array:
    """Return values of z: zeros, tiny, around 0, to +-100 and beyond, NaN; an odd number of them."""
    info = np.finfo(dtype)
    tiny = [0.0, float(info.smallest_subnormal) * 1000, float(info.tiny), 1e-30, 1e-12, 1e-6, 1e-3, 500.0, 1e3, 1e4]
    half = np.concatenate([tiny, np.linspace(0.0, 8.0, 257)[1:], np.linspace(8.0, 100.0, 185)[1:]])
    return np.concatenate([half, -half, [np.nan]]).astype(dtype)


class Numpy:
    """What the functions in NumPy give for a grid, and how far a rounding of z moves it."""

    def __init__(self, functions: Functions, z: Array, da: Array) -> None:
        self.functions = functions
        a, dz = self.evaluate(z, da)
        wide, wide_dz = self.evaluate(z.astype(np.float64), da.astype(np.float64))
        self.a = np.where(np.isfinite(a), a, wide.astype(z.dtype))
        self.dz = np.where(np.isfinite(dz), dz, wide_dz.astype(z.dtype))
        self.decided = np.isfinite(wide)
        self.decided_dz = np.isfinite(wide_dz) & np.isfinite(self.a)
        self.propagates = bool(np.isnan(a[np.isnan(z)]).all())
        step = 4 * np.finfo(z.dtype).eps
        sides = [self.evaluate(z * z.dtype.type(factor), da) for factor in (1 - step, 1 + step)]
        # At a jump one side moves and the other doesn't: which of them z itself belongs to must agree.
        self.spread = np.nan_to_num(np.minimum(*(np.abs(side - self.a) for side, _ in sides)), posinf=0.0)
        self.spread_dz = np.nan_to_num(np.minimum(*(np.abs(side - self.dz) for _, side in sides)), posinf=0.0)

    def evaluate(self, z: Array, da: Array) -> tuple[Array, Array]:
        """Return ``forward(z)`` and ``backward(z, a, da)``."""
        a = self.checked("forward", self.functions.forward, z)
        return a, self.checked("backward", self.functions.backward, z, a, da)

    def checked(self, part: str, method: Callable[..., Any], *arrays: Array) -> Array:
        """Return what a method gives, in shape and dtype of `arrays`, which are read-only to it."""
        for array in arrays:
            array.flags.writeable = False
        try:
            value = method(*arrays)
        except NotImplementedError as error:
            raise TypeError(
                f"{self.functions.owner!r} has a native kernel but no {part} in NumPy to compare it with ({error}); "
                "write it beside the kernel"
            ) from error
        result = real_array(f"{self.functions.owner!r}: {part} in NumPy", value)
        if result.shape != arrays[0].shape:
            raise ValueError(
                f"{self.functions.owner!r}: {part} in NumPy: expected shape {arrays[0].shape}, got {result.shape}"
            )
        return result.astype(arrays[0].dtype)


class Padded:
    """A copy of some values between guards; `offset` elements from where an allocation begins."""

    def __init__(self, values: Array, offset: int) -> None:
        self.values = values
        self.block = np.full(values.size + 2 * GUARD + offset, 7.25, values.dtype)
        self.view = self.block[GUARD + offset : GUARD + offset + values.size]
        self.view[:] = values

    @property
    def pointer(self) -> int:
        return int(self.view.ctypes.data)

    def guarded(self) -> bool:
        """Return whether nothing beside the values was written."""
        beside = np.ones(self.block.size, bool)
        first = (self.pointer - int(self.block.ctypes.data)) // self.block.itemsize
        beside[first : first + self.values.size] = False
        return bool((self.block[beside] == 7.25).all())

    def unchanged(self) -> bool:
        return self.guarded() and self.view.tobytes() == self.values.tobytes()


class Native:
    """One function of a kernel, called as the plan may call it."""

    def __init__(
        self,
        owner: object,
        part: str,
        address: int,
        params: Array,
        inputs: dict[str, Array],
        distribution: Callable[[], str | None],
    ) -> None:
        self.part, self.params, self.inputs, self.distribution = part, params, inputs, distribution
        self.function = (FORWARD if part == "forward" else BACKWARD)(address)
        self.dtype = inputs["z"].dtype
        self.name = f"{part} of the native kernel of {owner!r} in {self.dtype.name}"

    def fail(self, problem: str) -> NoReturn:
        """Raise a PluginError that names the function and the distribution that it comes from."""
        distribution = self.distribution()
        owner = f" (distribution {distribution})" if distribution else ""
        raise PluginError(f"{self.name}{owner}: {problem}", distribution=distribution)

    def call(self, piece: slice, offset: int, in_place: bool) -> Array:
        """Return the output for a piece of the grid; fail if anything else has changed."""
        arrays = {name: Padded(values[piece], offset + at) for at, (name, values) in enumerate(self.inputs.items())}
        last = list(arrays)[-1]
        n = arrays["z"].values.size
        out = arrays[last] if in_place else Padded(np.full(n, 3.5, self.dtype), offset)
        # No parameters: no pointer.
        params = self.params.ctypes.data if self.params.size else None
        self.function(*(array.pointer for array in arrays.values()), out.pointer, n, params)
        how = f"called with n = {n}, {'in place' if in_place else 'not in place'},"
        if not out.guarded():
            self.fail(f"{how} it wrote beside the {n} elements of its output; write out[0] to out[n - 1] only")
        for name, array in arrays.items():
            if array is not out and not array.unchanged():
                self.fail(f"{how} it changed its input {name}; write to the output only")
        return out.view.copy()

    def in_pieces(self, in_place: bool) -> Array:
        results = [self.call(piece, at % 8, in_place) for at, piece in enumerate(pieces(self.inputs["z"].size))]
        return np.concatenate(results)

    def same_bits(self, whole: Array, in_place: bool) -> None:
        """Check that an element has its bits wherever it stands."""
        again = self.in_pieces(in_place)
        bits = np.dtype(f"u{self.dtype.itemsize}")
        differs = (whole.view(bits) != again.view(bits)) & ~(np.isnan(whole) & np.isnan(again))
        if differs.any():
            at = int(differs.argmax())
            how = "computed in place" if in_place else "in a shorter array, or at another place in it,"
            remedy = "read an element before writing it" if in_place else "compile without -ffast-math or fastmath=True"
            self.fail(
                f"at {self.place(at)} it gives {again[at]!s} {how} and {whole[at]!s} otherwise; each element must have "
                f"the same bits in both: {remedy}"
            )

    def place(self, at: int) -> str:
        return ", ".join(f"{name} = {values[at]!s}" for name, values in self.inputs.items())

    def close(self, got: Array, wanted: Array, spread: Array, decided: Array) -> None:
        """Check that values are those of NumPy, up to roundings."""
        largest = np.max([np.ones(got.size), *(np.abs(each) for each in (*self.inputs.values(), wanted))], axis=0)
        expected = [np.where(decided, side, np.inf) for side in (wanted, wanted - spread, wanted + spread)]
        beyond = decided & np.isinf(wanted) & (got != wanted)  # of float32; in float64 NumPy gives a number
        wrong = difference(got, expected, largest, self.inputs, self.dtype, beyond)
        if wrong is not None:
            self.fail(
                f"at {wrong.point} it gives {wrong.found}, and {self.part} in NumPy {wrong.expected} "
                f"({wrong.points} of {got.size} values differ); correct one of them "
                "(a subclass that changes forward or derivative sets a native of its own, or None)"
            )


def pieces(n: int) -> Iterator[slice]:
    """Give slices of many lengths that follow each other from 0 to `n`."""
    start, turn = 0, 0
    while start < n:
        length = min(PIECES[turn % len(PIECES)], n - start)
        yield slice(start, start + length)
        start, turn = start + length, turn + 1


def compare(
    kernel: NativeKernel,
    functions: Functions,
    dtype: np.dtype[Any],
    distribution: Callable[[], str | None],
) -> None:
    """Raise a PluginError if the functions of `kernel` for `dtype` aren't what `functions` do in NumPy."""
    forward_at, backward_at = kernel.addresses(dtype)
    params, owner = kernel.values(functions.owner), functions.owner
    z = grid(dtype)
    da = np.resize(np.array([1.0, -0.5, 2.0, -3.0, 0.25], dtype), z.shape)
    with np.errstate(all="ignore"):
        numpy = Numpy(functions, z, da)
        forward = Native(owner, "forward", forward_at, params, {"z": z}, distribution)
        a = forward.call(slice(None), 1, in_place=False)
        forward.close(a, numpy.a, numpy.spread, numpy.decided)
        if numpy.propagates and not np.isnan(a[np.isnan(z)]).all():
            forward.fail(f"at z = nan it gives {a[np.isnan(z)][0]!s}, and forward in NumPy nan; let NaN through")
        inputs = {"z": z, "a": numpy.a, "da": da}
        backward = Native(owner, "backward", backward_at, params, inputs, distribution)
        dz = backward.call(slice(None), 1, in_place=False)
        backward.close(dz, numpy.dz, numpy.spread_dz, numpy.decided_dz)
        for native, whole in ((forward, a), (backward, dz)):
            for in_place in (False, True):
                native.same_bits(whole, in_place)
