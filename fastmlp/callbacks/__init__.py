"""Callbacks: what happens between the epochs (and, where somebody asks for it, the batches) of ``fit``."""

from __future__ import annotations

from ._averages import SwapEMAWeights
from ._backup import BackupAndRestore
from ._base import Callback
from ._checkpoint import ModelCheckpoint
from ._functions import LambdaCallback
from ._history import History
from ._learning_rate import LearningRateScheduler, ReduceLROnPlateau
from ._list import CallbackList
from ._logging import CSVLogger
from ._progress import ProgressBar
from ._stopping import EarlyStopping
from ._tensorboard import TensorBoard
from ._terminate import TerminateOnNaN

__all__ = [
    "BackupAndRestore",
    "CSVLogger",
    "Callback",
    "CallbackList",
    "EarlyStopping",
    "History",
    "LambdaCallback",
    "LearningRateScheduler",
    "ModelCheckpoint",
    "ProgressBar",
    "ReduceLROnPlateau",
    "SwapEMAWeights",
    "TensorBoard",
    "TerminateOnNaN",
]
