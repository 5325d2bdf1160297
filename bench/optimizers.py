"""What a training step costs by optimizer, as times that of Adam's.

    python bench/optimizers.py --markdown optimizers.md

Steps of one network are interleaved, and each round's time is divided by Adam's of the same round; the median of these
ratios counts. Adam and SGD have kernels, AdamW has Adam's, the others are traced.
"""

from __future__ import annotations

import argparse
import pathlib
import sys

import numpy as np
from networks import NETWORKS, data
from timing import interleave, turn

import fastmlp as fm

CHOICES = [name for name, task in NETWORKS.items() if task.loss == "cross-entropy"]
OPTIMIZERS = {
    "adam": lambda: fm.optimizers.Adam(1e-4),
    "adamw": lambda: fm.optimizers.AdamW(1e-4),
    "amsgrad": lambda: fm.optimizers.Adam(1e-4, amsgrad=True),
    "sgd": lambda: fm.optimizers.SGD(1e-4),
    "sgd, decay": lambda: fm.optimizers.SGD(1e-4, weight_decay=0.01),
    "momentum": lambda: fm.optimizers.SGD(1e-4, momentum=0.9),
    "rmsprop": lambda: fm.optimizers.RMSprop(1e-4),
    "rmsprop, centered, momentum": lambda: fm.optimizers.RMSprop(1e-4, centered=True, momentum=0.9),
    "lion": lambda: fm.optimizers.Lion(1e-5),
    "lion, decay": lambda: fm.optimizers.Lion(1e-5, weight_decay=0.1),
    "adagrad": lambda: fm.optimizers.Adagrad(1e-4),
    "adadelta": lambda: fm.optimizers.Adadelta(),
    "adamax": lambda: fm.optimizers.Adamax(1e-4),
    "nadam": lambda: fm.optimizers.Nadam(1e-4),
    "radam": lambda: fm.optimizers.RAdam(1e-4),
}


def times(task, rounds):
    """Return the seconds of each round's step by optimizer, ``{name: [seconds]}``."""
    x, y, _ = data(task)
    turns = {}
    for name, make in OPTIMIZERS.items():
        *hidden, last = task.sizes[1:]
        layers = [fm.layers.Dense(units, "relu") for units in hidden]
        net = fm.Sequential([*layers, fm.layers.Dense(last, "softmax")], input_dim=task.sizes[0], seed=0)
        net.compile(make(), "sparse_categorical_crossentropy")
        turns[name] = lambda net=net: turn(lambda: net.train_on_batch(x, y))
        assert np.isfinite(net.train_on_batch(x, y)["loss"]), name
    return interleave(turns, rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="tab", choices=CHOICES)
    parser.add_argument("--rounds", type=int, default=25)
    parser.add_argument("--threads", type=int, default=fm.get_num_threads())
    parser.add_argument("--markdown", type=pathlib.Path)
    arguments = parser.parse_args()
    fm.set_num_threads(arguments.threads)
    found = times(NETWORKS[arguments.network], arguments.rounds)
    base = np.array(found["adam"])
    lines = [
        f"{arguments.network}, threads: {arguments.threads}",
        "",
        "| step with | us | to Adam's |",
        "| --- | --- | --- |",
    ]
    for name, seconds in found.items():
        lines.append(f"| {name} | {np.median(seconds) * 1e6:.1f} | {np.median(np.array(seconds) / base):.3f} |")
        print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)


if __name__ == "__main__":
    main()
