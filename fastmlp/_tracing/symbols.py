"""Symbols: what stands for an array while code is traced; operations on it leave a graph behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.mixins import NDArrayOperatorsMixin

from .graph import Graph
from .trainable import Learned
from .ufuncs import LOGICAL, SINGLE, TRUTHS, composed

__all__ = ["FUNCTIONS", "Symbol", "Untraceable", "node_of"]


class Untraceable(TypeError):
    """Code does something that can't be traced; the message says what."""


class Symbol(NDArrayOperatorsMixin):
    """Stands for an array while its code is traced; operations on it make nodes.

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
        self.graph, self.node, self.writable, self.mask = graph, node, writable, mask
        self.dtype = dtype

    # -- what NumPy asks for -------------------------------------------------------------------------------------

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        name = ufunc.__name__
        if method != "__call__":
            raise Untraceable(f"np.{name}.{method} mixes elements")
        (out,) = kwargs.pop("out", (None,))
        if kwargs:
            raise Untraceable(f"np.{name} with {', '.join(kwargs)}")
        result = self.called(name, inputs)
        return result if out is None else _assign(out, result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        name = func.__name__
        if name not in FUNCTIONS:
            raise Untraceable(f"np.{name} is no elementwise operation that can be traced")
        return FUNCTIONS[name](self, *args, **kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise Untraceable("its numbers are asked for (np.asarray, math.exp, or a compiled function)")

    def __bool__(self) -> bool:
        raise Untraceable("it branches on data (if, while, and, or, not, min, max of Python)")

    def __float__(self) -> float:
        raise Untraceable("its numbers are asked for (float, or a function of math)")

    def __int__(self) -> int:
        raise Untraceable("its numbers are asked for (int)")

    def __iter__(self) -> Any:
        raise Untraceable("it goes through the elements in Python")

    def __len__(self) -> int:
        raise Untraceable("it asks for the length")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise Untraceable(f"it asks for .{name} of the array")

    # -- methods of an array -------------------------------------------------------------------------------------

    def copy(self, order: str = "C") -> Symbol:
        """Return the same values."""
        return self._new(self.node, self.dtype)

    def astype(self, dtype: Any, **kwargs: Any) -> Symbol:
        """Return truth values as numbers, or the same."""
        dtype = np.dtype(dtype)
        if dtype.kind not in "fb" or (dtype.kind == "b" and self.dtype.kind != "b"):
            raise Untraceable(f"it converts to {dtype}")
        return self._new(self.node, dtype)

    def function(self, name: str) -> Symbol:
        """Return a function of one number that NumPy doesn't have, by the name of its operation."""
        return self._new(self.graph.apply(name, self.node), self.dtype)

    def clip(self, min: Any = None, max: Any = None) -> Symbol:
        """Do as np.clip."""
        return _clip(self, self, min, max)

    def __getitem__(self, key: Any) -> Symbol:
        if key is Ellipsis or (isinstance(key, slice) and key == slice(None)):
            return self
        mask = self._mask_of(key)
        if self.mask is not None:
            raise Untraceable("it picks elements of picked elements")
        return type(self)(self.graph, self.node, self.dtype, mask=mask)

    def __setitem__(self, key: Any, value: Any) -> None:
        if key is Ellipsis or (isinstance(key, slice) and key == slice(None)):
            _assign(self, value)
            return
        mask = self._mask_of(key)
        if isinstance(value, Symbol) and value.mask != mask:
            raise Untraceable("it assigns elements that were not picked by the same condition")
        self._put(mask, value)

    def _put(self, mask: int, value: Any) -> None:
        node = self.graph.apply("select", mask, node_of(self.graph, value), self.node)
        _assign(self, self._new(node, self.dtype))

    def _mask_of(self, key: Any) -> int:
        if not isinstance(key, Symbol) or key.dtype.kind != "b":
            raise Untraceable("it picks elements by their place")
        return key.node

    # -- making nodes --------------------------------------------------------------------------------------------

    def _new(self, node: int, dtype: np.dtype[Any]) -> Symbol:
        return type(self)(self.graph, node, dtype, mask=self.mask)

    def called(self, name: str, inputs: tuple[Any, ...]) -> Symbol:
        """Return the result of a function of NumPy, by its name."""
        symbols = [x for x in inputs if isinstance(x, Symbol)]
        masks = {x.mask for x in symbols}
        if len(masks) > 1:
            raise Untraceable("it combines elements picked by different conditions")
        truths = all(x.dtype.kind == "b" if isinstance(x, Symbol) else isinstance(x, (bool, np.bool_)) for x in inputs)
        nodes = [node_of(self.graph, x) for x in inputs]
        truth = name in TRUTHS or name.startswith("logical_")
        if name in LOGICAL and truths:
            node, truth = self.graph.apply(LOGICAL[name], *nodes), True
        elif name in ("invert", "logical_not") and truths:
            node, truth = self.graph.apply("sub", self.graph.constant(1), *nodes), True
        elif truths and name not in (*TRUTHS, "multiply"):
            raise Untraceable(f"np.{name} of truth values")
        elif name in SINGLE:
            node, truth = self.graph.apply(SINGLE[name], *nodes), truth or (truths and name == "multiply")
        elif name in (several := composed(self.graph)):
            node = several[name](*nodes)
        elif name == "float_power":
            raise Untraceable("np.float_power computes in float64 whatever it is given; np.power can be traced")
        else:
            raise Untraceable(f"np.{name} is no operation that can be traced")
        dtype = np.dtype(bool) if truth else self._float(symbols)
        return type(self)(self.graph, node, dtype, mask=symbols[0].mask)

    def _float(self, symbols: list[Symbol]) -> np.dtype[Any]:
        return next((x.dtype for x in symbols if x.dtype.kind == "f"), np.dtype(np.float64))


