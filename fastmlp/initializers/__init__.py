"""Initializers: the first values of a layer's parameters (rows 17 and 18 of ``docs/equations.md``).

All draw in float64 and round to the dtype asked for: the same generator gives the same numbers in every
dtype, up to that rounding. For a uniform distribution the rounding may reach the upper limit.
"""

from __future__ import annotations

from ..registry import initializers as registry
from ._base import Initializer
from ._distributions import (
    Constant,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    LecunNormal,
    LecunUniform,
    Ones,
    RandomNormal,
    RandomUniform,
    TruncatedNormal,
    VarianceScaling,
    Zeros,
)
from ._lsuv import lsuv
from ._matrices import Identity, Orthogonal

__all__ = [
    "Constant",
    "GlorotNormal",
    "GlorotUniform",
    "HeNormal",
    "HeUniform",
    "Identity",
    "Initializer",
    "LecunNormal",
    "LecunUniform",
    "Ones",
    "Orthogonal",
    "RandomNormal",
    "RandomUniform",
    "TruncatedNormal",
    "VarianceScaling",
    "Zeros",
    "lsuv",
]

for _cls in list(globals().values()):
    if isinstance(_cls, type) and issubclass(_cls, Initializer):
        _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get
