"""Send real Ctrl-Cs at random moments into training with code in NumPy, saving and loading, and see what is left.

    python build_support/interrupts.py [--times 2000] [--seed 0] [--only fit,save]

After each signal the network must have the bits of a twin that was never interrupted, and as many steps; a file must be
the old one or the new one, with nothing beside it; no descriptor may be left open; and the exception must have been
KeyboardInterrupt. The exit code is the number of faults. Nothing here is a part of the package.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
import warnings
from collections import Counter

import numpy as np

import fastmlp as fm

ROWS, FEATURES, CLASSES, BATCH = 48, 6, 3, 16
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(ROWS, FEATURES)).astype("f4"), RNG.normal(size=(ROWS, CLASSES)).astype("f4")


class Centre(fm.layers.Layer):
    """Subtracts a running mean, which it keeps."""

    def build(self, input_dim):
        self.add_buffer("mean", (input_dim,), 0.0)
        return input_dim

    def forward(self, x, *, training, rng):
        if training:
            self.buffers["mean"] *= 0.9
            self.buffers["mean"] += 0.1 * x.mean(axis=0)
        return x - self.buffers["mean"], lambda d: (d, {})


class Branching(fm.activations.Activation):
    """A ReLU that looks at its data."""

    def forward(self, z):
        return np.maximum(z, 0) if z.any() else z

    def derivative(self, z, a):
        return (z > 0).astype(z.dtype)


class Momentum(fm.optimizers.Optimizer):
    """Keeps a velocity."""

    def init_state(self, param):
        return {"v": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        state["v"] *= 0.9
        state["v"] += grad
        param -= learning_rate * state["v"]


class Largest(fm.metrics.Metric):
    """The largest error."""

    def reset(self):
        self.most = 0.0

    def update(self, y_true, y_pred, weight):
        self.most = max(self.most, float(np.abs(y_pred - y_true).max()))

    def result(self):
        return self.most


def network():
    """Return a network that has code in NumPy wherever there can be some."""
    L = fm.layers
    net = fm.Sequential(
        [L.Dense(8), Centre(), L.BatchNorm(), L.Activation(Branching()), L.Dropout(0.2), L.Dense(CLASSES)],
        input_dim=FEATURES,
        seed=1,
    )
    net.compile(Momentum(0.001), "mse", [Largest()])
    return net


def state(net):
    """Return all that steps change, as bytes."""
    states = [array for one in net.optimizer_state.values() for array in one.values()]
    arrays = [*net.parameters.values(), *net.buffers.values(), *states]
    counters = net.engine.counters()
    return counters["steps"], counters["iterations"], b"".join(array.tobytes() for array in arrays)


def one_batch(net, number):
    """Train on a batch of `fit`."""
    part = slice(number * BATCH, (number + 1) * BATCH)
    net.train_on_batch(X[part], Y[part])


class Run:
    """A network, its twin and its file."""

    def __init__(self, folder, seed):
        self.random = random.Random(seed)
        self.folder, self.path = folder, os.path.join(folder, "net.npz")
        self.net, self.twin = network(), network()
        self.net.save(self.path)
        self.saved = state(self.net)
        self.counts = Counter()
        self.faults = []
        gradients = network().loss_and_gradients(X, Y)[1]
        fit = {"batch_size": BATCH, "shuffle": False, "verbose": 0}
        self.actions = {  # each with the steps that a twin does, one after the other
            "train_on_batch": (lambda net: net.train_on_batch(X, Y), [lambda net: net.train_on_batch(X, Y)]),
            "apply_gradients": (
                lambda net: net.apply_gradients(gradients),
                [lambda net: net.apply_gradients(gradients)],
            ),
            "fit": (
                lambda net: net.fit(X, Y, **fit),
                [lambda net, n=n: one_batch(net, n) for n in range(ROWS // BATCH)],
            ),
            "save": (lambda net: net.save(self.path), []),
            "load": (lambda net: fm.load(self.path), []),
        }
        self.seconds = {name: self.time(action) for name, (action, _) in self.actions.items()}

    def time(self, action):
        """Return the median seconds of an action, on a network of its own."""
        net, times = network(), []
        for _ in range(7):
            begun = time.perf_counter()
            action(net)
            times.append(time.perf_counter() - begun)
        self.net.save(self.path)
        return sorted(times)[3]

    def interrupt(self, name):
        """Send a signal somewhere into an action, and look at what it leaves."""
        action, steps = self.actions[name]
        before = self.open_files()
        done = False
        try:
            delay = self.random.uniform(0, 1.1 * self.seconds[name])
            threading.Thread(target=send_after, args=(delay,)).start()
            action(self.net)
            done = True
            time.sleep(60)
            self.faults.append(f"{name}: no signal came out")
        except KeyboardInterrupt:
            self.counts[name, "after" if done else "within"] += 1
        except BaseException as error:
            self.faults.append(f"{name}: {type(error).__name__}: {error}")
        for step in steps:
            if state(self.twin) != state(self.net):
                step(self.twin)
        if state(self.twin) != state(self.net):
            self.faults.append(f"{name}: neither before nor after a step")
            self.net, self.twin = network(), network()
        found = state(fm.load(self.path))
        if found not in (self.saved, state(self.net)):
            self.faults.append(f"{name}: the file is neither the old nor the new one")
        self.saved = found
        if os.listdir(self.folder) != ["net.npz"]:
            self.faults.append(f"{name}: left {sorted(os.listdir(self.folder))}")
            for file in os.listdir(self.folder):
                if file != "net.npz":
                    os.unlink(os.path.join(self.folder, file))
        if self.open_files() != before:
            self.faults.append(f"{name}: left descriptors open")

    @staticmethod
    def open_files():
        """Return how many descriptors are open, where the system tells."""
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0


def send_after(seconds):
    """Send the signal of Ctrl-C to this process."""
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGINT)


def main():
    """Interrupt as often as asked for; return the number of faults."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--times", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="train_on_batch,apply_gradients,fit,save,load")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ResourceWarning)  # of a file between `open` and `with`, which Python then closes
    for kind, name, cls in (
        ("layers", "interrupted-centre", Centre),
        ("activations", "interrupted-branching", Branching),
        ("optimizers", "interrupted-momentum", Momentum),
        ("metrics", "interrupted-largest", Largest),
    ):
        getattr(fm.registry, kind).register(name, cls)
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, options.seed)
        names = options.only.split(",")
        for number in range(options.times):
            run.interrupt(names[number % len(names)])
    for (name, when), count in sorted(run.counts.items()):
        print(f"{name}: {count} {when}")
    for fault, count in Counter(run.faults).most_common():
        print(f"FAULT, {count} times: {fault}")
    print(f"{options.times} signals, {run.net.engine.steps} steps, {len(run.faults)} faults")
    return len(run.faults)


if __name__ == "__main__":
    sys.exit(min(main(), 100))
