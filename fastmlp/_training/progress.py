"""The line that ``fit`` prints for an epoch."""

from __future__ import annotations

import sys
from collections.abc import Mapping

__all__ = ["print_line", "prints_lines"]


def prints_lines(verbose: int | str) -> bool:
    """Return whether lines are printed; "auto": to terminals and notebooks alone."""
    if verbose == "auto":
        return "ipykernel" in sys.modules or _is_terminal(sys.stdout)
    if verbose not in (0, 1, 2):
        raise ValueError(f"verbose: expected 'auto', 0 or 1, got {verbose!r}")
    return bool(verbose)


def _is_terminal(stream: object) -> bool:
    """Return whether a stream is a terminal; what is closed, or no file, is none."""
    isatty = getattr(stream, "isatty", None)
    try:
        return isatty is not None and bool(isatty())
    except ValueError:
        return False


def print_line(epoch: int, epochs: int, logs: Mapping[str, float], speed: float) -> None:
    """Print what an epoch gave, and the samples that it took in a second."""
    width = len(str(epochs))
    values = "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
    print(f"epoch {epoch + 1:>{width}}/{epochs}  {values}  {speed:,.0f} samples/s")
    flush = getattr(sys.stdout, "flush", None)
    if flush is not None:
        flush()
