"""How many threads the kernels use: ``set_num_threads``, ``get_num_threads``, ``num_threads``."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import local

from ._kernels import concurrency, plan
from .forks import Fork

__all__ = ["get_num_threads", "num_threads", "set_num_threads"]

MOST = 1024  # a mistyped number must not ask the system for a million threads

_fork = Fork()


class _Chosen(local):
    """What each thread of Python has chosen."""

    count: int | None = None


_chosen = _Chosen()


def _check(n: object, source: str = "number of threads") -> int:
    if isinstance(n, bool) or not hasattr(n, "__index__"):
        raise TypeError(f"{source}: expected an integer, got {n!r}")
    count = n.__index__()
    if not 1 <= count <= MOST:
        raise ValueError(f"{source}: expected an integer of at least 1 and at most {MOST}, got {count}")
    return int(count)


def _quota() -> int | None:
    """Processors that the control group allows (version 2, then version 1)."""
    try:
        with open("/sys/fs/cgroup/cpu.max") as file:
            quota, period = file.read().split()
    except (OSError, ValueError):
        try:
            with open("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") as file:
                quota = file.read().strip()
            with open("/sys/fs/cgroup/cpu/cpu.cfs_period_us") as file:
                period = file.read().strip()
        except OSError:
            return None
    if not quota.isdigit() or int(period) <= 0:
        return None
    return max(1, -(-int(quota) // int(period)))


def _default() -> tuple[int, bool]:
    """Return ``FASTMLP_NUM_THREADS``, else ``OMP_NUM_THREADS``, else what affinity and control group allow.

    And whether it is the first of these.
    """
    for name in ("FASTMLP_NUM_THREADS", "OMP_NUM_THREADS"):
        text = os.environ.get(name, "").split(",")[0].strip()
        if text.isdigit() and 1 <= int(text) <= MOST:
            return int(text), name == "FASTMLP_NUM_THREADS"
        if text:
            raise ValueError(f"{name}: expected an integer of at least 1 and at most {MOST}, got {text!r}")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota()
    return cores if quota is None else min(cores, quota), False


_default_count: tuple[int, bool] | None = None


def _count() -> tuple[int, bool]:
    """Return the number of threads, and whether somebody has chosen it for fastmlp: then OpenMP doesn't bound it."""
    global _default_count
    if _chosen.count is not None:
        return _chosen.count, True
    if _default_count is None:
        _default_count = _default()
    return _default_count


def get_num_threads() -> int:
    """Return how many threads calls from this thread of Python use; no result depends on it.

    It is what `set_num_threads` has set, or else ``FASTMLP_NUM_THREADS``. Where nobody has chosen, it is
    ``OMP_NUM_THREADS`` or the processors that this process may use, and at most what OpenMP allows this thread of
    Python: ``threadpoolctl.threadpool_limits`` holds for fastmlp too. In a process that was
    forked after OpenMP was loaded, it is 1.
    """
    count, chosen = _count()
    return 1 if count > 1 and _fork.happened() else count if chosen else min(count, plan.openmp_limit())


def set_num_threads(n: int) -> None:
    """Use `n` threads in calls from this thread of Python; more than there are cores is obeyed.

    Raises
    ------
    ValueError
        If `n` is below 1.
    """
    _choose(_check(n))


@contextmanager
def num_threads(n: int) -> Iterator[None]:
    """Set the number of threads for a block: ``with fm.num_threads(n):``, as `set_num_threads`."""
    before = _chosen.count
    set_num_threads(n)
    try:
        yield
    finally:
        _choose(before)


def _choose(count: int | None) -> None:
    concurrency.forget_thread_count()
    _chosen.count = count


def count_for_kernels() -> tuple[int, bool]:
    """Return how many threads a run gets, as `_count`; 1, with one warning, in a forked process.

    The kernels ask once in each thread of Python, and again where `_choose` or a fork tells them to.
    """
    count, chosen = _count()
    if count == 1 or not _fork.happened():
        return count, chosen
    if _fork.is_news():
        warnings.warn(
            "this process was forked from one that had OpenMP loaded, and goes on with one thread: OpenMP's threads do "
            "not survive a fork (use the 'spawn' or 'forkserver' start method for more)",
            RuntimeWarning,
            stacklevel=2,
        )
    return 1, True


def _after_fork() -> None:
    _fork.happens()
    concurrency.after_fork_in_child()
    concurrency.forget_thread_count()


team = plan.team  # how many threads a run gets
concurrency.set_thread_source(count_for_kernels)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
