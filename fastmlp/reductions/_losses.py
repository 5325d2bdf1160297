"""Recording a loss: ``value_and_gradient`` is called with symbols, and its terms and slopes become a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..program import Assembled, assemble
from ..recording import Unrecordable
from . import Reduction
from ._checking import check_within, numpy_array, run
from ._symbols import Space, Terms, called

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..losses import Loss

INPUTS = ("y_true", "y_pred")
TARGETS = (-1.0, 0.0, 0.3, 1.0, 2.5)
NEAR = (1e-6, 1e-3, 0.1, 1.0, 7.0, 60.0, 1e3)
OUTPUTS = np.sort(np.concatenate([np.linspace(-4.1, 4.3, 29), np.linspace(0.05, 0.95, 10), NEAR, np.negative(NEAR)]))
MOST = 20_000  # numbers of a comparison, for losses of many units


class Recording(NamedTuple):
    """A loss as a graph: nodes of a term of the value and of its slope, and what the sum of a row becomes."""

    graph: Space
    term: int
    slope: int
    scale: float
    shift: float

    def key(self) -> tuple[Any, ...]:
        """What equal recordings share; NaN equals NaN here, and -0 differs from 0."""
        return (*map(str, self.graph.nodes), self.term, self.slope, str(self.scale), str(self.shift))


_known: dict[Any, Reduction] = {}  # what was checked, by class, graph, dtype and units


def recorded(loss: Loss, dtype: np.dtype[Any], units: int) -> Reduction:
    """The program of a loss, which gave what NumPy gives; `Unrecordable` if there is none."""
    recording = _record(loss, dtype, units)
    if _record(loss, dtype, units).key() != recording.key():
        raise Unrecordable("two calls do different things")
    key = (type(loss), *recording.key(), dtype, units)
    if key not in _known:
        try:
            program = assemble(recording.graph, [recording.term, recording.slope], INPUTS)
            _compare(loss, recording, program, dtype, units)
        except ValueError as error:
            raise Unrecordable(str(error)) from None
        if len(_known) > 1000:
            _known.clear()
        _known[key] = Reduction(program, None, recording.scale, recording.shift)
    return _known[key]


def _record(loss: Loss, dtype: np.dtype[Any], units: int) -> Recording:
    if loss.labels:
        raise Unrecordable("its targets are labels")
    if not loss.recordable:
        raise Unrecordable("its class says that it can't be (recordable = False)")
    graph = Space((None, units), (1, -1), units)
    y, p = (Terms(graph, graph.input(name), dtype, writable=False) for name in INPUTS)
    value, slope = called(graph, loss.value_and_gradient, y, p)
    return Recording(graph, value.node, slope, value.scale, value.shift)


def _compare(loss: Loss, recording: Recording, program: Assembled, dtype: np.dtype[Any], units: int) -> None:
    """Raises if the program differs from NumPy on a grid of targets and outputs."""
    graph, term, slope, scale, shift = recording
    y, p = _grid(units, dtype)
    terms, slopes = run(program.load(dtype), y, p)
    values = scale * terms.sum(axis=1, dtype=np.float64) + shift
    *_, most = graph.evaluate([term, slope], {"y_true": y, "y_pred": p})
    most = np.broadcast_to(most, p.shape)
    ulp = 4 * np.spacing(np.abs(p))  # at a corner, either side is right
    near = [_numpy(loss, y, x) for x in (p, p - ulp, p + ulp)]

    def where(row: int) -> str:
        return f"y_true = {y[row, 0]!s}, y_pred = {p[row, 0]!s}"

    check_within("value", [one for one, _ in near], values, abs(scale) * most.sum(axis=1) + abs(shift), dtype, where)
    check_within("gradient", [one for _, one in near], slopes, most, dtype, where)


def _grid(units: int, dtype: np.dtype[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Rows of one target and output in all columns, then rows of different ones; some miss the target by nothing."""
    pairs = [(y, p) for p in OUTPUTS for y in TARGETS] + [(y, y) for y in TARGETS] + [(0.5, np.nan), (0.5, np.inf)]
    pairs = pairs[:: max(1, len(pairs) * units // MOST)]
    at = np.arange(len(pairs))[:, None]
    columns = np.arange(units)
    rows = np.concatenate([at + 0 * columns, at + columns]) % len(pairs)
    grid = np.array(pairs, dtype=dtype)[rows]
    return np.ascontiguousarray(grid[:, :, 0]), np.ascontiguousarray(grid[:, :, 1])


def _numpy(loss: Loss, y: NDArray[Any], p: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Value per row and gradient in NumPy."""
    for array in (y, p):
        array.flags.writeable = False
    try:
        with np.errstate(all="ignore"):
            value, gradient = loss.value_and_gradient(y, p)
    except Exception as error:  # as it will in Python at every step
        raise Unrecordable(f"in NumPy, {type(error).__name__}: {error}") from error
    return numpy_array("value", value, (len(p),)), numpy_array("gradient", gradient, p.shape)
