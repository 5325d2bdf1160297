"""Layers: what a network is made of; each says what it asks of the compiler, none calls a kernel."""

from __future__ import annotations

from typing import Any

from ..registry import layers as registry
from ._activation import Activation
from ._base import Layer
from ._checks import check_layers as check_layers
from ._dense import Dense
from ._dropout import Dropout
from ._normalization import BatchNorm, LayerNorm, RMSNorm
from ._residual import Residual

__all__ = ["Activation", "BatchNorm", "Dense", "Dropout", "Layer", "LayerNorm", "RMSNorm", "Residual", "get"]

for _cls in (Activation, BatchNorm, Dense, Dropout, Layer, LayerNorm, RMSNorm, Residual):
    _cls.__module__ = __name__  # where users find it, in messages and pickles

get = registry.get

KERAS_NAMES = {
    "BatchNormalization": "BatchNorm",
    "LayerNormalization": "LayerNorm",
    "RMSNormalization": "RMSNorm",
}


def __getattr__(name: str) -> Any:
    """Name our spelling where Keras has another one."""
    if name in KERAS_NAMES:
        raise AttributeError(f"fastmlp.layers has no {name!r}; it is called {KERAS_NAMES[name]!r} here")
    raise AttributeError(f"module 'fastmlp.layers' has no attribute {name!r}")
