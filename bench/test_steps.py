"""Training steps and predictions, against NumPy by hand and torch; answers are compared before a time counts.

Groups go by the size of the network; `bench/compare.py` has more peers, and interleaves them.
"""

import numpy as np
import pytest
from networks import FULL_BATCH, NETWORKS, data, flops
from peers import ByHand, FastMLP

import fastmlp as fm

pytestmark = pytest.mark.benchmark(max_time=0.3)
THREADS = fm.get_num_threads()
WHO = "fastmlp", "NumPy", "torch"


def peer(who):
    """Its class; what is not installed is skipped."""
    pytest.importorskip("threadpoolctl", reason="the extra 'bench' limits NumPy's threads")
    if who == "torch":
        pytest.importorskip("torch")
        from peers_torch import Torch

        return Torch
    return {"fastmlp": FastMLP, "NumPy": ByHand}[who]


def trained(task, who):
    """A network after some steps, and fastmlp's, which has seen the same."""
    x, y, kernels = data(task)
    mine, ours = peer(who)(task, kernels, THREADS), FastMLP(task, kernels, THREADS)
    mine.ready()
    losses = [[net.train(x, y) for _ in range(3)] for net in (mine, ours)]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    return mine, ours, x, y


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("name", NETWORKS)
def test_training_step(benchmark, name, who):
    net, _, x, y = trained(NETWORKS[name], who)
    benchmark.group = f"step {name}"
    benchmark.extra_info["GFLOP"] = flops(NETWORKS[name]) / 1e9
    benchmark(lambda: net.train(x, y))


@pytest.mark.parametrize("who", WHO)
def test_full_batch(benchmark, who):
    """A small regression with tanh, 10,000 rows at once."""
    net, _, x, y = trained(FULL_BATCH, who)
    benchmark.group = "step of 4-32-16-4 tanh, full batch"
    benchmark(lambda: net.train(x, y))


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("rows", ["one", "batch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_predict(benchmark, name, rows, who):
    net, ours, x, _ = trained(NETWORKS[name], who)
    x = x[:1] if rows == "one" else x
    benchmark.group = f"predict {name}, {rows}"
    np.testing.assert_allclose(net.predict(x), ours.predict(x), atol=1e-3)
    benchmark(lambda: net.predict(x))
