"""Code that can't be traced: each reason, in words that name what the code does."""

import math
import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.activations import execution_of

KEPT = np.ones(3)


def branch(z):
    if z[0] > 0:
        return z
    return -z


def kept_array(z):
    return z * KEPT


def writes_argument(z):
    z *= 2
    return z


def writes_masked_argument(z):
    z[z < 0] = 0
    return z


def other_mask(z):
    a = z.copy()
    a[z < 0] = z[z > 0]
    return a


def whole_into_mask(z):
    a = z.copy()
    a[z < 0] = z * 2
    return a


def two_outputs(z):
    fraction, whole = np.modf(z)
    return fraction + whole


def loop(z):
    return np.array([math.exp(v) for v in z])


def while_loop(z):
    while (abs(z) > 1).any():
        z = z / 2
    return z


def by_index(z):
    a = z.copy()
    a[0] = 0
    return a


REFUSED = {
    "a branch": (lambda z: z if z > 0 else -z, "branches on data"),
    "a branch on an element": (branch, "picks elements by their place"),
    "and": (lambda z: z * (z > 0 and z < 1), "branches on data"),
    "max of Python": (lambda z: max(z, 0), "branches on data"),
    "a chain of comparisons": (lambda z: z * (0 < z < 1), "branches on data"),
    "a while loop": (while_loop, "asks for .any of the array"),
    "a sum": (lambda z: z / np.sum(np.exp(z)), "np.sum is no elementwise operation"),
    "a maximum": (lambda z: np.exp(z - z.max()), "asks for .max of the array"),
    "a mean": (lambda z: z - np.mean(z, axis=-1, keepdims=True), "np.mean is no elementwise operation"),
    "a reduction": (lambda z: z - np.add.reduce(z), "np.add.reduce mixes elements"),
    "an accumulation": (lambda z: np.multiply.accumulate(z), "np.multiply.accumulate mixes elements"),
    "a sort": (lambda z: np.sort(z), "np.sort is no elementwise operation"),
    "a product of matrices": (lambda z: z @ z, "np.matmul is no operation that can be traced"),
    "the shape": (lambda z: z + np.zeros(z.shape), "asks for .shape"),
    "the size": (lambda z: z / z.size, "asks for .size"),
    "the transpose": (lambda z: z.T, "asks for .T"),
    "a new shape": (lambda z: np.reshape(z, -1), "np.reshape is no elementwise operation"),
    "the length": (lambda z: z * len(z), "asks for the length"),
    "random numbers": (lambda z: z + np.random.default_rng(0).normal(size=z.shape), "asks for .shape"),
    "math.exp": (lambda z: math.exp(z), "numbers are asked for \\(float, or a function of math\\)"),
    "int": (lambda z: z * int(z), "numbers are asked for \\(int\\)"),
    "np.asarray": (lambda z: np.asarray(z) * 2, "numbers are asked for \\(np.asarray"),
    "np.array": (lambda z: np.array(z), "numbers are asked for \\(np.asarray"),
    "np.vectorize": (lambda z: np.vectorize(math.exp)(z), "numbers are asked for"),
    "a loop": (loop, "goes through the elements in Python"),
    "an array of constants": (kept_array, "with an array of shape \\(3,\\); a number was expected"),
    "a list": (lambda z: np.add(z, [1.0]), "with list; a number was expected"),
    "complex numbers": (lambda z: z * 1j, "with complex; a number was expected"),
    "None": (lambda z: z * None, "with NoneType; a number was expected"),
    "text": (lambda z: np.where(z > 0, "a", z), "with str; a number was expected"),
    "its argument": (writes_argument, "writes into its argument, which is read-only"),
    "its argument, by a mask": (writes_masked_argument, "writes into its argument, which is read-only"),
    "its argument as out": (lambda z: np.exp(z, out=z), "writes into its argument, which is read-only"),
    "its argument by copyto": (lambda z: np.copyto(z, 0), "writes into its argument, which is read-only"),
    "an array of its own": (lambda z: np.exp(z, out=KEPT), "writes into an array that it made or kept itself"),
    "an array of its own by copyto": (lambda z: np.copyto(KEPT, z), "writes into an array that it made or kept itself"),
    "another mask": (other_mask, "not picked by the same condition"),
    "a whole array by a mask": (whole_into_mask, "not picked by the same condition"),
    "two masks at once": (lambda z: z[z > 0] + z[z < 0], "combines elements picked by different conditions"),
    "picked twice": (lambda z: z[z > 0][z > 0], "picks elements of picked elements"),
    "an element": (by_index, "picks elements by their place"),
    "a slice": (lambda z: z[1:], "picks elements by their place"),
    "where alone": (lambda z: np.where(z > 0), "np.where with a condition alone"),
    "where of a setting": (lambda z: np.where(True, z, -z), "a condition that doesn't depend on the argument"),
    "where=": (lambda z: np.exp(z, where=z > 0), "np.exp with where"),
    "clip, where=": (lambda z: np.clip(z, 0, 1, where=z > 0), "np.clip with where"),
    "dtype=": (lambda z: np.add(z, 1, dtype=np.float64), "np.add with dtype"),
    "integers": (lambda z: z.astype(np.int64) * 1.0, "converts to int64"),
    "a function in float64": (lambda z: np.float_power(np.abs(z), 2), "computes in float64"),
    "an array of integers": (lambda z: np.zeros_like(z, dtype=int) + z, "makes an array of int64"),
    "truths of numbers": (lambda z: z.astype(bool) * z, "converts to bool"),
    "a sum of truths": (lambda z: ((z > 0) + (z < 1)) * z, "np.add of truth values"),
    "bits of numbers": (lambda z: (z & 1) * z, "np.bitwise_and is no operation"),
    "an unknown function": (lambda z: np.cbrt(z), "np.cbrt is no operation that can be traced"),
    "two outputs": (two_outputs, "np.modf is no operation that can be traced"),
    "a number": (lambda z: 1.0, "it returns float, not an array made of its argument"),
    "another array": (lambda z: KEPT, "it returns ndarray, not an array made of its argument"),
    "nothing": (lambda z: None, "it returns NoneType"),
    "truth values": (lambda z: z > 0, "it returns truth values"),
    "an error": (lambda z: [][0], "IndexError: list index out of range"),
    "a part": (lambda z: z[z > 0], "in NumPy, it returns float64 .* for float64"),
    "too much": (lambda z: sum(np.sin(z * k) for k in range(400)), "more than 1000 operations"),
    "too many constants": (lambda z: sum(np.sin(z * k) for k in range(2, 80)), "a program of .* beyond"),
}


