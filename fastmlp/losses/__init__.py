"""Losses: value and gradient together (row 11 of ``docs/equations.md``).

The value of a network's loss is the mean over the rows of the batch, weighted by the sample weights. Cross-entropies
of softmax or sigmoid outputs are computed from the logits, jointly; losses that are sums of elementwise terms are
traced from their NumPy form. `execution_of` tells of each how it runs.
"""

from __future__ import annotations

from ..registry import losses as registry
from ._base import Loss
from ._classification import BinaryCrossentropy, CategoricalCrossentropy, SparseCategoricalCrossentropy
from ._execution import KernelSpec as KernelSpec
from ._execution import builtin_kernel as builtin_kernel
from ._execution import execution_of as execution_of
from ._execution import joint_activation as joint_activation
from ._execution import of_logits as of_logits
from ._focal import BinaryFocalCrossentropy, CategoricalFocalCrossentropy
from ._likelihood import GammaDeviance, GaussianNLL, PoissonDeviance
from ._margins import CategoricalHinge, Hinge, SquaredHinge
from ._quantile import Quantile
from ._regression import HalfSquaredError, Huber, LogCosh, MeanAbsoluteError, MeanSquaredError, Poisson
from ._relative import MeanAbsolutePercentageError, MeanSquaredLogarithmicError
from ._similarity import CosineSimilarity, KLDivergence

__all__ = [
    "BinaryCrossentropy",
    "BinaryFocalCrossentropy",
    "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy",
    "CategoricalHinge",
    "CosineSimilarity",
    "GammaDeviance",
    "GaussianNLL",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "KLDivergence",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredError",
    "MeanSquaredLogarithmicError",
    "Poisson",
    "PoissonDeviance",
    "Quantile",
    "SparseCategoricalCrossentropy",
    "SquaredHinge",
]

for _cls in list(globals().values()):
    if isinstance(_cls, type) and issubclass(_cls, Loss):
        _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get
