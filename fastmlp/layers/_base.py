"""``Layer``: what a layer asks for when it is built, how it runs, and how it lowers to operations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol, TypeVar

import numpy as np

from ..checks import check_integer, check_number
from ..configurable import Configurable, init_parameters
from ..constraints import constraint_of
from ..copies import reduced
from ..registry import initializers as initializer_registry
from ..registry import layers as registry
from ..regularizers import regularizer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..activations import Activation

# What the network sets, when it is built.
GIVEN = frozenset(("arrays", "buffers", "buffer_specs", "built", "parameters", "parameter_specs"))

Self = TypeVar("Self", bound="Layer")
Backward = Callable[["NDArray[Any]"], "tuple[NDArray[Any], dict[str, NDArray[Any]]]"]


class Compiler(Protocol):
    """What a layer hands its operations to; the values that go in and come out are the compiler's."""

    def op(self, name: str, *inputs: Any, **values: Any) -> Any:
        """Add an operation by its name; return its output."""

    def key(self, name: str) -> str:
        """Return the full key of an array of the layer at hand."""


class ParameterSpec(NamedTuple):
    """A parameter that a layer asked for while it was built."""

    shape: tuple[int, ...]
    initializer: Any
    decay: bool
    regularizer: Any = None
    trainable: bool = True
    learning_rate_multiplier: float = 1.0
    constraint: Any = None


class BufferSpec(NamedTuple):
    """An array that a layer keeps but does not learn."""

    shape: tuple[int, ...]
    value: float | tuple[float, ...]
    least: float | None = None


