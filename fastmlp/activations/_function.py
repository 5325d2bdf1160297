"""``Recorded``: an activation traced from a function, kept as data, and read from a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .._tracing.trainable import Learned, check_number_or_learned, initial
from ..registry import activations as registry
from ._base import Activation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._tracing.graph import Graph

__all__ = ["Recorded"]

Values = Mapping[str, float | Learned]


@registry.builtin("recorded")
class Recorded(Activation):
    """An elementwise activation as data; `fastmlp.activations.recorded` makes one from a function.

    Parameters
    ----------
    program : list, optional
        Operations ``[name, operands...]``, operands being places of earlier ones; the last is the value. Inputs are
        ``z`` and the names in `parameters`. Nothing of it is run before all of it is checked. By default ``z`` itself.
    parameters : mapping of str to float, or learned

    Raises
    ------
    ValueError
        If the program is none, or reads an input that it isn't given.
    """

    def __init__(self, program: list[Any] | None = None, parameters: Values | None = None) -> None:
        from .._tracing.graph import Graph
        from .._tracing.reading import read

        self.program: list[Any] = [["input", "'z'"]] if program is None else program
        given = parameters or {}
        self.parameters = {str(name): check_number_or_learned(name, value) for name, value in given.items()}
        self._graph: Graph = Graph()
        places = read(self._graph, self.program)
        if not places:
            raise ValueError("a program: expected at least one operation")
        self._last = places[-1]
        unknown = self._graph.inputs([self._last]) - {"z", *self.parameters}
        if unknown:
            raise ValueError(f"a program: reads {sorted(unknown)}, which are neither z nor among its parameters")

    @classmethod
    def of(cls, function: Callable[..., Any], parameters: Values) -> Recorded:
        """Trace a function of `z`."""
        from .._tracing.elementwise import trace_function
        from .._tracing.symbols import Untraceable

        values = _values(function, parameters)
        try:
            graph, value = trace_function(function, values)
        except Untraceable as reason:
            raise TypeError(
                f"{function!r} can't be traced: {reason}. Write a class with forward and derivative instead; it runs "
                "in NumPy"
            ) from None
        return cls(graph.to_list(value), values)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        from .._tracing.symbols import Symbol

        if isinstance(z, Symbol):
            return self._replay(z)
        values = {name: z.dtype.type(initial(value)) for name, value in self.parameters.items()}
        result = self._graph.evaluate([self._last], values | {"z": z}, z.dtype)[0]
        return np.array(np.broadcast_to(result, z.shape))

    def trainable_parameters(self) -> dict[str, Learned]:
        return {name: value for name, value in self.parameters.items() if isinstance(value, Learned)}

    def with_parameters(self, values: Mapping[str, Any]) -> Activation:
        return super().with_parameters({"parameters": {**self.parameters, **values}} if values else {})

    def _replay(self, z: Any) -> Any:
        """Do the same operations on a symbol of another trace, with the parameters as it has them."""
        from .._tracing.symbols import node_of

        graph: Graph = z.graph
        places: dict[int, int] = {}
        for at in self._graph.reached([self._last]):
            op, args, value = self._graph.nodes[at]
            if op == "const":
                places[at] = graph.constant(float(value))  # type: ignore[arg-type]
            elif value == "z":
                places[at] = z.node
            elif op == "input":
                places[at] = node_of(graph, self.parameters[str(value)])
            else:
                places[at] = graph.apply(op, *(places[arg] for arg in args))
        return type(z)(graph, places[self._last], z.dtype)

    def __repr__(self) -> str:
        parameters = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"Recorded(<{len(self.program)} operations>{parameters})"


def _values(function: Callable[..., Any], parameters: Values) -> dict[str, float | Learned]:
    """Return the values of a function's parameters but the first."""
    others: list[inspect.Parameter] = []
    if not isinstance(function, np.ufunc):  # np.tanh takes z; out, where and so on say how to compute it
        _, *others = inspect.signature(function).parameters.values()
    values = {}
    for parameter in others:
        value = parameters.get(parameter.name, parameter.default)
        if value is parameter.empty:
            raise TypeError(f"{function!r}: parameter {parameter.name!r} has no value; give it: {parameter.name}=...")
        if parameter.name == "z":
            raise TypeError(f"{function!r}: 'z' is what a program calls the argument itself; rename that parameter")
        values[parameter.name] = check_number_or_learned(parameter.name, value)
    unknown = sorted(set(parameters) - set(values))
    if unknown:
        raise TypeError(f"{function!r} takes no {', '.join(unknown)}; it takes z and {sorted(values)}")
    return values
