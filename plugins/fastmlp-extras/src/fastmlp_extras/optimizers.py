"""The optimizer ``lion``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Lion(fm.optimizers.Optimizer):
    """EvoLved sIgn mOmeNtum: every parameter moves by the learning rate, up or down.

    With ``m = 0`` at first, a step is::

        c = beta1 m + (1 - beta1) g
        w := w - learning_rate sign(c)
        m := beta2 m + (1 - beta2) g

    Parameters
    ----------
    learning_rate : float or schedule
        Three to ten times smaller than Adam's, since every step has full length.
    beta1, beta2 : float
        Shares of the momentum that are kept, in ``[0, 1)``; otherwise a ValueError.
    **kwargs
        What every optimizer takes.

    Notes
    -----
    Chen et al., 2023, "Symbolic discovery of optimization algorithms", arXiv:2302.06675, Algorithm 2, without
    its weight decay.
    """

    elementwise = True

    def __init__(self, learning_rate: Any = 1e-4, beta1: float = 0.9, beta2: float = 0.99, **kwargs: Any) -> None:
        super().__init__(learning_rate, **kwargs)
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            if not 0 <= beta < 1:
                raise ValueError(f"Lion: {name} must be in [0, 1), got {beta!r}")
        self.beta1 = beta1
        self.beta2 = beta2

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return the momentum ``m``, zeros of the shape and dtype of `param`."""
        return {"m": np.zeros_like(param)}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        """Change `param` and ``state["m"]`` in place by one step."""
        m = state["m"]
        param -= learning_rate * np.sign(self.beta1 * m + (1 - self.beta1) * grad)
        m *= self.beta2
        m += (1 - self.beta2) * grad
