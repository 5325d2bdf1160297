"""Gradients against complex-step differentiation of an independent way forward, and against central differences.

The way forward below is written for any leading axes: a parameter with an axis of perturbations in front gives a loss
for each of them. Im f(w + i h) / h with h = 1e-30 has no rounding to speak of.
"""

import itertools

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

H = 1e-30
TOLERANCE = 1e-9  # in relation to the largest gradient of the network
PERTURBATIONS = 256  # that go forward together


# The way forward, for complex numbers


def softmax(z):
    e = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


FUNCTIONS = {
    "Identity": lambda z, g: z,
    "ReLU": lambda z, g: np.where(z.real >= 0, z, 0),
    "LeakyReLU": lambda z, g: np.where(z.real >= 0, z, g.alpha * z),
    "Sigmoid": lambda z, g: sigmoid(z),
    "Tanh": lambda z, g: np.tanh(z),
    "Exponential": lambda z, g: np.exp(z),
    "Sin": lambda z, g: np.sin(z),
    "Cos": lambda z, g: np.cos(z),
    "Softmax": lambda z, g: softmax(z),
    "Cube": lambda z, g: g.factor * z**3,
    "Normalize": lambda z, g: z / np.sqrt((z * z).sum(axis=-1, keepdims=True) + 1),
}


class Cube(fm.activations.Activation):
    """An activation of a user: elementwise, in NumPy."""

    def __init__(self, factor=0.1):
        self.factor = factor

    def forward(self, z):
        return self.factor * z**3

    def derivative(self, z, a):
        return 3 * self.factor * z**2


class Normalize(fm.activations.Activation):
    """Another, on whole rows: z / sqrt(|z|^2 + 1)."""

    elementwise = False

    def forward(self, z):
        return z / np.sqrt((z * z).sum(axis=-1, keepdims=True) + 1)

    def backward(self, z, a, da):
        length = np.sqrt((z * z).sum(axis=-1, keepdims=True) + 1)
        return (da - a * (a * da).sum(axis=-1, keepdims=True)) / length


class Scale(fm.layers.Layer):
    """A layer of a user: y = factor x."""

    def build(self, input_dim):
        self.add_parameter("factor", (input_dim,), "ones")
        return input_dim

    def forward(self, x, *, training, rng):
        factor = self.parameters["factor"]
        return x * factor, lambda dy: (dy * factor, {"factor": (dy * x).sum(axis=0)})


class Unsaid(fm.layers.Layer):
    """Gives its inputs on, and does not say what they mean: then every loss is taken."""

    def lower(self, to, x):
        return x


def mask_of(net, place, batch, units):
    """The dropout mask of a layer, divided by 1 - rate: masks are keyed by seed, step, layer and element alone, so a
    network of nothing else at the same place has it too."""
    before = [Activation("identity") for _ in range(place)]
    rate = net.layers[place].rate
    probe = fm.Sequential([*before, Dropout(rate)], input_dim=units, seed=net.seed, dtype="float64")
    mask, _ = probe.vjp(np.ones((batch, units)), training=True)
    assert np.isin(mask, [0, 1 / (1 - rate)]).all()
    return mask


def masks_of(net, batch):
    """By place."""
    masks, units = {}, net.input_dim
    for place, layer in enumerate(net.layers):
        units = getattr(layer, "units", units)
        if isinstance(layer, Dropout):
            masks[place] = mask_of(net, place, batch, units)
    return masks


def forward(net, p, x, *, masks=None):
    """Outputs, from parameters and inputs that may be complex; in training where there are masks."""
    for place, layer in enumerate(net.layers):
        if isinstance(layer, Dense):
            x = x @ p[f"{place}.kernel"]
            if layer.use_bias:
                x = x + p[f"{place}.bias"][..., None, :]
        elif isinstance(layer, BatchNorm):
            mean, var = (net.buffers[f"{place}.running_{name}"] for name in ("mean", "var"))
            if masks is not None:
                mean = x.mean(axis=-2, keepdims=True)
                var = ((x - mean) ** 2).mean(axis=-2, keepdims=True)
            gamma, beta = p[f"{place}.gamma"][..., None, :], p[f"{place}.beta"][..., None, :]
            x = gamma * (x - mean) / np.sqrt(var + layer.epsilon) + beta
        elif isinstance(layer, Dropout):
            x = x if masks is None else x * masks[place]
        elif isinstance(layer, Scale):
            x = x * p[f"{place}.factor"][..., None, :]
        if hasattr(layer, "activation"):
            x = FUNCTIONS[type(layer.activation).__name__](x, layer.activation)
    return x


