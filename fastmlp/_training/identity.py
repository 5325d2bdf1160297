"""What must be the same for a training to go on: network, data, arguments; said in words, so that messages can."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import cast
from ..configurable import Configurable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._compiler.compiled import Compiled
    from .data import Dataset

__all__ = ["identity_of_data", "identity_of_network"]

WHOLE_BYTES = 64 << 20  # of an array that is looked at as a whole; of larger ones some rows are
ROWS = 4096
BLOCK = 1 << 20  # bytes that are cast at a time


def identity_of_network(compiled: Compiled) -> dict[str, str]:
    """Return what makes a network and how it is trained, apart from its numbers, by words for it."""
    found = {f"layer {number}": described(layer) for number, layer in enumerate(compiled.layers)}
    found["dtype"] = compiled.dtype.name
    found["optimizer"], found["loss"] = described(compiled.optimizer), described(compiled.loss)
    found["metrics"] = ", ".join(map(described, compiled.metrics)) or "none"
    found["seed"] = "drawn" if compiled.seed_is_drawn else str(compiled.seed)
    return found


def described(value: Any) -> str:
    """Return a setting in words that are the same in every process: no address of anything."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return repr(value)
    if isinstance(value, Configurable):
        config = ", ".join(f"{name}={described(part)}" for name, part in value.get_config().items())
        return f"{type(value).__name__}({config})"
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape} {digest(value)}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(described, value))}]"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{described(key)}: {described(part)}' for key, part in value.items())}}}"
    return f"function {getattr(value, '__qualname__', '')}" if callable(value) else f"a {type(value).__name__}"


def identity_of_data(data: Dataset, dtype: np.dtype[Any]) -> dict[str, str]:
    """Return what tells data from others: shapes, and a checksum of the numbers in the network's dtype."""
    found = {}
    for name, array in (("x", data.x), ("y", data.y), ("sample_weight", data.weight)):
        if array is not None:
            to = array.dtype if array.dtype.kind in "iu" and array.ndim == 1 else dtype  # labels stay integers
            found[name] = f"{array.shape}, checksum {digest(array, to)}"
    return found


def digest(array: NDArray[Any], dtype: np.dtype[Any] | None = None) -> str:
    """Return a checksum of an array in a dtype: the same whether it has been cast before or not, in any layout."""
    from hashlib import sha256

    dtype = array.dtype if dtype is None else dtype
    n = len(array) if array.ndim else 1
    array = array.reshape(n, -1)
    if array.size * dtype.itemsize > WHOLE_BYTES:
        array = array[np.linspace(0, n - 1, min(n, ROWS)).astype(np.int64)]
    found, step = sha256(), max(BLOCK // max(array.shape[1] * dtype.itemsize, 1), 1)
    for at in range(0, len(array), step):
        found.update(np.ascontiguousarray(cast(array[at : at + step], dtype)).view(np.uint8).data)
    return found.hexdigest()[:16]
