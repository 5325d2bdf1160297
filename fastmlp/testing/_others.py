"""Checks of regularizers, constraints and schedules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import Dense
from ..model import Sequential
from ..optimizers import SGD
from ._execution import UNITS, speed
from ._networks import INPUTS, RATE, file, for_bias, network, threads, trains
from ._numbers import DTYPES, check_slopes, compare, draw, same_bits, slopes, unchanged
from ._outcome import Failure, Skipped, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CONSTRAINTS", "REGULARIZERS", "SCHEDULES"]

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
    for key in ("0.kernel", "0.bias")[: 1 if for_bias(regularizer) is None else 2]:
        value, slope = regularizer.value_and_gradient(penalized.parameters[key].copy())
        least += float(value)
        compare(gradients[key], others[key] + slope, 1e-9, f"the network's gradient of {key} differs", others[key])
    expect(abs(loss - least) <= 1e-9 * (1 + abs(least)), f"the network's loss is {loss!r}, with the value {least!r}")


def values(subject: Subject) -> None:
    """Return an array of real, finite numbers in the shape of w, and leave w as it is."""
    constraint = subject.make()
    for dtype in DTYPES:
        for w in (draw((4, 3), dtype=dtype), np.zeros((4, 3), dtype)):
            with unchanged("__call__", w=w), np.errstate(all="ignore"):  # as in a step
                answer = constraint(w)
            expect(
                isinstance(answer, np.ndarray) and answer.shape == w.shape and answer.dtype.kind in "fiub",
                f"it returned {type(answer).__name__} of shape {np.shape(answer)}: return an array of the shape "
                f"{w.shape}",
            )
            expect(np.isfinite(answer).all(), f"of finite numbers ({w.ravel()[0]:g}, ...) it made NaN or infinity")


def same(subject: Subject) -> None:
    """Give the same values for the same w, whatever was asked before."""
    constraint, w = subject.make(), draw((4, 3))
    first = np.array(constraint(w.copy()))
    constraint(draw((4, 3), seed=8))
    for other in (constraint, subject.make()):
        expect(
            same_bits(np.asarray(other(w.copy())), first),
            "the same w gave other values: compute them from w alone, and keep nothing from call to call",
        )


def after_the_update(subject: Subject) -> None:
    """Be what the kernel becomes after an update: that of the same network without it, and then the constraint."""
    constraint = subject.make()
    constrained, (x, y) = network(subject, constraint, np.float64, rows=16, width=8)
    plain = Sequential([Dense(8, "tanh"), Dense(UNITS)], input_dim=INPUTS, dtype="float64", seed=constrained.seed)
    plain.compile(SGD(RATE), "mse")
    for net in (constrained, plain):
        net.train_on_batch(x, y)
    expected = np.asarray(constraint(plain.parameters["0.kernel"].copy()))
    compare(constrained.parameters["0.kernel"], expected, 1e-12, "the network's kernel differs", expected)


def number(subject: Subject) -> None:
    """Return one finite number of at least 0 at every step; steps count from 1."""
    made = subject.make()
    for step in STEPS:
        value = made(step)
        fine = np.isscalar(value) and not isinstance(value, (str, bytes)) and np.isreal(value)
        expect(fine and np.isfinite(value) and value >= 0, f"at step {step} it gives {value!r}: return a rate >= 0")


def pure(subject: Subject) -> None:
    """Give the same rate for the same step, whatever was asked before."""
    made = subject.make()
    first = [made(step) for step in STEPS]
    again = [made(step) for step in reversed(STEPS)][::-1]
    expect(again == first, "the same step gave another rate: compute it from the step alone, and count nothing")


REGULARIZERS = (penalty, penalty_gradient, of_the_loss, trains, threads, file, speed)
CONSTRAINTS = (values, same, after_the_update, trains, threads, file)
SCHEDULES = (number, pure, trains, threads, file)
