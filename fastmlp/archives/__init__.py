"""Archives: arrays by name in a ``.npz``, without pickle, checked when read, and written in one go or not at all.

What the arrays mean is somebody else's: a network's file is `serialization`'s, that of a training that may be killed is
`BackupAndRestore`'s. Values beside arrays are in one more array, of JSON (`write_tree`).
"""

from __future__ import annotations

from ._archive import Archive, Damaged, check_numbers, checksum, write_arrays
from ._replace import given_path, replacing
from ._tree import read_tree, write_tree

__all__ = [
    "Archive",
    "Damaged",
    "check_numbers",
    "checksum",
    "given_path",
    "read_tree",
    "replacing",
    "write_arrays",
    "write_tree",
]
