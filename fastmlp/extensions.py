"""How an activation that is not built in runs: as a native kernel, as a recorded program, or in Python."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import activations
from .activations import Activation
from .checks import TOLERANCE
from .core import program as core
from .native import NativeKernel, native_of, verify
from .program import Assembled, Graph, assemble
from .recording import Symbol, Unrecordable, node_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Extension", "Recording", "differentiated", "extension_of", "record"]

SMALL = (0.0, 1e-30, 1e-6, 1e-3, 0.1, 0.5, 1.0, 2.0, 3.0, 6.0, 20.0, 50.0, 100.0, 1e3, 1e4)
GRID = np.concatenate([np.linspace(-12.3, 12.7, 101), SMALL, np.negative(SMALL)])
BEYOND = np.array([np.inf, -np.inf, np.nan])


_busy: set[tuple[int, int]] = set()  # activations whose code is being recorded, by thread


class Extension(NamedTuple):
    """How an activation runs.

    Attributes
    ----------
    kind : str
        ``"builtin"``, ``"native"``, ``"recorded"`` or ``"python"``; all but the last run inside the plan.
    reason : str or None
        Why it runs in Python.
    handle : object
        What the kernels call; it must live as long as they do.
    reads_z : bool
        Whether the way back needs the argument, beside the value.
    operations : int
        Passes over a block, forward and backward.
    """

    kind: str
    reason: str | None = None
    handle: Any = None
    reads_z: bool = True
    operations: int = 8


class Recording(NamedTuple):
    """An activation as a graph: the nodes of ``a = g(z)`` and of ``dz``, with inputs ``z``, ``a`` and ``da``."""

    graph: Graph
    a: int
    dz: int

    def key(self) -> tuple[Any, ...]:
        """What equal recordings share; NaN equals NaN here, and -0 differs from 0."""
        return (*map(str, self.graph.nodes), self.a, self.dz)

    def programs(self) -> tuple[Assembled, Assembled]:
        """The way forward and the way back."""
        forward = assemble(self.graph, [self.a], ["z"])
        given = {} if self.graph.nodes[self.a].op in ("const", "input") else {self.a: "a"}
        return forward, assemble(self.graph, [self.dz], ["z", "a", "da"], given=given)


def extension_of(activation: Activation, dtype: np.dtype[Any]) -> Extension:
    """How `activation` runs in a network of `dtype`.

    Raises
    ------
    PluginError
        If it has a native kernel that doesn't do what its NumPy form does, or none for `dtype`.
    """
    if activations.kernel_of(activation) is not None:
        return Extension("builtin")
    kernel = native_of(activation)
    if kernel is not None:
        return _native(activation, kernel, dtype)
    me = (threading.get_ident(), id(activation))
    if me in _busy:  # its code builds the very network that it is recorded for
        return Extension("python", "it uses a network of itself")
    _busy.add(me)
    try:
        recording = record(activation, dtype)
        if record(activation, dtype).key() != recording.key():
            raise Unrecordable("two calls do different things")
        return _recorded(activation, recording, dtype)
    except Unrecordable as reason:
        return Extension("python", str(reason))
    finally:
        _busy.discard(me)


def _native(activation: Activation, kernel: NativeKernel, dtype: np.dtype[Any]) -> Extension:
    verify(activation, dtype)
    forward, backward = kernel.addresses(dtype)
    values = np.asarray(kernel.values(activation), dtype=np.float64).tobytes()
    handle = core.Extension(None, None, forward, backward, values, kernel)
    return Extension("native", None, handle)


# -- recording -------------------------------------------------------------------------------------------------------


def record(activation: Activation, dtype: np.dtype[Any]) -> Recording:
    """Calls `forward`, and `backward` or `derivative` if the class has one, with symbols; else differentiates.

    Raises
    ------
    Unrecordable
        With the reason, if the code does something else than elementwise operations.
    """
    if not activation.elementwise:
        raise Unrecordable("it works on whole rows (elementwise = False)")
    if not activation.recordable:
        raise Unrecordable("its class says that it can't be (recordable = False)")
    graph = Graph()
    z, da = (Symbol(graph, graph.input(name), dtype, writable=False) for name in ("z", "da"))
    a = _call(graph, "forward", activation.forward, z)
    value = Symbol(graph, a, dtype, writable=False)
    if _overrides(activation, "backward"):
        dz = _call(graph, "backward", activation.backward, z, value, da)
    else:
        if _overrides(activation, "derivative"):
            slope = _call(graph, "derivative", activation.derivative, z, value)
        else:
            slope = _built(lambda: graph.derivative(a, node_of(graph, z)))
        dz = _built(lambda: graph.apply("mul", node_of(graph, da), slope))
    return Recording(graph, a, dz)


def _built(make: Callable[[], int]) -> int:
    """The node that `make` adds to a graph, which may be too large for it."""
    try:
        return make()
    except ValueError as error:
        raise Unrecordable(str(error)) from None


def differentiated(activation: Activation, z: NDArray[Any]) -> NDArray[Any]:
    """The derivative at `z` of an activation that has none of its own, in NumPy; NotImplementedError if that fails."""
    try:
        graph, _, dz = record(activation, z.dtype)
    except Unrecordable as reason:
        raise NotImplementedError(
            f"{type(activation).__qualname__} has neither derivative(self, z, a) nor backward(self, z, a, da), one of "
            f"which training needs, since it can't be differentiated ({reason})"
        ) from None
    slope = graph.evaluate([dz], {"z": z, "da": 1.0}, z.dtype)[0]
    return np.array(np.broadcast_to(slope, z.shape))


def _overrides(activation: Activation, name: str) -> bool:
    return getattr(type(activation), name) is not getattr(Activation, name)


def _call(graph: Graph, name: str, method: Any, *symbols: Symbol) -> int:
    """The node of what a method returns."""
    try:
        with np.errstate(all="ignore"):
            result = method(*symbols)
        if not isinstance(result, Symbol):
            raise Unrecordable(f"it returns {type(result).__name__}, not an array made of its argument")
        if result.dtype.kind != "f":
            raise Unrecordable("it returns truth values")
        return node_of(graph, result)
    except Unrecordable as reason:
        raise Unrecordable(f"{name}: {reason}") from None
    except Exception as error:  # of the code, which may well run in NumPy
        raise Unrecordable(f"{name}: {type(error).__name__}: {error}") from error


# -- checking --------------------------------------------------------------------------------------------------------

_known: dict[Any, Extension] = {}  # what was checked, by class and graph


def _recorded(activation: Activation, recording: Recording, dtype: np.dtype[Any]) -> Extension:
    """Programs that gave what NumPy gives."""
    key = (type(activation), *recording.key(), dtype)
    if key not in _known:
        try:
            forward, backward = recording.programs()
            programs = forward.load(dtype), backward.load(dtype)
        except ValueError as error:
            raise Unrecordable(str(error)) from None
        _compare(activation, recording, programs, dtype)
        reads_z = any(0 in slots for _, _, *slots in backward.code)
        if len(_known) > 1000:
            _known.clear()
        operations = len(forward.code) + len(backward.code)
        _known[key] = Extension("recorded", None, core.Extension(*programs), reads_z, operations)
    return _known[key]


def _compare(activation: Activation, recording: Recording, programs: tuple[Any, Any], dtype: np.dtype[Any]) -> None:
    """Raises if a program differs from NumPy on a grid; warns if it does at infinity or NaN."""
    grid = np.concatenate([GRID, BEYOND]).astype(dtype)
    z, da = grid[: len(GRID)], np.linspace(0.5, 1.5, len(GRID)).astype(dtype)
    graph = recording.graph
    with np.errstate(all="ignore"):
        whole = _forward(activation, grid)
        a = whole[: len(z)]
        *_, most = graph.evaluate([recording.a], {"z": z})
        _same("forward", [a], _run(programs[0], z), z, most)
        *_, most = graph.evaluate([recording.dz], {"z": z, "a": a, "da": da})
        ulp = 4 * np.spacing(np.abs(z))  # at a corner, either side is right
        expected = [_backward(activation, recording, x, da) for x in (z, z - ulp, z + ulp)]
        _same("backward", expected, _run(programs[1], z, a, da), z, most)
        beyond = _run(programs[0], grid)[len(z) :]
    if not np.allclose(beyond, whole[len(z) :], TOLERANCE[dtype.name], 0, equal_nan=True):
        warnings.warn(
            f"activation {activation!r}, recorded, gives {beyond.tolist()} at {BEYOND.tolist()}, where NumPy gives "
            f"{whole[len(z) :].tolist()}",
            RuntimeWarning,
            stacklevel=2,
        )


def _forward(activation: Activation, z: NDArray[Any]) -> NDArray[Any]:
    return _array("forward", activation.forward, z)


def _backward(activation: Activation, recording: Recording, z: NDArray[Any], da: NDArray[Any]) -> NDArray[Any]:
    """dz in NumPy: by the class, or by the graph where it was differentiated."""
    if _overrides(activation, "backward") or _overrides(activation, "derivative"):
        a = _forward(activation, z)
        return _array("backward", activation.backward, z, a, da)
    return recording.graph.evaluate([recording.dz], {"z": z, "da": da}, z.dtype)[0]


def _array(name: str, method: Any, z: NDArray[Any], *others: NDArray[Any]) -> NDArray[Any]:
    """What NumPy code returns, as the Python operation of a plan would take it."""
    arrays = [x.view() for x in (z, *others)]
    for x in arrays:
        x.flags.writeable = False
    try:
        value = method(*arrays)
    except Exception as error:  # as it will in Python at every step
        raise Unrecordable(f"{name}: in NumPy, {type(error).__name__}: {error}") from error
    if not isinstance(value, np.ndarray) or value.dtype.kind != "f" or value.shape != z.shape:
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise Unrecordable(f"{name}: in NumPy, it returns {got} for {z.dtype} {z.shape}")
    return value.astype(z.dtype)


def _run(program: Any, *inputs: NDArray[Any]) -> NDArray[Any]:
    out = np.empty_like(inputs[0])
    program.run(inputs, [out])
    return out


def _same(name: str, expected: list[NDArray[Any]], found: NDArray[Any], z: NDArray[Any], most: NDArray[Any]) -> None:
    """That a result lies within NumPy's, which come from z and beside it, wherever they are finite."""
    allowed = TOLERANCE[found.dtype.name] * np.maximum(most, np.abs(expected[0]))
    low, high = np.minimum.reduce(expected) - allowed, np.maximum.reduce(expected) + allowed
    wrong = np.isfinite(low) & np.isfinite(high) & ~((low <= found) & (found <= high))
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        raise Unrecordable(
            f"{name}: recorded, it gives {found[at]!s} at z = {z[at]!s}, where NumPy gives {expected[0][at]!s}"
        )
