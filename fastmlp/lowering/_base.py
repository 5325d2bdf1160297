"""What the parts of lowering share: tensors, nodes, stages, the plan, and the memory that is laid out for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import activations
from ..core import ARENA, CODES, NONE, SHIFT

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..building import BuiltLayer
    from ..layers import Layer
    from ..program import Assembled
    from ..state import Arenas

READ = 8  # multiply-adds that take as long as reading or writing a number of a kernel

Call = Callable[[Any, int], None]

# Operations in which a row of the batch meets no other: some rows can go through several before the next rows do.
BY_ROWS = frozenset(
    (
        *("gather", "dense", "batchnorm", "activation", "learned", "dropout", "softmax", "loss", "softmax_backward"),
        *("activation_backward", "learned_backward", "dropout_backward", "batchnorm_backward", "d_input"),
    )
)
WALK_BYTES = 640 << 10  # of parameters: so many stay in cache while rows walk; beyond, each GEMM is split


class Tensor(NamedTuple):
    """Rows in an arena: where they begin, their stride, their length, and their table of row offsets."""

    ref: int
    ld: int
    units: int
    starts: int = NONE


class Node(NamedTuple):
    """What a layer asked for; `place` is the layer's number."""

    kind: str
    place: int
    activation: activations.Activation | None = None


class Stage:
    """One fused piece of the way forward, and what the way back needs of it."""

    def __init__(self, kind: str, place: int, x: Tensor, out: Tensor) -> None:
        self.kind = kind
        self.place = place
        self.x = x
        self.out = out
        self.z = out  # before the activation
        self.kernel: activations.Kernel | None = None  # the fused activation, and its number
        self.code = 0
        self.extra: dict[str, Any] = {}


class Plan(NamedTuple):
    """Operations and what a run of them needs."""

    ops: NDArray[Any]
    table: NDArray[np.int64]
    capacity: int
    work: int  # numbers in the work arena
    sections: dict[str, tuple[int, int]]
    calls: list[Call]
    out: Tensor
    d_out: Tensor | None
    d_input: Tensor | None
    stages: list[tuple[int, Tensor, bool]]  # for telling where a NaN began; one row, or one for each of the batch
    python: list[str]  # what runs in Python, in words
    kept: list[Any]  # what operations point to
    records: NDArray[Any]  # the operations for the kernels
    further: list[float]  # hyper-parameters after the learning rate


