"""Elementwise functions as data: a graph of operations on numbers, simplified while it is built."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .derivatives import derivative
from .operations import COMMUTATIVE, LIMIT, OPERATIONS
from .simplification import simplified

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Graph", "Node"]

LEAST_FLOAT32 = 2.0**-149


class Node(NamedTuple):
    """An operation on earlier nodes; ``"const"`` has a number, ``"input"`` a name."""

    op: str
    args: tuple[int, ...] = ()
    value: float | str | None = None


class Graph:
    """Operations in an order in which each stands after its operands; equal ones are one.

    Attributes
    ----------
    nodes : list of Node
        A node is known by its place here.
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._known: dict[tuple[Any, ...], int] = {}

    # -- building ------------------------------------------------------------------------------------------------

    def constant(self, value: float) -> int:
        """Return the place of a number."""
        value = float(value)
        return self._add(Node("const", (), value), (str(value), math.copysign(1, value)))

    def input(self, name: str) -> int:
        """Return the place of what comes in under a name."""
        return self._add(Node("input", (), name))

    def apply(self, op: str, *args: int) -> int:
        """Return the place of an operation on nodes, simplified.

        ValueError where the graph gets too large, or where its result would be another one in float32.
        """
        numbers = [self.number(arg) for arg in args]
        if None not in numbers:
            return self._computed(op, [np.float64(number) for number in numbers])
        if op in COMMUTATIVE:  # constants last, so that equal ones are found
            args = tuple(sorted(args, key=lambda arg: (self.nodes[arg].op == "const", arg)))
        simpler = simplified(self, op, *args)
        return self._add(Node(op, args)) if simpler is None else simpler

    def _computed(self, op: str, numbers: list[np.float64]) -> int:
        """Return the place of an operation on numbers alone, which is computed once, in double."""
        for number in numbers:
            if 0 < abs(number) < LEAST_FLOAT32:
                raise ValueError(f"{op} of the constant {number}, which is 0 in float32")
        with np.errstate(all="ignore"):
            return self.constant(float(OPERATIONS[op][1](*numbers)))

    def _add(self, node: Node, key: tuple[Any, ...] = ()) -> int:
        key = (node.op, node.args, *(key or (node.value,)))
        if key not in self._known:
            if len(self.nodes) >= LIMIT:
                raise ValueError(f"more than {LIMIT} operations")
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def number(self, at: int) -> float | None:
        """Return the value of a constant, None for another node."""
        node = self.nodes[at]
        return node.value if node.op == "const" else None  # type: ignore[return-value]

    # -- differentiating -----------------------------------------------------------------------------------------

    def derivative(self, of: int, by: int) -> int:
        """Return the derivative of one node by another, an input; see `derivatives`."""
        return derivative(self, of, by)

    # -- looking -------------------------------------------------------------------------------------------------

    def reached(self, outputs: Iterable[int]) -> list[int]:
        """Return the nodes that some need, themselves included, operands first."""
        needed: set[int] = set()
        stack = list(outputs)
        while stack:
            at = stack.pop()
            if at not in needed:
                needed.add(at)
                stack += self.nodes[at].args
        return sorted(needed)

    def inputs(self, outputs: Iterable[int]) -> set[str]:
        """Return the names of the inputs that some nodes need."""
        return {str(self.nodes[at].value) for at in self.reached(outputs) if self.nodes[at].op == "input"}

    def evaluate(self, outputs: list[int], values: Mapping[str, Any], dtype: Any = np.float64) -> list[NDArray[Any]]:
        """Compute nodes in NumPy, in `dtype`; behind them the largest magnitude on the way, constants aside."""
        found: dict[int, Any] = {}
        most: Any = 0.0
        with np.errstate(all="ignore"):
            for at in self.reached(outputs):
                op, args, value = self.nodes[at]
                if op == "input":
                    found[at] = np.asarray(values[str(value)], dtype)
                elif op == "const":
                    found[at] = np.asarray(value, dtype)
                else:
                    found[at] = np.asarray(OPERATIONS[op][1](*(found[arg] for arg in args)), dtype)
                if op != "const":  # the bound of a clip says nothing about rounding
                    finite = np.isfinite(found[at])
                    most = np.maximum(most, np.where(finite, np.abs(found[at]), 0))
        return [*(found[at] for at in outputs), most]

    def __str__(self) -> str:
        lines = []
        for at, (op, args, value) in enumerate(self.nodes):
            what = f"{value!r}" if op == "const" else str(value) if op == "input" else ""
            lines.append(f"{at}: {what or op + ' ' + ' '.join(map(str, args))}")
        return "\n".join(lines)

    def to_list(self, last: int | None = None) -> list[list[Any]]:
        """Return the nodes as JSON has them; only those that `last` needs, itself behind them, if it is given."""
        order = range(len(self.nodes)) if last is None else self.reached([last])
        place = {at: number for number, at in enumerate(order)}
        nodes = [self.nodes[at] for at in order]
        return [
            [op, *(place[arg] for arg in args)] if value is None else [op, repr(value)] for op, args, value in nodes
        ]
