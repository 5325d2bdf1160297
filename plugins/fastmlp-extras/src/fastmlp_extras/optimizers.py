"""The optimizer ``yogi``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Yogi(fm.optimizers.Optimizer):
    """Adam whose mean square forgets slowly: large gradients count as long as small ones.

    With ``m = v = 0`` at first, a step is::

        m := beta_1 m + (1 - beta_1) g
        v := v - (1 - beta_2) sign(v - g^2) g^2
        w := w - learning_rate m / (sqrt(v) + epsilon)

    Parameters
    ----------
    learning_rate : float or schedule
    beta_1, beta_2 : float
        Shares of the moments that are kept, in ``[0, 1)``; otherwise a ValueError.
    epsilon : float
        Added to the root; at least 0.
    **kwargs
        What every optimizer takes.

    Notes
    -----
    Zaheer et al., 2018, "Adaptive methods for nonconvex optimization", NeurIPS, Algorithm 2.
    """

    elementwise = True

    def __init__(
        self,
        learning_rate: Any = 1e-2,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-3,
        **kwargs: Any,
    ) -> None:
        super().__init__(learning_rate, **kwargs)
        for name, beta in (("beta_1", beta_1), ("beta_2", beta_2)):
            if not 0 <= beta < 1:
                raise ValueError(f"Yogi: {name} must be in [0, 1), got {beta!r}")
        if not epsilon >= 0:
            raise ValueError(f"Yogi: epsilon must be at least 0, got {epsilon!r}")
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the moments ``m`` and ``v``, zeros of the shape and dtype of `param`."""
        return {"m": np.zeros_like(param), "v": np.zeros_like(param)}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        """Change `param`, ``state["m"]`` and ``state["v"]`` in place by one step."""
        m, v, square = state["m"], state["v"], grad * grad
        m += (1 - self.beta_1) * (grad - m)
        v -= (1 - self.beta_2) * np.sign(v - square) * square
        param -= learning_rate * m / (np.sqrt(v) + self.epsilon)
