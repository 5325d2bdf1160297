"""``UnitNorm``: rows of length 1."""

from __future__ import annotations

from typing import Any

from ..registry import layers as registry
from ._base import Compiler, Layer


@registry.builtin("unit_norm")
class UnitNorm(Layer):
    """``y = x / max(||x||, 1e-12)`` by rows, ``||x|| = sqrt(sum_j x_j^2)``: rows of length 1, but for rows of zeros.

    A row meets no other: training and inference are the same. Keras calls it ``UnitNormalization``.

    Parameters
    ----------
    name, trainable : as `Layer`

    Notes
    -----
    Its gradient is ``dx = (dy - y (dy . y)) / ||x||``. Sums of squares are taken in float64, and of scaled numbers
    where they would leave its range. A row with an infinite number becomes NaN.

    Examples
    --------
    >>> import fastmlp as fm
    >>> net = fm.Sequential([fm.layers.UnitNorm()], input_dim=2, dtype="float64", seed=0)
    >>> net.predict([[3.0, 4.0]])
    array([[0.6, 0.8]])
    """

    output_is_known = True
    transparent_to_initializer = True

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("unit_norm", x, epsilon=1e-12)
