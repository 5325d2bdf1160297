"""Adadelta: steps of the size of those before, divided by a running root mean square of the gradient."""

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


@registry.builtin("adadelta")
class Adadelta(Optimizer):
    """``v = rho v + (1 - rho) g^2, d = g sqrt(u + epsilon) / sqrt(v + epsilon), u = rho u + (1 - rho) d^2, w -= lr d``.

    Zeiler, ADADELTA: an adaptive learning rate method, arXiv:1212.5701, Algorithm 1, where the learning rate is 1 (as
    it is in torch; Keras has 0.001). Epsilon is inside of both roots there, and here: it decides how large the first
    steps are.

    Parameters
    ----------
    learning_rate : float or callable
        1.0 for the paper's rule.
    rho : float or callable
        Share kept of both mean squares, in [0, 1).
    epsilon : float or callable
        Added to the mean squares, inside the roots.
    **options
        What every optimizer takes, see `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> w, optimizer = np.array([1.0]), fm.optimizers.Adadelta(1.0, rho=0.75, epsilon=1.0)
    >>> state = {"v": np.array([2.0]), "u": np.array([8.0])}
    >>> optimizer.update(w, np.array([3.0]), state, 1.0, 1)  # v = 3.75, d = 3 * 3 / sqrt(4.75)
    >>> w.round(4)
    array([-3.1295])
    """

    elementwise = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "rho", "epsilon")
    least_state: ClassVar[Mapping[str, float]] = {"v": 0.0, "u": 0.0}

    rho = Hyperparameter(check_share)
    epsilon = Hyperparameter()

    def __init__(
        self, learning_rate: Scheduled = 0.001, rho: Scheduled = 0.95, epsilon: Scheduled = 1e-6, **options: Any
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.epsilon = epsilon

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"v": np.zeros_like(param), "u": np.zeros_like(param)}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        v, u = state["v"], state["u"]
        v += (1 - self.rho) * (grad * grad - v)
        change = grad * np.sqrt(u + self.epsilon) / np.sqrt(v + self.epsilon)
        u += (1 - self.rho) * (change * change - u)
        param -= learning_rate * change
