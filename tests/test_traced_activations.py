"""Activations as users write them, traced: they train, predict and differentiate as in NumPy, on any thread, with the
same bits; what isn't traced says why."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.activations import execution_of
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

FIRST, LAST = 6, 3
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def softplus(z):
    return np.log1p(np.exp(z))


def leaky(z):
    a = z.copy()
    a[z < 0] *= 0.1
    return a


def gelu(z):
    return 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)))


def d_gelu(z, a):
    t = np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))
    return 0.5 * (1 + t) + 0.5 * z * (1 - t**2) * np.sqrt(2 / np.pi) * (1 + 3 * 0.044715 * z**2)


def d_mish(z, a):
    t = np.tanh(softplus(z))
    return t + z * (1 - t**2) * sigmoid(z)


def d_logish(z, a):
    s = sigmoid(z)
    return np.log(1 + s) + z * s * (1 - s) / (1 + s)


TRACED = {  # as papers have them: forward, derivative
    "swish": (lambda z: z / (1 + np.exp(-1.5 * z)), lambda z, a: sigmoid(1.5 * z) + 1.5 * a * (1 - sigmoid(1.5 * z))),
    "gelu": (gelu, d_gelu),
    "mish": (lambda z: z * np.tanh(softplus(z)), d_mish),
    "elu": (lambda z: np.where(z > 0, z, np.expm1(z)), lambda z, a: np.where(z > 0, 1, a + 1)),
    "selu": (
        lambda z: SCALE * np.where(z > 0, z, ALPHA * np.expm1(z)),
        lambda z, a: SCALE * np.where(z > 0, 1.0, ALPHA * np.exp(z)),
    ),
    "celu": (
        lambda z: np.maximum(0, z) + np.minimum(0, 2 * np.expm1(z / 2)),
        lambda z, a: np.where(z > 0, 1, np.exp(np.minimum(z, 0) / 2)),
    ),
    "hard_sigmoid": (lambda z: np.clip(z / 6 + 0.5, 0, 1), lambda z, a: (abs(z) < 3) / 6.0),
    "hard_swish": (
        lambda z: z * np.clip(z + 3, 0, 6) / 6,
        lambda z, a: np.select([z < -3, z > 3], [0.0, 1.0], z / 3 + 0.5),
    ),
    "hard_tanh": (lambda z: z.clip(-1, 1), lambda z, a: ((z >= -1) & (z <= 1)) * 1.0),
    "leaky": (leaky, lambda z, a: np.where(z < 0, 0.1, 1.0)),
    "snake": (lambda z: z + np.sin(2 * z) ** 2 / 2, lambda z, a: 1 + np.sin(4 * z)),
    "squareplus": (lambda z: (z + np.sqrt(z**2 + 4)) / 2, lambda z, a: 0.5 + z / (2 * np.sqrt(z * z + 4))),
    "softsign": (lambda z: z / (1 + np.abs(z)), lambda z, a: (1 + np.abs(z)) ** -2.0),
    "softplus": (lambda z: np.logaddexp(0, z), lambda z, a: sigmoid(z)),
    "logish": (lambda z: z * np.log(1 + sigmoid(z)), d_logish),
    "gaussian": (lambda z: np.exp(-np.square(z)), lambda z, a: -2 * z * a),
    "tanhshrink": (lambda z: z - np.tanh(z), lambda z, a: (z - a) ** 2),
    "lisht": (lambda z: z * np.tanh(z), lambda z, a: np.tanh(z) + z * (1 - np.tanh(z) ** 2)),
    "bent": (lambda z: (np.hypot(z, 1) - 1) / 2 + z, lambda z, a: z / (2 * np.sqrt(z * z + 1)) + 1),
}
traced = pytest.mark.parametrize("name", TRACED)


def make(name, derivative=True, **members):
    """An activation; the class is new, and so is what is known of it."""
    forward, slope = TRACED[name] if isinstance(name, str) else (name, None)
    members["forward"] = lambda self, z: forward(z)
    if derivative and slope is not None:
        members["derivative"] = lambda self, z, a: slope(z, a)
    return type("Made", (fm.activations.Activation,), members)()


def network(activation, dtype="float64", last=None):
    """It is fused into a product, after batch norm, and alone."""
    layers = [
        Activation(activation),
        Dense(9, activation),
        Dense(12, use_bias=False),  # a bias before batch norm has a gradient of roundings alone
        BatchNorm(),
        Activation(activation),
        Dropout(0.2),
        Activation(activation),
        Dense(LAST, last),
    ]
    net = fm.Sequential(layers, input_dim=FIRST, dtype=dtype, seed=1)
    net.compile("adam", "mse")
    return net


def data(rows=50, dtype="float64"):
    rng = np.random.default_rng(2)
    return rng.normal(size=(rows, FIRST)).astype(dtype), rng.normal(size=(rows, LAST)).astype(dtype)


def kinds(net, training=False):
    return net.engine.executables.lowering(8, training=training).predict().names


# Traced


@traced
def test_traced_in_both_dtypes(name, dtype):
    """With the derivative that was written and without; nothing warns, at infinity either."""
    for derivative in (True, False):
        found = execution_of(make(name, derivative), dtype)
        assert (found.mode, found.reason) == ("traced", None)


@traced
def test_trains_as_in_numpy(name):
    """Weights, running statistics and predictions after some steps, of the tracing with the written derivative, of
    that without one, and of NumPy."""
    x, y = data()
    nets = [network(make(name)), network(make(name, derivative=False)), network(make(name, recordable=False))]
    for net in nets:
        net.fit(x, y, epochs=2, batch_size=20, verbose=0)
    *found, expected = ({**net.parameters, **net.buffers, "predicted": net.predict(x)} for net in nets)
    for arrays in found:
        for key, value in arrays.items():
            np.testing.assert_allclose(value, expected[key], 1e-9, 1e-9, err_msg=key)


@traced
def test_gradients_are_those_of_the_loss(name):
    """The slope of the loss along a direction, by differences."""
    net = network(make(name, derivative=False))
    x, y = data(5)
    _, gradients = net.loss_and_gradients(x, y)
    rng = np.random.default_rng(4)
    along = {key: rng.normal(size=value.shape) for key, value in gradients.items()}
    at = {key: value.copy() for key, value in net.parameters.items()}

    def loss(h):
        for key, value in at.items():
            net.parameters[key] = value + h * along[key]
        return net.loss_and_gradients(x, y)[0]

    slope = sum(np.vdot(gradients[key], along[key]) for key in gradients)
    h = 1e-5
    assert slope == pytest.approx((loss(h) - loss(-h)) / (2 * h), 1e-6, 1e-6)


@pytest.mark.parametrize("name", ["swish", "mish", "leaky", "snake"])
def test_neither_threads_nor_schedule_change_a_bit(name, dtype, teams, fuse, snapshot, same_bits):
    activation = make(name, derivative=False)
    x, y = data(150, dtype)

    def train(threads):
        net = network(activation, dtype)
        with fm.num_threads(threads):
            net.fit(x, y, epochs=2, batch_size=70, verbose=0)
            outputs, backward = net.vjp(x)
            return {**snapshot(net), "predict": net.predict(x), "vjp": outputs, "d_input": backward(outputs)[1]}

    expected = train(1)
    for fused in (True, False):
        fuse(fused)
        for threads in (1, 2, 3, 5):
            assert same_bits(train(threads), expected), (fused, threads)


def test_it_runs_inside_other_operations():
    """Fused into the product before it, with batch norm between them at inference."""
    activation = make("swish")
    net = fm.Sequential([Dense(5, activation), Dense(4), BatchNorm(), Activation(activation), Dense(2)], input_dim=3)
    assert [op for op in kinds(net) if not op.startswith("batchnorm_")] == ["dense", "dense", "dense"]
    assert kinds(net, training=True) == ["dense", "dense", "batchnorm_statistics", "batchnorm", "dense"]
    x = np.random.default_rng(0).normal(size=(40, 3)).astype("f4")
    for row in (0, 17, 39):
        assert net.predict(x)[row].tobytes() == net.predict(x[row : row + 1]).tobytes()


def test_as_the_last_layer():
    """Its values are the predictions; the loss knows nothing of it."""
    nets = [network("tanh", last=make("softplus", recordable=recordable)) for recordable in (True, False)]
    x, y = data()
    for net in nets:
        net.compile("sgd", "mse")
        net.fit(x, y, epochs=3, verbose=0)
    np.testing.assert_allclose(nets[0].predict(x), nets[1].predict(x), 1e-9)


def test_only_the_value_is_kept_where_it_is_enough():
    """The way back of some reads the value alone, as that of sigmoid does."""
    gaussian = make(lambda z: np.exp(z) * 2, derivative=False)
    assert not execution_of(gaussian, np.dtype("f8")).kernel.reads_z
    assert execution_of(make("swish"), np.dtype("f8")).kernel.reads_z
    nets = [
        network(gaussian),
        network(make(lambda z: np.exp(z) * 2, derivative=False, backward=scaled, recordable=False)),
    ]
    x, y = data()
    for net in nets:
        net.train_on_batch(x * 0.1, y)
    for key, value in nets[0].parameters.items():
        np.testing.assert_allclose(value, nets[1].parameters[key], 1e-9, 1e-9, err_msg=key)


def scaled(self, z, a, da):
    return da * a


def test_a_backward_of_ones_own_is_traced():
    """Also one that is no product with a slope: here the gradient is clipped."""
    activation = make(np.sin, backward=lambda self, z, a, da: np.clip(da, -0.01, 0.01) * np.cos(z))
    assert execution_of(activation, np.dtype("f8")).mode == "traced"
    net = fm.Sequential([Dense(LAST), Activation(activation)], input_dim=FIRST, dtype="float64", seed=0)
    x, _ = data(8)
    _, backward = net.vjp(x)
    z = x @ net.parameters["0.kernel"]
    expected = (np.clip(np.ones_like(z), -0.01, 0.01) * np.cos(z)) @ net.parameters["0.kernel"].T
    np.testing.assert_allclose(backward(np.ones_like(z))[1], expected, 1e-12)


def test_a_wrong_derivative_is_used_as_it_is():
    """Straight-through estimators are wrong on purpose: what the class says counts."""
    x, y = data(10)

    class Straight(fm.activations.Activation):
        def forward(self, z):
            return np.rint(z)

        def derivative(self, z, a):
            return np.full_like(z, 2.0)

    in_numpy = type("InNumPy", (Straight,), {"recordable": False})
    nets = [network(Straight()), network(in_numpy())]
    (_, found), (_, expected) = (net.loss_and_gradients(x, y) for net in nets)
    assert execution_of(nets[0].layers[0].activation, np.dtype("f8")).mode == "traced"
    for key, value in found.items():
        np.testing.assert_allclose(value, expected[key], 1e-9, 1e-12)
    assert np.abs(found["1.kernel"]).max() > 0


def test_constants_and_identities():
    """An activation may ignore its argument, or return it."""
    x, _ = data(4)
    for forward, expected in ((np.zeros_like, 0.0), (np.copy, None), (lambda z: np.full_like(z, 2.5), 2.5)):
        activation = make(forward)
        assert execution_of(activation, np.dtype("f8")).mode == "traced"
        net = fm.Sequential([Dense(FIRST, activation), Dense(LAST)], input_dim=FIRST, dtype="float64", seed=0)
        outputs, backward = net.vjp(x)
        hidden = x @ net.parameters["0.kernel"] if expected is None else np.full((4, FIRST), expected)
        np.testing.assert_allclose(outputs, hidden @ net.parameters["1.kernel"], 1e-12, 1e-14)
        assert backward(outputs)[1].any() == (expected is None)


def test_constants_that_float32_rounds_to_0_are_not_computed_in_double():
    """NumPy takes them as 0 beside float32: what was recorded would be another function there."""

    class Heaviside(fm.activations.Activation):
        def forward(self, z):
            return np.heaviside(1e-310, z)

    z = np.array([[3.0, -2.0, 0.5]], np.float32)
    with pytest.raises(ValueError, match="0 in float32"):
        fm.activations.recorded(lambda z: np.heaviside(1e-310, z))
    net = fm.Sequential([Activation(Heaviside())], input_dim=3)
    np.testing.assert_array_equal(net.predict(z), np.heaviside(1e-310, z))
    eased = fm.activations.recorded(lambda z: np.log(np.abs(z) + 1e-300))  # added to numbers, it does no harm
    assert np.isfinite(eased(z)).all()


def test_powers_of_zero_have_a_finite_slope_by_their_exponent():
    constant = fm.activations.recorded(lambda z: z * np.power(0.0, z) + z)
    learned = fm.activations.recorded(lambda z, a=1.5: np.maximum(z, 0) ** a, a=fm.learned(1.5))
    z = np.array([[-1.0, 0.5, 2.0]])
    for activation, slopes in ((constant, [[np.inf, 1, 1]]), (learned, [[0, 1.5 * 0.5**0.5, 1.5 * 2**0.5]])):
        net = fm.Sequential([Activation(activation)], input_dim=3, dtype="float64")
        gradients, d_input = net.vjp(z)[1](np.ones((1, 3)))
        assert set(gradients) == set(net.parameters)
        np.testing.assert_allclose(d_input[:, 1:], np.array(slopes)[:, 1:], rtol=1e-6)
    expected = 0.5**1.5 * np.log(0.5) + 2**1.5 * np.log(2)
    np.testing.assert_allclose(gradients["0.a"], expected, rtol=1e-6)
