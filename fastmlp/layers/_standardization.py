"""``Normalization``: columns of the data, by statistics that are taken once."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..checks import check_number, check_range, real_array
from ..registry import layers as registry
from ._base import Compiler, Layer

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 1 << 20  # numbers of the data that are worked on at a time


@registry.builtin("normalization")
class Normalization(Layer):
    """``y = (x - mean) / max(sqrt(variance), 1e-7)`` per column, by statistics of some data, which are not learned.

    `adapt` takes them from data, or they are given; without, a network that has this layer can't run. (`BatchNorm`
    takes its statistics while training.)

    Parameters
    ----------
    mean, variance : float or sequence of float, optional
        A number for all columns, or one for each; both or neither. Variances are at least 0.
    name, trainable : as `Layer`

    Raises
    ------
    TypeError, ValueError
        If one of the two is given alone, they are of different lengths, or they hold what is no finite number; when a
        network is built, if it has another number of columns here.

    Notes
    -----
    Buffers: ``mean`` and ``variance``, ``(inputs,)``, NaN until they are known; files keep them. The formula is that of
    Keras's ``Normalization``. A column that was constant is divided by 1e-7: leave it out of the data.

    Examples
    --------
    >>> import fastmlp as fm
    >>> scale = fm.layers.Normalization()
    >>> scale.adapt([[1.0, 10.0], [3.0, 30.0]])
    >>> net = fm.Sequential([scale], input_dim=2, dtype="float64", seed=0)
    >>> net.predict([[3.0, 10.0]])
    array([[ 1., -1.]])
    """

    output_is_known = True
    transparent_to_initializer = True
    fixed_once_built = Layer.fixed_once_built | {"mean", "variance"}
    conformance: ClassVar[dict[str, Any]] = {"config": {"mean": 0.5, "variance": 4.0}}

    def __init__(
        self,
        *,
        mean: float | Iterable[float] | None = None,
        variance: float | Iterable[float] | None = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if (mean is None) != (variance is None):
            raise ValueError("Normalization: expected mean and variance, or neither of them, got one alone")
        self.mean = None if mean is None else _numbers("mean", mean, -math.inf)
        self.variance = None if variance is None else _numbers("variance", variance, 0.0)
        given = [len(values) for values in (self.mean, self.variance) if isinstance(values, tuple)]
        if len(set(given)) > 1:
            raise ValueError(f"Normalization: expected as many means as variances, got {given[0]} and {given[1]}")

    def adapt(self, x: Any) -> None:
        """Take mean and variance of the columns of `x`, in the place of what was there before.

        ``mean = sum_i x_i / n``, ``variance = sum_i (x_i - mean)^2 / n``, in float64. In a network that is built, they
        hold from the next call on.

        Parameters
        ----------
        x : array_like ``(n, features)``
            The columns that this layer takes: behind others, or in `Columns`, not those of the network.

        Raises
        ------
        TypeError
            For data that are no numbers.
        ValueError
            For data of another shape, without rows, with NaN or infinity, or of numbers too large for a variance;
            nothing changes.

        Examples
        --------
        >>> net.layers[0].adapt(x_train)
        """
        array = real_array("x", x)
        if array.ndim != 2 or not array.size:
            raise ValueError(f"x: expected rows (n, features), got shape {array.shape}")
        if self.built and array.shape[1:] != self.buffers["mean"].shape:
            raise ValueError(f"x: expected {len(self.buffers['mean'])} features, got {array.shape[1]}")
        mean, variance = _statistics(array)
        if self.built:
            found = {"mean": mean, "variance": variance}
            for name, values in found.items():
                check_range(values, self.buffers[name].dtype, name)
            for name, values in found.items():
                self.buffers[name][...] = values
        vars(self).update(mean=tuple(mean.tolist()), variance=tuple(variance.tolist()))

    def build(self, input_dim: int) -> int:
        for values in (self.mean, self.variance):
            if isinstance(values, tuple) and len(values) != input_dim:
                raise ValueError(f"Normalization: it knows {len(values)} columns, but {input_dim} come in")
        self.add_buffer("mean", (input_dim,), math.nan if self.mean is None else self.mean)
        self.add_buffer("variance", (input_dim,), math.nan if self.variance is None else self.variance)
        return input_dim

    def check_ready(self) -> None:
        if any(np.isnan(array).any() for array in self.buffers.values()):
            raise RuntimeError(
                f"{self!r} does not know its columns yet: call its adapt(x) with the columns that it takes, or make it "
                "with mean=... and variance=..."
            )

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("standardize", x, mean=to.key("mean"), variance=to.key("variance"), epsilon=1e-7)

    def summary(self) -> str:
        return "Normalization, not adapted" if self.mean is None else "Normalization"


def _numbers(name: str, values: Any, least: float) -> float | tuple[float, ...]:
    if isinstance(values, Real):
        return check_number(name, values, least)
    if isinstance(values, (str, dict)) or not isinstance(values, Iterable):
        raise TypeError(f"{name}: expected a number, or one for each column, got {values!r}")
    return tuple(check_number(name, value, least) for value in values)


def _statistics(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and variance of the columns, by blocks of rows; in two passes, so that no digits cancel."""
    step = max(BLOCK // x.shape[1], 1)
    blocks = [slice(at, at + step) for at in range(0, len(x), step)]
    with np.errstate(all="ignore"):
        mean = sum(x[block].sum(axis=0, dtype=np.float64) for block in blocks) / len(x)
        variance = sum(((x[block].astype(np.float64) - mean) ** 2).sum(axis=0) for block in blocks) / len(x)
    if not (np.isfinite(mean).all() and np.isfinite(variance).all()):
        column = int(np.argmin(np.isfinite(mean) & np.isfinite(variance)))
        raise ValueError(f"x: column {column} has NaN or infinity, or numbers too large for a variance; clean the data")
    return np.asarray(mean), np.asarray(variance)
