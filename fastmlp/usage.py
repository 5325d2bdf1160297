"""Who uses a network: several threads of Python may read it, or one may change it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock, get_ident

__all__ = ["Usage"]


class Usage:
    """Counts readers and the nested changes of one thread; whoever would have to wait gets a RuntimeError."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._readers: dict[int, int] = {}
        self._writer: int | None = None
        self._depth = 0
        self._stepping = False

    # What was counted is counted back in any case: Ctrl-C may come between the two.

    @contextmanager
    def reading(self, what: str) -> Iterator[None]:
        """For calls that leave the network as it is."""
        me, counted = get_ident(), False
        try:
            with self._lock:
                if self._writer not in (None, me):
                    raise RuntimeError(f"{what}: another thread is changing this network; give each thread a copy")
                self._readers[me] = self._readers.get(me, 0) + 1
                counted = True
            yield
        finally:
            if counted:
                with self._lock:
                    self._readers[me] -= 1
                    if not self._readers[me]:
                        del self._readers[me]

    @contextmanager
    def changing(self, what: str) -> Iterator[None]:
        """For calls that change the network, or use memory that it has once only."""
        me, counted = get_ident(), False
        try:
            with self._lock:
                if self._stepping and self._writer == me:
                    raise RuntimeError(f"{what}: called from within a step of the same network, whose memory is in use")
                if self._writer not in (None, me) or any(reader != me for reader in self._readers):
                    raise RuntimeError(f"{what}: another thread is using this network; give each thread a copy")
                self._writer = me
                self._depth += 1
                counted = True
            yield
        finally:
            if counted:
                with self._lock:
                    self._depth -= 1
                    if not self._depth:
                        self._writer = None

    @contextmanager
    def stepping(self) -> Iterator[None]:
        """While foreign code of a step may run: it must not start another on the same memory."""
        self._stepping = True
        try:
            yield
        finally:
            self._stepping = False
