"""``Plan``: the operations that a run goes through, as data, and what is said of them in a listing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from .._kernels import NONE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BATCH", "Call", "Note", "Plan", "Tensor"]

BATCH = "batch"  # stands for the number of rows in the shape of a note

Call = Callable[[Any, int], None]  # (executable, batch): what runs in Python between two runs of compiled operations


class Tensor(NamedTuple):
    """Rows in an arena.

    Attributes
    ----------
    ref : int
        Where they begin: arena and offset.
    ld : int
        Numbers from one row to the next.
    units : int
        Numbers of a row.
    offsets : int
        Where the table of row offsets begins in the plan's table; NONE for the caller's rows.
    """

    ref: int
    ld: int
    units: int
    offsets: int = NONE


class Note(NamedTuple):
    """What a listing shows of an operation, beside its name.

    Attributes
    ----------
    shape : tuple
        Of a product ``(rows, depth, columns)``, else of what it goes over; `BATCH` stands for the number of rows.
    fused : tuple of str
        What it does besides.
    product : bool
        Whether it is a matrix product.
    python : str or None
        The object that runs in Python.
    reason : str or None
        Why it does.
    """

    shape: tuple[int | str, ...] = ()
    fused: tuple[str, ...] = ()
    product: bool = False
    python: str | None = None
    reason: str | None = None

    def shape_of(self, batch: int) -> tuple[int, ...]:
        """Return the shape for so many rows."""
        return tuple(batch if side == BATCH else int(side) for side in self.shape)


class Plan(NamedTuple):
    """Operations, and what a run of them needs. It knows offsets, never addresses of arenas.

    Attributes
    ----------
    ops : ndarray
        Records of operations, as the kernels read them.
    names : list of str
        The name of each operation.
    layers : list of int
        The number of its layer, or NONE.
    notes : list of Note
        What a listing shows of each.
    table : ndarray of int64
        Row offsets and other whole numbers that operations point to.
    capacity : int
        Rows of the largest batch.
    work : int
        Numbers in the work arena.
    sections : dict of str to (int, int)
        ``"forward"``, ``"backward"``, ``"transform"``, ``"check"`` and ``"commit"``: first operation, and the one
        behind the last.
    calls : dict of int to Call
        What runs in Python, by the number of its operation.
    out : Tensor
        The outputs.
    d_out, d_input : Tensor or None
        The gradient of the outputs, which a caller writes, and of the inputs.
    traces : list of (int, Tensor, bool)
        For telling where a NaN began: layer, tensor, and whether it is one row, not one for each of the batch.
    statistics : dict of str to Tensor
        Where the statistics of the batch lie, one row each, by the keys of the running ones.
    learned : frozenset of str
        The keys of the parameters that get a gradient.
    python : list of str
        What runs in Python, in words.
    kept : list
        What operations point to.
    """

    ops: NDArray[Any]
    names: list[str]
    layers: list[int]
    notes: list[Note]
    table: NDArray[Any]
    capacity: int
    work: int
    sections: dict[str, tuple[int, int]]
    calls: dict[int, Call]
    out: Tensor
    d_out: Tensor | None
    d_input: Tensor | None
    traces: list[tuple[int, Tensor, bool]]
    statistics: dict[str, Tensor]
    learned: frozenset[str]
    python: list[str]
    kept: list[Any]
