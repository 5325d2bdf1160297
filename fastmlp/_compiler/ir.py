"""The graph of a network: operations over values, as layers hand them over, before anything is fused or laid out.

A value may be read by several operations; its gradients then add up. Each operation is one file of `ops`, which says
how it runs forward and backward, what it costs, and how a listing shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, ClassVar

from .. import activations
from ..activations import Activation, KernelSpec

if TYPE_CHECKING:
    import numpy as np

    from .._tracing.execution import Execution
    from .lower import Lowering
    from .network import BuiltLayer
    from .plan import Tensor

__all__ = ["Graph", "Operation", "Value", "builder"]


class Value:
    """Rows of numbers: the inputs of a network, or what an operation makes of others.

    Parameters
    ----------
    units : int
        Numbers of a row.
    source : Operation, optional
        What makes them; None for the inputs.
    """

    def __init__(self, units: int, source: Operation | None = None) -> None:
        self.units = units
        self.source = source
        self.readers: list[Operation] = []
        self.tensor: Tensor | None = None  # where they lie, once that is laid out

    @property
    def at(self) -> Tensor:
        """Where they lie."""
        assert self.tensor is not None, "read before it was laid out"
        return self.tensor


class Operation:
    """Base of all operations of a graph.

    Parameters
    ----------
    index : int
        The layer that asked for it: keys dropout's masks, and names the layer where a NaN began.
    units : int
        Columns of the output.
    *inputs : Value

    Attributes
    ----------
    learns : bool
        Whether the way back makes gradients of parameters here.
    in_python : bool
        Whether it runs in Python.
    reads_caller : bool
        Whether it can read the caller's rows where they lie; for others they are gathered first.
    adds_signed_zeros : bool
        Whether a zero's sign can show in the outputs: then what it reads must not be a ReLU that marks, for the way
        back, negative inputs by the sign of its zeros.
    takes_activation : bool
        Whether an activation that follows can be fused into it.
    """

    learns: bool = False
    in_python: ClassVar[bool] = False
    reads_caller: ClassVar[bool] = False
    adds_signed_zeros: ClassVar[bool] = False
    takes_activation: ClassVar[bool] = False

    def __init__(self, index: int, units: int, *inputs: Value) -> None:
        self.index = index
        self.inputs = inputs
        self.output = Value(units, self)
        for value in inputs:
            value.readers.append(self)

    @property
    def x(self) -> Value:
        """The input of an operation that has one."""
        return self.inputs[0]

    def forward(self, to: Lowering) -> None:
        """Lay out the output, and add what makes it."""
        raise NotImplementedError

    def backward(self, to: Lowering) -> None:
        """Add what takes the output's gradient to those of the inputs and of parameters."""
        raise NotImplementedError

    def expect_statistics(self, to: Lowering) -> None:
        """Lay out the statistics of the batch, which a caller writes, for `update`."""

    def update(self, to: Lowering) -> None:
        """Add what is committed at the end of a step that is kept, beside the optimizer's update."""

    def traces(self) -> list[tuple[int, Tensor, bool]]:
        """Return where a NaN or an infinity of this operation shows."""
        return [(self.index, self.output.at, False)]


class Graph:
    """The operations of a network in an order in which each stands after what it reads.

    Parameters
    ----------
    inputs : int
        Columns of the data.
    dtype : numpy.dtype
    executions : dict
        How activations run, by their id: found once for all plans of a network, which so agree.
    training : bool
        Whether it is for a training step: statistics of the batch, and dropout.

    Attributes
    ----------
    input, output : Value
    operations : list of Operation
    of_layers : dict of str to Value
        The outputs of each layer, by its key.
    kept : set of Value
        Those that somebody wants to see: no epilogue takes them away.
    layer : BuiltLayer
        The layer that is handing over its operations.
    index : int
        Its number.
    """

    layer: BuiltLayer
    index: int = 0  # of that layer

    def __init__(
        self,
        inputs: int,
        dtype: np.dtype[Any],
        executions: dict[int, tuple[Activation, Execution[KernelSpec]]],
        *,
        training: bool,
    ) -> None:
        self.input = self.output = Value(inputs)
        self.dtype = dtype
        self.training = training
        self._executions = executions
        self.operations: list[Operation] = []
        self.of_layers: dict[str, Value] = {}
        self.kept: set[Value] = set()

    def op(self, name: str, *inputs: Value, **values: Any) -> Value:
        """Add an operation by its name; this is what layers call."""
        return BUILDERS[name](self, *inputs, **values)

    def key(self, name: str) -> str:
        """Return the full key of an array of the layer at hand."""
        return f"{self.layer.key}.{name}"

    def execution_of(self, activation: Activation) -> Execution[KernelSpec]:
        """Return how an activation runs in a plan, or why it can't."""
        if id(activation) not in self._executions:
            execution = activations.execution_of(activation, self.dtype)
            activations.check_trainable(activation, execution)
            self._executions[id(activation)] = activation, execution
        return self._executions[id(activation)][1]

    def add(self, operation: Operation) -> Value:
        """Add an operation that is made; return its output."""
        self.operations.append(operation)
        self.output = operation.output
        return operation.output

    def remove(self, operations: Collection[Operation]) -> None:
        """Remove operations that were bypassed: all in one go, for a network may have many."""
        self.operations = [operation for operation in self.operations if operation not in operations]

    def bypass(self, operation: Operation, keeper: Operation | None = None) -> None:
        """Take an operation of one input out of the way, which is then to be removed.

        `keeper`, the operation before it, makes its output from now on. Without one, whatever read its output reads its
        input.
        """
        operation.x.readers.remove(operation)
        if keeper is not None:
            keeper.output = operation.output
            keeper.output.source = keeper
            return
        if self.output is operation.output:
            self.output = operation.x
        for reader in operation.output.readers:
            reader.inputs = tuple(operation.x if one is operation.output else one for one in reader.inputs)
            operation.x.readers.append(reader)

    @property
    def trainable(self) -> bool:
        """Whether the parameters of the layer at hand are learned."""
        return self.layer.trainable

    @property
    def is_chain(self) -> bool:
        """Whether every value is read by one operation at most."""
        values = [self.input, *(operation.output for operation in self.operations)]
        return all(len(value.readers) < 2 for value in values)


Builder = Callable[..., Value]
BUILDERS: dict[str, Builder] = {}


def builder(name: str) -> Callable[[Builder], Builder]:
    """Register a function ``(graph, *inputs, **values) -> Value`` under the name by which layers ask for it."""

    def add(function: Builder) -> Builder:
        BUILDERS[name] = function
        return function

    return add
