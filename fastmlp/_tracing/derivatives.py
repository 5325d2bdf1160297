"""Rules of differentiation: the derivative of a node by an input, as a node of the same graph."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .graph import Graph, Node

__all__ = ["derivative"]

# The derivative of a function of one operand x, whose node is `at`; copysign's by its first.
SLOPES: dict[str, Callable[[Graph, int, int], int]] = {
    "neg": lambda g, x, at: g.constant(-1),
    "abs": lambda g, x, at: g.apply("select", g.apply("at_least", x, g.constant(0)), g.constant(1), g.constant(-1)),
    "copysign": lambda g, x, at: g.apply("mul", g.apply("copysign", g.constant(1), x), _sign_of_second(g, at)),
    "sqrt": lambda g, x, at: g.apply("div", g.constant(0.5), at),
    "exp": lambda g, x, at: at,
    "expm1": lambda g, x, at: g.apply("add", at, g.constant(1)),
    "log": lambda g, x, at: g.apply("div", g.constant(1), x),
    "log1p": lambda g, x, at: g.apply("div", g.constant(1), g.apply("add", x, g.constant(1))),
    "tanh": lambda g, x, at: g.apply("sub", g.constant(1), g.apply("mul", at, at)),
    "sigmoid": lambda g, x, at: g.apply("mul", at, g.apply("sub", g.constant(1), at)),
    "sin": lambda g, x, at: g.apply("cos", x),
    "cos": lambda g, x, at: g.apply("neg", g.apply("sin", x)),
    "erf": lambda g, x, at: g.apply(
        "mul", g.apply("exp", g.apply("neg", g.apply("mul", x, x))), g.constant(2 / math.sqrt(math.pi))
    ),
    "sinh": lambda g, x, at: g.apply("cosh", x),
    "cosh": lambda g, x, at: g.apply("sinh", x),
    "softplus": lambda g, x, at: g.apply("sigmoid", x),
    "arctan": lambda g, x, at: g.apply("div", g.constant(1), _one_and_square(g, x)),
    "arcsinh": lambda g, x, at: g.apply("div", g.constant(1), g.apply("sqrt", _one_and_square(g, x))),
}


def _sign_of_second(graph: Graph, at: int) -> int:
    return graph.apply("copysign", graph.constant(1), graph.nodes[at].args[1])


def _one_and_square(graph: Graph, x: int) -> int:
    return graph.apply("add", graph.apply("mul", x, x), graph.constant(1))


def derivative(graph: Graph, of: int, by: int) -> int:
    """Return the derivative of one node by another, an input.

    At the corner of a maximum, a minimum or an absolute value it is that of the first operand, or of the side
    above zero, as for ReLU (row 6).
    """
    known: dict[int, int | None] = {by: graph.constant(1)}
    for at in graph.reached([of]):
        if at not in known:
            node = graph.nodes[at]
            known[at] = _rule(graph, at, node, [known[arg] for arg in node.args])
    result = known[of]
    return graph.constant(0) if result is None else result


def _sum(graph: Graph, x: int | None, y: int | None) -> int | None:
    if x is None or y is None:
        return x if y is None else y
    return graph.apply("add", x, y)


def _product(graph: Graph, d: int | None, factor: Callable[[], int]) -> int | None:
    """Return d times a factor, made only if d is not zero, and taken only where it is not: it may be infinite."""
    if d is None:
        return None
    op, args, _ = graph.nodes[d]
    if op != "select" or 0 not in map(graph.number, args[1:]):
        return graph.apply("mul", d, factor())
    parts = [arg if graph.number(arg) == 0 else graph.apply("mul", arg, factor()) for arg in args[1:]]
    return graph.apply("select", args[0], *parts)


def _by_exponent(graph: Graph, x: int, power: int) -> int:
    """Return the derivative of a power of x by the exponent; of 0 it is 0, where the formula has 0 times infinity."""
    zero = graph.constant(0)
    if graph.number(x) == 0:
        return zero
    slope = graph.apply("mul", power, graph.apply("log", x))
    return graph.apply("select", graph.apply("equal", x, zero), zero, slope) if graph.number(x) is None else slope


def _rule(graph: Graph, at: int, node: Node, d: list[int | None]) -> int | None:
    """Return a node's derivative, made of those of its operands; None is zero."""
    if not any(part is not None for part in d):
        return None
    apply, zero = graph.apply, graph.constant(0)
    x, y, *_ = *node.args, -1
    if node.op in ("add", "sub"):
        second = d[1] if node.op == "add" or d[1] is None else apply("neg", d[1])
        return _sum(graph, d[0], second)
    if node.op == "mul":
        return _sum(graph, _product(graph, d[0], lambda: y), _product(graph, d[1], lambda: x))
    if node.op == "div":
        lost = _product(graph, d[1], lambda: at)
        gained = d[0] if lost is None else apply("sub", zero if d[0] is None else d[0], lost)
        return None if gained is None else apply("div", gained, y)
    if node.op in ("max", "min", "select"):
        *test, first, second = node.args
        c = test[0] if test else apply("at_least", *((first, second) if node.op == "max" else (second, first)))
        dx, dy = (zero if part is None else part for part in d[-2:])
        return apply("select", c, dx, dy)
    if node.op == "pow":
        base = _product(graph, d[0], lambda: apply("mul", y, apply("pow", x, apply("sub", y, graph.constant(1)))))
        return _sum(graph, base, _product(graph, d[1], lambda: _by_exponent(graph, x, at)))
    if node.op in SLOPES:
        return _product(graph, d[0], lambda: SLOPES[node.op](graph, x, at))
    return None  # steps: less, at_least, equal, round, sign
