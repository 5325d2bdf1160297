"""Plain NumPy code, traced: what a `Symbol` knows gives what NumPy gives."""

import math

import numpy as np
import pytest

from fastmlp._tracing import symbols, ufuncs
from fastmlp._tracing.graph import Graph
from fastmlp._tracing.symbols import Symbol, node_of

RNG = np.random.default_rng(5)
PLACES = np.concatenate([RNG.normal(0, 2, 80), RNG.integers(-3, 4, 20), [0.0, -0.0, 30.0, -30.0, 0.5, -1.5]])
BEYOND = np.array([np.inf, -np.inf, np.nan])


def traced(function, x, dtype="f8"):
    """What a function, traced with one symbol, gives at x."""
    graph = Graph()
    result = function(Symbol(graph, graph.input("z"), np.dtype(dtype), writable=False))
    assert isinstance(result, Symbol)
    return np.broadcast_to(graph.evaluate([node_of(graph, result)], {"z": x}, dtype)[0], x.shape)


def check(function, x=PLACES, beyond=True):
    x = np.concatenate([x, BEYOND]) if beyond else x
    frozen = x.copy()
    frozen.flags.writeable = False
    with np.errstate(all="ignore"):
        expected = np.asarray(function(frozen), np.float64)
    np.testing.assert_allclose(traced(function, x), expected, 1e-12, 1e-14)


# Functions

UFUNCS = [
    "exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "sinh", "cosh", "arctan", "arcsinh", "negative",
    "absolute", "fabs", "rint", "square", "reciprocal", "positive", "sign", "exp2", "log2", "log10", "tan", "floor",
    "ceil", "trunc", "isnan", "isfinite", "isinf", "logical_not"
]  # fmt: skip
PAIRS = [
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "copysign", "equal",
    "less", "greater_equal", "greater", "less_equal", "not_equal", "heaviside", "logaddexp", "hypot"
]  # fmt: skip


@pytest.mark.parametrize("name", UFUNCS)
def test_functions_of_one_argument(name):
    function = getattr(np, name)
    if name == "logical_not":
        check(lambda z: function(z > 0) * 1.0)
    check(lambda z: function(z) * 1.0)
    check(lambda z: function(np.abs(z) + 0.5) * 1.0)
    if name not in ("isnan", "isfinite", "isinf", "logical_not"):
        check(lambda z: function(z, out=np.empty_like(z)))


@pytest.mark.parametrize("name", PAIRS)
def test_functions_of_two_arguments(name):
    """Of arrays, and of an array and a number in either order, of Python's or NumPy's types."""
    function = getattr(np, name)
    beyond = name not in ("hypot",)  # inf - inf on the way
    check(lambda z: function(np.abs(z) + 0.5, z * 0.5) * 1.0, beyond=beyond)
    for number in (2, 0.5, -1.5, 0, True, np.float32(0.25), np.float64(3), np.int32(2), np.array(1.5)):
        check(lambda z, number=number: function(z, number) * 1.0, beyond=beyond)
        check(lambda z, number=number: function(number, z) * 1.0, beyond=beyond)


def test_every_function_is_tested():
    """No name that traces know is missing above, or among those of SciPy and of truth values."""
    known = {*ufuncs.SINGLE, *ufuncs.composed(Graph()), *ufuncs.LOGICAL, "invert"}
    elsewhere = {"expit", "erf", "log_expit", "clip"}
    assert known == {*UFUNCS, *PAIRS, *elsewhere, *ufuncs.LOGICAL, "invert"}
    assert set(symbols.FUNCTIONS) == {
        *("where", "clip", "select", "copyto", "zeros_like", "ones_like", "empty_like", "full_like", "copy", "real"),
    }


def test_functions_of_scipy():
    special = pytest.importorskip("scipy.special", reason="SciPy, which is no dependency, is not installed")
    for name in ("expit", "erf", "log_expit"):
        check(getattr(special, name))


def put(z, value):
    a = z.copy()
    a[...] = value
    return a


def masked(z):
    a = np.empty_like(z)
    low, high = z < -1, z >= 1
    a[low] = -1
    a[high] = z[high] ** 2
    a[~(low | high)] = np.sin(z[~(low | high)])
    return a


def in_place(z):
    a = z.copy()
    a *= 2
    a -= z
    b = a  # the same array
    b += 1
    np.exp(-a, out=a)
    a /= 1 + b
    a **= 2
    return a


def in_place_by_mask(z):
    a = np.array(z, copy=True) if isinstance(z, np.ndarray) else z.copy()
    a[a < 0] *= 0.1
    a[a > 1] += 2
    np.copyto(a, 5.0, where=(a > 3) & (a < 4))
    np.copyto(a, z, where=np.isnan(a))
    return a


def mask_made_first(z):
    """A mask keeps what it was when it was made."""
    a, negative = z.copy(), z < 0
    a[negative] = 7
    a[negative] += 1
    return a


