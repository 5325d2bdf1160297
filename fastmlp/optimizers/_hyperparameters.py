"""Hyper-parameters of an optimizer: numbers, or schedules, pure functions of the step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, overload

from ..checks import check_number, check_share
from ..configurable import init_parameters
from ..registry import schedules as schedule_registry
from ..user_code import returned_number

__all__ = ["Decay", "Hyperparameter", "Momentum", "Scheduled", "checked_rate", "keeps_velocity", "value_at"]

# What is set: a number, a schedule or any function of the step, or the configuration of a schedule.
# What is read is typed as a number.
Scheduled = float | Callable[[int], float] | Mapping[str, Any]


def _at_least_0(name: str, value: Any) -> float:
    return check_number(name, value, 0.0)


class Hyperparameter:
    """A hyper-parameter as an attribute: a number is checked when it is set, a function of the step when it is called.

    ``{"name": ..., **config}`` and a class become the schedule that they stand for, see `fastmlp.schedules`.

    The attribute is typed as a number, so that ``optimizer.learning_rate *= 0.5`` is well typed; where a function was
    set, that function is what is read.

    Parameters
    ----------
    check : callable, optional
        ``check(name, value) -> float``; by default a finite number of at least 0.
    default : float, optional
        What is read where nothing was set, which is an AttributeError else.
    """

    def __init__(self, check: Callable[[str, Any], float] = _at_least_0, default: float | None = None) -> None:
        self.check, self.default = check, default

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, optimizer: None, owner: type) -> Hyperparameter: ...

    @overload
    def __get__(self, optimizer: object, owner: type) -> float: ...

    def __get__(self, optimizer: object, owner: type) -> Any:
        if optimizer is None:
            return self
        try:
            return vars(optimizer)[self.name]
        except KeyError:
            if self.default is not None:
                return self.default
            kind = type(optimizer).__name__
            raise AttributeError(f"{kind!r} object has no attribute {self.name!r}") from None

    def __set__(self, optimizer: object, value: Scheduled) -> None:
        if isinstance(value, type):
            value = schedule_registry.get(value)
        elif isinstance(value, Mapping) and "name" in value:
            value = schedule_registry.get(dict(value))
        vars(optimizer)[self.name] = value if callable(value) else self.check(self.name, value)


def keeps_velocity(momentum: Scheduled) -> bool:
    """Return whether there is a velocity: where the momentum is a function of the step, or not 0."""
    return callable(momentum) or momentum != 0


class Momentum(Hyperparameter):
    """A momentum, which has a velocity or none: where there is state, that can't change any more."""

    def __init__(self) -> None:
        super().__init__(check_share)

    def __set__(self, optimizer: Any, value: Scheduled) -> None:
        before = vars(optimizer).get(self.name, value)
        if optimizer.in_use and keeps_velocity(before) != keeps_velocity(value):
            has = "a velocity" if keeps_velocity(before) else "no velocity"
            raise AttributeError(
                f"momentum: can't become {value!r}, since the optimizer was compiled with momentum={before!r}, and "
                f"keeps {has}; call compile(fm.optimizers.{type(optimizer).__name__}(momentum=...)) with a new one"
            )
        super().__set__(optimizer, value)


class Decay(Hyperparameter):
    """The weight decay, which every optimizer has: 0 where none was set, also in classes that don't know of it."""

    def __init__(self) -> None:
        super().__init__(default=0.0)

    def __set__(self, optimizer: object, value: Scheduled) -> None:
        cls = type(optimizer)
        if self.name in vars(optimizer) and self.name not in init_parameters(cls):
            raise AttributeError(
                f"{cls.__name__} has no {self.name} in its configuration, so that copies and files would lose it: let "
                "its __init__ take **options, and pass them on by super().__init__(learning_rate, **options)"
            )
        super().__set__(optimizer, value)


def value_at(optimizer: object, name: str, step: int) -> float:
    """Return a hyper-parameter at a step, which counts from 1; a function's value is checked as a number is."""
    value: Any = getattr(optimizer, name)
    declared = getattr(type(optimizer), name, None)
    check = declared.check if isinstance(declared, Hyperparameter) else check_number
    return _checked(check, optimizer, name, step, value, value(step)) if callable(value) else value


def checked_rate(optimizer: object, step: int, rate: object) -> float:
    """Return what an optimizer's own ``learning_rate_at`` gave for a step, checked as a number that is set."""
    return _checked(_at_least_0, optimizer, "learning_rate", step, "learning_rate_at", rate)


def _checked(
    check: Callable[[str, Any], float], optimizer: object, name: str, step: int, function: object, value: object
) -> float:
    given_by = getattr(function, "__qualname__", None) or repr(function)
    what = f"{name} of {type(optimizer).__name__} at step {step}, given by {given_by}"
    return check(what, returned_number(value, what))
