"""``Parallel``: chains of layers on the same inputs, their outputs side by side or added."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from ..checks import check_choice
from ..registry import layers as registry
from ._base import Compiler, Layer
from ._checks import take_layers

__all__ = ["Parallel"]

MERGES = ("concatenate", "add")


@registry.builtin("parallel")
class Parallel(Layer):
    """``y = [f_1(x), f_2(x), ...]``, or ``y = f_1(x) + f_2(x) + ...``: chains of layers on the same inputs.

    Wide and deep: ``Parallel([[], [Dense(64, "relu"), Dense(32, "relu")]])`` gives the inputs beside what a deep chain
    makes of them, and ``Parallel([Dense(1), [Dense(64, "relu"), Dense(1)]], merge="add")`` adds a linear and a deep
    answer.

    Parameters
    ----------
    chains : sequence
        Each is a layer or a list of layers (or names, or configurations), one after the other; an empty list passes the
        inputs on.
    merge : {"concatenate", "add"}
        Whether outputs stand side by side, in the order of the chains, or are added, in that order.
    name, trainable : as `Layer`

    Raises
    ------
    TypeError, ValueError
        If `chains` is no list of layers and lists, has none, or has layers of another network; when the network is
        built, if outputs are to be added that are of different widths.

    Notes
    -----
    The layers of chain i are ``"0.i.0"`` and so on in a network where this is layer 0 (``"0.0"`` if it has a single
    chain). Gradients of the chains add up in x. Cheng and others, Wide & deep learning for recommender systems,
    arXiv:1606.07792.

    Examples
    --------
    >>> import fastmlp as fm
    >>> net = fm.Sequential([fm.layers.Parallel([[], fm.layers.Dense(3, "relu")])], input_dim=2, seed=0)
    >>> net.predict([[5.0, 7.0]])[:, :2]
    array([[5., 7.]], dtype=float32)
    >>> list(net.parameters)
    ['0.1.0.kernel', '0.1.0.bias']
    """

    output_is_known = True
    fixed_once_built = Layer.fixed_once_built | {"chains", "merge"}
    conformance: ClassVar[dict[str, Any]] = {
        "config": {"chains": ((), ({"name": "activation", "activation": "tanh"},), ({"name": "dense", "units": 2},))}
    }

    def __init__(
        self, chains: Iterable[Any], *, merge: str = "concatenate", name: str | None = None, trainable: bool = True
    ) -> None:
        super().__init__(name=name, trainable=trainable)
        if isinstance(chains, (str, Mapping, Layer)) or not isinstance(chains, Iterable):
            raise TypeError(f"chains: expected a list of layers, and of lists of layers, got {chains!r}")
        self.merge = check_choice("merge", merge, MERGES)
        self.chains = take_layers("layers of Parallel", list(chains))
        if not self.chains:
            raise ValueError("chains of Parallel: expected at least one, got none")

    def _check_setting(self, name: str, value: Any) -> dict[str, Any]:
        if name == "merge":  # the layers can't be given to a second object
            return {name: check_choice(name, value, MERGES)}
        return super()._check_setting(name, value)

    def branches(self) -> Sequence[Sequence[Layer]]:
        return self.chains

    def build_join(self, input_dim: int, units: Sequence[int]) -> int:
        if self.merge == "concatenate":
            return sum(units)
        if len(set(units)) > 1:
            raise ValueError(
                f"Parallel: its branches give {', '.join(map(str, units))} columns, which can't be added; give their "
                "last layers as many units, or choose merge='concatenate'"
            )
        return units[0]

    def join(self, to: Compiler, x: Any, outputs: Sequence[Any]) -> Any:
        if self.merge == "concatenate":
            return to.op("concatenate", *outputs)
        total = outputs[0]
        for output in outputs[1:]:
            total = to.op("add", total, output)
        return total

    def summary(self) -> str:
        joined = "side by side" if self.merge == "concatenate" else "added"
        return f"Parallel: the outputs of {len(self.chains)} branches, {joined}"
