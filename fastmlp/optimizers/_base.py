"""``Optimizer``: how a step moves the parameters, in NumPy; how it runs in a network follows from that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ..checks import check_share
from ..configurable import Configurable, unknown_parameters
from ..registry import optimizers as registry
from ._averaging import Averaging, check_every
from ._clipping import Clipping, check_limit
from ._hyperparameters import Decay, Hyperparameter, Scheduled, checked_rate, value_at

if TYPE_CHECKING:
    from numpy.typing import NDArray

Own = TypeVar("Own", bound="Optimizer")


class Optimizer(Configurable):
    """Base of all optimizers.

    A subclass writes `init_state` (if it keeps any) and `update`; the latter is called once per parameter and step.

    Parameters
    ----------
    learning_rate : float or callable
        A number; or a schedule, ``{"name": ..., **config}`` of one, or any pure function of the step (from 1 on) that
        gives one. May be set between steps. With a plain function, a network can be copied but not saved.
    weight_decay : float or callable
        Decoupled from the gradient, and scaled by the learning rate: before a step ``w -= lr wd w``, for parameters
        that were added with ``decay=True``: kernels, but no biases, nor scales and shifts of normalizations. Loshchilov
        and Hutter, Decoupled weight decay regularization, ICLR 2019, as torch's AdamW has it.
    clipvalue, clipnorm, global_clipnorm : float or None
        Limits of gradients, above 0; None: no limit. Each number g becomes ``min(max(g, -clipvalue), clipvalue)``; then
        the gradient of each parameter whose norm is above `clipnorm` is scaled to it; then all gradients together, if
        their norm is above `global_clipnorm` (Pascanu and others, ICML 2013). Gradients are those of the whole loss,
        penalties included, of what is learned. NaN and infinity are told, not clipped.
    use_ema : bool
        Keep an exponential moving average of the weights, ``average = ema_momentum average + (1 - ema_momentum) w``
        after each step, which begins with the first weights (Polyak and Juditsky, SIAM J. Control and Optimization,
        1992). It is ``net.optimizer_state[key]["average"]``.
    ema_momentum : float
        In [0, 1).
    ema_overwrite_frequency : int or None
        After so many steps the weights become their average; None: never.
    **unknown
        Any other keyword is a TypeError, which tells what torch's and scikit-learn's names are here.

    Attributes
    ----------
    elementwise : bool
        Whether `update` treats each number of a parameter alone, and does the same at each call. Then it is traced
        once and runs compiled over all parameters together, as a built-in does; up to 3 arrays of state.
    hyperparameters : tuple of str
        Attributes that are hyper-parameters of a step, the learning rate first and the weight decay aside: each may be
        a number or a pure function of the step. A built-in's kernel takes them in this order. If one beside the
        learning rate is a function, `update` runs on a copy of the optimizer that holds its value at the step.
    least_state : mapping of str to float
        The least number that arrays of state can hold, by name, ``-math.inf`` for any finite one: others are neither
        saved nor loaded. Arrays that are not named may hold anything, NaN included.
    settled_by_state : frozenset of str
        Settings that say which arrays of state there are: once there are some, they can't be changed. A subclass adds
        its own: ``settled_by_state = Optimizer.settled_by_state | {"centered"}``.
    """

    data_attributes: ClassVar[frozenset[str]] = frozenset({"in_use"})

    in_use: bool = False  # whether a network has been compiled with it, so that there is state
    elementwise: bool = False
    hyperparameters: ClassVar[tuple[str, ...]] = ("learning_rate",)
    least_state: ClassVar[Mapping[str, float]] = MappingProxyType({})
    settled_by_state: ClassVar[frozenset[str]] = frozenset({"use_ema"})

    elsewhere: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType(
        {
            "lr": ["learning_rate"],
            "learning_rate_init": ["learning_rate"],
            "betas": ["beta_1", "beta_2"],
            "beta1": ["beta_1"],
            "beta2": ["beta_2"],
            "eps": ["epsilon"],
            "nesterovs_momentum": ["nesterov"],
        }
    )

    learning_rate = Hyperparameter()
    weight_decay = Decay()

    def __init__(
        self,
        learning_rate: Scheduled = 0.001,
        *,
        weight_decay: Scheduled = 0.0,
        clipvalue: float | None = None,
        clipnorm: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        **unknown: Any,
    ) -> None:
        if unknown:
            raise unknown_parameters(type(self), unknown)
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.clipvalue = check_limit("clipvalue", clipvalue)
        self.clipnorm = check_limit("clipnorm", clipnorm)
        self.global_clipnorm = check_limit("global_clipnorm", global_clipnorm)
        self.use_ema = bool(use_ema)
        self.ema_momentum = check_share("ema_momentum", ema_momentum)
        self.ema_overwrite_frequency = check_every("ema_overwrite_frequency", ema_overwrite_frequency)

    @property
    def clipping(self) -> Clipping:
        """What is clipped of gradients, checked: a class of one's own may have set what it likes."""
        limits = vars(self).get
        names = ("clipvalue", "clipnorm", "global_clipnorm")
        return Clipping(*(check_limit(name, limits(name)) for name in names))

    @property
    def averaging(self) -> Averaging | None:
        """How weights are averaged; None: not at all. A class of one's own may not have called ``__init__``."""
        if not vars(self).get("use_ema", False):
            return None
        return Averaging(self.ema_momentum, self.ema_overwrite_frequency)

    def _check_change(self, name: str, value: Any) -> None:
        before = getattr(self, name)
        if self.in_use and name in self.settled_by_state and value != before:
            raise AttributeError(
                f"{name}: can't become {value!r}, since the optimizer was compiled with {name}={before!r}, and keeps "
                f"the state of that; call compile(fm.optimizers.{type(self).__name__}({name}=...)) with a new one"
            )

    @property
    def decays(self) -> bool:
        """Whether there is a weight decay: one that is a function of the step, or not 0."""
        decay = self.weight_decay
        return callable(decay) or decay != 0

    def learning_rate_at(self, step: int) -> float:
        """Return the learning rate of one step, counted from 1."""
        return value_at(self, "learning_rate", step)

    def hyperparameters_at(self, step: int, names: Sequence[str] | None = None) -> list[float]:
        """Return the values of hyper-parameters at a step.

        Parameters
        ----------
        step : int
            Counted from 1.
        names : sequence of str, optional
            Which; by default those that the class declares, in its order.

        Raises
        ------
        TypeError, ValueError
            If a function of the step gives anything but a number that the hyper-parameter may be.
        """
        names = self.hyperparameters if names is None else names
        return [self._rate_at(step) if name == "learning_rate" else value_at(self, name, step) for name in names]

    def _rate_at(self, step: int) -> float:
        rate = self.learning_rate_at(step)
        return rate if type(self).learning_rate_at is Optimizer.learning_rate_at else checked_rate(self, step, rate)

    def scheduled(self) -> dict[str, Callable[[int], float]]:
        """Return the hyper-parameters that are functions of the step, the learning rate aside."""
        found = {name: getattr(self, name) for name in self.hyperparameters if name != "learning_rate"}
        return {name: value for name, value in found.items() if callable(value)}

    def at_step(self: Own, step: int) -> Own:
        """Return an optimizer whose hyper-parameters are numbers, for `update` at a step; itself where they are."""
        names = list(self.scheduled())
        if not names:
            return self
        other = copy(self)
        vars(other).update(zip(names, self.hyperparameters_at(step, names), strict=True))
        return other

    def init_state(self, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return new arrays shaped as `param`, by name: what this optimizer remembers of a parameter.

        Infinity may stand for a number that is not there yet (the least gradient so far), until the first update makes
        a finite one of it; NaN is an error.
        """
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
