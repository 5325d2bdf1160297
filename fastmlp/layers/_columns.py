"""``Columns``: layers for some columns each, their outputs side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ..checks import check_choice, check_integer
from ..registry import layers as registry
from ._base import Compiler, Layer
from ._checks import take_layers

__all__ = ["Columns"]

REMAINDERS = ("error", "passthrough", "drop")


@registry.builtin("columns")
class Columns(Layer):
    """``y = [f_1(x[:, c_1]), f_2(x[:, c_2]), ...]``: layers for some columns each, their outputs side by side.

    Categories go to embeddings beside numbers that are normalized. A column may be named more than once.

    Parameters
    ----------
    columns : mapping, or sequence of pairs
        Of columns to the layers that take them. Columns are a number from 0 on, several of them, or a range; layers are
        a layer or a list of layers (or names, or configurations), one after the other. No layers: the columns as they
        are. Outputs come in this order.
    remainder : {"error", "passthrough", "drop"}
        What becomes of columns that are not named: the network can't be built, they come behind the others as they
        are, or nobody reads them.
    name, trainable : as `Layer`

    Raises
    ------
    TypeError, ValueError
        For what are no columns or no layers, or layers of another network; when the network is built, for columns that
        are not there, and columns that are not named, unless `remainder` says what to do.

    Notes
    -----
    The layers of the entry i are ``"0.i.0"`` and so on in a network where this is layer 0. The gradient of a column
    that is named more than once is the sum over its places.

    Examples
    --------
    >>> import fastmlp as fm
    >>> numbers = fm.layers.Normalization(mean=[3.0, 5.0], variance=[1.0, 4.0])
    >>> first = fm.layers.Columns({0: fm.layers.Embedding(10, 4), range(1, 3): numbers})
    >>> net = fm.Sequential([first, fm.layers.Dense(1)], input_dim=3, seed=0)
    >>> list(net.parameters)
    ['0.0.0.embeddings', '1.kernel', '1.bias']
    >>> first.units
    6
    """

    output_is_known = True
    fixed_once_built = Layer.fixed_once_built | {"columns", "remainder"}
    conformance: ClassVar[dict[str, Any]] = {
        "config": {
            "columns": (((3, 0, 3), ({"name": "activation", "activation": "tanh"},)), ((1,), ())),
            "remainder": "passthrough",
        }
    }

    def __init__(
        self, columns: Any, *, remainder: str = "error", name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.remainder = check_choice("remainder", remainder, REMAINDERS)
        pairs = list(columns.items()) if isinstance(columns, Mapping) else columns
        if isinstance(pairs, (str, Layer)) or not isinstance(pairs, Iterable):
            raise TypeError(f"columns: expected a mapping of columns to layers, or pairs of them, got {columns!r}")
        pairs = list(pairs)
        if not pairs or any(isinstance(pair, (str, Mapping)) or not _is_pair(pair) for pair in pairs):
            raise TypeError(f"columns: expected at least one pair of columns and layers, got {columns!r}")
        numbers = [_numbers(pair[0]) for pair in pairs]
        chains = take_layers("layers of Columns", [pair[1] for pair in pairs])
        self.columns: tuple[tuple[tuple[int, ...], tuple[Layer, ...]], ...] = tuple(zip(numbers, chains, strict=True))

    def _check_setting(self, name: str, value: Any) -> dict[str, Any]:
        if name == "remainder":  # the layers can't be given to a second object
            return {name: check_choice(name, value, REMAINDERS)}
        return super()._check_setting(name, value)

    def branches(self) -> Sequence[Sequence[Layer]]:
        return [layers for _, layers in self.columns]

    def branch_columns(self, input_dim: int) -> Sequence[Sequence[int]]:
        named = [numbers for numbers, _ in self.columns]
        most = max(max(numbers) for numbers in named)
        if most >= input_dim:
            raise ValueError(f"Columns: column {most} is named, but there are {input_dim}, numbered from 0")
        rest = self._rest(input_dim)
        if rest and self.remainder == "error":
            raise ValueError(
                f"Columns: nobody takes the columns {', '.join(map(str, rest))}: name them, or choose "
                "remainder='passthrough' or remainder='drop'"
            )
        return named

    def _rest(self, input_dim: int) -> list[int]:
        named = {number for numbers, _ in self.columns for number in numbers}
        return [number for number in range(input_dim) if number not in named]

    def build_join(self, input_dim: int, units: Sequence[int]) -> int:
        return sum(units) + (len(self._rest(input_dim)) if self.remainder == "passthrough" else 0)

    def join(self, to: Compiler, x: Any, outputs: Sequence[Any]) -> Any:
        rest = self._rest(x.units) if self.remainder == "passthrough" else []
        return to.op("concatenate", *outputs, *([to.op("select", x, columns=rest)] if rest else []))

    def summary(self) -> str:
        rest = "" if self.remainder == "error" else f", remainder={self.remainder!r}"
        return f"Columns: the outputs of {len(self.columns)} branches, side by side{rest}"


def _is_pair(pair: Any) -> bool:
    return isinstance(pair, Sequence) and len(pair) == 2


def _numbers(columns: Any) -> tuple[int, ...]:
    """Return the numbers of columns, in their order."""
    if isinstance(columns, slice):
        if columns.stop is None:
            raise ValueError(f"columns: expected a slice with an end, got {columns!r}")
        columns = range(columns.start or 0, columns.stop, columns.step or 1)
    several = (
        columns if isinstance(columns, Iterable) and not isinstance(columns, (str, bytes, Mapping)) else (columns,)
    )
    numbers = tuple(check_integer("columns", number, 0) for number in several)
    if not numbers:
        raise ValueError("columns: expected at least one number, got none")
    return numbers
