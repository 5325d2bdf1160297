"""Traces an elementwise function and its derivative: ``a = g(z)``, and ``dz`` from ``z``, ``a`` and ``da``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .assembly import Assembled, assemble
from .cache import checked
from .elementwise_comparison import compare
from .graph import Graph
from .symbols import Symbol, Untraceable, node_of
from .trainable import Untrainable, no_initial_values
from .vm import LIMITS, Extension

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Elementwise", "Functions", "Made", "Traced", "derivative_in_numpy", "trace", "trace_function", "traced"]


class Functions(NamedTuple):
    """An elementwise function in NumPy.

    Attributes
    ----------
    forward : callable
        ``forward(z) -> a``.
    backward : callable
        ``backward(z, a, da) -> dz``, also where it is made of `derivative`.
    derivative : callable or None
        ``derivative(z, a)``, where the code has one; else `forward` is differentiated.
    own_backward : bool
        Whether the code has a `backward` of its own, which then is traced.
    owner : object
        What messages show.
    """

    forward: Callable[..., Any]
    backward: Callable[..., Any]
    derivative: Callable[..., Any] | None = None
    own_backward: bool = False
    owner: Any = None

    @property
    def differentiated(self) -> bool:
        """Whether dz is what follows from `forward`, not what the code does."""
        return self.derivative is None and not self.own_backward


# Makes the functions with values (numbers, or symbols) in place of trainable parameters, by their names.
Made = Callable[[Mapping[str, Any]], Functions]


class Elementwise(NamedTuple):
    """A function as a graph: the nodes of ``a`` and of ``dz``, with inputs ``z``, ``a`` and ``da``.

    Each trainable parameter is an input too, and `slopes` are the nodes of da times the derivative of a by each.
    `differentiated` says that dz is what follows from `forward`, not what the code does.
    """

    graph: Graph
    a: int
    dz: int
    differentiated: bool
    parameters: tuple[str, ...]
    slopes: tuple[int, ...]

    def key(self) -> tuple[Any, ...]:
        """Return what equal traces share; NaN equals NaN here, and -0 differs from 0."""
        return (*map(str, self.graph.nodes), self.a, self.dz, self.parameters, self.slopes)

    def inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the values of trainable parameters by what the graph calls these."""
        return {_input(name): values[name] for name in self.parameters}

    def programs(self) -> tuple[Assembled, Assembled]:
        """Return the programs of the way forward and of the way back."""
        parameters = list(map(_input, self.parameters))
        forward = assemble(self.graph, [self.a], ["z", *parameters])
        given = {} if self.graph.nodes[self.a].op in ("const", "input") else {self.a: "a"}
        outputs, inputs = [self.dz, *self.slopes], ["z", "a", "da", *parameters]
        over = ["da"] * len(outputs) if parameters else []
        return forward, assemble(self.graph, outputs, inputs, given=given, in_place=over)


def _input(name: str) -> str:
    """Return what a graph calls a trainable parameter: unlike z, a and da, whatever its name."""
    return f"learned {name}"


# -- tracing ---------------------------------------------------------------------------------------------------------


def trace(make: Made, parameters: Mapping[str, float], dtype: np.dtype[Any]) -> Elementwise:
    """Call the functions with symbols, and differentiate where they have no derivative.

    Trainable parameters are symbols too, by which `forward` is always differentiated.

    Raises
    ------
    Untraceable
        With the reason, if the code does something else than elementwise operations.
    """
    graph = Graph()
    z, da = (Symbol(graph, graph.input(name), dtype, writable=False) for name in ("z", "da"))
    if len(parameters) >= LIMITS["outputs"]:
        raise Untraceable(f"it has {len(parameters)} learned parameters; a program takes {LIMITS['outputs'] - 1}")
    functions = make({name: Symbol(graph, graph.input(_input(name)), dtype, writable=False) for name in parameters})
    a = _call(graph, "forward", functions.forward, z)
    value = Symbol(graph, a, dtype, writable=False)
    if functions.own_backward:
        dz = _call(graph, "backward", functions.backward, z, value, da)
    else:
        if functions.derivative is not None:
            slope = _call(graph, "derivative", functions.derivative, z, value)
        else:
            slope = _built(lambda: graph.derivative(a, node_of(graph, z)))
        dz = _built(lambda: graph.apply("mul", node_of(graph, da), slope))
    slopes = tuple(_slope(graph, a, node_of(graph, da), name) for name in parameters)
    return Elementwise(graph, a, dz, functions.differentiated, tuple(parameters), slopes)


