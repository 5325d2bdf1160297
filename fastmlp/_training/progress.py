"""The line that ``fit`` prints for an epoch."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

__all__ = ["print_line", "prints_lines"]


def prints_lines(verbose: int | str) -> bool:
    """Return whether lines are printed; "auto": to terminals and notebooks alone."""
    if verbose == "auto":
        return "ipykernel" in sys.modules or _is_terminal(sys.stdout)
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose: expected 'auto', 0 or 1, got {verbose!r}")
    return bool(verbose)


def _is_terminal(stream: Any) -> bool:
    """Return whether a stream is a terminal; what is closed, no file, or anything that somebody put there, is none."""
    try:
        return bool(stream.isatty())
    except Exception:  # of a stream that may be of anybody's own class
        return False


def print_line(epoch: int, epochs: int, logs: Mapping[str, float], speed: float) -> None:
    """Print what an epoch gave, and the samples that it took in a second; no output is a reason to stop a training."""
    width = len(str(epochs))
    values = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
    line = f"epoch {epoch + 1:>{width}}/{epochs}  {values}  {speed:,.0f} samples/s"
    with suppress(Exception):  # None, closed, a broken pipe, or a stream of anybody's own class
        try:
            print(line)
        except UnicodeEncodeError:  # by the name of a metric
            print(line.encode("ascii", "backslashreplace").decode())
        sys.stdout.flush()
