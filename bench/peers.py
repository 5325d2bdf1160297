"""The libraries that a user could pick instead, each behind the same methods; those not installed are left out.

All train with the same dtype, initial weights, batches and Adam (0.001, 0.9, 0.999, 1e-8 added to the root of the
corrected second moment), take NumPy arrays, and return the loss as a float of Python, and predictions as an array.
"""

from __future__ import annotations

import functools
import sys
from importlib import import_module

import numpy as np
from numpy_mlp import NumpyMLP

LOSSES = {"cross-entropy": "sparse_categorical_crossentropy", "squared error": "mean_squared_error"}


class Peer:
    """What is measured, made from a `networks.Task`, the initial kernels, and a number of threads.

    `NotImplementedError` on the way says that a task is not for this peer.
    """

    name = ""
    trains = True  # otherwise it is made with biases as well, from trained weights
    may_differ = 0.01  # share of the weights, see rows_steps.same_weights

    @staticmethod
    def check():
        """Raise whatever keeps this peer from running here."""

    def ready(self):
        """Set what is global to the process: called before each turn."""

    def train(self, x, y):
        """One step; returns the loss."""
        raise NotImplementedError

    def predict(self, x):
        """Probabilities, or the output of a regression."""
        raise NotImplementedError

    def kernels(self):
        """Copies, ``(inputs, units)`` each."""
        raise NotImplementedError


class FastMLP(Peer):
    """This library."""

    name = "fastmlp"
    may_differ = 0.0

    def __init__(self, task, kernels, threads):
        import fastmlp as fm

        fm.set_num_threads(threads)
        layers = [fm.layers.Dense(units, activation=task.hidden) for units in task.sizes[1:-1]]
        output = "softmax" if task.loss == "cross-entropy" else None
        layers.append(fm.layers.Dense(task.sizes[-1], activation=output))
        self.net = fm.Sequential(layers, input_dim=task.sizes[0], dtype=kernels[0].dtype, seed=0)
        self.net.compile("adam", LOSSES[task.loss])
        for number, kernel in enumerate(kernels):
            self.net.parameters[f"{number}.kernel"] = kernel

    def train(self, x, y):
        return self.net.train_on_batch(x, y)["loss"]

    def predict(self, x):
        return self.net.predict(x)

    def kernels(self):
        return [np.array(v) for k, v in self.net.parameters.items() if k.endswith("kernel")]

    def biases(self):
        """Copies."""
        return [np.array(v) for k, v in self.net.parameters.items() if k.endswith("bias")]


class ByHand(Peer):
    """NumPy; its BLAS uses `threads`."""

    name = "NumPy"

    def __init__(self, task, kernels, threads):
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")
        self.net = NumpyMLP(kernels, task.hidden, task.loss)
        self.train, self.predict = self.net.train, self.net.predict

    def kernels(self):
        return [kernel.copy() for kernel, _ in self.net.layers]


PEERS = (ByHand,)


@functools.cache
def available(threads):
    """The peers that can run here; of those that can't, one line on stderr says why."""
    found = []
    for module in ("peers", "peers_torch", "peers_jax", "peers_sklearn", "peers_onnx"):
        try:
            peers = import_module(module).PEERS
        except ImportError as error:
            print(f"left out: {module} ({error})", file=sys.stderr)
            continue
        found += [peer for peer in peers if works(peer)]
    return [peer for peer in found if threads > 1 or peer.name != "torch 1"]


def works(peer):
    """Whether a peer that is installed runs here: compilers may be missing, and fail in many ways."""
    try:
        peer.check()
    except Exception as error:
        print(f"left out: {peer.name} ({str(error).strip().splitlines()[0]})", file=sys.stderr)
        return False
    return True
