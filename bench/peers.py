"""The libraries that a user could pick instead, each behind the same methods; those not installed are left out."""

from __future__ import annotations

import numpy as np
from numpy_mlp import NumpyMLP


class FastMLP:
    """This library."""

    name = "fastmlp"
    may_differ = 0.0

    def __init__(self, kernels, threads):
        import fastmlp as fm

        fm.set_num_threads(threads)
        layers = [fm.layers.Dense(k.shape[1], activation="relu") for k in kernels[:-1]]
        layers.append(fm.layers.Dense(kernels[-1].shape[1], activation="softmax"))
        self.net = fm.Sequential(layers, input_dim=kernels[0].shape[0], dtype=kernels[0].dtype, seed=0)
        self.net.compile("adam", "sparse_categorical_crossentropy")
        for number, kernel in enumerate(kernels):
            self.net.parameters[f"{number}.kernel"] = kernel

    def train(self, x, y):
        return self.net.train_on_batch(x, y)["loss"]

    def predict(self, x):
        return self.net.predict(x)

    def kernels(self):
        return [np.array(v) for k, v in self.net.parameters.items() if k.endswith("kernel")]


class ByHand:
    """NumPy; its BLAS uses `threads`."""

    name = "NumPy"
    may_differ = 0.01  # share of the weights, see compare.same_weights

    def __init__(self, kernels, threads):
        import threadpoolctl

        threadpoolctl.threadpool_limits(threads, user_api="blas")
        self.net = NumpyMLP(kernels)
        self.train, self.predict = self.net.train, self.net.predict

    def kernels(self):
        return [kernel.copy() for kernel, _ in self.net.layers]


class Torch:
    """PyTorch, eager, fused Adam."""

    name = "torch"
    may_differ = 0.01

    def __init__(self, kernels, threads):
        import torch

        self.torch = torch
        torch.set_num_threads(threads)
        layers = []
        for kernel in kernels:
            layer = torch.nn.Linear(*kernel.shape)
            with torch.no_grad():
                layer.weight.copy_(torch.from_numpy(kernel.T.copy()))
                layer.bias.zero_()
            layers += [layer, torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers[:-1])
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.001, fused=True)
        self.loss = torch.nn.CrossEntropyLoss()

    def train(self, x, y):
        self.optimizer.zero_grad()
        loss = self.loss(self.net(self.torch.from_numpy(x)), self.torch.from_numpy(y))
        loss.backward()
        self.optimizer.step()
        return float(loss)

    def predict(self, x):
        with self.torch.inference_mode():
            return self.torch.softmax(self.net(self.torch.from_numpy(x)), 1).numpy()

    def kernels(self):
        return [p.detach().numpy().T.copy() for p in self.net.parameters() if p.ndim == 2]


class SklearnMLP:
    """scikit-learn's MLPClassifier, `partial_fit`, without its penalty."""

    name = "scikit-learn"
    may_differ = 0.1  # its epsilon is added before the correction of the moments

    def __init__(self, kernels, threads):
        import threadpoolctl
        from sklearn.neural_network import MLPClassifier

        threadpoolctl.threadpool_limits(threads, user_api="blas")
        self.first, self.start = True, kernels
        self.net = MLPClassifier([k.shape[1] for k in kernels[:-1]], alpha=0.0, batch_size=10**9)
        self.classes = np.arange(kernels[-1].shape[1])

    def _begin(self, x, y):
        self.net.batch_size = len(x)
        if len(self.classes) == 2:
            raise NotImplementedError("two classes have one output there")
        self.net.partial_fit(x, y, classes=self.classes)
        for own, kernel in zip(self.net.coefs_, self.start, strict=True):
            own[...] = kernel
        for bias in self.net.intercepts_:
            bias[...] = 0
        optimizer = self.net._optimizer
        optimizer.t = 0
        for moments in (optimizer.ms, optimizer.vs):
            for moment in moments:
                moment[...] = 0

    def train(self, x, y):
        if self.first:
            self._begin(x, y)
            self.first = False
        self.net.partial_fit(x, y)
        return float(self.net.loss_)

    def predict(self, x):
        return self.net.predict_proba(x)

    def kernels(self):
        return [np.array(k) for k in self.net.coefs_]


PEERS = (ByHand, Torch, SklearnMLP)


def available():
    """The peers that are installed."""
    modules = {"NumPy": "threadpoolctl", "torch": "torch", "scikit-learn": "sklearn"}
    from importlib.util import find_spec

    return [peer for peer in PEERS if find_spec(modules[peer.name])]
