"""Every kernel on every level against its twin in `reference.py`; then what no twin shows: bounds, bits, corners.

Inputs are read-only where a kernel doesn't write them, and arrays lie between guards: writing too far is seen,
reading too far gives NaN.
"""

import ctypes
import functools
import inspect
import itertools
import mmap
import os
import subprocess
import sys

import numpy as np
import pytest

from fastmlp import _kernels
from fastmlp._kernels import reference
from fastmlp._kernels.reference import ACTIVATIONS, LOSSES, METRICS

GUARD = 61  # numbers before and after an array: odd, so that no vector is aligned
MC, PANELS, DEEP, CHUNK = 96, 32, 1024, 64  # as in gemm.pyx (blocks) and batchnorm.pyx
FAR_A, FEW, FAR_B, ROWS = 4096, 8, 512, 48  # when gemm.pyx copies: bytes from row to row, and who meets them
CODES = {name: code for table in (ACTIVATIONS, LOSSES, METRICS) for code, name in table.items()}
IDENTITY, RELU, LEAKY_RELU, SIGMOID = (CODES[name] for name in ("identity", "relu", "leaky_relu", "sigmoid"))
JOINT = [k for k, name in LOSSES.items() if "softmax" in name or "sigmoid" in name]  # of logits
THREADS = (1, 2, 3, 5)
# About the edges of a block of rows of losses.pyx, and of what counts as few columns there.
BLOCKS = list(itertools.product((0, 1, 2, 15, 16, 17, 33), (1, 2, 7, 10, 15, 16, 17, 33, 63, 64, 65, 100, 1000)))


# Arguments


def guarded(values):
    """A copy between guards of 0xFF bytes: NaN, as a float."""
    raw = np.full((values.size + 2 * GUARD) * values.itemsize, 255, np.uint8)
    inner = raw.view(values.dtype)[GUARD : GUARD + values.size].reshape(values.shape)
    inner[...] = values
    return inner


def within_guards(array):
    edge = GUARD * array.itemsize
    return (array.base[:edge] == 255).all() and (array.base[len(array.base) - edge :] == 255).all()


class Draw:
    """Arguments of kernels; it remembers those that are written."""

    def __init__(self, dtype, seed=0):
        self.dtype, self.rng, self.written = dtype, np.random.default_rng(seed), []

    def input(self, values):
        array = guarded(np.asarray(values))
        array.flags.writeable = False
        return array

    def normal(self, *shape):
        return self.input(self.rng.standard_normal(shape).astype(self.dtype))

    def positive(self, *shape):
        return self.input(self.rng.uniform(0.1, 0.9, shape).astype(self.dtype))

    def inout(self, values):
        self.written.append(guarded(values))
        return self.written[-1]

    def out(self, *shape, dtype=None):
        return self.inout(np.full(shape, 99, dtype or self.dtype))


# One generator per kernel, of positional arguments for m rows and n columns (or n numbers).


def activation_forward(d, m, n):
    for kind in ACTIVATIONS:
        yield kind, d.normal(n), d.out(n), 0.1


def activation_backward(d, m, n):
    for kind, at_zero in itertools.product(ACTIVATIONS, (0, 0.5, 1)):
        z, a = np.round(d.normal(n)), np.empty(n, d.dtype)
        reference.activation_forward(kind, z, a, 0.1)
        yield kind, d.input(z), d.input(a), d.normal(n), d.out(n), 0.1, at_zero


def elementary(d, m, n):
    for name in _kernels.load(_kernels.level, "bindings").ELEMENTARY:
        yield name, d.normal(n), d.out(n)


def elementary_power(d, m, n):
    yield d.positive(n), d.normal(n), d.out(n)


def dense_forward(d, m, n):
    for kind, bias in itertools.product(ACTIVATIONS, (None, d.normal(n))):
        yield d.normal(m, 3), d.normal(3, n), bias, d.out(m, n), d.out(m, n), kind, 0.1


def dense_backward(d, m, n):
    shapes = (3, n), (n,), (m, 3)
    yield d.normal(m, 3), d.normal(3, n), d.normal(m, n), *(d.out(*shape) for shape in shapes)
    for kind in sorted(ACTIVATIONS.keys() - {IDENTITY}):
        z, a = np.round(d.normal(m, 3)), np.empty((m, 3), d.dtype)
        reference.activation_forward(kind, z, a, 0.1)
        outputs = (d.out(*shape) for shape in shapes)
        yield d.input(a), d.normal(3, n), d.normal(m, n), *outputs, kind, d.input(z), d.input(a), 0.1, 0.5


def column_sums(d, m, n):
    yield d.normal(m, n), d.out(n)


def batchnorm_forward(d, m, n):
    if m:
        yield d.normal(m, n), d.normal(n), d.normal(n), 1e-3, d.out(n), d.out(n), d.out(m, n)


def batchnorm_backward(d, m, n):
    for batch_statistics in (False, True) if m else ():
        x, dy, gamma, mean, var = d.normal(m, n), d.normal(m, n), d.normal(n), d.normal(n), d.positive(n)
        yield x, dy, gamma, mean, var, 1e-3, batch_statistics, d.out(n), d.out(n), d.out(m, n)


def batchnorm_update(d, m, n):
    yield d.normal(n), d.positive(n), 0.9, d.inout(d.normal(n)), d.inout(d.positive(n))


def add(d, m, n):
    yield d.normal(n), d.normal(n), d.out(n)


def layernorm_forward(d, m, n):
    for centered in (True, False) if n else ():
        gamma, beta, statistics = d.positive(n), d.normal(n), (d.inout(d.normal(m)), d.out(m))
        yield d.normal(m, n), gamma, beta, 1e-3, centered, *statistics, d.out(m, n)


def layernorm_backward(d, m, n):
    for centered in (True, False) if n else ():
        statistics = d.normal(m), d.positive(m)
        yield (
            d.normal(m, n),
            d.normal(m, n),
            d.positive(n),
            *statistics,
            centered,
            d.out(n),
            d.inout(d.normal(n)),
            d.out(m, n),
        )


def softmax_forward(d, m, n):
    if n:
        yield d.normal(m, n), d.out(m, n)


def softmax_backward(d, m, n):
    if n:
        yield d.positive(m, n), d.normal(m, n), d.out(m, n)


def loss(d, m, n):
    for kind in LOSSES if n else ():
        y = d.input(d.rng.integers(0, n, m)) if "sparse" in LOSSES[kind] else d.positive(m, n)
        a = d.inout(d.positive(m, n))
        yield kind, d.normal(m, n), a, y, d.positive(m), d.out(m, dtype=float), d.out(m, n)


