"""The exceptions of fastmlp; each is also re-exported by the package (``fm.NonFiniteError``)."""

from __future__ import annotations

__all__ = ["DuplicateNameError", "NonFiniteError", "NotBuiltError", "PluginError", "UnknownNameError"]


class DuplicateNameError(ValueError):
    """A name has two owners: it is taken already, or two distributions offer it."""


class UnknownNameError(LookupError, ValueError):
    """No object of that name (or no name of that object) is in a registry."""


class PluginError(ImportError):
    """An installed plugin can't be used: its import failed, or its entry point names a wrong object.

    Parameters
    ----------
    message : str
        What came and what was expected.
    distribution : str, optional
        Name of the distribution that brings the plugin.
    """

    def __init__(self, message: str, *, distribution: str | None = None) -> None:
        super().__init__(message)
        self.distribution = distribution


class NonFiniteError(ValueError):
    """NaN or infinity was met where a step needs finite numbers; nothing of that step was kept.

    Parameters
    ----------
    message : str
        What was met, and what to do.
    layer : str, optional
        Name of the layer where the first non-finite value was found; None if it came with the data.
    step : int, optional
        Number of the step that met it, counted from 1; None outside training.
    """

    def __init__(self, message: str, *, layer: str | None = None, step: int | None = None) -> None:
        super().__init__(message)
        self.layer = layer
        self.step = step


class NotBuiltError(RuntimeError):
    """The network has no parameters yet, because its number of inputs isn't known."""