def node_of(graph: Graph, value: Any) -> int:
    """Return the node of a symbol, or of a single number."""
    if isinstance(value, Symbol):
        if value.graph is not graph:
            raise Untraceable("it keeps an array from another call")
        return value.node
    if isinstance(value, Learned):
        value.check_constant()
    if isinstance(value, (bool, int, float, np.generic)) or (isinstance(value, np.ndarray) and value.ndim == 0):
        number = value.item() if isinstance(value, (np.generic, np.ndarray)) else value
        if isinstance(number, (bool, int, float)):
            return graph.constant(number)
    what = f"an array of shape {value.shape}" if isinstance(value, np.ndarray) else f"{type(value).__name__}"
    raise Untraceable(f"it combines the array with {what}; a number was expected")


def _assign(target: Any, value: Any) -> Symbol:
    """Point a symbol at another node, as an operation in place does."""
    if not isinstance(target, Symbol):
        raise Untraceable("it writes into an array that it made or kept itself")
    if not target.writable:
        raise Untraceable("it writes into its argument, which is read-only")
    if isinstance(value, Symbol) and value.mask != target.mask:
        raise Untraceable("it assigns elements picked by another condition")
    target.node = node_of(target.graph, value)
    return target


def _clip(like: Symbol, x: Any, a_min: Any = None, a_max: Any = None, out: Any = None, **kwargs: Any) -> Symbol:
    low, high = kwargs.pop("min", a_min), kwargs.pop("max", a_max)
    if kwargs:
        raise Untraceable(f"np.clip with {', '.join(kwargs)}")
    result = like.called("positive", (x,))
    for name, bound in (("maximum", low), ("minimum", high)):
        if bound is not None:
            result = like.called(name, (result, bound))
    return result if out is None else _assign(out, result)


def _where(like: Symbol, condition: Any, *choices: Any) -> Symbol:
    if len(choices) != 2:
        raise Untraceable("np.where with a condition alone")
    if not isinstance(condition, Symbol):
        raise Untraceable("np.where by a condition that doesn't depend on the argument")
    graph = like.graph
    node = graph.apply("select", node_of(graph, condition), *(node_of(graph, x) for x in choices))
    symbols = [x for x in (condition, *choices) if isinstance(x, Symbol)]
    truths = all(x.dtype.kind == "b" if isinstance(x, Symbol) else isinstance(x, bool) for x in choices)
    return type(like)(graph, node, np.dtype(bool) if truths else like._float(symbols), mask=condition.mask)


def _full(like: Symbol, x: Symbol, value: Any = 0.0, dtype: Any = None, **kwargs: Any) -> Symbol:
    dtype = x.dtype if dtype is None else np.dtype(dtype)
    if dtype.kind not in "fb":
        raise Untraceable(f"it makes an array of {dtype}")
    return type(like)(like.graph, node_of(like.graph, value), dtype, mask=x.mask)


def _select(like: Symbol, conditions: Any, choices: Any, default: Any = 0) -> Any:
    for condition, choice in reversed(list(zip(conditions, choices, strict=True))):
        default = _where(like, condition, choice, default)
    return default


def _copyto(like: Symbol, dst: Any, src: Any, casting: str = "same_kind", where: Any = True) -> None:
    if not isinstance(dst, Symbol):
        raise Untraceable("it writes into an array that it made or kept itself")
    if where is True:
        _assign(dst, src)
    elif isinstance(src, Symbol) and src.mask != dst.mask:
        raise Untraceable("it assigns elements picked by another condition")
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