def accuracy(d, m, n):
    for metric in METRICS if n else ():
        y = d.input(d.rng.integers(0, n, m)) if METRICS[metric] == "sparse" else d.input(np.round(d.normal(m, n)))
        yield metric, d.input(np.round(d.normal(m, n))), y, d.out(m, dtype=float)  # ties among the largest


def sgd_update(d, m, n):
    yield d.inout(d.normal(n)), d.normal(n), None, 0.1
    for momentum, nesterov in ((0.0, False), (0.9, False), (0.9, True)):
        yield d.inout(d.normal(n)), d.normal(n), d.inout(d.normal(n)), 0.1, momentum, nesterov


def decay(d, m, n):
    for factor in (1.0, 0.9999, 0.0, -0.5):
        yield d.inout(d.normal(n)), factor


def adam_update(d, m, n):
    for step in (1, 2, 1000):
        w, m1, v = d.inout(d.normal(n)), d.inout(d.normal(n)), d.inout(d.positive(n))
        yield w, d.normal(n), m1, v, 0.01, 0.9, 0.999, 1e-8, step


def average_update(d, m, n):
    for momentum, overwrite in ((0.99, False), (0.9, True), (0.0, False)):
        yield d.inout(d.normal(n)), d.inout(d.normal(n)), momentum, overwrite


def all_finite(d, m, n):
    yield (d.normal(n),)
    for bad in (np.nan, np.inf, -np.inf):
        for i in range(n):
            x = d.normal(n).copy()
            x[i] = bad
            yield (d.input(x),)


def magnitude(d, m, n):
    yield (d.normal(n),)
    for place in range(n):
        for value in (np.nan, np.inf, -np.inf, 2.0**49, -(2.0**51), 2e19):
            x = d.normal(n).copy()
            x[place] = value
            yield (d.input(x),)


def clip_values(d, m, n):
    for limit in (0.5, 1e30):
        yield d.inout(d.normal(n)), limit


def clip_norm(d, m, n):
    for scale, limit in ((1.0, 0.5), (1.0, 1e30), (1e-30, 1e-31), (0.0, 1.0), (1e18, 1.0)):
        yield d.inout(d.input(d.normal(n) * d.dtype.type(scale))), limit


def philox(d, m, n):
    seed, step = (int(k) for k in d.rng.integers(0, 2**64, 2, np.uint64))
    yield seed, step, n, 2**32 - 1 - m  # some blocks lie beyond the last and count from 0


def dropout_forward(d, m, n):
    for rate in (0.0, 0.3) if n else ():
        x, y, mask = d.normal(m, n), d.out(m, n), d.out(m, n, dtype=np.uint8)
        yield x, y, mask, rate, 2**63 + 12345, 2**40 + 7, 3


def dropout_backward(d, m, n):
    yield d.normal(n), d.input(d.rng.integers(0, 2, n, np.uint8)), d.out(n), 0.3


def noise_forward(d, m, n):
    if n:
        yield d.normal(m, n), d.out(m, n), 0.5, 2**63 + 12345, 2**40 + 7, 3


def standardize(d, m, n):
    for epsilon in (1e-7, 1.0):
        yield d.normal(m, n), d.normal(n), d.positive(n), epsilon, d.out(n), d.out(m, n)


def unit_norm_forward(d, m, n):
    for epsilon in (1e-12, 3.0):
        yield d.normal(m, n), epsilon, d.out(m), d.out(m, n)


def unit_norm_backward(d, m, n):
    inv = d.input(np.where(np.arange(m) % 2, 0.5, 2.0).astype(d.dtype))
    yield d.normal(m, n), d.normal(m, n), inv, 0.5, d.out(m, n)


def embedding_forward(d, m, n):
    x = d.input(np.resize(np.array([2.0, 0.0, 6.0, 2.5, -1.0, 7.0, np.nan, np.inf, 1e30, 1.0], d.dtype), m))
    yield x, d.normal(7, n), 7, d.out(m, n)


def embedding_backward(d, m, n):
    x = d.input(np.resize(np.array([2.0, 0.0, 6.0, 2.0, -1.0, 7.0, 2.0, 0.0], d.dtype), m))
    yield x, d.normal(m, n), 7, d.out(7, n)


CASES = [
    activation_forward, activation_backward, elementary, elementary_power, dense_forward, dense_backward, column_sums,
    batchnorm_forward, batchnorm_backward, batchnorm_update, add, layernorm_forward,
    layernorm_backward, softmax_forward, softmax_backward, loss, accuracy,
    sgd_update, decay, adam_update, average_update, all_finite, magnitude, clip_values, clip_norm, philox,
    dropout_forward, dropout_backward,
    noise_forward, standardize, unit_norm_forward, unit_norm_backward, embedding_forward, embedding_backward,
]  # fmt: skip
case = pytest.mark.parametrize("case", CASES)


def of_code(cases, code):
    """The arguments of the first case of a loss or metric."""
    return next(arguments for arguments in cases if arguments[0] == code)


def tile_shape(bindings, dtype):
    return bindings.tile_shape["float" if dtype == np.float32 else "double"](0)[:2]


def depth(bindings):
    """KC: a longer k is cut into blocks."""
    return bindings.tile_shape["float"](0)[2]


