"""Checks through a small network: threads, copies, files; whatever the kind."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import NonFiniteError, UnknownNameError
from ..layers import Activation, Dense, Layer
from ..model import Sequential, load
from ..optimizers import SGD
from ..threads import num_threads
from ._execution import UNITS, units_for
from ._numbers import draw
from ._outcome import Failure, Skipped, expect
from ._subject import Subject

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["data_for", "file", "for_bias", "last_activation", "network", "threads", "trace", "trains"]

INPUTS, ROWS, WIDTH = 12, 256, 256  # work for several threads
RATE = 1e-3  # small: an activation may grow fast
Data = tuple["NDArray[Any]", "NDArray[Any]"]


def last_activation(loss: Any) -> str | None:
    """Return what a network with `loss` ends in: probabilities, or positive numbers where only these will do."""
    if not loss.probabilities:
        low, _ = getattr(loss, "conformance", {}).get("domain") or (-1.0, 1.0)
        return None if low < 0 else "softplus"
    return "sigmoid" if loss.accuracy == "binary" else "softmax"


def for_bias(regularizer: Any) -> Any:
    """Return a regularizer, or None for the bias where it says that it takes matrices alone, by a ValueError."""
    try:
        regularizer.value_and_gradient(draw((3,)))
    except ValueError:
        return None
    except Exception:
        return regularizer
    return regularizer


def targets_for(loss: Any, rows: int, units: int) -> NDArray[Any]:
    """Return targets as `loss` takes them beside so many outputs: labels, probabilities or numbers."""
    targets = loss.target_units(units)
    labels = np.random.default_rng(3).integers(0, targets, rows)
    if loss.labels:
        return labels
    if loss.probabilities or loss.accuracy in ("binary", "categorical"):
        return np.eye(targets)[labels]
    if loss.target_range is None:
        return draw((rows, targets), seed=4)
    low, high = (min(max(bound, -1e3), 1e3) for bound in loss.target_range)
    return draw((rows, targets), (low + 1e-3, min(high, low + 5)), seed=4)


def network(
    subject: Subject, obj: Any, dtype: Any = np.float32, rows: int = ROWS, width: int = WIDTH
) -> tuple[Any, Data]:
    """Return a compiled network that `obj` is a part of, and data for it."""
    domain = subject.option("domain")
    x = draw((rows, INPUTS), domain if subject.kind in ("activations", "layers") else None, dtype=dtype)
    x = np.floor(x) if subject.option("whole") else x
    layers: list[Layer] = [Dense(width, "tanh"), Dense(UNITS)]
    optimizer, loss, metrics, units = SGD(RATE), None, [], UNITS
    if subject.kind == "activations":
        layers = [Dense(width, obj), Dense(UNITS)] if domain is None else [Activation(obj), Dense(UNITS)]
    elif subject.kind == "initializers":
        layers = [Dense(width, "tanh", kernel_initializer=obj), Dense(UNITS)]
    elif subject.kind == "layers":
        layers = [obj, Dense(UNITS)] if domain else [Dense(width, "tanh"), obj, Dense(UNITS)]
    elif subject.kind == "optimizers":
        optimizer = obj
    elif subject.kind == "schedules":
        optimizer = SGD(obj)
    elif subject.kind == "losses":
        loss, units = obj, units_for(obj)
        layers[-1] = Dense(units, last_activation(loss))
    elif subject.kind == "regularizers":
        layers = [Dense(width, "tanh", kernel_regularizer=obj, bias_regularizer=for_bias(obj)), Dense(UNITS)]
    elif subject.kind == "constraints":
        layers = [Dense(width, "tanh", kernel_constraint=obj), Dense(UNITS)]
    elif subject.kind == "metrics":
        metrics = [obj]
        loss, layers[-1] = _loss_beside(subject), Dense(UNITS, "softmax")
    else:
        raise Skipped(f"networks have no place for {subject.kind} yet")
    net = Sequential(layers, input_dim=INPUTS, dtype=dtype, seed=7)
    net.compile(optimizer, "mse" if loss is None else loss, metrics)
    assert net.loss is not None
    return net, (x, targets_for(net.loss, rows, units))


def _loss_beside(subject: Subject) -> Any:
    from ..losses import CategoricalCrossentropy, SparseCategoricalCrossentropy

    return SparseCategoricalCrossentropy() if subject.option("targets") == "labels" else CategoricalCrossentropy()


def data_for(subject: Subject) -> Data:
    """Return targets and predictions for a loss or a metric, in float64."""
    obj, rows, domain = subject.make(), 7, subject.option("domain")
    loss = obj if subject.kind == "losses" else _loss_beside(subject)
    units = units_for(loss)
    y = targets_for(loss, rows, units)
    z = draw((rows, units), domain, seed=5)
    if domain is not None or not loss.probabilities:
        return y, z
    if loss.accuracy == "binary":
        return y, 1 / (1 + np.exp(-z))
    return y, np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def _state(net: Any) -> dict[str, bytes]:
    """Return every array that training changes, as bytes."""
    arrays = {**net.parameters, **{f"buffer {key}": array for key, array in net.buffers.items()}}
    for key, state in net.optimizer_state.items():
        arrays |= {f"{name} of {key}": array for name, array in state.items()}
    return {name: np.asarray(array).tobytes() for name, array in arrays.items()}


def _run(net: Any, data: Data, steps: int = 3) -> dict[str, bytes]:
    """Return the bits of what a network does: logs and state after some steps, and predictions."""
    x, y = data
    result: dict[str, bytes] = {}
    for step in range(steps):
        logs = net.train_on_batch(x, y)
        result |= {f"{name} of step {step}": np.float64(value).tobytes() for name, value in logs.items()}
    return {**result, **_state(net), "predict": net.predict(x).tobytes()}


def _attempt(subject: Subject, *arguments: Any, **options: Any) -> dict[str, bytes]:
    try:
        return _run(*network(subject, *arguments, **options))
    except NonFiniteError as error:
        raise Failure(
            f"training met NaN or infinity: {error}; declare the arguments that it is defined for, "
            'conformance = {"domain": (low, high)}, or keep its values smaller'
        ) from error


def trace(subject: Subject, obj: Any) -> dict[str, bytes]:
    """Return the bits by which two objects of one configuration are compared; none without a place in networks."""
    try:
        return _attempt(subject, obj, rows=16, width=8)
    except (Skipped, Failure):
        return {}


def trains(subject: Subject) -> None:
    """Train and predict in float32 and float64 without an error, twice to the same bits."""
    for dtype in ("float32", "float64"):
        first = _attempt(subject, subject.make(), dtype, rows=16, width=8)
        again = _attempt(subject, subject.make(), dtype, rows=16, width=8)
        changed = [name for name in first if first[name] != again[name]]
        expect(
            not changed,
            f"the same training in {dtype} twice differs ({', '.join(changed[:3])}): draw random numbers only from the "
            "rng that is given, and keep nothing from one network to the next",
        )


def threads(subject: Subject) -> None:
    """Train and predict to the same bits at 1, 2 and 3 threads: one element must not depend on how work is split."""
    results = {}
    for count in (1, 2, 3):
        with num_threads(count):
            results[count] = _attempt(subject, subject.make())
    for count in (2, 3):
        changed = [name for name in results[1] if results[1][name] != results[count][name]]
        expect(
            not changed,
            f"{count} threads give other bits than 1 ({', '.join(changed[:3])}): let no result depend on the order or "
            "the sizes of calls, and share no buffer between them",
        )


def file(subject: Subject) -> None:
    """Make a saved network load: every value of get_config() must be a number, a string, a list or registered."""
    import tempfile

    made = subject.make()
    try:
        subject.of_kind.identify(made)
    except UnknownNameError:
        raise Skipped("not registered, so no file can name it") from None
    net, (x, y) = network(subject, made, rows=16, width=8)
    net.train_on_batch(x, y)
    with tempfile.TemporaryDirectory(prefix="fastmlp-") as folder:
        path = os.path.join(folder, "net")
        try:
            net.save(path)
        except TypeError as error:
            raise Failure(f"a network with it can't be saved: {error}") from error
        again = load(path)
    for when in ("after loading", "after loading and one more step"):
        mine, other = _state(net), _state(again)
        changed = [name for name in {*mine, *other} if mine.get(name) != other.get(name)]
        expect(not changed, f"{when}, {sorted(changed)[:3]} differ: keep all state in the arrays that fastmlp saves")
        expect(net.predict(x).tobytes() == again.predict(x).tobytes(), f"{when}, predictions differ from those before")
        net.train_on_batch(x, y)
        again.train_on_batch(x, y)
