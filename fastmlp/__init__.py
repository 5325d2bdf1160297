"""fastmlp: multilayer perceptrons on a CPU, compiled and open.

Networks are described in Python and run as one compiled program; layers, activations, initializers, losses, metrics and
optimizers are added by name, from scripts and from installed plugins.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import activations, callbacks, errors, initializers, layers, losses, metrics, optimizers, registry, regularizers
from ._tracing.trainable import learned
from .configuration import config, show_config
from .errors import DuplicateNameError, NonFiniteError, NotBuiltError, PluginError, UnknownNameError
from .model import Sequential
from .threads import get_num_threads, num_threads, set_num_threads

if TYPE_CHECKING:
    from .serialization import load

__version__ = "0.1.0"

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
    "errors",
    "get_include",
    "get_num_threads",
    "initializers",
    "layers",
    "learned",
    "load",
    "losses",
    "metrics",
    "num_threads",
    "optimizers",
    "registry",
    "regularizers",
    "set_num_threads",
    "show_config",
]


def get_include() -> str:
    """Return the folder of the C header ``fastmlp/activation.h``, for a compiler's ``-I``."""
    return f"{__path__[0]}/include"


def __getattr__(name: str) -> Any:
    if name == "load":
        from .serialization import load

        return load
    if name in ("datasets", "inspection", "serialization", "testing"):
        from importlib import import_module

        return import_module(f".{name}", __name__)
    raise AttributeError(f"module 'fastmlp' has no attribute {name!r}")
