"""What is measured: networks, a batch of data for each, and how many floating-point operations a step takes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np


@dataclass(frozen=True)
class Task:
    """Hidden layers of one kind, then softmax cross-entropy or the mean squared error; one batch; Adam."""

    sizes: tuple[int, ...]
    batch: int
    hidden: str = "relu"
    loss: str = "cross-entropy"  # or "squared error", of an output without an activation

    def __str__(self):
        return f"{'-'.join(map(str, self.sizes))}, {self.batch}"


NETWORKS = {
    "tiny": Task((8, 16, 16, 2), 32),
    "small": Task((32, 64, 64, 10), 64),
    "tab": Task((54, 128, 128, 7), 256),
    "mnist": Task((784, 256, 128, 10), 128),
    "mid": Task((784, 512, 512, 10), 256),
    "wide": Task((1024, 2048, 2048, 10), 512),
}
FULL_BATCH = Task((4, 32, 16, 4), 10_000, "tanh", "squared error")
WIDTHS = 256, 512, 1024
ACTIVATIONS = "relu", "sigmoid", "tanh"


def of_width(width, hidden):
    """The network in which activations are compared."""
    return Task((784, width, width, 10), 256, hidden)


def data(task, dtype=np.float32, seed=0):
    """Inputs ``(batch, features)``, labels ``(batch,)`` or targets ``(batch, units)``, He-normal kernels."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((task.batch, task.sizes[0])).astype(dtype)
    if task.loss == "cross-entropy":
        y = rng.integers(0, task.sizes[-1], task.batch)
    else:
        y = rng.standard_normal((task.batch, task.sizes[-1])).astype(dtype)
    return x, y, he_normal(task.sizes, rng, dtype)


def he_normal(sizes, rng, dtype=np.float32):
    """Kernels ``(inputs, units)``; biases start from 0."""
    return [(rng.standard_normal((m, n)) * np.sqrt(2 / m)).astype(dtype) for m, n in pairwise(sizes)]


def flops(task):
    """Floating-point operations of a training step: three GEMMs a layer, but no gradient of the input."""
    return 3 * forward_flops(task, task.batch) - 2 * task.batch * task.sizes[0] * task.sizes[1]


def forward_flops(task, rows):
    """Floating-point operations of a prediction."""
    return 2 * rows * sum(m * n for m, n in pairwise(task.sizes))
