"""From what operations emit to the records that the kernels read, by the one table of operations that they keep."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from .._kernels import NONE, OPS, RECORD_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["is_row_wise", "pack_records"]

OURS = frozenset(("name", "note", "call"))  # what is said of an operation in Python alone


class Layout:
    """How the record of an operation is packed.

    Parameters
    ----------
    spec : OpSpec
        Its row of the table.
    """

    def __init__(self, spec: Any) -> None:
        self.fields: tuple[str, ...] = tuple(spec.layout["names"])
        self.defaults = {name: NONE if name in spec.references else 0 for name in self.fields} | {"code": spec.code}
        formats = {"i8": "q", "f8": "d"}
        self.pack_into = struct.Struct("=" + "".join(formats[kind] for kind in spec.layout["formats"])).pack_into

    def pack(self, record: dict[str, Any], buffer: bytearray, at: int) -> None:
        """Write a record; fields that are left out have their defaults."""
        values = {**self.defaults, **{name: value for name, value in record.items() if name not in OURS}}
        if len(values) != len(self.fields):
            raise TypeError(f"{record['name']}: no fields {sorted(values.keys() - set(self.fields))}")
        self.pack_into(buffer, at, *(values[name] for name in self.fields))


LAYOUTS = {name: Layout(spec) for name, spec in OPS.items()}


def is_row_wise(name: str) -> bool:
    """Return whether a row of the batch meets no other in an operation, so that it may be part of a fused group."""
    return bool(OPS[name].row_wise)


def pack_records(records: list[dict[str, Any]]) -> NDArray[np.uint8]:
    """Return the records of operations as the kernels read them, ``(operations, RECORD_BYTES)``."""
    buffer = bytearray(len(records) * RECORD_BYTES)
    for number, record in enumerate(records):
        LAYOUTS[record["name"]].pack(record, buffer, number * RECORD_BYTES)
    return np.frombuffer(buffer, np.uint8).reshape(len(records), RECORD_BYTES)
