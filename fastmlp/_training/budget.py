"""How much memory a call may take for a copy of its data in the network's dtype."""

from __future__ import annotations

import os

__all__ = ["MOST", "available_memory", "copy_budget"]

MOST = 1 << 30  # bytes


def available_memory() -> int | None:
    """Return the bytes that could be taken without swapping; None where the system does not say."""
    found = [bytes for bytes in (_of_the_peak(), _of_the_container()) if bytes is not None]
    return min(found, default=None)


def copy_budget() -> int:
    """Return the bytes that a copy of a call's data may take: a quarter of what is available, 1 GiB at most."""
    available = available_memory()
    return MOST if available is None else min(available // 4, MOST)


def _of_the_peak() -> int | None:
    """Return what Linux takes to be available, elsewhere the pages that nobody uses."""
    try:
        with open("/proc/meminfo", "rb") as file:
            for line in file:
                if line.startswith(b"MemAvailable:"):
                    return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _of_the_container() -> int | None:
    """Return what a control group (version 2) leaves; None without a limit."""
    try:
        with open("/sys/fs/cgroup/memory.max", "rb") as limit:
            most = int(limit.read())
        with open("/sys/fs/cgroup/memory.current", "rb") as current:
            return max(most - int(current.read()), 0)
    except (OSError, ValueError):
        return None
