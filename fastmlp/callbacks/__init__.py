"""Callbacks: what happens between the epochs (and, where somebody asks for it, the batches) of ``fit``."""

from __future__ import annotations

from ._base import Callback
from ._history import History
from ._list import CallbackList
from ._stopping import EarlyStopping

__all__ = ["Callback", "CallbackList", "EarlyStopping", "History"]
