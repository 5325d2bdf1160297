"""``vjp``: outputs, and a function that takes their gradient back to parameters and inputs."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Any

from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from ..checks import cast, real_array
from .data import readable_rows, rows_of
from .gradients import Gradients, batch_statistics
from .step import kept_buffers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pullback", "vjp"]


class Pullback:
    """What `vjp` returns beside the outputs: ``backward(dy) -> (gradients keyed as parameters, d_input)``.

    It may be called more than once, and by several threads, before the parameters change. What the way forward left is
    kept for it alone; once nobody has it any more, its memory serves the next call of `vjp`.

    Parameters
    ----------
    compiled : Compiled
    executable : Executable
        Which has run the way forward.
    batch : int
        Rows.
    training : bool
    """

    def __init__(self, compiled: Compiled, executable: Executable, batch: int, training: bool) -> None:
        self._compiled, self._executable, self._batch, self._training = compiled, executable, batch, training
        self.written: dict[str, NDArray[Any]] = {}  # into buffers, by layers in Python
        self._lock = Lock()  # of the memory that the gradients are made in

    def __call__(self, dy: Any) -> tuple[Gradients, NDArray[Any]]:
        compiled, executable, batch = self._compiled, self._executable, self._batch
        d_out, d_input = executable.plan.d_out, executable.plan.d_input
        assert d_out is not None and d_input is not None
        dy = real_array("dy", dy)
        target = executable.view(d_out, batch)
        if dy.shape != target.shape:
            raise ValueError(f"dy: expected shape {target.shape}, got {dy.shape}")
        with compiled.guard.reading("vjp"), self._lock:
            target[...] = cast(dy, compiled.dtype, "dy")
            executable.execute(batch, "backward")
            arrays = {key: view.copy() for key, view in executable.gradients.items()}
            gradients = Gradients(arrays, batch_statistics(executable, batch), self.written)
            return gradients, executable.view(d_input, batch).copy()

    def __del__(self) -> None:
        self._executable.unbind()
        self._compiled.give_pulling_back(self._executable, training=self._training)


def vjp(compiled: Compiled, x: Any, *, training: bool = False) -> tuple[NDArray[Any], Pullback]:
    """Run the way forward, and return the outputs and what takes their gradient back."""
    rows = readable_rows(rows_of(compiled, x), compiled.dtype)
    batch = len(rows)
    with compiled.guard.reading("vjp"):
        executable = compiled.take_pulling_back(batch, training=training)
        backward = Pullback(compiled, executable, batch, training)
        executable.bind(rows)
        executable.begin(0, batch)
        with kept_buffers(compiled, executable, always=True) as buffers:
            executable.execute(batch, "forward")
            backward.written = buffers.changed()
        return executable.view(executable.plan.out, batch).copy(), backward
