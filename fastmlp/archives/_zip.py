"""A zip archive, as ``.npz`` files are: written front to back, and read as what nobody vouches for.

The standard library's reader takes what it can make sense of: bytes before and behind the archive, sizes that a member
doesn't have, members that overlap. Here every byte of a file belongs to one member or to the directory, so that sizes
are proven before there is memory for them. The standard library's writer hides an interrupt behind an error of its own
where one comes while a member is open.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO, NamedTuple

__all__ = ["Damaged", "Member", "read_directory", "read_member", "write_members"]

STORED, DEFLATED = 0, 8
MOST_DEFLATED = 1032  # bytes that a byte of deflate can stand for
UTF8, PACKERS_EFFORT = 0x800, 0x006  # flags; others are of encryption, or of sizes that come behind the data
VERSION, VERSION_64 = 20, 45
DATE = 0x21  # 1980-01-01: equal networks are equal files

LOCAL = struct.Struct("<4s5H3L2H")
CENTRAL = struct.Struct("<4s6H3L5H2L")
END = struct.Struct("<4s4H2LH")
END_64 = struct.Struct("<4sQ2H2L4Q")
LOCATOR_64 = struct.Struct("<4sLQL")
EXTRA_64 = struct.Struct("<2H")  # and the numbers that don't fit
MARKS = {LOCAL: b"PK\3\4", CENTRAL: b"PK\1\2", END: b"PK\5\6", END_64: b"PK\6\6", LOCATOR_64: b"PK\6\7"}
LARGE, MANY = 0xFFFFFFFF, 0xFFFF  # stand for numbers that are written in 64 bits elsewhere


class Damaged(ValueError):
    """The container can't be read: no archive, cut off, or changed by accident."""


class Member(NamedTuple):
    """A file in an archive, as the directory has it.

    Attributes
    ----------
    name : str
    start : int
        Where its bytes begin.
    packed, size : int
        Bytes in the archive, and unpacked; proven, but for `size` of what is deflated: a bound.
    deflated : bool
    crc : int
        CRC-32 of the unpacked bytes.
    """

    name: str
    start: int
    packed: int
    size: int
    deflated: bool
    crc: int


# -- writing ---------------------------------------------------------------------------------------------------------


def write_members(file: BinaryIO, members: Iterable[tuple[str, Sequence[bytes | memoryview]]]) -> None:
    """Write an archive of files by name, each in parts. Nothing is packed."""
    at, count, directory = 0, 0, bytearray()
    for name, parts in members:
        text, crc = name.encode(), 0
        for part in parts:
            crc = zlib.crc32(part, crc)
        size = sum(map(len, parts))
        fits = size < LARGE
        version = VERSION if fits else VERSION_64
        sizes = (size, size) if fits else (LARGE, LARGE)
        common = (version, UTF8, STORED, 0, DATE, crc, *sizes, len(text))
        extra = _extra(*(() if fits else (size, size)))
        file.write(LOCAL.pack(MARKS[LOCAL], *common, len(extra)) + text + extra)
        for part in parts:
            file.write(part)
        far = at >= LARGE
        central = _extra(*(() if fits else (size, size)), *((at,) if far else ()))
        directory += CENTRAL.pack(
            *(MARKS[CENTRAL], VERSION_64, *common, len(central), 0, 0, 0, 0o600 << 16, LARGE if far else at)
        )
        directory += text + central
        at += LOCAL.size + len(text) + len(extra) + size
        count += 1
    file.write(directory)
    file.write(_end(at, len(directory), count))


def _extra(*numbers: int) -> bytes:
    return EXTRA_64.pack(1, 8 * len(numbers)) + struct.pack(f"<{len(numbers)}Q", *numbers) if numbers else b""


def _end(start: int, length: int, count: int) -> bytes:
    """Return what stands behind a directory."""
    end = b""
    if start >= LARGE or length >= LARGE or count >= MANY:
        versions = (VERSION_64, VERSION_64)
        end += END_64.pack(MARKS[END_64], END_64.size - 12, *versions, 0, 0, count, count, length, start)
        end += LOCATOR_64.pack(MARKS[LOCATOR_64], 0, start + length, 1)
        start, length, count = min(start, LARGE), min(length, LARGE), min(count, MANY)
    return end + END.pack(MARKS[END], 0, 0, count, count, length, start, 0)


# -- reading ---------------------------------------------------------------------------------------------------------