class Base:
    """Collects the nodes of a network and makes plans of them.

    Parameters
    ----------
    built : list of BuiltLayer
    arenas : Arenas
        Where the parameters lie.
    capacity : int
        Rows of the largest batch.
    training : bool
        Statistics of the batch, and dropout.
    """

    def __init__(self, built: list[BuiltLayer], arenas: Arenas, capacity: int, *, training: bool) -> None:
        self.built = built
        self.arenas = arenas
        self.capacity = capacity
        self.training = training
        self.nodes: list[Node] = []
        self._place = 0
        self._at = NONE  # the layer whose operations are added
        self._ops: list[dict[str, Any]] = []
        self._walks = arenas.size * arenas.dtype.itemsize <= WALK_BYTES
        self._later: list[dict[str, Any]] = []  # what waits for the end of a walk
        self._checks = False  # whether gradients must be finite
        self._looked_at: set[str] = set()  # parameters whose gradient is looked at where it is made
        self._ahead = 0  # operations that depend on no row, and come before all others
        self._calls: list[Call] = []
        self._kept: list[Any] = []  # what operations point to
        self._python: list[str] = []
        self._work = 0
        self._align = 64 // arenas.dtype.itemsize
        widest = max([capacity, *(max(p.inputs, p.units) for p in built)])
        self._table = [np.arange(widest + 2, dtype=np.int64)]
        self._starts: dict[int, int] = {}
        for self._place, place in enumerate(built):
            place.layer.lower(self)

    # -- what layers call ----------------------------------------------------------------------------------------

    def dense(self, layer: Layer) -> None:
        """Add ``x kernel + bias``."""
        self.nodes.append(Node("dense", self._place))

    def activation(self, layer: Layer, activation: activations.Activation) -> None:
        """Add ``g(x)``; identities vanish, what can't be compiled runs in Python."""
        kernel = self._kernel(activation)
        if kernel is None:
            self.nodes.append(Node("python_activation", self._place, activation))
        elif kernel.name == "softmax":
            self.nodes.append(Node("softmax", self._place, activation))
        elif kernel.learned:
            self.nodes.append(Node("learned", self._place, activation))
        elif kernel.name != "identity":
            self.nodes.append(Node("activation", self._place, activation))

    def batchnorm(self, layer: Layer) -> None:
        """Add batch normalization."""
        self.nodes.append(Node("batchnorm", self._place))

    def dropout(self, layer: Layer) -> None:
        """Add dropout: nothing outside training."""
        if self.training and layer.rate > 0:  # type: ignore[attr-defined]
            self.nodes.append(Node("dropout", self._place))

    def python_layer(self, layer: Layer) -> None:
        """Add a layer that runs in NumPy."""
        self.nodes.append(Node("python_layer", self._place))

    def _kernel(self, activation: activations.Activation) -> activations.Kernel | None:
        """How an activation runs in the plan, if it can: found once for all plans of a network, which so agree."""
        known = self.arenas.kernels
        if id(activation) not in known:
            kernel = activations.kernel_of(activation)
            if kernel is None:
                from ..extensions import check_learns, extension_of  # what built-ins need no part of

                found = extension_of(activation, self.arenas.dtype)
                check_learns(activation, found)
                if found.handle is not None:
                    kernel = activations.Kernel("extension", **found.fields())
            known[id(activation)] = activation, kernel
        kernel = known[id(activation)][1]
        if kernel is not None and kernel.handle is not None:
            self._kept.append(kernel.handle)
        return kernel

    @staticmethod
    def _address(kernel: activations.Kernel) -> int:
        return 0 if kernel.handle is None else int(kernel.handle.address)

    def _loaded(self, program: Assembled) -> int:
        """The address of a program, which lives as long as the plan."""
        loaded = program.load(self.arenas.dtype)
        self._kept.append(loaded)
        return int(loaded.address)

    # -- memory --------------------------------------------------------------------------------------------------

    def _allocate(self, numbers: int) -> int:
        ref = ARENA["work"] << SHIFT | self._work
        self._work += -(-numbers // self._align) * self._align
        return ref

    def _stride(self, units: int) -> int:
        """Rows begin on a cache line, and not all in the same cache sets."""
        ld = -(-units // self._align) * self._align
        return ld + self._align if ld * self.arenas.dtype.itemsize % 1024 == 0 else ld

    def _row_offsets(self, ld: int) -> int:
        if ld not in self._starts:
            self._starts[ld] = sum(map(len, self._table))
            self._table.append(np.arange(self.capacity, dtype=np.int64) * ld)
        return self._starts[ld]

    def _tensor(self, units: int, ref: int | None = None) -> Tensor:
        ld = self._stride(units)
        return Tensor(self._allocate(self.capacity * ld) if ref is None else ref, ld, units, self._row_offsets(ld))

    def _vector(self, units: int) -> int:
        return self._allocate(units)

    def _entries(self, rows: Sequence[tuple[int, ...]]) -> int:
        """Where numbers that an operation reads come to stand in the plan's table."""
        start = sum(map(len, self._table))
        self._table.append(np.array(rows, dtype=np.int64).ravel())
        return start

    def _parameter(self, place: int, name: str) -> int:
        return self.arenas.reference(f"{self.built[place].key}.{name}")

    def _emit(self, code: str, **fields: Any) -> None:
        """Add an operation; what waited for the end of a walk comes before it, if it is no part of one."""
        op = self._operation(code, **fields)
        if not op["walk"]:
            self._end_walk()
        self._ops.append(op)

    def _emit_ahead(self, code: str, **fields: Any) -> None:
        """Add an operation that depends on no row of the batch."""
        self._ops.insert(self._ahead, self._operation(code, **fields))
        self._ahead += 1

    def _emit_later(self, code: str, **fields: Any) -> None:
        """Add an operation that what follows doesn't wait for: after the walk, if there is one."""
        if self._walks:
            self._later.append(self._operation(code, **fields))
        else:
            self._emit(code, **fields)

    def _end_walk(self) -> None:
        self._ops += self._later
        if self._later:
            self._ops[-1]["barrier"] = True
        self._later = []

    def _operation(
        self, code: str, *, barrier: bool = True, row_cost: float = 0.0, cost: float = 0.0, **fields: Any
    ) -> dict[str, Any]:
        """One operation; costs are in multiply-adds, `barrier` where what follows reads what this writes."""
        walk = self._walks and code in BY_ROWS
        op = {"code": CODES[code], "layer": self._at, "walk": walk, "barrier": barrier, "row_cost": row_cost}
        return {**op, "cost": cost, **fields}

    def _emit_python(self, call: Call, what: str) -> None:
        self._calls.append(call)
        if what not in self._python:
            self._python.append(what)
        self._emit("python", kind=len(self._calls) - 1)
