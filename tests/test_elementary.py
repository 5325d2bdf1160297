"""exp, tanh, sigmoid, sin and cos on every level: bounds in ULP, exact values, independence of the lane."""

import functools

import numpy as np
import pytest

from fastmlp._kernels import reference

INF, NAN = np.inf, np.nan
FUNCTIONS = {  # what it should be, bound in ULP for float32 and float64
    "exponential": (np.exp, 4, 2),
    "tanh": (np.tanh, 4, 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), 4, 2),
    "sin": (np.sin, 4, 4),
    "cos": (np.cos, 4, 4),
}
WAVES = {  # the kernel reduces arguments itself up to 1e4 / 1e6, and asks libm beyond
    "float32": [(-100, 100), (-1e4, 1e4), (9.9e3, 1.01e4), (-1.01e4, -9.9e3)],
    "float64": [(-100, 100), (-1e6, 1e6), (9.9e5, 1.01e6), (-1.01e6, -9.9e5)],
}
INTERVALS = {  # where a function is neither 0, 1 nor infinite, is subnormal, or changes its formula
    "exponential": {"float32": [(-110, 90)], "float64": [(-750, 710)]},
    "tanh": {"float32": [(0.5, 0.7), (-20, 20)], "float64": [(0.5, 0.7), (-20, 20)]},
    "sigmoid": {"float32": [(-110, 20), (-18, -15)], "float64": [(-750, 40), (-38.5, -35)]},
    "sin": WAVES,
    "cos": WAVES,
}
function = pytest.mark.parametrize("name", FUNCTIONS)


def apply(faces, name, x):
    y = np.empty_like(x)
    faces.activation_forward(reference.ACTIVATIONS.index(name), x, y)
    return y


def bits(x):
    return x.view(f"u{x.itemsize}")


@functools.cache
def sample(name, dtype):
    """Arguments, and the results in long double: random bits, every exponent, the intervals above."""
    info, rng = np.finfo(dtype), np.random.default_rng(2024)
    word = np.dtype(f"u{info.dtype.itemsize}")
    exponents = np.arange(1 << info.nexp, dtype=word) << word.type(info.nmant)
    mantissas = np.array([0, 1, (1 << info.nmant) - 1], word)
    signs = np.array([0, 1 << (info.bits - 1)], word)
    parts = [
        rng.integers(0, np.iinfo(word).max, 100_000, word, endpoint=True).view(dtype),
        (exponents[:, None, None] | mantissas[:, None] | signs).ravel().view(dtype),
        *(rng.uniform(low, high, 100_000).astype(dtype) for low, high in INTERVALS[name][dtype.name]),
    ]
    if name in ("sin", "cos"):
        k = np.concatenate([np.arange(7000), rng.integers(0, 640_000, 20_000)])
        zeros = (k * (np.arctan(np.longdouble(1)) * 2)).astype(dtype)
        parts += [zeros, -np.nextafter(zeros, dtype.type(INF)), np.nextafter(zeros, dtype.type(-INF))]
    x = np.concatenate(parts)
    with np.errstate(all="ignore"):
        return x, FUNCTIONS[name][0](x.astype(np.longdouble))


@function
def test_accuracy(faces, dtype, name):
    if dtype == np.float64 and np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        pytest.skip("long double is no wider than double on this platform: no exact value to compare with")
    x, exact = sample(name, dtype)
    y = apply(faces, name, x)
    bound = FUNCTIONS[name][1 if dtype == np.float32 else 2]
    largest = np.finfo(dtype).max
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
        ulp = np.minimum(np.spacing(np.abs(rounded)), 2 * np.spacing(largest / 2))  # spacing(largest) is inf
        error = np.abs(y - exact) / ulp
    same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
    same |= np.isinf(rounded) & (y == np.copysign(largest, rounded))
    wrong = np.flatnonzero(~np.where(np.isfinite(rounded), error <= bound, same))
    assert not len(wrong), [(x[i], y[i], rounded[i], error[i]) for i in wrong[:5]]


@function
def test_exact_values(faces, dtype, name):
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = [0.0, -0.0, NAN, tiny, -tiny, INF, -INF, largest, -largest]
    expected = {
        "exponential": [1, 1, NAN, 1, 1, INF, 0.0, INF, 0.0],
        "tanh": [0.0, -0.0, NAN, tiny, -tiny, 1, -1, 1, -1],
        "sigmoid": [0.5, 0.5, NAN, 0.5, 0.5, 1, 0.0, 1, 0.0],
        "sin": [0.0, -0.0, NAN, tiny, -tiny, NAN, NAN],
        "cos": [1, 1, NAN, 1, 1, NAN, NAN],
    }[name]
    y = apply(faces, name, np.array(x[: len(expected)], dtype))
    np.testing.assert_array_equal(y, np.array(expected, dtype))
    number = ~np.isnan(y)
    np.testing.assert_array_equal(np.signbit(y[number]), np.signbit(expected)[number])


@function
def test_symmetry_and_range(faces, dtype, name):
    x = sample(name, dtype)[0]
    x = x[~np.isnan(x)]
    y, mirrored = apply(faces, name, x), apply(faces, name, -x)
    if name in ("tanh", "sin"):
        np.testing.assert_array_equal(mirrored, -y)
    elif name == "cos":
        np.testing.assert_array_equal(mirrored, y)
    if name in ("tanh", "sigmoid"):
        assert (-1 if name == "tanh" else 0) <= y.min() and y.max() <= 1


@function
def test_a_lane_depends_on_its_argument_alone(faces, dtype, name):
    lanes = faces.tile_shape["float" if dtype == np.float32 else "double"](0)[1] // 2
    rng = np.random.default_rng(7)
    x = rng.permutation(sample(name, dtype)[0])[:5003]
    y = apply(faces, name, x)
    order = rng.permutation(len(x))
    np.testing.assert_array_equal(bits(apply(faces, name, x[order])), bits(y[order]))
    for n in range(1, 2 * lanes + 1):
        for start in range(0, 100, 7):
            part = slice(start, start + n)
            np.testing.assert_array_equal(bits(apply(faces, name, x[part])), bits(y[part]))
    in_place = x.copy()
    faces.activation_forward(reference.ACTIVATIONS.index(name), in_place, in_place)
    np.testing.assert_array_equal(bits(in_place), bits(y))
