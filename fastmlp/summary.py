"""The text of ``net.summary()``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .lowering import Lowering
from .optimizers import execution_of

if TYPE_CHECKING:
    from .model import Sequential

__all__ = ["describe"]


def describe(net: Sequential) -> str:
    """Layers with their outputs and parameters, totals, and which operations run compiled and which in Python."""
    title = f"Sequential, {net.dtype.name}, seed {net.seed}"
    if not net.built:
        lines = [f"{title}, not built (input_dim is not known yet)"]
        return "\n".join(lines + [f"  {layer.name or index}: {layer!r}" for index, layer in enumerate(net.layers)])
    rows = [("layer", "", "outputs", "parameters")]
    rows.append(("", "inputs", str(net.input_dim), ""))
    for place in net._built:
        count = sum(view.size for view in place.layer.parameters.values())
        rows.append((place.key, place.layer.summary(), str(place.units), f"{count:,}"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = [
        "  ".join(
            (
                row[0].ljust(widths[0]),
                row[1].ljust(widths[1]),
                row[2].rjust(widths[2]),
                row[3].rjust(widths[3]),
            )
        ).rstrip()
        for row in rows
    ]
    dense = [place.units for place in net._built if "kernel" in place.layer.parameters]
    total = f"{len(dense)} layers of {sum(dense)} neurons, {net.count_params():,} parameters"
    return "\n".join([title, *lines, total, _where(net)])


def _where(net: Sequential) -> str:
    """What runs in Python, found by lowering."""
    lowering = Lowering(net._built, net._memory(), 1, training=True)
    plan = lowering.predict() if net.loss is None else lowering.evaluate(net.loss, None)
    python = list(plan.python)
    if net.optimizer is not None and execution_of(net.optimizer).mode == "python":
        python.append(f"optimizer {net.optimizer!r}")
    if not python:
        return "all operations run compiled"
    return "\n".join(["in Python (NumPy):", *(f"  {what}" for what in python), "all other operations run compiled"])
