"""``vjp``: outputs, and a function that takes their gradient back to parameters and inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from .._kernels import concurrency
from ..checks import cast, in_place, real_array
from .data import rows_of
from .gradients import Gradients, batch_statistics, changed_arrays
from .step import written_by_layers

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Pullback", "vjp"]


class Pullback:
    """What `vjp` returns beside the outputs: ``backward(dy) -> (gradients keyed as parameters, d_input)``.

    It may be called more than once, and by several threads, one after the other, as long as no step has changed the
    parameters. What the way forward left is kept for it alone; once nobody has it any more, its memory serves the next
    call of `vjp`.

    Parameters
    ----------
    compiled : Compiled
    executable : Executable
        Which has run the way forward.
    loan : Loan
        Gives the executable back when this is gone.
    batch : int
        Rows.
    """

    def __init__(self, compiled: Compiled, executable: Executable, loan: concurrency.Loan, batch: int) -> None:
        self._compiled, self._executable, self._loan, self._batch = compiled, executable, loan, batch
        self.written: dict[str, NDArray[Any]] = {}  # into buffers, by layers in Python
        self._guard = concurrency.AccessGuard()  # of the memory that the gradients are made in

    def __call__(self, dy: Any) -> tuple[Gradients, NDArray[Any]]:
        compiled, executable, batch = self._compiled, self._executable, self._batch
        d_out, d_input = executable.plan.d_out, executable.plan.d_input
        assert d_out is not None and d_input is not None
        dy = real_array("dy", dy)
        target = executable.view(d_out, batch)
        if dy.shape != target.shape:
            raise ValueError(f"dy: expected shape {target.shape}, got {dy.shape}")
        dy = cast(dy, compiled.dtype, "dy")
        with compiled.guard.reading("backward"), self._guard.stepping("backward", patient=True):
            if executable.arenas is not compiled.memory or executable.arenas.counters[0] != executable.step:
                raise RuntimeError("backward: the network has changed since vjp was called; call vjp again")
            target[...] = dy
            executable.execute(batch, "backward")
            arrays = {key: view.copy() for key, view in executable.gradients.items()}
            gradients = Gradients(arrays, batch_statistics(executable, batch), self.written)
            return gradients, executable.view(d_input, batch).copy()


def vjp(compiled: Compiled, x: Any, *, training: bool = False) -> tuple[NDArray[Any], Pullback]:
    """Run the way forward, and return the outputs and what takes their gradient back."""
    rows, dtype = rows_of(compiled, x), compiled.dtype
    kept = rows.copy() if in_place(rows, dtype) else cast(rows, dtype)  # the way back reads them once more
    batch = len(rows)
    with compiled.guard.reading("vjp"):
        executable, loan = compiled.executables.lend_pulling_back(batch, training=training)
        backward = Pullback(compiled, executable, loan, batch)
        executable.bind(kept)
        executable.begin(0, batch)
        if training and not executable.compiled:
            backward.written = _run_harmlessly(compiled, executable, batch)
        else:
            executable.execute(batch, "forward")
        return executable.view(executable.plan.out, batch).copy(), backward


def _run_harmlessly(compiled: Compiled, executable: Executable, batch: int) -> dict[str, NDArray[Any]]:
    """Run the way forward, and put back what layers of users write into buffers, by key; return that."""
    buffers = written_by_layers(compiled, executable)
    before = {key: array.copy() for key, array in buffers.items()}
    with compiled.guard.stepping("vjp", arrays=buffers.values(), always=True):  # meanwhile nobody else may read them
        executable.execute(batch, "forward")
        return changed_arrays(buffers, before)
