"""Rows of one layer alone: a GEMM with bias and ReLU, on one thread and on all."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import threadpoolctl
from timing import interleave, row, turn

SIZES = (64, 64, 64), (256, 512, 512), (512, 2048, 2048), (2048, 2048, 2048)  # rows, inputs, units


def ours(x, kernel, bias, out, threads):
    """What a user calls: `predict` of one layer, with the memory that it keeps and the checks that it makes."""
    import fastmlp as fm

    net = fm.Sequential([fm.layers.Dense(len(bias), "relu")], input_dim=len(kernel), seed=0)
    net.parameters["0.kernel"], net.parameters["0.bias"] = kernel, bias

    def call():
        net.predict(x, batch_size=len(x), out=out)

    fm.set_num_threads(threads)
    return call


def numpys(x, kernel, bias, out):
    def call():
        np.matmul(x, kernel, out=out)
        np.add(out, bias, out=out)
        np.maximum(out, 0, out=out)

    return call


def torchs(*arrays):
    import torch

    x, kernel, bias, out = map(torch.from_numpy, arrays)

    def call():
        with torch.inference_mode():
            torch.addmm(bias, x, kernel, out=out).relu_()

    return call


def same_outputs(outputs, k):
    """Within what rounding allows."""
    for name, out in outputs.items():
        np.testing.assert_allclose(out, outputs["fastmlp"], atol=2e-6 * k, err_msg=name)


def gemm_row(size, threads, rounds):
    """Who computes relu(x kernel + bias) fastest."""
    rng = np.random.default_rng(0)
    m, k, n = size
    x, kernel, bias = (rng.standard_normal(shape).astype("f") for shape in ((m, k), (k, n), (n,)))
    names = ["fastmlp", "NumPy", *(["torch"] if find_spec("torch") else [])]
    outputs = {name: np.empty((m, n), "f") for name in names}
    calls = {"fastmlp": ours(x, kernel, bias, outputs["fastmlp"], threads)}
    calls["NumPy"] = numpys(x, kernel, bias, outputs["NumPy"])
    if "torch" in names:
        from peers_torch import use_threads

        calls["torch"] = torchs(x, kernel, bias, outputs["torch"])
        use_threads(threads)
    with threadpoolctl.threadpool_limits(threads, user_api="blas"):
        for call in calls.values():
            call()
        same_outputs(outputs, k)
        times = interleave({name: lambda call=call: turn(call) for name, call in calls.items()}, rounds)
    label = f"{m}x{k}x{n}, {threads} thread{'s' * (threads > 1)}"
    return row("GEMM with epilogue", label, times, operations=2 * m * k * n, threads=threads)


def gemm_rows(rounds, threads):
    """All sizes on one thread, then on all."""
    for count in sorted({1, threads}):
        for size in SIZES:
            yield gemm_row(size, count, rounds)
