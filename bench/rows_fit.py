"""Row of `fit`: the same network with batch norm, by each library in the way that is usual there, data in memory.

Each is made from ``(x, y, kernels, threads)``; ``fit(epochs, shuffle)`` returns the mean loss of the last epoch.
"""

from __future__ import annotations

import functools
import time
import warnings

import numpy as np
from networks import he_normal
from peers import available
from timing import interleave, row, settle

SIZES = 64, 256, 128, 10
BATCH = 128
EPOCHS = 20


class FastFit:
    """This library's `fit`."""

    name = "fastmlp"
    same = True  # the network: losses must agree

    def __init__(self, x, y, kernels, threads):
        import fastmlp as fm

        fm.set_num_threads(threads)
        layers = []
        for units in SIZES[1:-1]:
            layers += [fm.layers.Dense(units), fm.layers.BatchNorm(), fm.layers.Activation("relu")]
        layers.append(fm.layers.Dense(SIZES[-1], activation="softmax"))
        self.net = fm.Sequential(layers, input_dim=SIZES[0], seed=0)
        self.net.compile("adam", "sparse_categorical_crossentropy")
        for number, kernel in enumerate(kernels):
            self.net.parameters[f"{3 * number}.kernel"] = kernel
        self.x, self.y = x, y

    def fit(self, epochs, shuffle=True):
        history = self.net.fit(self.x, self.y, epochs=epochs, batch_size=BATCH, shuffle=shuffle, verbose=0)
        return history.history["loss"][-1]


class TorchFit:
    """A bare loop: no DataLoader, batches picked by index."""

    name = "torch"
    same = True

    def __init__(self, x, y, kernels, threads):
        import torch
        from peers_torch import linear, use_threads

        self.ready = lambda: use_threads(threads)
        layers = []
        for kernel in kernels[:-1]:
            layers += [linear(kernel), torch.nn.BatchNorm1d(kernel.shape[1], momentum=0.1), torch.nn.ReLU()]
        self.net = torch.nn.Sequential(*layers, linear(kernels[-1]))
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.001, fused=True)
        self.loss = torch.nn.CrossEntropyLoss()
        self.x, self.y, self.torch = torch.from_numpy(x), torch.from_numpy(y), torch

    def fit(self, epochs, shuffle=True):
        self.ready()
        rows = len(self.x)
        for _ in range(epochs):
            order, total = self.torch.randperm(rows) if shuffle else self.torch.arange(rows), 0.0
            for picked in order.split(BATCH):
                self.optimizer.zero_grad()
                loss = self.loss(self.net(self.x[picked]), self.y[picked])
                loss.backward()
                self.optimizer.step()
                total += loss.detach() * len(picked)
        return float(total) / rows


class TorchOneFit(TorchFit):
    """The same on one thread."""

    name = "torch 1"

    def __init__(self, x, y, kernels, threads):
        super().__init__(x, y, kernels, 1)


class JaxFit:
    """A loop over one compiled step, which picks its batch by index; compiled once for all fits."""

    name = "JAX"
    same = True

    def __init__(self, x, y, kernels, threads):
        import jax.numpy as jnp
        from peers_jax import start

        weights = []
        for kernel in kernels:
            ones = jnp.ones(kernel.shape[1], kernel.dtype)
            weights.append((jnp.array(kernel), 0 * ones, ones, 0 * ones))  # kernel, bias, scale, shift
        weights[-1] = weights[-1][:2]
        self.state = start(weights)
        self.running = [(jnp.zeros(units), jnp.ones(units)) for units in SIZES[1:-1]]
        self.x, self.y = jnp.array(x), jnp.array(y)
        self.step = jax_program()

    def fit(self, epochs, shuffle=True):
        import jax

        rows, rng = len(self.x), np.random.default_rng(0)
        for _ in range(epochs):
            order, total = rng.permutation(rows) if shuffle else np.arange(rows), 0.0
            for at in range(0, rows, BATCH):
                picked = order[at : at + BATCH]
                self.state, self.running, loss = self.step(self.state, self.running, self.x, self.y, picked)
                total += loss * len(picked)
        jax.block_until_ready(self.state)
        return float(total) / rows


@functools.cache
def jax_program():
    """Adam on the batch that is picked, and the running statistics that a prediction would use."""
    import jax
    from peers_jax import adam, cross_entropy

    def loss_of(weights, x, y):
        statistics = []
        for kernel, bias, scale, shift in weights[:-1]:
            z = x @ kernel + bias
            statistics.append((z.mean(0), z.var(0)))
            x = jax.nn.relu((z - z.mean(0)) / jax.numpy.sqrt(z.var(0) + 1e-5) * scale + shift)
        kernel, bias = weights[-1]
        return cross_entropy(x @ kernel + bias, y), statistics

    def step(state, running, x, y, picked):
        (loss, fresh), gradients = jax.value_and_grad(loss_of, has_aux=True)(state[0], x[picked], y[picked])
        running = jax.tree.map(lambda kept, new: 0.9 * kept + 0.1 * new, running, fresh)
        return adam(state, gradients), running, loss

    return jax.jit(step, donate_argnums=(0, 1))


class SklearnFit:
    """MLPClassifier, which has no batch norm: less work, and another loss."""

    name = "scikit-learn"
    same = False

    def __init__(self, x, y, kernels, threads):
        from sklearn.neural_network import MLPClassifier

        self.net = MLPClassifier(SIZES[1:-1], alpha=0.0, batch_size=BATCH, tol=0.0, random_state=0)
        self.x, self.y = x, y

    def fit(self, epochs, shuffle=True):
        self.net.set_params(max_iter=epochs, n_iter_no_change=epochs + 1, shuffle=shuffle)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it has not converged is what was asked for
            self.net.fit(self.x, self.y)
        return float(self.net.loss_)


def contestants(threads):
    """Those that are installed."""
    installed = {"fastmlp", *(peer.name for peer in available(threads))}
    return [fit for fit in (FastFit, TorchOneFit, TorchFit, JaxFit, SklearnFit) if fit.name in installed]


def same_losses(make):
    """Without shuffling, three epochs must give the same loss: the same network, weights, batches and optimizer.

    With it, 20 epochs gave 0.030 to 0.040: order matters that much, so a factor of 2 is let pass.
    """
    final = {}
    for fit in make:
        if fit.same:
            np.testing.assert_allclose(make[fit]().fit(3, shuffle=False), make[FastFit]().fit(3, shuffle=False), 1e-3)
            final[fit.name] = make[fit]().fit(EPOCHS)
    if max(final.values()) > 2 * min(final.values()):
        raise AssertionError(f"losses after {EPOCHS} epochs differ: {final}")
    return final


def fit_rows(rounds, threads):
    """20 epochs of the digits, from new networks each time; making them is not timed."""
    from fastmlp.datasets import load_digits

    x, y = load_digits()  # scikit-learn's, in [0, 1]
    kernels = he_normal(SIZES, np.random.default_rng(0))
    make = {fit: functools.partial(fit, x, y, kernels, threads) for fit in contestants(threads)}
    if len(make) == 1:
        return  # NumPy has no loop of its own here

    def turn(fit):
        make[fit]().fit(1)  # warm
        net = make[fit]()
        begun = time.perf_counter()
        net.fit(EPOCHS)
        elapsed = time.perf_counter() - begun
        settle()
        return elapsed

    losses = same_losses(make)
    times = interleave({fit.name: functools.partial(turn, fit) for fit in make}, rounds)
    note = "scikit-learn without batch norm, JAX compiled before"
    yield row("fit digits", f"64-256-128-10, {BATCH}", times) | {"note": note, "losses": losses}
