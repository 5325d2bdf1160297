"""Metrics: what is watched beside the loss."""

from __future__ import annotations

from ..registry import metrics as registry
from ._base import Metric
from ._base import metric_name as metric_name
from ._classification import Accuracy
from ._regression import MeanAbsoluteError, MeanSquaredError

__all__ = ["Accuracy", "MeanAbsoluteError", "MeanSquaredError", "Metric"]

for _cls in list(globals().values()):
    if isinstance(_cls, type) and issubclass(_cls, Metric):
        _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get