class Layer(Configurable):
    """Base of all layers.

    A layer of one's own writes `build` and `forward` (it runs in NumPy), or `compose`: the layers that it stands for.
    One that consists of operations of the compiler writes `build` and `lower`; one that joins chains of layers
    `branches`, `build_join` and `join`.

    Parameters
    ----------
    name : str, optional
        The first part of the keys of its parameters; default: its index in the network.
    trainable : bool
        Whether training changes its parameters; what is set holds from the next step on. A batch norm that is not
        trained takes its running statistics, and leaves them as they are.

    Attributes
    ----------
    units : int
        Number of outputs, once it is built; layers that choose it themselves have it before.
    parameters, buffers : mapping of str to ndarray
        Views into the network's memory, once it is built; what is assigned to a key is copied in.
    arrays : mapping of str to ndarray
        The same views, and those of layers that it consists of: ``"kernel"``, ``"0.kernel"``. What `copy` takes along.
    carried : mapping of str to ndarray
        What a copy brings into the network that it will be a part of, until that is built.
    built : bool
        Whether a network has been built of it.
    fixed_once_built : frozenset of str
        Settings that can't be changed any more then, since arrays were laid out and filled by them: an AttributeError.
        A subclass adds its own: ``fixed_once_built = Base.fixed_once_built | {"heads"}``. Others hold from the next
        call on.
    output_is_known : bool
        Whether `output_activation` says all about what the outputs are.
    keeps_meaning : bool
        Whether the outputs mean what the inputs mean, if there is no `output_activation`: they are passed on, but for
        noise in training.
    transparent_to_initializer : bool
        Whether an initializer is recommended by the activation behind this layer, too.
    batch_statistics : bool
        Whether training takes statistics over the rows of the batch; then `fit` refuses batches of one row.
    """

    data_attributes: ClassVar[frozenset[str]] = frozenset(
        (
            *GIVEN,
            "carried",
            "owned",
            "recommended_initializer",
            "units",
        )  # `units` is a setting of layers that choose it
    )
    fixed_once_built: ClassVar[frozenset[str]] = frozenset({"units"})

    units: int
    built: bool = False
    arrays: Mapping[str, NDArray[Any]] = {}
    carried: Mapping[str, NDArray[Any]] = {}

    output_is_known: bool = False
    keeps_meaning: bool = False
    transparent_to_initializer: bool = False
    batch_statistics: bool = False

    def __init__(self, *, name: str | None = None, trainable: bool = True) -> None:
        self.name = _check_name(name)
        self.trainable = bool(trainable)
        self.owned = False  # whether a network has it
        self.recommended_initializer = "lecun_normal"  # set by the network, which knows the activation that follows

    def _check_change(self, name: str, value: Any) -> None:
        if self._is_fixed(name):
            raise AttributeError(
                f"{type(self).__name__}.{name} can't be changed once a network has the layer and is built: arrays were "
                "named, laid out and filled by it; make a new network"
            )

    def _is_fixed(self, name: str) -> bool:
        """Return whether a setting can't be changed any more."""
        if name == "name":  # a network has compared it with those of its other layers
            return vars(self).get("owned", False)
        if not self.built or name in self.fixed_once_built:
            return self.built
        stands_for_others = type(self).compose is not Layer.compose
        return stands_for_others and name != "trainable" and name in init_parameters(type(self))

    def _check_setting(self, name: str, value: Any) -> dict[str, Any]:
        if name == "trainable":
            return {name: bool(value)}
        if name == "name":
            return {name: _check_name(value)}
        changes = super()._check_setting(name, value)
        if self.built and name == "activation":
            for activation in (vars(self)[name], changes[name]):
                if activation.trainable_parameters():
                    raise AttributeError(
                        f"{type(self).__name__}.{name}: {activation!r} has parameters that are learned, which are laid "
                        "out when a network is built; make a new network"
                    )
        return changes

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Leave what the network has given it out of copies: they belong to no network's memory."""
        return reduced(super().__reduce_ex__(max(protocol, 2)), GIVEN)

    def copy(self: Self) -> Self:
        """Return a copy that belongs to no network yet, with the learned numbers of this one, to be used in another.

        The network that is built of the copy keeps them, instead of drawing first values: parameters and buffers of
        this layer and of the layers that it consists of, as they are now. Nothing is shared. Settings are copied too,
        the name and `trainable` among them; the optimizer's state stays behind.

        Raises
        ------
        ValueError
            When the new network is built, if the copy gets another number of inputs there.

        Examples
        --------
        >>> import fastmlp as fm
        >>> trained = fm.Sequential([fm.layers.Dense(8, "relu"), fm.layers.Dense(1)], input_dim=4, seed=0)
        >>> net = fm.Sequential([trained.layers[0].copy(), fm.layers.Dense(3)], input_dim=4, seed=1)
        >>> net.layers[0].trainable = False
        >>> bool((net.parameters["0.kernel"] == trained.parameters["0.kernel"]).all())
        True
        """
        twin = deepcopy(self)
        twin.owned = False
        twin.carried = {name: np.array(values) for name, values in (self.arrays or self.carried).items()}
        return twin

    def begin_build(self) -> None:
        """Forget what an earlier build asked for."""
        self.parameter_specs: dict[str, ParameterSpec] = {}
        self.buffer_specs: dict[str, BufferSpec] = {}
        self.arrays = {}
        self.parameters: Mapping[str, NDArray[Any]] = {}
        self.buffers: Mapping[str, NDArray[Any]] = {}

    def add_parameter(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Any = "zeros",
        *,
        decay: bool = False,
        trainable: bool = True,
        learning_rate_multiplier: float = 1.0,
    ) -> None:
        """Ask for an array that is learned. To be called from `build`.

        What the layer keeps as ``<name>_regularizer``, if anything, is the penalty of this array, and as
        ``<name>_constraint`` what it is made to be after each update.

        Parameters
        ----------
        name : str
            Its name in the layer; its key is ``"<layer>.<name>"``.
        shape : tuple of int
        initializer : str, Initializer or dict
            What gives it its first values.
        decay : bool
            Whether it shrinks where the optimizer has a weight decay, as kernels do.
        trainable : bool
            Whether training changes it; if the layer is not ``trainable``, it never does.
        learning_rate_multiplier : float
            Its learning rate is the optimizer's times this.
        """
        shape = self._check_array(name, shape)
        multiplier = check_number(f"learning_rate_multiplier of {name!r}", learning_rate_multiplier, 0.0)
        penalty = regularizer_of(getattr(self, f"{name}_regularizer", None))
        constraint = constraint_of(getattr(self, f"{name}_constraint", None))
        drawn_by = initializer_registry.get(initializer)
        self.parameter_specs[name] = ParameterSpec(
            shape, drawn_by, decay, penalty, bool(trainable), multiplier, constraint
        )

    def add_buffer(self, name: str, shape: tuple[int, ...], value: Any = 0.0, *, least: float | None = None) -> None:
        """Ask for an array that is kept and saved but not learned. To be called from `build`.

        Parameters
        ----------
        name : str
            Its name in the layer; its key is ``"<layer>.<name>"``.
        shape : tuple of int
        value : float or sequence of float
            What it is filled with first: one number, or a number for each entry of a buffer of one axis.
        least : float, optional
            The least number that it can hold, ``-math.inf`` for any finite one: others are neither saved nor loaded.
            By default it may hold anything, NaN included.
        """
        shape = self._check_array(name, shape)
        filled = float(value) if np.ndim(value) == 0 else tuple(float(number) for number in value)
        if isinstance(filled, tuple) and shape != (len(filled),):
            raise ValueError(f"value of {name!r}: expected a number, or as many as in shape {shape}, got {len(filled)}")
        self.buffer_specs[name] = BufferSpec(shape, filled, None if least is None else float(least))

    def _check_array(self, name: object, shape: object) -> tuple[int, ...]:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"name of an array: expected a string without dots, got {name!r}")
        if name in self.parameter_specs or name in self.buffer_specs:
            raise ValueError(f"{type(self).__name__} asks for {name!r} twice")
        if not isinstance(shape, (tuple, list)):
            raise TypeError(f"shape of {name!r}: expected a tuple of integers, got {shape!r}")
        return tuple(check_integer(f"shape of {name!r}", n, 0) for n in shape)

    def build(self, input_dim: int) -> int:
        """Ask for parameters, given the number of inputs; return the number of outputs."""
        return input_dim

    def forward(self, x: NDArray[Any], *, training: bool, rng: np.random.Generator) -> tuple[NDArray[Any], Backward]:
        """Return the outputs ``(batch, units)`` of `x` ``(batch, inputs)``, and what takes their gradient back.

        ``backward(dy)`` returns ``(d_input, {name: gradient})``.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has neither forward(self, x, *, training, rng) nor compose"
        )

    def check_ready(self) -> None:
        """Raise an error if the layer, being built, lacks what it needs to run; asked before a network runs anew."""

    def compose(self, input_dim: int) -> list[Layer] | None:
        """Return the layers that this one stands for, or None if it stands for itself."""
        return None

    def branches(self) -> Sequence[Sequence[Layer]]:
        """Return chains of layers that all take the inputs of this one, which joins their outputs; usually none."""
        return ()

    @property
    def ids(self) -> int | None:
        """How many ids there are if the layer takes ids, whole numbers from 0 on; None if it takes any numbers.

        Such a layer has to read columns of the data, in which no call lets other numbers through.
        """
        return None

    def branch_columns(self, input_dim: int) -> Sequence[Sequence[int]]:
        """Return which columns of the inputs each of the branches takes, by number and in their order; usually all."""
        return [range(input_dim)] * len(self.branches())

    def build_join(self, input_dim: int, units: Sequence[int]) -> int:
        """Return the number of outputs of a layer with branches, given its inputs and the outputs of each branch."""
        raise NotImplementedError(f"{type(self).__qualname__} has branches, but no build_join(self, input_dim, units)")

    def join(self, to: Compiler, x: Any, outputs: Sequence[Any]) -> Any:
        """Hand over what makes one value of the outputs of the branches, beside the inputs `x`."""
        raise NotImplementedError(f"{type(self).__qualname__} has branches, but no join(self, to, x, outputs)")

    def lower(self, to: Compiler, x: Any) -> Any:
        """Hand this layer's operations over, on the value `x`; return the last one's output.

        A layer that has no operations of its own runs in Python.
        """
        return to.op("python_layer", x)

    @property
    def output_activation(self) -> Activation | None:
        """The activation whose values are the outputs, if there is one; it recommends the initializer, too."""
        return None

    def summary(self) -> str:
        """Return the line of this layer in ``net.summary()``."""
        return repr(self)

    # Two layers of one configuration are still two layers.
    __eq__ = object.__eq__
    __hash__ = object.__hash__


registry.base = Layer


def _check_name(name: object) -> str | None:
    if name is None:
        return None
    if not isinstance(name, str) or not name or "." in name or name.isdigit():
        raise ValueError(f"name: expected a string without dots that is not a number, got {name!r}")
    return name
