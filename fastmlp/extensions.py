"""How an activation that is not built in runs: as a native kernel, as a recorded program, or in Python."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import activations
from .activations import Activation
from .agreement import compare
from ._kernels import program as core
from .learnable import Unlearnable, no_initial_values
from .native import NativeKernel, native_of, verify
from .program import LIMITS, Assembled, Graph, assemble
from .recording import Symbol, Unrecordable, node_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Extension", "Recording", "check_learns", "differentiated", "extension_of", "record"]

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
    learned : tuple of str
        Parameters that its programs take after their other inputs, and whose derivatives the way back gives after dz.
    """

    kind: str
    reason: str | None = None
    handle: Any = None
    reads_z: bool = True
    operations: int = 8
    learned: tuple[str, ...] = ()

    def fields(self) -> dict[str, Any]:
        """What a plan keeps of it."""
        return {
            "handle": self.handle,
            "reads_z": self.reads_z,
            "operations": self.operations,
            "learned": self.learned,
        }


class Recording(NamedTuple):
    """An activation as a graph: the nodes of ``a = g(z)`` and of ``dz``, with inputs ``z``, ``a`` and ``da``.

    Each learned parameter is an input too, and `slopes` are the nodes of da times the derivative of a by each. `own`
    says that dz is what the class does, not what follows from `forward`.
    """

    graph: Graph
    a: int
    dz: int
    own: bool
    learned: tuple[str, ...]
    slopes: tuple[int, ...]

    def key(self) -> tuple[Any, ...]:
        """What equal recordings share; NaN equals NaN here, and -0 differs from 0."""
        return (*map(str, self.graph.nodes), self.a, self.dz, self.learned, self.slopes)

    def inputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Values of learned parameters by what the graph calls these."""
        return {_input(name): values[name] for name in self.learned}

    def programs(self) -> tuple[Assembled, Assembled]:
        """The way forward and the way back."""
        parameters = list(map(_input, self.learned))
        forward = assemble(self.graph, [self.a], ["z", *parameters])
        given = {} if self.graph.nodes[self.a].op in ("const", "input") else {self.a: "a"}
        outputs, inputs = [self.dz, *self.slopes], ["z", "a", "da", *parameters]
        over = ["da"] * len(outputs) if parameters else []
        return forward, assemble(self.graph, outputs, inputs, given=given, in_place=over)


def _input(name: str) -> str:
    """What a graph calls a learned parameter: unlike z, a and da, whatever its name."""
    return f"learned {name}"


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
    if kernel is not None and activation._learned():
        return Extension("python", "its native kernel takes no learned parameters; set native = None")
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


def check_learns(activation: Activation, found: Extension) -> None:
    """Refuse an activation with learned parameters that would run in Python, where they would be constants."""
    if found.kind == "python" and activation._learned():
        raise TypeError(
            f"parameters of activation {activation!r} can't be learned, since it can't be recorded ({found.reason})"
        )


def _native(activation: Activation, kernel: NativeKernel, dtype: np.dtype[Any]) -> Extension:
    verify(activation, dtype)
    forward, backward = kernel.addresses(dtype)
    values = np.asarray(kernel.values(activation), dtype=np.float64).tobytes()
    handle = core.Extension(None, None, forward, backward, values, kernel)
    return Extension("native", None, handle)


# -- recording -------------------------------------------------------------------------------------------------------


def record(activation: Activation, dtype: np.dtype[Any]) -> Recording:
    """Calls `forward`, and `backward` or `derivative` if the class has one, with symbols; else differentiates.

    Learned parameters are symbols too, by which `forward` is always differentiated.

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
    learned = tuple(activation._learned())
    if len(learned) >= LIMITS["outputs"]:
        raise Unrecordable(f"it has {len(learned)} learned parameters; a program takes {LIMITS['outputs'] - 1}")
    symbols = {name: Symbol(graph, graph.input(_input(name)), dtype, writable=False) for name in learned}
    activation = activation._with(symbols)
    a = _call(graph, "forward", activation.forward, z)
    value = Symbol(graph, a, dtype, writable=False)
    own = _overrides(activation, "backward") or _overrides(activation, "derivative")
    if _overrides(activation, "backward"):
        dz = _call(graph, "backward", activation.backward, z, value, da)
    else:
        if _overrides(activation, "derivative"):
            slope = _call(graph, "derivative", activation.derivative, z, value)
        else:
            slope = _built(lambda: graph.derivative(a, node_of(graph, z)))
        dz = _built(lambda: graph.apply("mul", node_of(graph, da), slope))
    slopes = tuple(_slope(graph, a, node_of(graph, da), name) for name in learned)
    return Recording(graph, a, dz, own, learned, slopes)


def _slope(graph: Graph, a: int, da: int, name: str) -> int:
    """The node of da times the derivative of a by a learned parameter."""
    by = graph.input(_input(name))
    slope = _built(lambda: graph.derivative(a, by))
    if graph.number(slope) == 0:
        how = "has the derivative 0 by" if by in graph.reached([a]) else "doesn't use"
        raise Unrecordable(f"forward {how} the learned parameter {name!r}, which could never change")
    return _built(lambda: graph.apply("mul", da, slope))


def _built(make: Callable[[], int]) -> int:
    """The node that `make` adds to a graph, which may be too large for it."""
    try:
        return make()
    except ValueError as error:
        raise Unrecordable(str(error)) from None


def differentiated(activation: Activation, z: NDArray[Any]) -> NDArray[Any]:
    """The derivative at `z` of an activation that has none of its own, in NumPy; NotImplementedError if that fails."""
    try:
        recording = record(activation, z.dtype)
    except Unrecordable as reason:
        raise NotImplementedError(
            f"{type(activation).__qualname__} has neither derivative(self, z, a) nor backward(self, z, a, da), one of "
            f"which training needs, since it can't be differentiated ({reason})"
        ) from None
    values = recording.inputs({name: parameter.value for name, parameter in activation._learned().items()})
    slope = recording.graph.evaluate([recording.dz], {**values, "z": z, "da": 1.0}, z.dtype)[0]
    return np.array(np.broadcast_to(slope, z.shape))


def _overrides(activation: Activation, name: str) -> bool:
    return getattr(type(activation), name) is not getattr(Activation, name)


def _call(graph: Graph, name: str, method: Any, *symbols: Symbol) -> int:
    """The node of what a method returns."""
    try:
        with np.errstate(all="ignore"), no_initial_values():
            result = method(*symbols)
        if not isinstance(result, Symbol):
            raise Unrecordable(f"it returns {type(result).__name__}, not an array made of its argument")
        if result.dtype.kind != "f":
            raise Unrecordable("it returns truth values")
        return node_of(graph, result)
    except Unrecordable as reason:
        raise Unrecordable(f"{name}: {reason}") from None
    except Unlearnable:
        raise
    except Exception as error:  # of the code, which may well run in NumPy
        raise Unrecordable(f"{name}: {type(error).__name__}: {error}") from error


# -- keeping ---------------------------------------------------------------------------------------------------------

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
        compare(activation, recording, programs, dtype)
        reads_z = any(0 in slots for _, _, *slots in backward.code)
        if len(_known) > 1000:
            _known.clear()
        operations = len(forward.code) + len(backward.code)
        _known[key] = Extension("recorded", None, core.Extension(*programs), reads_z, operations, recording.learned)
    return _known[key]
