"""A ``.npz``: arrays by name in a zip archive, each with a checksum of its own, which binds it to its name."""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import numpy as np

from ._zip import Damaged, read_directory, read_member, write_members

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHECKSUMS", "Archive", "Damaged", "check_numbers", "checksum", "write_arrays"]

CHECKSUMS = "checksums"  # the array that holds those of all others, a row for each, in the order of their names
DIGEST_BYTES = 32
SUFFIX = ".npy"
KINDS = "biufc"
MAGIC = b"\x93NUMPY\x01\x00"
ALIGN = 64  # where the numbers begin
NPY_HEADER = re.compile(
    rb"\{'descr': '([<>|][biufc]\d{1,2})', 'fortran_order': (True|False), 'shape': \(([\d, ]{0,999})\), \} *\n"
)


def check_numbers(name: str, array: object) -> NDArray[Any]:
    """Return an array of numbers or bools, the only ones that a file holds; no object is ever pickled."""
    if not isinstance(array, np.ndarray) or array.dtype.kind not in KINDS:
        raise TypeError(f"{name}: expected an array of numbers, got {array!r:.200}")
    return array


def checksum(name: str, array: NDArray[Any]) -> bytes:
    """Return the SHA-256 of an array: its name, dtype and shape, then its numbers, little-endian in C order."""
    dtype = array.dtype.newbyteorder("<")
    digest = hashlib.sha256(f"{name} {dtype.str} {array.shape}\n".encode())
    digest.update(_bytes_of(np.asarray(array, dtype)))
    return digest.digest()


def _bytes_of(array: NDArray[Any]) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


# -- writing ---------------------------------------------------------------------------------------------------------


def write_arrays(file: BinaryIO, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name, and their checksums; NumPy reads the file, too."""
    digests = b"".join(checksum(name, arrays[name]) for name in sorted(arrays))
    sums = np.frombuffer(digests, np.uint8).reshape(len(arrays), DIGEST_BYTES)
    members = {**arrays, CHECKSUMS: sums}
    write_members(file, ((name + SUFFIX, (_npy_header(array), _bytes_of(array))) for name, array in members.items()))


def _npy_header(array: NDArray[Any]) -> bytes:
    """Return what stands before the numbers, as version 1.0 of the format has it."""
    text = f"{{'descr': {array.dtype.str!r}, 'fortran_order': False, 'shape': {array.shape!r}, }}".encode()
    length = len(MAGIC) + 2 + len(text) + 1
    text += b" " * (-length % ALIGN) + b"\n"
    return MAGIC + struct.pack("<H", len(text)) + text


# -- reading ---------------------------------------------------------------------------------------------------------


class Archive:
    """A ``.npz`` whose arrays are read one by one, each checked against its checksum before it is looked at.

    Parameters
    ----------
    file : file
        Open for reading; it can seek.

    Attributes
    ----------
    sizes : dict of str to int
        The arrays, and bytes of each with what stands before its numbers: no more than the file can hold.
    has_checksums : bool
        Whether there is a checksum of each array, beside the archive's CRC-32; files of before have none.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._members = {}
        for name, member in read_directory(file).items():
            if not name.endswith(SUFFIX):
                raise Damaged(f"{name!r:.80} is no array")
            self._members[name.removesuffix(SUFFIX)] = member
        self._checksums: dict[str, bytes] = {}
        self.has_checksums = CHECKSUMS in self._members
        if self.has_checksums:
            self._read_checksums()
        self.sizes = {name: member.size for name, member in self._members.items()}

    def _read_checksums(self) -> None:
        sums = self.read(CHECKSUMS)
        del self._members[CHECKSUMS]
        if sums.dtype != np.uint8 or sums.shape != (len(self._members), DIGEST_BYTES):
            raise Damaged(f"it has {len(self._members)} arrays, and checksums {sums.dtype} {sums.shape}")
        self._checksums = {name: row.tobytes() for name, row in zip(sorted(self._members), sums, strict=True)}

    def read(self, name: str) -> NDArray[Any]:
        """Return a read-only array of numbers."""
        if name not in self._members:
            raise Damaged(f"it has no {name}")
        array = _array(name, read_member(self._file, self._members[name]))
        if name in self._checksums and checksum(name, array) != self._checksums[name]:
            raise Damaged(f"{name!r:.80} is not what its checksum says")
        return array


def _array(name: str, data: bytes) -> NDArray[Any]:
    begin = len(MAGIC) + 2
    numbers = begin + int.from_bytes(data[len(MAGIC) : begin], "little")
    found = NPY_HEADER.fullmatch(data[begin:numbers])
    if data[: len(MAGIC)] != MAGIC or found is None:
        raise Damaged(f"{name!r:.80} is no array of numbers as fastmlp writes them")
    descr, fortran, sides = found.groups()
    length = len(data) - numbers
    misfit = Damaged(f"{name!r:.80} has {length} bytes for shape ({sides.decode()}) of {descr.decode()}")
    order: Literal["F", "C"] = "F" if fortran == b"True" else "C"
    try:
        shape = tuple(int(side) for side in sides.split(b",") if side.strip())
        array: NDArray[Any] = np.ndarray(shape, np.dtype(descr.decode()), data, numbers, order=order)
    except (TypeError, ValueError, OverflowError):  # no such dtype, no such shape, or too few bytes
        raise misfit from None
    if array.nbytes != length:
        raise misfit
    return array
