"""The command ``fastmlp``: a demonstration; what is installed, its plugins, saved networks."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

__all__ = ["main"]

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

    from .._version import __version__
    from ._demo import add_demo
    from ._plugins import add_plugins

    parser = argparse.ArgumentParser(prog="fastmlp", description="Multilayer perceptrons on a CPU.")
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    add_demo(commands, integer=_integer)

    info = commands.add_parser("info", help="version, instruction set, threads, plugins")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)

    summary = commands.add_parser("summary", help="show the layers of a saved network")
    summary.add_argument("file", metavar="FILE", help="what net.save() wrote")
    summary.set_defaults(run=_summary)

    add_plugins(commands)
    return parser


def _integer(least: int) -> Callable[[str], int]:
    """Return what reads an integer of at least `least` from the command line."""

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


def _info(arguments: argparse.Namespace) -> int:
    import json

    from ..configuration import config, show_config

    if arguments.json:
        print(json.dumps(config(), indent=2))
    else:
        show_config()
    return 0


def _summary(arguments: argparse.Namespace) -> int:
    from ..model import load

    load(arguments.file).summary()
    return 0