def activation(forward, **methods):
    return type("Made", (fm.activations.Activation,), {"forward": lambda self, z: forward(z), **methods})()


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_the_reason(name):
    function, reason = REFUSED[name]
    found = execution_of(activation(function), np.dtype("f8"))
    assert found.mode == "python" and found.kernel is None
    assert re.search(f"^(forward: .*)?{reason}", found.reason), found.reason
    assert KEPT.tolist() == [1, 1, 1]


def test_the_way_back_is_named():
    """Not forward: whoever reads the reason finds the line."""
    for name in ("derivative", "backward"):
        broken = activation(np.sin, **{name: lambda self, *arrays: np.asarray(arrays[0])})
        assert execution_of(broken, np.dtype("f8")).reason.startswith(f"{name}: its numbers are asked for")


def test_too_long_a_derivative():
    """Forward alone has room, with its derivative it hasn't: it runs in Python, where it says what is missing."""

    def forward(z):
        for _ in range(450):
            z = np.sin(z)
        return z

    assert execution_of(activation(forward), np.dtype("f8")).reason == "more than 1000 operations"


class Remembers(fm.activations.Activation):
    """Adds what it saw first."""

    first = None

    def forward(self, z):
        if self.first is None:
            self.first = z
        return z + self.first


class Counts(fm.activations.Activation):
    """Another number at each call; NaN differs from nothing."""

    calls = 0

    def forward(self, z):
        self.calls += 1
        return np.where(z < 0, float("nan"), z * self.calls)


class Alternates(fm.activations.Activation):
    """Does the same, and returns another part of it."""

    calls = 0

    def forward(self, z):
        self.calls += 1
        return (np.sin(z), np.cos(z))[self.calls % 2]

    def derivative(self, z, a):
        return np.cos(z)


class Noisy(fm.activations.Activation):
    def forward(self, z):
        return z * float(np.random.default_rng().normal())


def test_what_differs_from_call_to_call():
    assert execution_of(Remembers(), np.dtype("f8")).reason == "forward: it keeps an array from another call"
    for cls in (Counts, Alternates, Noisy):
        assert execution_of(cls(), np.dtype("f8")).reason == "two calls do different things"
    assert execution_of(activation(lambda z: np.where(z > 9, float("nan"), z)), np.dtype("f8")).mode == "traced"


def test_what_only_numpy_can_tell():
    """Tracing sees nothing, the comparison does."""
    cases = {
        "ValueError: operands could not be broadcast": lambda z: np.where(z < 0, z[z < 0], 1),
        "ValueError: output array is read-only": lambda z: np.sin(z, out=z.astype(z.dtype, copy=False)),
        "it returns int64 .* for float64": lambda z: np.where(z > 0, 1, 0) * 1,
    }
    for reason, forward in cases.items():
        found = execution_of(activation(forward), np.dtype("f8"))
        assert found.mode == "python" and re.search(f"^forward: in NumPy, {reason}", found.reason), found.reason


def test_promotion_to_float64():
    """Where float32 is too coarse, what NumPy computed in float64 is not traced in float32."""

    def forward(z):
        wide = z.astype(np.float64) + 1e-30
        return ((1 - np.cos(wide)) / wide**2).astype(z.dtype)

    def harmless(z):
        return (z.astype(np.float64) * 2).astype(z.dtype)

    narrow = execution_of(activation(forward), np.dtype("f4"))
    assert re.search("^forward: traced, it gives .* at z = .*, where NumPy gives ", narrow.reason)
    assert execution_of(activation(harmless), np.dtype("f4")).mode == "traced"


def test_said_by_the_class():
    assert execution_of(activation(np.sin, recordable=False), np.dtype("f8")).reason.endswith("(recordable = False)")
    assert execution_of(activation(np.sin, elementwise=False), np.dtype("f8")).reason.endswith("(elementwise = False)")


def test_large_bounds_hide_no_difference():
    """The tolerance is relative to what is computed, not to a constant that takes no part."""
    wrong = activation(lambda z: np.clip(z.astype(np.float32) + 1e-9, -1e30, 1e30).astype(z.dtype))
    found = execution_of(wrong, np.dtype("f8"))
    assert found.mode == "python" and "where NumPy gives" in found.reason
