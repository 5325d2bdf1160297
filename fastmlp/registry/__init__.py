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

activations: Registry[Any] = Registry(
    "activation",
    "activations",
    "fm.activations.recorded(f) makes an activation of an elementwise one in NumPy; for others subclass "
    "fm.activations.Activation and write forward(self, z)",
)
layers: Registry[Any] = Registry(
    "layer",
    "layers",
    "fm.layers.Activation(fm.activations.recorded(f)) makes a layer of an elementwise one in NumPy; for others "
    "subclass fm.layers.Layer and write forward(self, x, *, training, rng), or compose(self, input_dim)",
)
initializers: Registry[Any] = Registry(
    "initializer",
    "initializers",
    "subclass fm.initializers.Initializer and write __call__(self, shape, rng, dtype)",
)
optimizers: Registry[Any] = Registry(
    "optimizer",
    "optimizers",
    "subclass fm.optimizers.Optimizer and write update(self, param, grad, state, learning_rate, step)",
)
losses: Registry[Any] = Registry(
    "loss",
    "losses",
    "subclass fm.losses.Loss and write value_and_gradient(self, y_true, y_pred), which returns the loss of each row "
    "and its gradient by y_pred",
)
metrics: Registry[Any] = Registry(
    "metric",
    "metrics",
    "subclass fm.metrics.Metric and write rows(self, y_true, y_pred), which returns the metric of each row",
)
regularizers: Registry[Any] = Registry(
    "regularizer",
    "regularizers",
    "subclass fm.regularizers.Regularizer and write value_and_gradient(self, w)",
)
constraints: Registry[Any] = Registry(
    "constraint",
    "constraints",
    "subclass fm.constraints.Constraint and write __call__(self, w), which returns the nearest allowed values",
)
schedules: Registry[Any] = Registry(
    "schedule", "schedules", "subclass fm.schedules.Schedule and write __call__(self, step)"
)

# Names of the registries above, in the order in which they are listed.
KINDS = (
    *("activations", "constraints", "initializers", "layers", "losses"),
    *("metrics", "optimizers", "regularizers", "schedules"),
)
