"""Every elementary function on every level: bounds in ULP, exact values, independence of the lane."""

import functools
import itertools
import math

import numpy as np
import pytest

from fastmlp._kernels import reference

INF, NAN = np.inf, np.nan
NATIVE = ("sinh", "cosh", "arctan", "arcsinh")  # as libm, lane by lane
FUNCTIONS = {  # what it should be, bound in ULP for float32 and float64
    "exponential": (np.exp, 4, 2),
    "tanh": (np.tanh, 4, 2),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), 4, 2),
    "sin": (np.sin, 4, 4),
    "cos": (np.cos, 4, 4),
    "expm1": (np.expm1, 2, 3),
    "log": (np.log, 1, 1),
    "log1p": (np.log1p, 2, 2),
    "erf": (lambda z: np.vectorize(math.erf, otypes=[np.longdouble])(z), 2, 3),  # 1 of them math.erf's own
    **{name: (getattr(np, name), 1, 4) for name in NATIVE},
}
WAVES = {  # the kernel reduces arguments itself up to 1e4 / 1e6, and asks libm beyond
    "float32": [(-100, 100), (-1e4, 1e4), (9.9e3, 1.01e4), (-1.01e4, -9.9e3)],
    "float64": [(-100, 100), (-1e6, 1e6), (9.9e5, 1.01e6), (-1.01e6, -9.9e5)],
}
NEAR = {
    "log": [(0, 2), (0.99, 1.01)],
    "log1p": [(-1, 2), (-0.01, 0.01)],
    "erf": [(-1.2, 1.2), (0.7, 6.5)],
    **{name: [(-3, 3)] for name in NATIVE},
}
INTERVALS = {  # where a function is neither 0, 1 nor infinite, is subnormal, or changes its formula
    "exponential": {"float32": [(-110, 90)], "float64": [(-750, 710)]},
    "tanh": {"float32": [(0.5, 0.7), (-20, 20)], "float64": [(0.5, 0.7), (-20, 20)]},
    "sigmoid": {"float32": [(-110, 20), (-18, -15)], "float64": [(-750, 40), (-38.5, -35)]},
    "sin": WAVES,
    "cos": WAVES,
    "expm1": {"float32": [(-21, 90), (-1, 1)], "float64": [(-41, 710), (-1, 1)]},
    **{name: {"float32": at, "float64": at} for name, at in NEAR.items()},
}
ODD = ("tanh", "sin", "erf", "sinh", "arctan", "arcsinh")
RANGES = {"tanh": (-1, 1), "sigmoid": (0, 1), "erf": (-1, 1), "expm1": (-1, INF), "cosh": (1, INF)}
POWERS = [  # base, exponent, value: C, annex F
    *((x, zero, 1) for x in (NAN, INF, -2.0, 0.0, -0.0) for zero in (0.0, -0.0)),
    *((1, y, 1) for y in (NAN, INF, -INF)),
    *((0.0, -1, INF), (-0.0, -1, -INF), (-0.0, -2, INF), (-0.0, 3, -0.0), (-0.0, 2, 0.0), (0.0, 0.5, 0.0)),
    *((-1, INF, 1), (-1, -INF, 1), (0.5, INF, 0.0), (0.5, -INF, INF), (2, INF, INF), (2, -INF, 0.0)),
    *((INF, -1, 0.0), (INF, 0.5, INF), (-INF, 3, -INF), (-INF, 2, INF), (-INF, -3, -0.0), (-INF, 0.5, INF)),
    *((-2, 3, -8), (-2, 4, 16), (-2, -1, -0.5), (-8, 1 / 3, NAN), (9, 0.5, 3), (NAN, 1, NAN), (2, NAN, NAN)),
]
function = pytest.mark.parametrize("name", FUNCTIONS)


