"""Layers: what a layer is, its parameters, and how it lowers to the operations of a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from . import activations as _activations
from .checks import check_integer, check_number, check_share
from .configurable import Configurable
from .registry import activations as activation_registry
from .registry import initializers as initializer_registry
from .registry import layers as registry
from .regularizers import regularizer_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .lowering import Base as Lowering

__all__ = ["Activation", "BatchNorm", "Dense", "Dropout", "Layer"]

Backward = Callable[["NDArray[Any]"], "tuple[NDArray[Any], dict[str, NDArray[Any]]]"]


class ParameterSpec(NamedTuple):
    """A parameter that a layer asked for while it was built."""

    shape: tuple[int, ...]
    initializer: Any
    decay: bool
    regularizer: Any = None


class BufferSpec(NamedTuple):
    """An array that a layer keeps but does not learn."""

    shape: tuple[int, ...]
    value: float


class Layer(Configurable):
    """Base of all layers.

    A layer of one's own writes `build` and `forward` (it runs in NumPy), or `compose`.

    Parameters
    ----------
    name : str, optional
        The first part of the keys of its parameters; default: its index in the network.

    Attributes
    ----------
    parameters, buffers : dict of str to ndarray
        Views into the network's memory, once it is built.
    """

    def __init__(self, *, name: str | None = None) -> None:
        self.name = _check_name(name)
        self.owned = False  # whether a network has it

    def _start(self) -> None:
        """Forgets what an earlier build asked for."""
        self._parameter_specs: dict[str, ParameterSpec] = {}
        self._buffer_specs: dict[str, BufferSpec] = {}
        self.parameters: dict[str, NDArray[Any]] = {}
        self.buffers: dict[str, NDArray[Any]] = {}

    def add_parameter(
        self, name: str, shape: tuple[int, ...], initializer: Any = "zeros", *, decay: bool = False
    ) -> None:
        """Ask for a learned array; `decay` tells weight decay to shrink it. To be called from `build`.

        What the layer keeps as ``<name>_regularizer``, if anything, is the penalty of this array.
        """
        shape = self._check_array(name, shape)
        penalty = regularizer_of(getattr(self, f"{name}_regularizer", None))
        self._parameter_specs[name] = ParameterSpec(shape, initializer_registry.get(initializer), decay, penalty)

    def add_buffer(self, name: str, shape: tuple[int, ...], value: float = 0.0) -> None:
        """Ask for an array that is kept and saved but not learned. To be called from `build`."""
        shape = self._check_array(name, shape)
        self._buffer_specs[name] = BufferSpec(shape, float(value))

    def _check_array(self, name: object, shape: object) -> tuple[int, ...]:
        if not isinstance(name, str) or not name or "." in name:
            raise ValueError(f"name of an array: expected a string without dots, got {name!r}")
        if name in self._parameter_specs or name in self._buffer_specs:
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

    def compose(self, input_dim: int) -> list[Layer] | None:
        """Return the layers that this one stands for, or None if it stands for itself."""
        return None

    def lower(self, to: Lowering) -> None:
        """Add this layer's operations; a layer that has none of its own runs in Python."""
        to.python_layer(self)

    def summary(self) -> str:
        """One line of ``net.summary()``."""
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


def _add_trainable(layer: Layer, activation: _activations.Activation, units: int) -> None:
    """Ask for the trainable parameters of an activation, for a layer of so many units that is being built."""
    parameters = activation.trainable_parameters()
    for name, parameter in parameters.items():
        if name in layer._parameter_specs:
            raise ValueError(
                f"{activation!r}: its learned parameter {name!r} has the name of an array of {type(layer).__name__}; "
                "rename it"
            )
        shape = (units if parameter.per == "unit" else 1,)
        layer.add_parameter(name, shape, {"name": "constant", "value": parameter.value})
    if parameters:
        _activations.check_trainable(activation, _activations.execution_of(activation, np.float64))


