"""``predict``: outputs by running statistics, without dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._compiler.compiled import Compiled
from ..checks import check_count, check_out
from .data import as_rows, built_for, check_features, readable_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._compiler.network import Network

__all__ = ["predict"]

PREDICT_ROWS = 1024  # rows of a prediction that are in flight at a time


def predict(compiled: Compiled, x: Any, batch_size: int | None, out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the outputs of the rows of `x`, in pieces that bound the memory."""
    chunk = PREDICT_ROWS if batch_size is None else check_count("batch_size", batch_size)
    rows = as_rows(x, empty=True)

    def check(network: Network) -> None:
        check_features(rows, network)
        if out is not None:
            check_out(out, (len(rows), network.units), compiled.dtype)

    built_for(compiled, rows, check)
    with compiled.guard.reading("predict"):
        return _predict(compiled, rows, chunk, out)


def _predict(compiled: Compiled, rows: NDArray[Any], chunk: int, out: NDArray[Any] | None) -> NDArray[Any]:
    dtype = compiled.dtype
    if out is None:
        out = np.empty((len(rows), compiled.units), dtype)
    elif np.may_share_memory(out, rows):
        rows = rows.copy()  # outputs would be written over rows that are still to be read
    if len(rows):
        executable = compiled.take_predicting(min(chunk, len(rows)))
        try:
            for at in range(0, len(rows), chunk):
                part = rows[at : at + chunk]
                executable.bind_out(out[at : at + chunk])
                executable.bind(readable_rows(part, dtype))
                executable.begin(0, len(part))
                executable.execute(len(part), "forward")
        finally:
            executable.unbind()
            compiled.give_predicting(executable)
    return out
