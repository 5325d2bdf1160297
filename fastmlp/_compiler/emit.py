"""What operations emit: records for the kernels, in the order in which they run, over memory that is laid out here.

Records are packed by the one table of operations, which the kernels keep.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import ARENAS, NONE, OPS, RECORD_BYTES, SHIFT
from .plan import Call, Note, Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._kernels.plan_ops import OpSpec
    from .memory import Arenas

__all__ = ["READ", "Emitter", "pack_records"]

READ = 8  # multiply-adds that take as long as reading or writing a number of a kernel
FUSED_BYTES = 640 << 10  # of parameters: so many stay in cache while rows go through a group; beyond, GEMMs are split
OURS = frozenset(("name", "note", "call"))  # what is said of an operation in Python alone


class Emitter:
    """Collects the operations of a plan.

    Rows of a small network go through several operations together while they are in cache, as one *fused group*; what
    needs the whole batch comes behind the group.

    Parameters
    ----------
    memory : Arenas
        Where the parameters lie.
    capacity : int
        Rows of the largest batch.
    widest : int
        Columns of the widest value.
    """

    def __init__(self, memory: Arenas, capacity: int, widest: int) -> None:
        self.memory = memory
        self.dtype = memory.dtype
        self.capacity = capacity
        self.index = NONE  # the layer whose operations are added
        self.groups = memory.size * memory.dtype.itemsize <= FUSED_BYTES
        self.work = 0
        self.kept: list[Any] = []  # what operations point to
        self.python: list[str] = []  # what runs in Python, in words
        self.records: list[dict[str, Any]] = []
        self._behind: list[dict[str, Any]] = []  # what waits for the end of a group
        self._ahead = 0  # operations that depend on no row, and come before all others
        self._align = 64 // memory.dtype.itemsize
        self._table: list[NDArray[Any]] = []
        self._table_length = 0
        self._add_to_table(np.arange(max(capacity, widest) + 2, dtype=np.int64))
        self._offsets: dict[int, int] = {}

    # -- memory --------------------------------------------------------------------------------------------------

    def allocate(self, numbers: int) -> int:
        """Return a reference to so many numbers of the work arena."""
        ref = ARENAS["work"] << SHIFT | self.work
        self.work += -(-numbers // self._align) * self._align
        return ref

    def stride(self, units: int) -> int:
        """Return numbers from one row to the next: rows begin on a cache line, and not all in the same cache sets."""
        ld = -(-units // self._align) * self._align
        return ld + self._align if ld * self.dtype.itemsize % 1024 == 0 else ld

    def tensor(self, units: int, ref: int | None = None) -> Tensor:
        """Return rows of so many columns, in new memory or where `ref` points."""
        ld = self.stride(units)
        return Tensor(self.allocate(self.capacity * ld) if ref is None else ref, ld, units, self._row_offsets(ld))

    def _row_offsets(self, ld: int) -> int:
        if ld not in self._offsets:
            self._offsets[ld] = self._add_to_table(np.arange(self.capacity, dtype=np.int64) * ld)
        return self._offsets[ld]

    def entries(self, rows: Sequence[tuple[int, ...]]) -> int:
        """Return where rows of whole numbers that an operation reads come to stand in the plan's table."""
        return self._add_to_table(np.array(rows, dtype=np.int64).ravel())

    def _add_to_table(self, numbers: NDArray[Any]) -> int:
        start = self._table_length
        self._table.append(numbers)
        self._table_length += len(numbers)
        return start

    def table(self) -> NDArray[Any]:
        """Return the plan's table."""
        return np.concatenate(self._table)

    def array(self, key: str) -> int:
        """Return a reference to a parameter or buffer."""
        return self.memory.reference(key)

    def load(self, program: Any) -> int:
        """Return the address of a traced program, which lives as long as the plan."""
        loaded = program.load(self.dtype)
        self.kept.append(loaded)
        return int(loaded.address)

    # -- operations ----------------------------------------------------------------------------------------------

    def emit(self, name: str, note: Note, **fields: Any) -> None:
        """Add an operation; what waited for the end of a group comes before it, if it is no part of one."""
        record = self.record(name, note, **fields)
        if not record["fused"]:
            self.end_group()
        self.records.append(record)

    def emit_ahead(self, name: str, note: Note, **fields: Any) -> None:
        """Add an operation that depends on no row of the batch."""
        self.records.insert(self._ahead, self.record(name, note, **fields))
        self._ahead += 1

    def emit_behind(self, name: str, note: Note, **fields: Any) -> None:
        """Add an operation that what follows doesn't wait for: behind the group, if there is one."""
        if self.groups:
            self._behind.append(self.record(name, note, **fields))
        else:
            self.emit(name, note, **fields)

    def end_group(self) -> None:
        """Add what waits for the end of a group."""
        self.records += self._behind
        if self._behind:
            self.records[-1]["barrier"] = True
        self._behind = []

    def record(
        self, name: str, note: Note, *, barrier: bool = True, row_cost: float = 0.0, cost: float = 0.0, **fields: Any
    ) -> dict[str, Any]:
        """Return one operation; costs are in multiply-adds, `barrier` where what follows reads what this writes."""
        head = {"name": name, "note": note, "layer": self.index, "fused": self.groups and is_row_wise(name)}
        return {**head, "barrier": barrier, "row_cost": row_cost, "cost": cost, **fields}

    def emit_python(self, call: Call, note: Note, words: str = "") -> None:
        """Add a call of Python; `words` tell what runs there, once."""
        if words and words not in self.python:
            self.python.append(words)
        self.emit("python", note, call=call)


class Layout:
    """How the record of an operation is packed.

    Parameters
    ----------
    spec : OpSpec
        Its row of the table.
    """

    def __init__(self, spec: OpSpec) -> None:
        fields: tuple[str, ...] = tuple(spec.layout["names"])
        self.defaults = {name: NONE if name in spec.references else 0 for name in fields}
        self.settled = {**dict.fromkeys(OURS, 0), "code": spec.code}  # whatever a record says
        self.known = {**self.defaults, **self.settled}.keys()
        self.in_order = itemgetter(*fields)
        formats = {"i8": "q", "f8": "d"}
        self.pack_into = struct.Struct("=" + "".join(formats[kind] for kind in spec.layout["formats"])).pack_into

    def pack(self, record: dict[str, Any], buffer: bytearray, at: int) -> None:
        """Write a record; fields that are left out have their defaults."""
        values = {**self.defaults, **record, **self.settled}
        if len(values) != len(self.known):
            raise TypeError(f"{record['name']}: no fields {sorted(values.keys() - self.known)}")
        self.pack_into(buffer, at, *self.in_order(values))


LAYOUTS = {name: Layout(spec) for name, spec in OPS.items()}


def is_row_wise(name: str) -> bool:
    """Return whether a row of the batch meets no other in an operation, so that it may be part of a fused group."""
    return OPS[name].row_wise


def pack_records(records: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """Return the records of operations as the kernels read them, ``(operations, RECORD_BYTES)``."""
    buffer = bytearray(len(records) * RECORD_BYTES)
    for number, record in enumerate(records):
        LAYOUTS[record["name"]].pack(record, buffer, number * RECORD_BYTES)
    return np.frombuffer(buffer, np.uint8).reshape(len(records), RECORD_BYTES)
