"""Nadam: Adam that looks ahead along its mean, as Nesterov's momentum does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import optimizers as registry
from ._hyperparameters import Hyperparameter, Scheduled
from ._moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOTHING = 1e-30  # beside 1, in either precision, and far from numbers that are slow


@registry.builtin("nadam")
class Nadam(Moments):
    """``m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr mhat / (sqrt(vhat) + epsilon)``.

    ``vhat = v / (1 - b2^t)``, and ``mhat = mu_{t+1} m / (1 - p_t mu_{t+1}) + (1 - mu_t) g / (1 - p_t)`` with
    ``mu_t = b1 (1 - 0.96^(d t) / 2)`` and ``p_t`` the product of ``mu_1 .. mu_t``, which is kept as state.

    Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016, Algorithm 2 with the schedule of its section
    on experiments. d is 0.004 there and in torch; Keras's rule has d = 1. Epsilon is added as in Adam, as in both.

    Parameters
    ----------
    learning_rate : float or callable
    beta_1, beta_2 : float or callable
        Shares kept of the moments, in [0, 1).
    epsilon : float or callable
        Added to ``sqrt(vhat)``.
    momentum_decay : float or callable
        d, how fast mu rises from about ``b1 / 2`` to b1; 1.0 is Keras's rule.
    **options
        What every optimizer takes, see `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> w, optimizer = np.array([1.0]), fm.optimizers.Nadam(0.1, beta_1=0.0, beta_2=0.0, epsilon=0.0)
    >>> optimizer.update(w, np.array([2.0]), optimizer.init_state(w), 0.1, 1)  # the sign of the gradient
    >>> w
    array([0.9])
    """

    hyperparameters: ClassVar[tuple[str, ...]] = (*Moments.hyperparameters, "momentum_decay")
    least_state: ClassVar[Mapping[str, float]] = {"m": -math.inf, "v": 0.0, "product": 0.0}

    momentum_decay = Hyperparameter()

    def __init__(
        self,
        learning_rate: Scheduled = 0.001,
        beta_1: Scheduled = 0.9,
        beta_2: Scheduled = 0.999,
        epsilon: Scheduled = 1e-8,
        *,
        momentum_decay: Scheduled = 0.004,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.momentum_decay = momentum_decay

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"m": np.zeros_like(param), "v": np.zeros_like(param), "product": np.ones_like(param)}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        m, v, product = state["m"], state["v"], state["product"]
        now, ahead = (self.beta_1 * (1 - 0.5 * 0.96 ** (self.momentum_decay * t)) for t in (step, step + 1))
        product[...] = now * np.minimum(product, 1.0)  # which it never exceeds, but that is not known of state
        product *= product > NOTHING  # else it would stay among the smallest numbers for ever
        m += (1 - self.beta_1) * (grad - m)
        v += (1 - self.beta_2) * (grad * grad - v)
        mean = ahead * m / (1 - ahead * product) + (1 - now) * grad / (1 - product)
        param -= learning_rate * mean / (np.sqrt(v / (1 - self.beta_2**step)) + self.epsilon)
