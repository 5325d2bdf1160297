"""Traces a sum over one array and its gradient: ``value_and_gradient(w)``."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .assembly import Assembled, assemble
from .cache import checked
from .comparison import check_same, run
from .sum_symbols import Space, TracedSum, sum_in_numpy, trace_sum
from .symbols import Untraceable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["ArraySum", "traced"]

SMALL = (0.0, 1e-30, 1e-6, 1e-3, 0.1, 1.0, 7.0, 100.0, 1e4)
GRID = np.concatenate([np.linspace(-3.3, 3.7, 29), SMALL, np.negative(SMALL)])
FEW = 12  # one point of so many, where each takes a whole array


class ArraySum(NamedTuple):
    """Programs of a sum ``scale * sum(terms) + shift`` over an array.

    Attributes
    ----------
    program : Assembled
        From number and gradient to term and gradient with the slope added.
    value : Assembled
        From number to term, where no gradient is asked for.
    """

    program: Assembled
    value: Assembled
    scale: float
    shift: float


def traced(owner: type, function: Callable[..., Any], dtype: np.dtype[Any], shape: tuple[int, ...]) -> ArraySum:
    """Return the programs of a function of one array, compared with NumPy.

    Parameters
    ----------
    owner : type
        The class whose code it is: equal graphs of one class are compared once.
    function : callable
        ``function(w) -> (value, gradient)``, one number and an array of the shape of `w`.
    dtype : {float32, float64}
    shape : tuple of int

    Raises
    ------
    Untraceable
        With the reason.
    """
    axes = (None, tuple(range(len(shape))), *((0, -1) if len(shape) == 1 else ()))
    found = trace_sum(lambda: Space(shape, axes, math.prod(shape)), function, ("w",), dtype)

    def make() -> ArraySum:
        graph = found.graph
        sums = graph.apply("add", graph.input("gradient"), found.slope)
        programs = ArraySum(
            assemble(graph, [found.term, sums], ["w", "gradient"]),
            assemble(graph, [found.term], ["w"]),
            found.scale,
            found.shift,
        )
        _compare(function, found, programs, dtype, shape)
        return programs

    return checked((owner, *found.key(), dtype, shape if found.graph.asked else len(shape)), make)


def _compare(
    function: Callable[..., Any], found: TracedSum, programs: ArraySum, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> None:
    """Raise `Untraceable` if a program differs from NumPy on a grid."""
    graph, term, slope, scale, shift = found
    both, alone = programs.program.load(dtype), programs.value.load(dtype)
    for w in _samples(shape, graph.asked, dtype):
        gradient = np.ones_like(w)
        *_, most = graph.evaluate([term, slope], {"w": w})
        most = np.broadcast_to(np.maximum(most, 1), w.shape)  # the gradient that a slope is added to
        terms, slopes = run(both, [w, gradient], 2)
        if run(alone, [w], 1)[0].tobytes() != terms.tobytes():
            raise Untraceable("traced, the value alone differs from the one beside the gradient")
        total = np.array([scale * terms.sum(dtype=np.float64) + shift])
        ulp = 4 * np.spacing(np.abs(w))
        near = [sum_in_numpy(function, (x,), ()) for x in (w, w - ulp, w + ulp)]
        largest = np.array([abs(scale) * most.sum() + abs(shift)])
        check_same("value", total, [one[None] for one, _ in near], largest, {"w": w.ravel()[:1]}, dtype)
        check_same("gradient", slopes, [1 + one for _, one in near], most, {"w": w}, dtype)


def _samples(shape: tuple[int, ...], whole: bool, dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """Give each point all over an array (of one number if the code doesn't look at the shape), then all in one."""
    for point in (*GRID[:: FEW if whole else 1], np.nan):
        yield np.full(shape if whole else (1,) * len(shape), point, dtype)
    yield np.resize(GRID, shape).astype(dtype)
