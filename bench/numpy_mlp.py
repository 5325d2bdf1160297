"""The same training step by hand in NumPy: in-place operations, one flat array for Adam, no overhead that a careful
user would not have."""

from __future__ import annotations

import numpy as np


class NumpyMLP:
    """ReLU layers, softmax cross-entropy, Adam."""

    def __init__(self, kernels, learning_rate=0.001):
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
        self.learning_rate, self.step = learning_rate, 0

    def forward(self, x):
        """Activations of all layers, logits last."""
        outputs = [x]
        for number, (kernel, bias) in enumerate(self.layers):
            z = outputs[-1] @ kernel
            z += bias
            if number < len(self.layers) - 1:
                np.maximum(z, 0, out=z)
            outputs.append(z)
        return outputs

    def predict(self, x):
        """Probabilities."""
        z = self.forward(x)[-1]
        z -= z.max(axis=1, keepdims=True)
        np.exp(z, out=z)
        z /= z.sum(axis=1, keepdims=True)
        return z

    def train(self, x, y):
        """One step; returns the loss."""
        outputs = self.forward(x)
        z, rows = outputs[-1], np.arange(len(x))
        z -= z.max(axis=1, keepdims=True)
        target = z[rows, y]
        np.exp(z, out=z)
        total = z.sum(axis=1, keepdims=True)
        loss = float((np.log(total[:, 0]) - target).mean())
        z /= total
        z[rows, y] -= 1
        z /= len(x)
        delta = z
        for number in reversed(range(len(self.layers))):
            d_kernel, d_bias = self.gradients[number]
            np.matmul(outputs[number].T, delta, out=d_kernel)
            delta.sum(axis=0, out=d_bias)
            if number:
                delta = delta @ self.layers[number][0].T
                delta *= outputs[number] > 0
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
