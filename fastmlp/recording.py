"""Plain NumPy code, recorded: called once with symbols in place of arrays, it leaves a graph behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .learnable import Learned
from .program import Graph

__all__ = ["Symbol", "Unrecordable", "node_of"]


class Unrecordable(TypeError):
    """Code does something that is no elementwise operation known here; the message says what."""


def _composed(graph: Graph) -> dict[str, Callable[..., int]]:
    """Functions that are made of several operations."""
    one, c = graph.constant(1), graph.constant

    def a(op: str, *args: int) -> int:
        return graph.apply(op, *args)

    def invert(x: int) -> int:
        return a("sub", one, x)

    def choose(test: str, x: int, y: int, then: int, other: int) -> int:
        return a("select", a(test, x, y), then, other)

    def heaviside(x: int, at_zero: int) -> int:
        sided = choose("less", x, c(0), c(0), choose("less", c(0), x, one, x))  # NaN stays
        return choose("equal", x, c(0), at_zero, sided)

    def logaddexp(x: int, y: int) -> int:
        if graph.number(x) == 0 or graph.number(y) == 0:
            return a("softplus", y if graph.number(x) == 0 else x)
        return a("add", y, a("softplus", a("sub", x, y)))

    def trunc(x: int) -> int:
        return a("copysign", floor(a("abs", x)), x)

    def floor(x: int) -> int:
        nearest = a("round", x)
        return a("sub", nearest, a("less", x, nearest))

    return {
        "square": lambda x: a("mul", x, x),
        "reciprocal": lambda x: a("div", one, x),
        "positive": lambda x: x,
        "heaviside": heaviside,
        "exp2": lambda x: a("pow", c(2), x),
        "log2": lambda x: a("mul", a("log", x), c(1 / math.log(2))),
        "log10": lambda x: a("mul", a("log", x), c(1 / math.log(10))),
        "logaddexp": logaddexp,
        "hypot": lambda x, y: a("sqrt", a("add", a("mul", x, x), a("mul", y, y))),
        "tan": lambda x: a("div", a("sin", x), a("cos", x)),
        "floor": floor,
        "ceil": lambda x: a("neg", floor(a("neg", x))),
        "trunc": trunc,
        "greater": lambda x, y: a("less", y, x),
        "less_equal": lambda x, y: a("at_least", y, x),
        "not_equal": lambda x, y: invert(a("equal", x, y)),
        "isnan": lambda x: invert(a("equal", x, x)),
        "isfinite": lambda x: a("less", a("abs", x), c(math.inf)),
        "isinf": lambda x: a("equal", a("abs", x), c(math.inf)),
        "logical_not": lambda x: a("equal", x, c(0)),
        "log_expit": lambda x: a("neg", a("softplus", a("neg", x))),
        "clip": lambda x, low, high: a("min", a("max", x, low), high),
    }


# NumPy's and SciPy's names of single operations.
SINGLE = {
    **{name: name for name in ("exp", "expm1", "log", "log1p", "sqrt", "tanh", "sin", "cos", "sinh", "cosh")},
    **{
        "arctan": "arctan",
        "arcsinh": "arcsinh",
        "copysign": "copysign",
        "sign": "sign",
        "equal": "equal",
        "erf": "erf",
    },
    **{"add": "add", "subtract": "sub", "multiply": "mul", "divide": "div", "negative": "neg", "absolute": "abs"},
    **{"fabs": "abs", "maximum": "max", "minimum": "min", "power": "pow", "float_power": "pow", "less": "less"},
    **{"greater_equal": "at_least", "rint": "round", "expit": "sigmoid"},
}
# Of truth values, which are 1 and 0 here.
LOGICAL = {"logical_and": "mul", "bitwise_and": "mul", "logical_or": "max", "bitwise_or": "max"}
TRUTHS = ("less", "greater", "less_equal", "greater_equal", "equal", "not_equal", "isnan", "isfinite", "isinf")


class Symbol(NDArrayOperatorsMixin):
    """Stands for an array while its code is recorded; operations on it make nodes.

    Parameters
    ----------
    graph : Graph
    node : int
        What it stands for; an operation in place points it at another.
    dtype : numpy.dtype
        That of the arrays, or bool for a truth value.
    writable : bool
        Whether it may be changed in place.
    mask : int, optional
        The truth value by which it was picked from a whole array, as in ``z[z < 0]``.
    """

    __array_priority__ = 1000

    def __init__(
        self, graph: Graph, node: int, dtype: np.dtype[Any], *, writable: bool = True, mask: int | None = None
    ) -> None:
        self._graph, self._node, self._writable, self._mask = graph, node, writable, mask
        self.dtype = dtype

    # -- what NumPy asks for -------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if method != "__call__":
            raise Unrecordable(f"np.{name}.{method} mixes elements")
        (out,) = kwargs.pop("out", (None,))
        if kwargs:
            raise Unrecordable(f"np.{name} with {', '.join(kwargs)}")
        result = self._called(name, inputs)
        return result if out is None else _assign(out, result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__
        if name not in FUNCTIONS:
            raise Unrecordable(f"np.{name} is no elementwise operation that can be recorded")
        return FUNCTIONS[name](self, *args, **kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise Unrecordable("its numbers are asked for (np.asarray, math.exp, or a compiled function)")

    def __bool__(self) -> bool:
        raise Unrecordable("it branches on data (if, while, and, or, not, min, max of Python)")

    def __float__(self) -> float:
        raise Unrecordable("its numbers are asked for (float, or a function of math)")

    def __int__(self) -> int:
        raise Unrecordable("its numbers are asked for (int)")

    def __iter__(self) -> Any:
        raise Unrecordable("it goes through the elements in Python")

    def __len__(self) -> int:
        raise Unrecordable("it asks for the length")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Unrecordable(f"it asks for .{name} of the array")

    # -- methods of an array -------------------------------------------------------------------------------------

    def copy(self, order: str = "C") -> Symbol:
        """The same values."""
        return self._new(self._node, self.dtype)

    def astype(self, dtype: Any, **kwargs: Any) -> Symbol:
        """Truth values as numbers, or the same."""
        dtype = np.dtype(dtype)
        if dtype.kind not in "fb" or (dtype.kind == "b" and self.dtype.kind != "b"):
            raise Unrecordable(f"it converts to {dtype}")
        return self._new(self._node, dtype)

    def function(self, name: str) -> Symbol:
        """A function of one number that NumPy doesn't have, by the name of its operation."""
        return self._new(self._graph.apply(name, self._node), self.dtype)

    def clip(self, min: Any = None, max: Any = None) -> Symbol:
        """As np.clip."""
        return _clip(self, self, min, max)

    def __getitem__(self, key: Any) -> Symbol:
        if key is Ellipsis or (isinstance(key, slice) and key == slice(None)):
            return self
        mask = self._mask_of(key)
        if self._mask is not None:
            raise Unrecordable("it picks elements of picked elements")
        return type(self)(self._graph, self._node, self.dtype, mask=mask)

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is Ellipsis or (isinstance(key, slice) and key == slice(None)):
            _assign(self, value)
            return
        mask = self._mask_of(key)
        if isinstance(value, Symbol) and value._mask != mask:
            raise Unrecordable("it assigns elements that were not picked by the same condition")
        self._put(mask, value)

    def _put(self, mask: int, value: Any) -> None:
        node = self._graph.apply("select", mask, node_of(self._graph, value), self._node)
        _assign(self, self._new(node, self.dtype))

    def _mask_of(self, key: Any) -> int:
        if not isinstance(key, Symbol) or key.dtype.kind != "b":
            raise Unrecordable("it picks elements by their place")
        return key._node

    # -- making nodes --------------------------------------------------------------------------------------------

    def _new(self, node: int, dtype: np.dtype[Any]) -> Symbol:
        return type(self)(self._graph, node, dtype, mask=self._mask)

    def _called(self, name: str, inputs: tuple[Any, ...]) -> Symbol:
        """The result of a function of NumPy."""
        symbols = [x for x in inputs if isinstance(x, Symbol)]
        masks = {x._mask for x in symbols}
        if len(masks) > 1:
            raise Unrecordable("it combines elements picked by different conditions")
        truths = all(x.dtype.kind == "b" if isinstance(x, Symbol) else isinstance(x, (bool, np.bool_)) for x in inputs)
        nodes = [node_of(self._graph, x) for x in inputs]
        truth = name in TRUTHS or name.startswith("logical_")
        if name in LOGICAL and truths:
            node, truth = self._graph.apply(LOGICAL[name], *nodes), True
        elif name in ("invert", "logical_not") and truths:
            node, truth = self._graph.apply("sub", self._graph.constant(1), *nodes), True
        elif truths and name not in (*TRUTHS, "multiply"):
            raise Unrecordable(f"np.{name} of truth values")
        elif name in SINGLE:
            node, truth = self._graph.apply(SINGLE[name], *nodes), truth or (truths and name == "multiply")
        elif name in (composed := _composed(self._graph)):
            node = composed[name](*nodes)
        else:
            raise Unrecordable(f"np.{name} is no operation that can be recorded")
        dtype = np.dtype(bool) if truth else self._float(symbols)
        return type(self)(self._graph, node, dtype, mask=symbols[0]._mask)

    def _float(self, symbols: list[Symbol]) -> np.dtype[Any]:
        return next((x.dtype for x in symbols if x.dtype.kind == "f"), np.dtype(np.float64))


