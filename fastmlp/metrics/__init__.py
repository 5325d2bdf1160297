"""Metrics: what is watched beside the loss, exactly over an epoch, whatever its batches."""

from __future__ import annotations

from ._accuracy import (
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    TopKCategoricalAccuracy,
)
from ._base import Metric
from ._base import metric_name as metric_name
from ._classification import Accuracy
from ._counts import F1Score, Precision, Recall
from ._function import MeanOf, confusion_matrix
from ._function import get as get
from ._meaning import OfClasses
from ._probabilities import BrierScore, ExpectedCalibrationError, LogLoss
from ._ranks import AUC
from ._regression import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    R2Score,
    RootMeanSquaredError,
)

__all__ = [
    "AUC",
    "Accuracy",
    "BinaryAccuracy",
    "BrierScore",
    "CategoricalAccuracy",
    "ExpectedCalibrationError",
    "F1Score",
    "LogLoss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanOf",
    "MeanSquaredError",
    "Metric",
    "OfClasses",
    "Precision",
    "R2Score",
    "Recall",
    "RootMeanSquaredError",
    "SparseCategoricalAccuracy",
    "SparseTopKCategoricalAccuracy",
    "TopKCategoricalAccuracy",
    "confusion_matrix",
]

for _cls in list(globals().values()):
    if isinstance(_cls, type) and issubclass(_cls, Metric):
        _cls.__module__ = __name__  # where users find it, in messages and pickles
