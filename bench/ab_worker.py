"""Run the rows of `ab.py` on the build that this Python has installed: one JSON line in, one JSON line out.

It must run with every build since 0.1.0, so it uses public names that all of them have. A row is a function that
returns a call, which is timed, and a function of no arguments that returns the answer by which builds are compared.
Optimizers take small steps: weights stay about where they are, and the thousandth step costs what the first one did.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import itertools
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Mapping

import numpy as np
from networks import NETWORKS, Task, data
from timing import move_to, settle

import fastmlp as fm

WARM = 0.004  # seconds of untimed calls before each turn
TURN = 0.015  # seconds of timed calls
PARTS = 8  # of a turn, each timed: its lower quartile counts, so that few interruptions do no harm
CHECKED = 3  # calls whose answers are compared
LEARNING_RATE = 1e-6


def network(task, *, regularized=False, metrics=()):
    """Return a compiled network for the task, on request with batch norm and dropout around each activation."""
    layers = []
    for units in task.sizes[1:-1]:
        if regularized:
            layers += [fm.layers.Dense(units), fm.layers.BatchNorm()]
            layers += [fm.layers.Activation(task.hidden), fm.layers.Dropout(0.2)]
        else:
            layers.append(fm.layers.Dense(units, activation=task.hidden))
    layers.append(fm.layers.Dense(task.sizes[-1], activation="softmax"))
    net = fm.Sequential(layers, input_dim=task.sizes[0], seed=0)
    net.compile(fm.optimizers.Adam(LEARNING_RATE), "sparse_categorical_crossentropy", metrics=metrics)
    return net


def arrays(net):
    """Return what training changes."""
    return {**net.parameters, **net.buffers}


def with_arrays(net, call):
    """Return `call`, and as its answer what some calls return and the network's arrays after them."""
    return call, lambda: ([call() for _ in range(CHECKED)], arrays(net))


def train(task):
    net, (x, y, _) = network(task), data(task)
    return with_arrays(net, functools.partial(net.train_on_batch, x, y))


def predict(task):
    net, x = network(task), data(task)[0]
    return with_arrays(net, functools.partial(net.predict, x))


def predict_one_row(task):
    """Predict the first row; the answer has others too."""
    net, x = network(task), data(task)[0]
    return functools.partial(net.predict, x[:1].copy()), lambda: [net.predict(row[None]) for row in x[:32]]


def fit(task, rows, *, regularized=False):
    """Fit for one epoch a call."""
    net, (x, y, _) = network(task, regularized=regularized), data(Task(task.sizes, rows))

    def call():
        return net.fit(x, y, batch_size=task.batch, verbose=0).history

    return with_arrays(net, call)


def evaluate(task):
    net, (x, y, _) = network(task, metrics=["accuracy"]), data(task)
    return with_arrays(net, functools.partial(net.evaluate, x, y))


def loss_and_gradients(task):
    net, (x, y, _) = network(task), data(task)
    return with_arrays(net, functools.partial(net.loss_and_gradients, x, y))


def apply_gradients(task):
    net, (x, y, _) = network(task), data(task)
    return with_arrays(net, functools.partial(net.apply_gradients, net.loss_and_gradients(x, y)[1]))


def vjp(task, *, backward):
    net, (x, _, _) = network(task), data(task)
    dy = np.full((task.batch, task.sizes[-1]), 0.5, np.float32)
    dy[:, 0] = -1

    def forth():
        return net.vjp(x)[0]

    def forth_and_back():
        y, pull = net.vjp(x)
        return y, pull(dy)

    return with_arrays(net, forth_and_back if backward else forth)


def describe(task, describing):
    """Describe a network; builds may word that differently, so the answer is its number of parameters."""
    net = network(task)
    return functools.partial(describing, net), net.count_params


def build(task):
    return functools.partial(network, task), lambda: arrays(network(task))


