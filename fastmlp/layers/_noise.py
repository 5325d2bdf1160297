"""``GaussianNoise``: normal numbers added while a network trains."""

from __future__ import annotations

from typing import Any, ClassVar

from ..checks import check_number
from ..registry import layers as registry
from ._base import Compiler, Layer


@registry.builtin("gaussian_noise")
class GaussianNoise(Layer):
    """In training ``y = x + stddev n``, n being independent standard normal numbers; else ``y = x``.

    Numbers come from a counter-based generator, keyed by seed, step, layer and element.

    Parameters
    ----------
    stddev : float
        At least 0; with 0 nothing is added.
    name, trainable : as `Layer`

    Notes
    -----
    Two words w and w' of 32 bits give two numbers, ``sqrt(-2 log u) cos(t)`` and ``sqrt(-2 log u) sin(t)`` with
    ``u = (w + 1/2) / 2^32`` and ``t = 2 pi w' / 2^32``: Box and Muller, A note on the generation of random normal
    deviates, Annals of Mathematical Statistics 29, 1958. None is beyond 6.8.

    Examples
    --------
    >>> import fastmlp as fm
    >>> net = fm.Sequential([fm.layers.GaussianNoise(0.1), fm.layers.Dense(1)], input_dim=4, seed=0)
    """

    output_is_known = True
    keeps_meaning = True
    transparent_to_initializer = True
    conformance: ClassVar[dict[str, Any]] = {"config": {"stddev": 0.5}}

    def __init__(self, stddev: float, *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        self.stddev = check_number("stddev", stddev, 0.0)

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("noise", x, stddev=self.stddev)
