"""The compiled kernels: one package per instruction-set level, of which one is chosen here, at import.

`FASTMLP_ISA` forces a level. One that this processor can't run is refused before any of its code is loaded.
"""

import os
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

try:
    from ._cpu import supported
except ModuleNotFoundError as error:
    raise ImportError(
        "fastmlp is imported from a source tree whose kernels are not built for this Python: leave that "
        "folder to reach the installed package, install it with `pip install .`, or build in place with "
        "`python setup.py build_ext --inplace`"
    ) from error

from . import concurrency

__all__ = [
    "ACTIVATIONS",
    "ARENAS",
    "LOSSES",
    "METRICS",
    "NONE",
    "OPS",
    "PENALTY_CHUNK",
    "RECORD_BYTES",
    "SHIFT",
    "available",
    "concurrency",
    "fastpath",
    "level",
    "levels",
    "load",
    "peak",
    "plan",
    "plan_ops",
    "supported",
    "vm",
]

_LEVELS = ("plain", "x86-64-v2", "x86-64-v3", "x86-64-v4")  # lowest first


def _package(name: str) -> str:
    """The subpackage that holds a level: a dash can't stand in the name of a module."""
    return name.replace("-", "_")


def available() -> tuple[str, ...]:
    """The levels that were built into this installation, lowest first."""
    folders = {name: os.path.join(__path__[0], _package(name)) for name in _LEVELS}
    return tuple(name for name in _LEVELS if os.path.exists(os.path.join(folders[name], "__init__.py")))


def levels() -> tuple[str, ...]:
    """The levels that can be used here: built, and supported by this processor. Lowest first."""
    runs = supported()
    return tuple(name for name in available() if name in runs)


def _check(name: str, source: str) -> str:
    """Return `name`, a level that can be used here; `source` tells in the error who asked for it."""
    if name in levels():
        return name
    if name not in _LEVELS:
        reason = f"no such instruction-set level; there are {', '.join(_LEVELS)}"
    elif name not in supported():
        reason = f"this processor cannot run it; it can run {', '.join(supported())}"
    else:
        reason = f"not built into this installation, which has {', '.join(available()) or 'no level at all'}"
    raise ImportError(f"{source}={name!r}: {reason}. Possible here: {', '.join(levels()) or 'none'}.")


def load(level: str, module: str) -> ModuleType:
    """Import a module of one level, as in ``load("x86-64-v3", "gemm")``; `ImportError` where it can't run."""
    return import_module(f"{__name__}.{_package(_check(level, 'level'))}.{module}")


def _choose() -> str:
    """The level that `FASTMLP_ISA` asks for, else the highest that can be used."""
    if asked := os.environ.get("FASTMLP_ISA"):
        return _check(asked, "FASTMLP_ISA")
    if possible := levels():
        return possible[-1]
    raise ImportError(
        f"fastmlp was built for {', '.join(available()) or 'no level at all'}, but this processor runs "
        f"{', '.join(supported())}: build it from source, with FASTMLP_BUILD_LEVELS=plain if need be"
    )


level: str = _choose()

if TYPE_CHECKING:
    from . import plan, plan_ops, vm
    from . import plan_fastpath as fastpath
else:
    plan, plan_ops, vm = (load(level, name) for name in ("plan", "plan_ops", "vm"))
    fastpath = load(level, "plan_fastpath")

# What everybody reads of the one table of operations, see plan_ops.pyx.
OPS, RECORD_BYTES, ARENAS = plan_ops.OPS, plan_ops.RECORD_BYTES, plan_ops.ARENAS
ACTIVATIONS, LOSSES, METRICS = plan_ops.ACTIVATIONS, plan_ops.LOSSES, plan_ops.METRICS
SHIFT, NONE, PENALTY_CHUNK = plan_ops.SHIFT, plan_ops.NONE, plan_ops.PENALTY_CHUNK


def peak() -> ModuleType:
    """Load what measures the processor's peak, when it is asked for."""
    return load(level, "peak")
