"""Elementwise functions as data: what plain NumPy code is recorded into, and what the kernels run.

A `Graph` is built operation by operation, simplified on the way, differentiated, run in NumPy, turned into JSON and
back; `assemble` makes instructions of it.
"""

from ._assembly import LIMITS, Assembled, assemble
from ._graph import LIMIT, OPERATIONS, Graph, Node
from ._reading import read

__all__ = ["LIMIT", "LIMITS", "OPERATIONS", "Assembled", "Graph", "Node", "assemble", "read"]
