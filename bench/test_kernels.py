"""Kernels one by one: `pytest bench`. Each checks its answer against the NumPy twin before it is timed; groups go by
size."""

import numpy as np
import pytest

from fastmlp._kernels import level, load, reference

pytestmark = pytest.mark.benchmark(max_time=0.3)
bindings = load(level, "bindings")
RELU = load(level, "plan_ops").ACTIVATIONS["relu"]
SIZES = [(64, 64, 64), (256, 54, 128), (128, 784, 256), (256, 512, 512), (512, 2048, 2048)]


def filled(shape, dtype=np.float32, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def name_of(size):
    return "x".join(map(str, size))


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", SIZES, ids=name_of)
@pytest.mark.parametrize("who", ["fastmlp", "numpy"])
def test_dense_forward(benchmark, size, threads, who):
    """x kernel + bias, ReLU, against NumPy's BLAS on as many threads."""
    threadpoolctl = pytest.importorskip("threadpoolctl", reason="the extra 'bench' limits NumPy's threads")
    m, k, n = size
    x, kernel, bias = filled((m, k)), filled((k, n), seed=1), filled(n, seed=2)
    z, a, expected = np.empty((m, n), "f"), np.empty((m, n), "f"), np.empty((m, n), "f")
    benchmark.group = f"dense forward {name_of(size)}, {threads} threads"

    def ours():
        bindings.dense_forward(x, kernel, bias, a, a, RELU, threads=threads)

    def numpys():
        np.matmul(x, kernel, out=z)
        np.add(z, bias, out=z)
        np.maximum(z, 0, out=expected)

    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        ours()
        numpys()
        np.testing.assert_allclose(a, expected, atol=2e-6 * k)
        benchmark(ours if who == "fastmlp" else numpys)
    benchmark.extra_info["GFLOP"] = 2 * m * k * n / 1e9


@pytest.mark.parametrize("size", SIZES, ids=name_of)
def test_dense_backward(benchmark, size):
    m, k, n = size
    benchmark.group = f"dense backward {name_of(size)}"
    x, kernel, d, z = filled((m, k)), filled((k, n), seed=1), filled((m, n), seed=2), filled((m, k), seed=3)
    ours = [np.empty((k, n), "f"), np.empty(n, "f"), np.empty((m, k), "f")]
    twin = [np.empty_like(array) for array in ours]
    bindings.dense_backward(x, kernel, d, *ours, RELU, z, z)
    reference.dense_backward(x, kernel, d, *twin, RELU, z, z)
    for mine, theirs in zip(ours, twin, strict=True):
        np.testing.assert_allclose(mine, theirs, atol=2e-6 * max(m, n))
    benchmark(lambda: bindings.dense_backward(x, kernel, d, *ours, RELU, z, z))


@pytest.mark.parametrize("count", [1024, 65536, 2**20])
@pytest.mark.parametrize("kind", ["relu", "sigmoid", "tanh", "exponential", "sin"])
def test_activation(benchmark, kind, count):
    number = load(level, "plan_ops").ACTIVATIONS[kind]
    benchmark.group = f"activation, {count} numbers"
    z = filled(count)
    a, twin = np.empty_like(z), np.empty_like(z)
    bindings.activation_forward(number, z, a)
    reference.activation_forward(number, z, twin)
    np.testing.assert_allclose(a, twin, rtol=1e-6, atol=1e-7)
    benchmark(lambda: bindings.activation_forward(number, z, a))


@pytest.mark.parametrize("shape", [(32, 64), (256, 512)], ids=name_of)
def test_batchnorm_forward(benchmark, shape):
    benchmark.group = f"batch norm {name_of(shape)}"
    x, units = filled(shape), shape[1]
    ones, mean, var = np.ones(units, "f"), np.empty(units, "f"), np.empty(units, "f")
    y, twin = np.empty_like(x), np.empty_like(x)
    bindings.batchnorm_forward(x, ones, ones, 1e-5, mean, var, y)
    reference.batchnorm_forward(x, ones, ones, 1e-5, mean.copy(), var.copy(), twin)
    np.testing.assert_allclose(y, twin, atol=1e-5)
    benchmark(lambda: bindings.batchnorm_forward(x, ones, ones, 1e-5, mean, var, y))


@pytest.mark.parametrize("count", [10**4, 10**6])
def test_adam(benchmark, count):
    benchmark.group = f"Adam, {count} parameters"
    w, g = filled(count), filled(count, seed=1)
    m, v, twin = np.zeros_like(w), np.zeros_like(w), w.copy()
    bindings.adam_update(w, g, m, v, 1e-3, 0.9, 0.999, 1e-8, 1)
    reference.adam_update(twin, g, np.zeros_like(w), np.zeros_like(w), 1e-3, 0.9, 0.999, 1e-8, 1)
    np.testing.assert_allclose(w, twin, atol=1e-6)
    benchmark(lambda: bindings.adam_update(w, g, m, v, 1e-3, 0.9, 0.999, 1e-8, 2))


@pytest.mark.parametrize("shape", [(32, 64), (128, 512)], ids=name_of)
def test_dropout(benchmark, shape):
    benchmark.group = f"dropout {name_of(shape)}"
    x = filled(shape)
    y, mask, twin = np.empty_like(x), np.empty(x.shape, np.uint8), np.empty_like(x)
    bindings.dropout_forward(x, y, mask, 0.2, 1, 2, 3)
    reference.dropout_forward(x, twin, np.empty_like(mask), 0.2, 1, 2, 3)
    np.testing.assert_array_equal(y, twin)
    benchmark(lambda: bindings.dropout_forward(x, y, mask, 0.2, 1, 2, 3))
