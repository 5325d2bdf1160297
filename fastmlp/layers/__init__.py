"""Layers: what a network is made of; each says what it asks of the compiler, none calls a kernel."""

from __future__ import annotations

from typing import Any

from ..registry import layers as registry
from ._activation import Activation
from ._base import Layer
from ._checks import check_layers as check_layers
from ._columns import Columns
from ._dense import Dense
from ._dropout import Dropout
from ._embedding import Embedding
from ._noise import GaussianNoise
from ._normalization import BatchNorm, LayerNorm, RMSNorm
from ._parallel import Parallel
from ._residual import Residual
from ._standardization import Normalization
from ._unit_norm import UnitNorm

__all__ = [
    "Activation",
    "BatchNorm",
    "Columns",
    "Dense",
    "Dropout",
    "Embedding",
    "GaussianNoise",
    "Layer",
    "LayerNorm",
    "Normalization",
    "Parallel",
    "RMSNorm",
    "Residual",
    "UnitNorm",
    "get",
]

for _cls in [globals()[_name] for _name in __all__ if _name != "get"]:
    _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get

KERAS_NAMES = {
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "RMSNormalization": "RMSNorm",
    "UnitNormalization": "UnitNorm",
}


def __getattr__(name: str) -> Any:
    """Name our spelling where Keras has another one."""
    if name in KERAS_NAMES:
        raise AttributeError(f"fastmlp.layers has no {name!r}; it is called {KERAS_NAMES[name]!r} here")
    raise AttributeError(f"module 'fastmlp.layers' has no attribute {name!r}")
