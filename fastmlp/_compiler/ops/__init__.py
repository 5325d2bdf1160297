"""The operations, one file each: shapes, forward, backward, cost, and what a listing shows."""

from . import (
    activation,
    add,
    batchnorm,
    columns,
    dense,
    dropout,
    embedding,
    gather,
    layernorm,
    noise,
    parametric,
    python_activation,
    python_layer,
    softmax,
    standardize,
    unit_norm,
)

__all__ = [
    "activation",
    "add",
    "batchnorm",
    "columns",
    "dense",
    "dropout",
    "embedding",
    "gather",
    "layernorm",
    "noise",
    "parametric",
    "python_activation",
    "python_layer",
    "softmax",
    "standardize",
    "unit_norm",
]
