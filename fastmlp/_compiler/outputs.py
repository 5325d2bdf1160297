"""What a network's outputs mean, and which losses take them: one table, looked at by `compile`, `build`, and a step.

What outputs mean is told by the last activation (`Activation.output`, `Activation.elementwise`), what a loss takes by
its traits (`Loss.probabilities`, `Loss.accuracy`). Layers of somebody's own say nothing unless they want to
(`Layer.output_is_known`): then everything goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from ..activations import Identity
from ..metrics import metric_name

if TYPE_CHECKING:
    from ..activations import Activation
    from ..layers import Layer
    from ..losses import Loss
    from ..metrics import Metric

__all__ = ["check_objective", "check_outputs"]

CLASSES = "probabilities of classes, which sum to 1 in a row"
ANSWERS = "probabilities that are yes-or-no answers, each by itself"
LOG_CLASSES = "logarithms of probabilities of classes"
LOG_ANSWERS = "logarithms of probabilities that are yes-or-no answers"
NUMBERS = "numbers of any size"


class Outputs(NamedTuple):
    """What is known of a network's outputs.

    Attributes
    ----------
    meaning : str or None
        `CLASSES`, `ANSWERS`, logarithms of them, `NUMBERS`; None where nobody knows.
    end : Activation or Layer or None
        What makes them so.
    changed : bool
        Whether a layer behind it changes them in training (dropout).
    units : int or None
        How many there are.
    """

    meaning: str | None
    end: Activation | Layer | None
    changed: bool
    units: int | None


class Wanted(NamedTuple):
    """What a loss takes.

    Attributes
    ----------
    takes : tuple of str
        The meanings of outputs that go together with it.
    remedy : str
        What to do about the last layer otherwise.
    """

    takes: tuple[str, ...]
    remedy: str


_SOFTMAX, _SIGMOID = "use activation='softmax' in the last layer", "use activation='sigmoid' in the last layer"
_NONE = "use no activation in the last layer"

# By `Loss.probabilities` and `Loss.accuracy`; "" stands for any accuracy that has no line of its own.
TABLE: dict[tuple[bool | None, str], Wanted] = {
    (None, ""): Wanted((CLASSES, ANSWERS, LOG_CLASSES, LOG_ANSWERS, NUMBERS), ""),
    (False, ""): Wanted((NUMBERS,), _NONE),
    (False, "sparse"): Wanted((NUMBERS, LOG_CLASSES), _NONE),  # their softmax is that of the logits
    (False, "categorical"): Wanted((NUMBERS, LOG_CLASSES), _NONE),
    (True, ""): Wanted((CLASSES, ANSWERS), _SOFTMAX),
    (True, "sparse"): Wanted((CLASSES,), _SOFTMAX),
    (True, "categorical"): Wanted((CLASSES,), _SOFTMAX),
    (True, "binary"): Wanted((ANSWERS,), _SIGMOID),
}


def check_objective(layers: Sequence[Layer], units: int | None, loss: Loss | None, metrics: Sequence[Metric]) -> None:
    """Refuse a loss and metrics that don't go together with what layers give; ValueError.

    `units` is None before the layers are built: then metrics are not asked whether they fit.
    """
    found = outputs_of(layers)
    _check_choice(found)
    if loss is None:
        return
    _check_loss(found, loss)
    targets = None if units is None else loss.target_units(units)
    for metric in metrics:
        if loss.labels and not metric.labels:
            raise ValueError(
                f"metric {metric_name(metric)!r} compares outputs with rows of targets, but the targets of "
                f"{type(loss).__name__} are labels"
            )
        if targets != units and not metric.labels:
            raise ValueError(
                f"metric {metric_name(metric)!r} compares each output with its target, but {loss!r} has {targets} "
                f"target{'s' * (targets != 1)} beside {units} outputs: use a metric of your own, which knows what "
                "outputs mean"
            )
        if units is not None:
            metric.for_loss(loss, units)


def _check_loss(found: Outputs, loss: Loss) -> None:
    """Refuse a loss that does not take such outputs; ValueError."""
    loss.check_traits()
    wanted = _wanted(loss.probabilities, loss.accuracy)
    chooses = loss.probabilities is not None and loss.accuracy in ("sparse", "categorical")
    if found.units == 1 and chooses and found.meaning is not None:
        raise ValueError(
            f"{loss!r} chooses among classes, but the network has one output, which would always be chosen: use 2 "
            "units or more, or the loss 'binary_crossentropy' for one yes-or-no output"
        )
    if found.meaning is None or (found.meaning in wanted.takes and not (found.changed and loss.probabilities)):
        return
    if found.meaning in wanted.takes:
        raise ValueError(
            f"{loss!r} expects {_in_words(loss, wanted)}, but a layer behind {found.end!r} changes them in training: "
            "move it before the last activation"
        )
    raise ValueError(
        f"{loss!r} expects {_in_words(loss, wanted)}, but the network ends in {found.end!r}"
        f"{_outputs_in_words(found)}: {', or '.join(_remedies(loss, wanted, found))}"
    )


def check_outputs(layers: Sequence[Layer]) -> None:
    """Refuse a softmax of one unit, which is always 1; ValueError."""
    _check_choice(outputs_of(layers))


def _check_choice(found: Outputs) -> None:
    if found.units == 1 and found.meaning in (CLASSES, LOG_CLASSES):
        raise ValueError(
            f"the network ends in {found.end!r} of one unit, so that its output is always "
            f"{1 if found.meaning == CLASSES else 0}: use activation='sigmoid' "
            "for one yes-or-no output, or 2 units or more"
        )


def outputs_of(layers: Sequence[Layer]) -> Outputs:
    """Return what is known of the outputs of layers, one after the other."""
    changed, last = False, layers[-1] if layers else None
    for layer in reversed(layers):
        units = getattr(layer, "units", None)
        if not layer.output_is_known:
            return Outputs(None, layer, changed, units)
        activation = layer.output_activation
        if activation is not None and type(activation) is not Identity:
            return Outputs(_meaning(activation), layer if changed else activation, changed, units)
        if not layer.keeps_meaning:
            return Outputs(NUMBERS, activation if activation is not None and not changed else last, changed, units)
        changed = changed or activation is None  # the identity changes nothing
    return Outputs(None, last, changed, None)


def _meaning(activation: Activation) -> str:
    """Return what an activation's values mean: probabilities that it makes of whole rows are those of classes."""
    if activation.output == "log_probabilities":
        return LOG_ANSWERS if activation.elementwise else LOG_CLASSES
    if activation.output != "probabilities":
        return NUMBERS
    return ANSWERS if activation.elementwise else CLASSES