def log_softmax(z):
    z = z - z.real.max(axis=-1, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=-1, keepdims=True))


def cost(net, y, a, weight):
    """sum w C / sum w."""
    loss, name = net.loss, type(net.loss).__name__
    if name == "HalfSquaredError":
        rows = 0.5 * ((a - y) ** 2).sum(axis=-1)
    elif name == "MeanSquaredError":
        rows = ((a - y) ** 2).mean(axis=-1)
    elif name == "BinaryCrossentropy":
        p = sigmoid(a) if loss.from_logits else a
        rows = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(axis=-1)
    else:
        log_p = log_softmax(a) if loss.from_logits else np.log(a)
        if name == "SparseCategoricalCrossentropy":
            rows = -log_p[..., np.arange(len(y)), y]
        else:
            rows = -(y * log_p).sum(axis=-1)
    return (rows * weight).sum(axis=-1) / weight.sum()


def complex_step(function, value):
    """The gradient of a real function of an array, that takes complex numbers and leading axes."""
    gradient = np.empty(value.size)
    for at in range(0, value.size, PERTURBATIONS):
        some = np.arange(at, min(at + PERTURBATIONS, value.size))
        points = np.repeat(value.reshape(1, -1), len(some), axis=0).astype(complex)
        points[np.arange(len(some)), some] += 1j * H
        gradient[some] = function(points.reshape(-1, *value.shape)).imag / H
    return gradient.reshape(value.shape)


def complex_gradients(net, x, function, masks=None):
    """Gradients of ``function(outputs)`` by every parameter, and by the inputs."""
    p = {key: value.copy() for key, value in net.parameters.items()}
    gradients = {
        key: complex_step(lambda w, key=key: function(forward(net, {**p, key: w}, x, masks=masks)), value)
        for key, value in p.items()
    }
    return gradients, complex_step(lambda inputs: function(forward(net, p, inputs, masks=masks)), x)


def agree(found, expected):
    """Equal within TOLERANCE of the largest."""
    assert found.keys() == expected.keys()
    scale = max(np.abs(gradient).max() for gradient in expected.values())
    assert scale > 0
    for key, gradient in expected.items():
        assert found[key].shape == gradient.shape
        worst = np.abs(found[key] - gradient).max() / scale
        assert worst < TOLERANCE, f"{key}: {worst}"


# Random networks

WIDTHS = (1, 3, 7, 17, 33)
HIDDEN = ("identity", "relu", "leaky_relu", "sigmoid", "tanh", "sin", "cos", "softmax", Cube, Normalize)
UNFIT = (  # probabilities of another sort than the loss takes, unless nobody says so; the arithmetic is the same
    ("sigmoid", "categorical_crossentropy"),
    ("sigmoid", "sparse_categorical_crossentropy"),
    ("softmax", "binary_crossentropy"),
)
OBJECTIVES = (  # last activation, loss
    ("identity", "half_squared_error"),
    ("tanh", "mse"),
    ("softmax", "mse"),
    ("relu", "half_squared_error"),
    ("softmax", "sparse_categorical_crossentropy"),
    ("softmax", "categorical_crossentropy"),
    ("sigmoid", "binary_crossentropy"),
    *UNFIT,
    ("identity", fm.losses.SparseCategoricalCrossentropy(from_logits=True)),
    ("tanh", fm.losses.CategoricalCrossentropy(from_logits=True)),
    ("leaky_relu", fm.losses.BinaryCrossentropy(from_logits=True)),
    ("exponential", "half_squared_error"),
)