def node_of(graph: Graph, value: Any) -> int:
    """The node of a symbol, or of a single number."""
    if isinstance(value, Symbol):
        if value._graph is not graph:
            raise Unrecordable("it keeps an array from another call")
        return value._node
    if isinstance(value, Learned):
        value.check_constant()
    if isinstance(value, (bool, int, float, np.generic)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        number = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        if isinstance(number, (bool, int, float)):
            return graph.constant(number)
    what = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"{type(value).__name__}"
    raise Unrecordable(f"it combines the array with {what}; a number was expected")


def _assign(target: Any, value: Any) -> Symbol:
    """Points a symbol at another node, as an operation in place does."""
    if not isinstance(target, Symbol):
        raise Unrecordable("it writes into an array that it made or kept itself")
    if not target._writable:
        raise Unrecordable("it writes into its argument, which is read-only")
    if isinstance(value, Symbol) and value._mask != target._mask:
        raise Unrecordable("it assigns elements picked by another condition")
    target._node = node_of(target._graph, value)
    return target


def _clip(like: Symbol, x: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **kwargs: Any) -> Symbol:
    low, high = kwargs.pop("min", a_min), kwargs.pop("max", a_max)
    if kwargs:
        raise Unrecordable(f"np.clip with {', '.join(kwargs)}")
    result = like._called("positive", (x,))
    for name, bound in (("maximum", low), ("minimum", high)):
        if bound is not None:
            result = like._called(name, (result, bound))
    return result if out is None else _assign(out, result)


def _where(like: Symbol, condition: Any, *choices: Any) -> Symbol:
    if len(choices) != 2:
        raise Unrecordable("np.where with a condition alone")
    if not isinstance(condition, Symbol):
        raise Unrecordable("np.where by a condition that doesn't depend on the argument")
    graph = like._graph
    node = graph.apply("select", node_of(graph, condition), *(node_of(graph, x) for x in choices))
    symbols = [x for x in (condition, *choices) if isinstance(x, Symbol)]
    truths = all(x.dtype.kind == "b" if isinstance(x, Symbol) else isinstance(x, bool) for x in choices)
    return type(like)(graph, node, np.dtype(bool) if truths else like._float(symbols), mask=condition._mask)


def _full(like: Symbol, x: Symbol, value: Any = 0.0, dtype: Any = None, **kwargs: Any) -> Symbol:
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    if dtype.kind not in "fb":
        raise Unrecordable(f"it makes an array of {dtype}")
    return type(like)(like._graph, node_of(like._graph, value), dtype, mask=x._mask)


def _select(like: Symbol, conditions: Any, choices: Any, default: Any = 0) -> Any:
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        default = _where(like, condition, choice, default)
    return default


def _copyto(like: Symbol, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, Symbol):
        raise Unrecordable("it writes into an array that it made or kept itself")
    if where is True:
        _assign(dst, src)
    elif isinstance(src, Symbol) and src._mask != dst._mask:
        raise Unrecordable("it assigns elements picked by another condition")
    else:
        dst._put(dst._mask_of(where), src)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "where": _where,
    "clip": _clip,
    "select": _select,
    "copyto": _copyto,
    "zeros_like": lambda like, x, *args, **kwargs: _full(like, x, 0.0, *args, **kwargs),
    "ones_like": lambda like, x, *args, **kwargs: _full(like, x, 1.0, *args, **kwargs),
    "empty_like": lambda like, x, *args, **kwargs: _full(like, x, math.nan, *args, **kwargs),
    "full_like": _full,
    "copy": lambda like, x, **kwargs: x.copy(),
    "real": lambda like, x: x,
}
