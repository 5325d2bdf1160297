"""The text of ``net.summary()``."""

from __future__ import annotations

from .._compiler.compiled import Compiled
from ..checks import one_line
from ..optimizers import execution_of

__all__ = ["describe"]


def describe(compiled: Compiled) -> str:
    """Return the layers with their outputs and parameters, totals, and what runs compiled and what in Python."""
    title = f"Sequential, {compiled.dtype.name}, seed {compiled.seed}"
    if not compiled.built:
        lines = [f"{title}, not built (input_dim is not known yet)"]
        return "\n".join(
            lines + [f"  {one_line(layer.name or index)}: {layer!r}" for index, layer in enumerate(compiled.layers)]
        )
    rows = [("layer", "", "outputs", "parameters")]
    rows.append(("", "inputs", str(compiled.input_dim), ""))
    for place in compiled.network.layers:
        count = sum(view.size for view in place.layer.parameters.values())
        rows.append((one_line(place.key), place.layer.summary(), str(place.units), f"{count:,}"))
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
    dense = [place.units for place in compiled.network.layers if "kernel" in place.layer.parameters]
    numbers = sum(view.size for view in compiled.parameters.values())
    total = f"{len(dense)} layers of {sum(dense)} neurons, {numbers:,} parameters"
    return "\n".join([title, *lines, total, _where(compiled)])


def _where(compiled: Compiled) -> str:
    """Return what runs in Python, found by lowering."""
    lowering = compiled.executables.lowering(1, training=True)
    plan = lowering.predict() if compiled.loss is None else lowering.evaluate(compiled.loss, None)
    python = list(plan.python)
    if compiled.optimizer is not None and execution_of(compiled.optimizer).mode == "python":
        python.append(f"optimizer {compiled.optimizer!r}")
    python += [f"constraint {one!r} of {key}" for key, one in compiled.memory.constraints.items()]
    if not python:
        return "all operations run compiled"
    return "\n".join(["in Python (NumPy):", *(f"  {what}" for what in python), "all other operations run compiled"])
