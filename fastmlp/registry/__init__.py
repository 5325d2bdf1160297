"""Registries: from names to classes, one registry per kind of thing.

A name is a built-in's, was registered at run time, or comes from a plugin: an entry point of the group
``fastmlp.<kind>`` (``fastmlp.activations``, ...) of an installed distribution, naming a class.
"""

from __future__ import annotations

from typing import Any

from ._plugins import Plugin, canonical_distribution, is_distribution, same_distribution
from ._registry import Registry

__all__ = [
    "KINDS",
    "Plugin",
    "Registry",
    "activations",
    "canonical_distribution",
    "constraints",
    "initializers",
    "is_distribution",
    "layers",
    "losses",
    "metrics",
    "optimizers",
    "regularizers",
    "same_distribution",
    "schedules",
]

activations: Registry[Any] = Registry("activation", "activations")
layers: Registry[Any] = Registry("layer", "layers")
initializers: Registry[Any] = Registry("initializer", "initializers")
optimizers: Registry[Any] = Registry("optimizer", "optimizers")
losses: Registry[Any] = Registry("loss", "losses")
metrics: Registry[Any] = Registry("metric", "metrics")
regularizers: Registry[Any] = Registry("regularizer", "regularizers")
constraints: Registry[Any] = Registry("constraint", "constraints")
schedules: Registry[Any] = Registry("schedule", "schedules")

# Names of the registries above, in the order in which they are listed.
KINDS = (
    *("activations", "constraints", "initializers", "layers", "losses"),
    *("metrics", "optimizers", "regularizers", "schedules"),
)
