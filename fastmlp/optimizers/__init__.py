"""Optimizers: how a step moves the parameters (row 16 of ``docs/equations.md``).

Defaults are those of Keras, but for epsilon: that of the papers, or 1e-8. `execution_of` tells of each how it runs.
"""

from __future__ import annotations

from ..registry import optimizers as registry
from ._adadelta import Adadelta
from ._adagrad import Adagrad
from ._adam import Adam, AdamW
from ._adamax import Adamax
from ._averaging import AVERAGE as AVERAGE
from ._averaging import Averaging as Averaging
from ._base import Optimizer
from ._clipping import Clipping as Clipping
from ._execution import KernelSpec as KernelSpec
from ._execution import execution_of as execution_of
from ._lion import Lion
from ._nadam import Nadam
from ._radam import RAdam
from ._rmsprop import RMSprop
from ._sgd import SGD

__all__ = ["SGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "Lion", "Nadam", "Optimizer", "RAdam", "RMSprop"]

for _cls in list(globals().values()):
    if isinstance(_cls, type) and issubclass(_cls, Optimizer):
        _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get
