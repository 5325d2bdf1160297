"""Adam and AdamW: steps of the size of the learning rate, by moments of the gradient."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import optimizers as registry
from ._base import Optimizer
from ._hyperparameters import Scheduled
from ._moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("adam")
class Adam(Moments):
    """``m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr mhat / (sqrt(vhat) + epsilon)``.

    ``mhat = m / (1 - b1^t)``, ``vhat = v / (1 - b2^t)``: Algorithm 1 of Kingma and Ba, Adam, ICLR 2015. AMSGrad takes
    the largest v so far in place of v: Reddi, Kale and Kumar, On the convergence of Adam and beyond, ICLR 2018, with
    Adam's corrections, as torch has it.

    Parameters
    ----------
    learning_rate : float or callable
    beta_1, beta_2 : float or callable
        Shares kept of the moments, in [0, 1).
    epsilon : float or callable
        Added to ``sqrt(vhat)``.
    amsgrad : bool
        Divide by the largest root so far; it is traced, and keeps one more array.
    **options
        What every optimizer takes, see `Optimizer`.
    """

    renamed: ClassVar[Mapping[str, str]] = {"beta1": "beta_1", "beta2": "beta_2"}  # as they were called before 0.2
    least_state: ClassVar[Mapping[str, float]] = {"m": -math.inf, "v": 0.0, "largest": 0.0}
    settled_by_state: ClassVar[frozenset[str]] = Optimizer.settled_by_state | {"amsgrad"}

    def __init__(
        self,
        learning_rate: Scheduled = 0.001,
        beta_1: Scheduled = 0.9,
        beta_2: Scheduled = 0.999,
        epsilon: Scheduled = 1e-8,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **options)
        self.amsgrad = bool(amsgrad)

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        names = ["m", "v"] + ["largest"] * self.amsgrad
        return {name: np.zeros_like(param) for name in names}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        m, v = state["m"], state["v"]
        m += (1 - self.beta_1) * (grad - m)
        v += (1 - self.beta_2) * (grad * grad - v)
        if self.amsgrad:
            largest = state["largest"]
            largest[...] = np.maximum(largest, v)
            v = largest
        rate = learning_rate / (1 - self.beta_1**step)
        param -= rate * m / (np.sqrt(v / (1 - self.beta_2**step)) + self.epsilon)


@registry.builtin("adamw")
class AdamW(Adam):
    """``w -= lr wd w``, and then Adam: ``m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr mhat / (...)``.

    Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, Algorithm 2, where the learning rate scales
    the decay too, as in torch. Of a network, parameters that were added with ``decay=True`` decay, which are kernels;
    torch and Keras decay all, unless told otherwise. It is `Adam` with another default, and has its kernel.

    Parameters
    ----------
    learning_rate : float or callable
    beta_1, beta_2 : float or callable
        Shares kept of the moments, in [0, 1).
    epsilon : float or callable
        Added to ``sqrt(vhat)``.
    amsgrad : bool
        Divide by the largest root so far; it is traced, and keeps one more array.
    weight_decay : float or callable
        wd; 0.01, as in torch. Keras has 0.004.
    **options
        What every optimizer takes, see `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Scheduled = 0.001,
        beta_1: Scheduled = 0.9,
        beta_2: Scheduled = 0.999,
        epsilon: Scheduled = 1e-8,
        amsgrad: bool = False,
        *,
        weight_decay: Scheduled = 0.01,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **options)
