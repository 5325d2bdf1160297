"""``Dropout``: units set to zero at random while a network trains."""

from __future__ import annotations

from typing import Any

from ..checks import check_share
from ..registry import layers as registry
from ._base import Compiler, Layer


@registry.builtin("dropout")
class Dropout(Layer):
    """In training ``y = mask x / (1 - rate)``, a mask bit being 0 with probability `rate`; else ``y = x``.

    Bits come from a counter-based generator, keyed by seed, step, layer and element.

    Parameters
    ----------
    rate : float
        In [0, 1).
    name, trainable : as `Layer`
    """

    output_is_known = True
    keeps_meaning = True
    transparent_to_initializer = True

    def __init__(self, rate: float, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.rate = check_share("rate", rate)

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("dropout", x, rate=self.rate)
