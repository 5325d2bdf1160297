"""Whether this process is a copy of one that had OpenMP loaded: then it must not start OpenMP's threads."""

from __future__ import annotations

import os
import sys

from ._kernels import plan

__all__ = ["Fork"]

ADDR_NO_RANDOMIZE = 0x0040000  # of Linux's personality(2)


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

    Then the parent has the same library at the same address. Only Linux tells, as long as there is a parent. Where
    addresses are not drawn at random (``setarch -R``, debuggers), it must have the same command line, too.
    """
    parent = os.getppid()
    try:
        with open("/proc/self/maps") as file:
            own = next((line for line in file if _contains(line, plan.openmp_address())), None)
        with open(f"/proc/{parent}/maps") as file:
            if own is None or own not in file:
                return False
        return _addresses_are_random() or _command_line("self") == _command_line(parent)
    except OSError:
        return False


def _addresses_are_random() -> bool:
    with open("/proc/self/personality") as file:
        if int(file.read(), 16) & ADDR_NO_RANDOMIZE:
            return False
    with open("/proc/sys/kernel/randomize_va_space") as file:
        return int(file.read()) > 0


def _command_line(process: int | str) -> bytes:
    with open(f"/proc/{process}/cmdline", "rb") as file:
        return file.read()


def _contains(mapping: str, address: int) -> bool:
    first, last = mapping.split(maxsplit=1)[0].split("-")
    return int(first, 16) <= address < int(last, 16)