def picked(z):
    a, m = z.copy(), z > 0
    part = z[m]
    part *= 3
    part += np.ones_like(part)
    a[m] = np.sqrt(part)
    return a


def accumulated(z):
    a = np.zeros_like(z)
    for k in range(1, 5):
        a += z**k / math.factorial(k)
    return a


def helper(z, times):
    return z if times == 0 else np.tanh(helper(z, times - 1))


CODE = {
    "operators": lambda z: -(+z) + abs(z) * 2 - z / 3 + z**2 - 2**z + 1 / (3 + abs(z)) - (1 - z),
    "comparisons": lambda z: (z < 1) * 1.0 + (z > 0) * z + (z <= -1) + 2.0 * (z >= 2) + (z == 0.5) + (z != 3) * 1.0,
    "chosen": lambda z: np.where(z < 0, np.expm1(z), z),
    "chosen numbers": lambda z: np.where(z < 0, 0, 1) * 1.0,
    "chosen truths": lambda z: np.where(z < 0, z < -1, z < 1) * z,
    "chosen by a number": lambda z: np.where(z, 1.0 / z, 2.0),
    "chosen thrice": lambda z: np.where(z < -1, -1.0, np.where(z < 1, z, 1.0)),
    "select": lambda z: np.select([z < -1, z < 1, z < 2], [-1.0, z, 1], default=z * 2),
    "select without default": lambda z: np.select([z < 0, z > 1], [z, -z]),
    "clip": lambda z: np.clip(z, -1, 1),
    "clip of one side": lambda z: np.clip(z, None, 1) + np.clip(z, a_min=0, a_max=None) + np.clip(z, -1, None),
    "clip by arrays": lambda z: np.clip(z, -abs(z) / 2, np.exp(-z)),
    "clip, out": lambda z: np.clip(z, -1, 1, out=np.empty_like(z)),
    "method clip": lambda z: z.clip(-1, 1) + z.clip(max=0.5) + z.clip(min=0),
    "minimum of maximum": lambda z: np.minimum(np.maximum(0, z), 6),
    "and, or, not": lambda z: ((z > 0) & (z < 1) | ~(z > -1)) * z,
    "logical": lambda z: np.logical_or(np.logical_and(z > 0, z < 1), np.logical_not(z > -1)) * z,
    "bitwise": lambda z: np.bitwise_or(np.bitwise_and(z > 0, z < 1), np.invert(z > -1)) * z,
    "truths in place": lambda z: np.where(truths(z), z, 0.0),
    "products of truths": lambda z: ((z > 0) * (z < 1)).astype(z.dtype) * z,
    "sums of numbers": lambda z: (z > 0).astype(float) + (z > 1).astype(z.dtype),
    "zeros": lambda z: np.zeros_like(z) + z,
    "ones": lambda z: np.ones_like(z) - z,
    "full": lambda z: np.full_like(z, 2.5) * z,
    "full of an array": lambda z: np.full_like(z, np.sin(z)),
    "copy": lambda z: np.copy(z) + z.copy(),
    "real": lambda z: np.real(z),
    "everything": lambda z: z[...] + z[:],
    "put": lambda z: put(z, 3.0) + put(z, z * 2),
    "constants of types": lambda z: z * np.float32(0.5) + np.int64(2) - np.array(0.25) + True,
    "of its dtype": lambda z: z.dtype.type(0.1) * z,
    "astype": lambda z: z.astype(z.dtype) + z.astype(np.float64, copy=True),
    "masked": masked,
    "in place": in_place,
    "in place by mask": in_place_by_mask,
    "mask made first": mask_made_first,
    "picked": picked,
    "accumulated": accumulated,
    "helper": lambda z: helper(z, 3),
    "softplus": lambda z: np.log1p(np.exp(z)) - np.log(1 + np.exp(-z)),
    "logaddexp of zero": lambda z: np.logaddexp(0, z) + np.logaddexp(z, 0.0),
}


if np.lib.NumpyVersion(np.__version__) >= "2.1.0":
    CODE["clip by name"] = lambda z: np.clip(z, min=-1, max=2)


def truths(z):
    m = np.zeros_like(z, dtype=bool)
    m |= z > 1
    m |= z < -1
    m &= z < 2
    return m


@pytest.mark.parametrize("name", CODE)
def test_code(name):
    check(CODE[name])


def test_where_an_exponential_overflows():
    """Softplus and the sigmoid are right where 1 + exp(z) is infinite."""
    z = np.array([800.0, -800.0])
    np.testing.assert_allclose(traced(CODE["softplus"], z), [800 - 0, 0 - 800])
    np.testing.assert_allclose(traced(lambda z: 1 / (1 + np.exp(-z)), z), [1, 0], atol=1e-300)


def test_constants_keep_the_precision_of_numpy():
    """What Python and NumPy compute before an array comes in is a number like any other."""
    z = PLACES.astype("f4")
    found = traced(lambda z: z * np.sqrt(2 / np.pi), z, "f4")
    np.testing.assert_allclose(found, z * np.float32(math.sqrt(2 / math.pi)), 1e-6)
