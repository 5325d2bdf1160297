"""Rules by which an operation that is added to a graph becomes a cheaper one of the same value."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .operations import TRUTHS

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["simplified"]


def simplified(graph: Graph, op: str, x: int, y: int = -1, u: int = -1) -> int | None:
    """Return a node that equals an operation and is there already, or cheaper; None if there is none.

    Finite results stay the same but for rounding; one that overflowed may become finite.
    """
    left, right = graph.number(x), None if y < 0 else graph.number(y)
    if op == "neg":
        node = graph.nodes[x]
        if node.op == "neg":
            return node.args[0]
        factor = None if node.op != "mul" else graph.number(node.args[1])
        return None if factor is None else graph.apply("mul", node.args[0], graph.constant(-factor))
    if (op == "add" and right == 0) or (op == "sub" and right == 0) or (op in ("mul", "div", "pow") and right == 1):
        return x
    if op == "sub" and left == 0:
        return graph.apply("neg", y)
    if op == "add" and graph.nodes[y].op == "neg":
        return graph.apply("sub", x, graph.nodes[y].args[0])
    if op == "add" and x == y:
        return graph.apply("mul", x, graph.constant(2))
    if op == "tanh" and graph.nodes[x].op == "softplus":
        return _tanh_of_softplus(graph, *graph.nodes[x].args)
    if op == "mul" and right is not None:
        factor = graph.number(graph.nodes[x].args[1]) if graph.nodes[x].op == "mul" else None
        if right == -1:
            return graph.apply("neg", x)
        if factor is not None and 1e-30 < abs(factor * right) < 1e30:  # in float32 too
            return graph.apply("mul", graph.nodes[x].args[0], graph.constant(factor * right))
    if op == "div":
        return _quotient(graph, x, y, right)
    if op == "pow" and right is not None:
        return _power(graph, x, right)
    if op in ("log", "log1p"):
        return _softplus(graph, op, x)
    if op == "select":
        return _choice(graph, x, y, u)
    return None


def _tanh_of_softplus(graph: Graph, x: int) -> int:
    """With u = 1 + e^x it is (u^2 - 1) / (u^2 + 1): one exponential, and none of a logarithm; 1 from x = 20 on."""
    e = graph.apply("exp", graph.apply("min", x, graph.constant(20)))
    w = graph.apply("mul", e, graph.apply("add", e, graph.constant(2)))
    return graph.apply("div", w, graph.apply("add", w, graph.constant(2)))


def _softplus(graph: Graph, op: str, x: int) -> int | None:
    """Replace log(1 + exp(t)), which overflows long before its value does."""
    node = graph.nodes[x]
    if op == "log" and node.op == "add" and graph.number(node.args[1]) == 1:
        node = graph.nodes[node.args[0]]
    elif op == "log":
        return None
    return graph.apply("softplus", *node.args) if node.op == "exp" else None


def _choice(graph: Graph, test: int, x: int, y: int) -> int | None:
    """Write x if test else y by the test itself, not its opposite, and asked once."""
    node = graph.nodes[test]
    if x == y:
        return x
    if node.op == "sub" and graph.number(node.args[0]) == 1 and graph.nodes[node.args[1]].op in TRUTHS:
        return graph.apply("select", node.args[1], y, x)
    then, other = graph.nodes[x], graph.nodes[y]
    if then.op == "select" and then.args[0] == test:
        return graph.apply("select", test, then.args[1], y)
    if other.op == "select" and other.args[0] == test:
        return graph.apply("select", test, x, other.args[2])
    return None


def _quotient(graph: Graph, x: int, y: int, right: float | None) -> int | None:
    """Write x / c as a product, x / (1 + exp(t)) by the sigmoid."""
    if right is not None and 1e-30 < abs(right) < 1e30:
        return graph.apply("mul", x, graph.constant(1 / right))
    node = graph.nodes[y]
    if node.op == "add" and graph.number(node.args[1]) == 1 and graph.nodes[node.args[0]].op == "exp":
        (t,) = graph.nodes[node.args[0]].args
        return graph.apply("mul", graph.apply("sigmoid", graph.apply("neg", t)), x)
    return None


def _power(graph: Graph, x: int, exponent: float) -> int | None:
    if exponent == 0:
        return graph.constant(1)
    if exponent == 0.5:
        return graph.apply("sqrt", x)
    if exponent == -1:
        return graph.apply("div", graph.constant(1), x)
    if exponent not in (2, 3, 4, 5, 6, 8):
        return None
    half = x if exponent < 4 else graph.apply("pow", x, graph.constant(exponent // 2))
    square = graph.apply("mul", half, half)
    return graph.apply("mul", square, x) if exponent % 2 else square
