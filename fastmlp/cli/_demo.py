"""The command ``fastmlp demo``: train on handwritten digits, test, save and load."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from ..model import Sequential

__all__ = ["GOAL", "add_demo", "hold_out", "network"]

GOAL = 0.97  # test accuracy below which the demonstration counts as failed


def add_demo(commands: Any, integer: Callable[[int], Callable[[str], int]]) -> None:
    """Add the command ``demo`` to the subparsers of ``fastmlp``; `integer` gives what reads one of at least n."""
    demo = commands.add_parser("demo", help="train on handwritten digits, test, save and load")
    demo.add_argument("--epochs", type=integer(1), default=30, metavar="N", help="passes over the data (default: 30)")
    demo.add_argument("--seed", type=integer(0), default=0, metavar="N", help="decides what is random (default: 0)")
    demo.add_argument("--out", metavar="PATH", help="keep the trained network in this file")
    demo.set_defaults(run=_demo)


def network(seed: int) -> Sequential:
    """Return the network that is trained."""
    from ..layers import Activation, BatchNorm, Dense, Dropout
    from ..model import Sequential

    net = Sequential(
        [
            Dense(128),
            BatchNorm(),
            Activation("relu"),
            Dropout(0.2),
            Dense(64),
            BatchNorm(),
            Activation("relu"),
            Dense(10, activation="softmax"),
        ],
        input_dim=64,
        seed=seed,
    )
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def hold_out(y: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return indices to train on and to test on: a fifth of each class, drawn at random."""
    import numpy as np

    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(y == digit)) for digit in np.unique(y)]
    test = np.sort(np.concatenate([rows[: round(len(rows) / 5)] for rows in shuffled]))
    return np.setdiff1d(np.arange(len(y)), test), test


def _demo(arguments: argparse.Namespace) -> int:
    import tempfile
    import time

    from .._kernels import level
    from ..callbacks import Callback
    from ..datasets import load_digits
    from ..threads import get_num_threads

    class Cosine(Callback):
        """Learning rate 0.005, falling to 0 along half a wave."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            from math import cos, pi

            assert self.model.optimizer is not None
            self.model.optimizer.learning_rate = 0.0025 * (1 + cos(pi * epoch / arguments.epochs))

    _check_out(arguments.out)
    x, y = load_digits()
    train, test = hold_out(y, arguments.seed)
    threads = get_num_threads()
    print(f"handwritten digits: {len(train)} images to learn from, {len(test)} held out")
    net = network(arguments.seed)
    net.summary()
    begun = time.perf_counter()
    net.fit(x[train], y[train], epochs=arguments.epochs, batch_size=32, callbacks=[Cosine()], verbose=1)
    seconds = time.perf_counter() - begun

    accuracy = net.evaluate(x[test], y[test])["accuracy"]
    print(f"test accuracy: {accuracy:.3f}")
    speed = len(train) * arguments.epochs / seconds
    print(f"{speed:,.0f} samples per second, instruction set {level}, {threads} thread{'s' * (threads != 1)}")
    if arguments.out is not None:
        same = _survives(net, arguments.out, x[test])
    else:
        with tempfile.TemporaryDirectory(prefix="fastmlp-") as folder:
            same = _survives(net, os.path.join(folder, "digits.npz"), x[test])
    place = "a temporary file" if arguments.out is None else arguments.out
    if not same:
        print(f"saved to {place} and loaded back, it predicts something else", file=sys.stderr)
        return 1
    print(f"saved to {place} and loaded back: the same predictions, bit for bit")
    if accuracy < GOAL:
        print(f"test accuracy is below {GOAL}: too few epochs, or something is wrong", file=sys.stderr)
        return 1
    return 0


def _check_out(path: str | None) -> None:
    """Check before the work, not after it, that a file can be written."""
    folder = os.path.dirname(os.path.abspath(path)) if path else ""
    if path is not None and (not path or os.path.isdir(path) or not os.access(folder, os.W_OK)):
        raise OSError(f"can't write to {path!r}")


def _survives(net: Sequential, path: str, x: NDArray[Any]) -> bool:
    """Save and load; return whether predictions have kept every bit."""
    from ..model import load

    net.save(path)
    return load(path).predict(x).tobytes() == net.predict(x).tobytes()
