"""The same training step by hand in NumPy: in-place operations, one flat array for Adam, no overhead that a careful
user would not have."""

from __future__ import annotations

import numpy as np


class NumpyMLP:
    """Layers of ReLU or tanh, softmax cross-entropy or the mean squared error, Adam."""

    def __init__(self, kernels, hidden="relu", loss="cross-entropy", learning_rate=0.001):
        sizes = [k.size + k.shape[1] for k in kernels]
        dtype = kernels[0].dtype
        self.flat, self.grad = np.zeros(sum(sizes), dtype), np.zeros(sum(sizes), dtype)
        self.m, self.v, self.scratch = (np.zeros_like(self.flat) for _ in range(3))
        self.layers, self.gradients, at = [], [], 0
        for kernel in kernels:
            (rows, units), size = kernel.shape, kernel.size
            for flat, views in ((self.flat, self.layers), (self.grad, self.gradients)):
                views.append((flat[at : at + size].reshape(rows, units), flat[at + size : at + size + units]))
            self.layers[-1][0][...] = kernel
            at += size + units
        self.activate, self.derive = {"relu": (relu, times_relu), "tanh": (tanh, times_tanh)}[hidden]
        self.loss = {"cross-entropy": cross_entropy, "squared error": squared_error}[loss]
        self.output = softmax if loss == "cross-entropy" else lambda z: z
        self.learning_rate, self.step = learning_rate, 0

    def forward(self, x):
        """Activations of all layers, logits last."""
        outputs = [x]
        for number, (kernel, bias) in enumerate(self.layers):
            z = outputs[-1] @ kernel
            z += bias
            if number < len(self.layers) - 1:
                self.activate(z)
            outputs.append(z)
        return outputs

    def predict(self, x):
        """Probabilities, or the output as it is."""
        return self.output(self.forward(x)[-1])

    def train(self, x, y):
        """One step; returns the loss."""
        outputs = self.forward(x)
        delta = outputs[-1]
        loss = self.loss(delta, y)
        for number in reversed(range(len(self.layers))):
            d_kernel, d_bias = self.gradients[number]
            np.matmul(outputs[number].T, delta, out=d_kernel)
            delta.sum(axis=0, out=d_bias)
            if number:
                delta = delta @ self.layers[number][0].T
                self.derive(delta, outputs[number])
        self.adam()
        return loss

    def adam(self, b1=0.9, b2=0.999, eps=1e-8):
        """Kingma and Ba, Algorithm 1."""
        self.step += 1
        m, v, s = self.m, self.v, self.scratch
        m *= b1
        np.multiply(self.grad, 1 - b1, out=s)
        m += s
        v *= b2
        np.multiply(self.grad, self.grad, out=s)
        s *= 1 - b2
        v += s
        np.multiply(v, 1 / (1 - b2**self.step), out=s)
        np.sqrt(s, out=s)
        s += eps
        np.divide(m, s, out=s)
        s *= self.learning_rate / (1 - b1**self.step)
        self.flat -= s


def relu(z):
    np.maximum(z, 0, out=z)


def times_relu(delta, a):
    """delta *= g'(z), from a = g(z)."""
    delta *= a > 0


def tanh(z):
    np.tanh(z, out=z)


def times_tanh(delta, a):
    """delta *= 1 - a^2; a is used up."""
    a *= a
    np.subtract(1, a, out=a)
    delta *= a


def softmax(z):
    """Probabilities, in place."""
    z -= z.max(axis=1, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(axis=1, keepdims=True)
    return z


def cross_entropy(z, y):
    """The loss; z becomes its gradient."""
    rows = np.arange(len(z))
    z -= z.max(axis=1, keepdims=True)
    target = z[rows, y]
    np.exp(z, out=z)
    total = z.sum(axis=1, keepdims=True)
    loss = float((np.log(total[:, 0]) - target).mean())
    z /= total
    z[rows, y] -= 1
    z /= len(z)
    return loss


def squared_error(z, y):
    """The loss; z becomes its gradient."""
    z -= y
    loss = float(np.vdot(z, z)) / z.size
    z *= 2 / z.size
    return loss
