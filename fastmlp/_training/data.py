"""``Dataset``: the arrays of a call, checked, and in a form that the kernels read."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import cast, check_number, check_range, in_place, real_array
from ..errors import NonFiniteError
from .names import Columns, check_columns, columns_of, known_columns

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._compiler.compiled import Compiled
    from .._compiler.network import Network
    from ..losses import Loss

__all__ = [
    "Dataset",
    "Given",
    "arguments",
    "as_rows",
    "check_meaning",
    "check_targets",
    "check_weights",
    "checked",
    "checked_for",
    "converted",
    "prepare",
    "readable_rows",
    "remember",
    "rows_of",
]

LABEL = np.dtype(np.int64)
FEW = 8192  # numbers, of which the sum of squares is found faster than a look at each, without threads of BLAS
CHECKED_BYTES = 1 << 20  # of rows that are looked at together, which bounds the memory that it takes


class Dataset(NamedTuple):
    """Data of a call: inputs ``(n, inputs)``, targets ``(n, units)`` or labels ``(n,)``, weights ``(n,)``."""

    x: NDArray[Any]
    y: NDArray[Any] | None = None
    weight: NDArray[Any] | None = None

    def check_finite(self, what: str) -> None:
        """Refuse NaN and infinity, as a step does; `what` is what the error calls the data."""
        for name, array in (("x", self.x), ("y", self.y)):
            if array is None or array.dtype.kind != "f":
                continue
            if array.size <= FEW and math.isfinite(np.vdot(array, array)):  # all squares are; where it pays
                continue
            rows = max(CHECKED_BYTES // (array.itemsize * array.shape[1]), 1)
            for at in range(0, len(array), rows):
                finite = np.isfinite(array[at : at + rows])
                if not np.logical_and.reduce(finite, axis=None):
                    row, column = (int(place) for place in np.argwhere(~finite)[0])
                    raise NonFiniteError(
                        f"NaN or infinity in {name}, at row {at + row} and column {column} of {what}: clean the data"
                    )

    def copy_bytes(self, dtype: np.dtype[Any]) -> int:
        """Return the bytes that `readable` copies: 0 if the kernels can read inputs and targets where they are."""
        numbers = 0 if in_place(self.x, dtype) else self.x.size
        if self.y is not None and self.y.ndim == 2 and not in_place(self.y, dtype):
            numbers += self.y.size
        return numbers * dtype.itemsize

    def row_bytes(self, dtype: np.dtype[Any]) -> int:
        """Return the bytes of one row for the kernels."""
        targets = 0 if self.y is None or self.y.ndim == 1 else self.y.shape[1]
        return (self.x.shape[1] + targets) * dtype.itemsize

    def readable(self, dtype: np.dtype[Any]) -> Dataset:
        """Return data that the kernels can read: a copy of what they can't read where it is."""
        x = self.x if in_place(self.x, dtype) else cast(self.x, dtype)
        y = self.y
        if y is not None and y.ndim == 2 and not in_place(y, dtype):
            y = cast(y, dtype, "y")
        return Dataset(x, y, self.weight)

    def of_now(self) -> Dataset:
        """Return the same with labels and weights of our own: what is written into the caller's is not seen."""
        y, weight = self.y, self.weight
        if y is not None and y.ndim == 1:
            y = y.copy()
        return Dataset(self.x, y, None if weight is None else weight.copy())

    def take(self, rows: NDArray[np.int64] | slice, dtype: np.dtype[Any]) -> Dataset:
        """Return some rows, for the kernels."""
        y = None if self.y is None else self.y[rows]
        weight = None if self.weight is None else self.weight[rows]
        return Dataset(self.x[rows], y, weight).readable(dtype)


def as_rows(x: object, *, empty: bool = False, name: str = "x") -> NDArray[Any]:
    """Return `x` as an array ``(n, features)``, of whatever dtype and layout it has."""
    array = real_array(name, x)
    if array.ndim != 2:
        hint = "; one sample is x[None, :], one feature x[:, None]" if array.ndim == 1 else ""
        raise ValueError(f"{name}: expected 2 dimensions (samples, features), got shape {array.shape}{hint}")
    if array.shape[1] == 0:
        raise ValueError(f"{name}: expected at least one feature, got shape {array.shape}")
    if len(array) == 0 and not empty:
        raise ValueError(f"{name}: no samples, got shape {array.shape}")
    return array


def check_features(rows: NDArray[Any], network: Network, name: str = "x") -> None:
    """Refuse rows of another number of features than a network takes."""
    if rows.shape[1] != network.inputs:
        raise ValueError(f"{name}: expected {network.inputs} features, got {rows.shape[1]} (shape {rows.shape})")


