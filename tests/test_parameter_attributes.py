"""Attributes of parameters, and what happens to gradients between the way back and the update."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._compiler.plan import Note
from fastmlp.layers import Layer

RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((48, 6)), RNG.standard_normal((48, 3))


class Scale(Layer):
    """y = x * gain + shift, in NumPy; with attributes as they are asked for."""

    def __init__(self, **attributes):
        super().__init__()
        self.attributes = attributes

    def build(self, input_dim):
        self.add_parameter("gain", (input_dim,), "ones", **self.attributes)
        self.add_parameter("shift", (input_dim,))
        return input_dim

    def forward(self, x, *, training, rng):
        gain = self.parameters["gain"]
        return x * gain + self.parameters["shift"], lambda dy: (
            dy * gain,
            {"gain": (dy * x).sum(axis=0), "shift": dy.sum(axis=0)},
        )


class OwnSGD(fm.optimizers.Optimizer):
    def init_state(self, param):
        return {}

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


class TracedSGD(OwnSGD):
    elementwise = True


OPTIMIZERS = {"sgd": fm.optimizers.SGD, "python": OwnSGD, "traced": TracedSGD}


def network(optimizer, **attributes):
    layers = [fm.layers.Dense(5, "tanh"), Scale(**attributes), fm.layers.Dense(3)]
    net = fm.Sequential(layers, input_dim=6, seed=0, dtype="float64")
    net.compile(optimizer, "mse")
    return net


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("way", ["step", "fit", "apply"])
def test_a_multiplier_is_of_the_learning_rate_of_one_parameter(kind, way):
    net = network(OPTIMIZERS[kind](learning_rate=0.1), learning_rate_multiplier=4.0)
    before = {key: view.copy() for key, view in net.parameters.items()}
    _, gradients = net.loss_and_gradients(X, Y)
    if way == "step":
        net.train_on_batch(X, Y)
    elif way == "fit":
        net.fit(X, Y, epochs=1, batch_size=48, shuffle=False)
    else:
        net.apply_gradients(gradients)
    for key, view in net.parameters.items():
        rate = 0.4 if key == "1.gain" else 0.1
        np.testing.assert_allclose(view, before[key] - rate * gradients[key], rtol=1e-12, atol=1e-14)


def test_a_multiplier_times_a_schedule():
    net = network(fm.optimizers.SGD(learning_rate=lambda step: 0.1 / step), learning_rate_multiplier=3.0)
    for step in (1, 2, 3):
        before = net.parameters["1.gain"].copy()
        gradient = net.loss_and_gradients(X, Y)[1]["1.gain"]
        net.train_on_batch(X, Y)
        np.testing.assert_allclose(net.parameters["1.gain"], before - 0.3 / step * gradient, rtol=1e-12)


def test_a_parameter_that_is_not_trainable_stays():
    net = network("adam", trainable=False)
    before = {key: view.copy() for key, view in net.parameters.items()}
    net.fit(X, Y, epochs=3, batch_size=16)
    changed = {key for key, view in net.parameters.items() if (view != before[key]).any()}
    assert changed == set(net.parameters) - {"1.gain"}


@pytest.mark.parametrize("multiplier", [-1.0, float("nan"), float("inf")])
def test_multipliers_are_numbers_of_at_least_0(multiplier):
    with pytest.raises(ValueError, match="learning_rate_multiplier of 'gain': expected a finite number of at least 0"):
        network("sgd", learning_rate_multiplier=multiplier)
    with pytest.raises(TypeError, match="learning_rate_multiplier"):
        network("sgd", learning_rate_multiplier="2")


# Transforms of gradients


def halve(to):
    """Add what halves all gradients, as an all-reduce over two processes of which one has none would."""

    def call(executable, batch):
        for gradient in executable.gradients.values():
            gradient *= 0.5

    to.emit_python(call, Note(python="halve"), "halved gradients")


@pytest.mark.parametrize("way", ["step", "fit", "apply"])
def test_transforms_come_between_the_way_back_and_the_update(way):
    nets = [network(fm.optimizers.SGD(learning_rate=rate)) for rate in (0.2, 0.1)]
    nets[0].engine.transform_gradients(halve)
    gradients = [net.loss_and_gradients(X, Y)[1] for net in nets]
    for key, gradient in gradients[0].items():
        assert (gradient == gradients[1][key]).all()  # what a caller asks for is not transformed
    for net, given in zip(nets, gradients, strict=True):
        if way == "step":
            net.train_on_batch(X, Y)
        elif way == "fit":
            net.fit(X, Y, epochs=2, batch_size=16)
        else:
            net.apply_gradients(given)
    for key, view in nets[0].parameters.items():
        np.testing.assert_allclose(view, nets[1].parameters[key], rtol=1e-12)


def test_a_transform_that_spoils_gradients_stops_the_step():
    def spoil(to):
        to.emit_python(
            lambda executable, batch: executable.gradients["0.kernel"].fill(np.nan), Note(python="spoil"), "spoilt"
        )

    net = network("adam")
    net.engine.transform_gradients(spoil)
    before = {key: view.copy() for key, view in net.parameters.items()}
    with pytest.raises(fm.NonFiniteError):
        net.train_on_batch(X, Y)
    assert all((view == before[key]).all() for key, view in net.parameters.items())