def sizes(bindings, dtype):
    """Rows and columns about every edge: of a vector, a tile, a chunk of rows, the 64 numbers of a group."""
    MR, NR = tile_shape(bindings, dtype)
    widths = {edge + k for edge in (NR // 2, NR, 64) for k in (-1, 0, 1)} | {0, 1, 130}
    yield from itertools.product((0, 1, 2), sorted(widths))
    yield from itertools.product((MR - 1, MR, MR + 1, CHUNK, 2 * CHUNK + 1), (1, NR + 1))


def close(actual, desired, dtype, factor=64):
    tolerance = factor * np.finfo(dtype).eps
    np.testing.assert_allclose(actual, desired, rtol=tolerance, atol=tolerance)


# Twins


def test_every_kernel_has_a_twin(level, bindings):
    plan = _kernels.load(level, "plan")
    public = {name for name, face in vars(bindings).items() if callable(face) and name[0] != "_"}
    assert {case.__name__ for case in CASES} == public - {"tile_shape"}
    for face in [*(getattr(bindings, case.__name__) for case in CASES), plan.shuffle]:
        mine = inspect.signature(getattr(reference, face.__name__)).parameters
        theirs = inspect.signature(face).parameters
        assert [(p.name, p.default) for p in mine.values()] == [(p.name, p.default) for p in theirs.values()]
    ops = _kernels.load(level, "plan_ops")
    for codes, names, kernelless in (
        (ops.ACTIVATIONS, ACTIVATIONS, "extension"),
        (ops.LOSSES, LOSSES, "program"),
        (ops.METRICS, METRICS, "none"),
    ):
        assert len(set(codes.values())) == len(codes)
        assert {name: code for code, name in names.items()} == {k: v for k, v in codes.items() if k != kernelless}


@case
def test_twin(bindings, dtype, case):
    done = 0
    blocks = BLOCKS if case in (softmax_forward, loss, accuracy) else ()
    for m, n in itertools.chain(sizes(bindings, dtype), blocks):
        for arguments in case(Draw(dtype, seed=m * 1000 + n), m, n):
            twins = [value.copy() if isinstance(value, np.ndarray) else value for value in arguments]
            result = getattr(bindings, case.__name__)(*arguments)
            assert result == getattr(reference, case.__name__)(*twins)
            for mine, twin in zip(arguments, twins, strict=True):
                if isinstance(mine, np.ndarray):
                    close(mine, twin, dtype)
                    assert within_guards(mine)
            done += 1
    assert done > 25


@case
def test_wrong_arrays_are_refused(bindings, dtype, case):
    """Longer than the others say along an axis, of another dtype, with gaps, read-only though written."""
    face = getattr(bindings, case.__name__)
    alone = all_finite, magnitude, decay, clip_values, clip_norm  # of one array
    free = {column_sums: [(0, 0)], accuracy: [(1, 1)], **{each: [(0, 0)] for each in alone}}.get(
        case, ()
    )  # argument, axis
    lonely = {accuracy: 1, **dict.fromkeys(alone, 0)}.get(case)  # the argument whose dtype none other has
    draw = Draw(dtype)
    for arguments in case(draw, 3, 5):
        for at, array in enumerate(arguments):
            if not isinstance(array, np.ndarray):
                continue
            swap = {np.dtype("f4"): "f8", np.dtype("f8"): "f4"}.get(array.dtype, "f8")
            wrong = [np.repeat(array, 2, axis=-1)[..., ::2]]
            axes = [k for k in range(array.ndim) if (at, k) not in free]
            wrong += [np.take(array, range(-1, array.shape[k]), k) for k in axes]
            wrong += [array.astype(swap)] if at != lonely else []
            if any(array is written for written in draw.written):
                wrong.append(array.copy())
                wrong[-1].flags.writeable = False
            for replacement in wrong:
                with pytest.raises(ValueError):
                    face(*arguments[:at], replacement, *arguments[at + 1 :])


def before_a_closed_page(values):
    """A copy that ends where a page begins that can't be read."""
    size = -(-values.nbytes // mmap.PAGESIZE) * mmap.PAGESIZE
    memory = mmap.mmap(-1, size + mmap.PAGESIZE)
    page = ctypes.addressof(ctypes.c_char.from_buffer(memory)) + size
    assert ctypes.CDLL(None).mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    array = np.frombuffer(memory, values.dtype, values.size, size - values.nbytes).reshape(values.shape)
    array[...] = values
    return array


def run_everything(bindings, dtype):
    blocks = itertools.product((softmax_forward, softmax_backward, loss, accuracy), BLOCKS)
    for case, (m, n) in itertools.chain(itertools.product(CASES, sizes(bindings, dtype)), blocks):
        for arguments in itertools.islice(case(Draw(dtype), m, n), 30):
            getattr(bindings, case.__name__)(*arguments)
    for m, k, n in shapes(bindings, dtype):
        d = Draw(dtype)
        x, kernel, gradient = d.normal(m, k), d.normal(k, n), d.normal(m, n)
        bindings.dense_forward(x, kernel, d.normal(n), d.out(m, n), d.out(m, n))
        bindings.dense_backward(x, kernel, gradient, d.out(k, n), d.out(n), d.out(m, k), SIGMOID, x, x)


def test_nothing_beyond_an_array_is_read(level):
    """In a process of its own, for the sake of the others: reading too far ends it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = [sys.executable, "-X", "faulthandler", __file__, level]
    done = subprocess.run(run, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["done"]


IN_PLACE = [  # kernel, input and output that may be the same array
    (activation_forward, 1, 2),
    (activation_backward, 3, 4),
    (dense_forward, 3, 4),
    (batchnorm_forward, 0, 6),
    (batchnorm_backward, 1, 9),
    (softmax_forward, 0, 1),
    (softmax_backward, 1, 2),
    (loss, 1, 2),
    (dropout_forward, 0, 1),
    (dropout_backward, 0, 2),
    (noise_forward, 0, 1),
    (standardize, 0, 5),
    (unit_norm_forward, 0, 3),
    (unit_norm_backward, 1, 4),
]


@pytest.mark.parametrize(("case", "source", "target"), IN_PLACE, ids=[case.__name__ for case, _, _ in IN_PLACE])
def test_in_place(bindings, dtype, case, source, target):
    shapes = ((9, 37), (1, 37), (9, 3), (3, 100)) if case in (loss, softmax_forward) else ((9, 37),)
    for arguments in itertools.chain.from_iterable(case(Draw(dtype), m, n) for m, n in shapes):
        if case is loss and arguments[0] not in JOINT:
            continue
        shared = list(arguments)
        shared[source] = shared[target] = arguments[source].copy()
        getattr(bindings, case.__name__)(*arguments)
        getattr(bindings, case.__name__)(*shared)
        np.testing.assert_array_equal(shared[target], arguments[target])


# GEMM


def forward(bindings, x, kernel, bias=None, **options):
    """z and a of dense_forward."""
    draw = Draw(x.dtype)
    batch = len(options["index"]) if "index" in options else len(x)
    z, a = draw.out(batch, kernel.shape[1]), draw.out(batch, kernel.shape[1])
    bindings.dense_forward(x, kernel, bias, z, a, **options)
    assert within_guards(z) and within_guards(a)
    return z, a


def backward(bindings, x, kernel, d, **options):
    """d_kernel, d_bias and d_input of dense_backward."""
    draw = Draw(x.dtype)
    outputs = draw.out(*kernel.shape), draw.out(kernel.shape[1]), draw.out(*x.shape)
    bindings.dense_backward(x, kernel, d, *outputs, **options)
    assert all(map(within_guards, outputs))
    return outputs


def same_bits(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one.view(f"u{one.itemsize}"), other.view(f"u{other.itemsize}"))


def large(bindings, dtype):
    """m, k, n beyond the edges of blocks, and where `a`, `b`, both or their transposes are copied."""
    (MR, NR), KC = tile_shape(bindings, dtype), depth(bindings)
    far_a, far_b = FAR_A // dtype.itemsize, FAR_B // dtype.itemsize
    return [
        (MC + 1, KC + 1, NR + 1),
        (2 * MC + MR - 1, 3, PANELS * NR),
        (MC, KC, 1),
        (3, 2 * KC, NR),
        (1, 1, PANELS * NR + 1),
        (MR + 1, far_a, FEW * NR + 3),
        (far_a + 1, 3, FEW * NR + NR - 1),
        (ROWS + 1, 2, far_b + 1),
        (ROWS - 1, 3, far_b),
        (MC + 1, DEEP + KC + 3, NR - 1),
        (MC + ROWS + 1, far_a, PANELS * NR + NR // 2 + 3),
    ]


def shapes(bindings, dtype):
    """m, k, n about the edges of a tile, of the eight steps that it may take at a time, and of blocks."""
    MR, NR = tile_shape(bindings, dtype)
    yield from itertools.product((0, 1, MR - 1, MR, MR + 1, MR + 2), (0, 1, 2, 7, 9), (0, 1, NR - 1, NR, NR + 1))
    yield from large(bindings, dtype)


@functools.cache
def factors(dtype, m, k, n):
    """Matrices (m, k), (k, n) of all digits, within -1 .. 1."""
    rng, digits = np.random.default_rng(m + 1000 * k + 100_000 * n), np.finfo(dtype).nmant + 1
    integers = [rng.integers(-(2**digits), 2**digits, shape) for shape in ((m, k), (k, n))]
    return [np.ldexp(x.astype(dtype), -digits) for x in integers]


@functools.cache
def exact_product(dtype, m, k, n, rows):
    """Those rows of the product of `factors`, rounded once to float64: by float64, or by integers."""
    a, b = factors(dtype, m, k, n)
    if dtype == np.float32:
        return a[list(rows)].astype(np.float64) @ b.astype(np.float64)
    whole = [np.ldexp(x, 53).astype(np.int64).astype(object) for x in (a[list(rows)], b)]
    return ((whole[0] @ whole[1]) / 2**106).astype(np.float64) if k else np.zeros((len(rows), n))


def assert_product(c, dtype, m, k, n):
    """|c - a b| <= 2 K eps |a| |b| element by element, on up to five rows; eps / 2 pays for rounding a b."""
    rows = tuple(sorted({0, 1, m // 2, m - 2, m - 1} & set(range(m))))
    a, b = (np.abs(x).astype(np.float64) for x in factors(dtype, m, k, n))
    bound = max(2 * k - 0.5, 0) * np.finfo(dtype).eps * (a[list(rows)] @ b)
    assert (np.abs(c[list(rows)] - exact_product(dtype, m, k, n, rows)) <= bound).all(), (m, k, n)


def test_product_is_within_its_bound(bindings, dtype):
    for m, k, n in shapes(bindings, dtype):
        assert_product(forward(bindings, *factors(dtype, m, k, n))[0], dtype, m, k, n)


def test_gradient_products_are_within_their_bound(bindings, dtype):
    for m, k, n in shapes(bindings, dtype):
        a, b = factors(dtype, m, k, n)
        d_kernel, _, _ = backward(bindings, a.T.copy(), np.zeros((m, n), dtype), b)  # (m, n), sum over k = batch
        assert_product(d_kernel, dtype, m, k, n)
        _, _, d_input = backward(bindings, np.zeros((m, n), dtype), b.T.copy(), a)  # sum over k = units
        assert_product(d_input, dtype, m, k, n)


def test_small_integers_are_exact(bindings, dtype):
    rng = np.random.default_rng(1)
    for m, k, n in shapes(bindings, dtype):
        x, kernel, bias, d = (rng.integers(-8, 9, shape).astype(float) for shape in ((m, k), (k, n), (n,), (m, n)))
        xf, kf, bf, df = (value.astype(dtype) for value in (x, kernel, bias, d))
        np.testing.assert_array_equal(forward(bindings, xf, kf, bf)[0], x @ kernel + bias)
        for mine, exact in zip(backward(bindings, xf, kf, df), (x.T @ d, d.sum(0), d @ kernel.T), strict=True):
            np.testing.assert_array_equal(mine, exact)


def test_threads_leave_the_bits_alone(bindings, dtype):
    draw = Draw(dtype)
    for m, k, n in [*large(bindings, dtype), (7, 5, 3), (0, 3, 3)]:
        x, kernel, bias, d = draw.normal(m, k), draw.normal(k, n), draw.normal(n), draw.normal(m, n)
        there, back = forward(bindings, x, kernel, bias, activation=SIGMOID), backward(bindings, x, kernel, d)
        for threads in THREADS:
            same_bits(forward(bindings, x, kernel, bias, activation=SIGMOID, threads=threads), there)
            same_bits(backward(bindings, x, kernel, d, threads=threads), back)


def test_a_row_and_a_column_depend_on_no_other(bindings, dtype):
    (MR, NR), KC, far_b = tile_shape(bindings, dtype), depth(bindings), FAR_B // dtype.itemsize
    draw = Draw(dtype)
    for m, k, n in ((MC + 2 * MR - 1, KC + 3, NR + 5), (ROWS + 3, 2 * KC + 1, far_b + 3)):
        x, kernel, bias = draw.normal(m, k), draw.normal(k, n), draw.normal(n)
        whole = forward(bindings, x, kernel, bias, activation=SIGMOID)
        for i in range(m):
            same_bits(forward(bindings, x[i : i + 1], kernel, bias, activation=SIGMOID), [y[i : i + 1] for y in whole])
        for columns in (slice(0, 1), slice(3, NR), slice(n - 3, n)):
            part = forward(bindings, x, kernel[:, columns].copy(), bias[columns].copy(), activation=SIGMOID)
            same_bits(part, [y[:, columns].copy() for y in whole])
        index = draw.rng.integers(0, m, m + 5)
        for threads in THREADS:
            gathered = forward(bindings, x, kernel, bias, activation=SIGMOID, index=index, threads=threads)
            same_bits(gathered, [y[index] for y in whole])


def test_columns_and_pieces_give_the_bits_of_the_whole(bindings, dtype):
    """Statistics by columns, updates by pieces: how they are shared out among threads must not show."""
    draw = Draw(dtype)
    x, one = draw.normal(2 * CHUNK + 5, 133), np.ones(133, dtype)
    whole = [np.empty(133, dtype) for _ in range(5)]
    columns = [slice(0, 1), slice(1, 8), slice(3, 68), slice(30, 35), slice(60, 133)]

    def all_sums(x, sums, mean, var, d_gamma, d_beta):
        n = x.shape[1]
        bindings.column_sums(x, sums)
        bindings.batchnorm_forward(x, one[:n], one[:n], 1e-3, mean, var, np.empty_like(x))
        bindings.batchnorm_backward(x, x, one[:n], mean, var, 1e-3, True, d_gamma, d_beta, np.empty_like(x))

    all_sums(x, *whole)
    for piece in columns:
        part = [y[piece].copy() for y in np.zeros((5, 133), dtype)]
        all_sums(x[:, piece].copy(), *part)
        same_bits(part, [y[piece] for y in whole])
    for case in (sgd_update, decay, adam_update):
        for arguments in case(draw, 1, 130):
            arrays = [value for value in arguments if isinstance(value, np.ndarray)]
            others = arguments[len(arrays) :]
            copies = [array.copy() for array in arrays]
            getattr(bindings, case.__name__)(*arrays, *others)
            for piece in (slice(0, 1), slice(1, 8), slice(8, 130)):
                getattr(bindings, case.__name__)(*(copy[piece] for copy in copies), *others)
            same_bits(arrays, copies)


def test_bias_is_added_last_and_is_all_without_inputs(bindings, dtype):
    draw = Draw(dtype)
    for m, k, n in ((13, 300, 37), (13, 0, 37), (ROWS, 0, 1024)):
        x, kernel, bias = draw.normal(m, k), draw.normal(k, n), draw.normal(n)
        z, _ = forward(bindings, x, kernel, bias)
        np.testing.assert_array_equal(z, forward(bindings, x, kernel)[0] + bias)
    np.testing.assert_array_equal(z, np.broadcast_to(bias, z.shape))


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=ACTIVATIONS.get)
def test_fused_activation_is_the_activation(bindings, dtype, kind):
    draw = Draw(dtype)
    m, k, n = 100, depth(bindings) + 3, 261
    x, kernel, bias, d = draw.normal(m, k), draw.normal(k, n), draw.normal(n), draw.normal(m, n)
    z, a = forward(bindings, x, kernel, bias, activation=kind, alpha=0.1)
    same_bits([z], [forward(bindings, x, kernel, bias)[0]])
    alone = np.empty_like(a)
    bindings.activation_forward(kind, z.ravel(), alone.ravel(), 0.1)
    same_bits([a], [alone])
    z = np.round(x)  # zeros among them
    a = np.empty_like(z)
    bindings.activation_forward(kind, z.ravel(), a.ravel(), 0.1)
    _, _, plain = backward(bindings, x, kernel, d)
    for at_zero in (0, 0.5, 1):
        _, _, d_input = backward(bindings, x, kernel, d, activation=kind, z=z, a=a, alpha=0.1, at_zero=at_zero)
        expected = np.empty_like(plain)
        bindings.activation_backward(kind, *(y.ravel() for y in (z, a, plain, expected)), 0.1, at_zero)
        same_bits([d_input], [expected])


def test_wrong_index_bias_and_threads_are_refused(bindings):
    x, kernel, z = np.ones((3, 2)), np.ones((2, 4)), np.ones((2, 4))
    bindings.dense_forward(x, kernel, None, z, z, index=np.array([2, 0]))
    for index in ([0, 3], [-1, 0], [0, 1, 2]):
        with pytest.raises(ValueError):
            bindings.dense_forward(x, kernel, None, z, z, index=np.array(index))
    for run, arguments in ((forward, (x, kernel)), (backward, (x, kernel, x @ kernel))):
        with pytest.raises(ValueError):
            run(bindings, *arguments, threads=0)


# Corners of ReLU


@pytest.mark.parametrize("at_zero", [0.0, 0.5, 1.0])
def test_relu_at_zero_and_nan(bindings, dtype, at_zero):
    tiny = np.finfo(dtype).smallest_subnormal
    z = np.array([-np.inf, -1, -tiny, -0.0, 0.0, tiny, 1, np.inf, np.nan], dtype)
    a, dz, da = np.empty_like(z), np.empty_like(z), np.full_like(z, 3)
    bindings.activation_forward(RELU, z, a)
    np.testing.assert_array_equal(a, [0, 0, 0, 0, 0, tiny, 1, np.inf, np.nan])
    bindings.activation_backward(RELU, z, a, da, dz, 0.0, at_zero)
    np.testing.assert_array_equal(dz, [0, 0, 0, 3 * at_zero, 3 * at_zero, 3, 3, 3, 0])


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=ACTIVATIONS.get)
def test_nan_goes_through_a_dense_layer_and_stays_in_its_row(bindings, dtype, kind):
    draw = Draw(dtype)
    x, kernel = draw.normal(9, 5).copy(), draw.normal(5, 40)
    x[4, 2] = np.nan
    for y in forward(bindings, x, kernel, activation=kind, alpha=0.1):
        np.testing.assert_array_equal(np.isnan(y), np.arange(9)[:, None] == np.full((9, 40), 4))


# Sums, batch normalization


def test_column_sums_are_within_their_bound(bindings, dtype):
    for m in (1, CHUNK, CHUNK + 1, 1000):
        x, out = Draw(dtype).normal(m, 37), np.empty(37, dtype)
        bindings.column_sums(x, out)
        additions = min(m, CHUNK) + m / CHUNK
        bound = additions * np.finfo(dtype).eps / 2 * np.abs(x).sum(0, dtype=np.longdouble)
        assert (np.abs(out - x.sum(0, dtype=np.longdouble)) <= bound).all()


def test_batchnorm_of_a_huge_mean(bindings, dtype):
    """Two passes, the second giving back what the first lost: the mean is rounded once, the variance is good to its
    last digits, where one pass would lose eps mean^2."""
    x = (1e6 + np.random.default_rng(0).standard_normal((1000, 37))).astype(dtype)
    one, (mean, var), y = np.ones(37, dtype), np.empty((2, 37), dtype), np.empty_like(x)
    bindings.batchnorm_forward(x, one, 0 * one, 1e-5, mean, var, y)
    exact = x.astype(np.longdouble)
    e, eps = mean - exact.mean(0), np.finfo(dtype).eps
    assert (np.abs(e) <= 0.5 * eps * 1e6 * 1.01).all()
    assert (np.abs(var - exact.var(0)) <= 100 * eps * var).all()
    expected = (exact - mean) / np.sqrt(var + np.longdouble(1e-5))
    close(y, expected.astype(dtype), dtype)


# Gradients, by differences of fourth order


def numeric_gradient(f, x, h=1e-3):
    """(8 (f(x + h) - f(x - h)) - (f(x + 2 h) - f(x - 2 h))) / 12 h, element by element."""
    gradient = np.empty_like(x)
    for at in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[at] = h
        gradient[at] = (8 * (f(x + step) - f(x - step)) - (f(x + 2 * step) - f(x - 2 * step))) / (12 * h)
    return gradient


def assert_gradient(f, x, gradient):
    np.testing.assert_allclose(gradient, numeric_gradient(f, x), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", ACTIVATIONS, ids=ACTIVATIONS.get)
def test_gradient_of_activation(bindings, kind):
    draw = Draw(np.float64)
    z = draw.rng.choice([-1, 1], 20) * draw.rng.uniform(0.1, 2, 20)  # off the kink
    da, a, dz = draw.normal(20), np.empty(20), np.empty(20)

    def f(z):
        bindings.activation_forward(kind, z, a, 0.1)
        return da @ a

    f(z)
    bindings.activation_backward(kind, z, a.copy(), da, dz, 0.1)
    assert_gradient(f, z, dz)


@pytest.mark.parametrize("kind", LOSSES, ids=LOSSES.get)
def test_gradient_of_loss(bindings, kind):
    _, z, a, y, weight, values, dz = of_code(loss(Draw(np.float64), 3, 5), kind)

    def f(x):
        bindings.loss(kind, x, a if kind in JOINT else x, y, weight, values, np.empty_like(dz))
        return weight @ values

    bindings.loss(kind, z, a, y, weight, values, dz)
    assert_gradient(f, z if kind in JOINT else a, dz)


def test_gradient_of_softmax(bindings):
    draw = Draw(np.float64)
    z, da, a, dz = draw.normal(3, 5), draw.normal(3, 5), np.empty((3, 5)), np.empty((3, 5))

    def f(z):
        bindings.softmax_forward(z, a)
        return (da * a).sum()

    f(z)
    bindings.softmax_backward(a.copy(), da, dz)
    assert_gradient(f, z, dz)


@pytest.mark.parametrize("batch_statistics", [False, True])
def test_gradient_of_batchnorm(bindings, batch_statistics):
    draw = Draw(np.float64)
    x, dy, gamma, beta = draw.normal(6, 4), draw.normal(6, 4), draw.normal(4), draw.normal(4)
    mean, var, y = np.empty(4), np.empty(4), np.empty((6, 4))
    bindings.batchnorm_forward(x, gamma, beta, 1e-3, mean, var, y)

    def f(x, gamma, beta):
        if not batch_statistics:
            return (dy * (gamma * (x - mean) / np.sqrt(var + 1e-3) + beta)).sum()
        bindings.batchnorm_forward(x, gamma, beta, 1e-3, np.empty(4), np.empty(4), y)
        return (dy * y).sum()

    d_gamma, d_beta, dx = np.empty(4), np.empty(4), np.empty((6, 4))
    bindings.batchnorm_backward(x, dy, gamma, mean, var, 1e-3, batch_statistics, d_gamma, d_beta, dx)
    assert_gradient(lambda x: f(x, gamma, beta), x, dx)
    assert_gradient(lambda gamma: f(x, gamma, beta), gamma, d_gamma)
    assert_gradient(lambda beta: f(x, gamma, beta), beta, d_beta)


def test_gradient_of_dense(bindings):
    draw = Draw(np.float64)
    z, kernel, bias, d = draw.normal(4, 3), draw.normal(3, 5), draw.normal(5), draw.normal(4, 5)

    def f(z, kernel, bias):
        a = np.empty_like(z)
        bindings.activation_forward(SIGMOID, z.ravel(), a.ravel())
        return (d * forward(bindings, a, kernel, bias)[0]).sum(), a

    a = f(z, kernel, bias)[1]
    d_kernel, d_bias, dz = backward(bindings, a, kernel, d, activation=SIGMOID, z=z, a=a)
    assert_gradient(lambda z: f(z, kernel, bias)[0], z, dz)
    assert_gradient(lambda kernel: f(z, kernel, bias)[0], kernel, d_kernel)
    assert_gradient(lambda bias: f(z, kernel, bias)[0], bias, d_bias)


# Losses


def losses(bindings, name, dtype, z, y):
    z = np.array(z, dtype)
    a, dz, values = np.empty_like(z), np.empty_like(z), np.empty(len(z))
    y = np.array(y, np.intp if "sparse" in name else dtype)
    bindings.loss(CODES[name], z, a, y, np.ones(len(z), dtype), values, dz)
    return values, dz, a


def test_crossentropies_of_huge_logits(bindings, dtype):
    z = [[1e4, -1e4, 0], [1e4, -1e4, 0], [1e4, 1e4, 1e4]]
    for name, y in (("sparse_softmax_crossentropy", [0, 1, 2]), ("softmax_crossentropy", np.eye(3))):
        values, dz, a = losses(bindings, name, dtype, z, y)
        np.testing.assert_allclose(values, [0, 2e4, np.log(3)], rtol=1e-7 if dtype == np.float32 else 1e-11)
        np.testing.assert_array_equal(a[:2], [[1, 0, 0], [1, 0, 0]])
        np.testing.assert_array_equal(dz[:2], [[0, 0, 0], [1, -1, 0]])
        close(dz[2], np.array([1, 1, -2]) / 3, dtype, 2)
        huge = np.finfo(dtype).max / 4
        values, dz, a = losses(bindings, name, dtype, [[huge, -huge, 0]] * 3, y)
        np.testing.assert_array_equal(values, [0, 2 * huge, huge])
    z, y = [[1e4], [1e4], [-1e4], [-1e4]], [[0], [1], [0], [1]]
    values, dz, a = losses(bindings, "sigmoid_crossentropy", dtype, z, y)
    np.testing.assert_array_equal(values, [1e4, 0, 0, 1e4])
    np.testing.assert_array_equal(a, [[1], [1], [0], [0]])
    np.testing.assert_array_equal(dz, [[1], [0], [0], [-1]])


@pytest.mark.parametrize("kind", LOSSES, ids=LOSSES.get)
def test_a_row_of_a_loss_depends_on_no_other(bindings, dtype, kind):
    for n in sorted({n for _, n in BLOCKS}):
        arguments = of_code(loss(Draw(dtype), 33, n), kind)
        _, z, a, y, weight, values, dz = arguments
        before = a.copy()
        bindings.loss(*arguments)
        if "softmax" in LOSSES[kind]:
            softmax = np.empty_like(a)
            bindings.softmax_forward(z, softmax)
            same_bits([softmax], [a])
        pieces = [slice(i, i + 1) for i in range(33)]
        pieces += [slice(i, i + m) for i, m in ((0, 2), (3, 3), (1, 4), (2, 5), (0, 7), (5, 8), (1, 15), (7, 17))]
        for piece in pieces:
            part = [x[piece].copy() for x in (z, before, y, weight, np.zeros(33), np.zeros_like(dz))]
            bindings.loss(kind, *part)
            same_bits([part[1], part[4], part[5]], [a[piece], values[piece], dz[piece]])


@pytest.mark.parametrize("metric", METRICS, ids=METRICS.get)
def test_accuracy_of_a_row_depends_on_no_other(bindings, dtype, metric):
    """Nor where there is NaN: one that comes first counts as the largest, others as none."""
    for n in sorted({n for _, n in BLOCKS}):
        _, a, y, values = of_code(accuracy(Draw(dtype), 33, n), metric)
        a = np.where(np.arange(a.size).reshape(a.shape) % 11 == 4, np.nan, a).astype(dtype)
        bindings.accuracy(metric, a, y, values)
        for i in range(33):
            alone = np.empty(1)
            bindings.accuracy(metric, a[i : i + 1], y[i : i + 1], alone)
            assert alone == values[i]
            if METRICS[metric] == "sparse":
                assert values[i] == (y[i] == (0 if np.isnan(a[i, 0]) else np.nanargmax(a[i])))


def test_crossentropies_near_0_keep_their_digits(bindings, dtype):
    """log(1 + e^-x), which is e^-x for large x, to 4 ULP; and log n of n equal logits."""
    x = np.linspace(0, 80 if dtype == np.float32 else 600, 1001).astype(dtype)
    exact = np.log1p(np.exp(-x.astype(np.longdouble)))
    ulp = np.spacing(exact.astype(dtype)).astype(float)
    for columns in (2, 65):  # turned and by row
        z = np.full((len(x), columns), -np.inf, dtype)
        z[:, 0], z[:, columns // 2] = 0, -x
        values, _, _ = losses(bindings, "sparse_softmax_crossentropy", dtype, z, np.zeros(len(x)))
        assert (np.abs(values - exact) <= 4 * ulp).all()
    values, _, _ = losses(bindings, "sigmoid_crossentropy", dtype, -x[:, None], np.zeros((len(x), 1)))
    assert (np.abs(values - exact) <= 4 * ulp).all()
    for n in (1, 2, 10, 64, 65, 1000):
        values, _, _ = losses(bindings, "sparse_softmax_crossentropy", dtype, np.full((3, n), 7), [0, n // 2, n - 1])
        np.testing.assert_allclose(values, np.log(n), rtol=2 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", [3, 16, 70])
def test_numbers_that_are_not_finite_stay_in_their_row(bindings, dtype, n):
    """NaN and infinities in logits: the loss shows it, the rows beside don't. Minus infinity is a probability of 0."""
    for kind, m in itertools.product(JOINT, (1, 2, 17, 33)):
        _, z, a, y, weight, values, dz = of_code(loss(Draw(dtype), m, n), kind)
        bindings.loss(kind, z, a, y, weight, values, dz)
        for bad, row, column in itertools.product((np.nan, np.inf, -np.inf), {0, m // 2, m - 1}, (0, n // 2, n - 1)):
            z1 = z.copy()
            z1[row, column] = bad
            others = np.arange(m) != row
            got = np.empty_like(a), np.empty_like(values), np.empty_like(dz)
            bindings.loss(kind, z1, got[0], y, weight, got[1], got[2])
            same_bits([x[others] for x in got], [x[others] for x in (a, values, dz)])
            if bad == -np.inf and LOSSES[kind] == "sparse_softmax_crossentropy" and y[row] != column:
                rest = np.delete(z1[row].astype(float), column)
                np.testing.assert_allclose(got[1][row], np.log(np.exp(rest).sum()) - z1[row, y[row]], rtol=1e-5)
                assert got[0][row, column] == 0 and got[2][row, column] == 0
            elif "softmax" in LOSSES[kind] or np.isnan(bad):
                assert not np.isfinite(got[1][row])
        z1 = z.copy()
        z1[m - 1] = -np.inf
        bindings.loss(kind, z1, a, y, weight, values, dz)
        assert not np.isfinite(values[m - 1])


@pytest.mark.parametrize("name", LOSSES.values())
def test_nan_and_wrong_labels_reach_the_caller(bindings, dtype, name):
    arguments = of_code(loss(Draw(dtype), 3, 5), CODES[name])
    kind, z, a, y, weight, values, dz = arguments
    z, a = z.copy(), a.copy()
    z[1] = np.nan
    if kind not in JOINT:
        a[1] = np.nan
    bindings.loss(kind, z, a, y, weight, values, dz)
    np.testing.assert_array_equal(np.isnan(values), [False, True, False])
    if "sparse" in name:
        for wrong in (-1, 5):
            with pytest.raises(ValueError):
                bindings.loss(kind, z, a, np.array([0, 0, wrong]), weight, values, dz)


@pytest.mark.parametrize("name", ["sparse_crossentropy", "crossentropy", "binary_crossentropy"])
def test_crossentropies_of_probability_0_are_finite(bindings, dtype, name):
    a = np.array([[0, 1], [1, 0]], dtype)
    y = np.array([0, 0]) if "sparse" in name else np.array([[1, 0], [1, 0]], dtype)
    values, dz = np.empty(2), np.empty_like(a)
    bindings.loss(CODES[name], a, a, y, np.ones(2, dtype), values, dz)
    np.testing.assert_allclose(values, [-np.log(1e-38 if dtype == np.float32 else 1e-300), 0], rtol=1e-6)
    assert np.isfinite(dz).all() and dz[0, 0] < -1e30


# Optimizers


def test_adam_is_algorithm_1(bindings, dtype):
    alpha, beta_1, beta_2, epsilon = 0.01, 0.9, 0.999, 1e-8
    gradients = np.random.default_rng(3).standard_normal((6, 37)).astype(dtype)
    theta, first, second = np.ones(37, dtype), np.zeros(37, dtype), np.zeros(37, dtype)
    for t, g in enumerate(gradients, start=1):
        bindings.adam_update(theta, g, first, second, alpha, beta_1, beta_2, epsilon, t)
    for i in range(37):
        w, m, v = 1.0, 0.0, 0.0
        for t, g in enumerate(gradients[:, i].astype(float), start=1):
            m = beta_1 * m + (1 - beta_1) * g
            v = beta_2 * v + (1 - beta_2) * g**2
            m_hat, v_hat = m / (1 - beta_1**t), v / (1 - beta_2**t)
            w = w - alpha * m_hat / (v_hat**0.5 + epsilon)
        close([theta[i], first[i], second[i]], [w, m, v], dtype, 8)


def test_momentum_and_nesterov(bindings, dtype):
    """Three steps with learning rate 1/2, momentum 1/4 and gradients 2, 4, 8, worked by hand."""
    for momentum, nesterov, expected in (
        (0.0, False, [-1, -3, -7]),
        (0.25, False, [-1, -3.25, -7.8125]),  # v = -1, -2.25, -4.5625
        (0.25, True, [-1.25, -3.8125, -8.953125]),  # w falls by v / 4 - g / 2: -1.25, -2.5625, -5.140625
    ):
        w, velocity = np.zeros(37, dtype), np.zeros(37, dtype)
        for gradient, target in zip((2, 4, 8), expected, strict=True):
            bindings.sgd_update(w, np.full(37, gradient, dtype), velocity, 0.5, momentum, nesterov)
            np.testing.assert_array_equal(w, np.full(37, target))


# Random numbers


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [  # kat_vectors of Random123
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_philox_known_answers(bindings, counter, key, words):
    block, stream, low, high = counter
    arguments = key[0] | key[1] << 32, low | high << 32, stream, block
    for philox in (bindings.philox, reference.philox):
        assert [word[0] for word in philox(*arguments)] == words


def drop(bindings, x, rate=0.3, seed=1, step=2, layer=3):
    y, mask = np.empty_like(x), np.empty(x.shape, np.uint8)
    bindings.dropout_forward(x, y, mask, rate, seed, step, layer)
    return y, mask


def test_dropout(bindings, dtype):
    x = np.ones((1000, 200), dtype)
    y, mask = drop(bindings, x)
    kept = mask.astype(bool)
    sigma = np.sqrt(0.3 * 0.7 / x.size)
    assert set(mask.flat) == {0, 1}
    assert abs(kept.mean() - 0.7) < 5 * sigma
    assert np.abs(kept.mean(0) - 0.7).max() < 5 * sigma * np.sqrt(200)
    assert np.abs(kept.mean(1) - 0.7).max() < 5 * sigma * np.sqrt(1000)
    for neighbour in (kept[:, 1:] == kept[:, :-1], kept[1:] == kept[:-1]):
        assert abs(neighbour.mean() - (0.7**2 + 0.3**2)) < 5 * sigma
    np.testing.assert_array_equal(y, np.where(kept, dtype.type(1 / 0.7), 0))
    same_bits(drop(bindings, x), (y, mask))
    for other in ({"seed": 2}, {"seed": 1 + 2**32}, {"step": 3}, {"step": 2 + 2**32}, {"layer": 4}):
        assert abs((drop(bindings, x, **other)[1] == mask).mean() - (0.7**2 + 0.3**2)) < 5 * sigma
    same_bits(drop(bindings, x[:7]), (y[:7], mask[:7]))
    np.testing.assert_array_equal(drop(bindings, x, rate=0.0)[0], x)


def test_dropped_elements_are_0_whatever_they_were(bindings, dtype):
    x = np.full((4, 50), np.nan, dtype)
    y, mask = drop(bindings, x)
    np.testing.assert_array_equal(np.isnan(y), mask == 1)
    dx = np.empty_like(x)
    bindings.dropout_backward(x.ravel(), mask.ravel(), dx.ravel(), 0.3)
    np.testing.assert_array_equal(dx, y)


def noise(bindings, x, stddev=1.0, seed=1, step=2, layer=3):
    y = np.empty_like(x)
    bindings.noise_forward(x, y, stddev, seed, step, layer)
    return y


def test_noise_is_normal_and_keyed(bindings, dtype):
    x = np.zeros((1000, 200), dtype)
    n = noise(bindings, x).astype(float)
    size = n.size
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs((n**power).mean() - moment) < 5 * np.sqrt(variance / size)
    assert np.abs(n.mean(0)).max() < 5 / np.sqrt(1000)
    for bound, share in ((0, 0.5), (1, 0.8413447460685429), (3, 0.9986501019683699)):
        assert abs((n < bound).mean() - share) < 5 * np.sqrt(share * (1 - share) / size)
    for a, b in ((n[:, 1:], n[:, :-1]), (n[1:], n[:-1]), (n[:, :32], n[:, 32:64])):  # the last: sine and cosine
        assert abs((a * b).mean()) < 5 / np.sqrt(a.size)
        assert abs((a**2 * b**2).mean() - 1) < 5 * np.sqrt(8 / a.size)
    same_bits((noise(bindings, x),), (noise(bindings, x),))
    same_bits((noise(bindings, x[:7]),), (noise(bindings, x)[:7],))
    for other in ({"seed": 2}, {"seed": 1 + 2**32}, {"step": 3}, {"step": 2 + 2**32}, {"layer": 4}):
        assert abs((noise(bindings, x, **other) * n).mean()) < 5 / np.sqrt(size)
    np.testing.assert_array_equal(noise(bindings, x + dtype.type(2), stddev=0.0), 2)


def test_unit_norm_of_extreme_rows(bindings, dtype):
    big, small = np.finfo(dtype).max / 2, np.finfo(dtype).tiny
    x = np.array([[big, big], [0, 0], [np.inf, 1], [np.nan, 1], [3, 4]], dtype)
    y, inv = np.empty_like(x), np.empty(len(x), dtype)
    bindings.unit_norm_forward(x, 1e-12, inv, y)
    np.testing.assert_allclose(y[[0, 4]], [[np.sqrt(0.5)] * 2, [0.6, 0.8]], rtol=4 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(y[1], 0)
    assert np.isnan(y[2:4]).all()
    x = np.full((1, 4), small, dtype)
    y = np.empty_like(x)
    bindings.unit_norm_forward(x, float(small), inv[:1], y)
    np.testing.assert_allclose(y, 0.5, rtol=4 * np.finfo(dtype).eps)


@pytest.mark.parametrize("n", [0, 1, 2, 33, 1000])
def test_shuffle(level, n):
    shuffle = _kernels.load(level, "plan").shuffle
    orders = []
    for seed, epoch in ((5, 0), (5, 0), (5, 1), (6, 0), (5 + 2**32, 0), (5, 2**32)):
        order, twin = np.full(n, -1), np.empty(n, np.intp)
        shuffle(order, seed, epoch)
        reference.shuffle(twin, seed, epoch)
        np.testing.assert_array_equal(order, twin)
        np.testing.assert_array_equal(np.sort(order), np.arange(n))
        orders.append(tuple(order))
    assert orders[0] == orders[1]
    if n >= 33:
        assert len(set(orders)) == 5


def test_shuffle_is_fair(level):
    """Each of the 24 orders of 4 numbers about as often: chi^2 of 23 degrees of freedom, 1e-6 beyond 71."""
    shuffle, order, counts = _kernels.load(level, "plan").shuffle, np.empty(4, np.intp), {}
    for epoch in range(4800):
        shuffle(order, 11, epoch)
        counts[tuple(order)] = counts.get(tuple(order), 0) + 1
    assert len(counts) == 24
    assert sum((count - 200) ** 2 / 200 for count in counts.values()) < 71


if __name__ == "__main__":  # test_nothing_beyond_an_array_is_read
    guarded = before_a_closed_page
    for name in ("float32", "float64"):
        run_everything(_kernels.load(sys.argv[1], "bindings"), np.dtype(name))
    print("done")
