"""The one door back into Python: what a plan calls between two runs of compiled operations.

Each function makes a call ``(workspace, batch)``; arrays that user code gets to read are read-only views.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..activations import Activation
    from ..layers import BuiltLayer
    from ..losses import Loss
    from ._base import Call, Stage, Tensor


def _read_only(x: NDArray[Any]) -> NDArray[Any]:
    view = x.view()
    view.flags.writeable = False
    return view


def _put(target: NDArray[Any], value: object, what: str) -> None:
    """Copies what user code returned, once its shape and kind are right."""
    array = np.asarray(value)
    if array.shape != target.shape:
        raise ValueError(f"{what}: expected an array of shape {target.shape}, got {array.shape}")
    if array.dtype.kind not in "fiub":
        raise TypeError(f"{what}: expected real numbers, got dtype {array.dtype}")
    np.copyto(target, array, casting="same_kind" if array.dtype.kind == "f" else "unsafe")


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
    what = f"layer {place.key}: output of {place.layer!r}"

    def call(workspace: Any, batch: int) -> None:
        rng = np.random.default_rng([workspace.seed, workspace.step, number])
        rows = _read_only(workspace.view(x, batch))
        y, workspace.backward[number] = place.layer.forward(rows, training=training, rng=rng)
        _put(workspace.view(out, batch), y, what)

    return call


def layer_backward(place: BuiltLayer, number: int, d: Tensor, dx: Tensor) -> Call:
    """``dx, gradients = backward(d)``."""
    what = f"layer {place.key}: backward of {place.layer!r}"

    def call(workspace: Any, batch: int) -> None:
        d_input, gradients = workspace.backward[number](_read_only(workspace.view(d, batch)))
        _put(workspace.view(dx, batch), d_input, f"{what}, d_input")
        if set(gradients) != set(place.layer.parameters):
            raise ValueError(f"{what}: expected gradients of {sorted(place.layer.parameters)}, got {sorted(gradients)}")
        for name, gradient in gradients.items():
            _put(workspace.gradients[f"{place.key}.{name}"], gradient, f"{what}, gradient of {name!r}")

    return call


def loss_call(loss: Loss, z: Tensor, d: Tensor) -> Call:
    """The weighted loss of the batch, and its gradient."""
    what = f"loss {loss!r}"

    def call(workspace: Any, batch: int) -> None:
        target, weight = workspace.target(batch)
        with np.errstate(all="ignore"):
            value, gradient = loss.value_and_gradient(target, _read_only(workspace.view(z, batch)))
        rows = np.empty(batch)
        _put(rows, value, f"{what}, value per row")
        out = workspace.view(d, batch)
        _put(out, gradient, f"{what}, gradient")
        if weight is not None:
            rows *= weight
            out *= weight[:, None]
        out /= workspace.run.weight or 1.0
        workspace.run.loss = float(rows.sum())

    return call


def optimizer_call() -> Call:
    """``optimizer.update`` of every parameter; if one fails, all are put back."""

    def call(workspace: Any, batch: int) -> None:
        arenas, optimizer = workspace.arenas, workspace.optimizer
        kept = [
            arenas.flat_parameters.copy(),
            {k: {n: s.copy() for n, s in v.items()} for k, v in arenas.state.items()},
        ]
        try:
            for key, parameter in arenas.parameters.items():
                gradient = _read_only(workspace.gradients[key])
                optimizer.update(parameter, gradient, arenas.state[key], workspace.learning_rate, workspace.iteration)
        except BaseException:
            arenas.flat_parameters[:] = kept[0]
            for key, state in kept[1].items():
                for name, values in state.items():
                    arenas.state[key][name][...] = values
            raise

    return call
