"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import optimizers as registry
from ._base import Optimizer
from ._hyperparameters import Momentum, Scheduled

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("sgd")
class SGD(Optimizer):
    """``w -= lr g``; with momentum ``v = mu v - lr g, w += v``, and Nesterov's ``w += mu v - lr g``.

    Parameters
    ----------
    learning_rate : float or callable
    momentum : float or callable
        mu, in [0, 1); a velocity is kept where it is a function of the step, or not 0.
    nesterov : bool
        Look ahead along the velocity (Sutskever and others, ICML 2013).
    **options
        What every optimizer takes, see `Optimizer`.
    """

    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "momentum")
    least_state: ClassVar[Mapping[str, float]] = {"velocity": -math.inf}

    momentum = Momentum()

    def __init__(
        self, learning_rate: Scheduled = 0.01, momentum: Scheduled = 0.0, nesterov: bool = False, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = momentum
        self.nesterov = bool(nesterov)

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"velocity": np.zeros_like(param)} if self.momentum else {}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        if "velocity" not in state and self.momentum == 0:
            param -= learning_rate * grad
            return
        velocity = state["velocity"]
        velocity *= self.momentum
        velocity -= learning_rate * grad
        param += self.momentum * velocity - learning_rate * grad if self.nesterov else velocity