def block(rng, width):
    """One hidden layer, in one of the ways in which it can be written."""
    activation = fm.activations.get(HIDDEN[rng.integers(len(HIDDEN))])
    dense = Dense(width, use_bias=bool(rng.integers(2)))
    dropout = [Dropout(rng.choice([0.0, 0.2, 0.6]))]
    return [
        lambda: [Dense(width, activation, use_bias=dense.use_bias)],
        lambda: [dense, Activation(activation)],
        lambda: [dense, BatchNorm(), Activation(activation)],
        lambda: [dense, BatchNorm(), Activation(activation), *dropout],
        lambda: [Dense(width, activation), *dropout],
        lambda: [dense, *dropout, Activation(activation)],
        lambda: [dense, Activation(activation), BatchNorm(epsilon=0.01)],
        lambda: [dense, Scale(), Activation(activation)],
    ][rng.integers(8)]()


def random_network(number):
    """Network, inputs, targets, sample weights (or None); the number decides all.

    A draw whose loss nothing moves (all units dead or dropped, softmax of one unit) is drawn anew.
    """
    for attempt in itertools.count():
        rng = np.random.default_rng([2024, number, attempt])
        drawn = draw(number, rng)
        if moves(*drawn, rng):
            return drawn


def moves(net, x, y, weight, rng):
    """Whether loss and outputs have a slope along a random direction."""
    p = {key: value + 1j * H * rng.normal(size=value.shape) for key, value in net.parameters.items()}
    trained, plain = forward(net, p, x, masks=masks_of(net, len(x))), forward(net, p, x)
    slope = cost(net, y, trained, np.ones(len(x)) if weight is None else weight).imag / H
    return abs(slope) > 1e-3 and np.abs(plain.imag / H).max() > 1e-3


def draw(number, rng):
    """One of them."""
    last, loss = OBJECTIVES[number % len(OBJECTIVES)]
    layers = [BatchNorm(), Activation("tanh"), Dropout(0.3), Scale()][: rng.integers(1, 5)] if number % 5 == 4 else []
    for _ in range(number % 6):
        layers += block(rng, int(rng.choice(WIDTHS)))
    units = int(rng.choice(WIDTHS[last == "softmax" :]))  # of one unit it is constant
    if number % 3:
        layers += [Dense(units, last, use_bias=bool(rng.integers(2)))]
    else:
        layers += [Dense(units), *[BatchNorm()][: rng.integers(2)], Activation(last)]
    layers += [Unsaid()] if units == 1 or (last, loss) in UNFIT else []
    d, batch = int(rng.choice(WIDTHS)), int(rng.choice([2, 5, 9]))
    net = fm.Sequential(layers, input_dim=d, dtype="float64", seed=number)
    net.compile(fm.optimizers.Adam(0.01), loss)
    for key, value in net.parameters.items():
        spread = 1 / np.sqrt(len(value)) if key.endswith("kernel") else 0.5
        net.parameters[key] = key.endswith(("gamma", "factor")) + spread * rng.normal(size=value.shape)
    for key, value in net.buffers.items():
        net.buffers[key] = rng.uniform(0.5, 2, value.shape) if key.endswith("var") else rng.normal(size=value.shape)
    x = rng.normal(size=(batch, d))
    if net.loss.labels:
        y = rng.integers(0, units, batch)
    elif net.loss.accuracy == "shape":
        y = rng.normal(size=(batch, units))
    else:
        y = rng.uniform(size=(batch, units))
        y = y / y.sum(axis=1, keepdims=True) if net.loss.accuracy == "categorical" else y
    weight = [None, rng.uniform(0.1, 2, batch), np.arange(batch, dtype=float)][rng.integers(3)]
    return net, x, y, weight


NETWORKS = range(84)


