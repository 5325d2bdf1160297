"""The loops, compiled by numba for both dtypes; each pair is made once."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numba import types

import fastmlp as fm

# A division by zero is inf, as in NumPy: numba's default, Python's error, keeps loops from becoming vectors, and no
# kernel may raise. No fastmath: with it, the bits of an element may depend on its place in the array.
OPTIONS = {"error_model": "numpy"}
njit = numba.njit(**OPTIONS)


def _compiled(make: Callable[[type], tuple[Any, Any]], params: tuple[str, ...] = ()) -> fm.activations.NativeKernel:
    """The kernel of what `make` returns for a dtype: forward and backward, in Python."""
    pairs = {}
    for scalar, element in ((np.float32, types.float32), (np.float64, types.float64)):
        array, numbers = types.CPointer(element), types.CPointer(types.float64)
        forward, backward = make(scalar)
        pairs[scalar.__name__] = (
            numba.cfunc(types.void(array, array, types.intp, numbers), **OPTIONS)(forward),
            numba.cfunc(types.void(array, array, array, array, types.intp, numbers), **OPTIONS)(backward),
        )
    return fm.activations.NativeKernel(params=params, **pairs)


@cache
def softsign() -> fm.activations.NativeKernel:
    """``a = z / (1 + |z|)``, ``dz = da / (1 + |z|)^2``."""

    def make(T: Any) -> tuple[Any, Any]:
        def forward(z: Any, a: Any, n: int, params: Any) -> None:
            for i in range(n):
                a[i] = z[i] / (T(1) + abs(z[i]))

        def backward(z: Any, a: Any, da: Any, dz: Any, n: int, params: Any) -> None:
            for i in range(n):
                s = T(1) / (T(1) + abs(z[i]))
                dz[i] = da[i] * (s * s)

        return forward, backward

    return _compiled(make)


@cache
def gaussian() -> fm.activations.NativeKernel:
    """``a = e^(-(z / sigma)^2 / 2)``, ``dz = -da a z / sigma^2``, ``params = [sigma]``."""

    def make(T: Any) -> tuple[Any, Any]:
        exp = EXP[T]

        def forward(z: Any, a: Any, n: int, params: Any) -> None:
            scale = T(1 / params[0])
            for i in range(n):
                x = z[i] * scale
                a[i] = exp(T(-0.5) * x * x)

        def backward(z: Any, a: Any, da: Any, dz: Any, n: int, params: Any) -> None:
            scale = T(-1 / (params[0] * params[0]))
            for i in range(n):
                dz[i] = da[i] * (a[i] * (z[i] * scale))

        return forward, backward

    return _compiled(make, params=("sigma",))


# math.exp would be a call for every element; a formula becomes vectors with the loop around it. For x <= 0:
# e^x = 2^k e^r with k = rint(x / log 2), |r| <= log(2) / 2 and the Taylor series of e^r. Adding 1.5 * 2^23 (2^52)
# rounds to an integer, which is then in the low bits of the sum; shifted up, it is the exponent of 2^k. Below the
# smallest normal number the result is 0.


@njit
def _exp_f32(x: Any) -> Any:
    f = np.float32
    clamped = f(-87.0) if x < f(-87.0) else x
    k = f(f(clamped * f(1.4426950408889634)) + f(12582912.0)) - f(12582912.0)
    r = f(clamped - k * f(0.693145751953125)) - k * f(1.42860682030941723212e-6)
    p = f(1 / 5040) * r + f(1 / 720)
    p = p * r + f(1 / 120)
    p = p * r + f(1 / 24)
    p = p * r + f(1 / 6)
    p = p * r + f(0.5)
    power = np.int32(np.float32(k + f(12582912.0 + 127.0)).view(np.int32) << 23).view(np.float32)
    return f(0) if x < f(-87.0) else ((p * r * r + r) + f(1)) * power


@njit
def _exp_f64(x: Any) -> Any:
    clamped = -708.0 if x < -708.0 else x
    k = (clamped * 1.4426950408889634 + 6755399441055744.0) - 6755399441055744.0
    r = (clamped - k * 0.693147180369123816490) - k * 1.90821492927058770002e-10
    p = 1 / 6227020800 * r + 1 / 479001600
    p = p * r + 1 / 39916800
    p = p * r + 1 / 3628800
    p = p * r + 1 / 362880
    p = p * r + 1 / 40320
    p = p * r + 1 / 5040
    p = p * r + 1 / 720
    p = p * r + 1 / 120
    p = p * r + 1 / 24
    p = p * r + 1 / 6
    p = p * r + 0.5
    power = np.int64(np.float64(k + (6755399441055744.0 + 1023.0)).view(np.int64) << 52).view(np.float64)
    return 0.0 if x < -708.0 else ((p * r * r + r) + 1.0) * power


EXP = {np.float32: _exp_f32, np.float64: _exp_f64}