def read_directory(file: BinaryIO) -> dict[str, Member]:
    """Return the files of an archive by name, in their order; they and the directory are all that it holds.

    Raises
    ------
    Damaged
        If a byte belongs to none of them, or to two; if two have one name; if sizes can't be.
    """
    start, count, length = _read_end(file)
    file.seek(start)
    directory = memoryview(file.read(length))
    members: dict[str, Member] = {}
    at = here = 0
    while at < len(directory):
        fields, at = _unpack(CENTRAL, directory, at), at + CENTRAL.size
        _, _, flags, method, _, _, crc, packed, size, n, n_extra, n_comment, disk, _, _, offset = fields
        text, extra = bytes(directory[at : at + n]), directory[at + n : at + n + n_extra]
        at += n + n_extra + n_comment
        if at > len(directory) or disk:
            raise Damaged("its directory is cut off")
        size, packed, offset = _large([size, packed, offset], extra)
        name = _name(text, flags)
        begin = _begin(file, offset, text)
        if offset != here or begin + packed > start:
            raise Damaged(f"bytes at {here} belong to none of its members")
        if name in members:
            raise Damaged(f"it holds two arrays of one name, {name!r:.80}")
        _check_sizes(name, method, flags, packed, size)
        members[name] = Member(name, begin, packed, size, method == DEFLATED, crc)
        here = begin + packed
    if len(members) != count or here != start:
        raise Damaged(f"its directory has {len(members)} members, and {count} are expected; they end at byte {here}")
    return members


def _unpack(form: struct.Struct, data: memoryview | bytes, at: int = 0) -> tuple[int, ...]:
    """Return the fields behind the mark of a record."""
    if len(data) < at + form.size or bytes(data[at : at + 4]) != MARKS[form]:
        raise Damaged("it isn't laid out as a .npz is, or is cut off")
    return form.unpack_from(data, at)[1:]


def _read_end(file: BinaryIO) -> tuple[int, int, int]:
    """Return where the directory begins, how many members it should have, and its length."""
    end = file.seek(0, os.SEEK_END) - END.size
    file.seek(max(end, 0))
    _, _, _, count, length, start, _ = _unpack(END, file.read(END.size))
    if count == MANY or LARGE in (length, start):
        end -= LOCATOR_64.size + END_64.size
        file.seek(max(end, 0))
        records = file.read(END_64.size + LOCATOR_64.size)
        *_, count, length, start = _unpack(END_64, records)
        _unpack(LOCATOR_64, records, END_64.size)
    if start + length != end:
        raise Damaged(f"{end - start - length} bytes belong to nothing: it is cut off, or something was added to it")
    return start, count, length


def _large(numbers: list[int], extra: memoryview) -> list[int]:
    """Return numbers of the directory, those that don't fit there read from the extra field of 64 bits."""
    missing = [index for index, number in enumerate(numbers) if number == LARGE]
    if missing:
        if bytes(extra[: EXTRA_64.size]) != EXTRA_64.pack(1, 8 * len(missing)):
            raise Damaged("a size is missing from its directory")
        for place, index in enumerate(missing):
            numbers[index] = int.from_bytes(extra[4 + 8 * place : 12 + 8 * place], "little")
    return numbers


def _name(text: bytes, flags: int) -> str:
    try:
        return text.decode("utf-8" if flags & UTF8 else "ascii")
    except UnicodeDecodeError:
        raise Damaged(f"the name of a member is not in UTF-8: {text!r:.80}") from None


def _begin(file: BinaryIO, offset: int, text: bytes) -> int:
    """Return where the bytes of a member begin, whose own header must be there."""
    file.seek(offset)
    record = file.read(LOCAL.size + len(text))
    *_, n, n_extra = _unpack(LOCAL, record)
    if record[LOCAL.size :] != text or n != len(text):
        raise Damaged(f"at byte {offset} there should be {text!r:.80}")
    return offset + LOCAL.size + n + n_extra


def _check_sizes(name: str, method: int, flags: int, packed: int, size: int) -> None:
    if method not in (STORED, DEFLATED) or flags & ~(UTF8 | PACKERS_EFFORT):
        raise Damaged(f"{name!r:.80} is compressed or encrypted in a way that fastmlp doesn't use")
    most = packed if method == STORED else packed * MOST_DEFLATED
    if size > most or (method == STORED and size != packed):
        raise Damaged(f"{name!r:.80} should have {size} bytes, and {packed} in the file can't be so many")


def read_member(file: BinaryIO, member: Member) -> bytes:
    """Return the bytes of a member, checked against its checksum."""
    file.seek(member.start)
    data = file.read(member.packed)
    if member.deflated:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        data = unpacker.decompress(data, member.size + 1)
        if not unpacker.eof or unpacker.unused_data:
            raise Damaged(f"{member.name!r:.80} unpacks to more than {member.size} bytes, or is cut off")
    if len(data) != member.size or zlib.crc32(data) != member.crc:
        raise Damaged(f"{member.name!r:.80} is not what its checksum says")
    return data
