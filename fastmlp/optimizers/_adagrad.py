"""Adagrad: steps divided by the root of all squared gradients so far."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_number
from ..registry import optimizers as registry
from ._base import Optimizer
from ._hyperparameters import Hyperparameter, Scheduled

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("adagrad")
class Adagrad(Optimizer):
    """``s += g^2, w -= lr g / (sqrt(s) + epsilon)``.

    Duchi, Hazan and Singer, Adaptive subgradient methods for online learning and stochastic optimization, JMLR 12,
    2011, Figure 1 with diagonal matrices. Epsilon is added outside the root, as in torch, and the sum begins at 0;
    Keras begins at 0.1 and adds epsilon inside.

    Parameters
    ----------
    learning_rate : float or callable
    initial_accumulator_value : float
        Where the sum s begins, at least 0. It holds for what is compiled from then on.
    epsilon : float or callable
        Added to ``sqrt(s)``, outside the root.
    **options
        What every optimizer takes, see `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> w, optimizer = np.array([1.0]), fm.optimizers.Adagrad(0.1, epsilon=0.0)
    >>> optimizer.update(w, np.array([2.0]), {"sum": np.array([12.0])}, 0.1, 1)  # s = 16, w = 1 - 0.1 * 2 / 4
    >>> w
    array([0.95])
    """

    elementwise = True
    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate", "epsilon")
    least_state: ClassVar[Mapping[str, float]] = {"sum": 0.0}

    epsilon = Hyperparameter()

    def __init__(
        self,
        learning_rate: Scheduled = 0.001,
        initial_accumulator_value: float = 0.0,
        epsilon: Scheduled = 1e-10,
        **options: Any,
    ) -> None:
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = check_number("initial_accumulator_value", initial_accumulator_value, 0.0)
        self.epsilon = epsilon

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"sum": np.full_like(param, self.initial_accumulator_value)}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        total = state["sum"]
        total += grad * grad
        param -= learning_rate * grad / (np.sqrt(total) + self.epsilon)