def test_random_networks_reach_everything():
    """Depths, widths, losses, activations and layers of the networks below: one that is left out would prove less."""
    nets = [random_network(number)[0] for number in NETWORKS]
    kinds = {type(layer) for net in nets for layer in net.layers}
    assert {Dense, BatchNorm, Dropout, Activation, Scale, Unsaid} == kinds
    shown = {type(layer.activation).__name__ for net in nets for layer in net.layers if hasattr(layer, "activation")}
    assert shown == set(FUNCTIONS)
    assert {len([layer for layer in net.layers if isinstance(layer, Dense)]) for net in nets} == set(range(1, 7))
    assert {layer.units for net in nets for layer in net.layers if isinstance(layer, Dense)} == set(WIDTHS)
    assert {(type(net.loss), getattr(net.loss, "from_logits", None)) for net in nets} == {
        (type(loss), getattr(loss, "from_logits", None)) for loss in (fm.losses.get(loss) for _, loss in OBJECTIVES)
    }


@pytest.mark.parametrize("number", NETWORKS)
def test_loss_and_gradients(number):
    """The loss, and dJ/dw for every parameter w, in training mode, against complex steps."""
    net, x, y, weight = random_network(number)
    masks = masks_of(net, len(x))
    loss, found = net.loss_and_gradients(x, y, weight)
    weight = np.ones(len(x)) if weight is None else weight
    outputs = forward(net, net.parameters, x, masks=masks)
    assert loss == pytest.approx(cost(net, y, outputs, weight), rel=1e-11)
    expected, _ = complex_gradients(net, x, lambda a: cost(net, y, a, weight), masks)
    agree(found, expected)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("number", NETWORKS)
def test_vjp(number, training):
    """y, and for any dy the gradients of sum dy y by parameters and inputs, with statistics of the batch and dropout
    or with running ones and none."""
    net, x, _, _ = random_network(number)
    masks = masks_of(net, len(x)) if training else None
    y, backward = net.vjp(x, training=training)
    np.testing.assert_allclose(y, forward(net, net.parameters, x, masks=masks), rtol=1e-10, atol=1e-12)
    for seed in range(2):  # the pullback may be called again
        dy = np.random.default_rng(seed).normal(size=y.shape)
        gradients, d_input = backward(dy)
        expected, expected_input = complex_gradients(net, x, lambda a, dy=dy: (dy * a).sum(axis=(-1, -2)), masks)
        agree({**gradients, "input": d_input}, {**expected, "input": expected_input})


@pytest.mark.parametrize("batch", [1, 31, 33, 300])
@pytest.mark.parametrize("threads", [1, 3])
def test_large_layers(batch, threads):
    """The slopes along random directions, parameter by parameter, where kernels are packed, blocked and shared."""
    rng = np.random.default_rng(batch)
    middle = [BatchNorm(), Activation("tanh"), Dropout(0.2)] if batch > 1 else [Activation("tanh")]
    layers = [Dense(270, "relu"), Dense(131), *middle, Dense(300, "sigmoid"), Dense(17, "softmax")]
    net = fm.Sequential(layers, input_dim=290, dtype="float64", seed=batch)
    net.compile("sgd", "sparse_categorical_crossentropy")
    x, y, weight = rng.normal(size=(batch, 290)), rng.integers(0, 17, batch), rng.uniform(0.5, 2, batch)
    masks = masks_of(net, batch)
    p = dict(net.parameters)
    with fm.num_threads(threads):
        loss, gradients = net.loss_and_gradients(x, y, weight)
        outputs, backward = net.vjp(x, training=True)
        dy = rng.normal(size=outputs.shape)
        pulled, d_input = backward(dy)
    assert loss == pytest.approx(cost(net, y, forward(net, p, x, masks=masks), weight), rel=1e-12)
    for key, value in {**p, "input": x}.items():
        along = rng.normal(size=value.shape)
        moved = {**p, "input": x, key: value + 1j * H * along}
        a = forward(net, moved, moved["input"], masks=masks)
        expected = (dy * a).sum().imag / H
        found = {**pulled, "input": d_input}[key] * along
        assert found.sum() == pytest.approx(expected, rel=0, abs=1e-11 * np.abs(found).sum() + 1e-12)
        if key != "input":
            expected = cost(net, y, a, weight).imag / H
            found = gradients[key] * along
            assert found.sum() == pytest.approx(expected, rel=0, abs=1e-11 * np.abs(found).sum() + 1e-12)


