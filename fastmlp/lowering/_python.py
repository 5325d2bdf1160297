"""The one door back into Python: what a plan calls between two runs of compiled operations.

Each function makes a call ``(workspace, batch)``; arrays that user code gets to read are read-only views, and what it
returns is checked before it is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import real_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..activations import Activation
    from ..building import BuiltLayer
    from ..losses import Loss
    from ._base import Call, Stage, Tensor


def _read_only(x: NDArray[Any]) -> NDArray[Any]:
    view = x.view()
    view.flags.writeable = False
    return view


def _put(target: NDArray[Any], value: object, what: str) -> None:
    """Copies what user code returned, once its shape and kind are right."""
    array = real_array(what, value)
    if array.shape != target.shape:
        raise ValueError(f"{what}: expected an array of shape {target.shape}, got {array.shape}")
    np.copyto(target, array, casting="same_kind" if array.dtype.kind == "f" else "unsafe")


def _pair(value: object, what: str, names: str) -> tuple[Any, Any]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        got = f"{len(value)} values" if isinstance(value, (tuple, list)) else type(value).__name__
        raise TypeError(f"{what}: expected ({names}), got {got}")
    return value[0], value[1]


def activation_forward(activation: Activation, x: Tensor, out: Tensor, key: str) -> Call:
    """``out = g(x)``."""
    what = f"layer {key}: forward of activation {activation!r}"

    def call(workspace: Any, batch: int) -> None:
        z = _read_only(workspace.view(x, batch))
        _put(workspace.view(out, batch), activation.forward(z), what)

    return call


def activation_backward(activation: Activation, stage: Stage, d: Tensor, key: str) -> Call:
    """``d = dz`` from ``d = da``."""
    what = f"layer {key}: backward of activation {activation!r}"
    x, out = stage.x, stage.out

    def call(workspace: Any, batch: int) -> None:
        da = workspace.view(d, batch)
        z, a = _read_only(workspace.view(x, batch)), _read_only(workspace.view(out, batch))
        _put(da, activation.backward(z, a, _read_only(da)), what)

    return call


def layer_forward(place: BuiltLayer, number: int, x: Tensor, out: Tensor, training: bool) -> Call:
    """``out, backward = layer.forward(x)``; the workspace keeps `backward`."""
    what = f"layer {place.key}: forward of {place.layer!r}"

    def call(workspace: Any, batch: int) -> None:
        rng = np.random.default_rng([workspace.seed, workspace.step, number])
        rows = _read_only(workspace.view(x, batch))
        y, backward = _pair(place.layer.forward(rows, training=training, rng=rng), what, "outputs, backward")
        if not callable(backward):
            raise TypeError(f"{what}: expected a function as backward, got {type(backward).__name__}")
        _put(workspace.view(out, batch), y, what)
        workspace.backward[number] = backward

    return call


def layer_backward(place: BuiltLayer, number: int, d: Tensor, dx: Tensor) -> Call:
    """``dx, gradients = backward(d)``."""
    what = f"layer {place.key}: backward of {place.layer!r}"

    def call(workspace: Any, batch: int) -> None:
        answer = workspace.backward[number](_read_only(workspace.view(d, batch)))
        d_input, gradients = _pair(answer, what, "d_input, gradients")
        _put(workspace.view(dx, batch), d_input, f"{what}, d_input")
        if not isinstance(gradients, Mapping):
            raise TypeError(f"{what}: expected a dict of gradients, got {type(gradients).__name__}")
        if set(gradients) != set(place.layer.parameters):
            raise ValueError(
                f"{what}: expected gradients of {sorted(place.layer.parameters)}, got {sorted(map(str, gradients))}"
            )
        for name, gradient in gradients.items():
            _put(workspace.gradients[f"{place.key}.{name}"], gradient, f"{what}, gradient of {name!r}")

    return call


def loss_call(loss: Loss, z: Tensor, d: Tensor) -> Call:
    """The weighted loss of the batch, and its gradient."""
    what = f"loss {loss!r}"

    def call(workspace: Any, batch: int) -> None:
        target, weight = workspace.target(batch)
        with np.errstate(all="ignore"):
            answer = loss.value_and_gradient(_read_only(target), _read_only(workspace.view(z, batch)))
        value, gradient = _pair(answer, what, "value per row, gradient")
        rows = np.empty(batch)
        _put(rows, value, f"{what}, value per row")
        out = workspace.view(d, batch)
        _put(out, gradient, f"{what}, gradient")
        if weight is not None:
            rows *= weight
            out *= weight[:, None]
        out /= workspace.run.weight
        workspace.run.loss = float(rows.sum())

    return call


def penalty_call(keys: list[str], learning: bool) -> Call:
    """Penalties of some parameters into the loss and, with `learning`, into the gradients."""

    def call(workspace: Any, batch: int) -> None:
        for key in keys:
            regularizer, w = workspace.arenas.regularizers[key], workspace.arenas.parameters[key]
            what = f"regularizer {regularizer!r} of {key}"
            with np.errstate(all="ignore"):
                answer = regularizer.value_and_gradient(_read_only(w))
            penalty, slope = _pair(answer, what, "value, gradient")
            value = np.empty(())
            _put(value, penalty, f"{what}, value")
            workspace.run.loss += workspace.run.weight * float(value)
            if learning:
                slopes = np.empty_like(w)
                _put(slopes, slope, f"{what}, gradient")
                workspace.gradients[key] += slopes

    return call


def optimizer_call() -> Call:
    """``optimizer.update`` of every parameter; if one fails, or spoils its state, all are put back."""

    def call(workspace: Any, batch: int) -> None:
        arenas, optimizer = workspace.arenas, workspace.optimizer.at_step(workspace.iteration)
        parameters = arenas.flat_parameters.copy()
        states = {key: dict(state) for key, state in arenas.state.items()}
        values = {key: {name: array.copy() for name, array in state.items()} for key, state in states.items()}
        try:
            for key, parameter in arenas.parameters.items():
                gradient, state = _read_only(workspace.gradients[key]), arenas.state[key]
                answer = optimizer.update(parameter, gradient, state, workspace.learning_rate, workspace.iteration)
                if answer is not None:
                    raise TypeError(
                        f"optimizer {optimizer!r}: update must change param in place and return None, got "
                        f"{type(answer).__name__}"
                    )
                if any(state.get(name) is not array for name, array in states[key].items()) or len(state) != len(
                    states[key]
                ):
                    raise ValueError(
                        f"optimizer {optimizer!r}: update must change the arrays of its state in place, and neither "
                        f"add, drop nor replace any; state of {key!r}: {sorted(states[key])}, then {sorted(state)}"
                    )
        except BaseException:
            arenas.flat_parameters[:] = parameters
            for key, state in states.items():
                for name, array in state.items():
                    array[...] = values[key][name]
                arenas.state[key].clear()
                arenas.state[key].update(state)
            raise

    return call
