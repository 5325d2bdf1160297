"""A tree of plain values and arrays, as a file: what is no array is JSON, in an array of its own."""

from __future__ import annotations

import json
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from ._archive import Archive, Damaged, check_numbers, write_arrays
from ._replace import replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_tree", "write_tree"]

TEXT = "tree.json"
DEPTH = 100  # of lists in lists
UNREADABLE = (Damaged, zlib.error, struct.error, RecursionError, KeyError, TypeError, ValueError)


def write_tree(path: str, tree: dict[str, Any]) -> None:
    """Write a tree to a file, atomically.

    Parameters
    ----------
    path : str
    tree : dict
        Of None, bools, numbers, strings, arrays of numbers, and lists, tuples and dicts (keys are strings) of them.
        NumPy's numbers come back as Python's.

    Raises
    ------
    TypeError
        For anything else, before the file is touched; the message says where in the tree it stands.
    OSError
        If the file can't be written; the old one is as it was.
    """
    arrays: dict[str, NDArray[Any]] = {}
    text = json.dumps(_packed(tree, "", arrays, 0)).encode()
    with replacing(path) as file:
        write_arrays(file, {TEXT: np.frombuffer(text, np.uint8), **arrays})


def _packed(value: Any, where: str, arrays: dict[str, NDArray[Any]], depth: int) -> Any:
    """Return a value as JSON has it, and put its arrays aside."""
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or type(value) in (bool, int, float, str):
        return value
    if depth < DEPTH:
        if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
            name = f"arrays/{len(arrays)}"
            arrays[name] = check_numbers(where, value)
            return {"array": name}
        if type(value) in (list, tuple):
            items = [_packed(part, f"{where}[{place}]", arrays, depth + 1) for place, part in enumerate(value)]
            return items if type(value) is list else {"tuple": items}
        if isinstance(value, dict) and all(type(key) is str for key in value):
            return {"dict": {key: _packed(part, f"{where}.{key}", arrays, depth + 1) for key, part in value.items()}}
    raise TypeError(
        f"{where.lstrip('.')}: expected None, bools, numbers, strings, arrays of numbers, and lists, tuples and dicts "
        f"with strings as keys of them, got {value!r:.100} ({type(value).__name__})"
    )


def read_tree(path: str) -> dict[str, Any]:
    """Return the tree that `write_tree` wrote, its arrays writable; nothing of it is code.

    Raises
    ------
    OSError
        If the file can't be opened.
    ValueError
        If it is damaged or something else; the message names the path.
    """
    with open(path, "rb") as file:
        try:
            archive = Archive(file)
            if not archive.has_checksums:
                raise Damaged("its checksums are missing")
            tree = _unpacked(json.loads(archive.read(TEXT).tobytes().decode()), archive)
            if not isinstance(tree, dict):
                raise Damaged("it holds no tree")
            return tree
        except UNREADABLE as error:
            raise ValueError(f"{path}: damaged, or no file of this kind ({type(error).__name__}: {error})") from error


def _unpacked(value: Any, archive: Archive) -> Any:
    if isinstance(value, list):
        return [_unpacked(part, archive) for part in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "array":
        return archive.read(content).copy()
    if kind == "tuple":
        return tuple(_unpacked(part, archive) for part in content)
    if kind == "dict":
        return {key: _unpacked(part, archive) for key, part in content.items()}
    raise Damaged(f"unknown kind {kind!r:.80}")
