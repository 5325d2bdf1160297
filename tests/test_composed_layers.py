"""Layers that stand for others: what a network finds in them, and what they are told."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout, Layer, Residual


class Parts(Layer):
    """Stands for the layers it is given."""

    def __init__(self, *, parts=(), activation=None, size=1):
        super().__init__()
        self.parts, self.activation, self.size = list(parts), activation, size

    def compose(self, input_dim):
        return self.parts


class Squared(Layer):
    """Has a setting called activation, which is a text, and asks for what is recommended."""

    activation = "squared"

    def build(self, input_dim):
        self.add_parameter("scale", (input_dim, 1), self.recommended_initializer)
        return input_dim

    def forward(self, x, *, training, rng):
        return x * x, lambda dy: (2 * x * dy, {"scale": self.parameters["scale"] * 0})


class Bent(Squared):
    """Says which activation it ends in."""

    transparent_to_initializer = True

    @property
    def output_activation(self):
        return fm.activations.get("relu")


# -- the recommended initializer -------------------------------------------------------------------------------------

HE, LECUN = "he_normal", "lecun_normal"

RECOMMENDED = {
    "its own activation": lambda: {Dense(2, "relu"): HE, Dense(2, "tanh"): LECUN},
    "past layers that don't matter": lambda: {Dense(2): HE, BatchNorm(): HE, Dropout(0.1): HE, Activation("relu"): HE},
    "the identity doesn't matter": lambda: {Dense(2): HE, Activation("linear"): HE, Activation("relu"): HE},
    "not past another dense layer": lambda: {Dense(2): LECUN, Dense(2, "relu"): HE},
    "the next one, not the last": lambda: {Dense(2): LECUN, Activation("tanh"): LECUN, Activation("relu"): HE},
    "not past a layer that says nothing": lambda: {Dense(2): LECUN, Squared(): HE, Activation("relu"): HE},
    "one's own that says it": lambda: {Dense(2): HE, Bent(): HE, Activation("tanh"): LECUN},
    "a text is no activation": lambda: {Dense(2, "relu"): HE, Squared(): LECUN},
}


@pytest.mark.parametrize("case", RECOMMENDED)
@pytest.mark.parametrize("inside", ["a network", "parts", "a branch"])
def test_recommended_initializers(case, inside):
    expected = RECOMMENDED[case]()
    layers = list(expected)
    if inside != "a network":
        layers = [Parts(parts=layers) if inside == "parts" else Residual(layers)]
    fm.Sequential(layers, input_dim=2)
    assert {layer: layer.recommended_initializer for layer in expected} == expected


@pytest.mark.parametrize("activation", ["relu", "no such", 5, None, ("relu", 2), np.tanh])
def test_a_setting_called_activation_may_be_anything(activation):
    """Of a layer that stands for others: what it makes of it is seen in them."""
    layers = [Dense(2), Parts(parts=[Dense(3), Activation("relu")], activation=activation), Dense(1)]
    fm.Sequential(layers, input_dim=2)
    assert layers[0].recommended_initializer == LECUN
    assert layers[1].parts[0].recommended_initializer == HE


@pytest.mark.parametrize("layers", [10, 80])
def test_each_layer_is_asked_for_its_activation_a_few_times(layers, monkeypatch):
    """However many stand behind it."""
    asked = []
    before = Dropout.output_activation
    monkeypatch.setattr(Dropout, "output_activation", property(lambda self: asked.append(self) or before.fget(self)))
    fm.Sequential([Dense(2), *(Dropout(0.1) for _ in range(layers)), Dense(2)], input_dim=2)
    assert layers <= len(asked) <= 3 * layers


# -- what stands where -----------------------------------------------------------------------------------------------


PLACES = {
    "before": lambda empty: [empty, Dense(3), Dense(2)],
    "between": lambda empty: [Dense(3), empty, Dense(2)],
    "behind": lambda empty: [Dense(3), Dense(2), empty],
    "in parts": lambda empty: [Parts(parts=[empty]), Dense(3), Parts(parts=[Dense(2), Parts()])],
    "in a branch": lambda empty: [Residual([empty]), Dense(3), Dense(2)],
}


@pytest.mark.parametrize("place", PLACES)
def test_layers_that_stand_for_none(place):
    """They give their inputs on, and their settings are fixed as those of others are."""
    empty = Parts()
    net = fm.Sequential(PLACES[place](empty), input_dim=4)
    sizes = [value.shape for key, value in net.parameters.items() if key.endswith("kernel")]
    assert sizes == [(4, 3), (3, 2)] and net.predict(np.ones((5, 4))).shape == (5, 2)
    with pytest.raises(AttributeError, match="size can't be changed"):
        empty.size = 2


@pytest.mark.parametrize("layers", [lambda: [Parts()], lambda: [Parts(parts=[Parts()])], lambda: [Parts(), Parts()]])
def test_a_network_of_no_layers(layers):
    net = fm.Sequential(layers())
    with pytest.raises(ValueError, match=r"at least one layer.*Parts\(.* stand for none"):
        net.build(3)
    assert not net.built and not net.layers[0].built


@pytest.mark.parametrize(
    "around",
    [
        lambda one: [Parts(parts=[one]), Parts(parts=[one])],
        lambda one: [Parts(parts=[one, Dense(2)]), Dense(3), Parts(parts=[Parts(parts=[one])])],
        lambda one: [Dense(3), Parts(parts=[Residual([Dense(3)]), Parts(parts=[one])]), Parts(parts=[one])],
    ],
)
@pytest.mark.parametrize("one", [lambda: Dense(3), lambda: Dropout(0.1), lambda: Parts(parts=[Dense(3)])])
def test_a_layer_in_two_places(around, one):
    """Its arrays would be those of the last place alone."""
    with pytest.raises(ValueError, match="stands twice"):
        fm.Sequential(around(one()), input_dim=3)