# No side effects


PURE = {
    "loss_and_gradients": lambda net, x, y, weight: net.loss_and_gradients(x, y, weight),
    "vjp": lambda net, x, y, weight: (pair := net.vjp(x))[1](np.ones_like(pair[0])),
    "vjp in training": lambda net, x, y, weight: (pair := net.vjp(x, training=True))[1](np.ones_like(pair[0])),
    "predict": lambda net, x, y, weight: net.predict(x),
    "evaluate": lambda net, x, y, weight: net.evaluate(x, y, sample_weight=weight),
}


@pytest.mark.parametrize("call", PURE)
@pytest.mark.parametrize("number", range(20, 40))
def test_no_side_effect(number, call, snapshot, same_bits):
    """Nothing changes, and the next step has the bits that it has without the call; so has the same call again."""
    net, x, y, weight = random_network(number)
    other, *_ = random_network(number)
    before = snapshot(net)
    PURE[call](net, x, y, weight)
    assert same_bits(snapshot(net), before)
    for _ in range(3):
        PURE[call](net, x, y, weight)
        assert net.train_on_batch(x, y, weight) == other.train_on_batch(x, y, weight)
        assert same_bits(snapshot(net), snapshot(other))


def test_pure_calls_give_new_arrays(same_bits):
    """A result is not overwritten by the next call, nor by a step."""
    net, x, y, weight = random_network(11)
    loss, first = net.loss_and_gradients(x, y, weight)
    kept = {key: gradient.copy() for key, gradient in first.items()}
    y0, backward = net.vjp(x)
    gradients, d_input = backward(np.ones_like(y0))
    others = [{key: gradient.copy() for key, gradient in gradients.items()}, d_input.copy(), y0.copy()]
    backward(np.full_like(y0, 3))
    net.vjp(2 * x)[1](y0)
    net.train_on_batch(x, y)
    assert net.loss_and_gradients(2 * x, y, weight)[0] != loss
    assert same_bits(first, kept)
    assert same_bits(gradients, others[0])
    assert same_bits(d_input, others[1])
    assert same_bits(y0, others[2])


