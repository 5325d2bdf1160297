"""scikit-learn, behind the methods of `peers.Peer`."""

from __future__ import annotations

import numpy as np
import threadpoolctl
from peers import Peer
from sklearn.neural_network import MLPClassifier


class SklearnMLP(Peer):
    """MLPClassifier, `partial_fit`, without its penalty."""

    name = "scikit-learn"
    may_differ = 0.1  # its epsilon is added before the correction of the moments

    def __init__(self, task, kernels, threads):
        if task.loss != "cross-entropy" or task.sizes[-1] == 2:
            raise NotImplementedError("two classes have one output there")
        threadpoolctl.threadpool_limits(threads, user_api="blas")
        hidden = {"relu": "relu", "tanh": "tanh", "sigmoid": "logistic"}[task.hidden]
        self.net = MLPClassifier(task.sizes[1:-1], activation=hidden, alpha=0.0, batch_size=task.batch)
        self._begin(task, kernels)

    def _begin(self, task, kernels):
        """A step builds it; then the weights and the optimizer start anew."""
        classes = np.arange(task.sizes[-1])
        x, y = np.zeros((task.batch, task.sizes[0]), kernels[0].dtype), np.arange(task.batch) % len(classes)
        self.net.partial_fit(x, y, classes=classes)
        for own, kernel in zip(self.net.coefs_, kernels, strict=True):
            own[...] = kernel
        optimizer = vars(self.net)["_optimizer"]  # which scikit-learn has no other way to start anew
        optimizer.t = 0
        for array in (*self.net.intercepts_, *optimizer.ms, *optimizer.vs):
            array[...] = 0

    def train(self, x, y):
        self.net.partial_fit(x, y)
        return float(self.net.loss_)

    def predict(self, x):
        return self.net.predict_proba(x)

    def kernels(self):
        return [np.array(k) for k in self.net.coefs_]


PEERS = (SklearnMLP,)
