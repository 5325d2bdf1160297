"""RMSprop: steps divided by a running root mean square of the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_share
from ..registry import optimizers as registry
from ._base import Optimizer
from ._hyperparameters import Hyperparameter, Scheduled

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("rmsprop")
class RMSprop(Optimizer):
    """``v = rho v + (1 - rho) g^2, w -= lr g / (sqrt(v) + epsilon)``.

    Tieleman and Hinton, Lecture 6.5, Neural networks for machine learning, 2012. It is traced and runs compiled.

    Parameters
    ----------
    learning_rate : float or callable
    rho : float or callable
        Share kept of the mean square, in [0, 1).
    epsilon : float or callable
        Added to ``sqrt(v)``, outside the root.
    **common
        Clipping of gradients and averaging of weights, see `Optimizer`.

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
    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "rho", "epsilon")
    least_state: ClassVar[Mapping[str, float]] = {"v": 0.0}

    rho = Hyperparameter(check_share)
    epsilon = Hyperparameter()

    def __init__(
        self, learning_rate: Scheduled = 0.001, rho: Scheduled = 0.9, epsilon: Scheduled = 1e-8, **common: Any
    ) -> None:
        super().__init__(learning_rate, **common)
        self.rho = rho
        self.epsilon = epsilon

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"v": np.zeros_like(param)}

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
        param -= learning_rate * grad / (np.sqrt(v) + self.epsilon)
