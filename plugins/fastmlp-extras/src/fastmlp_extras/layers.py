"""The layer ``maxout``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import fastmlp as fm

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Maxout(fm.layers.Layer):
    """``y_j = max_k (x W_k + b_k)_j``: the largest of several affine maps, a convex function that is learned.

    Parameters
    ----------
    units : int
        Number of outputs, at least 1; otherwise a ValueError.
    pieces : int
        Number of maps, at least 1; otherwise a ValueError.
    name : str, optional

    Notes
    -----
    Parameters: ``kernel`` ``(inputs, pieces * units)``, the maps side by side, and ``bias`` ``(pieces * units,)``.
    Where two maps are equal, the first has the gradient. Goodfellow and others, 2013, "Maxout networks",
    arXiv:1302.4389.
    """

    conformance: ClassVar = {"config": {"units": 4, "pieces": 3}}

    def __init__(self, units: int, pieces: int = 2, *, name: str | None = None) -> None:
        super().__init__(name=name)
        for what, value in (("units", units), ("pieces", pieces)):
            if value != int(value) or value < 1:
                raise ValueError(f"Maxout: {what} must be an integer of at least 1, got {value!r}")
        self.units = int(units)
        self.pieces = int(pieces)

    def build(self, input_dim: int) -> int:
        """Ask for kernel and bias; return the number of outputs."""
        self.add_parameter("kernel", (input_dim, self.pieces * self.units), "lecun_normal", decay=True)
        self.add_parameter("bias", (self.pieces * self.units,), "zeros")
        return self.units

    def forward(
        self, x: NDArray[Any], *, training: bool, rng: np.random.Generator
    ) -> tuple[NDArray[Any], Callable[[NDArray[Any]], tuple[NDArray[Any], dict[str, NDArray[Any]]]]]:
        """Return the outputs, and what takes their gradient back."""
        kernel = self.parameters["kernel"]
        z = (x @ kernel + self.parameters["bias"]).reshape(len(x), self.pieces, self.units)
        winner = z.argmax(axis=1)[:, None, :]

        def backward(dy: NDArray[Any]) -> tuple[NDArray[Any], dict[str, NDArray[Any]]]:
            dz = np.zeros_like(z)
            np.put_along_axis(dz, winner, dy[:, None, :], axis=1)
            dz = dz.reshape(len(x), -1)
            return dz @ kernel.T, {"kernel": x.T @ dz, "bias": dz.sum(axis=0)}

        return np.take_along_axis(z, winner, axis=1)[:, 0], backward
