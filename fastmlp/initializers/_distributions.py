"""Constants, and values drawn one by one: normal, truncated, uniform, with the variance that a fan asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..registry import initializers as registry
from ._base import Initializer, finite, rounded

if TYPE_CHECKING:
    from numpy.typing import DTypeLike, NDArray


@registry.builtin("constant")
class Constant(Initializer):
    """Every element is ``value``.

    Equal values in a kernel keep the hidden units of a layer identical for ever, since their gradients are
    equal too; a constant is meant for biases and scales.

    Parameters
    ----------
    value : float
        Finite; otherwise a ValueError.

    Notes
    -----
    Row 17 of ``docs/equations.md``.
    """

    def __init__(self, value: float = 0.0) -> None:
        self.value = finite(self, "value", value)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return ``value`` everywhere; draws nothing from `rng`."""
        return rounded(np.full(shape, self.value), dtype)


@registry.builtin("zeros")
class Zeros(Constant):
    """Every element is 0: the default for biases. See `Constant` for what it does to a kernel (row 17)."""

    value = 0.0

    def __init__(self) -> None:
        pass


@registry.builtin("ones")
class Ones(Constant):
    """Every element is 1: the default for scales such as gamma of batch normalization."""

    value = 1.0

    def __init__(self) -> None:
        pass


@registry.builtin("random_normal")
class RandomNormal(Initializer):
    """``w ~ N(mean, stddev**2)``, not truncated; the standard normal by default.

    Parameters
    ----------
    stddev : float
        Standard deviation, finite and not negative; otherwise a ValueError. Keras's default is 0.05.
    mean : float
        Mean, finite; otherwise a ValueError.

    Notes
    -----
    Row 18 of ``docs/equations.md``.
    """

    def __init__(self, stddev: float = 1.0, mean: float = 0.0) -> None:
        self.stddev = finite(self, "stddev", stddev, least=0.0)
        self.mean = finite(self, "mean", mean)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return independent draws of `shape` and `dtype`."""
        return rounded(rng.normal(self.mean, self.stddev, shape), dtype)


@registry.builtin("truncated_normal")
class TruncatedNormal(Initializer):
    """``w ~ N(mean, stddev**2)``, drawn again where it is more than ``2 stddev`` from the mean (as Keras).

    What is left varies less: its standard deviation is 0.8796 times `stddev`.

    Parameters
    ----------
    mean : float
        Finite; otherwise a ValueError.
    stddev : float
        Standard deviation before values are cut off, finite and not negative; otherwise a ValueError.
    """

    def __init__(self, mean: float = 0.0, stddev: float = 0.05) -> None:
        self.mean = finite(self, "mean", mean)
        self.stddev = finite(self, "stddev", stddev, least=0.0)

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return independent draws of `shape` and `dtype`; how many are drawn again depends on `rng` alone."""
        values = rng.standard_normal(shape)
        beyond = np.abs(values) > 2
        while beyond.any():
            values[beyond] = rng.standard_normal(np.count_nonzero(beyond))
            beyond = np.abs(values) > 2
        return rounded(self.mean + self.stddev * values, dtype)