def first_step(task):
    """Build, compile and train once: lowering happens in the step."""
    x, y, _ = data(task)

    def call():
        net = network(task)
        return net.train_on_batch(x, y), net

    def answer():
        logs, net = call()
        return logs, arrays(net)

    return call, answer


TINY, SMALL, TAB = NETWORKS["tiny"], NETWORKS["small"], Task((54, 128, 128, 7), 128)
ROWS = {
    **{f"train_on_batch {name}": functools.partial(train, task) for name, task in NETWORKS.items()},
    **{f"predict {name}": functools.partial(predict, task) for name, task in NETWORKS.items()},
    **{f"predict one row {name}": functools.partial(predict_one_row, task) for name, task in NETWORKS.items()},
    "fit tab": functools.partial(fit, TAB, 20_000),
    "fit tab, batch norm, dropout": functools.partial(fit, TAB, 20_000, regularized=True),
    "fit tiny": functools.partial(fit, TINY, 2_000),
    "loss_and_gradients small": functools.partial(loss_and_gradients, SMALL),
    "apply_gradients small": functools.partial(apply_gradients, SMALL),
    "vjp small": functools.partial(vjp, SMALL, backward=False),
    "vjp and its backward small": functools.partial(vjp, SMALL, backward=True),
    "evaluate small": functools.partial(evaluate, SMALL),
    "repr small": functools.partial(describe, SMALL, repr),
    "summary small": functools.partial(describe, SMALL, fm.Sequential.summary),
    "build and compile small": functools.partial(build, SMALL),
    "build, compile, first step small": functools.partial(first_step, SMALL),
}


def digest(value):
    """Return a hash of the bits of nested mappings, sequences, arrays and numbers; mappings in any order."""
    if isinstance(value, Mapping):
        parts = [f"{key}={digest(value[key])}".encode() for key in sorted(value)]
    elif isinstance(value, (list, tuple)):
        parts = [digest(item).encode() for item in value]
    elif value is None:
        parts = [b"None"]
    else:
        array = np.asarray(value)
        parts = [f"{array.dtype}{array.shape}".encode(), array.tobytes()]
    return hashlib.sha256(b"|".join(parts)).hexdigest()


def seconds_of(call, calls):
    """Return the mean seconds of some calls."""
    begun = time.perf_counter()
    for _ in itertools.repeat(None, calls):
        call()
    return (time.perf_counter() - begun) / calls


class Worker:
    """What the other side of the pipe may ask for."""

    def start(self, threads):
        """Set the number of threads, or take this build's own; return what was installed, and the names of rows."""
        if threads:
            fm.set_num_threads(threads)
        gc.collect()
        gc.freeze()  # so that no collection walks over what was imported
        about = {**fm.config(), "python": platform.python_version(), "file": fm.__file__}
        return {"about": about, "rows": list(ROWS)}

    def make(self, row):
        """Make the row, return the hash of its answer, and how many calls warm up and fill a turn."""
        self.call = None  # free the row before
        self.call, answer = ROWS[row]()
        hashed = digest(answer())
        once = seconds_of(self.call, 1)
        once = seconds_of(self.call, int(WARM / once) or 1)
        once = seconds_of(self.call, int(TURN / once) or 1)
        settle()
        return {"answer": hashed, "warm": int(WARM / once), "calls": round(TURN / once) or 1}

    def turn(self, processor, warm, calls):
        """Return the seconds of a call, after some that are not timed; this process rests when it answers."""
        move_to(processor)
        for _ in itertools.repeat(None, warm):
            self.call()
        parts = min(PARTS, calls)
        seconds = [seconds_of(self.call, calls // parts) for _ in range(parts)]
        settle()
        return {"seconds": float(np.percentile(seconds, 25))}


def main():
    worker, replies = Worker(), sys.stdout
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # summaries go there
        for line in sys.stdin:
            request = json.loads(line)
            try:
                reply = getattr(worker, request.pop("do"))(**request)
            except Exception:
                reply = {"error": traceback.format_exc()}
            print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
