"""The functions of NumPy and SciPy that symbols know, as operations of a graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["LOGICAL", "SINGLE", "TRUTHS", "composed"]


def composed(graph: Graph) -> dict[str, Callable[..., int]]:
    """Return the functions that are made of several operations, by their names in NumPy or SciPy."""
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
        difference = a("sub", x, y)
        ordinary = a("less", a("abs", difference), c(math.inf))
        return a("select", ordinary, a("add", y, a("softplus", difference)), a("max", x, y))

    def hypot(x: int, y: int) -> int:
        squares = a("add", a("mul", x, x), a("mul", y, y))
        ordinary = a("mul", a("less", c(1e-30), squares), a("less", squares, c(1e30)))
        x, y = a("abs", x), a("abs", y)
        most, least = a("max", x, y), a("min", x, y)
        ratio = choose("equal", most, c(0), c(0), a("div", least, most))
        scaled = a("mul", most, a("sqrt", a("add", one, a("mul", ratio, ratio))))
        return a("select", ordinary, a("sqrt", squares), scaled)  # else squares may have over- or underflown

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
        "hypot": hypot,
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
    **{"fabs": "abs", "maximum": "max", "minimum": "min", "power": "pow", "less": "less"},
    **{"greater_equal": "at_least", "rint": "round", "expit": "sigmoid"},
}
# Of truth values, which are 1 and 0 here.
LOGICAL = {"logical_and": "mul", "bitwise_and": "mul", "logical_or": "max", "bitwise_or": "max"}
TRUTHS = ("less", "greater", "less_equal", "greater_equal", "equal", "not_equal", "isnan", "isfinite", "isinf")