@registry.builtin("random_uniform")
class RandomUniform(Initializer):
    """``w ~ U(minval, maxval)``.

    Parameters
    ----------
    minval, maxval : float
        Limits, finite, ``minval <= maxval``; otherwise a ValueError.
    """

    def __init__(self, minval: float = -0.05, maxval: float = 0.05) -> None:
        self.minval = finite(self, "minval", minval)
        self.maxval = finite(self, "maxval", maxval)
        if self.minval > self.maxval:
            raise ValueError(f"RandomUniform: minval {minval!r} is greater than maxval {maxval!r}")

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return independent draws of `shape` and `dtype`."""
        return rounded(rng.uniform(self.minval, self.maxval, shape), dtype)


@registry.builtin("variance_scaling")
class VarianceScaling(Initializer):
    """Variance ``scale / fan``: the family of He, LeCun and Glorot.

    ``w ~ N(0, scale / fan)``, or ``w ~ U(-limit, limit)`` with ``limit = sqrt(3 scale / fan)``, which has the
    same variance. Normal draws are not truncated.

    Parameters
    ----------
    scale : float
        The variance times the fan; finite and not negative, otherwise a ValueError.
    mode : {"fan_in", "fan_out", "fan_avg"}
        Which fan: of a kernel ``(inputs, units)`` it is ``inputs``, ``units`` or their mean. In general
        ``fan_in = shape[0]`` and ``fan_out = shape[-1]``, so that both are the length of a vector.
    distribution : {"normal", "uniform"}
        Which shape the distribution has.

    Notes
    -----
    Row 18 of ``docs/equations.md``: it keeps the variance of activations from layer to layer.
    """

    def __init__(self, scale: float = 1.0, mode: str = "fan_in", distribution: str = "normal") -> None:
        self.scale = finite(self, "scale", scale, least=0.0)
        for name, value, allowed in (
            ("mode", mode, ("fan_in", "fan_out", "fan_avg")),
            ("distribution", distribution, ("normal", "uniform")),
        ):
            if value not in allowed:
                raise ValueError(f"{type(self).__name__}: {name} must be one of {allowed}, got {value!r}")
        self.mode = mode
        self.distribution = distribution

    def __call__(self, shape: tuple[int, ...], rng: np.random.Generator, dtype: DTypeLike) -> NDArray[Any]:
        """Return independent draws; a ValueError if `shape` is ``()`` or has a fan of 0."""
        stddev = math.sqrt(self.scale / self._fan(shape))
        if self.distribution == "normal":
            return rounded(stddev * rng.standard_normal(shape), dtype)
        limit = math.sqrt(3.0) * stddev
        return rounded(rng.uniform(-limit, limit, shape), dtype)

    def _fan(self, shape: tuple[int, ...]) -> float:
        if not shape or min(shape) < 1:
            raise ValueError(f"{type(self).__name__}: a shape with positive lengths is needed, got {shape}")
        fans = {"fan_in": shape[0], "fan_out": shape[-1], "fan_avg": (shape[0] + shape[-1]) / 2}
        return fans[self.mode]


@registry.builtin("he_normal")
class HeNormal(VarianceScaling):
    """``w ~ N(0, 2 / fan_in)``, for ReLU and its kin.

    Half of the units are silent, hence the 2 (He et al., 2015, arXiv:1502.01852; row 18).
    """

    scale, mode, distribution = 2.0, "fan_in", "normal"

    def __init__(self) -> None:
        pass


@registry.builtin("he_uniform")
class HeUniform(VarianceScaling):
    """``w ~ U(-limit, limit)``, ``limit = sqrt(6 / fan_in)``: the uniform twin of `HeNormal`."""

    scale, mode, distribution = 2.0, "fan_in", "uniform"

    def __init__(self) -> None:
        pass


@registry.builtin("lecun_normal")
class LecunNormal(VarianceScaling):
    """``w ~ N(0, 1 / fan_in)``, for tanh, sigmoid and SELU.

    It keeps the variance where the slope is 1 (LeCun et al., 1998, "Efficient BackProp"; row 18, where S1
    calls it Xavier).
    """

    scale, mode, distribution = 1.0, "fan_in", "normal"

    def __init__(self) -> None:
        pass


@registry.builtin("lecun_uniform")
class LecunUniform(VarianceScaling):
    """``w ~ U(-limit, limit)``, ``limit = sqrt(3 / fan_in)``: the uniform twin of `LecunNormal`."""

    scale, mode, distribution = 1.0, "fan_in", "uniform"

    def __init__(self) -> None:
        pass


@registry.builtin("glorot_normal")
class GlorotNormal(VarianceScaling):
    """``w ~ N(0, 2 / (fan_in + fan_out))``, a compromise between the forward and the backward pass.

    Also called Xavier (Glorot and Bengio, 2010, AISTATS 9, 249-256; row 18).
    """

    scale, mode, distribution = 1.0, "fan_avg", "normal"

    def __init__(self) -> None:
        pass


@registry.builtin("glorot_uniform")
class GlorotUniform(VarianceScaling):
    """``w ~ U(-limit, limit)``, ``limit = sqrt(6 / (fan_in + fan_out))``: twin of `GlorotNormal`."""

    scale, mode, distribution = 1.0, "fan_avg", "uniform"

    def __init__(self) -> None:
        pass
