"""Lowering: from the graph of a network to a plan, a flat list of operations over arenas sized before the run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from .. import losses
from .._kernels import ARENAS, NONE, SHIFT
from ..optimizers import Optimizer, execution_of
from .emit import Emitter, pack_records
from .fuse import fuse
from .ir import Graph, Operation, Value
from .ops.add import emit_sum
from .ops.average import add_average
from .ops.check import add_checks
from .ops.clip import add_clipping
from .ops.constraint import add_constraints
from .ops.gather import add_where_needed, callers_rows
from .ops.keep_output import add_keep_output
from .ops.loss import add_loss, takes_last_activation
from .ops.penalty import add_penalties
from .ops.update import add_update
from .plan import Plan, Tensor

if TYPE_CHECKING:
    from .memory import Arenas
    from .network import BuiltLayer, Network

__all__ = ["Lowering"]


class Lowering(Emitter):
    """Makes one plan; each method makes one kind.

    Parameters
    ----------
    network : Network
    memory : Arenas
        Where the parameters lie.
    capacity : int
        Rows of the largest batch.
    training : bool
        Whether statistics are those of the batch, and dropout drops.
    transforms : sequence of callable
        Each is called with the lowering where gradients are complete, and adds what changes them before the update:
        sums over processes first, then what clips them.

    Attributes
    ----------
    trainable : frozenset of str
        Keys of the parameters that are learned.
    keep : bool
        Whether what the way back needs must be kept.
    checks : bool
        Whether gradients must be finite.
    checked : set of str
        Keys of parameters whose gradient is looked at where it is made.
    derived : set of Operation
        Those whose activation's derivative is fused into what made their output's gradient.
    shared : set of int
        References of gradients that belong to several values: nobody may write over them.
    sums : list of dict
        Operations that sum up gradients made by blocks of the batch, for the end of the way back.
    statistics : dict of str to Tensor
        Where statistics of the batch lie, by the keys of the running ones.
    widths : int
        Columns of all layers.
    """

    def __init__(
        self,
        network: Network,
        memory: Arenas,
        capacity: int,
        *,
        training: bool,
        transforms: Sequence[Callable[[Lowering], None]] = (),
    ) -> None:
        super().__init__(memory, capacity, max(max(place.inputs, place.units) for place in network.layers))
        self.network = network
        self.graph = graph_of(network, memory, training=training)
        self.transforms = transforms
        self.trainable = network.trainable()
        self.keep = self.checks = False
        self.checked: set[str] = set()
        self.derived: set[Operation] = set()
        self.shared: set[int] = set()
        self.sums: list[dict[str, object]] = []
        self.statistics: dict[str, Tensor] = {}
        self.widths = sum(place.units for place in network.layers)
        self._out: Tensor | None = None
        self._gradients: dict[Value, Tensor] = {}
        self._learning: dict[Value, bool] = {}
        self._needed: dict[Value, bool] = {}
        self._numbers = {place.key: number for number, place in enumerate(network.layers)}

    # -- plans ---------------------------------------------------------------------------------------------------

    def predict(self) -> Plan:
        """Return the plan of the way forward alone, to the caller's array."""
        units = self.graph.output.units
        self._forward(out=Tensor(ARENAS["out"] << SHIFT, units, units))
        return self._finish(self.graph.output.at)

    def evaluate(self, loss: losses.Loss, metric: str | None, *, keep_outputs: bool = False) -> Plan:
        """Return the plan of forward, loss and metric; outputs can be kept for metrics in NumPy."""
        out, _ = self._forward_to_loss(loss, metric)
        if keep_outputs:
            add_keep_output(self, out)
        add_penalties(self, learning=False)
        return self._finish(out)

    def train(self, loss: losses.Loss, metric: str | None, optimizer: Optimizer, *, keep_outputs: bool = False) -> Plan:
        """Return the plan of a whole step; its sections can be run apart."""
        self.keep = True
        out, d_out = self._forward_to_loss(loss, metric)
        if keep_outputs:
            add_keep_output(self, out)
        marks = {"forward": len(self.records)}
        self.checks = True
        self._backward(d_out, to_input=False)
        add_penalties(self, learning=True)
        marks["backward"] = len(self.records)
        self._transform()
        marks["transform"] = len(self.records)
        add_checks(self, optimizer)
        marks["check"] = len(self.records)
        self._update(optimizer)
        for operation in self.graph.operations:
            operation.update(self)
        add_average(self, optimizer, compiled=True)
        marks["commit"] = len(self.records)
        return self._finish(out, marks, d_out=d_out)

    def step(self, optimizer: Optimizer, *, statistics: bool) -> Plan:
        """Return the plan of what a step does with what is given: gradients, and `statistics` of the batch or none.

        Transforms, checks and update; then what moves the running statistics.
        """
        self._transform()
        marks = {"transform": len(self.records)}
        add_checks(self, optimizer)
        marks["check"] = len(self.records)
        self._update(optimizer)
        if statistics:
            for operation in self.graph.operations:
                operation.expect_statistics(self)
                operation.update(self)
        add_average(self, optimizer, compiled=True)
        marks["commit"] = len(self.records)
        self.graph.operations.clear()
        return self._finish(Tensor(NONE, 0, 0), marks)

    def _transform(self) -> None:
        """Add what changes complete gradients before they are looked at, and used."""
        for add in self.transforms:
            add(self)

    def _update(self, optimizer: Optimizer) -> None:
        """Clip gradients that are known to be finite, update, and constrain."""
        if optimizer.clipping and execution_of(optimizer).kernel is not None:
            add_clipping(self, optimizer.clipping)
        add_update(self, optimizer)
        add_constraints(self)
        add_average(self, optimizer, compiled=False)

    def layer_outputs(self) -> tuple[Plan, dict[str, Tensor | None]]:
        """Return the plan of the way forward, and where the outputs of each layer lie; None for the inputs."""
        graph = self.graph
        found = graph.of_layers
        graph.kept = set(found.values())
        self._forward()
        places = {key: None if value is graph.input else value.at for key, value in found.items()}
        return self._finish(graph.output.at), places

    def vjp(self, *, learning: bool = True) -> Plan:
        """Return the plan of forward, and of the way back from a gradient that the caller writes into ``d_out``.

        Not `learning`, it goes to the inputs alone.
        """
        if not learning:
            for operation in self.graph.operations:
                operation.learns = False
        self.keep = True
        self._forward()
        marks = {"forward": len(self.records)}
        self._lay_out_gradients()
        d_out = self._buffer(0, self.graph.output.units)
        d_input = self._backward(d_out, to_input=True)
        marks["backward"] = len(self.records)
        return self._finish(self.graph.output.at, marks, d_out=d_out, d_input=d_input)

    # -- forward -------------------------------------------------------------------------------------------------

    def _forward(self, out: Tensor | None = None) -> None:
        """Add the operations of the way forward; the last one writes to `out` if it is given."""
        graph = self.graph
        fuse(graph, fold=not self.keep and not graph.training)
        add_where_needed(graph)
        graph.input.tensor = callers_rows(graph.input.units)
        self._out = out
        for operation in graph.operations:
            self.index = operation.index
            operation.forward(self)
        self.index = NONE

    def _forward_to_loss(self, loss: losses.Loss, metric: str | None) -> tuple[Tensor, Tensor]:
        """Add forward, loss and metric; return the predictions, and the gradient of what the loss reads."""
        joint = takes_last_activation(self.graph, loss)
        self._forward()
        z = self.graph.output.at
        self._lay_out_gradients()
        d_out = self._buffer(0, z.units)
        return add_loss(self, loss, metric, z, d_out, joint=joint), d_out

    def lay_out(self, value: Value) -> Tensor:
        """Return where a value lies from now on: in the caller's array if it is the last, else in new memory."""
        last = value is self.graph.output and self._out is not None
        value.tensor = self._out if last else self.tensor(value.units)
        return value.at

    # -- backward ------------------------------------------------------------------------------------------------

    def _lay_out_gradients(self) -> None:
        """Take memory for gradients: of a chain two buffers, an operation reads one and writes the other.

        In a fused group each gradient has memory of its own, since d_kernel reads it later; so it has where a value is
        read twice.
        """
        values = [self.graph.input, *(operation.output for operation in self.graph.operations)]
        widest = max(value.units for value in values)
        self._alternate = not self.groups and self.graph.is_chain
        widths = (widest, widest) if self._alternate else (self.graph.output.units,)
        self._buffers = [self.allocate(self.capacity * self.stride(units)) for units in widths]

    def _buffer(self, number: int, units: int) -> Tensor:
        return self.tensor(units, self._buffers[number])

    def _backward(self, d_out: Tensor, *, to_input: bool) -> Tensor | None:
        """Add the operations of the way back; return the gradient of the inputs if it is asked for."""
        graph = self.graph
        self._learning = self._learning_before(inputs=False)
        self._needed = self._learning_before(inputs=to_input)
        self._gradients = {graph.output: d_out}
        for operation in reversed(graph.operations):
            passes = operation.learns or any(map(self.needs, operation.inputs))
            if operation.output in self._gradients and passes:
                self.index = operation.index
                operation.backward(self)
                if operation.output is not graph.input:
                    del self._gradients[operation.output]
        self.end_group()
        if self.sums:
            self.records[-1]["barrier"] = self.sums[-1]["barrier"] = True
        self.records += self.sums
        return self._gradients[graph.input] if to_input else None

    def needs(self, value: Value) -> bool:
        """Return whether the gradient of a value is wanted: by the caller, or for parameters before it."""
        return self._needed[value]

    def learning_before(self, value: Value) -> bool:
        """Return whether parameters are learned in what makes a value."""
        return self._learning[value]

    def _learning_before(self, *, inputs: bool) -> dict[Value, bool]:
        """Return of each value whether parameters are learned in what makes it; `inputs` is what holds for the inputs.

        In one pass, since operations stand behind what they read: a network may be deeper than Python's stack.
        """
        found = {self.graph.input: inputs}
        for operation in self.graph.operations:
            found[operation.output] = operation.learns or any(found[value] for value in operation.inputs)
        return found

    def gradient(self, value: Value) -> Tensor:
        """Return the gradient of a value, complete."""
        return self._gradients[value]

    def give(self, value: Value, d: Tensor) -> None:
        """Say where the gradient of a value lies, if it is wanted; those of several readers add up."""
        if not self.needs(value):
            return
        if value in self._gradients:
            total = self.tensor(value.units)
            emit_sum(self, self._gradients[value], d, total)
            d = total
        self._gradients[value] = d

    def new_gradient(self, value: Value) -> Tensor:
        """Return memory for the gradient of a value, beside that of the operation that makes it."""
        if not self._alternate:
            return self.tensor(value.units)
        self._buffers.reverse()
        return self._buffer(0, value.units)

    def in_place(self, d: Tensor) -> Tensor:
        """Return where an operation writes that may write over the gradient it reads, unless somebody else reads it."""
        readers = sum(other.ref == d.ref for other in self._gradients.values())
        return d if readers < 2 and d.ref not in self.shared else self.tensor(d.units)

    # -- the end -------------------------------------------------------------------------------------------------

    def layer_of(self, key: str) -> int:
        """Return the number of the layer that has a parameter."""
        return self._numbers[key.rpartition(".")[0]]

    def _finish(
        self,
        out: Tensor,
        marks: Mapping[str, int] | None = None,
        *,
        d_out: Tensor | None = None,
        d_input: Tensor | None = None,
    ) -> Plan:
        """Return all of it as a plan."""
        self.end_group()
        sections: dict[str, tuple[int, int]] = {}
        first = 0
        for name, mark in (marks or {"forward": len(self.records)}).items():
            sections[name] = (first, mark)
            first = mark
        return Plan(
            pack_records(self.records),
            [record["name"] for record in self.records],
            [record["layer"] for record in self.records],
            [record["note"] for record in self.records],
            self.table(),
            self.capacity,
            self.work,
            sections,
            {number: record["call"] for number, record in enumerate(self.records) if "call" in record},
            out,
            d_out,
            d_input,
            [trace for operation in self.graph.operations for trace in operation.traces()],
            self.statistics,
            self.trainable,
            self.python,
            self.kept,
        )


def graph_of(network: Network, memory: Arenas, *, training: bool) -> Graph:
    """Return the graph of a network, as its layers hand it over."""
    graph = Graph(network.inputs, memory.dtype, memory.executions, training=training)
    numbers = {id(place.layer): number for number, place in enumerate(network.layers)}

    def lower(chain: Sequence[BuiltLayer], value: Value) -> Value:
        for place in chain:
            outputs = []
            for branch, columns in zip(place.branches, place.columns, strict=True):
                graph.layer, graph.index = place, numbers[id(place.layer)]
                outputs.append(lower(branch, graph.op("select", value, columns=columns)))
            graph.layer, graph.index = place, numbers[id(place.layer)]
            layer = place.layer
            value = layer.join(graph, value, outputs) if outputs else layer.lower(graph, value)
            graph.of_layers[place.key] = value
        return value

    graph.output = lower(network.chain, graph.input)
    return graph
