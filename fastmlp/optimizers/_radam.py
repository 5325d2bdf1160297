"""RAdam: Adam whose first steps are damped as long as its mean square is uncertain."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import optimizers as registry
from ._moments import Moments

if TYPE_CHECKING:
    from numpy.typing import NDArray

CERTAIN = 5.0  # from more observations than these on, steps are divided by the root mean square


@registry.builtin("radam")
class RAdam(Moments):
    """``m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr mhat r sqrt(1 - b2^t) / (sqrt(v) + epsilon)``.

    ``mhat = m / (1 - b1^t)``. With ``rho_inf = 2 / (1 - b2) - 1`` and ``rho = rho_inf - 2 t b2^t / (1 - b2^t)``, as
    many observations as v has, ``r^2 = (rho - 4) (rho - 2) rho_inf / ((rho_inf - 4) (rho_inf - 2) rho)``; while
    ``rho <= 5``, it is ``w -= lr mhat``.

    Liu and others, On the variance of the adaptive learning rate and beyond, ICLR 2020, Algorithm 2, which has no
    epsilon and ``rho <= 4``; both are as in the authors' code and in torch. Beside Adam's, epsilon counts more in early
    steps: it is added to ``sqrt(v)``, not to ``sqrt(vhat)``.

    Parameters
    ----------
    learning_rate : float or callable
    beta_1, beta_2 : float or callable
        Shares kept of the moments, in [0, 1).
    epsilon : float or callable
        Added to ``sqrt(v)``.
    **options
        What every optimizer takes, see `Optimizer`.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> w, optimizer = np.array([1.0]), fm.optimizers.RAdam(0.1)
    >>> optimizer.update(w, np.array([2.0]), optimizer.init_state(w), 0.1, 1)  # nothing is certain: 1 - 0.1 * 2
    >>> w
    array([0.8])
    """

    least_state: ClassVar[Mapping[str, float]] = {"m": -math.inf, "v": 0.0}

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"m": np.zeros_like(param), "v": np.zeros_like(param)}

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
        left = self.beta_2**step
        limit = 2 / (1 - self.beta_2) - 1
        rho = limit - 2 * step * left / (1 - left)
        most = np.maximum(limit, CERTAIN)
        sure = np.minimum(np.maximum(rho, CERTAIN), most)  # rho, where it counts
        r = np.sqrt((sure - 4) * (sure - 2) * most / ((most - 4) * (most - 2) * sure))
        rate = learning_rate / (1 - self.beta_1**step)
        damped = r * np.sqrt(1 - left) / (np.sqrt(v) + self.epsilon)
        param -= rate * m * np.where(rho > CERTAIN, damped, 1.0)