def apply(bindings, name, x, y=None):
    """By the kernel of activations where there is one, whose vectors are loaded and stored in another way."""
    y = np.empty_like(x) if y is None else y
    codes = {activation: code for code, activation in reference.ACTIVATIONS.items()}
    if name in codes:
        bindings.activation_forward(codes[name], x, y)
    else:
        bindings.elementary(name, x, y)
    return y


def power(bindings, x, exponent):
    y = np.empty_like(x)
    bindings.elementary_power(x, exponent, y)
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


def check_accuracy(y, exact, bound, *arguments):
    dtype = y.dtype
    if dtype == np.float64 and np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        pytest.skip("long double is no wider than double on this platform: no exact value to compare with")
    largest = np.finfo(dtype).max
    with np.errstate(all="ignore"):
        rounded = exact.astype(dtype)
        ulp = np.minimum(np.spacing(np.abs(rounded)), 2 * np.spacing(largest / 2))  # spacing(largest) is inf
        error = np.abs(y - exact) / ulp
    same = (y == rounded) | (np.isnan(y) & np.isnan(rounded))
    same |= np.isinf(rounded) & (y == np.copysign(largest, rounded))
    wrong = np.flatnonzero(~np.where(np.isfinite(rounded), error <= bound, same))
    assert not len(wrong), [(*(x[i] for x in arguments), y[i], rounded[i], error[i]) for i in wrong[:5]]


@function
def test_accuracy(bindings, dtype, name):
    x, exact = sample(name, dtype)
    check_accuracy(apply(bindings, name, x), exact, FUNCTIONS[name][1 if dtype == np.float32 else 2], x)


@function
def test_exact_values(bindings, dtype, name):
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = [0.0, -0.0, NAN, tiny, -tiny, INF, -INF, largest, -largest]
    expected = {
        "exponential": [1, 1, NAN, 1, 1, INF, 0.0, INF, 0.0],
        "tanh": [0.0, -0.0, NAN, tiny, -tiny, 1, -1, 1, -1],
        "sigmoid": [0.5, 0.5, NAN, 0.5, 0.5, 1, 0.0, 1, 0.0],
        "sin": [0.0, -0.0, NAN, tiny, -tiny, NAN, NAN],
        "cos": [1, 1, NAN, 1, 1, NAN, NAN],
        "expm1": [0.0, -0.0, NAN, tiny, -tiny, INF, -1, INF, -1],
        "log": [-INF, -INF, NAN],
        "log1p": [0.0, -0.0, NAN, tiny, -tiny, INF, NAN],
        "erf": [0.0, -0.0, NAN, tiny, -tiny, 1, -1, 1, -1],
        "sinh": [0.0, -0.0, NAN, tiny, -tiny, INF, -INF, INF, -INF],
        "cosh": [1, 1, NAN, 1, 1, INF, INF, INF, INF],
        "arctan": [0.0, -0.0, NAN, tiny, -tiny],
        "arcsinh": [0.0, -0.0, NAN, tiny, -tiny, INF, -INF],
    }[name]
    y = apply(bindings, name, np.array(x[: len(expected)], dtype))
    np.testing.assert_array_equal(y, np.array(expected, dtype))
    number = ~np.isnan(y)
    np.testing.assert_array_equal(np.signbit(y[number]), np.signbit(expected)[number])


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [
        ("log", [1, INF, -INF, -1, -5e-324], [0, INF, NAN, NAN, NAN]),
        ("log1p", [-1, -1.01, -INF, -3e38], [-INF, NAN, NAN, NAN]),
        ("erf", [6, -6, 1e30, -1e30], [1, -1, 1, -1]),
        ("expm1", [-50, -1e30, 1e30], [-1, -1, INF]),
    ],
)
def test_ends_of_the_domain(bindings, dtype, name, at, value):
    x = np.array(at, dtype)
    if name == "log":
        x[-1] = -np.finfo(dtype).smallest_subnormal
    y = apply(bindings, name, x)
    np.testing.assert_array_equal(y, value)
    np.testing.assert_array_equal(np.signbit(y) & (y == 0), False)