@registry.builtin("dense")
class Dense(Layer):
    """``z = x kernel + bias``, ``a = g(z)`` (row 1).

    Parameters
    ----------
    units : int
        Number of outputs, at least 1.
    activation : name, Activation or None
        g; None is the identity.
    use_bias : bool
    kernel_initializer : name, Initializer or None
        None takes what the next activation recommends, past BatchNorm and Dropout (row 18).
    bias_initializer : name or Initializer
    kernel_regularizer, bias_regularizer : name, Regularizer or None
        Penalties, which are a part of the loss.
    name : str, optional

    Notes
    -----
    Parameters: ``kernel`` ``(inputs, units)``, ``bias`` ``(units,)``, and those of the activation that are
    `fastmlp.learned`.
    """

    def __init__(
        self,
        units: int,
        activation: Any = None,
        *,
        use_bias: bool = True,
        kernel_initializer: Any = None,
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.units = check_integer("units", units, 1)
        self.activation = activation_registry.get("identity" if activation is None else activation)
        self.use_bias = bool(use_bias)
        self.kernel_initializer = None if kernel_initializer is None else initializer_registry.get(kernel_initializer)
        self.bias_initializer = initializer_registry.get(bias_initializer)
        self.kernel_regularizer = regularizer_of(kernel_regularizer)
        self.bias_regularizer = regularizer_of(bias_regularizer)
        self.recommended = "lecun_normal"  # set by the network, which knows the activation that follows

    def build(self, input_dim: int) -> int:
        initializer = self.recommended if self.kernel_initializer is None else self.kernel_initializer
        self.add_parameter("kernel", (input_dim, self.units), initializer, decay=True)
        if self.use_bias:
            self.add_parameter("bias", (self.units,), self.bias_initializer)
        _add_trainable(self, self.activation, self.units)
        return self.units

    def lower(self, to: Lowering) -> None:
        to.dense(self)
        if type(self.activation) is not _activations.Identity:
            to.activation(self, self.activation)


@registry.builtin("activation")
class Activation(Layer):
    """``a = g(x)``.

    Parameters
    ----------
    activation : name or Activation
    name : str, optional

    Notes
    -----
    Parameters: those of the activation that are `fastmlp.learned`.
    """

    def __init__(self, activation: Any, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.activation = activation_registry.get(activation)

    def build(self, input_dim: int) -> int:
        _add_trainable(self, self.activation, input_dim)
        return input_dim

    def lower(self, to: Lowering) -> None:
        to.activation(self, self.activation)


@registry.builtin("batch_norm")
class BatchNorm(Layer):
    """``y = gamma (x - mean) / sqrt(var + epsilon) + beta`` per column (row 21), to be placed before the activation.

    In training mean and variance (divided by m) are those of the batch; else running ones, folded into the GEMM of a
    Dense before it.

    Parameters
    ----------
    momentum : float
        Share of the running statistics kept in a step.
    epsilon : float
    gamma_regularizer, beta_regularizer : name, Regularizer or None
        Penalties, which are a part of the loss.
    name : str, optional

    Notes
    -----
    Parameters: ``gamma``, ``beta``; buffers: ``running_mean``, ``running_var``; all ``(units,)``.
    Ioffe and Szegedy, Batch normalization, ICML 2015.
    """

    def __init__(
        self,
        *,
        momentum: float = 0.9,
        epsilon: float = 1e-5,
        gamma_regularizer: Any = None,
        beta_regularizer: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        self.momentum = check_share("momentum", momentum)
        self.epsilon = check_number("epsilon", epsilon, 0.0)
        if not self.epsilon:
            raise ValueError(f"epsilon: expected a positive number, got {epsilon!r}")
        self.gamma_regularizer = regularizer_of(gamma_regularizer)
        self.beta_regularizer = regularizer_of(beta_regularizer)

    def build(self, input_dim: int) -> int:
        self.add_parameter("gamma", (input_dim,), "ones")
        self.add_parameter("beta", (input_dim,), "zeros")
        self.add_buffer("running_mean", (input_dim,), 0.0)
        self.add_buffer("running_var", (input_dim,), 1.0)
        return input_dim

    def lower(self, to: Lowering) -> None:
        to.batchnorm(self)


@registry.builtin("dropout")
class Dropout(Layer):
    """In training ``y = mask x / (1 - rate)``, a mask bit being 0 with probability `rate`; else ``y = x``.

    Bits come from a counter-based generator, keyed by seed, step, layer and element.

    Parameters
    ----------
    rate : float
        In [0, 1).
    name : str, optional
    """

    def __init__(self, rate: float, *, name: str | None = None) -> None:
        super().__init__(name=name)
        self.rate = check_share("rate", rate)

    def lower(self, to: Lowering) -> None:
        to.dropout(self)


get = registry.get


def __getattr__(name: str) -> Any:
    """Keras's spelling of batch norm gives an error that names ours."""
    if name == "BatchNormalization":
        raise AttributeError("fastmlp.layers has no 'BatchNormalization'; it is called 'BatchNorm' here")
    raise AttributeError(f"module 'fastmlp.layers' has no attribute {name!r}")