def _wanted(probabilities: bool | None, accuracy: str) -> Wanted:
    return TABLE.get((probabilities, accuracy)) or TABLE[probabilities, ""]


def _in_words(loss: Loss, wanted: Wanted) -> str:
    if loss.probabilities:
        return wanted.takes[0] if len(wanted.takes) == 1 else "probabilities"
    return "logits" if hasattr(loss, "from_logits") else f"scores, {NUMBERS}"


def _outputs_in_words(found: Outputs) -> str:
    if found.meaning == NUMBERS:
        return ""
    return f", whose outputs are {found.meaning}"


def _remedies(loss: Loss, wanted: Wanted, found: Outputs) -> list[str]:
    kind = type(loss).__name__
    remedies = [wanted.remedy]
    if hasattr(loss, "from_logits") and loss.probabilities and found.meaning in _wanted(False, loss.accuracy).takes:
        remedies.append(f"{kind}(from_logits=True)")
    elif hasattr(loss, "from_logits") and loss.probabilities is False:
        if found.meaning in _wanted(True, loss.accuracy).takes and not found.changed:
            remedies.insert(0, f"{kind}(from_logits=False)")
    elif found.meaning == ANSWERS:
        remedies.append("the loss 'binary_crossentropy' where each output is a yes or no by itself")
    elif found.meaning == CLASSES:
        remedies.append(
            "the loss 'categorical_crossentropy' ('sparse_categorical_crossentropy' for labels) where a row has one "
            "class"
        )
    return remedies
