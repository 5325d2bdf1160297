"""Checks of optimizers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ._execution import described, execution_of
from ._networks import file, network, threads, trains
from ._numbers import DTYPES, compare, draw, unchanged
from ._outcome import Failure, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHECKS"]

SHAPE = (4, 3)
RATES = (0.1, 0.01, 1.0)
STEPS = 300


def _gradient(seed: int, dtype: Any, shape: tuple[int, ...] = SHAPE) -> NDArray[Any]:
    gradient = draw(shape, seed=seed, dtype=dtype)
    gradient.flags.writeable = False
    return gradient


def state(subject: Subject) -> None:
    """Return from init_state a dict of new arrays of the shape and dtype of param."""
    optimizer = subject.make()
    for dtype in DTYPES:
        param = draw(SHAPE, dtype=dtype)
        with unchanged("init_state", param=param):
            made = optimizer.init_state(param)
        expect(isinstance(made, dict), f"init_state returned {type(made).__name__}: return a dict of arrays")
        for name, array in made.items():
            expect(isinstance(name, str), f"init_state names an array {name!r}: use strings")
            expect(isinstance(array, np.ndarray), f"state {name!r} is {type(array).__name__}: use np.zeros_like(param)")
            got = f"state {name!r} is {array.dtype} {array.shape}"
            expect(array.shape == SHAPE, f"{got} for a parameter of {SHAPE}: use np.zeros_like(param)")
            expect(array.dtype == dtype, f"{got} for a parameter of {dtype}: use np.zeros_like(param)")
            expect(not np.shares_memory(array, param), f"state {name!r} shares memory with param: copy it")
        again = optimizer.init_state(param)
        shared = [name for name in made if np.shares_memory(made[name], again[name])]
        expect(not shared, f"two parameters would share the state {shared}: make new arrays in init_state")


def in_place(subject: Subject) -> None:
    """Change param and the arrays of state in place (param -= ...; m *= ...), and return None."""
    optimizer = subject.make()
    for dtype in DTYPES:
        param = draw(SHAPE, dtype=dtype)
        made = optimizer.init_state(param)
        before, arrays = param.copy(), dict(made)
        for step in (1, 2, 3):
            answer = optimizer.update(param, _gradient(step, dtype), made, 0.1, step)
            expect(answer is None, f"update returned {type(answer).__name__}: change param in place, return nothing")
        expect(
            not np.array_equal(param, before), "update did not change param: write into it (param -= ..., param[...] =)"
        )
        expect(np.isfinite(param).all(), "update made NaN or infinity of finite numbers")
        replaced = [name for name in {*made, *arrays} if made.get(name) is not arrays.get(name)]
        expect(
            not replaced,
            f"update replaced the state {sorted(replaced)}: change its arrays in place (m *= beta; m += ...), neither "
            "add nor drop any",
        )


def gradient_kept(subject: Subject) -> None:
    """Never write into grad: it is read-only in a network."""
    optimizer, param, grad = subject.make(), draw(SHAPE), draw(SHAPE, seed=1)
    made = optimizer.init_state(param)
    with unchanged("update", grad=grad):
        for step in (1, 2):
            optimizer.update(param, grad, made, 0.1, step)


def rate(subject: Subject) -> None:
    """Take the learning rate from the argument of update, which follows schedules; at 0, move nothing."""
    optimizer, param = subject.make(), draw(SHAPE)
    before, made = param.copy(), optimizer.init_state(param)
    for step in (1, 2):
        optimizer.update(param, _gradient(step, np.float64), made, 0.0, step)
    expect(
        np.array_equal(param, before),
        "at learning_rate 0 param moves: scale every step by the argument learning_rate, not by self.learning_rate",
    )


def schedule(subject: Subject) -> None:
    """Pass learning_rate to the base class, so that a function of the step works as well as a number."""
    states = []
    for value in (0.003, _constant):
        optimizer = subject.make()
        kept = optimizer.learning_rate
        try:
            optimizer.learning_rate = value
            net, (x, y) = network(subject, optimizer, "float64", rows=16, width=8)
            for _ in range(2):
                net.train_on_batch(x, y)
            param = draw(SHAPE)
            optimizer.update(param, _gradient(1, np.float64), optimizer.init_state(param), 0.003, 1)
            states.append({"param": param, **{key: array.copy() for key, array in net.parameters.items()}})
        finally:
            optimizer.learning_rate = kept
    for key, array in states[0].items():
        expect(
            np.array_equal(array, states[1][key]),
            "a learning rate given as a function of the step does something else than its value: call "
            "super().__init__(learning_rate), and use the argument learning_rate of update",
        )


def _constant(step: int) -> float:
    return 0.003


def minimises(subject: Subject) -> None:
    """Go downhill: on a convex quadratic the value must fall to less than half within 300 steps."""
    curvature, lowest = np.linspace(0.5, 2.0, 12).reshape(SHAPE), draw(SHAPE, seed=9)
    optimizer = subject.make()
    reached = {}
    for rate in (optimizer.learning_rate_at(1), *RATES):
        param = lowest + 1.0
        first = _value(param, lowest, curvature)
        made = optimizer.init_state(param)
        with np.errstate(all="ignore"):
            for step in range(1, STEPS + 1):
                optimizer.update(param, curvature * (param - lowest), made, rate, step)
            reached[rate] = _value(param, lowest, curvature) / first
        if reached[rate] < 0.5:
            return
    shares = ", ".join(f"{share:.3g} at learning rate {rate:g}" for rate, share in reached.items())
    raise Failure(
        f"the value of a convex quadratic became, as a share of the first, {shares}: check the sign of the step "
        "(param -= learning_rate * ...) and its size"
    )


def _value(param: NDArray[Any], lowest: NDArray[Any], curvature: NDArray[Any]) -> float:
    return float((curvature * (param - lowest) ** 2).sum() / 2)


def elementwise(subject: Subject) -> None:
    """Set ``elementwise = True`` only if each element of param moves by its own gradient and state alone."""
    optimizer = subject.make()
    if not getattr(optimizer, "elementwise", False):
        return
    whole = draw((12,))
    parts = [whole[:5].copy(), whole[5:].copy()]
    states = [optimizer.init_state(array) for array in (whole, *parts)]
    for step in (1, 2, 3):
        gradient = _gradient(step, np.float64, (12,))
        for array, grad, made in zip((whole, *parts), (gradient, gradient[:5], gradient[5:]), states, strict=True):
            optimizer.update(array, grad, made, 0.01, step)
    what = "elementwise is True, but an element moves otherwise where others stand beside it; drop elementwise"
    compare(np.concatenate(parts), whole, 1e-12, what, whole)


def speed(subject: Subject) -> str:
    """Set ``elementwise = True`` and write straight-line NumPy, if it must run compiled."""
    return described(subject, execution_of(subject.kind, subject.make()))


CHECKS = (
    *(state, in_place, gradient_kept, rate, minimises, elementwise),
    *(schedule, trains, threads, file, speed),
)
