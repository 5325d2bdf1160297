"""Makes instructions of a graph: they work on slots, and are fused where that saves a pass over a block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .vm import CODES, Program

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["Assembled", "assemble"]

COMPARISONS = {"less": "if_less", "at_least": "if_at_least", "equal": "if_equal"}


class Assembled(NamedTuple):
    """A program as data; `str` shows it.

    Attributes
    ----------
    code, first : list of tuple
        Instructions ``(name, out, operands...)`` over blocks, and over uniform numbers once a run. Slots are numbered
        through: inputs, uniforms, registers, outputs.
    values : list of float
        Uniform numbers; the first `scalars` are given anew to each run.
    """

    code: list[tuple[Any, ...]]
    first: list[tuple[Any, ...]]
    values: list[float]
    inputs: tuple[str, ...]
    scalars: tuple[str, ...]
    registers: int
    outputs: int

    def load(self, dtype: np.dtype[Any]) -> Any:
        """Return the program in memory; ValueError if it is beyond what the virtual machine takes."""
        return Program(
            _bytes(self.code),
            _bytes(self.first),
            np.array(self.values, dtype=np.float64).tobytes(),
            len(self.inputs),
            len(self.scalars),
            self.registers,
            self.outputs,
            dtype == np.float64,
        )

    def __str__(self) -> str:
        names = [*self.inputs, *self.scalars]
        names += [f"{value:.9g}" for value in self.values[len(self.scalars) :]]
        names += [f"r{number}" for number in range(self.registers)]
        names += [f"out{number}" for number in range(self.outputs)]
        lines = [(op, *(names[slot] for slot in slots)) for op, *slots in [*self.first, *self.code]]
        return "\n".join(f"{out} = {op} {' '.join(rest)}" for op, out, *rest in lines)


def _bytes(code: list[tuple[Any, ...]]) -> bytes:
    rows = np.zeros((len(code), 6), dtype=np.int32)
    for row, (op, *slots) in zip(rows, code, strict=True):
        row[: len(slots) + 1] = (CODES[op], *slots)
    return rows.tobytes()


def assemble(
    graph: Graph,
    outputs: Sequence[int],
    inputs: Sequence[str],
    scalars: Sequence[str] = (),
    given: Mapping[int, str] | None = None,
    in_place: Sequence[str] = (),
) -> Assembled:
    """Return a program that computes nodes.

    Parameters
    ----------
    graph : Graph
    outputs : sequence of int
        The nodes that it writes, in this order.
    inputs, scalars : sequence of str
        Names of arrays, and of numbers that are the same for all places.
    given : mapping of int to str, optional
        Nodes that need no computing, since their values come in under these names.
    in_place : sequence of str, optional
        For each output the only input that may lie where it does. By default every output may be any input.

    Raises
    ------
    ValueError
        If it needs something that is neither computed nor comes in. What is too large, `Assembled.load` refuses.
    """
    assembler = _Assembler(graph, outputs, inputs, scalars, given or {})
    return assembler.assembled(in_place)


class _Assembler:
    def __init__(
        self,
        graph: Graph,
        outputs: Sequence[int],
        inputs: Sequence[str],
        scalars: Sequence[str],
        given: Mapping[int, str],
    ) -> None:
        self.graph = graph
        self.given = given
        self.outputs = list(outputs)
        self.inputs, self.scalars = tuple(inputs), tuple(scalars)
        self.uses = [0] * len(graph.nodes)
        self.uniform: dict[int, bool] = {}
        for at in graph.reached(outputs):
            node = graph.nodes[at]
            for arg in node.args:
                self.uses[arg] += 1
            block = self._name(at) in self.inputs
            self.uniform[at] = not block and all(self.uniform[arg] for arg in node.args)
        for at in self.outputs:
            self.uses[at] += 1
        self.fused = {at: self._fused(at) for at in self.uniform}
        self.order = self._order()

    def _name(self, at: int) -> str | None:
        """Return the name under which a node comes in, if it does."""
        node = self.graph.nodes[at]
        return self.given.get(at, str(node.value) if node.op == "input" else None)

    def _fused(self, at: int) -> tuple[Any, ...]:
        """Return operation and operands of a node; products go into sums, comparisons into selects."""
        op, args, _ = self.graph.nodes[at]
        if at in self.given:
            return (op,)
        if op in ("add", "sub") and not self.uniform[at]:
            for product, other in (args, args[::-1]):
                node = self.graph.nodes[product]
                if node.op == "mul" and self.uses[product] == 1 and not self.uniform[product]:
                    name = "fma" if op == "add" else "fms" if product == args[0] else "fnma"
                    return (name, *node.args, other)
        if op == "mul" and not self.uniform[at]:
            for term, other in (args[::-1], args):  # x (1 + t) = x + x t, x (1 - t) = x - x t
                node = self.graph.nodes[term]
                if node.op in ("add", "sub") and self.uses[term] == 1 and not self.uniform[other]:
                    one, t = node.args if node.op == "sub" else node.args[::-1]
                    if self.graph.number(one) == 1 and not self.uniform[t]:
                        return ("fma" if node.op == "add" else "fnma", other, t, other)
        if op == "select":
            test = self.graph.nodes[args[0]]
            if test.op in COMPARISONS:
                return (COMPARISONS[test.op], *test.args, *args[1:])
        return (op, *args)

    def _order(self) -> list[int]:
        """Return the nodes that are computed, operands first, each as late as possible: that needs few registers."""
        order: list[int] = []
        seen: set[int] = set()
        for output in self.outputs:
            stack = [(output, False)]
            while stack:
                at, ready = stack.pop()
                if ready:
                    order.append(at)
                elif at not in seen:
                    seen.add(at)
                    stack.append((at, True))
                    stack += [(arg, False) for arg in reversed(self.fused[at][1:])]
        return order

    def assembled(self, in_place: Sequence[str]) -> Assembled:
        """Give slots to all, then make instructions."""
        slots = {at: self.inputs.index(name) for at, name in self._named(self.inputs)}
        first = self._uniforms(slots)
        block = [at for at in self.order if not self.uniform[at] and at not in slots]
        last = {arg: number for number, at in enumerate(block) for arg in self.fused[at][1:]}
        base = len(self.inputs) + len(self.values)
        free: list[int] = []
        made = 0
        code: list[tuple[Any, ...]] = []
        for number, at in enumerate(block):
            op, *args = self.fused[at]
            operands = [slots[arg] for arg in args]
            for arg in dict.fromkeys(args):  # whose register is free from here on, for this very result too
                if last[arg] == number and slots[arg] >= base and arg not in self.outputs:
                    free.append(slots[arg])
            if not free:
                free.append(base + made)
                made += 1
            slots[at] = free.pop()
            code.append((op, slots[at], *operands))
        return self._written(code, first, slots, base, made, in_place)

    @staticmethod
    def _writes(code: list[tuple[Any, ...]], source: int, place: int) -> int | None:
        """Return the instruction that leaves an output in a register, if it can write the output itself.

        It can where the input that lies in the output's place is not read behind it.
        """
        at = max((number for number, line in enumerate(code) if line[1] == source), default=None)
        return None if at is None or any(place in line[2:] for line in code[at + 1 :]) else at

    def _named(self, names: Sequence[str]) -> list[tuple[int, str]]:
        """Return the nodes that come in under these names."""
        return [(at, name) for at in self.order if (name := self._name(at)) is not None and name in names]

    def _uniforms(self, slots: dict[int, int]) -> list[tuple[Any, ...]]:
        """Give slots to uniform numbers; return the instructions that compute some of them."""
        self.values = [0.0] * len(self.scalars)
        base = len(self.inputs)
        for at, name in self._named(self.scalars):
            slots[at] = base + self.scalars.index(name)
        first = []
        for at in self.order:
            if self.uniform[at] and at not in slots:
                if self.graph.nodes[at].op == "input":
                    raise ValueError(f"{self.graph.nodes[at].value!r} is neither an input nor a scalar")
                slots[at] = base + len(self.values)
                value = self.graph.number(at)
                self.values.append(0.0 if value is None else value)
                if value is None:
                    op, *args = self.fused[at]
                    first.append((op, slots[at], *(slots[arg] for arg in args)))
        return first

    def _written(
        self,
        code: list[tuple[Any, ...]],
        first: list[tuple[Any, ...]],
        slots: dict[int, int],
        base: int,
        made: int,
        in_place: Sequence[str],
    ) -> Assembled:
        """Let the last instruction write an output, and copy the others behind it: an output may be an input."""
        sources = [slots[at] for at in self.outputs]
        if len(sources) > 1:  # an input that goes out is read before any output is written
            for source in sorted({source for source in sources if source < len(self.inputs)}):
                code.append(("copy", base + made, source))
                sources = [base + made if slot == source else slot for slot in sources]
                made += 1
        copies = [("copy", base + made + k, source) for k, source in enumerate(sources)]
        if code and code[-1][1] == sources[-1] and sources.count(sources[-1]) == 1:
            op, _, *operands = code[-1]
            code[-1] = (op, copies.pop()[1], *operands)
        direct = set()
        for k, name in enumerate(in_place[: len(copies)]):
            at = self._writes(code, sources[k], self.inputs.index(name))
            if at is not None and sources.count(sources[k]) == 1:
                new = {sources[k]: copies[k][1]}
                op, out, *operands = code[at]
                rest = [(line[0], *(new.get(slot, slot) for slot in line[1:])) for line in code[at + 1 :]]
                code = [*code[:at], (op, new[out], *operands), *rest]
                direct.add(k)
        copies = [copy for k, copy in enumerate(copies) if k not in direct]
        return Assembled(code + copies, first, self.values, self.inputs, self.scalars, made, len(self.outputs))
