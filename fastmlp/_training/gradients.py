"""``Gradients``: gradients by parameter, with what a step on their batch would leave in the buffers of the network."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._compiler.compiled import Compiled
from .._compiler.executable import Executable
from ..checks import cast, real_array
from ..errors import NonFiniteError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Gradients", "batch_statistics", "changed_arrays", "check_finite", "checked_arrays", "checked_statistics"]


class Gradients(dict[str, "NDArray[Any]"]):
    """Gradients keyed as `parameters`: a dict, to be changed in place, that `apply_gradients` takes whole.

    Parameters
    ----------
    gradients : mapping of str to ndarray
    statistics, buffers : mapping of str to ndarray, optional

    Attributes
    ----------
    statistics : dict of str to ndarray
        Mean and variance of the batch, by the keys of the running ones in `buffers`; empty for a batch of one row,
        which has no variance, and for gradients that were computed with running statistics.
    buffers : dict of str to ndarray
        What layers in Python have written into their buffers, by key.
    """

    def __init__(
        self,
        gradients: Mapping[str, NDArray[Any]] = {},
        statistics: Mapping[str, NDArray[Any]] | None = None,
        buffers: Mapping[str, NDArray[Any]] | None = None,
    ) -> None:
        super().__init__(gradients)
        self.statistics = dict(statistics or {})
        self.buffers = dict(buffers or {})


def batch_statistics(executable: Executable, batch: int) -> dict[str, NDArray[Any]]:
    """Return copies of the statistics of the batch that was run forward; none of a single row."""
    found = executable.plan.statistics
    if not found or batch == 1:
        return {}
    return {key: executable.view(tensor, 1)[0].copy() for key, tensor in found.items()}


def changed_arrays(arrays: Mapping[str, NDArray[Any]], before: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Return copies of the arrays that hold other bits than before."""
    return {key: array.copy() for key, array in arrays.items() if array.tobytes() != before[key].tobytes()}


def _tell_that_statistics_stay(compiled: Compiled) -> None:
    """Warn, once for a network with batch norm, that a plain mapping of gradients leaves its running statistics."""
    if compiled.told_of_statistics or not compiled.network.takes_batch_statistics():
        return
    compiled.told_of_statistics = True
    warnings.warn(
        "apply_gradients: a plain mapping of gradients carries no statistics of the batch, so the running statistics "
        "of batch norm stay as they are; change the dict that loss_and_gradients, or vjp's function, returns in "
        "place, and pass that same dict",
        stacklevel=5,
    )


def checked_arrays(
    compiled: Compiled, what: str, given: Mapping[str, Any], targets: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Return arrays in the network's dtype; each must have the shape of its target."""
    arrays, dtype = {}, compiled.dtype
    for key, value in given.items():
        name = f"{what} {key}"
        array = arrays[key] = cast(real_array(name, value), dtype, name)
        if array.shape != targets[key].shape:
            raise ValueError(f"{name}: expected shape {targets[key].shape}, got {array.shape}")
    return arrays


def check_finite(compiled: Compiled, what: str, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Refuse NaN and infinity; the error names the array."""
    for key, array in arrays.items():
        if not np.logical_and.reduce(np.isfinite(array), axis=None):
            raise NonFiniteError(
                f"NaN or infinity in {what} {key}; nothing was changed",
                layer=key.rpartition(".")[0],
                step=compiled.steps + 1,
            )


def checked_statistics(
    compiled: Compiled, gradients: Mapping[str, Any]
) -> tuple[dict[str, NDArray[Any]], dict[str, NDArray[Any]]]:
    """Return the statistics and the buffers that come with gradients, checked; none with a plain mapping."""
    if not isinstance(gradients, Gradients):
        _tell_that_statistics_stay(compiled)
        return {}, {}
    if not (gradients.statistics or gradients.buffers):
        return {}, {}
    found = []
    for what, given in (("statistics", gradients.statistics), ("buffers", gradients.buffers)):
        unknown = sorted(set(given) - set(compiled.memory.buffers))
        if unknown:
            raise ValueError(f"{what} of gradients: expected keys of the network's buffers, got {unknown}")
        arrays = checked_arrays(compiled, f"gradients.{what}", given, compiled.memory.buffers)
        check_finite(compiled, f"gradients.{what}", arrays)
        found.append(arrays)
    return found[0], found[1]
