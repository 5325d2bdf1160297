"""Reading a ``.npz`` that nobody vouches for."""

from __future__ import annotations

import io
import math
import struct
import zipfile
import zlib
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["UNREADABLE", "Archive", "Damaged"]

MAGIC = b"PK\x03\x04"


class Damaged(ValueError):
    """The container can't be read: no archive, cut off, or changed by accident."""


# What reading may raise, beside ValueError, where bytes were lost or changed.
UNREADABLE = (
    *(Damaged, zipfile.BadZipFile, zlib.error, struct.error, EOFError, OSError),
    *(OverflowError, NotImplementedError),
)


class Archive:
    """A ``.npz`` whose arrays are read one by one, each checked against its checksum before it is looked at."""

    def __init__(self, file: BinaryIO) -> None:
        if file.read(len(MAGIC)) != MAGIC:
            raise Damaged("it doesn't begin as a .npz does")
        self._zip = zipfile.ZipFile(file)
        self.members = {info.filename.removesuffix(".npy"): info for info in self._zip.infolist()}
        if len(self.members) < len(self._zip.infolist()):
            raise Damaged("it holds two arrays of one name")
        for name, info in self.members.items():
            if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or info.flag_bits & 1:
                raise Damaged(f"{name} is compressed or encrypted in a way that fastmlp doesn't use")

    def read(self, name: str, most: int) -> NDArray[Any]:
        """Return a read-only array of numbers, of at most so many bytes; no pickle is ever opened."""
        if name not in self.members:
            raise Damaged(f"it has no {name}")
        if self.members[name].file_size > most:
            raise Damaged(f"{name} has {self.members[name].file_size} bytes, more than {most}")
        data = self._zip.read(self.members[name])
        file = io.BytesIO(data)
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise Damaged(f"{name} is a .npy of version {version}")
        if dtype.hasobject:
            raise Damaged(f"{name} holds pickled objects, which are never opened")
        numbers = memoryview(data)[file.tell() :]
        if len(numbers) != math.prod(shape) * dtype.itemsize:
            raise Damaged(f"{name} has {len(numbers)} bytes for shape {shape} of {dtype}")
        return np.frombuffer(numbers, dtype).reshape(shape, order="F" if fortran else "C")
