"""Penalties: what regularizers add to the loss, and to the gradients once these are complete."""

from __future__ import annotations

import numpy as np

from .._kernels import CHUNK, NONE
from .backward import Backward
from .python_calls import penalty_call


class Penalties(Backward):
    """Adds the operations of regularizers; none for a network that has none."""

    def _penalties(self, *, learning: bool) -> None:
        """Values, summed up in chunks and then into the loss; with `learning`, slopes too, which must be finite."""
        if not self.arenas.regularizers:
            return
        from ..reductions import penalty_reduction

        self._at = NONE
        found = {
            key: penalty_reduction(regularizer, self.arenas.dtype, self.arenas.parameters[key].shape)
            for key, regularizer in self.arenas.regularizers.items()
        }
        compiled = [key for key, one in found.items() if one.program is not None]
        sizes = [self.arenas.parameters[key].size for key in compiled]
        chunks = [-(-size // CHUNK) for size in sizes]
        double = np.dtype(np.float64).itemsize // self.arenas.dtype.itemsize  # sums are in double
        sums = self._allocate(sum(chunks) * double)
        places = {place.key: number for number, place in enumerate(self.built)}
        for number, (key, size) in enumerate(zip(compiled, sizes, strict=True)):
            program = found[key].program if learning else found[key].value
            assert program is not None
            self._emit(
                "penalty",
                layer=places[key.rpartition(".")[0]],
                x=self.arenas.reference(key),
                a=sums + double * sum(chunks[:number]),
                size=size,
                flag=learning,
                extension=self._loaded(program),
                slope=found[key].scale,
                cost=2 * found[key].operations * size,
                barrier=key == compiled[-1],
            )
        if compiled:
            self._looked_at |= set(compiled)
            self._emit("penalty_sum", a=sums, size=sum(chunks), rate=sum(found[key].shift for key in compiled))
        foreign = {key: one.reason for key, one in found.items() if one.program is None}
        if foreign:
            self._looked_at -= set(foreign)
            self._emit_python(penalty_call(list(foreign), learning), "")
            named = {key: self.arenas.regularizers[key] for key in foreign}
            self._python += [f"regularizer {named[key]!r} of {key} ({reason})" for key, reason in foreign.items()]
