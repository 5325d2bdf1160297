"""Compare callbacks with Keras's: which hooks are called, in what order, with what; and what callbacks decide.

    pip install keras jax      (any backend that trains will do: KERAS_BACKEND says which)
    python build_support/keras_callbacks.py [--times 300] [--seed 0]

The same script of `fit` runs in both, and random numbers are put in the place of a watched value (none of them a tie,
which Keras decides in float32). The exit code is the number of differences. Nothing here is a part of the package, and
no test needs it.
"""

import argparse
import os
import random
import sys
import tempfile
from types import SimpleNamespace

import numpy as np

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras

import fastmlp as fm

X, Y = np.random.default_rng(0).normal(size=(50, 4)).astype("f4"), np.arange(50) % 3
HOOKS = [
    f"on_{of}_{when}" for of in ("train", "epoch", "train_batch", "test", "test_batch") for when in ("begin", "end")
]


def recorder(base, calls):
    """Return a callback that keeps each call: name, number, names in the logs, and what it knows of the training."""

    def hook(name):
        def method(self, *arguments, logs=None):
            number = [
                int(one) for one in arguments if not isinstance(one, dict)
            ]  # Keras gives logs by name, ours do not
            logs = next((one for one in arguments if isinstance(one, dict)), logs)
            calls.append((name, *number, sorted(logs or {}), self.params["epochs"], self.params["steps"]))

        return method

    return type("Recorder", (base,), {name: hook(name) for name in HOOKS})()


def networks():
    theirs = keras.Sequential([keras.layers.Input((4,)), keras.layers.Dense(3, "softmax")])
    theirs.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    ours = fm.Sequential([fm.layers.Dense(3, "softmax")], input_dim=4, seed=0)
    ours.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return (theirs, keras.callbacks.Callback), (ours, fm.callbacks.Callback)


def stopper(base, hook, at):
    def method(self, number=0, logs=None):
        if number == at:
            self.model.stop_training = True

    return type("Stopper", (base,), {hook: method})()


SCRIPTS = {
    "plain": {"epochs": 2, "batch_size": 20},
    "validation": {"epochs": 2, "batch_size": 20, "validation_data": (X, Y)},
    "later epochs": {"epochs": 5, "initial_epoch": 3, "batch_size": 50},
    "short epochs": {"epochs": 2, "batch_size": 10, "steps_per_epoch": 2},
    "stop after an epoch": {"epochs": 9, "batch_size": 25, "stop": ("on_epoch_end", 1)},
    "stop after a batch": {"epochs": 9, "batch_size": 10, "validation_data": (X, Y), "stop": ("on_train_batch_end", 2)},
}


def compare_order(differences):
    for name, script in SCRIPTS.items():
        found = []
        for net, base in networks():
            options, calls = dict(script), []
            stop = options.pop("stop", None)
            callbacks = [recorder(base, calls), *([stopper(base, *stop)] if stop else [])]
            net.fit(X, Y, callbacks=callbacks, verbose=0, **options)
            found.append(calls)
        if found[0] != found[1]:
            differences.append(f"order of {name!r}:\n  Keras {found[0]}\n  ours  {found[1]}")


class Double:
    """A network that only has what callbacks ask for."""

    def __init__(self):
        self.metrics, self.stop_training, self.parameters, self.buffers = (), False, {}, {}
        self.optimizer = SimpleNamespace(learning_rate=1.0)
        self.saved = []
        self.save = lambda path, **options: self.saved.append(os.path.basename(os.fspath(path)))

    def get_weights(self):
        return []


def run(callback, values):
    net, rates = Double(), []
    callback.set_model(net)
    callback.set_params({"epochs": len(values), "steps": 1, "verbose": 0})
    callback.on_train_begin({})
    for epoch, value in enumerate(values):
        callback.on_epoch_begin(epoch, {})
        callback.on_epoch_end(epoch, {"score": value})
        rates.append(float(net.optimizer.learning_rate))
        if net.stop_training:
            break
    return rates, net.saved, getattr(callback, "best_epoch", None)


def compare_decisions(times, seed, differences):
    draw = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            values = [round(draw.uniform(0, 2), 1) for _ in range(draw.randint(1, 25))]
            mode = draw.choice(["min", "max"])
            common = {"monitor": "score", "mode": mode}
            patience = {"patience": draw.randint(1, 4), "min_delta": draw.choice([0, 0.125, 0.325])}
            cases = {
                "EarlyStopping": {
                    **patience,
                    "baseline": draw.choice([None, 0.55, 1.45]),
                    "start_from_epoch": draw.choice([0, 0, 3]),
                    "restore_best_weights": False,
                },
                "ReduceLROnPlateau": {
                    **patience,
                    "factor": draw.choice([0.1, 0.5]),
                    "cooldown": draw.randint(0, 3),
                    "min_lr": draw.choice([0.0, 0.2]),
                },
                "ModelCheckpoint": {
                    "filepath": os.path.join(folder, "{epoch:02d}-{score:.2f}.keras"),
                    "save_best_only": draw.choice([False, True]),
                    "initial_value_threshold": draw.choice([None, 0.9]),
                },
            }
            for name, options in cases.items():
                theirs, ours = (run(getattr(of.callbacks, name)(**common, **options), values) for of in (keras, fm))
                if theirs[0] != ours[0] or theirs[1] != ours[1]:
                    differences.append(f"{name}({options}, {mode}) of {values}:\n  Keras {theirs}\n  ours  {ours}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--times", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    differences = []
    compare_order(differences)
    compare_decisions(chosen.times, chosen.seed, differences)
    print(*differences[:10], f"{len(differences)} differences from Keras {keras.__version__}", sep="\n")
    sys.exit(min(len(differences), 100))


if __name__ == "__main__":
    main()
