"""Reads graphs from files: whatever is in there, it becomes a graph or a ValueError, and nothing of it is run."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from .operations import LIMIT, OPERATIONS

if TYPE_CHECKING:
    from .graph import Graph

__all__ = ["read"]

NUMBER = re.compile(r"-?(\d+(\.\d*)?(e[+-]?\d+)?|inf|nan)", re.ASCII)  # as `repr` writes them
NAME = re.compile(r"'([A-Za-z_]\w*)'", re.ASCII)


def read(graph: Graph, nodes: Any) -> list[int]:
    """Add to an empty graph what `Graph.to_list` gave.

    Parameters
    ----------
    graph : Graph
    nodes : list of list
        As JSON has it: ``[name, operands...]``, the operands being places of earlier ones.

    Returns
    -------
    list of int
        Where each became a node; simplification may have found several to be one.

    Raises
    ------
    ValueError
        If it is anything else; the message tells the place.
    """
    if not isinstance(nodes, list) or len(nodes) > LIMIT:
        got = f"{len(nodes)}" if isinstance(nodes, list) else type(nodes).__name__
        raise ValueError(f"a program: expected a list of at most {LIMIT} operations, got {got}")
    places: list[int] = []
    for number, node in enumerate(nodes):
        where = f"a program, operation {number}"
        if not isinstance(node, list) or not node or not isinstance(node[0], str):
            raise ValueError(f"{where}: expected [name, operands...], got {_shown(node)}")
        places.append(_place(graph, where, node, places))
    return places


def _place(graph: Graph, where: str, node: list[Any], places: list[int]) -> int:
    op, *args = node
    if op in ("const", "input"):
        text = args[0] if len(args) == 1 and isinstance(args[0], str) and len(args[0]) <= 80 else ""
        if op == "const" and NUMBER.fullmatch(text):
            return graph.constant(float(text))
        if op == "input" and (name := NAME.fullmatch(text)):
            return graph.input(name[1])
        raise ValueError(f"{where}: expected one {'number' if op == 'const' else 'name'} as text, got {_shown(args)}")
    if op not in OPERATIONS or len(args) != OPERATIONS[op][0]:
        raise ValueError(f"{where}: no operation {op[:40]!r} of {len(args)} operands")
    if not all(type(arg) is int and 0 <= arg < len(places) for arg in args):
        raise ValueError(f"{where}: operands must be earlier operations, got {_shown(args)}")
    return graph.apply(op, *(places[arg] for arg in args))


def _shown(value: Any) -> str:
    """Return what a file holds, in short: anything may be in there, of any size and depth."""
    if isinstance(value, list):
        flat = len(value) < 5 and list not in map(type, value)
        return f"[{', '.join(map(_shown, value))}]" if flat else f"a list of {len(value)}"
    small = isinstance(value, (str, float)) or (isinstance(value, int) and abs(value) < 1e9)
    return repr(value[:40] if isinstance(value, str) else value) if small else type(value).__name__