@function
def test_symmetry_and_range(bindings, dtype, name):
    x = sample(name, dtype)[0]
    x = x[~np.isnan(x)]
    y, mirrored = apply(bindings, name, x), apply(bindings, name, -x)
    if name in ODD:
        np.testing.assert_array_equal(mirrored, -y)
    elif name in ("cos", "cosh"):
        np.testing.assert_array_equal(mirrored, y)
    if name in RANGES:
        low, high = RANGES[name]
        assert low <= np.nanmin(y) and np.nanmax(y) <= high


def check_lanes(bindings, of, *arguments):
    """What `of` gives for a number stays the same in another order, and in pieces of every size at every place."""
    dtype = arguments[0].dtype
    lanes = bindings.tile_shape["float" if dtype == np.float32 else "double"](0)[1] // 2
    y = of(*arguments)
    order = np.random.default_rng(7).permutation(len(y))
    np.testing.assert_array_equal(bits(of(*(x[order] for x in arguments))), bits(y[order]))
    for n, start in itertools.product(range(1, 2 * lanes + 1), range(0, 100, 7)):
        part = slice(start, start + n)
        np.testing.assert_array_equal(bits(of(*(x[part] for x in arguments))), bits(y[part]))


@function
def test_a_lane_depends_on_its_argument_alone(bindings, dtype, name):
    x = np.random.default_rng(7).permutation(sample(name, dtype)[0])[:5003]
    check_lanes(bindings, lambda x: apply(bindings, name, x), x)
    in_place = x.copy()
    apply(bindings, name, in_place, in_place)
    np.testing.assert_array_equal(bits(in_place), bits(apply(bindings, name, x)))


def test_one_function_has_the_same_bits_in_every_kernel(bindings, dtype):
    shared = {"exp": "exponential"} | {name: name for name in ("sigmoid", "tanh", "sin", "cos")}
    for name, activation in shared.items():
        x = sample(activation, dtype)[0]
        y = np.empty_like(x)
        bindings.elementary(name, x, y)
        np.testing.assert_array_equal(bits(y), bits(apply(bindings, activation, x)))


# Powers


@functools.cache
def power_sample(dtype):
    """Bases, exponents and powers in long double: random bits, results of every size, whole and half exponents."""
    rng, n, wide = np.random.default_rng(3), 50_000, np.finfo(dtype).maxexp
    word = f"u{dtype.itemsize}"
    base = rng.uniform(0, 4, n)
    parts = [
        [rng.integers(0, np.iinfo(word).max, n, word, endpoint=True).view(dtype) for _ in range(2)],
        [base, rng.uniform(-wide, wide, n) / np.log2(base)],
        [rng.uniform(-100, 100, n), rng.integers(-10, 11, n)],
        [rng.uniform(0, 100, n), rng.integers(-10, 11, n) / 2],
    ]
    x, exponent = (np.concatenate([part[k].astype(dtype) for part in parts]) for k in range(2))
    with np.errstate(all="ignore"):
        return x, exponent, np.power(x.astype(np.longdouble), exponent.astype(np.longdouble))


def test_power_accuracy(bindings, dtype):
    x, exponent, exact = power_sample(dtype)
    check_accuracy(power(bindings, x, exponent), exact, 1 if dtype == np.float32 else 2, x, exponent)


def test_special_powers(bindings, dtype):
    x, exponent, expected = np.array(POWERS, dtype).T.copy()
    y = power(bindings, x, exponent)
    np.testing.assert_array_equal(y, expected)
    number = ~np.isnan(y)
    np.testing.assert_array_equal(np.signbit(y[number]), np.signbit(expected[number]))


def test_a_power_depends_on_its_arguments_alone(bindings, dtype):
    order = np.random.default_rng(7).permutation(len(power_sample(dtype)[0]))[:5003]
    x, exponent = (part[order] for part in power_sample(dtype)[:2])
    check_lanes(bindings, lambda x, exponent: power(bindings, x, exponent), x, exponent)
