"""Whether a traced update stays finite: intervals of all numbers on the way, from those that come in.

Of a step it is known that gradients, the learning rate and the step are bounded, and that parameters are finite. If the
state lies in some ranges, from which every step goes back into them, and parameters move by less than 2^102, then
nothing can become NaN or infinite, in float32 or float64: half the distance from the largest float32 to the one before
is 2^103. Of what can't be shown so, nothing is known; such updates are guarded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .graph import Graph, Node

__all__ = ["RANGES", "ranges_of_state"]

Interval = tuple[float, float]

GIVEN: dict[str, Interval] = {"grad": (-(2.0**50), 2.0**50), "learning_rate": (-64.0, 64.0), "step": (1.0, 2.0**53)}
# Of state; the kernels know them by number.
RANGES: tuple[Interval, ...] = ((-(2.0**51), 2.0**51), (0.0, 2.0**101), (-(2.0**101), 2.0**101))
MOVE = 2.0**102  # of a parameter
MOST = 2.0**126  # of any number on the way
LEAST = 2.0**-100  # of what is not 0 for sure: products of smaller ones may be
EXACT = frozenset({"input", "less", "at_least", "equal", "sign", "neg", "abs", "max", "min", "select"})
SLACK = 2.0**-20  # what rounding may add to a result, as a share of it
LEAST_SHARE = 2.0**-18  # of a moving average: it moves by more than rounding does


class _Unknown(Exception):
    """Nothing is known about a number."""


def ranges_of_state(graph: Graph, outputs: Sequence[int], names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the ranges of an update's state, as numbers in RANGES; None where it isn't known to stay finite.

    Parameters
    ----------
    graph : Graph
        With inputs ``param``, ``grad``, ``learning_rate``, ``step`` and ``state NAME``.
    outputs : sequence of int
        The new parameter, and the new state.
    names : sequence of str
        Of the state.
    """
    node = graph.nodes[outputs[0]]
    param = graph.input("param")
    if node.op not in ("add", "sub") or param not in node.args or (node.op == "sub" and node.args[0] != param):
        return None
    (move,) = [arg for arg in node.args if arg != param] or [param]
    for kinds in itertools.product(range(len(RANGES)), repeat=len(names)):
        given = GIVEN | {f"state {name}": RANGES[kind] for name, kind in zip(names, kinds, strict=True)}
        try:
            found = _intervals(graph, [move, *outputs[1:]], given)
        except _Unknown:
            continue
        inside = all(
            RANGES[kind][0] <= found[at][0] and found[at][1] <= RANGES[kind][1]
            for kind, at in zip(kinds, outputs[1:], strict=True)
        )
        if inside and max(map(abs, found[move])) < MOVE:
            return kinds
    return None


def _intervals(graph: Graph, outputs: Sequence[int], given: dict[str, Interval]) -> dict[int, Interval]:
    """Return the intervals of all numbers that some need."""
    found: dict[int, Interval] = {}
    for at in graph.reached(outputs):
        node = graph.nodes[at]
        interval = _average(graph, node, found)
        if interval is None:
            low, high = _interval(node, [found[arg] for arg in node.args], given)
            if node.op not in EXACT:
                low, high = low - SLACK * abs(low), high + SLACK * abs(high)
            interval = (0.0 if 0 < low < LEAST else low), (0.0 if -LEAST < high < 0 else high)
        if not (-MOST < interval[0] <= interval[1] < MOST):
            raise _Unknown
        if node.op == "mul" and node.args[0] == node.args[1]:
            interval = max(interval[0], 0.0), interval[1]
        found[at] = interval
    return found


def _average(graph: Graph, node: Node, found: dict[int, Interval]) -> Interval | None:
    """Return the interval of ``v + c (x - v)``, or None for anything else.

    It lies between v and x, rounded or not: |c (x - v)| <= |x - v|, and a sum of v and less than what leads to x is
    between them, or next to x.
    """
    if node.op not in ("add", "sub"):
        return None
    for v, change in (node.args, node.args[::-1]) if node.op == "add" else (node.args,):
        if graph.nodes[change].op != "mul":
            continue
        for share, difference in (graph.nodes[change].args, graph.nodes[change].args[::-1]):
            c, inner = graph.number(share), graph.nodes[difference]
            if c is None or not (LEAST_SHARE <= c <= 1) or inner.op != "sub":
                continue
            x, other = inner.args if node.op == "add" else inner.args[::-1]
            if other == v:
                low, high = found[x]
                low, high = low - SLACK * abs(low), high + SLACK * abs(high)
                return min(found[v][0], low if low < 0 or found[x][0] < 0 else max(low, 0.0)), max(found[v][1], high)
    return None


def _interval(node: Node, args: list[Interval], given: dict[str, Interval]) -> Interval:
    """Return the interval of one operation, as if it were exact."""
    op = node.op
    if op == "const":
        value = float(node.value or 0.0)
        return value, value
    if op == "input" and node.value in given:
        return given[str(node.value)]
    if op in ("sign", "tanh", "sin", "cos", "erf"):
        return -1.0, 1.0
    if op in ("less", "at_least", "equal", "sigmoid"):
        return 0.0, 1.0
    if op == "add":
        return args[0][0] + args[1][0], args[0][1] + args[1][1]
    if op == "sub":
        return args[0][0] - args[1][1], args[0][1] - args[1][0]
    if op == "mul" or (op == "div" and (args[1][0] > 0 or args[1][1] < 0)):
        ends = [x * y if op == "mul" else x / y for x in args[0] for y in args[1]]
        return min(ends), max(ends)
    if op == "neg":
        return -args[0][1], -args[0][0]
    if op == "abs":
        most = max(map(abs, args[0]))
        return (0.0 if args[0][0] <= 0 <= args[0][1] else min(map(abs, args[0]))), most
    if op == "sqrt" and args[0][0] >= 0:
        return math.sqrt(args[0][0]), math.sqrt(args[0][1])
    if op in ("max", "min"):
        choose = max if op == "max" else min
        return choose(args[0][0], args[1][0]), choose(args[0][1], args[1][1])
    if op == "select":
        return min(args[1][0], args[2][0]), max(args[1][1], args[2][1])
    if op == "pow" and args[0][0] >= 0 and args[0][1] < 1 and args[1][0] >= 0:
        return 0.0, args[0][1] if args[1][0] >= 1 else 1.0
    raise _Unknown
