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
    from ..ir import Graph, Operation
    from ..lower import Lowering

__all__ = ["add_loss", "takes_last_activation"]


def takes_last_activation(graph: Graph, loss: losses.Loss) -> Operation | None:
    """Return the last operation, an activation, if the loss is computed jointly with it; it is removed then."""
    joint = losses.joint_activation(loss)
    if joint is None or not graph.operations:
        return None
    last = graph.operations[-1]
    name = "softmax" if isinstance(last, Softmax) else ""
    if isinstance(last, Activation) and last.spec:
        name = last.spec.name
    if name != joint:
        return None
    graph.bypass(last)
    graph.remove({last})
    return last


def from_logits(loss: losses.Loss) -> bool:
    """Return whether the network's outputs are logits by what the loss says."""
    return bool(getattr(loss, "from_logits", False))


def add_loss(
    to: Lowering, loss: losses.Loss, metric: str | None, z: Tensor, d: Tensor, *, joint: Operation | None
) -> Tensor:
    """Add the loss of what the network gives in `z`, with the gradient in `d`; return where the predictions are.

    `joint` is the activation that was removed for it, so that `z` are logits.
    """
    kernel = losses.builtin_kernel(loss)
    of_logits = kernel is not None and (joint is not None or from_logits(loss))
    out = to.tensor(z.units) if of_logits else z
    rows = {"z": z.ref, "ldz": z.ld, "a": out.ref, "lda": out.ld, "d": d.ref, "ldd": d.ld, "units": z.units}
    if kernel is None:
        if joint is None:
            _add_traced(to, loss, metric, z, d, rows)
            return z
        joint.forward(to)
        _add_traced(to, losses.of_logits(loss), "signs" if metric == "binary" else metric, z, d, rows)
        return joint.output.at
    if of_logits and metric == "signs":
        metric = "binary"  # of the probabilities that the kernel writes
    name = kernel.of_logits if of_logits else kernel.of_output
    assert name is not None
    _add(to, loss, name, name, metric, row_cost=8 * z.units, **rows)
    return z if of_logits and joint is None else out


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
