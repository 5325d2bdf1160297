"""Kill trainings with SIGKILL at random moments, start them again by the same script, and compare with one left alone.

    python build_support/kills.py [--kills 100] [--seed 0] [--only adam,adamw,plateau,iterable,drawn]

Each training is killed so many times, at a random moment after a random number of steps. What is compared, bit for bit:
parameters, running statistics, optimizer state, counters, the history, the table of `CSVLogger`, the files of
`ModelCheckpoint`. The exit code is the number of faults. Nothing here is a part of the package.
"""

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

import fastmlp as fm

C, L = fm.callbacks, fm.layers
ROWS, FEATURES, CLASSES = 330, 6, 3
EPOCHS = int(
    os.environ.get("KILLS_EPOCHS", "12")
)  # of a training; `main` takes more where it is to be killed more often
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(ROWS, FEATURES)).astype("f4"), RNG.integers(0, CLASSES, ROWS)


@fm.registry.metrics.register("spread")
class Spread(fm.metrics.Metric):
    """A metric in NumPy that keeps a list, and depends on how the rows were cut into batches."""

    better = "lower"

    def reset(self):
        self.values = []

    def update(self, y_true, y_pred, weight):
        self.values.append(float(np.ptp(y_pred)))

    def result(self):
        return float(np.mean(self.values))


class Counting(C.Callback):
    """A callback of a user, with a state of its own, that changes the network by it."""

    every_n_steps = 5

    def __init__(self):
        self.count = 0

    def on_train_batch_end(self, batch, logs=None):
        self.count += 1
        self.model.parameters["0.bias"][0] += 1e-3 * self.count

    def get_state(self):
        return {"count": self.count}

    def set_state(self, state):
        self.count = state["count"]


def network(seed=7, dtype="float32", metrics=("accuracy",), rate=0.01):
    layers = [L.Dense(16), L.BatchNorm(), L.Activation("relu"), L.Dropout(0.3), L.Dense(CLASSES, "softmax")]
    net = fm.Sequential(layers, input_dim=FEATURES, seed=seed, dtype=dtype)
    net.compile(fm.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=list(metrics))
    return net


def adam(folder, callbacks):
    """A learning rate that is a function of the step, everything compiled, kept every 7 steps."""
    net = network(rate=lambda step: 0.02 / (1 + 0.01 * step))
    backup = C.BackupAndRestore(folder / "backup", save_freq=7)
    options = {"epochs": EPOCHS, "batch_size": 16, "validation_split": 0.2}
    return net, net.fit(X, Y, callbacks=[backup, *callbacks, C.CSVLogger(folder / "log.csv")], verbose=0, **options)


def adamw(folder, callbacks):
    """AdamW, a cosine schedule, clipping by the global norm, averaged weights that change places; weights decay."""
    net = network()
    rate = fm.schedules.CosineDecay(0.02, 200)
    optimizer = fm.optimizers.AdamW(rate, weight_decay=0.01, global_clipnorm=0.5, use_ema=True, ema_momentum=0.9)
    net.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    backup = C.BackupAndRestore(folder / "backup", save_freq="epoch", every_seconds=0.01)
    callbacks = [C.SwapEMAWeights(swap_on_epoch=True), C.ModelCheckpoint(folder / "net"), backup, *callbacks]
    return net, net.fit(X, Y, epochs=EPOCHS, batch_size=16, validation_split=0.2, callbacks=callbacks, verbose=0)


def plateau(folder, callbacks):
    """Callbacks with states, a metric in NumPy, weights, float64; kept after epochs and every so many seconds."""
    net = network(dtype="float64", metrics=("accuracy", Spread()))
    callbacks = [
        C.LearningRateScheduler(lambda epoch, rate: rate * 0.97),
        C.ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05),
        C.EarlyStopping(patience=9),
        C.ModelCheckpoint(folder / "{epoch:02d}", save_best_only=True, keep_last=3),
        C.BackupAndRestore(folder / "backup", every_seconds=0.02),
        C.CSVLogger(folder / "log.csv", separator=";"),
        Counting(),
        *callbacks,
    ]
    options = {"epochs": EPOCHS, "batch_size": 16, "validation_data": (X[:50], Y[:50]), "class_weight": {1: 2.0}}
    return net, net.fit(X, Y, callbacks=callbacks, sample_weight=np.arange(ROWS) % 3, verbose=0, **options)


