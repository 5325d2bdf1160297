"""``jacobian``: derivatives of all outputs by all inputs, row by row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._compiler.compiled import Compiled
from .data import readable_rows, rows_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["jacobian"]

ROWS = 1024  # that are in flight at a time, at most where all operations are compiled


def jacobian(compiled: Compiled, x: Any) -> NDArray[Any]:
    """Return ``(n, units, features)``: one way forward, then a way back for each output, to the inputs alone."""
    rows, dtype = rows_of(compiled, x, empty=True), compiled.dtype
    with compiled.guard.reading("jacobian"):
        found = np.empty((len(rows), compiled.units, rows.shape[1]), dtype)
        if not len(rows):
            return found
        executable, loan = compiled.executables.lend_differentiating(min(len(rows), ROWS))
        chunk = ROWS
        if not executable.compiled and len(rows) > ROWS:  # code in Python sees all rows at once
            executable, loan = compiled.executables.lend_differentiating(len(rows))
            chunk = len(rows)
        d_out, d_input = executable.plan.d_out, executable.plan.d_input
        assert d_out is not None and d_input is not None
        for at in range(0, len(rows), chunk):
            part = readable_rows(rows[at : at + chunk], dtype)
            executable.bind(part)
            executable.begin(0, len(part))
            executable.execute(len(part), "forward")
            dy = executable.view(d_out, len(part))
            for unit in range(compiled.units):
                dy[...] = 0  # each time, since the way back may write over it
                dy[:, unit] = 1
                executable.execute(len(part), "backward")
                found[at : at + chunk, unit] = executable.view(d_input, len(part))
        executable.unbind()
        del loan
        return found
