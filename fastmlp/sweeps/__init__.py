"""How an optimizer runs: as a built-in kernel, as a recorded program over all parameters, or in Python."""

from __future__ import annotations

from typing import Any

from ..optimizers import Optimizer, Sweep, kernel_of

__all__ = ["speed_of", "sweep_of"]

CACHE = "_fastmlp_sweep"  # where an optimizer keeps what was found, beside what it was found for


def sweep_of(optimizer: Optimizer) -> Sweep | None:
    """The compiled sweep of an optimizer, or None; recorded anew where an attribute has changed."""
    kernel = kernel_of(optimizer)
    return kernel if kernel is not None else _found(optimizer)[0]


def speed_of(optimizer: Optimizer) -> tuple[str, str | None]:
    """``"builtin"``, ``"recorded"`` or ``"python"``, and why the last."""
    if kernel_of(optimizer) is not None:
        return "builtin", None
    sweep, reason = _found(optimizer)
    return ("python", reason) if sweep is None else ("recorded", None)


def _found(optimizer: Optimizer) -> tuple[Sweep | None, str | None]:
    """What recording found, kept until an attribute changes."""
    if not optimizer.elementwise:
        return None, "its class doesn't say that it is elementwise"
    seen = {name: value for name, value in vars(optimizer).items() if name not in (CACHE, "_learning_rate")}
    kept = vars(optimizer).get(CACHE)
    if kept is None or not _equal(kept[0], seen):
        from ._recording import recorded  # what built-ins need no part of

        program, reason = recorded(optimizer)
        kept = (seen, (None if program is None else Sweep("sweep", {}, program), reason))
        vars(optimizer)[CACHE] = kept
    return kept[1]


def _equal(before: dict[str, Any], now: dict[str, Any]) -> bool:
    try:
        return bool(before == now)
    except ValueError:  # arrays among them
        return False
