"""Elementwise functions as data: a graph of operations on numbers, simplified while it is built.

A graph can be differentiated, run in NumPy, printed, and turned into JSON and back; `assemble` makes of it what the
kernels run. It is what plain NumPy code is recorded into.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ._slopes import SLOPES

if TYPE_CHECKING:
    from numpy.typing import NDArray

LIMIT = 1000  # nodes of a graph: more than anybody writes, few enough to check at once


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.result_type(x))


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


OPERATIONS: dict[str, tuple[int, Callable[..., Any]]] = {  # operands, and the same in NumPy
    "add": (2, np.add),
    "sub": (2, np.subtract),
    "mul": (2, np.multiply),
    "div": (2, np.divide),
    "max": (2, np.maximum),
    "min": (2, np.minimum),
    "pow": (2, np.power),
    "less": (2, np.less),
    "at_least": (2, np.greater_equal),
    "equal": (2, np.equal),
    "copysign": (2, np.copysign),
    "select": (3, lambda c, x, y: np.where(c != 0, x, y)),
    "neg": (1, np.negative),
    "abs": (1, np.abs),
    "sqrt": (1, np.sqrt),
    "sign": (1, np.sign),
    "round": (1, np.rint),
    "exp": (1, np.exp),
    "expm1": (1, np.expm1),
    "log": (1, np.log),
    "log1p": (1, np.log1p),
    "tanh": (1, np.tanh),
    "sigmoid": (1, _sigmoid),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "erf": (1, _erf),
    "sinh": (1, np.sinh),
    "cosh": (1, np.cosh),
    "arctan": (1, np.arctan),
    "arcsinh": (1, np.arcsinh),
    "softplus": (1, lambda x: np.logaddexp(x, np.zeros_like(x))),
}
COMMUTATIVE = ("add", "mul", "equal")
TRUTHS = ("less", "at_least", "equal")  # 1 or 0


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
        """The place of a number."""
        value = float(value)
        return self._add(Node("const", (), value), (str(value), math.copysign(1, value)))

    def input(self, name: str) -> int:
        """The place of what comes in under a name."""
        return self._add(Node("input", (), name))

    def apply(self, op: str, *args: int) -> int:
        """The place of an operation on nodes, simplified; ValueError where the graph gets too large."""
        if all(self.nodes[arg].op == "const" for arg in args):
            with np.errstate(all="ignore"):
                return self.constant(float(OPERATIONS[op][1](*(np.float64(self.nodes[arg].value) for arg in args))))
        if op in COMMUTATIVE:  # constants last, so that equal ones are found
            args = tuple(sorted(args, key=lambda arg: (self.nodes[arg].op == "const", arg)))
        simpler = self._simplified(op, *args)
        return self._add(Node(op, args)) if simpler is None else simpler

    def _add(self, node: Node, key: tuple[Any, ...] = ()) -> int:
        key = (node.op, node.args, *(key or (node.value,)))
        if key not in self._known:
            if len(self.nodes) >= LIMIT:
                raise ValueError(f"more than {LIMIT} operations")
            self._known[key] = len(self.nodes)
            self.nodes.append(node)
        return self._known[key]

    def number(self, at: int) -> float | None:
        """The value of a constant, or None."""
        node = self.nodes[at]
        return node.value if node.op == "const" else None  # type: ignore[return-value]

    def _simplified(self, op: str, x: int, y: int = -1, u: int = -1) -> int | None:
        """An equal node that is there, or cheaper. Finite numbers stay, but for rounding; what overflowed may not."""
        left, right = self.number(x), None if y < 0 else self.number(y)
        if op == "neg":
            node = self.nodes[x]
            if node.op == "neg":
                return node.args[0]
            factor = None if node.op != "mul" else self.number(node.args[1])
            return None if factor is None else self.apply("mul", node.args[0], self.constant(-factor))
        if (op == "add" and right == 0) or (op == "sub" and right == 0) or (op in ("mul", "div", "pow") and right == 1):
            return x
        if op == "sub" and left == 0:
            return self.apply("neg", y)
        if op == "add" and self.nodes[y].op == "neg":
            return self.apply("sub", x, self.nodes[y].args[0])
        if op == "add" and x == y:
            return self.apply("mul", x, self.constant(2))
        if op == "tanh" and self.nodes[x].op == "softplus":
            return self._tanh_of_softplus(*self.nodes[x].args)
        if op == "mul" and right is not None:
            factor = self.number(self.nodes[x].args[1]) if self.nodes[x].op == "mul" else None
            if right == -1:
                return self.apply("neg", x)
            if factor is not None and 1e-30 < abs(factor * right) < 1e30:  # in float32 too
                return self.apply("mul", self.nodes[x].args[0], self.constant(factor * right))
        if op == "div":
            return self._quotient(x, y, right)
        if op == "pow" and right is not None:
            return self._power(x, right)
        if op in ("log", "log1p"):
            return self._softplus(op, x)
        if op == "select":
            return self._choice(x, y, u)
        return None

    def _tanh_of_softplus(self, x: int) -> int:
        """With u = 1 + e^x it is (u^2 - 1) / (u^2 + 1): one exponential, and none of a logarithm; 1 from x = 20 on."""
        e = self.apply("exp", self.apply("min", x, self.constant(20)))
        w = self.apply("mul", e, self.apply("add", e, self.constant(2)))
        return self.apply("div", w, self.apply("add", w, self.constant(2)))

    def _softplus(self, op: str, x: int) -> int | None:
        """log(1 + exp(t)), which overflows long before its value does."""
        node = self.nodes[x]
        if op == "log" and node.op == "add" and self.number(node.args[1]) == 1:
            node = self.nodes[node.args[0]]
        elif op == "log":
            return None
        return self.apply("softplus", *node.args) if node.op == "exp" else None

    def _choice(self, test: int, x: int, y: int) -> int | None:
        """x if test else y: by the test itself, not its opposite, and asked once."""
        node = self.nodes[test]
        if x == y:
            return x
        if node.op == "sub" and self.number(node.args[0]) == 1 and self.nodes[node.args[1]].op in TRUTHS:
            return self.apply("select", node.args[1], y, x)
        then, other = self.nodes[x], self.nodes[y]
        if then.op == "select" and then.args[0] == test:
            return self.apply("select", test, then.args[1], y)
        if other.op == "select" and other.args[0] == test:
            return self.apply("select", test, x, other.args[2])
        return None

    def _quotient(self, x: int, y: int, right: float | None) -> int | None:
        """x / c as a product, x / (1 + exp(t)) by the sigmoid."""
        if right is not None and 1e-30 < abs(right) < 1e30:
            return self.apply("mul", x, self.constant(1 / right))
        node = self.nodes[y]
        if node.op == "add" and self.number(node.args[1]) == 1 and self.nodes[node.args[0]].op == "exp":
            (t,) = self.nodes[node.args[0]].args
            return self.apply("mul", self.apply("sigmoid", self.apply("neg", t)), x)
        return None

    def _power(self, x: int, exponent: float) -> int | None:
        if exponent == 0:
            return self.constant(1)
        if exponent == 0.5:
            return self.apply("sqrt", x)
        if exponent == -1:
            return self.apply("div", self.constant(1), x)
        if exponent not in (2, 3, 4, 5, 6, 8):
            return None
        half = x if exponent < 4 else self.apply("pow", x, self.constant(exponent // 2))
        square = self.apply("mul", half, half)
        return self.apply("mul", square, x) if exponent % 2 else square

    # -- differentiating -----------------------------------------------------------------------------------------

    def derivative(self, of: int, by: int) -> int:
        """The derivative of one node by another, an input.

        At the corner of a maximum, a minimum or an absolute value it is that of the first operand, or of the side
        above zero, as for ReLU (row 6).
        """
        known: dict[int, int | None] = {by: self.constant(1)}
        for at in self.reached([of]):
            if at not in known:
                node = self.nodes[at]
                known[at] = self._rule(at, node, [known[arg] for arg in node.args])
        result = known[of]
        return self.constant(0) if result is None else result

    def _sum(self, x: int | None, y: int | None) -> int | None:
        if x is None or y is None:
            return x if y is None else y
        return self.apply("add", x, y)

    def _product(self, d: int | None, factor: Callable[[], int]) -> int | None:
        """d times a factor that is only made if d is not zero, and only taken where it is not: it may be infinite."""
        if d is None:
            return None
        op, args, _ = self.nodes[d]
        if op != "select" or 0 not in map(self.number, args[1:]):
            return self.apply("mul", d, factor())
        parts = [arg if self.number(arg) == 0 else self.apply("mul", arg, factor()) for arg in args[1:]]
        return self.apply("select", args[0], *parts)

    def _rule(self, at: int, node: Node, d: list[int | None]) -> int | None:
        """What a node's operands' derivatives make of its own; None is zero."""
        if not any(part is not None for part in d):
            return None
        apply, zero = self.apply, self.constant(0)
        x, y, *_ = *node.args, -1
        if node.op in ("add", "sub"):
            second = d[1] if node.op == "add" or d[1] is None else apply("neg", d[1])
            return self._sum(d[0], second)
        if node.op == "mul":
            return self._sum(self._product(d[0], lambda: y), self._product(d[1], lambda: x))
        if node.op == "div":
            lost = self._product(d[1], lambda: at)
            gained = d[0] if lost is None else apply("sub", zero if d[0] is None else d[0], lost)
            return None if gained is None else apply("div", gained, y)
        if node.op in ("max", "min", "select"):
            *test, first, second = node.args
            c = test[0] if test else apply("at_least", *((first, second) if node.op == "max" else (second, first)))
            dx, dy = (zero if part is None else part for part in d[-2:])
            return apply("select", c, dx, dy)
        if node.op == "pow":
            base = self._product(d[0], lambda: apply("mul", y, apply("pow", x, apply("sub", y, self.constant(1)))))
            return self._sum(base, self._product(d[1], lambda: apply("mul", at, apply("log", x))))
        if node.op in SLOPES:
            return self._product(d[0], lambda: SLOPES[node.op](self, x, at))
        return None  # steps: less, at_least, equal, round, sign

    # -- looking -------------------------------------------------------------------------------------------------

    def reached(self, outputs: Iterable[int]) -> list[int]:
        """The nodes that some need, themselves included, operands first."""
        needed: set[int] = set()
        stack = list(outputs)
        while stack:
            at = stack.pop()
            if at not in needed:
                needed.add(at)
                stack += self.nodes[at].args
        return sorted(needed)

    def inputs(self, outputs: Iterable[int]) -> set[str]:
        """Names of the inputs that some nodes need."""
        return {str(self.nodes[at].value) for at in self.reached(outputs) if self.nodes[at].op == "input"}

    def evaluate(self, outputs: list[int], values: Mapping[str, Any], dtype: Any = np.float64) -> list[NDArray[Any]]:
        """The same in NumPy, in `dtype`; behind the outputs the largest magnitude on the way, constants aside."""
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
        """The nodes as JSON has them; only those that `last` needs, itself behind them, if it is given."""
        order = range(len(self.nodes)) if last is None else self.reached([last])
        place = {at: number for number, at in enumerate(order)}
        nodes = [self.nodes[at] for at in order]
        return [
            [op, *(place[arg] for arg in args)] if value is None else [op, repr(value)] for op, args, value in nodes
        ]

    @classmethod
    def from_list(cls, nodes: Any) -> Graph:
        """A graph of what `to_list` gave; ValueError for anything else. Nothing in it is run."""
        from ._reading import read

        graph = cls()
        read(graph, nodes)
        return graph
