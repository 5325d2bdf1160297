"""``Residual``: layers whose outputs are added to their inputs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from ..registry import layers as registry
from ._base import Compiler, Layer
from ._checks import check_layers

__all__ = ["Residual"]


@registry.builtin("residual")
class Residual(Layer):
    """``y = f(x) + x``, f being layers one after the other, which give as many columns as they take.

    Gradients reach x both ways. The addition is compiled; each layer runs as it would alone.

    Parameters
    ----------
    layers : sequence of Layer (or names, or configurations)
        f. They belong to this layer: their parameters are ``"1.0.kernel"`` and so on in a network where it is layer 1.
    name, trainable : as `Layer`

    Raises
    ------
    TypeError, ValueError
        If `layers` is no list of layers, or one of them belongs to another network; when the network is built, if f
        gives another number of columns than it takes.

    Notes
    -----
    He and others, Deep residual learning for image recognition, CVPR 2016.

    Examples
    --------
    >>> import fastmlp as fm
    >>> block = fm.layers.Residual([fm.layers.Dense(8, "relu"), fm.layers.Dense(4, kernel_initializer="zeros")])
    >>> net = fm.Sequential([block], input_dim=4, seed=0)
    >>> net.predict([[1.0, 2.0, 3.0, 4.0]])
    array([[1., 2., 3., 4.]], dtype=float32)
    >>> list(net.parameters)
    ['0.0.kernel', '0.0.bias', '0.1.kernel', '0.1.bias']
    """

    output_is_known = True
    fixed_once_built = Layer.fixed_once_built | {"layers"}
    conformance: ClassVar[dict[str, Any]] = {"config": {"layers": ({"name": "activation", "activation": "tanh"},)}}

    def __init__(self, layers: Iterable[Any], *, name: str | None = None, trainable: bool = True) -> None:
        super().__init__(name=name, trainable=trainable)
        if isinstance(layers, (str, dict, Layer)) or not isinstance(layers, Iterable):
            raise TypeError(f"layers: expected a list of layers, got {layers!r}")
        self.layers: tuple[Layer, ...] = tuple(registry.get(layer) for layer in layers)
        check_layers("layers of Residual", self.layers)
        if not self.layers:
            raise ValueError("layers of Residual: expected at least one layer, got none")
        for layer in self.layers:
            layer.owned = True

    def branches(self) -> Sequence[Sequence[Layer]]:
        return (self.layers,)

    def build_join(self, input_dim: int, units: Sequence[int]) -> int:
        if units[0] != input_dim:
            raise ValueError(
                f"Residual: its layers give {units[0]} columns, but take {input_dim}, to which theirs are added; let "
                f"the last of them have {input_dim} units"
            )
        return input_dim

    def join(self, to: Compiler, x: Any, outputs: Sequence[Any]) -> Any:
        return to.op("add", outputs[0], x)

    def summary(self) -> str:
        return f"Residual: the outputs of its {len(self.layers)} layers, plus its inputs"