def check_ids(rows: NDArray[Any], network: Network, dtype: np.dtype[Any]) -> None:
    """Refuse other numbers than ids in columns of ids, and ids that `dtype` does not hold exactly; ValueError."""
    if not network.ids:
        return
    exact = 2 ** (np.finfo(dtype).nmant + 1)
    for column, ids in network.ids.items() if len(rows) else ():
        numbers = rows[:, column]
        low, high = numbers.min(), numbers.max()
        if (
            low >= 0
            and high < min(ids, exact + 1)
            and (numbers.dtype.kind != "f" or (numbers == np.floor(numbers)).all())
        ):
            continue
        if low >= 0 and exact < high < ids:
            raise ValueError(
                f"x: column {column} holds ids, and {dtype} none beyond {exact} exactly, got {high}; use float64"
            )
        got = f"{low} to {high}" if low < 0 or high >= ids else "fractions or NaN"
        raise ValueError(f"x: column {column} holds ids: expected whole numbers from 0 to {ids - 1}, got {got}")


def check_targets(array: NDArray[Any], n: int, units: int, loss: Loss, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return targets as the loss takes them: labels ``(n,)`` in int64, or rows that `dtype` holds."""
    if array.shape[:1] != (n,):
        raise ValueError(f"y: expected {n} samples, as x has, got shape {array.shape}")
    if loss.labels:
        return _labels(array, units, loss)
    targets = loss.target_units(units)
    if array.ndim == 1 and targets == 1:
        array = array[:, None]
    if array.shape != (n, targets):
        fewer = "" if targets == units else f", which {loss!r} takes beside {units} outputs"
        raise ValueError(f"y: expected shape ({n}, {targets}){fewer}, got {array.shape}{_advice(array, targets)}")
    check_meaning(array, units, loss)
    check_range(array, dtype, "y")
    return array


def check_meaning(y: NDArray[Any], units: int, loss: Loss) -> None:
    """Refuse targets that the loss can't take: labels that are no class, what is no probability or out of range."""
    bounds = None if loss.labels else loss.target_range
    if not y.size or not (loss.labels or bounds):
        return
    if (
        loss.labels and y.dtype == LABEL and np.maximum.reduce(y.view(np.uint64)) < units
    ):  # negative ones are large there
        return
    low, high = np.minimum.reduce(y, axis=None), np.maximum.reduce(y, axis=None)  # methods take a microsecond longer
    if loss.labels:
        if low < 0 or high >= units:
            raise ValueError(f"y: expected labels from 0 to {units - 1}, got {low} to {high}")
    elif bounds is not None and (low < bounds[0] or high > bounds[1]):
        raise ValueError(f"y: expected {_in_words(*bounds)}, got values from {low} to {high}")


def _in_words(low: float, high: float) -> str:
    """Return how an error calls numbers of a range."""
    if (low, high) == (0, 1):
        return "probabilities in [0, 1]"
    if high == math.inf:
        return f"numbers of at least {low:g}" if not 0 < low < 1e-300 else "numbers above 0"
    return f"numbers in [{low:g}, {high:g}]"


def _advice(array: NDArray[Any], units: int) -> str:
    if array.ndim == 1 and units > 1:
        return "; for labels use the loss 'sparse_categorical_crossentropy'"
    return ""


def _labels(array: NDArray[Any], units: int, loss: Loss) -> NDArray[Any]:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise ValueError(
            f"y: expected labels of shape ({len(array)},), got {array.shape}; for one-hot rows use the loss "
            "'categorical_crossentropy'"
        )
    if array.dtype.kind == "f" and array.size and not (array == np.floor(array)).all():
        raise ValueError("y: expected whole numbers as labels, got fractions or NaN")
    check_meaning(array, units, loss)
    return cast(array, LABEL, "y")


def check_weights(
    sample_weight: object,
    class_weight: Mapping[int, float] | None,
    y: NDArray[Any],
    units: int,
    loss: Loss,
    dtype: np.dtype[Any],
    *,
    weightless: bool = False,
) -> NDArray[Any] | None:
    """Return weights ``(n,)``: those of the samples times those of their classes; None if there are none.

    Some sample must count, unless the data may be `weightless`.
    """
    weight, n = None, len(y)
    if sample_weight is not None:
        weight = real_array("sample_weight", sample_weight)
        if weight.shape != (n,):
            raise ValueError(f"sample_weight: expected shape ({n},), got {weight.shape}")
    if class_weight is not None:
        factors = _class_factors(class_weight, y, loss, units)
        weight = factors if weight is None else weight * factors
    if weight is None:
        return None
    if n and not (weight.min() >= 0 and weight.max() < np.inf):  # false for NaN too
        raise ValueError("sample_weight, class_weight: expected finite weights of at least 0")
    weight = cast(weight, dtype, "sample_weight")
    if n and not weightless and not weight.sum() > 0:
        raise ValueError(f"sample_weight, class_weight: the sum of weights is 0 in {dtype}, so that no sample counts")
    return weight


def _class_factors(class_weight: Mapping[int, float], y: NDArray[Any], loss: Loss, units: int) -> NDArray[Any]:
    if not isinstance(class_weight, Mapping):
        raise TypeError(
            f"class_weight: expected a mapping of classes to weights, got {class_weight!r}, "
            f"{type(class_weight).__name__}"
        )
    if loss.accuracy == "shape":
        raise ValueError(f"class_weight: targets of {type(loss).__name__} have no classes; give sample_weight")
    if loss.accuracy in ("binary", "signs") and units > 1:
        raise ValueError(
            f"class_weight: the {units} outputs of this network are yes-or-no answers, each by itself "
            f"({type(loss).__name__}), so that a row has no one class; give sample_weight, a weight for each row, or "
            "weigh the outputs in a loss of your own"
        )
    classes = max(units, 2)
    labels = y
    if y.ndim == 2:
        labels = y.argmax(axis=1) if y.shape[1] > 1 else (y[:, 0] > 0.5).astype(np.int64)
    factors = np.ones(len(y))
    for label, factor in class_weight.items():
        if isinstance(label, bool) or not hasattr(label, "__index__"):
            raise TypeError(f"class_weight: expected integers as classes, got {label!r}")
        if not 0 <= label < classes:
            raise ValueError(f"class_weight: expected classes 0 to {classes - 1}, got {label}")
        factors[labels == label] = check_number("class_weight", factor, 0.0)
    return factors


def readable_rows(rows: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return rows that the kernels can read: these, or a copy."""
    return rows if in_place(rows, dtype) else cast(rows, dtype)


class Given(NamedTuple):
    """The arguments of a call as arrays: reading them runs no code of users."""

    x: NDArray[Any]
    y: NDArray[Any]
    sample_weight: NDArray[Any] | None
    class_weight: Mapping[int, float] | None
    columns: Columns | None
    weightless: bool


def converted(
    compiled: Compiled,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: Mapping[int, float] | None = None,
    *,
    weightless: bool = False,
) -> Given:
    """Return arguments as arrays, before the call uses the network: a conversion may run code that calls it, too.

    Weights may all be 0 where the data may be `weightless`.
    """
    return Given(
        as_rows(x),
        real_array("y", y),
        None if sample_weight is None else real_array("sample_weight", sample_weight),
        class_weight if class_weight is None or not isinstance(class_weight, Mapping) else dict(class_weight),
        columns_of(x, y),
        weightless,
    )


def checked(compiled: Compiled, given: Given, *, training: bool = False) -> Dataset:
    """Return the checked data of a call that has the network to itself, and builds it if need be.

    The inputs keep their dtype. In training, names of columns are remembered.
    """
    if not compiled.built:
        compiled.build_for(given.x.shape[1], lambda network: checked_for(compiled, network, given))
    data = checked_for(compiled, compiled.network, given)
    if training:
        remember(compiled, given)
    return data


def arguments(compiled: Compiled, x: Any, y: Any, sample_weight: Any = None) -> Given:
    """Return arguments as arrays; build a network that has waited for its first data, before the call claims it.

    So first calls from several threads wait for each other, where later ones would be refused.
    """
    given = converted(compiled, x, y, sample_weight)
    if not compiled.built:
        checked(compiled, given)
    return given


def prepare(
    compiled: Compiled, x: Any, y: Any, sample_weight: Any = None, *, training: bool = False, weightless: bool = False
) -> Dataset:
    """Return arguments of a call, converted and checked in one go: for a thread that has the network already."""
    given = converted(compiled, x, y, sample_weight, weightless=weightless)
    return checked(compiled, given, training=training)


def checked_for(compiled: Compiled, network: Network, given: Given, known: Columns | None = None) -> Dataset:
    """Return the data as `checked`, for a network that may not be built yet, and will know these names of columns."""
    loss, _ = compiled.objective()
    x, units, dtype = given.x, network.units, compiled.dtype
    if given.columns is not None:
        check_columns(given.columns, known or known_columns(compiled))
    check_features(x, network)
    check_range(x, dtype)
    check_ids(x, network, dtype)
    targets = check_targets(given.y, len(x), units, loss, dtype)
    if given.sample_weight is None and given.class_weight is None:
        return Dataset(x, targets)
    weight = check_weights(
        *(given.sample_weight, given.class_weight, targets, units, loss, dtype), weightless=given.weightless
    )
    return Dataset(x, targets, weight)


def remember(compiled: Compiled, given: Given) -> None:
    """Let a network know the names of the columns that it is trained with."""
    if given.columns is not None:
        compiled.feature_names, compiled.target_names = known_columns(compiled).learned(given.columns)


def rows_of(
    compiled: Compiled,
    x: Any,
    *,
    empty: bool = False,
    check: Callable[[Network, NDArray[Any]], object] | None = None,
) -> NDArray[Any]:
    """Return `x` as rows of the network's features, checked; a network that has waited for its first data is built.

    `check` may refuse them too.
    """
    columns, rows = columns_of(x), as_rows(x, empty=empty)
    if not compiled.built:
        compiled.build_for(rows.shape[1], lambda network: _check_rows(compiled, network, rows, columns, check))
    _check_rows(compiled, compiled.network, rows, columns, check)
    return rows


def _check_rows(
    compiled: Compiled,
    network: Network,
    rows: NDArray[Any],
    columns: Columns | None,
    check: Callable[[Network, NDArray[Any]], object] | None,
) -> None:
    if columns is not None:
        check_columns(columns, known_columns(compiled))
    check_features(rows, network)
    check_ids(rows, network, compiled.dtype)
    if check is not None:
        check(network, rows)
