"""The operations of a plan in words and numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..checks import check_count
from ..core import ACTIVATIONS, CODES, LOSSES, NONE
from ..core import plan as core
from ..extensions import extension_of
from ..layers import Activation, Dense
from ..objective import accuracy_kind, objective, reductions_of
from ..threads import get_num_threads

if TYPE_CHECKING:
    from ..building import BuiltLayer
    from ..lowering import Plan
    from ..model import Sequential

__all__ = ["Listing", "Operation", "check_training", "listing", "lowered", "plan", "table"]

GEMMS = {"dense": ("batch", "inputs", "units"), "d_input": ("batch", "units", "inputs")}
GEMMS["d_kernel"] = ("inputs", "batch", "units")
MOST_ROWS = 2**48
ENOUGH_ROWS = 4096  # plans for more have the same operations
OF_NO_ROW = ("batchnorm_running", "batchnorm_fold", "batchnorm_update")
NAMES = {number: name for name, number in CODES.items()}
ACTIVATION_NAMES = {number: name.removesuffix("_by_sign") for name, number in ACTIVATIONS.items()}
LOSS_NAMES = {number: name for name, number in LOSSES.items()}


class Operation(NamedTuple):
    """One operation of a plan.

    Attributes
    ----------
    number : int
        Its number in the plan.
    section : str
        ``"forward"``, ``"backward"``, ``"check"`` (for NaN and infinity) or ``"commit"`` (the update).
    name : str
        What it does, as `fastmlp._kernels` calls it: ``"dense"``, ``"d_kernel"``, ``"adam"``, ... or ``"python"``.
    layer : str or None
        The key of its layer; None for what belongs to none.
    shape : tuple of int
        Of a product ``(rows, depth, columns)``: 128x784x256; else of what it goes over.
    regime : str or None
        ``"walk"``: together with its neighbours, 128 rows at a time; ``"split"``: by itself over all rows. None for
        Python.
    threads : int
        How many take part.
    fused : tuple of str
        What it does besides: the activation, batch norm or derivative in a product, the bias' gradient, ...
    compiled : bool
    python : str or None
        The object that runs in Python.
    reason : str or None
        Why it does, if that is known.
    multiply_adds : int
        Of products; 0 for all else.
    """

    number: int
    section: str
    name: str
    layer: str | None
    shape: tuple[int, ...]
    regime: str | None
    threads: int
    fused: tuple[str, ...]
    compiled: bool
    python: str | None
    reason: str | None
    multiply_adds: int

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table."""
        what = "compiled" if self.compiled else f"Python: {self.python}"
        return (
            *(str(self.number), self.section, self.name, self.layer or "", "x".join(map(str, self.shape))),
            *(self.regime or "", str(self.threads), ", ".join(self.fused), what),
            f"{self.multiply_adds:,}" if self.multiply_adds else "",
        )


HEAD = ("", "section", "operation", "layer", "shape", "regime", "threads", "with", "runs", "multiply-adds")
RIGHT = (0, 4, 6, 9)


