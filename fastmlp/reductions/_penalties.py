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
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from ..regularizers import Regularizer

SMALL = (0.0, 1e-30, 1e-6, 1e-3, 0.1, 1.0, 7.0, 100.0, 1e4)
GRID = np.concatenate([np.linspace(-3.3, 3.7, 29), SMALL, np.negative(SMALL)])
FEW = 12  # one point of so many, where each takes a whole parameter

_known: dict[Any, Reduction] = {}  # what was checked, by class, graph, dtype and, if the code looks at it, shape


def recorded(regularizer: Regularizer, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Reduction:
    """The programs of a regularizer, which gave what NumPy gives; `Unrecordable` if there are none."""
    graph, value, slope = _record(regularizer, dtype, shape)
    if _key(*_record(regularizer, dtype, shape)) != _key(graph, value, slope):
        raise Unrecordable("two calls do different things")
    key = (type(regularizer), *_key(graph, value, slope), dtype, shape if graph.asked else len(shape))
    if key not in _known:
        if len(_known) > 1000:
            _known.clear()
        _known[key] = _checked(regularizer, graph, value, slope, dtype, shape)
    return _known[key]


def _checked(
    regularizer: Regularizer, graph: Space, value: Sum, slope: int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> Reduction:
    try:
        sums = graph.apply("add", graph.input("gradient"), slope)
        found = Reduction(
            assemble(graph, [value.node, sums], ["w", "gradient"]),
            assemble(graph, [value.node], ["w"]),
            value.scale,
            value.shift,
        )
        _compare(regularizer, graph, value, slope, found, dtype, shape)
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


def _key(graph: Space, value: Sum, slope: int) -> tuple[Any, ...]:
    """What equal recordings share; NaN equals NaN here, and -0 differs from 0."""
    return (*map(str, graph.nodes), value.node, str(value.scale), str(value.shift), slope)


def _compare(
    regularizer: Regularizer,
    graph: Space,
    value: Sum,
    slope: int,
    found: Reduction,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
) -> None:
    """Raises if a program differs from NumPy on a grid."""
    assert found.program is not None and found.value is not None
    both, alone = found.program.load(dtype), found.value.load(dtype)
    for w in _samples(shape, graph.asked, dtype):
        gradient = np.ones_like(w)
        *_, most = graph.evaluate([value.node, slope], {"w": w})
        most = np.broadcast_to(np.maximum(most, 1), w.shape)  # the gradient that a slope is added to
        terms, slopes = run(both, w, gradient)
        if run(alone, w, outputs=1)[0].tobytes() != terms.tobytes():
            raise Unrecordable("recorded, the value alone differs from the one beside the gradient")
        total = np.array([value.scale * terms.sum(dtype=np.float64) + value.shift])
        ulp = 4 * np.spacing(np.abs(w))
        near = [_numpy(regularizer, x) for x in (w, w - ulp, w + ulp)]

        def where(row: int, w: NDArray[Any] = w) -> str:
            return f"w = {w.flat[row]}"

        room = np.array([abs(value.scale) * most.sum() + abs(value.shift)])
        check_within("value", [one for one, _ in near], total, room, dtype, where)
        check_within("gradient", [1 + one.ravel() for _, one in near], slopes.ravel(), most.ravel(), dtype, where)


def _samples(shape: tuple[int, ...], whole: bool, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Each point all over a parameter, which may be of one number if the code doesn't look; then all points in one."""
    for point in (*GRID[:: FEW if whole else 1], np.nan):
        yield np.full(shape if whole else (1,) * len(shape), point, dtype)
    yield np.resize(GRID, shape).astype(dtype)


def _numpy(regularizer: Regularizer, w: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Value, as an array of one, and gradient in NumPy."""
    w = np.array(w)
    w.flags.writeable = False
    try:
        with np.errstate(all="ignore"):
            value, gradient = regularizer.value_and_gradient(w)
    except Exception as error:  # as it will in Python at every step
        raise Unrecordable(f"in NumPy, {type(error).__name__}: {error}") from error
    return numpy_array("value", value, ())[None], numpy_array("gradient", gradient, w.shape)
