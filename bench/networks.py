"""The networks that are measured: ReLU layers, softmax cross-entropy, Adam; and one batch of data for each."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

NETWORKS = {
    "tiny": ((8, 16, 16, 2), 32),
    "small": ((32, 64, 64, 10), 64),
    "tab": ((54, 128, 128, 7), 256),
    "mnist": ((784, 256, 128, 10), 128),
    "mid": ((784, 512, 512, 10), 256),
    "wide": ((1024, 2048, 2048, 10), 512),
}


def data(name, dtype=np.float32, seed=0):
    """Inputs ``(batch, features)``, labels ``(batch,)``, and He-normal kernels with zero biases."""
    sizes, batch = NETWORKS[name]
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((batch, sizes[0])).astype(dtype)
    y = rng.integers(0, sizes[-1], batch)
    kernels = [(rng.standard_normal((m, n)) * np.sqrt(2 / m)).astype(dtype) for m, n in pairwise(sizes)]
    return x, y, kernels


def flops(name):
    """Floating-point operations of a training step: three GEMMs a layer, but no gradient of the input."""
    sizes, batch = NETWORKS[name]
    pairs = list(pairwise(sizes))
    return 2 * batch * (3 * sum(m * n for m, n in pairs) - pairs[0][0] * pairs[0][1])
