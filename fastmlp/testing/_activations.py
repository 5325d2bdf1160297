"""Checks of activations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .._tracing.trainable import Learned
from ..activations import Activation
from ..layers import Activation as ActivationLayer
from ..model import Sequential
from ._execution import execution_of
from ._networks import file, threads, trains
from ._numbers import DTYPES, array_of, check_slopes, compare, draw, same_bits, slopes, unchanged
from ._outcome import Failure, Skipped, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CHECKS"]

ANY_SHAPE = ((), (0,), (5,), (3, 4), (0, 4), (2, 3, 4))
WHOLE_ROWS = ((3, 4), (1, 1), (0, 4))
REMEDY = "correct derivative(self, z, a) or backward(self, z, a, da)"


def _shapes(activation: Activation) -> tuple[tuple[int, ...], ...]:
    return ANY_SHAPE if activation.elementwise else WHOLE_ROWS


def _forward(activation: Activation, z: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(all="ignore"):
        return array_of(activation.forward(z), "forward")


def _backward(activation: Activation, z: NDArray[Any], da: NDArray[Any]) -> NDArray[Any]:
    a = _forward(activation, z)
    with np.errstate(all="ignore"):
        return array_of(activation.backward(z, a, da), "backward (or derivative)")


def shape(subject: Subject) -> None:
    """Return from forward, derivative and backward an array of the shape of z, whatever it is, (0, 4) too."""
    activation, domain = subject.make(), subject.option("domain")
    for wanted in _shapes(activation):
        z = draw(wanted, domain)
        for what, got in (
            ("forward", _forward(activation, z)),
            ("backward (or derivative)", _backward(activation, z, np.ones_like(z))),
        ):
            expect(got.shape == wanted, f"{what} returned shape {got.shape} for z of shape {wanted}: return {wanted}")


def dtype(subject: Subject) -> None:
    """Return the dtype that came: float32 for float32; an np.float64 constant makes float64 of it."""
    activation, domain = subject.make(), subject.option("domain")
    for wanted in DTYPES:
        z = draw((3, 4), domain, dtype=wanted)
        for what, got in (
            ("forward", _forward(activation, z)),
            ("backward (or derivative)", _backward(activation, z, np.ones_like(z))),
        ):
            expect(
                got.dtype == wanted,
                f"{what} returned {got.dtype} for {wanted}: use Python numbers or z.dtype.type(c) as constants, and "
                "dtype=z.dtype where arrays are made",
            )


def inputs_kept(subject: Subject) -> None:
    """Never write into z, a or da: they belong to the network, which passes them read-only."""
    activation = subject.make()
    z, da = draw((3, 4), subject.option("domain")), draw((3, 4), seed=1)
    with unchanged("forward", z=z):
        a = _forward(activation, z).copy()
    with unchanged("derivative or backward", z=z, a=a, da=da), np.errstate(all="ignore"):
        activation.backward(z, a, da)


def new_arrays(subject: Subject) -> None:
    """Return a new array at every call: not z, not a view of it, not a buffer that is kept."""
    activation = subject.make()
    z, other = draw((3, 4), subject.option("domain")), draw((3, 4), subject.option("domain"), seed=1)
    a = _forward(activation, z)
    expect(not np.shares_memory(a, z), "forward returns its argument, or a view of it: return a new array (z.copy())")
    kept = a.copy()
    again = _forward(activation, other)
    expect(
        not np.shares_memory(a, again) and same_bits(a, kept),
        "forward returns the same memory at every call: make a new array each time, since threads call it at once",
    )


def elementwise(subject: Subject) -> None:
    """Set ``elementwise = False`` if an element depends on others of its row; no row may depend on another row."""
    activation = subject.make()
    z = draw((4, 5), subject.option("domain"))
    whole = _forward(activation, z)
    compare(_forward(activation, z[1:3]), whole[1:3], 1e-9, "a row of forward depends on other rows", z[1:3])
    if activation.elementwise:
        what = "an element of forward depends on other elements (set elementwise = False and write backward)"
        compare(_forward(activation, z[:, 1:3].copy()), whole[:, 1:3], 1e-9, what, z[:, 1:3])


def derivative(subject: Subject) -> None:
    """Make derivative (or backward) the derivative of forward, as finite differences in float64 see it."""
    if subject.option("gradient") == "surrogate":
        raise Skipped('conformance declares the gradient "surrogate"')
    activation, domain = subject.make(), subject.option("domain")
    if not activation.elementwise:
        _row_derivative(activation, draw((4, 5), domain))
        return
    low, high = domain or (-6.0, 6.0)
    z = np.concatenate([np.linspace(low, high, 163)[1:-1], draw((40,), domain)])
    z = np.append(z, 0.0) if low < 0 < high else z
    da = np.where(np.arange(z.size) % 2, -0.75, 1.5)
    got = _backward(activation, z, da) / da
    values = _forward(activation, z)
    bad = np.isfinite(values) & ~np.isfinite(got)
    expect(not bad.any(), f"the derivative at {z[bad][:1]} is {got[bad][:1]}, where forward is finite: {REMEDY}")
    check_slopes(got, slopes(lambda at: _forward(activation, at), z), "the derivative", z, REMEDY)


def _row_derivative(activation: Activation, z: NDArray[Any]) -> None:
    da = draw(z.shape, seed=1)
    got = _backward(activation, z, da)
    for column in range(z.shape[1]):

        def along(at: NDArray[Any], column: int = column) -> NDArray[Any]:
            moved = z.copy()
            moved[:, column] = at
            return np.asarray((da * _forward(activation, moved)).sum(axis=1))

        at = z[:, column]
        check_slopes(got[:, column], slopes(along, at), f"backward in column {column}", at, REMEDY)


def _made_with(activation: Activation, values: dict[str, float]) -> Activation:
    """Return the same activation, made with numbers where it has learned parameters."""
    config = activation.get_config()
    return (
        type(activation).from_config({**config, **values})
        if values.keys() <= config.keys()
        else activation.with_parameters(values)
    )


def learned(subject: Subject) -> None:
    """Keep learned parameters as they came, for forward alone, so that their gradients are the right ones."""
    activation, z = subject.make(), draw((80,), subject.option("domain"))
    parameters = activation.trainable_parameters()
    if not parameters:
        raise Skipped("it has no learned parameters")
    # one for each unit, and one row: each gradient is that of one element
    each = {name: Learned(parameter.value, per="unit") for name, parameter in parameters.items()}
    net = Sequential([ActivationLayer(activation.with_parameters(each))], input_dim=z.size, dtype="float64", seed=0)
    gradients, _ = net.vjp(z[None])[1](np.ones((1, z.size)))
    start = {name: parameter.value for name, parameter in parameters.items()}
    for name, value in start.items():

        def along(at: NDArray[Any], name: str = name) -> NDArray[Any]:
            return _forward(_made_with(activation, {**start, name: float(at[0])}), z)

        found = slopes(along, np.full(z.size, value))
        what = f"the gradient of the learned parameter {name!r}"
        check_slopes(gradients[f"0.{name}"], found, what, z, "use it in forward by its own name alone")


def nan(subject: Subject) -> None:
    """Let NaN through: it must show in the result, or declare ``conformance = {"nan": "any"}``."""
    if subject.option("nan") == "any":
        raise Skipped('conformance declares nan "any"')
    activation = subject.make()
    for wanted in DTYPES:
        z = draw((4, 3), subject.option("domain"), dtype=wanted)
        z[1, 2] = np.nan
        a = _forward(activation, z)
        expect(
            np.isnan(a[1, 2] if activation.elementwise else a[1]).any(),
            f"forward makes {a[1, 2]:.6g} of NaN, so that a mistake in the data would go unseen: let NaN take the "
            'branch of np.where that keeps z, or declare conformance = {"nan": "any"}',
        )
        z[1, 2] = 0.5 if subject.option("domain") is None else z[0, 0]
        expect(same_bits(np.delete(a, 1, 0), np.delete(_forward(activation, z), 1, 0)), "NaN reaches other rows")


def infinity(subject: Subject) -> None:
    """Raise nothing at infinity, and keep the shape; the values are free."""
    activation = subject.make()
    for wanted in DTYPES:
        z = np.array([[np.inf, -np.inf, 1.0], [0.5, -1.0, 2.0]], dtype=wanted)
        expect(_forward(activation, z).shape == z.shape, "forward changes its shape at infinity")
        expect(_backward(activation, z, np.ones_like(z)).shape == z.shape, "backward changes its shape at infinity")


def large(subject: Subject) -> None:
    """Make no NaN of finite numbers, in float32 either; infinity is allowed where the value is too large."""
    if subject.option("domain") is not None:
        raise Skipped("conformance declares a domain")
    activation = subject.make()
    for wanted in DTYPES:
        z = np.array([[-1000.0, -100, -30, 30], [100, 1000, 1, 0]], dtype=wanted)
        for what, got in (
            ("forward", _forward(activation, z)),
            ("backward", _backward(activation, z, np.ones_like(z))),
        ):
            bad = np.isnan(got)
            expect(
                not bad.any(),
                f"{what} in {wanted} is NaN at {z[bad][:1]}, inf / inf or 0 * inf perhaps: write it so that only "
                "exponentials of negative numbers appear, e = np.exp(-np.abs(z)), or clip, or declare the domain",
            )


def deterministic(subject: Subject) -> None:
    """Give the same bits for the same numbers: no random numbers, no state from call to call."""
    first, second = subject.make(), subject.make()
    z = draw((6, 5), subject.option("domain"))
    a = _forward(first, z).copy()
    _forward(first, draw((2, 5), subject.option("domain"), seed=7))
    for other in (first, second):
        expect(
            same_bits(_forward(other, z), a),
            "forward gives other values for the same z: keep no state between calls and draw no random numbers (noise "
            "belongs into a layer, which is given rng)",
        )


def agrees(subject: Subject) -> None:
    """Let the network compute what forward and backward do: a compiled form must be the same function."""
    activation = subject.make()
    for wanted, tolerance in zip(DTYPES, (1e-4, 1e-9), strict=True):
        z = draw((9, 5), subject.option("domain"), dtype=wanted)
        net = Sequential([ActivationLayer(activation)], input_dim=5, dtype=wanted, seed=0)
        compare(net.predict(z), _forward(activation, z), tolerance, f"in a network of {wanted}, forward differs", z)
        y, pullback = net.vjp(z, training=True)
        compare(y, _forward(activation, z), tolerance, f"in training of {wanted}, forward differs", z)
        if subject.option("gradient") == "exact":
            _, dz = pullback(np.ones_like(z))
            expected = _backward(activation, z, np.ones_like(z))
            compare(dz, expected, tolerance, f"in a network of {wanted}, backward differs", z)


def speed(subject: Subject) -> str:
    """Write straight-line NumPy, or give a native kernel, if it must run compiled."""
    activation = subject.make()
    found = {str(wanted): execution_of(subject.kind, activation, wanted) for wanted in DTYPES}
    for wanted, one in found.items():
        if one.mode == "python" and subject.option("compiled"):
            raise Failure(
                f"runs in Python in {wanted} ({one.reason}), but conformance declares compiled: see that reason"
            )
    modes: set[str] = {one.mode for one in found.values()}
    reasons = sorted({one.reason for one in found.values() if one.reason})
    text = modes.pop() if len(modes) == 1 else ", ".join(f"{name}: {one.mode}" for name, one in found.items())
    return text + (f" ({'; '.join(reasons)})" if reasons else "")


CHECKS = (
    *(shape, dtype, inputs_kept, new_arrays, elementwise, derivative, learned, nan, infinity, large, deterministic),
    *(agrees, trains, threads, file, speed),
)
