"""Checks of regularizers and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import Dense
from ..model import Sequential
from ._execution import UNITS, speed
from ._networks import INPUTS, file, network, threads, trains
from ._numbers import check_slopes, compare, draw, slopes, unchanged
from ._outcome import Failure, Skipped, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["REGULARIZERS", "SCHEDULES"]

STEPS = (1, 2, 3, 10, 100, 1000, 10**6)


def penalty(subject: Subject) -> None:
    """Return (value, gradient): one finite number, and an array of the shape of w."""
    regularizer, w = subject.make(), draw((4, 3))
    with unchanged("value_and_gradient", w=w):
        answer = regularizer.value_and_gradient(w)
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise Failure(f"value_and_gradient returned {type(answer).__name__}: return (value, gradient)")
    expect(np.ndim(answer[0]) == 0 and np.isfinite(answer[0]), f"the value is {answer[0]!r}: return one finite number")
    expect(np.shape(answer[1]) == w.shape, f"the gradient has shape {np.shape(answer[1])}, w {w.shape}")


def penalty_gradient(subject: Subject) -> None:
    """Return the gradient of the value, as finite differences in float64 see it."""
    if subject.option("gradient") == "surrogate":
        raise Skipped('conformance declares the gradient "surrogate"')
    regularizer, w = subject.make(), draw((4, 3))
    _, analytic = regularizer.value_and_gradient(w)

    def along(points: NDArray[Any]) -> NDArray[Any]:
        result: list[Any] = []
        for place, point in enumerate(points):
            moved = w.copy()
            moved.flat[place] = point
            result.append(float(regularizer.value_and_gradient(moved)[0]))
        return np.array(result)

    flat = np.asarray(analytic).ravel()
    check_slopes(flat, slopes(along, w.ravel()), "the gradient", w.ravel(), "correct value_and_gradient(w)")


def of_the_loss(subject: Subject) -> None:
    """Be a part of the loss: the network's is larger by the value, and its gradient by the gradient."""
    regularizer = subject.make()
    penalized, (x, y) = network(subject, regularizer, np.float64, rows=16, width=8)
    plain = Sequential([Dense(8, "tanh"), Dense(UNITS)], input_dim=INPUTS, dtype="float64", seed=penalized.seed)
    plain.compile("sgd", "mse")
    (loss, gradients), (least, others) = (net.loss_and_gradients(x, y) for net in (penalized, plain))
    for key in ("0.kernel", "0.bias"):
        value, slope = regularizer.value_and_gradient(penalized.parameters[key].copy())
        least += float(value)
        compare(gradients[key], others[key] + slope, 1e-9, f"the network's gradient of {key} differs", others[key])
    expect(abs(loss - least) <= 1e-9 * (1 + abs(least)), f"the network's loss is {loss!r}, with the value {least!r}")


def pure(subject: Subject) -> None:
    """Give the same rate for the same step, whatever was asked before: finite, and not negative."""
    made = subject.make()
    first = [made(step) for step in STEPS]
    for step, value in zip(STEPS, first, strict=True):
        number = np.isscalar(value) and np.isreal(value)
        expect(number and np.isfinite(value) and value >= 0, f"at step {step} it gives {value!r}: return a rate >= 0")
    again = [made(step) for step in reversed(STEPS)][::-1]
    expect(again == first, "the same step gave another rate: compute it from the step alone, and count nothing")


REGULARIZERS = (penalty, penalty_gradient, of_the_loss, trains, threads, file, speed)
SCHEDULES = (pure, trains, file)
