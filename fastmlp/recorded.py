"""``Recorded``: an activation that is a program, made from a function or read from a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from .activations import Activation
from .learnable import Learned, check_number_or_learned, initial, no_initial_values
from .program import Graph, read
from .recording import Symbol, Unrecordable, node_of
from .registry import activations as registry

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Recorded"]

Values = Mapping[str, float | Learned]


@registry.builtin("recorded")
class Recorded(Activation):
    """An elementwise activation as data; `fastmlp.activations.recorded` makes one from a function.

    Parameters
    ----------
    program : list, optional
        Operations as `fastmlp.program.Graph.to_list` gives them; the last is the value. Inputs are ``z`` and the names
        in `parameters`. Nothing of it is run before all of it is checked. By default ``z`` itself.
    parameters : mapping of str to float, or learned

    Raises
    ------
    ValueError
        If the program is none, or reads an input that it isn't given.
    """

    def __init__(self, program: list[Any] | None = None, parameters: Values | None = None) -> None:
        self.program: list[Any] = [["input", "'z'"]] if program is None else program
        given = parameters or {}
        self.parameters = {str(name): check_number_or_learned(name, value) for name, value in given.items()}
        self._graph = Graph()
        places = read(self._graph, self.program)
        if not places:
            raise ValueError("a program: expected at least one operation")
        self._last = places[-1]
        unknown = self._graph.inputs([self._last]) - {"z", *self.parameters}
        if unknown:
            raise ValueError(f"a program: reads {sorted(unknown)}, which are neither z nor among its parameters")

    @classmethod
    def of(cls, function: Callable[..., Any], parameters: Values) -> Recorded:
        """Record a function of `z`."""
        values = _values(function, parameters)
        graph = Graph()
        dtype = np.dtype(np.float64)
        z = Symbol(graph, graph.input("z"), dtype, writable=False)
        others = {name: Symbol(graph, graph.input(name), dtype, writable=False) for name in values}
        try:
            with np.errstate(all="ignore"), no_initial_values():
                value = node_of(graph, function(z, **others))
        except Unrecordable as reason:
            raise TypeError(
                f"{function!r} can't be recorded: {reason}. Write a class with forward and derivative instead; it runs "
                "in NumPy"
            ) from None
        return cls(graph.to_list(value), values)

    def forward(self, z: NDArray[Any]) -> NDArray[Any]:
        if isinstance(z, Symbol):
            return self._replay(z)
        values = {name: z.dtype.type(initial(value)) for name, value in self.parameters.items()}
        result = self._graph.evaluate([self._last], values | {"z": z}, z.dtype)[0]
        return np.array(np.broadcast_to(result, z.shape))

    def _learned(self) -> dict[str, Learned]:
        return {name: value for name, value in self.parameters.items() if isinstance(value, Learned)}

    def _with(self, values: Mapping[str, Any]) -> Activation:
        return super()._with({"parameters": {**self.parameters, **values}} if values else {})

    def _replay(self, z: Any) -> Any:
        """The same operations on a symbol of another recording, with the parameters as it has them."""
        graph: Graph = z._graph
        places: dict[int, int] = {}
        for at in self._graph.reached([self._last]):
            op, args, value = self._graph.nodes[at]
            if op == "const":
                places[at] = graph.constant(float(value))  # type: ignore[arg-type]
            elif value == "z":
                places[at] = z._node
            elif op == "input":
                places[at] = node_of(graph, self.parameters[str(value)])
            else:
                places[at] = graph.apply(op, *(places[arg] for arg in args))
        return Symbol(graph, places[self._last], z.dtype)

    def __repr__(self) -> str:
        parameters = "".join(f", {name}={value!r}" for name, value in self.parameters.items())
        return f"Recorded(<{len(self.program)} operations>{parameters})"


def _values(function: Callable[..., Any], parameters: Values) -> dict[str, float | Learned]:
    """Values of a function's parameters but the first."""
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
