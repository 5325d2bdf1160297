"""Lion: steps of one size, up or down by the sign of an interpolated momentum."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_share
from ..registry import optimizers as registry
from ._base import Optimizer
from ._hyperparameters import Hyperparameter, Scheduled

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("lion")
class Lion(Optimizer):
    """``w -= lr sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g``.

    Chen and others, Symbolic discovery of optimization algorithms, arXiv:2302.06675, Algorithm 2. Each number moves by
    the learning rate, so that a good one is three to ten times smaller than Adam's, and a weight decay three to ten
    times larger.

    Parameters
    ----------
    learning_rate : float or callable
        0.001, as in Keras; the paper has 1e-4.
    beta_1 : float or callable
        Share of the momentum in the step, in [0, 1).
    beta_2 : float or callable
        Share kept of the momentum, in [0, 1).
    **options
        What every optimizer takes, see `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> w, optimizer = np.array([1.0, 1.0, 1.0]), fm.optimizers.Lion(0.1)
    >>> optimizer.update(w, np.array([2.0, -0.01, 0.0]), optimizer.init_state(w), 0.1, 1)
    >>> w
    array([0.9, 1.1, 1. ])
    """

    elementwise = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "beta_1", "beta_2")
    least_state: ClassVar[Mapping[str, float]] = {"m": -math.inf}

    beta_1 = Hyperparameter(check_share)
    beta_2 = Hyperparameter(check_share)

    def __init__(
        self, learning_rate: Scheduled = 0.001, beta_1: Scheduled = 0.9, beta_2: Scheduled = 0.99, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"m": np.zeros_like(param)}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        m = state["m"]
        param -= learning_rate * np.sign(self.beta_1 * m + (1 - self.beta_1) * grad)
        m += (1 - self.beta_2) * (grad - m)
