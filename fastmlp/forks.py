"""Whether this process is a copy of one that had OpenMP loaded: then it must not start OpenMP's threads."""

from __future__ import annotations

import os
import sys

from ._kernels import plan

__all__ = ["Fork"]


class Fork:
    """What is known of forks.

    OpenMP keeps its threads for the next time. A forked child would wait for ever for threads that it does not have,
    whoever started them: PyTorch may share the library.
    """

    def __init__(self) -> None:
        self._is_server = _is_fork_server()
        self._happened: bool | None = None  # None: not known yet
        self._told = False

    def happens(self) -> None:
        """Take note that this process is a child that was just made."""
        self._happened, self._told, self._is_server = not self._is_server, False, False

    def happened(self) -> bool:
        """Return whether OpenMP's threads must not be started."""
        if self._happened is None:
            self._happened = _inherits_openmp()
        return self._happened

    def is_news(self) -> bool:
        """Return whether nobody has asked this before."""
        told, self._told = self._told, True
        return not told


def _is_fork_server() -> bool:
    """Return whether this is the process that multiprocessing forks from: nothing runs in it."""
    if not any("multiprocessing.forkserver" in argument for argument in sys.orig_argv):
        return False
    from multiprocessing import parent_process

    return parent_process() is None  # its children have the same arguments


def _inherits_openmp() -> bool:
    """Return whether this process was forked, before fastmlp was imported, from one that had OpenMP loaded.

    Then the parent has the same library at the same address. Only Linux tells, as long as there is a parent.
    """
    try:
        with open("/proc/self/maps") as file:
            own = next((line for line in file if _contains(line, plan.openmp_address())), None)
        with open(f"/proc/{os.getppid()}/maps") as file:
            return own is not None and own in file
    except OSError:
        return False


def _contains(mapping: str, address: int) -> bool:
    first, last = mapping.split(maxsplit=1)[0].split("-")
    return int(first, 16) <= address < int(last, 16)
