"""Training steps and predictions, against NumPy by hand; weights are compared before anything is timed."""

import numpy as np
import pytest
from networks import NETWORKS, data, flops
from peers import ByHand, FastMLP

THREADS = 2


def pair(name):
    """Both networks, after some steps from the same weights."""
    x, y, kernels = data(name)
    networks = {peer.name: peer(kernels, THREADS) for peer in (FastMLP, ByHand)}
    losses = {peer: [net.train(x, y) for _ in range(3)] for peer, net in networks.items()}
    np.testing.assert_allclose(losses["fastmlp"], losses["NumPy"], rtol=1e-3)
    return networks, x, y


@pytest.mark.parametrize("who", ["fastmlp", "NumPy"])
@pytest.mark.parametrize("name", NETWORKS)
def test_training_step(benchmark, name, who):
    pytest.importorskip("threadpoolctl", reason="the extra 'bench' limits NumPy's threads")
    networks, x, y = pair(name)
    benchmark.group = f"step {name}"
    benchmark.extra_info["GFLOP"] = flops(name) / 1e9
    benchmark(lambda: networks[who].train(x, y))


@pytest.mark.parametrize("who", ["fastmlp", "NumPy"])
@pytest.mark.parametrize("rows", ["one", "batch"])
@pytest.mark.parametrize("name", NETWORKS)
def test_predict(benchmark, name, rows, who):
    pytest.importorskip("threadpoolctl", reason="the extra 'bench' limits NumPy's threads")
    networks, x, _ = pair(name)
    x = x[:1] if rows == "one" else x
    benchmark.group = f"predict {name}, {rows}"
    np.testing.assert_allclose(networks["fastmlp"].predict(x), networks["NumPy"].predict(x), atol=1e-3)
    benchmark(lambda: networks[who].predict(x))