def table(rows: Sequence[tuple[str, ...]], right: Iterable[int]) -> list[str]:
    """Lines of columns; those of `right` are set to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = set(right)
    return [
        "  ".join(
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


class Listing(list[Operation]):
    """The operations of a plan, in their order; prints as a table.

    Attributes
    ----------
    batch : int
        Rows.
    training : bool
        Whether it is a training step, or a prediction.
    dtype : str
    threads : int
        How many there are to take part.
    """

    def __init__(self, operations: Iterable[Operation], batch: int, training: bool, dtype: str, threads: int) -> None:
        super().__init__(operations)
        self.batch, self.training, self.dtype, self.threads = batch, training, dtype, threads

    @property
    def multiply_adds(self) -> int:
        """Of all operations."""
        return sum(operation.multiply_adds for operation in self)

    @property
    def title(self) -> str:
        """What is listed."""
        what = "training step" if self.training else "prediction"
        return f"{what} of {self.batch} rows, {self.dtype}, threads: {self.threads}"

    @property
    def notes(self) -> list[str]:
        """What runs in Python for a reason that is known."""
        found = {operation.python: operation.reason for operation in self if operation.reason}
        return [f"{python} runs in Python: {reason}" for python, reason in found.items()]

    def to_dict(self) -> dict[str, Any]:
        """The same in dicts and lists, as JSON has them."""
        rows = [{**operation._asdict(), "shape": list(operation.shape)} for operation in self]
        return {
            "batch": self.batch,
            "training": self.training,
            "dtype": self.dtype,
            "threads": self.threads,
            "multiply_adds": self.multiply_adds,
            "operations": [{**row, "fused": list(row["fused"])} for row in rows],
        }

    def __str__(self) -> str:
        total = ("", "total", *[""] * 7, f"{self.multiply_adds:,}")
        lines = table([HEAD, *(operation.cells for operation in self), total], RIGHT)
        return "\n".join([self.title, *lines, *self.notes])

    __repr__ = __str__


def plan(net: Sequential, batch: int = 32, *, training: bool | None = None) -> Listing:
    """List the operations that a step over `batch` rows runs; nothing is run, and no memory of a batch taken.

    Parameters
    ----------
    net : Sequential
    batch : int
        Rows of a step, at least 1.
    training : bool, optional
        A training step (the network must be compiled with a loss), or a prediction. None takes the step if it can.

    Returns
    -------
    Listing
        A list of `Operation`; ``print`` shows a table, ``to_dict()`` is for JSON. Metrics in NumPy are no part of it.

    Raises
    ------
    NotBuiltError
        If the network has no parameters yet.
    RuntimeError
        If a training step is asked for, and the network is not compiled.
    """
    rows = check_count("batch", batch)
    if rows > MOST_ROWS:
        raise ValueError(f"batch: expected at most {MOST_ROWS} rows, got {rows}")
    training = check_training(net, training)
    with net._usage.reading("plan"):
        return listing(net, lowered(net, min(rows, ENOUGH_ROWS), training), rows, training)


def check_training(net: Sequential, training: object) -> bool:
    """Whether to look at a training step."""
    if training is None:
        return net.optimizer is not None and net.loss is not None
    if not isinstance(training, (bool, np.bool_)):
        raise TypeError(f"training: expected True, False or None, got {training!r}")
    return bool(training)


def lowered(net: Sequential, capacity: int, training: bool) -> Plan:
    """The plan of a step or of a prediction."""
    net._memory()
    if not training:
        return net._lowering(capacity, training=False).predict()
    loss, optimizer = objective(net)
    return net._lowering(capacity, training=True).train(loss, accuracy_kind(net), optimizer)


def listing(net: Sequential, plan: Plan, batch: int, training: bool) -> Listing:
    """The operations of a plan, for so many rows, which may be more than it has memory for."""
    threads = get_num_threads()
    walks, members = _regimes(net, plan, batch, threads)
    operations = []
    for section, (first, last) in plan.sections.items():
        for at in range(first, last):
            op = dict(zip(plan.ops.dtype.names or (), plan.ops[at].item(), strict=True))
            operations.append(_operation(net, op, at, section, batch, bool(walks[at]), int(members[at])))
    return Listing(operations, batch, training, net.dtype.name, threads)


def _regimes(net: Sequential, plan: Plan, batch: int, threads: int) -> tuple[Any, Any]:
    """Which operations walk and how many members each has: asked of the kernels, run by run of compiled ones."""
    number = len(plan.ops)
    walks, members = np.zeros(number, np.intp), np.ones(number, np.intp)
    run = core.Run(plan.records, plan.table, net._memory().counters, plan.capacity, net.dtype == np.float64)
    # A compiled plan runs as a whole; where there is Python in it, each section by itself, up to the next call.
    for first, last in plan.sections.values() if plan.calls else [(0, number)]:
        calls = [at for at in range(first, last) if plan.ops["code"][at] == CODES["python"]]
        for begin, end in zip([first, *(at + 1 for at in calls)], [*calls, last], strict=True):
            if begin < end:
                run.schedule(begin, end, batch, threads, walks, members)
    return walks, members


def _operation(
    net: Sequential, op: dict[str, Any], at: int, section: str, batch: int, walks: bool, threads: int
) -> Operation:
    name = NAMES[op["code"]]
    place = None if op["layer"] == NONE else net._built[op["layer"]]
    key = None if place is None else place.key
    if name == "python":
        who, reason, shape = _in_python(net, place, section, batch)
        return Operation(at, section, name, key, shape, None, 1, (), False, who, reason, 0)
    shape = _shape(op, name, batch)
    work = math.prod(shape) if name in GEMMS else 0
    fused = tuple(_fused(net, op, name))
    return Operation(
        at, section, name, key, shape, "walk" if walks else "split", threads, fused, True, None, None, work
    )


def _shape(op: dict[str, Any], name: str, batch: int) -> tuple[int, ...]:
    if name in GEMMS:
        return tuple(batch if side == "batch" else op[side] for side in GEMMS[name])
    if op["size"]:
        return (op["size"],)
    if name in OF_NO_ROW:
        return (op["units"],)
    if op["units"]:
        return (batch, op["units"])
    return (batch,) if name == "loss_sum" else ()


def _fused(net: Sequential, op: dict[str, Any], name: str) -> list[str]:
    """What an operation does besides what its name says."""
    if name in ("d_kernel", "d_kernel_sum"):
        checks = op["flag"] and (name == "d_kernel_sum" or op["a"] == NONE)  # where there are sums, these are looked at
        return ["d_bias"] * (op["bias"] != NONE) + ["check"] * bool(checks)
    if name.startswith("learned"):
        layer: Any = net._built[op["layer"]].layer
        return list(layer.activation._learned())
    if name == "loss":
        loss = repr(net.loss) if op["kind"] == LOSSES["program"] else LOSS_NAMES[op["kind"]]
        return [loss] + ["accuracy"] * bool(op["metric"])
    if name == "penalty":
        arenas = net._memory()
        return [f"{one!r} of {key}" for key, one in arenas.regularizers.items() if arenas.reference(key) == op["x"]]
    found = ["batchnorm"] if name == "dense" and op["scale"] != NONE else []
    takes_one = name in ("activation", "activation_backward") or op["kind"] != ACTIVATIONS["identity"]
    if op["a"] != NONE and takes_one and name not in ("gather", "dropout", "softmax", "softmax_backward"):
        activation = ACTIVATION_NAMES.get(op["kind"], "activation")
        found.append(f"derivative of {activation}" if name == "d_input" else activation)
    return found


def _in_python(
    net: Sequential, place: BuiltLayer | None, section: str, batch: int
) -> tuple[str, str | None, tuple[int, ...]]:
    """What runs, why in Python, and over how much."""
    if place is None:
        if section == "commit":
            return repr(net.optimizer), None, (net.count_params(),)
        found = reductions_of(net)
        if section == "forward":
            return repr(net.loss), found[0].reason, (batch, net._built[-1].units)
        keys = net._memory().regularizers
        foreign = [(key, one.reason) for key, one in zip(keys, found[-len(keys) :], strict=True) if one.reason]
        named = ", ".join(f"{keys[key]!r} of {key}" for key, _ in foreign)
        return named, "; ".join(dict.fromkeys(why for _, why in foreign)), ()
    layer, shape = place.layer, (batch, place.units)
    if isinstance(layer, (Dense, Activation)):
        return repr(layer.activation), extension_of(layer.activation, net.dtype).reason, shape
    return repr(layer), None, shape
