"""Who uses a network: several threads of Python may read it, or one may change it."""

from __future__ import annotations

from typing import Any

from .core import concurrency

__all__ = ["Usage"]

Usage: Any = concurrency.AccessGuard
