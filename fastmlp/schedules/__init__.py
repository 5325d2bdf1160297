"""Schedules: hyper-parameters of an optimizer as pure functions of the step, with a configuration.

Names, parameters and formulas are Keras's where Keras has them. Steps count from 1, as optimizers count them: step 1 is
the first update, which gets what Keras gives at its step 0, the initial value. In general ``schedule(step)`` is Keras's
``schedule(step - 1)``; formulas are in ``t = step - 1``, the number of steps done before.

A schedule is given in the place of a number, ``Adam(learning_rate=CosineDecay(0.001, decay_steps=10_000))``, is saved
and copied with the optimizer, and works for any hyper-parameter of `Optimizer.hyperparameters`.
"""

from __future__ import annotations

from ..registry import schedules as registry
from ._base import Schedule
from ._cosine import CosineDecay, CosineDecayRestarts, CosLog4, FlatCos
from ._cycle import OneCycle
from ._decay import ExponentialDecay, InverseTimeDecay, Linear, PolynomialDecay
from ._pieces import ConstantSchedule, PiecewiseConstantDecay, Sequence, StepDecay

__all__ = [
    "ConstantSchedule",
    "CosLog4",
    "CosineDecay",
    "CosineDecayRestarts",
    "ExponentialDecay",
    "FlatCos",
    "InverseTimeDecay",
    "Linear",
    "OneCycle",
    "PiecewiseConstantDecay",
    "PolynomialDecay",
    "Schedule",
    "Sequence",
    "StepDecay",
]

for _cls in list(globals().values()):
    if isinstance(_cls, type) and issubclass(_cls, Schedule):
        _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get