def _slope(graph: Graph, a: int, da: int, name: str) -> int:
    """Return the node of da times the derivative of a by a trainable parameter."""
    by = graph.input(_input(name))
    slope = _built(lambda: graph.derivative(a, by))
    if graph.number(slope) == 0:
        how = "has the derivative 0 by" if by in graph.reached([a]) else "doesn't use"
        raise Untraceable(f"forward {how} the learned parameter {name!r}, which could never change")
    return _built(lambda: graph.apply("mul", da, slope))


def _built(make: Callable[[], int]) -> int:
    """Return the node that `make` adds to a graph, which may be too large for it."""
    try:
        return make()
    except ValueError as error:
        raise Untraceable(str(error)) from None


def _call(graph: Graph, name: str, function: Callable[..., Any], *symbols: Symbol) -> int:
    """Return the node of what a function returns."""
    try:
        with np.errstate(all="ignore"), no_initial_values():
            result = function(*symbols)
        if not isinstance(result, Symbol):
            raise Untraceable(f"it returns {type(result).__name__}, not an array made of its argument")
        if result.dtype.kind != "f":
            raise Untraceable("it returns truth values")
        return node_of(graph, result)
    except Untraceable as reason:
        raise Untraceable(f"{name}: {reason}") from None
    except Untrainable:
        raise
    except Exception as error:  # of the code, which may well run in NumPy
        raise Untraceable(f"{name}: {type(error).__name__}: {error}") from error


def trace_function(function: Callable[..., Any], parameters: Mapping[str, Any]) -> tuple[Graph, int]:
    """Call a function of ``z`` and of named numbers once, all of them inputs of the graph; return it and the result."""
    graph, dtype = Graph(), np.dtype(np.float64)
    z = Symbol(graph, graph.input("z"), dtype, writable=False)
    others = {name: Symbol(graph, graph.input(name), dtype, writable=False) for name in parameters}
    with np.errstate(all="ignore"), no_initial_values():
        return graph, node_of(graph, function(z, **others))


# -- programs --------------------------------------------------------------------------------------------------------


class Traced(NamedTuple):
    """Programs that gave what NumPy gives.

    Attributes
    ----------
    extension : object
        Both programs in memory, as the kernels take them.
    reads_z : bool
        Whether the way back needs z, beside a.
    operations : int
        Passes over a block, forward and backward.
    """

    extension: Any
    reads_z: bool
    operations: int


def traced(owner: type, make: Made, parameters: Mapping[str, float], dtype: np.dtype[Any]) -> Traced:
    """Return the programs of functions, compared with NumPy.

    Parameters
    ----------
    owner : type
        The class whose code it is: equal graphs of one class are compared once.
    make : callable
        Makes the functions with values in place of trainable parameters.
    parameters : mapping of str to float
        Trainable parameters with the values that they begin with.
    dtype : {float32, float64}

    Raises
    ------
    Untraceable
        With the reason.
    """
    found = trace(make, parameters, dtype)
    if trace(make, parameters, dtype).key() != found.key():
        raise Untraceable("two calls do different things")

    def load() -> Traced:
        forward, backward = found.programs()
        programs = forward.load(dtype), backward.load(dtype)
        compare(make, parameters, found, programs, dtype)
        reads_z = any(0 in slots for _, _, *slots in backward.code)
        return Traced(Extension(*programs), reads_z, len(forward.code) + len(backward.code))

    return checked((owner, *found.key(), dtype), load)


def derivative_in_numpy(make: Made, values: Mapping[str, float], z: NDArray[Any]) -> NDArray[Any]:
    """Return the derivative of `forward` at `z`, in NumPy; `Untraceable` if it can't be differentiated."""
    found = trace(make, values, z.dtype)
    slope = found.graph.evaluate([found.dz], {**found.inputs(values), "z": z, "da": 1.0}, z.dtype)[0]
    return np.array(np.broadcast_to(slope, z.shape))
