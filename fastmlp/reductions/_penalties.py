"""Recording a regularizer: ``value_and_gradient`` is called with a symbol, and its terms and slopes become programs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..program import assemble
from ..recording import Unrecordable
from . import Reduction
from ._checking import check_within, numpy_array, run
from ._symbols import Space, Sum, Terms, called

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..regularizers import Regularizer

SMALL = (0.0, 1e-30, 1e-6, 1e-3, 0.1, 1.0, 7.0, 100.0, 1e4)
GRID = np.concatenate([np.linspace(-3.3, 3.7, 29), SMALL, np.negative(SMALL)])
FEW = 5  # one point of so many, where each takes a whole parameter


def recorded(regularizer: Regularizer, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Reduction:
    """The programs of a regularizer, which gave what NumPy gives; `Unrecordable` if there are none."""
    graph, value, slope = _record(regularizer, dtype, shape)
    again, same_value, same_slope = _record(regularizer, dtype, shape)
    keys = [(str(graph), value.node, value.scale, value.shift, slope)]
    if keys != [(str(again), same_value.node, same_value.scale, same_value.shift, same_slope)]:
        raise Unrecordable("two calls do different things")
    try:
        sums = graph.apply("add", graph.input("gradient"), slope)
        found = Reduction(
            assemble(graph, [value.node, sums], ["w", "gradient"]),
            assemble(graph, [value.node], ["w"]),
            value.scale,
            value.shift,
        )
        _compare(regularizer, graph, slope, value, found, dtype, shape)
    except ValueError as error:
        raise Unrecordable(str(error)) from None
    return found


def _record(regularizer: Regularizer, dtype: np.dtype[Any], shape: tuple[int, ...]) -> tuple[Space, Sum, int]:
    if not regularizer.recordable:
        raise Unrecordable("its class says that it can't be (recordable = False)")
    axes = (None, tuple(range(len(shape))), *((0, -1) if len(shape) == 1 else ()))
    graph = Space(shape, axes, math.prod(shape))
    w = Terms(graph, graph.input("w"), dtype, writable=False)
    return graph, *called(graph, regularizer.value_and_gradient, w)


def _compare(
    regularizer: Regularizer,
    graph: Space,
    slope: int,
    value: Sum,
    found: Reduction,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
) -> None:
    """Raises if a program differs from NumPy, number by number: on arrays of one, unless it looks at the shape."""
    assert found.program is not None and found.value is not None
    both, alone = found.program.load(dtype), found.value.load(dtype)
    points = GRID[::FEW] if graph.asked else GRID
    shape = shape if graph.asked else (1,) * len(shape)
    for point in (*points, np.nan):
        w = np.full(shape, point, dtype)
        gradient = np.ones_like(w)
        *_, most = graph.evaluate([value.node, slope], {"w": w})
        most = np.broadcast_to(np.maximum(most, 1), shape)  # the gradient that a slope is added to
        terms, slopes = run(both, w, gradient)
        if run(alone, w, outputs=1)[0].tobytes() != terms.tobytes():
            raise Unrecordable("recorded, the value alone differs from the one beside the gradient")
        total = np.array([value.scale * terms.sum(dtype=np.float64) + value.shift])
        ulp = 4 * np.spacing(np.abs(w))
        near = [_numpy(regularizer, x) for x in (w, w - ulp, w + ulp)]

        def where(row: int, point: float = point) -> str:
            return f"w = {point}"

        room = np.array([abs(value.scale) * most.sum() + abs(value.shift)])
        check_within("value", [one for one, _ in near], total, room, dtype, where)
        check_within("gradient", [1 + one for _, one in near], slopes, most, dtype, where)


def _numpy(regularizer: Regularizer, w: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Value, as an array of one, and gradient in NumPy."""
    w.flags.writeable = False
    try:
        with np.errstate(all="ignore"):
            value, gradient = regularizer.value_and_gradient(w)
    except Exception as error:  # as it will in Python at every step
        raise Unrecordable(f"in NumPy, {type(error).__name__}: {error}") from error
    return numpy_array("value", value, ())[None], numpy_array("gradient", gradient, w.shape)
