"""Penalties: what regularizers add to the loss, and to the gradients once these are complete."""

from __future__ import annotations

import numpy as np

from ..core import CHUNK, NONE
from ..regularizers import execution_of
from ._backward import Backward
from ._python import penalty_call


class Penalties(Backward):
    """Adds the operations of regularizers; none for a network that has none."""

    def _penalties(self, *, learning: bool) -> None:
        """Values, summed up in chunks and then into the loss; with `learning`, slopes too, which must be finite."""
        if not self.arenas.regularizers:
            return
        self._at = NONE
        found = {
            key: execution_of(regularizer, self.arenas.dtype, self.arenas.parameters[key].shape)
            for key, regularizer in self.arenas.regularizers.items()
        }
        kernels = {key: one.kernel for key, one in found.items() if one.kernel is not None}
        compiled = list(kernels)
        sizes = [self.arenas.parameters[key].size for key in compiled]
        chunks = [-(-size // CHUNK) for size in sizes]
        double = np.dtype(np.float64).itemsize // self.arenas.dtype.itemsize  # sums are in double
        sums = self._allocate(sum(chunks) * double)
        places = {place.key: number for number, place in enumerate(self.built)}
        for number, (key, size) in enumerate(zip(compiled, sizes, strict=True)):
            program = kernels[key].program if learning else kernels[key].value
            self._emit(
                "penalty",
                layer=places[key.rpartition(".")[0]],
                x=self.arenas.reference(key),
                a=sums + double * sum(chunks[:number]),
                size=size,
                flag=learning,
                extension=self._loaded(program),
                slope=kernels[key].scale,
                cost=2 * kernels[key].operations * size,
                barrier=key == compiled[-1],
            )
        if compiled:
            self._looked_at |= set(compiled)
            self._emit("penalty_sum", a=sums, size=sum(chunks), rate=sum(kernels[key].shift for key in compiled))
        foreign = {key: one.reason for key, one in found.items() if one.kernel is None}
        if foreign:
            self._looked_at -= set(foreign)
            self._emit_python(penalty_call(list(foreign), learning), "")
            named = {key: self.arenas.regularizers[key] for key in foreign}
            self._python += [f"regularizer {named[key]!r} of {key} ({reason})" for key, reason in foreign.items()]
