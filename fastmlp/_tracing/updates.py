"""Traces a function that changes arrays in place, step by step: ``update(param, grad, state, learning_rate, step)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .assembly import Assembled, assemble
from .bounds import ranges_of_state
from .cache import CHANGES, attributes
from .comparison import check_same, run
from .graph import Graph
from .symbols import Symbol, Untraceable
from .vm import LIMITS

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["TracedUpdate", "traced"]

SCALARS = ("learning_rate", "step")
RATES = (0.01, 0.02, 0.005)  # learning rates of the steps of a comparison
DTYPE = np.dtype(np.float64)


class TracedUpdate(NamedTuple):
    """The program of an update.

    Inputs are ``param``, ``grad`` and the arrays of state, outputs the parameter and the state; scalars are learning
    rate and step, and then the hyper-parameters that are functions of the step.
    """

    program: Assembled
    slots: int  # arrays of state
    ranges: tuple[int, ...] | None  # of the state, in which it and the parameter stay finite; None if nothing is known


class _Update(NamedTuple):
    """The nodes that an update leaves in the parameter and in the arrays of its state."""

    graph: Graph
    outputs: list[int]
    names: list[str]
    changes: bool  # whether the call has changed attributes of the object


def traced(
    make: Callable[[Mapping[str, Any]], Any], scheduled: Mapping[str, Callable[[int], float]] | None = None
) -> TracedUpdate:
    """Return the program of an update, compared with NumPy over some steps in both dtypes.

    Parameters
    ----------
    make : callable
        ``make(values)`` gives an object with methods ``init_state(param)`` and ``update(param, grad, state,
        learning_rate, step)``, whose attributes of these names are `values`: numbers, or symbols; all others are what
        they were at first, and changes by ``update`` stay. The names are ``learning_rate`` and those of `scheduled`.
    scheduled : mapping of str to callable, optional
        Hyper-parameters that are functions of the step: further scalars of the program.

    Raises
    ------
    Untraceable
        With the reason.
    """
    scheduled = scheduled or {}
    scalars = (*SCALARS, *scheduled)
    found = _trace(make, scalars)
    again = _trace(make, scalars)
    if (again.graph.to_list(), *again[1:3]) != (found.graph.to_list(), *found[1:3]):
        raise Untraceable("update: two calls do different things")
    if again.changes:
        raise Untraceable(CHANGES)
    inputs = ("param", "grad", *(f"state {name}" for name in found.names))
    if len(found.outputs) > LIMITS["outputs"] or len(inputs) > LIMITS["inputs"]:
        raise Untraceable(f"it keeps {len(found.names)} arrays; at most {LIMITS['outputs'] - 1} can be compiled")
    try:
        over = [name for name in inputs if name != "grad"]
        program = assemble(found.graph, found.outputs, inputs, scalars, in_place=over)
        for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            _compare(make, found, program, scheduled, dtype)
    except ValueError as error:
        raise Untraceable(str(error)) from None
    return TracedUpdate(program, len(found.names), ranges_of_state(found.graph, found.outputs, found.names))


def _first_state(owner: Any, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return a first state, whose arrays must be laid out as the parameter."""
    state = owner.init_state(param)
    for name, array in state.items():
        if not isinstance(array, np.ndarray) or array.shape != param.shape or array.dtype != param.dtype:
            raise Untraceable(f"its state {name!r} is no array of the parameter's shape and dtype")
    return dict(state)


def _trace(make: Callable[[Mapping[str, Any]], Any], scalars: Sequence[str]) -> _Update:
    """Call ``update`` with symbols: the nodes of what it leaves in the parameter and in the state."""
    graph = Graph()

    def symbol(name: str, writable: bool = False) -> Symbol:
        return Symbol(graph, graph.input(name), DTYPE, writable=writable)

    try:
        names = list(_first_state(make({}), np.zeros(3)))
        param, grad = symbol("param", True), symbol("grad")
        state = {name: symbol(f"state {name}", True) for name in names}
        kept = dict(state)
        rate, step, *others = (symbol(name) for name in scalars)
        owner = make({"learning_rate": rate, **dict(zip(scalars[2:], others, strict=True))})
        before = attributes(owner)
        answer = owner.update(param, grad, state, rate, step)
        changed = attributes(owner) != before
    except Untraceable as reason:
        raise Untraceable(f"update: {reason}") from None
    except Exception as error:  # of the code, which may well run in NumPy
        raise Untraceable(f"update: {type(error).__name__}: {error}") from error
    if answer is not None or list(state) != names or any(state[name] is not kept[name] for name in names):
        raise Untraceable("update: it returns something, or replaces an array of its state")
    return _Update(graph, [param.node, *(state[name].node for name in names)], names, changed)


def _compare(
    make: Callable[[Mapping[str, Any]], Any],
    found: _Update,
    assembled: Assembled,
    scheduled: Mapping[str, Callable[[int], float]],
    dtype: np.dtype[Any],
) -> None:
    """Raise `Untraceable` if the program differs from NumPy over some steps."""
    program = assembled.load(dtype)
    param = np.linspace(-1.5, 2.0, 40).astype(dtype)
    state = _first_state(make({}), param)
    for step, rate in enumerate(RATES, start=1):
        values = {name: schedule(step) for name, schedule in scheduled.items()}
        grad = np.sin(np.arange(40) * step).astype(dtype)
        before = {"param": param.copy(), "grad": grad} | {f"state {k}": v.copy() for k, v in state.items()}
        scalars = {"learning_rate": rate, "step": float(step), **values}
        *_, most = found.graph.evaluate(found.outputs, before | scalars)
        results = run(program, list(before.values()), len(found.outputs), tuple(scalars.values()))
        with np.errstate(all="ignore"):
            make({"learning_rate": rate, **values}).update(param, grad, state, rate, step)
        for name, got, expected in zip(("param", *state), results, (param, *state.values()), strict=True):
            check_same(f"update: {name} of {dtype}", got, [expected], most, before, dtype)
