"""The command ``fastmlp``: a demonstration, and looks at this installation, its plugins and saved networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from numpy.typing import NDArray

    from ..model import Sequential

__all__ = ["main"]

GOAL = 0.97  # test accuracy below which the demonstration counts as failed
INTERRUPTED = 130  # what a shell gives a command that Ctrl-C ended


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the command's name; default: those of this process.

    Returns
    -------
    int
        The exit status: 0, or 1 for what failed (a message tells), or 130 after Ctrl-C.

    Raises
    ------
    SystemExit
        By argparse: with 0 after ``--help`` and ``--version``, with 2 for arguments that it doesn't know.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # whoever read our output, head for one, has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, LookupError, ImportError) as error:
        print(f"fastmlp {arguments.command}: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    import argparse

    from .. import __version__
    from . import _plugins as cli_plugins

    parser = argparse.ArgumentParser(prog="fastmlp", description="Multilayer perceptrons on a CPU.")
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    demo = commands.add_parser("demo", help="train on handwritten digits, test, save and load")
    demo.add_argument("--epochs", type=_integer(1), default=30, metavar="N", help="passes over the data (default: 30)")
    demo.add_argument("--seed", type=_integer(0), default=0, metavar="N", help="decides what is random (default: 0)")
    demo.add_argument("--out", metavar="PATH", help="keep the trained network in this file")
    demo.set_defaults(run=_demo)

    info = commands.add_parser("info", help="version, instruction set, threads, plugins")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)

    summary = commands.add_parser("summary", help="show the layers of a saved network")
    summary.add_argument("file", metavar="FILE", help="what net.save() wrote")
    summary.set_defaults(run=_summary)

    cli_plugins.add_to(commands)
    return parser


def _integer(least: int) -> Callable[[str], int]:
    """What reads an integer of at least `least` from the command line."""

    def read(text: str) -> int:
        from argparse import ArgumentTypeError

        try:
            number = int(text)
        except ValueError:
            raise ArgumentTypeError(f"expected an integer, got {text!r}") from None
        if number < least:
            raise ArgumentTypeError(f"expected an integer of at least {least}, got {text}")
        return number

    return read


# -- demo ------------------------------------------------------------------------------------------------------------


def _network(seed: int) -> Sequential:
    import fastmlp as fm

    net = fm.Sequential(
        [
            fm.layers.Dense(128),
            fm.layers.BatchNorm(),
            fm.layers.Activation("relu"),
            fm.layers.Dropout(0.2),
            fm.layers.Dense(64),
            fm.layers.BatchNorm(),
            fm.layers.Activation("relu"),
            fm.layers.Dense(10, activation="softmax"),
        ],
        input_dim=64,
        seed=seed,
    )
    net.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def _hold_out(y: NDArray[np.int64], seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices to train on and to test on: a fifth of each class, drawn at random."""
    import numpy as np

    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(np.flatnonzero(y == digit)) for digit in np.unique(y)]
    test = np.sort(np.concatenate([rows[: round(len(rows) / 5)] for rows in shuffled]))
    return np.setdiff1d(np.arange(len(y)), test), test


def _demo(arguments: argparse.Namespace) -> int:
    import tempfile
    import time

    from .. import get_num_threads
    from ..callbacks import Callback
    from .._kernels import level
    from ..datasets import load_digits

    class Cosine(Callback):
        """Learning rate 0.005, falling to 0 along half a wave."""

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            from math import cos, pi

            assert self.model.optimizer is not None
            self.model.optimizer.learning_rate = 0.0025 * (1 + cos(pi * epoch / arguments.epochs))

    _check_out(arguments.out)
    x, y = load_digits()
    train, test = _hold_out(y, arguments.seed)
    threads = get_num_threads()
    print(f"handwritten digits: {len(train)} images to learn from, {len(test)} held out")
    net = _network(arguments.seed)
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
    """A file that can't be written is an error before the work, not after it."""
    folder = os.path.dirname(os.path.abspath(path)) if path else ""
    if path is not None and (not path or os.path.isdir(path) or not os.access(folder, os.W_OK)):
        raise OSError(f"can't write to {path!r}")


def _survives(net: Sequential, path: str, x: NDArray[Any]) -> bool:
    """Save, load, and tell whether predictions have kept every bit."""
    from ..serialization import load

    net.save(path)
    return load(path).predict(x).tobytes() == net.predict(x).tobytes()


# -- looks -----------------------------------------------------------------------------------------------------------


def _info(arguments: argparse.Namespace) -> int:
    from ._plugins import print_json
    from ..configuration import config, show_config

    if arguments.json:
        print_json(config())
    else:
        show_config()
    return 0


def _summary(arguments: argparse.Namespace) -> int:
    from ..serialization import load

    load(arguments.file).summary()
    return 0
