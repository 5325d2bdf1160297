"""Traces a sum of elementwise terms and its gradient, by symbols that know their shape and may be summed up."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .comparison import numpy_result
from .graph import Graph
from .symbols import Symbol, Untraceable, node_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    Pair = tuple[NDArray[Any], NDArray[Any]]

__all__ = ["ROWS", "Space", "Sum", "Terms", "TracedSum", "sum_in_numpy", "trace_sum"]

ROWS = "number of rows"  # stands in for it: a program must not depend on it


class Space(Graph):
    """A graph over arrays of one shape, whose elements are summed up along some axes.

    Parameters
    ----------
    shape : tuple
        Of the arrays; a `Terms` stands for what is not known.
    axes : tuple
        What ``axis`` of the sum may be.
    count : int
        Numbers that a sum takes in.
    """

    def __init__(self, shape: tuple[int | None, ...], axes: tuple[Any, ...], count: int) -> None:
        super().__init__()
        rows = Terms(self, self.input(ROWS), np.dtype(np.float64), writable=False)
        self.shape = tuple(rows if length is None else length for length in shape)
        self.axes, self.count = axes, count
        self.asked = False  # whether the code has looked at the shape


class Terms(Symbol):
    """Stands for an array whose elements may be summed up."""

    graph: Space

    @property
    def shape(self) -> tuple[Any, ...]:
        """Return that of the arrays."""
        self.graph.asked = True
        return self.graph.shape

    @property
    def size(self) -> Any:
        """Return how many numbers are in the array."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Return how many axes there are."""
        return len(self.graph.shape)

    def sum(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Sum:
        """Return the sum along the axes of the space."""
        axis = tuple(axis) if isinstance(axis, (list, tuple)) else axis
        if axis not in self.graph.axes or keepdims or out is not None:
            shown = f"axis={axis!r}" + (", keepdims=True" if keepdims else "") + (", out" if out is not None else "")
            raise Untraceable(f"a sum with {shown}; it can be traced with axis={self.graph.axes[0]!r}")
        if self.mask is not None or self.dtype.kind != "f":
            raise Untraceable("it sums up picked elements, or truth values")
        return Sum(self.graph, self.node, self.dtype)

    def mean(self, axis: Any = None, dtype: Any = None, out: Any = None, keepdims: bool = False) -> Sum:
        """Return the mean along the axes of the space."""
        self.graph.asked = True
        return self.sum(axis, dtype, out, keepdims).times(1 / self.graph.count)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        if func in (np.sum, np.mean) and isinstance(args[0], Terms):
            return getattr(args[0], func.__name__)(*args[1:], **kwargs)
        return super().__array_function__(func, types, args, kwargs)


class Sum(NDArrayOperatorsMixin):
    """``scale * sum(terms) + shift``; numbers may be added and multiplied, and sums added."""

    __array_priority__ = 1000

    def __init__(self, graph: Space, node: int, dtype: np.dtype[Any], scale: float = 1.0, shift: float = 0.0) -> None:
        self.graph, self.node, self.dtype, self.scale, self.shift = graph, node, dtype, scale, shift

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if method != "__call__" or kwargs or name not in LINEAR:
            raise Untraceable(f"np.{name} of a sum; a sum must come last, but for numbers added and multiplied")
        result = LINEAR[name](*(self._taken(x) for x in inputs))
        if result is None:
            raise Untraceable(f"np.{name} of sums; a sum must come last, but for numbers added and multiplied")
        return result

    def _taken(self, x: Any) -> Sum | float:
        """Return an operand: a sum, or a single number."""
        if isinstance(x, Sum):
            return x
        number = None if isinstance(x, Symbol) else self.graph.number(node_of(self.graph, x))
        if number is None:
            raise Untraceable("it combines a sum with the array it is made of")
        return number

    def plus(self, other: Sum | float, sign: float = 1.0) -> Sum:
        """Return this, and another times `sign`."""
        graph = self.graph
        if not isinstance(other, Sum):
            return Sum(graph, self.node, self.dtype, self.scale, self.shift + sign * other)
        parts = [graph.apply("mul", graph.constant(x.scale), x.node) for x in (self, other)]
        node = graph.apply("add" if sign > 0 else "sub", *parts)
        return Sum(graph, node, self.dtype, 1.0, self.shift + sign * other.shift)

    def times(self, factor: float) -> Sum:
        """Return this, times a number."""
        return Sum(self.graph, self.node, self.dtype, self.scale * factor, self.shift * factor)

    def astype(self, dtype: Any, **kwargs: Any) -> Sum:
        """Return the same."""
        return self

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"it asks for .{name} of a sum")

    def __float__(self) -> float:
        raise Untraceable("it asks for the number of a sum (float, or a function of math)")

    def __bool__(self) -> bool:
        raise Untraceable("it branches on a sum")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise Untraceable("it asks for the numbers of a sum")