OPTIMIZERS = {
    "sgd": lambda: fm.optimizers.SGD(0.1),
    "momentum": lambda: fm.optimizers.SGD(0.1, momentum=0.9),
    "nesterov": lambda: fm.optimizers.SGD(0.1, momentum=0.9, nesterov=True),
    "adam": lambda: fm.optimizers.Adam(lambda step: 0.01 / step),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("loss", ["mse", "categorical_crossentropy"])
def test_gradients_applied_are_a_step(optimizer, loss, dtype, snapshot, same_bits):
    """``apply_gradients(loss_and_gradients(x, y))`` has the bits of ``train_on_batch(x, y)``, dropout and all."""

    def made():
        layers = [Dense(33, "relu"), Dropout(0.3), Dense(17, "tanh", use_bias=False), Dense(5, "softmax")]
        net = fm.Sequential(layers, input_dim=9, dtype=dtype, seed=4)
        net.compile(OPTIMIZERS[optimizer](), loss)
        return net

    rng = np.random.default_rng(0)
    by_hand, whole = made(), made()
    for size in (40, 3, 40, 1):
        x, y = rng.normal(size=(size, 9)), rng.dirichlet(np.ones(5), size)
        weight = rng.uniform(size=size)
        value, gradients = by_hand.loss_and_gradients(x, y, weight)
        by_hand.apply_gradients(gradients)
        assert value == whole.train_on_batch(x, y, weight)["loss"]
        assert same_bits(snapshot(by_hand), snapshot(whole))


# Everything in the registries, by central differences of fourth order


def central(function, value, h=2e-3):
    """d function / d value, element by element: (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12 h."""
    gradient = np.empty(value.shape)
    for at in np.ndindex(value.shape):

        def moved(steps, at=at):
            point = value.copy()
            point[at] += steps * h
            return function(point)

        gradient[at] = (8 * (moved(1) - moved(-1)) - (moved(2) - moved(-2))) / (12 * h)
    return gradient


def builtin(registry):
    return [name for name in registry.names() if registry.origin(name) == "built-in"]


def test_registries_are_not_empty():
    """What is parametrised below is all there is."""
    assert set(builtin(fm.registry.activations)) >= {"relu", "leaky_relu", "sigmoid", "tanh", "softmax", "identity"}
    assert set(builtin(fm.registry.losses)) >= {"half_squared_error", "mean_squared_error"}


@pytest.mark.parametrize("name", builtin(fm.registry.activations))
def test_every_activation(name):
    """g' of the object, and of a network with g alone and fused into GEMMs, at points without a kink."""
    activation = fm.activations.get(name)
    z = np.linspace(-3.3, 3.1, 18).reshape(3, 6)
    assert np.abs(z).min() > 0.01
    da = np.random.default_rng(0).normal(size=z.shape)
    expected = central(lambda point: (da * activation(point)).sum(), z)
    np.testing.assert_allclose(activation.backward(z, activation(z), da), expected, rtol=0, atol=1e-9)
    if activation.elementwise:
        slope = activation.derivative(z, activation(z))
        np.testing.assert_allclose(da * slope, expected, rtol=0, atol=1e-9)
    alone = fm.Sequential([Activation(name)], input_dim=6, dtype="float64")
    y, backward = alone.vjp(z)
    np.testing.assert_allclose(y, activation(z), rtol=1e-14)
    np.testing.assert_allclose(backward(da)[1], expected, rtol=0, atol=1e-9)
    between = fm.Sequential([Dense(6, name), Dense(6)], input_dim=6, dtype="float64")
    for key in ("0.kernel", "1.kernel"):
        between.parameters[key] = np.eye(6)
    y, backward = between.vjp(z)
    np.testing.assert_allclose(y, activation(z), rtol=1e-14)
    np.testing.assert_allclose(backward(da)[1], expected, rtol=0, atol=1e-9)


def with_logits():
    for name in builtin(fm.registry.losses):
        yield name, False
        if "from_logits" in fm.losses.get(name).get_config():
            yield name, True


@pytest.mark.parametrize("units", [1, 4])
@pytest.mark.parametrize(("name", "from_logits"), list(with_logits()))
def test_every_loss(name, from_logits, units):
    """The gradient of the object and that of a network's loss, by predictions and by logits."""
    loss = fm.losses.get(name, **({"from_logits": True} if from_logits else {}))
    rng = np.random.default_rng(1)
    units *= 2 if name == "gaussian_nll" else 1
    targets = loss.target_units(units)
    if loss.labels:
        y = rng.integers(0, units, 5)
    else:
        y = rng.dirichlet(np.ones(targets), 5) if targets > 1 else rng.uniform(size=(5, 1))
    positive = "domain" in getattr(loss, "conformance", {})
    a = rng.uniform(0.2, 0.8, (5, units)) if loss.probabilities or positive else rng.normal(size=(5, units))
    rows, gradient = loss.value_and_gradient(y, a)
    assert rows.shape == (5,)
    expected = central(lambda point: loss.value_and_gradient(y, point)[0].sum(), a)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-7 if loss.probabilities or positive else 1e-9)
    for last in ("softmax", "sigmoid") if loss.probabilities or positive else ("identity", "tanh"):
        net = fm.Sequential([Dense(units, last), Unsaid()], input_dim=3, dtype="float64", seed=0)
        net.compile("sgd", loss)
        if name == "cosine_similarity":  # outputs far from 0: directions of short vectors are no matter of differences
            net.parameters["0.bias"] = np.full(units, 2.0)
        x = rng.normal(size=(5, 3))
        _, gradients = net.loss_and_gradients(x, y)
        for key, found in gradients.items():

            def value(point, key=key, net=net, x=x):
                kept = net.parameters[key].copy()
                net.parameters[key] = point
                result, _ = net.loss_and_gradients(x, y)
                net.parameters[key] = kept
                return result

            expected = central(value, net.parameters[key].copy())
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
