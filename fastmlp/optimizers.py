"""Optimizers: how a step moves the parameters (row 16). Defaults as Keras; see CONVENTIONS for where others differ."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .checks import check_number, check_share
from .configurable import Configurable
from .registry import optimizers as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SGD", "Adam", "Optimizer"]

LearningRate = float | Callable[[int], float]


class Sweep(NamedTuple):
    """An optimizer as the kernels take it: the operation and its fields, and the program of one that was recorded."""

    code: str
    fields: dict[str, float]
    program: Any = None


class Optimizer(Configurable):
    """Base of all optimizers.

    A subclass writes `init_state` (if it keeps any) and `update`; the latter is called once per parameter and step.

    Parameters
    ----------
    learning_rate : float or callable
        A number, or a pure function of the step (from 1 on) that gives one. May be set between steps.

    Attributes
    ----------
    elementwise : bool
        Whether `update` treats each number of a parameter alone, and does the same at each call. Then it is recorded
        once and runs compiled over all parameters together, as a built-in does; up to 3 arrays of state.
    """

    elementwise: bool = False

    def __init__(self, learning_rate: LearningRate = 0.001) -> None:
        self.learning_rate = learning_rate

    @property
    def learning_rate(self) -> Any:  # LearningRate; type checkers would refuse `learning_rate *= 0.5` of a union
        """A number, or a function of the step; what is set holds from the next step on."""
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, value: LearningRate) -> None:
        self._learning_rate = value if callable(value) else check_number("learning_rate", value, 0.0)

    def learning_rate_at(self, step: int) -> float:
        """The learning rate of one step, counted from 1."""
        rate = self._learning_rate
        return check_number("learning_rate", rate(step), 0.0) if callable(rate) else rate

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return new arrays shaped as `param`, by name: what this optimizer remembers of a parameter."""
        return {}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        """Change `param` and `state` in place, from the gradient (read-only); `step` counts from 1."""
        raise NotImplementedError(
            f"{type(self).__qualname__} has no update(self, param, grad, state, learning_rate, step)"
        )


registry.base = Optimizer


@registry.builtin("sgd")
class SGD(Optimizer):
    """``w -= lr g``; with momentum ``v = mu v - lr g, w += v``, and Nesterov's ``w += mu v - lr g``.

    Parameters
    ----------
    learning_rate : float or callable
    momentum : float
        mu, in [0, 1).
    nesterov : bool
        Look ahead along the velocity (Sutskever and others, ICML 2013).
    """

    def __init__(self, learning_rate: LearningRate = 0.01, momentum: float = 0.0, nesterov: bool = False) -> None:
        super().__init__(learning_rate)
        self.momentum = check_share("momentum", momentum)
        self.nesterov = bool(nesterov)

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        return {"velocity": np.zeros_like(param)} if self.momentum else {}

    def update(
        self,
        param: NDArray[Any],
        grad: NDArray[Any],
        state: dict[str, NDArray[Any]],
        learning_rate: float,
        step: int,
    ) -> None:
        if not self.momentum:
            param -= learning_rate * grad
            return
        velocity = state["velocity"]
        velocity *= self.momentum
        velocity -= learning_rate * grad
        param += self.momentum * velocity - learning_rate * grad if self.nesterov else velocity


@registry.builtin("adam")
class Adam(Optimizer):
    """``m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr mhat / (sqrt(vhat) + epsilon)``.

    ``mhat = m / (1 - b1^t)``, ``vhat = v / (1 - b2^t)``: Algorithm 1 of Kingma and Ba, Adam, ICLR 2015.

    Parameters
    ----------
    learning_rate : float or callable
    beta1, beta2 : float
        Shares kept of the moments, in [0, 1).
    epsilon : float
        Added to ``sqrt(vhat)``.
    """

    def __init__(
        self,
        learning_rate: LearningRate = 0.001,
        beta1: float = 0.9,
        beta2: float = 0.999,
        epsilon: float = 1e-8,
    ) -> None:
        super().__init__(learning_rate)
        self.beta1 = check_share("beta1", beta1)
        self.beta2 = check_share("beta2", beta2)
        self.epsilon = check_number("epsilon", epsilon, 0.0)

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
        m += (1 - self.beta1) * (grad - m)
        v += (1 - self.beta2) * (grad * grad - v)
        rate = learning_rate / (1 - self.beta1**step)
        param -= rate * m / (np.sqrt(v / (1 - self.beta2**step)) + self.epsilon)


def kernel_of(optimizer: Optimizer) -> Sweep | None:
    """The kernel of a built-in; None for any other class."""
    if type(optimizer) is SGD:
        return Sweep("sgd", {"rate": optimizer.momentum, "flag": optimizer.nesterov})
    if type(optimizer) is Adam:
        fields = {"beta1": optimizer.beta1, "beta2": optimizer.beta2, "epsilon": optimizer.epsilon}
        return Sweep("adam", fields)
    return None


get = registry.get
