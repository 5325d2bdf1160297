"""Adamax: Adam by the largest gradient, of those that fade, in place of the mean square."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import optimizers as registry
from ._moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("adamax")
class Adamax(Moments):
    """``m = b1 m + (1 - b1) g, u = max(b2 u, |g| + epsilon), w -= lr / (1 - b1^t) m / u``.

    Kingma and Ba, Adam, ICLR 2015, Algorithm 2, which has no epsilon; it stands where torch has it. Keras divides by
    ``u + epsilon`` instead.

    Parameters
    ----------
    learning_rate : float or callable
        0.001, as in Keras; the paper and torch have 0.002.
    beta_1 : float or callable
        Share kept of the mean, in [0, 1).
    beta_2 : float or callable
        Share that is left of the largest gradient after a step, in [0, 1).
    epsilon : float or callable
        Added to ``|g|``.
    **options
        What every optimizer takes, see `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> w, optimizer = np.array([1.0]), fm.optimizers.Adamax(0.1, epsilon=0.0)
    >>> optimizer.update(w, np.array([2.0]), optimizer.init_state(w), 0.1, 1)  # the first step is the learning rate
    >>> w
    array([0.9])
    """

    least_state: ClassVar[Mapping[str, float]] = {"m": -math.inf, "u": 0.0}

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"m": np.zeros_like(param), "u": np.zeros_like(param)}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        m, u = state["m"], state["u"]
        m += (1 - self.beta_1) * (grad - m)
        u[...] = np.maximum(self.beta_2 * u, np.abs(grad) + self.epsilon)
        param -= learning_rate / (1 - self.beta_1**step) * m / u
