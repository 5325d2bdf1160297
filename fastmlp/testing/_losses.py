"""Checks of losses and metrics."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import Dense
from ..model import Sequential
from ._execution import speed, units_for
from ._networks import data_for, file, last_activation, targets_for, threads, trains
from ._numbers import DTYPES, array_of, check_slopes, compare, draw, same_bits, slopes, unchanged
from ._outcome import Failure, Skipped, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LOSSES", "METRICS"]


def _evaluate(loss: Any, y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    answer = loss.value_and_gradient(y, p)
    if not isinstance(answer, (tuple, list)) or len(answer) != 2:
        raise Failure(f"value_and_gradient returned {type(answer).__name__}: return (value per row, gradient)")
    return array_of(answer[0], "the value"), array_of(answer[1], "the gradient")


def shape(subject: Subject) -> None:
    """Return one value per row, (batch,), and a gradient of the shape of y_pred."""
    loss, (y, p) = subject.make(), data_for(subject)
    for rows in (len(p), 1):
        value, gradient = _evaluate(loss, y[:rows], p[:rows])
        expect(
            value.shape == (rows,),
            f"the value has shape {value.shape} for {rows} rows: sum or mean over axis=1 alone, and don't average rows",
        )
        expect(gradient.shape == p[:rows].shape, f"the gradient has shape {gradient.shape}, y_pred {p[:rows].shape}")


def dtype(subject: Subject) -> None:
    """Return values and gradient in the dtype of y_pred."""
    loss, (y, p) = subject.make(), data_for(subject)
    for wanted in DTYPES:
        target = y if loss.labels else y.astype(wanted)
        for what, array in zip(("value", "gradient"), _evaluate(loss, target, p.astype(wanted)), strict=True):
            expect(array.dtype == wanted, f"the {what} is {array.dtype} for {wanted}: use Python numbers as constants")


def inputs_kept(subject: Subject) -> None:
    """Never write into y_true or y_pred, and return new arrays."""
    loss, (y, p) = subject.make(), data_for(subject)
    with unchanged("value_and_gradient", y_true=y, y_pred=p):
        _, gradient = _evaluate(loss, y, p)
    expect(not np.shares_memory(gradient, p), "the gradient shares memory with y_pred: return a new array")


def gradient(subject: Subject) -> None:
    """Return the gradient of each row's value, as finite differences in float64 see it; divide by no batch size."""
    if subject.option("gradient") == "surrogate":
        raise Skipped('conformance declares the gradient "surrogate"')
    loss, (y, p) = subject.make(), data_for(subject)
    _, analytic = _evaluate(loss, y, p)
    remedy = "the gradient is that of the row's own value, not divided by the number of rows"
    for column in range(p.shape[1]):

        def along(at: NDArray[Any], column: int = column) -> NDArray[Any]:
            moved = p.copy()
            moved[:, column] = at
            return _evaluate(loss, y, moved)[0]

        at = p[:, column]
        check_slopes(analytic[:, column], slopes(along, at), f"the gradient by output {column}", at, remedy)


def rows(subject: Subject) -> None:
    """Compute each row from that row alone."""
    loss, (y, p) = subject.make(), data_for(subject)
    whole = _evaluate(loss, y, p)
    for what, part, all_rows in zip(("value", "gradient"), _evaluate(loss, y[2:4], p[2:4]), whole, strict=True):
        compare(part, all_rows[2:4], 1e-9, f"the {what} of a row depends on other rows", all_rows[2:4])


def deterministic(subject: Subject) -> None:
    """Give the same bits for the same numbers."""
    loss, (y, p) = subject.make(), data_for(subject)
    first = [array.copy() for array in _evaluate(loss, y, p)]
    _evaluate(loss, y[::-1], p[::-1])
    same = all(same_bits(a, b) for a, b in zip(first, _evaluate(loss, y, p), strict=True))
    expect(same, "two calls with the same numbers differ: keep no state between calls, draw no random numbers")


def weights(subject: Subject) -> None:
    """Leave weights to the network: its loss is the mean of the rows' values, weighted, and so is its gradient."""
    loss = subject.make()
    units = units_for(loss)
    net = Sequential([Dense(units, last_activation(loss))], input_dim=4, dtype="float64", seed=1)
    net.compile("sgd", loss)
    x, y, weight = draw((7, 4), seed=2), targets_for(loss, 7, units), np.array([1.0, 0, 2, 0.5, 1, 3, 1])
    p, pullback = net.vjp(x, training=True)
    value, slope = _evaluate(loss, y, p)
    expected = float(value @ weight / weight.sum())
    got = net.evaluate(x, y, sample_weight=weight)["loss"]
    expect(abs(got - expected) <= 1e-9 * (1 + abs(expected)), f"evaluate gives {got!r}, the rows' values {expected!r}")
    expected_gradients, _ = pullback(slope * (weight / weight.sum())[:, None])
    _, gradients = net.loss_and_gradients(x, y, weight)
    for key, array in gradients.items():
        compare(array, expected_gradients[key], 1e-9, f"the network's gradient of {key} differs", array)


def result(subject: Subject) -> None:
    """Return from result a number, after reset and update."""
    metric, (y, p) = subject.make(), data_for(subject)
    metric.reset()
    with unchanged("update", y_true=y, y_pred=p):
        metric.update(y, p, None)
    value: Any = metric.result()
    expect(np.isscalar(value) and np.isfinite(value), f"result() gave {value!r}: return one finite number")


def batches(subject: Subject) -> None:
    """Make the result independent of how the rows were split into batches."""
    metric, (y, p) = subject.make(), data_for(subject)
    values = []
    for splits in ((0, 7), (0, 3, 7), (0, 1, 7)):
        metric.reset()
        for first, last in pairwise(splits):
            metric.update(y[first:last], p[first:last], None)
        values.append(float(metric.result()))
    expect(
        np.allclose(values, values[0], rtol=1e-9, atol=1e-12),
        f"the same rows in one batch and in two give {values}: sum up in update, divide in result",
    )


def forgets(subject: Subject) -> None:
    """Forget everything at reset."""
    metric, (y, p) = subject.make(), data_for(subject)
    first, again = ([_result(metric, y[row : row + 1], p[row : row + 1]) for row in range(7)] for _ in range(2))
    expect(
        np.allclose(first, again, equal_nan=True),
        f"rows one by one, reset before each, gave {first}, then {again}: clear in reset",
    )


def weighted(subject: Subject) -> None:
    """Count a row of weight 2 as two rows, and one of weight 0 not at all."""
    metric, (y, p) = subject.make(), data_for(subject)
    for weight in ([1, 2, 0, 1, 2, 1, 0], [0, 0, 2, 0, 0, 0, 1]):
        got = _result(metric, y, p, np.array(weight, dtype=float))
        expected = _result(metric, np.repeat(y, weight, axis=0), np.repeat(p, weight, axis=0))
        expect(
            bool(np.isclose(got, expected, rtol=1e-9, atol=1e-12, equal_nan=True)),
            f"with weights it gives {got!r}, with the rows repeated {expected!r}: use weight in update",
        )


def _result(metric: Any, y: NDArray[Any], p: NDArray[Any], weight: NDArray[Any] | None = None) -> float:
    metric.reset()
    metric.update(y, p, weight)
    return float(metric.result())


LOSSES = (shape, dtype, inputs_kept, gradient, rows, deterministic, weights, trains, threads, file, speed)
METRICS = (result, batches, forgets, weighted, trains, threads, file)