def _add(x: Sum | float, y: Sum | float) -> Sum | None:
    return x.plus(y) if isinstance(x, Sum) else y.plus(x) if isinstance(y, Sum) else None


def _subtract(x: Sum | float, y: Sum | float) -> Sum | None:
    return x.plus(y, -1.0) if isinstance(x, Sum) else y.times(-1.0).plus(x) if isinstance(y, Sum) else None


def _multiply(x: Sum | float, y: Sum | float) -> Sum | None:
    x, y = (x, y) if isinstance(x, Sum) else (y, x)
    return x.times(y) if isinstance(x, Sum) and not isinstance(y, Sum) else None


def _divide(x: Sum | float, y: Sum | float) -> Sum | None:
    return x.times(1 / y) if isinstance(x, Sum) and not isinstance(y, Sum) and y else None


LINEAR: dict[str, Callable[..., Sum | None]] = {
    "add": _add,
    "subtract": _subtract,
    "multiply": _multiply,
    "divide": _divide,
    "negative": lambda x: x.times(-1.0),
    "positive": lambda x: x,
}


class TracedSum(NamedTuple):
    """Value and gradient of ``scale * sum(terms) + shift``: the nodes of a term and of its slope."""

    graph: Space
    term: int
    slope: int
    scale: float
    shift: float

    def key(self) -> tuple[Any, ...]:
        """Return what equal traces share; NaN equals NaN here, and -0 differs from 0."""
        return (*map(str, self.graph.nodes), self.term, self.slope, str(self.scale), str(self.shift))


def trace_sum(
    make_space: Callable[[], Space], function: Callable[..., Any], names: Sequence[str], dtype: Any
) -> TracedSum:
    """Call ``function(*arrays) -> (value, gradient)`` twice with symbols, and return what it does.

    Raises
    ------
    Untraceable
        With the reason, if it does something else than elementwise operations and a last sum, or not twice the same.
    """
    found, again = (_trace_once(make_space(), function, names, dtype) for _ in range(2))
    if again.key() != found.key():
        raise Untraceable("two calls do different things")
    return found


def _trace_once(graph: Space, function: Callable[..., Any], names: Sequence[str], dtype: Any) -> TracedSum:
    symbols = [Terms(graph, graph.input(name), dtype, writable=False) for name in names]
    try:
        with np.errstate(all="ignore"):
            answer = function(*symbols)
        if not isinstance(answer, (tuple, list)) or len(answer) != 2:
            raise Untraceable(f"it returns {type(answer).__name__}, not (value, gradient)")
        value, gradient = answer
        if not isinstance(value, Sum):
            raise Untraceable(f"the value is {type(value).__name__}, not a sum along axis={graph.axes[0]!r}")
        if not isinstance(gradient, Terms) or gradient.dtype.kind != "f" or gradient.mask is not None:
            raise Untraceable("the gradient is no array of numbers made of the argument")
        used = graph.inputs([value.node, node_of(graph, gradient)])
    except Untraceable:
        raise
    except Exception as error:  # of the code, which may well run in NumPy
        raise Untraceable(f"{type(error).__name__}: {error}") from error
    if ROWS in used:
        raise Untraceable("it uses the number of rows")
    return TracedSum(graph, value.node, node_of(graph, gradient), value.scale, value.shift)


def sum_in_numpy(function: Callable[..., Any], arrays: Sequence[NDArray[Any]], shape: tuple[int, ...]) -> Pair:
    """Return value, of a shape, and gradient, of that of the last array, as NumPy code gives them, in float64."""
    views = [np.array(array) for array in arrays]
    for view in views:
        view.flags.writeable = False
    try:
        with np.errstate(all="ignore"):
            value, gradient = function(*views)
    except Exception as error:  # as it will in Python at every step
        raise Untraceable(f"in NumPy, {type(error).__name__}: {error}") from error
    return (
        numpy_result("value", value, shape).astype(np.float64),
        numpy_result("gradient", gradient, views[-1].shape).astype(np.float64),
    )
