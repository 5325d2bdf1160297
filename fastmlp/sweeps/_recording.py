"""Recording an optimizer: ``update`` is called once with symbols, and what it leaves behind becomes a program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import TOLERANCE
from ..program import LIMITS, Assembled, Graph, assemble
from ..recording import Symbol, Unrecordable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..optimizers import Optimizer

SCALARS = ("learning_rate", "step")


def recorded(optimizer: Optimizer) -> tuple[Assembled | None, str | None]:
    """The program of ``update``, or why there is none."""
    try:
        return _recorded(optimizer), None
    except Unrecordable as reason:
        return None, str(reason)


def _recorded(optimizer: Optimizer) -> Assembled:
    """The program of ``update``, which gave what NumPy gives."""
    graph, outputs, names = _record(optimizer)
    again, *rest = _record(optimizer)
    if again.to_list() != graph.to_list() or rest != [outputs, names]:
        raise Unrecordable("update: two calls do different things")
    inputs = ("param", "grad", *names)
    if len(outputs) > LIMITS["outputs"] or len(inputs) > LIMITS["inputs"]:
        raise Unrecordable(f"it keeps {len(names)} arrays; at most {LIMITS['outputs'] - 1} can be compiled")
    try:
        assembled = assemble(graph, outputs, inputs, SCALARS, in_place=[name for name in inputs if name != "grad"])
        for dtype in (np.dtype(np.float32), np.dtype(np.float64)):
            _compare(optimizer, graph, outputs, assembled, dtype)
    except ValueError as error:
        raise Unrecordable(str(error)) from None
    return assembled


def _state(optimizer: Optimizer, param: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """A first state whose arrays are laid out as the parameter."""
    state = optimizer.init_state(param)
    for name, array in state.items():
        if not isinstance(array, np.ndarray) or array.shape != param.shape or array.dtype != param.dtype:
            raise Unrecordable(f"its state {name!r} is no array of the parameter's shape and dtype")
    return dict(state)


def _record(optimizer: Optimizer) -> tuple[Graph, list[int], list[str]]:
    """Calls ``update`` with symbols: the nodes of what it leaves in the parameter and in the state."""
    graph, dtype = Graph(), np.dtype(np.float64)

    def symbol(name: str, writable: bool) -> Symbol:
        return Symbol(graph, graph.input(name), dtype, writable=writable)

    try:
        names = list(_state(optimizer, np.zeros(3)))
        param, grad = symbol("param", True), symbol("grad", False)
        state: Any = {name: symbol(f"state {name}", True) for name in names}
        kept = dict(state)
        update: Any = optimizer.update
        answer = update(
            param,
            grad,
            state,
            *(symbol(name, False) for name in SCALARS),
        )
    except Unrecordable as reason:
        raise Unrecordable(f"update: {reason}") from None
    except Exception as error:  # of the code, which may well run in NumPy
        raise Unrecordable(f"update: {type(error).__name__}: {error}") from error
    if answer is not None or list(state) != names or any(state[name] is not kept[name] for name in names):
        raise Unrecordable("update: it returns something, or replaces an array of its state")
    return graph, [param._node, *(state[name]._node for name in names)], [f"state {name}" for name in names]


def _compare(
    optimizer: Optimizer, graph: Graph, outputs: list[int], assembled: Assembled, dtype: np.dtype[Any]
) -> None:
    """Raises if the program differs from NumPy over some steps."""
    program = assembled.load(dtype)
    param = np.linspace(-1.5, 2.0, 40).astype(dtype)
    state = _state(optimizer, param)
    for step, rate in enumerate((0.01, 0.02, 0.005), start=1):
        grad = np.sin(np.arange(40) * step).astype(dtype)
        before = {"param": param.copy(), "grad": grad} | {f"state {k}": v.copy() for k, v in state.items()}
        *_, most = graph.evaluate(outputs, before | {"learning_rate": rate, "step": float(step)})
        found = [np.empty_like(param) for _ in outputs]
        program.run(list(before.values()), found, (rate, step))
        with np.errstate(all="ignore"):
            optimizer.update(param, grad, state, rate, step)
        for name, one, other in zip(("param", *state), found, (param, *state.values()), strict=True):
            if not (np.abs(one - other) <= TOLERANCE[dtype.name] * np.maximum(most, np.abs(other))).all():
                raise Unrecordable(f"update: recorded, it gives another {name} than NumPy in {dtype}")
