"""``Moments``: what Adam and its kin have in common, two shares kept of moments and an epsilon."""

from __future__ import annotations

from typing import Any, ClassVar

from ..checks import check_share
from ._base import Optimizer
from ._hyperparameters import Hyperparameter, Scheduled

__all__ = ["Moments"]


class Moments(Optimizer):
    """Base of optimizers that keep moments of the gradient, by shares `beta_1` and `beta_2`; they are traced."""

    elementwise = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "beta_1", "beta_2", "epsilon")

    beta_1 = Hyperparameter(check_share)
    beta_2 = Hyperparameter(check_share)
    epsilon = Hyperparameter()

    def __init__(
        self,
        learning_rate: Scheduled = 0.001,
        beta_1: Scheduled = 0.9,
        beta_2: Scheduled = 0.999,
        epsilon: Scheduled = 1e-8,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
