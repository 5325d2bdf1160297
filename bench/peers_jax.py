"""JAX, behind the methods of `peers.Peer`: the whole step is one program, whose arguments are given up to it.

It uses all processors, whatever number of threads is asked for: that can't be set after it was imported.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from peers import Peer

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


def start(weights):
    """What Adam trains: weights, their two moments, and the number of steps."""
    moments = [jax.tree.map(jnp.zeros_like, weights) for _ in range(2)]
    return weights, *moments, jnp.zeros((), jnp.float32)


def adam(state, gradients, b1=0.9, b2=0.999, eps=1e-8, learning_rate=0.001):
    """Kingma and Ba, Algorithm 1."""
    weights, m, v, step = state
    step += 1
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, gradients)
    rate, correction = learning_rate / (1 - b1**step), 1 / (1 - b2**step)
    weights = jax.tree.map(lambda w, m, v: w - rate * m / (jnp.sqrt(v * correction) + eps), weights, m, v)
    return weights, m, v, step


def cross_entropy(logits, labels):
    picked = jnp.take_along_axis(logits, labels[:, None], 1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=1) - picked).mean()


def squared_error(outputs, targets):
    return ((outputs - targets) ** 2).mean()


class Jax(Peer):
    """jit, on all processors."""

    name = "JAX"

    def __init__(self, task, kernels, threads):
        self.state = start([(jnp.array(k), jnp.zeros(k.shape[1], k.dtype)) for k in kernels])
        activation = ACTIVATIONS[task.hidden]
        classifies = task.loss == "cross-entropy"
        loss_of = cross_entropy if classifies else squared_error

        def forward(weights, x):
            for kernel, bias in weights[:-1]:
                x = activation(x @ kernel + bias)
            kernel, bias = weights[-1]
            return x @ kernel + bias

        def step(state, x, y):
            loss, gradients = jax.value_and_grad(lambda w: loss_of(forward(w, x), y))(state[0])
            return adam(state, gradients), loss

        def output(weights, x):
            return jax.nn.softmax(forward(weights, x)) if classifies else forward(weights, x)

        self.step = jax.jit(step, donate_argnums=0)
        self.output = jax.jit(output)

    def train(self, x, y):
        self.state, loss = self.step(self.state, x, y)
        return float(loss)  # waits for the step: what one program returns is ready at once

    def predict(self, x):
        return np.asarray(self.output(self.state[0], x))

    def kernels(self):
        return [np.array(kernel) for kernel, _ in self.state[0]]


PEERS = (Jax,)