def iterable(folder, callbacks):
    """Batches of an iterable, of several sizes, for a network that its first one builds."""
    layers = [L.Dense(8), L.BatchNorm(), L.Dropout(0.2), L.Dense(CLASSES, "softmax")]
    net = fm.Sequential(layers, seed=1)
    net.compile(fm.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=[Spread()])
    ends = [0, *sorted(RNG.choice(np.arange(5, ROWS, 5), 20, replace=False)), ROWS]
    batches = [(X[a:b], Y[a:b]) for a, b in pairwise(ends)]
    backup = C.BackupAndRestore(folder / "backup", save_freq=4)
    return net, net.fit(batches, epochs=EPOCHS, callbacks=[backup, Counting(), *callbacks], verbose=0)


def drawn(folder, callbacks):
    """A seed that nobody has given: that of the process which was the first to keep the training."""
    net = network(seed=None)
    backup = C.BackupAndRestore(folder / "backup", save_freq=3)
    return net, net.fit(X, Y, epochs=EPOCHS, batch_size=16, callbacks=[backup, *callbacks], verbose=0)


TRAININGS = {one.__name__: one for one in (adam, adamw, plateau, iterable, drawn)}


def contents(net, history, folder):
    """Return all that is compared, as text."""
    arrays = {**net.parameters, **net.buffers}
    arrays |= {f"{key}/{name}": s for key, state in net.optimizer_state.items() for name, s in state.items()}
    sums = {key: hashlib.sha256(array.tobytes()).hexdigest() for key, array in arrays.items()}
    files = {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != "result" and not path.name.endswith(".part")
    }
    rate = net.optimizer.learning_rate
    return json.dumps(
        {
            "arrays": sums,
            "files": files,
            "history": {name: list(map(float.hex, values)) for name, values in history.history.items()},
            "epochs": history.epoch,
            "seed": net.seed,
            "counters": net.engine.counters(),
            "rate": "a function" if callable(rate) else rate.hex(),
        }
    )


def train(name, folder, killed):
    """Run a training, in a process of its own; say every few steps that it is alive."""
    folder = Path(folder)
    told = []
    if killed:
        told = [C.LambdaCallback(on_train_batch_end=lambda batch, logs: print(batch, flush=True), every_n_steps=2)]
    else:
        told = [C.LambdaCallback()]
    net, history = TRAININGS[name](folder, told)
    (folder / "result").write_text(contents(net, history, folder))


def command(name, folder, killed):
    return [sys.executable, __file__, "--train", name, str(folder), *(["--killed"] if killed else [])]


def torture(name, kills, draw):
    """Kill a training so many times, and let it end; return what differs from one that was left alone."""
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        done = 0
        while not Path(one, "result").exists():
            with subprocess.Popen(command(name, one, True), stdout=subprocess.PIPE, text=True) as process:
                lines = draw.randint(1, 30) if draw.random() < 0.3 else draw.randint(1, 6)
                if done < kills:
                    for _ in range(lines):
                        process.stdout.readline()
                    time.sleep(draw.random() * 0.02)
                    if process.poll() is None:
                        process.kill()
                        done += 1
                for _ in process.stdout:
                    pass
            if process.returncode not in (0, -9):
                return f"{name}: exit code {process.returncode}", done
        if name == "drawn":
            found = Path(one, "result").read_text()
            expected = alone_with(json.loads(found)["seed"])
        else:
            subprocess.run(command(name, other, False), check=True)
            found, expected = Path(one, "result").read_text(), Path(other, "result").read_text()
        left = [path.name for path in Path(one).iterdir() if path.name == "backup"]
    if found != expected or left:
        parts = [key for key in json.loads(found) if json.loads(found)[key] != json.loads(expected)[key]]
        return f"{name}: {', '.join(parts) or 'the backup'} differ after {done} kills", done
    return None, done


def alone_with(seed):
    with tempfile.TemporaryDirectory() as folder:
        net = network(seed=seed)
        history = net.fit(X, Y, epochs=EPOCHS, batch_size=16, verbose=0)
        return contents(net, history, Path(folder))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(TRAININGS))
    parser.add_argument("--train", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    parser.add_argument("--killed", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.train:
        train(*chosen.train, chosen.killed)
        return
    if "KILLS_EPOCHS" not in os.environ and chosen.kills > EPOCHS:
        os.environ["KILLS_EPOCHS"] = str(chosen.kills)
        os.execv(sys.executable, [sys.executable, *sys.argv])
    faults, draw = 0, random.Random(chosen.seed)
    for name in chosen.only.split(","):
        fault, kills = torture(name, chosen.kills, draw)
        faults += fault is not None
        print(fault or f"{name}: the same bits after {kills} kills", flush=True)
    sys.exit(faults)


if __name__ == "__main__":
    os.environ.setdefault("FASTMLP_NUM_THREADS", "2")
    main()
