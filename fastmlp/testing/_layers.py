"""Checks of layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import Layer
from ..model import Sequential
from ._networks import file, threads, trains
from ._numbers import DTYPES, array_of, check_slopes, compare, draw, same_bits, slopes, unchanged
from ._outcome import Skipped, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHECKS"]

INPUTS, ROWS, MOST = 5, 6, 30  # elements of a parameter that are compared


def _network(subject: Subject, dtype: Any = np.float64) -> tuple[Any, NDArray[Any]]:
    net = Sequential([subject.make()], input_dim=INPUTS, dtype=dtype, seed=3)
    x = draw((ROWS, INPUTS), subject.option("domain"), dtype=dtype)
    return net, np.floor(x) if subject.option("whole") else x


def _in_numpy(net: Any) -> list[Any]:
    """Return the parts of a layer that run their own forward."""
    found = [place.layer for place in net.engine.network.layers if type(place.layer).forward is not Layer.forward]
    if not found:
        raise Skipped("it is made of layers that have no forward of their own")
    return found


def outputs(subject: Subject) -> None:
    """Return from build the number of outputs, and from forward (batch, outputs), in training and in use."""
    for dtype in DTYPES:
        net, x = _network(subject, dtype)
        units = net.engine.network.units
        for rows in (x, x[:1]):
            for training in (True, False):
                y, _ = net.vjp(rows, training=training)
                expect(y.shape == (len(rows), units), f"forward gave {y.shape}, build promised {units} outputs")
            expect(net.predict(rows).shape == (len(rows), units), "predict gave another shape than build promised")


def dtype(subject: Subject) -> None:
    """Return outputs and gradients in the dtype of the inputs."""
    for wanted in DTYPES:
        net, _ = _network(subject, wanted)
        for layer in _in_numpy(net)[:1]:
            x = draw((ROWS, net.engine.network.inputs), subject.option("domain"), dtype=wanted)
            y, backward = layer.forward(x, training=True, rng=np.random.default_rng(0))
            expect(array_of(y, "forward").dtype == wanted, f"forward gave {y.dtype} for inputs of {wanted}")
            d_input, gradients = backward(np.ones_like(y))
            for name, array in {"d_input": d_input, **gradients}.items():
                expect(array_of(array, name).dtype == wanted, f"backward gave {name} in {array.dtype}, not {wanted}")


def inputs_kept(subject: Subject) -> None:
    """Never write into x or dy."""
    net, x = _network(subject)
    layer = _in_numpy(net)[0]
    for training in (True, False):
        with unchanged("forward", x=x):
            y, backward = layer.forward(x, training=training, rng=np.random.default_rng(0))
            dy = draw(np.shape(y), seed=1)
        with unchanged("backward", dy=dy, x=x):
            backward(dy)


def parameters(subject: Subject) -> None:
    """Ask for parameters in build by add_parameter, and return from backward a gradient of each, of its shape."""
    net, x = _network(subject)
    y, pullback = net.vjp(x, training=True)
    gradients, d_input = pullback(np.ones_like(y))
    expect(set(gradients) == set(net.parameters), f"gradients of {sorted(gradients)}, not {sorted(net.parameters)}")
    for key, gradient in gradients.items():
        expect(gradient.shape == net.parameters[key].shape, f"the gradient of {key} has shape {gradient.shape}")
        expect(np.isfinite(net.parameters[key]).all(), f"{key} begins with NaN or infinity")
    expect(d_input.shape == x.shape, f"d_input has shape {d_input.shape}, the inputs {x.shape}")


def gradients(subject: Subject) -> None:
    """Return from backward the gradients by inputs and parameters, as finite differences in float64 see them."""
    if subject.option("gradient") == "surrogate":
        raise Skipped('conformance declares the gradient "surrogate"')
    for training in (True, False):
        net, x = _network(subject)
        for number, key in enumerate(net.parameters):  # zeros would hide the gradients behind them
            net.parameters[key] = net.parameters[key] + 0.1 * draw(net.parameters[key].shape, seed=10 + number)
        mode = "in training" if training else "in use"
        y, pullback = net.vjp(x, training=training)
        dy = draw(y.shape, seed=1)
        found, d_input = pullback(dy)
        places = {} if subject.option("whole") else {f"d_input {mode}": (x, d_input, None)}
        places |= {f"the gradient of {key} {mode}": (net.parameters[key], found[key], key) for key in found}
        for what, (at, analytic, key) in places.items():
            _compare(what, np.array(at), analytic, _function(net, x, key, dy, training))


def _function(net: Any, x: NDArray[Any], key: str | None, dy: NDArray[Any], training: bool) -> Callable[[Any], float]:
    """Return the weighted sum of outputs, by the inputs or by one parameter."""

    def value(at: NDArray[Any]) -> float:
        if key is None:
            return float((net.vjp(at, training=training)[0] * dy).sum())
        kept = np.array(net.parameters[key])
        net.parameters[key] = at
        try:
            return float((net.vjp(x, training=training)[0] * dy).sum())
        finally:
            net.parameters[key] = kept

    return value


def _compare(what: str, at: NDArray[Any], analytic: NDArray[Any], value: Callable[[Any], float]) -> None:
    chosen = np.random.default_rng(2).permutation(at.size)[:MOST]

    def along(points: NDArray[Any]) -> NDArray[Any]:
        result = []
        for place, point in zip(chosen, points, strict=True):
            moved = at.copy()
            moved.flat[place] = point
            result.append(value(moved))
        return np.array(result)

    points = at.ravel()[chosen]
    check_slopes(analytic.ravel()[chosen], slopes(along, points), what, points, "correct backward(dy)")


def rows(subject: Subject) -> None:
    """Predict each row by itself: in use, what stands in the other rows must not matter."""
    net, x = _network(subject)
    whole = net.predict(x)
    for row in (0, ROWS - 1):
        compare(
            net.predict(x[row : row + 1]),
            whole[row : row + 1],
            1e-9,
            "with training=False a row depends on the rows beside it (use add_buffer and running statistics)",
            whole[row : row + 1],
        )


def no_memory(subject: Subject) -> None:
    """Keep nothing from call to call but parameters and buffers."""
    net, x = _network(subject)
    first = net.predict(x).tobytes()
    net.predict(x[:3][::-1] if subject.option("whole") else draw((3, INPUTS), subject.option("domain"), seed=8))
    expect(net.predict(x).tobytes() == first, "predict of the same rows gave other bits after other calls")
    y, pullback = net.vjp(x, training=True)
    dy = np.ones_like(y)
    net.vjp(2 * x if subject.option("domain") is None else x[::-1], training=True)
    gradients, d_input = pullback(dy)
    same, same_input = net.vjp(x, training=True)[1](dy)
    expect(
        same_bits(d_input, same_input) and all(same_bits(gradients[key], same[key]) for key in same),
        "backward depends on a later forward: keep what it needs in the closure that forward returns, not in self",
    )


CHECKS = (outputs, dtype, inputs_kept, parameters, gradients, rows, no_memory, trains, threads, file)
