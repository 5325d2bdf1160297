"""Derivatives of functions of one number."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._graph import Graph

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
