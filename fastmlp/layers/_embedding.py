"""``Embedding``: rows of a table that is learned, named by whole numbers in the data."""

from __future__ import annotations

from typing import Any, ClassVar

from ..checks import check_integer
from ..constraints import constraint_of
from ..registry import initializers as initializer_registry
from ..registry import layers as registry
from ..regularizers import regularizer_of
from ._base import Compiler, Layer


@registry.builtin("embedding")
class Embedding(Layer):
    """``y = [E_k for k in row]``: for each column of ids k the row k of a table E, side by side.

    k columns of ids become ``k * output_dim`` columns; all of them share the table (for a table each, see `Columns`).
    It reads columns of the data: as first layer, or at the beginning of a branch of `Columns`, `Parallel` or
    `Residual`.

    Parameters
    ----------
    input_dim : int
        Number of ids, which are the whole numbers from 0 to ``input_dim - 1``.
    output_dim : int
        Length of a row of the table.
    embeddings_initializer : name or Initializer
    embeddings_regularizer : name, Regularizer or None
        A penalty, which is a part of the loss.
    embeddings_constraint : name, Constraint or None
        What the table is made to be after each update.
    name, trainable : as `Layer`

    Raises
    ------
    TypeError, ValueError
        For sizes that are no integers of at least 1; when a network is built, if another layer stands between it and
        the data. Data with other numbers than ids in its columns (fractions, NaN, a number that is no id, or one that
        the network's dtype does not hold exactly: beyond 2^24 in float32) is a ValueError in any call, before anything
        changes.

    Notes
    -----
    Parameter: ``embeddings`` ``(input_dim, output_dim)``. Its gradient is ``dE_k = sum of dy where k is named``, summed
    up in the order of the rows of the batch, and dense: updates go over the whole table, which takes its time where it
    has millions of rows. Ids get no gradient: their ``d_input`` is 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> net = fm.Sequential([fm.layers.Embedding(10, 3), fm.layers.Dense(1)], input_dim=2, seed=0)
    >>> net.predict([[4, 9], [0, 0]]).shape
    (2, 1)
    >>> net.parameters["0.embeddings"].shape
    (10, 3)
    """

    output_is_known = True
    fixed_once_built = Layer.fixed_once_built | {
        *("input_dim", "output_dim", "embeddings_initializer", "embeddings_regularizer", "embeddings_constraint")
    }
    conformance: ClassVar[dict[str, Any]] = {
        "config": {"input_dim": 7, "output_dim": 2},
        "domain": (0, 7),
        "whole": True,
    }

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        *,
        embeddings_initializer: Any = "random_uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        name: str | None = None,
        trainable: bool = True,
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        self.input_dim = check_integer("input_dim", input_dim, 1)
        self.output_dim = check_integer("output_dim", output_dim, 1)
        self.embeddings_initializer = initializer_registry.get(embeddings_initializer)
        self.embeddings_regularizer = regularizer_of(embeddings_regularizer)
        self.embeddings_constraint = constraint_of(embeddings_constraint)

    @property
    def ids(self) -> int:
        """How many ids there are."""
        return self.input_dim

    def build(self, input_dim: int) -> int:
        self.add_parameter("embeddings", (self.input_dim, self.output_dim), self.embeddings_initializer)
        return input_dim * self.output_dim

    def lower(self, to: Compiler, x: Any) -> Any:
        return to.op("embedding", x, embeddings=to.key("embeddings"), ids=self.input_dim, units=self.output_dim)
