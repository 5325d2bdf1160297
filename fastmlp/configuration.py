"""What this installation is and runs on: ``fm.config()``, ``fm.show_config()``."""

from __future__ import annotations

from typing import Any

from . import registry
from ._kernels import level, levels, plan
from ._version import __version__
from .threads import get_num_threads

__all__ = ["config", "show_config"]


def config() -> dict[str, Any]:
    """Return version, instruction set (and those that could be forced), OpenMP, threads, NumPy, plugins by kind."""
    import numpy as np

    return {
        "version": __version__,
        "instruction_set": level,
        "instruction_sets": list(levels()),
        "openmp": bool(plan.openmp()),
        "threads": get_num_threads(),
        "numpy": np.__version__,
        "plugins": {
            kind: [f"{plugin.distribution}:{plugin.name}" for plugin in getattr(registry, kind).plugins()]
            for kind in registry.KINDS
            if getattr(registry, kind).plugins()
        },
    }


def show_config() -> None:
    """Print `config`."""
    for name, value in config().items():
        if isinstance(value, dict):
            value = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in value.items()) or "none"
        elif isinstance(value, list):
            value = ", ".join(value)
        print(f"{name.replace('_', ' ')}: {value}")
