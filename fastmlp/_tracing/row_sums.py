"""Traces a sum over each row of a batch and its gradient: ``value_and_gradient(y_true, y_pred)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .assembly import Assembled, assemble
from .cache import checked
from .comparison import check_same, run
from .sum_symbols import Space, TracedSum, sum_in_numpy, trace_sum

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["RowSum", "traced"]

INPUTS = ("y_true", "y_pred")
TARGETS = (-1.0, 0.0, 0.3, 1.0, 2.5)
NEAR = (1e-6, 1e-3, 0.1, 1.0, 7.0, 60.0, 1e3)
OUTPUTS = np.sort(np.concatenate([np.linspace(-4.1, 4.3, 29), np.linspace(0.05, 0.95, 10), NEAR, np.negative(NEAR)]))
MOST = 20_000  # numbers of a comparison, for rows of many numbers


class RowSum(NamedTuple):
    """The program of terms and slopes, from target and output; a row's value is ``scale * sum(terms) + shift``."""

    program: Assembled
    scale: float
    shift: float


def traced(owner: type, function: Callable[..., Any], dtype: np.dtype[Any], units: int) -> RowSum:
    """Return the program of a function of two arrays ``(batch, units)``, compared with NumPy.

    Parameters
    ----------
    owner : type
        The class whose code it is: equal graphs of one class are compared once.
    function : callable
        ``function(y_true, y_pred) -> (value (batch,), gradient (batch, units))``.
    dtype : {float32, float64}
    units : int

    Raises
    ------
    Untraceable
        With the reason.
    """
    found = trace_sum(lambda: Space((None, units), (1, -1), units), function, INPUTS, dtype)

    def make() -> RowSum:
        program = assemble(found.graph, [found.term, found.slope], INPUTS)
        _compare(function, found, program, dtype, units)
        return RowSum(program, found.scale, found.shift)

    return checked((owner, *found.key(), dtype, units), make)


def _compare(
    function: Callable[..., Any], found: TracedSum, program: Assembled, dtype: np.dtype[Any], units: int
) -> None:
    """Raise `Untraceable` if the program differs from NumPy on a grid of targets and outputs."""
    graph, term, slope, scale, shift = found
    y, p = _grid(units, dtype)
    terms, slopes = run(program.load(dtype), [y, p], 2)
    with np.errstate(all="ignore"):
        values = scale * terms.sum(axis=1, dtype=np.float64) + shift
    *_, most = graph.evaluate([term, slope], {"y_true": y, "y_pred": p})
    most = np.broadcast_to(most, p.shape)
    ulp = 4 * np.spacing(np.abs(p))  # at a corner, either side is right
    near = [sum_in_numpy(function, (y, x), (len(x),)) for x in (p, p - ulp, p + ulp)]
    with np.errstate(all="ignore"):
        largest = abs(scale) * most.sum(axis=1) + abs(shift)
    check_same("value", values, [one for one, _ in near], largest, {"y_pred": p[:, 0], "y_true": y[:, 0]}, dtype)
    check_same("gradient", slopes, [one for _, one in near], most, {"y_pred": p, "y_true": y}, dtype)


def _grid(units: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return rows of one target and output in all columns, then rows of different ones; some outputs are the target."""
    pairs = [(y, p) for p in OUTPUTS for y in TARGETS] + [(y, y) for y in TARGETS] + [(0.5, np.nan), (0.5, np.inf)]
    pairs = pairs[:: max(1, len(pairs) * units // MOST)]
    at = np.arange(len(pairs))[:, None]
    columns = np.arange(units)
    rows = np.concatenate([at + 0 * columns, at + columns]) % len(pairs)
    grid = np.array(pairs, dtype=dtype)[rows]
    return np.ascontiguousarray(grid[:, :, 0]), np.ascontiguousarray(grid[:, :, 1])
