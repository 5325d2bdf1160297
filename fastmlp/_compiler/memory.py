"""The memory of a network: flat, aligned arenas, and views of them by name."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .._kernels import ARENAS, SHIFT
from ..checks import check_number, check_range, real_array
from ..optimizers import AVERAGE
from ..user_code import Words, all_finite, read_only, returned
from .network import Network

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._tracing.execution import Execution
    from ..activations import Activation, KernelSpec
    from ..layers import Layer
    from ..optimizers import Optimizer

__all__ = ["Arenas", "ArrayMap", "FirstState", "Group", "aligned"]

CACHE_LINE = 64  # bytes
State = dict[str, dict[str, "NDArray[Any]"]]  # of an optimizer: arrays by parameter, then by name
FirstState = tuple[State, "NDArray[Any]"]


class Group(NamedTuple):
    """Parameters that have the same hyper-parameters in a step.

    Attributes
    ----------
    multiplier : float
        Of the learning rate.
    decays : bool
        Whether the weight decay is theirs.
    """

    multiplier: float
    decays: bool


def aligned(numbers: int, dtype: Any) -> NDArray[Any]:
    """Zeros that begin on a cache line."""
    itemsize = np.dtype(dtype).itemsize
    raw = np.zeros(numbers * itemsize + CACHE_LINE, dtype=np.uint8)
    start = -raw.__array_interface__["data"][0] % CACHE_LINE
    return raw[start : start + numbers * itemsize].view(dtype)


def _draw(key: str, spec: Any) -> Words:
    """Return how messages call what an initializer gives for a parameter."""
    return Words(lambda: f"initializer {spec.initializer!r} of {key}, shape {spec.shape}")


def _checked_state(optimizer: Optimizer, key: str, view: NDArray[Any], *, same_shape: bool) -> dict[str, NDArray[Any]]:
    """Return what ``init_state`` gives for a parameter, checked: new arrays by name; in Python their shape is free."""
    what = Words(lambda: f"init_state of {optimizer!r} for {key!r}")
    state = optimizer.init_state(read_only(view))
    if not isinstance(state, dict):
        raise TypeError(f"{what}: expected a dict of arrays, got {type(state).__name__}")
    named = Words(lambda: f"{what}, {name!r}")  # of the array at hand
    others = [view]
    for name, array in state.items():
        if not isinstance(name, str) or not isinstance(array, np.ndarray):
            raise TypeError(f"{what}: expected arrays by name, got {type(array).__name__} as {name!r}")
        returned(array, named, view.shape if same_shape else array.shape)
        if any(map(partial(np.may_share_memory, array), others)) or not array.flags.writeable:
            raise ValueError(f"{what}: expected a new array of its own as {name!r}; copy it, as np.zeros_like does")
        others.append(array)
    return dict(state)


def _begin_average(optimizer: Optimizer, key: str, state: dict[str, NDArray[Any]], view: NDArray[Any]) -> None:
    """Add the average of a parameter, as the last array of its state."""
    if AVERAGE in state:
        raise ValueError(f"init_state of {optimizer!r} for {key!r}: {AVERAGE!r} is the name of what use_ema keeps")
    state[AVERAGE] = np.array(view)


def _check_begun(optimizer: Optimizer, states: State) -> None:
    """Refuse state that begins with NaN."""
    for key, state in states.items():
        for name, array in state.items():
            if np.isnan(array).any():
                raise ValueError(
                    f"init_state of {optimizer!r} for {key!r}, {name!r}: expected finite numbers, or infinity until "
                    "the first update, got NaN; begin with zeros, as np.zeros_like does"
                )


def _take_carried(layer: Layer, key: str) -> None:
    """Copy what a copied layer brings along to its place."""
    shapes = {name: view.shape for name, view in layer.arrays.items()}
    brought = {name: values.shape for name, values in layer.carried.items()}
    if shapes != brought:
        other = sorted({name for name, _ in shapes.items() ^ brought.items()})[0]
        raise ValueError(
            f"layer {key!r}, {layer!r}, is a copy of one that was built for other inputs: {other!r} was of shape "
            f"{brought.get(other)} there, and would be of shape {shapes.get(other)} here; let it have as many inputs"
        )
    for name, values in layer.carried.items():
        view = layer.arrays[name]
        check_range(values, view.dtype, f"{key}.{name}")
        view[...] = values


class ArrayMap(Mapping[str, "NDArray[Any]"]):
    """Fixed keys to writable views; ``views[key] = values`` copies in, shape checked."""

    def __init__(self, views: dict[str, NDArray[Any]]) -> None:
        self._views = views

    def __getitem__(self, key: str) -> NDArray[Any]:
        try:
            return self._views[key]
        except KeyError:
            raise KeyError(f"{key!r}; there are {', '.join(self._views) or 'none'}") from None

    def __setitem__(self, key: str, value: object) -> None:
        target = self[key]
        array = real_array(key, value)
        if array.shape != target.shape:
            raise ValueError(f"{key}: expected shape {target.shape}, got {array.shape}")
        check_range(array, target.dtype, key)
        target[...] = array

    def update(self, other: Mapping[str, Any], *, share: float = 1.0) -> None:
        """Move towards other arrays: ``w = (1 - share) w + share other``, for each key.

        For target networks: ``target.parameters.update(net.parameters, share=0.005)``.

        Parameters
        ----------
        other : mapping of str to array_like
            All keys that are here, and no others, each of its array's shape: the `parameters` of a network of the same
            layers, for instance.
        share : float in [0, 1]
            How much of `other` is taken; 1 copies it.

        Raises
        ------
        TypeError, ValueError
            If keys are missing or unknown, an array is of another shape, has NaN or infinity, or numbers beyond the
            range of the dtype, or `share` is beyond its range; nothing changes.

        Notes
        -----
        Lillicrap and others, Continuous control with deep reinforcement learning, arXiv:1509.02971 (``tau`` there).

        Examples
        --------
        >>> target = copy.deepcopy(net)
        >>> target.parameters.update(net.parameters, share=0.005)
        """
        part = check_number("share", share, 0.0)
        if part > 1:
            raise ValueError(f"share: expected a number in [0, 1], got {share!r}")
        if not isinstance(other, Mapping):
            raise TypeError(f"update: expected a mapping of arrays by key, got {type(other).__name__}")
        missing = [key for key in self._views if key not in other]
        unknown = [key for key in other if key not in self._views]
        if missing or unknown:
            raise ValueError(
                f"update: expected arrays for {list(self._views)}; "
                + "; ".join(f"{what}: {keys}" for what, keys in (("missing", missing), ("unknown", unknown)) if keys)
            )
        arrays = {}
        for key, target in self._views.items():
            array = real_array(key, other[key])
            if array.shape != target.shape:
                raise ValueError(f"{key}: expected shape {target.shape}, got {array.shape}")
            check_range(array, target.dtype, key)
            if not np.isfinite(array).all():
                raise ValueError(f"{key}: expected finite numbers, got NaN or infinity")
            arrays[key] = array
        for key, target in self._views.items():
            if part == 1:
                target[...] = arrays[key]
            else:
                dtype = target.dtype
                target[...] = target * dtype.type(1 - part) + arrays[key].astype(dtype) * dtype.type(part)

    def __iter__(self) -> Iterator[str]:
        return iter(self._views)

    def __len__(self) -> int:
        return len(self._views)

    def __repr__(self) -> str:
        shapes = ", ".join(f"{key!r}: {view.shape}" for key, view in self._views.items())
        return f"{{{shapes}}}"


class Arenas:
    """Parameters, gradients, optimizer state and buffers, each contiguous; an array begins on a cache line.

    What lies between two arrays stays zero, so that updates may go over it.
    """

    def __init__(self, network: Network, dtype: Any) -> None:
        self.dtype = np.dtype(dtype)
        self._offsets: dict[str, tuple[int, int]] = {}
        self._parts: dict[str, tuple[slice, tuple[int, ...]]] = {}  # of the arenas, and their shapes
        self.specs = network.specs("parameter")
        self.size = self._lay_out(self.specs, "parameters")
        self._groups = {False: tuple(dict.fromkeys(self._group_of(False).values()))}  # others when they are asked for
        buffers = network.specs("buffer")
        self.flat_parameters = aligned(self.size, self.dtype)
        self.flat_gradients = aligned(self.size, self.dtype)
        self.flat_buffers = aligned(self._lay_out(buffers, "buffers"), self.dtype)
        self.flat_state = aligned(0, self.dtype)
        self.regularizers = {key: spec.regularizer for key, spec in self.specs.items() if spec.regularizer is not None}
        self.constraints = {key: spec.constraint for key, spec in self.specs.items() if spec.constraint is not None}
        self.executions: dict[int, tuple[Activation, Execution[KernelSpec]]] = {}  # how activations run, by their id
        self.counters = np.zeros(4, dtype=np.int64)  # steps done, the optimizer's, epochs; and see `state_written`
        self.parameters = self.views_of(self.flat_parameters)
        self.gradients = self.views_of(self.flat_gradients)
        self.buffers = self._views(self.flat_buffers, buffers)
        self.state: State = {key: {} for key in self.specs}
        for key, spec in buffers.items():
            self.buffers[key][...] = spec.value
        arrays: dict[Layer, dict[str, NDArray[Any]]] = {layer: {} for layer in network.described}
        for place in network.layers:
            layer, key = place.layer, place.key  # what is assigned there is copied in, as in the network's own mappings
            layer.parameters = ArrayMap({name: self.parameters[f"{key}.{name}"] for name in layer.parameter_specs})
            layer.buffers = ArrayMap({name: self.buffers[f"{key}.{name}"] for name in layer.buffer_specs})
            for owner in (layer, *place.frozen_by):
                inner = f"{key}."[len(network.keys[owner]) + 1 :]
                mine = {**layer.parameters, **layer.buffers}
                arrays[owner].update({f"{inner}{name}": view for name, view in mine.items()})
        for layer, views in arrays.items():
            layer.arrays = views

    def _lay_out(self, specs: Mapping[str, Any], arena: str) -> int:
        """Decide where the arrays of an arena lie; return its size."""
        at = 0
        for key, spec in specs.items():
            part = slice(at, at + math.prod(spec.shape))
            self._offsets[key], self._parts[key] = (ARENAS[arena], at), (part, spec.shape)
            at = self._padded(part.stop)
        return at

    def _padded(self, numbers: int) -> int:
        align = CACHE_LINE // self.dtype.itemsize
        return -(-numbers // align) * align

    def _views(self, flat: NDArray[Any], keys: Iterable[str]) -> dict[str, NDArray[Any]]:
        views = {}
        for key in keys:
            part, shape = self._parts[key]
            views[key] = flat[part].reshape(shape)
        return views

    def views_of(self, flat: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Another array laid out as the parameters, by name."""
        return self._views(flat, self.specs)

    def groups(self, *, decays: bool = False) -> tuple[Group, ...]:
        """Return the groups of parameters that have hyper-parameters of their own in a step, at least one.

        If nothing `decays`, those that could are like others.
        """
        if decays not in self._groups:
            self._groups[decays] = tuple(dict.fromkeys(self._group_of(decays).values()))
        return self._groups[decays]

    def _group_of(self, decays: bool) -> dict[str, Group]:
        groups = {key: Group(spec.learning_rate_multiplier, decays and spec.decay) for key, spec in self.specs.items()}
        return groups or {"": Group(1.0, False)}

    def segments(self, keys: Collection[str], *, merged: bool, decays: bool = False) -> list[tuple[int, int, int]]:
        """Return where parameters lie in their arena: ``(first, last, group)``, where `group` counts `groups`.

        If they are `merged`, neighbours of equal attributes are one segment, with the zeros that lie between them: for
        updates that leave those 0.
        """
        segments: list[tuple[int, int, int]] = []
        groups, group_of = self.groups(decays=decays), self._group_of(decays)
        for key in filter(keys.__contains__, self.specs):
            part, group = self._parts[key][0], groups.index(group_of[key])
            first, last = part.start, self._padded(part.stop) if merged else part.stop
            if segments and segments[-1][1:] == (first, group):
                segments[-1] = (segments[-1][0], last, group)
            elif last > first:
                segments.append((first, last, group))
        return segments

    def group_of(self, key: str) -> int:
        """Return in which of the `groups` a parameter is where nothing decays."""
        return self._groups[False].index(Group(self.specs[key].learning_rate_multiplier, False))

    def reference(self, key: str) -> int:
        """Return where an array lies, as operations say it."""
        arena, offset = self._offsets[key]
        return arena << SHIFT | offset

    def initialize(self, network: Network, seed: int) -> None:
        """First values of the parameters; each layer draws from a generator of its own."""
        for number, place in enumerate(network.layers):
            rng = np.random.default_rng([seed, number])
            for name, spec in place.layer.parameter_specs.items():
                key = f"{place.key}.{name}"
                what = _draw(key, spec)
                drawn = returned(spec.initializer(spec.shape, rng, self.dtype), what, spec.shape)
                check_range(drawn, self.dtype, what)
                self.parameters[key][...] = drawn
        for layer, key in network.keys.items():
            if layer.carried:
                _take_carried(layer, key)
        if not all_finite(self.flat_parameters):  # all at once; which it is, one by one
            key = next(key for key, view in self.parameters.items() if not all_finite(view))
            raise ValueError(f"{_draw(key, self.specs[key])}: expected finite numbers, got NaN or infinity")

    def key_at(self, reference: int) -> str:
        """Return the array in which a number lies that a reference points to."""
        arena, at = reference >> SHIFT, reference & ((1 << SHIFT) - 1)
        before = [(offset, key) for key, (found, offset) in self._offsets.items() if found == arena and offset <= at]
        return max(before)[1]

    def state_written(self, *, again: bool) -> None:
        """Tell the kernels that others than updates have written the state of the optimizer, and may do so `again`.

        They look whether updates can rely on it: once, or in each call.
        """
        self.counters[3] = 2 if again else max(1, self.counters[3])

    def first_state(self, optimizer: Optimizer, compiled: bool) -> FirstState:
        """Return state as the optimizer begins, by key and name, and the arena that it lies in, slot after slot.

        An optimizer in Python keeps its own arrays.
        """
        states = {
            key: _checked_state(optimizer, key, view, same_shape=compiled) for key, view in self.parameters.items()
        }
        if optimizer.averaging is not None:
            for key, state in states.items():
                _begin_average(optimizer, key, state, self.parameters[key])
        names = next(iter(states.values()), {}).keys() if compiled else ()
        for key, state in states.items():
            if compiled and state.keys() != names:
                raise ValueError(
                    f"init_state of {optimizer!r}: expected the same names for all parameters, since it is "
                    f"elementwise, got {list(names)}, and {list(state)} for {key!r}"
                )
        flat = aligned(len(names) * self.size, self.dtype)
        for slot, name in enumerate(names):
            views = self.views_of(flat[slot * self.size : (slot + 1) * self.size])
            for key, view in views.items():
                view[...] = states[key][name]
                states[key][name] = view
        if not compiled or np.isnan(flat).any():  # all at once; which it is, one by one
            _check_begun(optimizer, states)
        return states, flat

    def clone(self) -> Arenas:
        """Return a copy for runs that are not kept, in memory of its own; the layers' views stay with the original."""
        other = copy(self)
        other.flat_parameters = aligned(self.size, self.dtype)
        other.flat_gradients = aligned(self.size, self.dtype)
        other.flat_buffers = aligned(self.flat_buffers.size, self.dtype)
        other.flat_state = aligned(self.flat_state.size, self.dtype)
        other.counters = self.counters.copy()
        other.parameters, other.gradients = self.views_of(other.flat_parameters), self.views_of(other.flat_gradients)
        other.buffers = self._views(other.flat_buffers, self.buffers)
        other.state = {key: {name: array.copy() for name, array in state.items()} for key, state in self.state.items()}
        other.take(self)
        return other

    def take(self, other: Arenas) -> None:
        """Copy the numbers of one that has the same layout."""
        for name in ("flat_parameters", "flat_buffers", "flat_state", "counters"):
            getattr(self, name)[...] = getattr(other, name)
        for key, state in other.state.items():
            for name, array in state.items():
                self.state[key][name][...] = array
