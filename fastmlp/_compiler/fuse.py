"""Fusing: what can be done in the epilogue of the operation before it leaves the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .ops.activation import Activated, Activation
from .ops.batchnorm import BatchNorm
from .ops.dense import Dense

if TYPE_CHECKING:
    from .ir import Graph, Operation

__all__ = ["fuse"]


def fuse(graph: Graph, *, fold: bool) -> None:
    """Take activations into products and batch norms; with `fold`, batch norm by running statistics into products."""
    fused: set[Operation] = set()
    for operation in graph.operations:
        before = None if graph.kept.intersection(operation.inputs) else _only_source(operation)
        if isinstance(operation, Activation) and isinstance(before, Activated):
            if before.takes_activation and before.spec is None:
                assert operation.spec is not None
                before.fuse(operation.spec)
                graph.bypass(operation, keeper=before)
                fused.add(operation)
        elif (
            fold
            and isinstance(operation, BatchNorm)
            and isinstance(before, Dense)
            and not operation.by_batch
            and before.spec is None
            and before.folded is None
        ):
            before.fold(operation)
            graph.bypass(operation, keeper=before)
            fused.add(operation)
    graph.remove(fused)


def _only_source(operation: Operation) -> Operation | None:
    """Return what makes the input of an operation that alone reads it."""
    return operation.x.source if len(operation.inputs) == 1 and len(operation.x.readers) == 1 else None
