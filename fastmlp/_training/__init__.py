"""Data, steps and the loop: what trains, evaluates and predicts with a `Compiled` network."""

from __future__ import annotations

from .evaluate import evaluate
from .jacobian import jacobian
from .loop import fit
from .predict import layer_outputs, predict
from .step import apply_gradients, loss_and_gradients, train_on_batch
from .vjp import vjp

__all__ = [
    "apply_gradients",
    "evaluate",
    "fit",
    "jacobian",
    "layer_outputs",
    "loss_and_gradients",
    "predict",
    "train_on_batch",
    "vjp",
]
