"""``loss``: the value of each row, its gradient, and the accuracy; ``loss_sum``: their sums over the batch.

A last softmax or sigmoid whose cross-entropy is taken goes into the loss: it reads the logits, and writes probabilities
and the gradient of the logits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ... import losses
from ..._kernels import LOSSES, METRICS
from ...user_code import pair, put, read_only
from ..plan import BATCH, Call, Note, Tensor
from .activation import Activation
from .softmax import Softmax

if TYPE_CHECKING:
    from ..ir import Graph
    from ..lower import Lowering

__all__ = ["add_loss", "takes_last_activation"]


def takes_last_activation(graph: Graph, loss: losses.Loss) -> bool:
    """Return whether the loss is computed jointly with the last operation, an activation; it is removed then."""
    kernel = losses.builtin_kernel(loss)
    if kernel is None or not kernel.joint or from_logits(loss) or not graph.operations:
        return False
    last = graph.operations[-1]
    name = "softmax" if isinstance(last, Softmax) else ""
    if isinstance(last, Activation) and last.spec:
        name = last.spec.name
    if name != kernel.joint:
        return False
    graph.bypass(last)
    graph.remove({last})
    return True


def from_logits(loss: losses.Loss) -> bool:
    """Return whether the network's outputs are logits by what the loss says."""
    return bool(getattr(loss, "from_logits", False))


def add_loss(to: Lowering, loss: losses.Loss, metric: str | None, z: Tensor, d: Tensor, *, joint: bool) -> Tensor:
    """Add the loss of what the network gives in `z`, with the gradient in `d`; return where the predictions are."""
    kernel = losses.builtin_kernel(loss)
    of_logits = joint or (kernel is not None and from_logits(loss))
    out = to.tensor(z.units) if of_logits else z
    rows = {"z": z.ref, "ldz": z.ld, "a": out.ref, "lda": out.ld, "d": d.ref, "ldd": d.ld, "units": z.units}
    if kernel is None:
        _add_traced(to, loss, metric, z, d, rows)
        return z
    if of_logits and metric == "signs":
        metric = "binary"  # of the probabilities that the kernel writes
    name = kernel.of_logits if of_logits else kernel.of_output
    assert name is not None
    _add(to, loss, name, name, metric, row_cost=8 * z.units, **rows)
    return z if of_logits and not joint else out


def _add(to: Lowering, loss: losses.Loss, name: str, shown: str, metric: str | None, **fields: Any) -> None:
    note = Note((BATCH, fields["units"]), (shown, *(["accuracy"] if metric else [])))
    codes = {"loss": LOSSES[name], "metric": METRICS[metric] if metric else 0}
    to.emit("loss", note, labels=loss.labels, probabilities=loss.target_probabilities, **codes, **fields)
    to.emit_behind("loss_sum", Note((BATCH,)), metric=bool(metric), barrier=False)


def _add_traced(
    to: Lowering, loss: losses.Loss, metric: str | None, z: Tensor, d: Tensor, rows: dict[str, Any]
) -> None:
    """Add a loss without a kernel: its program, or its Python code."""
    execution = losses.execution_of(loss, to.dtype, z.units)
    spec = execution.kernel
    if spec is None:
        note = Note((BATCH, z.units), python=repr(loss), reason=execution.reason)
        to.emit_python(_call(loss, z, d), note, f"loss {loss!r} ({execution.reason})")
        return
    fields = {"program": to.load(spec.program), "scale": spec.scale, "shift": spec.shift}
    _add(to, loss, "program", repr(loss), metric, row_cost=2 * spec.operations * z.units, **fields, **rows)


def _call(loss: losses.Loss, z: Tensor, d: Tensor) -> Call:
    """Return what computes the weighted loss of the batch and its gradient in NumPy."""
    what = f"loss {loss!r}"

    def call(executable: Any, batch: int) -> None:
        target, weight = executable.target(batch)
        outputs = read_only(executable.view(z, batch))
        with np.errstate(all="ignore"):
            answer = loss.value_and_gradient(read_only(target), outputs)
        value, gradient = pair(answer, what, "value per row, gradient")
        rows = np.empty(batch)
        put(rows, value, f"{what}, value per row")
        out = executable.view(d, batch)
        put(out, gradient, f"{what}, gradient")
        executable.watch(what, None, {"value per row": rows, "gradient": out}, [outputs, target])
        if weight is not None:
            rows *= weight
            out *= weight[:, None]
        out /= executable.run.weight
        executable.run.loss = float(rows.sum())

    return call
