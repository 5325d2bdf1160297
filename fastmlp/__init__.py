"""fastmlp: multilayer perceptrons on a CPU, compiled and open.

Networks are described in Python and run as one compiled program; layers, activations, initializers, losses, metrics,
optimizers and schedules are added by name, from scripts and from installed plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ._source_tree import hand_over

if not hand_over(__name__, __path__):  # a source tree without kernels: from here on, `fastmlp` is the installed one
    from . import (
        activations,
        constraints,
        errors,
        initializers,
        layers,
        losses,
        metrics,
        optimizers,
        registry,
        regularizers,
        schedules,
    )
    from ._tracing.trainable import learned
    from ._version import __version__
    from .configuration import config, show_config
    from .errors import DuplicateNameError, NonFiniteError, NotBuiltError, PluginError, UnknownNameError
    from .model import Sequential, load
    from .threads import get_num_threads, num_threads, set_num_threads

if TYPE_CHECKING:
    from . import callbacks, datasets, inspection, serialization, testing

__all__ = [
    "DuplicateNameError",
    "NonFiniteError",
    "NotBuiltError",
    "PluginError",
    "Sequential",
    "UnknownNameError",
    "__version__",
    "activations",
    "callbacks",
    "config",
    "constraints",
    "datasets",
    "errors",
    "get_include",
    "get_num_threads",
    "initializers",
    "inspection",
    "layers",
    "learned",
    "load",
    "losses",
    "metrics",
    "num_threads",
    "optimizers",
    "registry",
    "regularizers",
    "schedules",
    "serialization",
    "set_num_threads",
    "show_config",
    "testing",
]


def get_include() -> str:
    """Return the folder of the C header ``fastmlp/activation.h``, for a compiler's ``-I``."""
    return f"{__path__[0]}/include"


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name in ("callbacks", "datasets", "inspection", "serialization", "testing"):  # imported when they are asked for
        from importlib import import_module

        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
