"""``predict``: outputs by running statistics, without dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._compiler.compiled import Compiled
from ..checks import check_count, check_out
from .data import readable_rows, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._compiler.network import Network

__all__ = ["layer_outputs", "predict"]

PREDICT_ROWS = 1024  # rows of a prediction that are in flight at a time, at most where all operations are compiled


def predict(compiled: Compiled, x: Any, batch_size: int | None, out: NDArray[Any] | None) -> NDArray[Any]:
    """Return the outputs of the rows of `x`, in pieces that bound the memory."""
    chunk = PREDICT_ROWS if batch_size is None else check_count("batch_size", batch_size)

    def check(network: Network, rows: NDArray[Any]) -> None:
        if out is not None:
            check_out(out, (len(rows), network.units), compiled.dtype)

    rows = rows_of(compiled, x, empty=True, check=check)
    with compiled.guard.reading("predict"):
        return _predict(compiled, rows, chunk, out)


def _predict(compiled: Compiled, rows: NDArray[Any], chunk: int, out: NDArray[Any] | None) -> NDArray[Any]:
    dtype = compiled.dtype
    if out is None:
        out = np.empty((len(rows), compiled.units), dtype)
    elif np.may_share_memory(out, rows):
        rows = rows.copy()  # outputs would be written over rows that are still to be read
    if not len(rows):
        return out
    executables = compiled.executables
    executable = executables.take_predicting(min(chunk, len(rows), PREDICT_ROWS))
    if executable.compiled:
        chunk = min(chunk, PREDICT_ROWS)  # no row's outputs depend on the rows beside it
    else:  # code in Python sees the batches that were asked for
        executables.give_predicting(executable)
        executable = executables.take_predicting(min(chunk, len(rows)))
    try:
        for at in range(0, len(rows), chunk):
            part = rows[at : at + chunk]
            executable.bind_out(out[at : at + chunk])
            executable.bind(readable_rows(part, dtype))
            executable.begin(0, len(part))
            executable.execute(len(part), "forward")
    finally:
        executable.unbind()
        executables.give_predicting(executable)
    return out


def layer_outputs(compiled: Compiled, x: Any) -> dict[str, NDArray[Any]]:
    """Return what each layer gives for the rows of `x`, by key, in the order in which layers run."""
    rows = rows_of(compiled, x, empty=True)
    with compiled.guard.reading("layer_outputs"):
        executable, places = compiled.executables.seeing_layers(min(len(rows), PREDICT_ROWS))
        chunk = PREDICT_ROWS
        if not executable.compiled and len(rows) > PREDICT_ROWS:  # code in Python sees all rows at once
            executable, places = compiled.executables.seeing_layers(len(rows))
            chunk = len(rows)
        units = {place.key: place.units for place in compiled.network.layers}
        found = {key: np.empty((len(rows), units[key]), compiled.dtype) for key in places}
        for at in range(0, len(rows), chunk):
            part = readable_rows(rows[at : at + chunk], compiled.dtype)
            executable.bind(part)
            executable.begin(0, len(part))
            executable.execute(len(part), "forward")
            for key, tensor in places.items():
                found[key][at : at + chunk] = part if tensor is None else executable.view(tensor, len(part))
        return found
