"""RMSprop: steps divided by a running root mean square of the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_share
from ..registry import optimizers as registry
from ._base import Optimizer
from ._hyperparameters import Hyperparameter, Momentum, Scheduled, keeps_velocity

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("rmsprop")
class RMSprop(Optimizer):
    """``v = rho v + (1 - rho) g^2, w -= lr g / (sqrt(v) + epsilon)``.

    Centered, ``m = rho m + (1 - rho) g``, and ``v - m^2`` takes the place of v in the root, 0 where rounding makes it
    less. With momentum, ``u = mu u + lr g / (sqrt(v) + epsilon), w -= u``.

    Tieleman and Hinton, Lecture 6.5, Neural networks for machine learning, 2012; centered: Graves, Generating sequences
    with recurrent neural networks, arXiv:1308.0850, equations 38 to 41. Epsilon is added outside the root, as in torch
    (whose rho is 0.99), while Keras adds it inside.

    Parameters
    ----------
    learning_rate : float or callable
    rho : float or callable
        Share kept of the mean square, in [0, 1); torch's alpha.
    momentum : float or callable
        mu, in [0, 1); a velocity is kept where it is a function of the step, or not 0.
    epsilon : float or callable
        Added to ``sqrt(v)``, outside the root.
    centered : bool
        Divide by the running standard deviation instead.
    **options
        What every optimizer takes, see `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> w, optimizer = np.array([1.0]), fm.optimizers.RMSprop(0.1, rho=0.75, epsilon=0.0)
    >>> optimizer.update(w, np.array([2.0]), {"v": np.zeros(1)}, 0.1, 1)  # v = 0.25 * 4, w = 1 - 0.1 * 2 / 1
    >>> w
    array([0.8])
    """

    elementwise = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "rho", "momentum", "epsilon")
    least_state: ClassVar[Mapping[str, float]] = {"v": 0.0, "m": -math.inf, "velocity": -math.inf}
    settled_by_state: ClassVar[frozenset[str]] = Optimizer.settled_by_state | {"centered"}

    elsewhere = MappingProxyType({**Optimizer.elsewhere, "alpha": ["rho"]})

    rho = Hyperparameter(check_share)
    momentum = Momentum()
    epsilon = Hyperparameter()

    def __init__(
        self,
        learning_rate: Scheduled = 0.001,
        rho: Scheduled = 0.9,
        *,
        momentum: Scheduled = 0.0,
        epsilon: Scheduled = 1e-8,
        centered: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = bool(centered)

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        names = ["v"] + ["m"] * self.centered + ["velocity"] * keeps_velocity(self.momentum)
        return {name: np.zeros_like(param) for name in names}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        v = state["v"]
        v += (1 - self.rho) * (grad * grad - v)
        variance = v
        if self.centered:
            m = state["m"]
            m += (1 - self.rho) * (grad - m)
            variance = np.maximum(v - m * m, 0.0)
        change = learning_rate * grad / (np.sqrt(variance) + self.epsilon)
        if "velocity" in state:
            velocity = state["velocity"]
            velocity *= self.momentum
            velocity += change
            change = velocity
        param -= change
