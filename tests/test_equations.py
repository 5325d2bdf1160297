"""The rows of docs/equations.md, each against literal NumPy or numbers worked by hand; tests are named by rows."""

import itertools
import math
import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

ULPS = {np.dtype(np.float32): 4, np.dtype(np.float64): 2}  # promised for exp, tanh and sigmoid
LITERAL = {  # g(z) and g'(z), word by word
    "identity": (lambda z: z, lambda z: np.ones_like(z)),
    "relu": (lambda z: np.where(z >= 0, z, 0), lambda z: (z >= 0).astype(z.dtype)),
    "leaky_relu": (lambda z: np.maximum(0.01 * z, z), lambda z: np.where(z >= 0, 1.0, 0.01)),
    "sigmoid": (lambda z: 1 / (1 + np.exp(-z)), lambda z: np.exp(-z) / (1 + np.exp(-z)) ** 2),
    "tanh": (np.tanh, lambda z: 1 - np.tanh(z) ** 2),
    "sin": (np.sin, np.cos),
    "cos": (np.cos, lambda z: -np.sin(z)),
    "exponential": (np.exp, np.exp),
}
SPECIAL = [0.0, -0.0, 1.5, -1.5, 1e-45, -1e-45, 5e-324, -5e-324, math.inf, -math.inf, math.nan]


def network(*layers, inputs, dtype="float64", seed=0, **compiling):
    net = fm.Sequential(layers, input_dim=inputs, dtype=dtype, seed=seed)
    if compiling:
        net.compile(**compiling)
    return net


def randomize(net, seed=0):
    """Parameters that no initializer gives, biases not 0 above all."""
    rng = np.random.default_rng(seed)
    for key, value in net.parameters.items():
        net.parameters[key] = rng.normal(0, 1 / np.sqrt(value.shape[0]), value.shape)
    return rng


def put(net, **values):
    """``put(net, kernel0=..., bias0=...)``."""
    for name, value in values.items():
        net.parameters[f"{name[-1]}.{name[:-1]}"] = value


def close(a, b, tolerance=1e-12):
    """Equal up to rounding, in relation to the largest number."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    assert np.isfinite(b).all()
    np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(np.abs(b).max(initial=0), 1e-300))


def ulps(a, exact):
    """Distance from `exact` (given with more digits) in units of the last place of `a`."""
    spacing = np.spacing(np.abs(exact.astype(a.dtype)))
    return float((np.abs(a.astype(exact.dtype) - exact) / spacing).max())


# How an activation is reached: as an object, as a layer of its own, fused into the GEMM before it (and its derivative
# into the GEMM after it). Each gives g(z) and g'(z).


def as_object(activation, z):
    a = activation(z)
    return a, activation.backward(z, a, np.ones_like(z))


def as_layer(activation, z):
    net = network(Activation(activation), inputs=len(z), dtype=z.dtype)
    y, backward = net.vjp(z[None])
    return y[0], backward(np.ones_like(y))[1][0]


def fused(activation, z):
    net = network(Dense(1, activation, use_bias=False), Dense(1, use_bias=False), inputs=1, dtype=z.dtype)
    put(net, kernel0=[[1]], kernel1=[[1]])
    y, backward = net.vjp(z[:, None])
    return y[:, 0], backward(np.ones_like(y))[1][:, 0]


@pytest.fixture(params=[as_object, as_layer, fused], ids=lambda way: way.__name__)
def reached(request):
    """``reached(name, z, **config) -> (g(z), g'(z))``."""

    def run(name, z, **config):
        return request.param(fm.activations.get(name, **config), z)

    return run


# 1 to 4: the network


@pytest.mark.parametrize(("m", "d", "n"), [(1, 1, 1), (5, 3, 7), (33, 300, 65), (64, 520, 33)])
def test_row01_affine_map_is_exact_on_integers(m, d, n, dtype):
    """z = W x + b: z_j = sum_i W_ij x_i + b_j, for every row of the batch."""
    rng = np.random.default_rng(m)
    x, w, b = (rng.integers(-9, 10, shape) for shape in ((m, d), (d, n), (n,)))
    net = network(Dense(n), inputs=d, dtype=dtype)
    put(net, kernel0=w, bias0=b)
    z = net.predict(x)
    assert z.dtype == dtype
    np.testing.assert_array_equal(z, x @ w + b)
    i, j = m // 2, n // 2
    assert z[i, j] == sum(int(w[k, j]) * int(x[i, k]) for k in range(d)) + b[j]


@pytest.mark.parametrize("name", LITERAL)
def test_row01_activation_of_the_affine_map(name, dtype):
    """a = g(W x + b), bias by broadcasting."""
    net = network(Dense(19, name), inputs=11, dtype=dtype)
    x = randomize(net).normal(size=(13, 11)).astype(dtype)
    w, b = (net.parameters[key].astype(np.float64) for key in ("0.kernel", "0.bias"))
    close(net.predict(x), LITERAL[name][0](x @ w + b), 20 * np.finfo(dtype).eps)


@pytest.mark.parametrize("name", [*LITERAL, "softmax"])
@pytest.mark.parametrize(("m", "d", "n"), [(2, 1, 1), (40, 17, 33), (70, 300, 130)])
def test_row01_batch_has_the_bits_of_the_loop_over_samples(name, m, d, n, dtype, same_bits):
    """The matrix form over a batch equals the loop over single samples, bit for bit."""
    net = network(Dense(n, name), Dense(3), inputs=d, dtype=dtype)
    x = randomize(net).normal(size=(m, d)).astype(dtype)
    loop = np.concatenate([net.predict(x[i : i + 1]) for i in range(m)])
    assert same_bits(net.predict(x), loop)


@pytest.mark.parametrize("width", [1, 5, 40])
def test_row02_identity_layers_collapse(width):
    """Without a nonlinearity W2 (W1 x + b1) + b2 = W_new x + b_new; with one it is no affine map."""
    two = network(Dense(width, "identity"), Dense(4), inputs=6)
    x = randomize(two).normal(size=(9, 6))
    p = two.parameters
    one = network(Dense(4), inputs=6)
    put(one, kernel0=p["0.kernel"] @ p["1.kernel"], bias0=p["0.bias"] @ p["1.kernel"] + p["1.bias"])
    close(two.predict(x), one.predict(x), 1e-14)
    bent = network(Dense(width, "tanh"), Dense(4), inputs=6)
    for key, value in p.items():
        bent.parameters[key] = value
    assert np.abs(bent.predict(x) - one.predict(x)).max() > 0.1


@pytest.mark.parametrize(("d", "widths"), [(1, [1]), (784, [30, 10]), (4, [5, 1, 7]), (9, [8, 7, 6, 5, 4, 3])])
def test_row03_neurons_and_parameters(d, widths, capsys):
    """m_1 + ... + m_r neurons; (d + 1) m_1 + (m_1 + 1) m_2 + ... + (m_{r-1} + 1) m_r parameters."""
    net = network(*map(Dense, widths), inputs=d)
    expected = sum((before + 1) * m for before, m in zip([d, *widths], widths, strict=False))
    assert net.count_params() == sum(view.size for view in net.parameters.values()) == expected
    assert len(net.layers) == len(widths)
    text = repr(net)
    assert net.summary() is None and capsys.readouterr().out == text + "\n"
    layers, neurons, parameters = map(
        lambda number: int(number.replace(",", "")),
        re.search(r"([\d,]+) layers? of ([\d,]+) neurons?, ([\d,]+) parameters?", text).groups(),
    )
    assert (layers, neurons, parameters) == (len(widths), sum(widths), expected)


def test_row03_a_hand_count():
    """784-256-10: (784 + 1) 256 + (256 + 1) 10 = 200,960 + 2,570."""
    assert network(Dense(256), Dense(10), inputs=784).count_params() == 203_530
    assert network(Dense(256, use_bias=False), Dense(10), inputs=784).count_params() == 203_530 - 256


def test_row04_activations_and_widths_per_layer():
    """Each layer has its own g and its own width: by name, class, object, configuration or layer."""
    given = ["tanh", fm.activations.Sigmoid, fm.activations.LeakyReLU(0.01), {"name": "relu", "at_zero": 0}, "sin"]
    literal = ["tanh", "sigmoid", "leaky_relu", "relu", "sin", "cos"]
    layers = [Dense(width, g) for width, g in zip([7, 1, 12, 3, 5], given, strict=True)]
    net = network(*layers, Dense(2), Activation("cos"), inputs=4)
    a = x = randomize(net).normal(size=(8, 4))
    for k, name in enumerate(literal):
        a = LITERAL[name][0](a @ net.parameters[f"{k}.kernel"] + net.parameters[f"{k}.bias"])
    close(net.predict(x), a)
    assert [layer.units for layer in net.layers[:-1]] == [7, 1, 12, 3, 5, 2]


# 5 to 8 and 10: activations


def grid(dtype, edge=8.0):
    return np.concatenate([np.linspace(-edge, edge, 4001), [0.0, 1e-5, -1e-5, 1e-30]]).astype(dtype)


def test_row05_sigmoid(reached, dtype):
    """g(z) = 1 / (1 + e^-z), g'(z) = s (1 - s)."""
    z = grid(dtype)
    a, da = reached("sigmoid", z)
    exact = 1 / (1 + np.exp(-z.astype(np.longdouble)))
    assert ulps(a, exact) <= ULPS[dtype] + 1  # one more for the object, whose exp is NumPy's
    close(da, (exact * (1 - exact)).astype(np.float64), 4 * np.finfo(dtype).eps)


def test_row05_sigmoid_is_stable_to_the_limits(reached, dtype):
    """For |z| up to the largest number, and infinite: 0 or 1, flat, without overflow; 1 - s(z) = s(-z)."""
    top = np.finfo(dtype).max
    z = np.array([-np.inf, -top, -1e4, -800, 800, 1e4, top, np.inf], dtype)
    a, da = reached("sigmoid", z)
    np.testing.assert_array_equal(a, [0, 0, 0, 0, 1, 1, 1, 1])
    np.testing.assert_array_equal(da, 0)
    small = np.array([-80, -40, -20], dtype)  # 1 + e^80 loses nothing that float32 holds
    np.testing.assert_allclose(reached("sigmoid", small)[0], np.exp(small.astype(float)), rtol=1e-6)
    z = grid(dtype)
    close(reached("sigmoid", z)[0] + reached("sigmoid", -z)[0], np.ones(len(z)), 2 * np.finfo(dtype).eps)
    assert np.isnan(reached("sigmoid", np.array([np.nan], dtype))[0]).all()


def test_row05_slope_is_at_most_a_quarter(reached, dtype):
    """max g' = 0.25, at z = 0 alone."""
    z = grid(dtype)
    _, da = reached("sigmoid", z)
    assert da.max() == 0.25
    assert (da[np.abs(z) > 0.01] < 0.25).all()
    assert reached("sigmoid", np.zeros(1, dtype))[1][0] == 0.25


@pytest.mark.parametrize("at_zero", [None, 1, 0.5, 0])
def test_row06_relu(at_zero, reached, dtype):
    """g(z) = 0 if z < 0 else z, so NaN propagates; g' = 1 above 0, 0 below, at_zero (1 if not given) at +0 and -0."""
    z = np.array(SPECIAL[:-1], dtype)
    a, da = reached("relu", z, **({} if at_zero is None else {"at_zero": at_zero}))
    np.testing.assert_array_equal(a, [0 if number < 0 else number for number in z])
    step = 1 if at_zero is None else at_zero
    np.testing.assert_array_equal(da, [1 if number > 0 else 0 if number < 0 else step for number in z])
    assert np.isnan(reached("relu", np.array([np.nan], dtype))[0]).all()


def test_row06_relu_mask_of_nan_is_the_comparison(reached, dtype):
    """The mask is the comparison z >= 0, which NaN does not pass."""
    _, da = reached("relu", np.array([np.nan, 1.0, np.nan, -1.0], dtype))
    np.testing.assert_array_equal(da, [0, 1, 0, 0])


@pytest.mark.parametrize("at_zero", [1, 0.5, 0])
@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("width", [1, 2, 37])
def test_row06_derivative_at_zero_in_a_networks_gradient(at_zero, zero, width, dtype):
    """With z = 0 (a = 0 as well), C = 1/2 (v a - y)^2 has dC/db = (0 - y) v at_zero."""
    relu = fm.activations.ReLU(at_zero)
    net = network(Dense(width, relu), Dense(1), inputs=2, dtype=dtype, optimizer="sgd", loss="half_squared_error")
    put(net, kernel0=np.zeros((2, width)), bias0=np.full(width, zero), kernel1=np.full((width, 1), 3), bias1=[0])
    loss, gradients = net.loss_and_gradients(np.ones((4, 2)), np.full((4, 1), 2))
    assert loss == 2
    np.testing.assert_array_equal(gradients["0.bias"], np.full(width, -6 * at_zero))
    np.testing.assert_array_equal(gradients["0.kernel"], np.full((2, width), -6 * at_zero))
    np.testing.assert_array_equal(gradients["1.kernel"], np.zeros((width, 1)))
    np.testing.assert_array_equal(gradients["1.bias"], [-2])


def test_row06_nan_goes_through_a_network(dtype):
    """NaN in a sample is seen in its output and in every gradient; training refuses it and changes nothing."""
    net = network(Dense(9, "relu"), Dense(5, "relu"), Dense(2), inputs=3, dtype=dtype)
    x = randomize(net).normal(size=(6, 3)).astype(dtype)
    fine = net.predict(x)
    x[2, 1] = np.nan
    y, backward = net.vjp(x)
    assert np.isnan(y[2]).all()
    np.testing.assert_array_equal(np.delete(net.predict(x), 2, 0), np.delete(fine, 2, 0))
    gradients, _ = backward(np.ones_like(y))
    assert np.isnan(gradients["2.kernel"]).all()
    net.compile("sgd", "mse")
    before = {key: value.copy() for key, value in net.parameters.items()}
    with pytest.raises(fm.NonFiniteError):
        net.train_on_batch(x, np.zeros((6, 2)))
    for key, value in net.parameters.items():
        np.testing.assert_array_equal(value, before[key])


@pytest.mark.parametrize("at_zero", [2, -0.0001, 0.25, math.nan, "1"])
def test_row06_other_values_at_zero_are_refused(at_zero):
    """at_zero is 1, 0.5 or 0."""
    with pytest.raises(ValueError, match="at_zero"):
        fm.activations.ReLU(at_zero=at_zero)


@pytest.mark.parametrize("alpha", [None, 0.2, 0.5, 0.0])
def test_row07_leaky_relu(alpha, reached, dtype):
    """g(z) = max(alpha z, z), alpha = 0.01; g' = alpha below 0, 1 from 0 on (of either sign)."""
    z = np.concatenate([grid(dtype), np.array(SPECIAL[:2], dtype)])
    a, da = reached("leaky_relu", z, **({} if alpha is None else {"alpha": alpha}))
    slope = dtype.type(0.01 if alpha is None else alpha)
    np.testing.assert_array_equal(a, np.maximum(slope * z, z))
    np.testing.assert_array_equal(da, np.where(z >= 0, dtype.type(1), slope))
    assert np.isnan(reached("leaky_relu", np.array([np.nan], dtype))[0]).all()


def test_row08_tanh(reached, dtype):
    """g(z) = tanh z, g'(z) = 1 - tanh^2 z."""
    z = grid(dtype)
    a, da = reached("tanh", z)
    exact = np.tanh(z.astype(np.longdouble))
    assert ulps(a, exact) <= ULPS[dtype] + 1
    close(da, (1 - exact * exact).astype(np.float64), 4 * np.finfo(dtype).eps)
    edges = np.array([-np.inf, np.finfo(dtype).min, 0.0, np.finfo(dtype).max, np.inf], dtype)
    a, da = reached("tanh", edges)
    np.testing.assert_array_equal(a, [-1, -1, 0, 1, 1])
    np.testing.assert_array_equal(da, [0, 0, 1, 0, 0])


@pytest.mark.parametrize("name", ["sin", "cos", "exponential"])
def test_row10_sin_cos_exponential(name, reached, dtype):
    """sin' = cos, cos' = -sin, exp' = exp."""
    z = grid(dtype)
    wide = z.astype(np.longdouble)
    a, da = reached(name, z)
    close(a, LITERAL[name][0](wide).astype(np.float64), 4 * np.finfo(dtype).eps)
    close(da, LITERAL[name][1](wide).astype(np.float64), 4 * np.finfo(dtype).eps)


# 10: universal approximation

POINTS = np.linspace(-1, 1, 65)[:, None]


def sup_error(function, activation, *, use_bias=True, spread=4, steps=3000):
    """max |N(x) - f(x)| on [-1, 1] after full-batch Adam, for a network of 24 hidden units."""
    uniform = fm.initializers.RandomUniform(-spread, spread)
    hidden = Dense(24, activation, use_bias=use_bias, kernel_initializer=uniform, bias_initializer=uniform)
    adam = fm.optimizers.Adam(lambda step: 0.02 * (1 - step / (steps + 1)))
    net = network(hidden, Dense(1, use_bias=use_bias), inputs=1, optimizer=adam, loss="mse")
    net.fit(POINTS, function(POINTS), epochs=steps, batch_size=len(POINTS), verbose=0)
    finer = np.linspace(-1, 1, 1001)[:, None]
    return np.abs(net.predict(finer) - function(finer)).max()


def wave(x):
    return np.sin(2 * np.pi * x)


def even(x):
    return np.cos(np.pi * x)


@pytest.mark.parametrize(
    ("activation", "function", "bound"),
    [
        *((name, np.square, 0.05) for name in ("tanh", "sigmoid", "relu", "sin", "cos")),
        *((name, wave, 0.05) for name in ("tanh", "sin", "cos")),
    ],
)
def test_row10_one_hidden_layer_with_bias_approximates(activation, function, bound):
    """A non-polynomial activation and a bias: sup |N - f| on [-1, 1] becomes small."""
    assert sup_error(function, activation) < bound


def test_row10_exponentials_approximate():
    """The same for e^z, from weights that don't explode."""
    assert sup_error(np.square, "exponential", spread=0.5) < 0.05


def test_row10_without_bias_it_fails():
    """Without bias a tanh network is odd, N(-x) = -N(x), so sup |N - f| >= max |f| for an even f, and a ReLU network
    has N(0) = 0; with the bias the same function is no difficulty."""
    assert sup_error(even, "tanh") < 0.05
    assert sup_error(even, "tanh", use_bias=False) >= 1 - 1e-12
    assert sup_error(even, "relu", use_bias=False) >= 1 - 1e-12


def test_row10_a_polynomial_activation_fails():
    """The best line misses x^2 by 1/2 on [-1, 1] (Chebyshev), whatever the width."""
    assert sup_error(np.square, "identity", steps=500) > 0.5 - 1e-9


# 11 to 16: cost, back-propagation, update


@pytest.mark.parametrize("units", [1, 4])
@pytest.mark.parametrize(
    ("name", "value", "gradient"),
    [
        ("half_squared_error", lambda d: 0.5 * (d**2).sum(axis=1), lambda d: d),
        ("mean_squared_error", lambda d: (d**2).mean(axis=1), lambda d: 2 * d / d.shape[1]),
    ],
)
def test_row11_squared_errors(name, value, gradient, units):
    """C = 1/2 (y - yhat)^2, gradient yhat - y; mean_squared_error is the mean over outputs. Means over the batch."""
    net = network(Dense(units), inputs=3, optimizer="sgd", loss=name)
    rng = randomize(net)
    x, y = rng.normal(size=(7, 3)), rng.normal(size=(7, units))
    d = x @ net.parameters["0.kernel"] + net.parameters["0.bias"] - y
    rows, by_prediction = fm.losses.get(name).value_and_gradient(y, d + y)
    close(rows, value(d))
    close(by_prediction, gradient(d))
    loss, gradients = net.loss_and_gradients(x, y)
    close(loss, value(d).mean())
    close(gradients["0.bias"], gradient(d).mean(axis=0))
    close(gradients["0.kernel"], x.T @ gradient(d) / 7)


@pytest.mark.parametrize(
    ("w", "x", "y", "by_hand"),
    [
        ([0.5], [3], 1, [1.5]),  # z = 1.5: (1.5 - 1) * 1 * 3
        ([-0.5], [3], 1, [0]),  # z = -1.5: the step is 0
        ([0], [3], 1, [-3]),  # z = 0: the step is 1, (0 - 1) * 1 * 3
        ([0.5, -1, 1], [1, 2, 3], 1, [0.5, 1, 1.5]),  # z = 1.5
        ([0.5, -1, 1], [1, 2, 0], 1, [0, 0, 0]),  # z = -1.5
        ([2, 1], [1, -2], 4, [-4, 8]),  # z = 0
    ],
)
def test_row12_one_neuron_by_hand(w, x, y, by_hand, dtype):
    """dC/dW = (ReLU(W x) - y) Step(W x) x."""
    neuron = Dense(1, "relu", use_bias=False)
    net = network(neuron, inputs=len(x), dtype=dtype, optimizer="sgd", loss="half_squared_error")
    put(net, kernel0=np.array(w)[:, None])
    _, gradients = net.loss_and_gradients([x], [y])
    np.testing.assert_array_equal(gradients["0.kernel"][:, 0], by_hand)


def test_row13_by_hand(dtype):
    """dC/dz = dC/dr Step(z); dC/dr_i = sum_j dC/dz_j W_ij; dC/dW_ij = dC/dz_j r_i: a 2-2-2 network by hand."""
    net = network(Dense(2, "relu"), Dense(2), inputs=2, dtype=dtype, optimizer="sgd", loss="half_squared_error")
    put(net, kernel0=[[1, 2], [1, -1]], bias0=[0, -1], kernel1=[[1, -2], [3, 1]], bias1=[0.5, 0])
    # x = (1, 2): z = (3, -1), r = (3, 0), yhat = (3.5, -6); y = (3, -5): dC/dyhat = (0.5, -1)
    loss, gradients = net.loss_and_gradients([[1, 2]], [[3, -5]])
    assert loss == 0.625
    np.testing.assert_array_equal(gradients["1.kernel"], [[1.5, -3], [0, 0]])
    np.testing.assert_array_equal(gradients["1.bias"], [0.5, -1])
    # dC/dr = (0.5 + 2, 1.5 - 1) = (2.5, 0.5); dC/dz = (2.5, 0)
    np.testing.assert_array_equal(gradients["0.kernel"], [[2.5, 0], [5, 0]])
    np.testing.assert_array_equal(gradients["0.bias"], [2.5, 0])
    _, d_input = net.vjp([[1, 2]])[1](np.array([[0.5, -1]]))
    np.testing.assert_array_equal(d_input, [[2.5, 2.5]])


class Wrong(fm.activations.Activation):
    """tanh with a derivative that is `factor` times too large."""

    recordable = False

    def __init__(self, factor):
        self.factor = factor
        self.calls = []

    def forward(self, z):
        self.calls.append("forward")
        return np.tanh(z)

    def derivative(self, z, a):
        self.calls.append("derivative")
        return self.factor * (1 - a * a)


@pytest.mark.parametrize("of_its_own", [False, True])
def test_row13_the_derivative_enters_once(of_its_own):
    """A derivative 4 times too large makes the gradients before it exactly 4 times as large, and no other: it enters
    in one place, once a step, and nothing else knows which activation it is."""

    def gradients(activation):
        middle = [Dense(6), Activation(activation)] if of_its_own else [Dense(6, activation), Activation("identity")]
        net = network(Dense(5, "relu"), *middle, Dense(3, "sigmoid"), inputs=4, optimizer="sgd", loss="mse")
        rng = randomize(net)
        return net.loss_and_gradients(rng.normal(size=(8, 4)), rng.normal(size=(8, 3)))[1]

    right, wrong = gradients("tanh"), gradients(strange := Wrong(4.0))
    assert strange.calls == ["forward", "derivative"]
    for key, gradient in wrong.items():
        close(gradient, right[key] * (4 if key[0] in "01" else 1))


def s1_gradients(x, y, parameters, names):
    """S1's algorithm: samples are columns, W_k is units x inputs, J is the mean of 1/2 |yhat - y|^2.

    z_k = W_k a_{k-1} + b_k, a_k = g_k(z_k); delta_r = (yhat - y) g'(z_r),
    delta_k = (W_{k+1}^T delta_{k+1}) g'(z_k); dW_k = delta_k a_{k-1}^T / m, db_k = delta_k 1 / m.
    """
    m, r = x.shape[1], len(names)
    a, z = [x], [None]
    for (w, b), name in zip(parameters, names, strict=True):
        z.append(w @ a[-1] + b)
        a.append(LITERAL[name][0](z[-1]))
    delta = (a[r] - y) * LITERAL[names[-1]][1](z[r])
    found = []
    for k in range(r, 0, -1):
        found.append((delta @ a[k - 1].T / m, delta.sum(axis=1, keepdims=True) / m))
        if k > 1:
            delta = (parameters[k - 1][0].T @ delta) * LITERAL[names[k - 2]][1](z[k - 1])
    return 0.5 * ((a[r] - y) ** 2).sum() / m, found[::-1]


def in_s1(net, arrays):
    """(W, b) per layer as S1 writes them: the transpose of a kernel, the bias as a column."""
    return [(arrays[f"{k}.kernel"].T, arrays[f"{k}.bias"][:, None]) for k in range(len(net.layers))]


def against_s1(widths, names, d=5, m=11):
    layers = (Dense(width, name) for width, name in zip(widths, names, strict=True))
    net = network(*layers, inputs=d, optimizer="sgd", loss="half_squared_error")
    rng = randomize(net, len(widths))
    x, y = rng.normal(size=(m, d)), rng.normal(size=(m, widths[-1]))
    loss, gradients = net.loss_and_gradients(x, y)
    expected_loss, expected = s1_gradients(x.T, y.T, in_s1(net, net.parameters), names)
    close(loss, expected_loss)
    for found, right in zip(in_s1(net, gradients), expected, strict=True):
        close(found[0], right[0])
        close(found[1], right[1])


@pytest.mark.parametrize("hidden", [1, 8, 50])
def test_row14_two_layer_algorithm(hidden):
    """delta2 = yhat - y, delta1 = W2^T delta2 * 1{z1 >= 0}, dW = delta a^T, db = delta."""
    against_s1([hidden, 3], ["relu", "identity"])


MIXED = ["tanh", "relu", "sigmoid", "leaky_relu", "sin", "identity", "cos", "exponential"]


@pytest.mark.parametrize("turn", range(4))
@pytest.mark.parametrize("depth", range(1, 7))
def test_row15_r_layer_algorithm(depth, turn):
    """delta_k = (W_{k+1}^T delta_{k+1}) g'(z_k), from k = r down to 1."""
    names = [MIXED[(2 * turn + 3 * k) % len(MIXED)] for k in range(depth)]
    against_s1([(7, 1, 12, 33, 5, 4)[(turn + k) % 6] for k in range(depth)], names)


@pytest.mark.parametrize("rate", [0.5, 0.0625])
def test_row16_update(rate, dtype):
    """W := W - alpha dJ/dW, b := b - alpha dJ/db; exact, as all numbers are small dyadic fractions."""
    net = network(Dense(3), inputs=2, dtype=dtype, optimizer=fm.optimizers.SGD(rate), loss="half_squared_error")
    w, b = np.array([[1, -2, 3], [0.5, 0, -1]]), np.array([1, 2, -3])
    x, y = np.array([[1, 2], [-3, 1], [0, 4], [2, -2]]), np.array([[1, 0, 2], [0, -1, 1], [3, 3, 3], [1, -1, 0]])
    for _ in range(2):
        put(net, kernel0=w, bias0=b)
        d = x @ w + b - y
        logs = net.train_on_batch(x, y)
        assert logs["loss"] == 0.5 * (d**2).sum() / 4
        w, b = w - rate * (x.T @ d / 4), b - rate * d.mean(axis=0)
        np.testing.assert_array_equal(net.parameters["0.kernel"], w)
        np.testing.assert_array_equal(net.parameters["0.bias"], b)
        w, b = np.round(w * 4) / 4, np.round(b * 4) / 4


# 17 and 18: initialization


def distinct_units(initializer, activation, epochs=5):
    """Different columns of the first kernel and rows of the second, after training."""
    net = network(
        Dense(12, activation, kernel_initializer=initializer),
        Dense(2, kernel_initializer=initializer),
        inputs=3,
        optimizer=fm.optimizers.SGD(0.1),
        loss="half_squared_error",
    )
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    before = net.parameters["0.kernel"].copy()
    net.fit(x, np.stack([x[:, 0] * x[:, 1], np.abs(x[:, 2])], axis=1), epochs=epochs, batch_size=8, verbose=0)
    moved = not np.array_equal(before, net.parameters["0.kernel"])
    columns, rows = net.parameters["0.kernel"].T, net.parameters["1.kernel"]
    return len(np.unique(columns, axis=0)), len(np.unique(rows, axis=0)), moved


@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid"])
def test_row17_constant_initialization_keeps_units_identical(activation):
    """Equal units get equal gradients: they stay one unit however long they learn. Random numbers break it."""
    assert distinct_units(fm.initializers.Constant(0.3), activation) == (1, 1, True)
    assert distinct_units("glorot_normal", activation) == (12, 12, True)


def test_row17_zeros():
    """With W = 0 and tanh no gradient reaches a hidden kernel: it never moves."""
    assert distinct_units("zeros", "tanh") == (1, 1, False)


FAN_IN, FAN_OUT = 500, 300


def spread(*layers, key="0.kernel"):
    """Variance of a large kernel, and the share within one standard deviation: 0.683 normal, 0.577 uniform."""
    net = network(*layers, Dense(1), inputs=FAN_IN)
    w = net.parameters[key]
    assert abs(w.mean()) < 5 * w.std() / np.sqrt(w.size)
    assert not net.parameters[key.replace("kernel", "bias")].any()
    return w.var(), (np.abs(w) < w.std()).mean()


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("he", 2 / FAN_IN),
        ("lecun", 1 / FAN_IN),
        ("glorot", 2 / (FAN_IN + FAN_OUT)),
        ("random", 1.0),
    ],
)
def test_row18_initializers(name, variance):
    """N(0, 2/fan_in), N(0, 1/fan_in), N(0, 2/(fan_in + fan_out)), N(0, 1), and uniform twins; biases 0."""
    found, within = spread(Dense(FAN_OUT, kernel_initializer=f"{name}_normal"))
    assert found == pytest.approx(variance, rel=0.02)
    assert within == pytest.approx(0.6827, abs=0.008)
    twin = f"{name}_uniform" if name != "random" else fm.initializers.RandomUniform(-math.sqrt(3), math.sqrt(3))
    found, within = spread(Dense(FAN_OUT, kernel_initializer=twin))
    assert found == pytest.approx(variance, rel=0.02)
    assert within == pytest.approx(1 / math.sqrt(3), abs=0.008)


class Unusual(fm.activations.Activation):
    """Recommends what no built-in does."""

    initializer = "random_normal"

    def forward(self, z):
        return z

    def derivative(self, z, a):
        return np.ones_like(z)


@pytest.mark.parametrize(
    ("activation", "variance"),
    [
        ("relu", 2 / FAN_IN),
        ("leaky_relu", 2 / FAN_IN),
        ("tanh", 1 / FAN_IN),
        ("sigmoid", 1 / FAN_IN),
        (None, 1 / FAN_IN),
        (Unusual(), 1.0),
    ],
    ids=str,
)
def test_row18_default_follows_the_activation(activation, variance):
    """By default the initializer that the next activation recommends, past BatchNorm and Dropout."""

    def after():
        return [] if activation is None else [Activation(activation)]

    for layers in (
        [Dense(FAN_OUT, activation)],
        [Dense(FAN_OUT), *after()],
        [Dense(FAN_OUT), BatchNorm(), *after()],
        [Dense(FAN_OUT), Dropout(0.5), *after()],
        [Dense(FAN_OUT), BatchNorm(), Dropout(0.1), *after()],
        [Dense(FAN_OUT, "identity"), Dropout(0.1), BatchNorm(), *after(), Dropout(0.1)],
    ):
        assert spread(*layers)[0] == pytest.approx(variance, rel=0.02), layers


def test_row18_layers_draw_independently():
    """Layers of one shape begin with different weights, as do networks of another seed; equal seeds give equal ones."""
    layers = [[Dense(9), Dense(9, use_bias=False), Dense(9)] for _ in range(3)]
    nets = [network(*each, inputs=9, seed=seed) for each, seed in zip(layers, (0, 0, 1), strict=True)]
    first, same, other = ([net.parameters[f"{k}.kernel"] for k in range(3)] for net in nets)
    np.testing.assert_array_equal(first, same)
    for a, b in [*itertools.combinations(first, 2), *zip(first, other, strict=True)]:
        assert not np.intersect1d(a, b).size


def test_row18_default_stops_at_the_next_dense_layer():
    """An activation recommends for the kernel that feeds it, not for those before; what is given wins."""
    assert spread(Dense(FAN_OUT), Dense(4, "relu"))[0] == pytest.approx(1 / FAN_IN, rel=0.02)
    assert spread(Dense(FAN_OUT, "tanh"), Activation("relu"))[0] == pytest.approx(1 / FAN_IN, rel=0.02)
    given = Dense(FAN_OUT, "relu", kernel_initializer="lecun_normal")
    assert spread(given)[0] == pytest.approx(1 / FAN_IN, rel=0.02)


# 21: batch normalization


def normalizing(m=12, *, epsilon=1e-5, momentum=0.9, dtype="float64"):
    """A Dense layer, batch norm, tanh, Dense; data; and z, the pre-activations."""
    net = network(
        Dense(5),
        BatchNorm(epsilon=epsilon, momentum=momentum),
        Activation("tanh"),
        Dense(2),
        inputs=3,
        dtype=dtype,
        optimizer=fm.optimizers.SGD(0.05),
        loss="half_squared_error",
    )
    rng = randomize(net)
    put(net, gamma1=rng.uniform(0.5, 2, 5), beta1=rng.normal(size=5))
    x, y = rng.normal(1, 2, (m, 3)), rng.normal(size=(m, 2))
    return net, x, y, x @ net.parameters["0.kernel"] + net.parameters["0.bias"]


@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
@pytest.mark.parametrize("m", [1, 2, 12, 200])
def test_row21_forward(m, epsilon):
    """mu = mean z, s2 = mean (z - mu)^2 (divided by m), zbar = (z - mu) / sqrt(s2 + eps), gamma zbar + beta, then g."""
    net, x, _, z = normalizing(m, epsilon=epsilon)
    p = net.parameters
    mu = z.sum(axis=0) / m
    s2 = ((z - mu) ** 2).sum(axis=0) / m
    normal = p["1.gamma"] * (z - mu) / np.sqrt(s2 + epsilon) + p["1.beta"]
    close(net.vjp(x, training=True)[0], np.tanh(normal) @ p["3.kernel"] + p["3.bias"])


@pytest.mark.parametrize("m", [2, 12, 200])
def test_row21_backward(m):
    """With d = dJ / d(gamma zbar + beta): d_gamma = sum d zbar, d_beta = sum d,
    dz = gamma / sqrt(s2 + eps) (d - mean d - zbar mean (d zbar))."""
    net, x, y, z = normalizing(m)
    p = net.parameters
    inv = 1 / np.sqrt(z.var(axis=0) + 1e-5)
    zbar = (z - z.mean(axis=0)) * inv
    a = np.tanh(p["1.gamma"] * zbar + p["1.beta"])
    error = (a @ p["3.kernel"] + p["3.bias"] - y) / m
    d = (error @ p["3.kernel"].T) * (1 - a * a)
    dz = p["1.gamma"] * inv * (d - d.mean(axis=0) - zbar * (d * zbar).mean(axis=0))
    _, gradients = net.loss_and_gradients(x, y)
    close(gradients["3.kernel"], a.T @ error)
    close(gradients["1.gamma"], (d * zbar).sum(axis=0))
    close(gradients["1.beta"], d.sum(axis=0))
    close(gradients["0.kernel"], x.T @ dz, 1e-11)
    assert np.abs(gradients["0.bias"]).max() < 1e-12  # the mean takes every bias away


def test_row21_defaults():
    """The share kept is 0.9, epsilon 1e-5."""
    config = BatchNorm().get_config()
    assert (config.pop("momentum"), config.pop("epsilon"), config.pop("trainable")) == (0.9, 1e-5, True)
    assert set(config.values()) == {None}


@pytest.mark.parametrize("momentum", [0.9, 0.0, 0.5])
def test_row21_running_statistics(momentum):
    """running := momentum running + (1 - momentum) batch, from 0 and 1, the variance divided by m; per mini-batch."""
    net, x, y, _ = normalizing(20, momentum=momentum)
    mean, var = np.zeros(5), np.ones(5)
    np.testing.assert_array_equal(net.buffers["1.running_mean"], mean)
    np.testing.assert_array_equal(net.buffers["1.running_var"], var)
    for rows in (slice(0, 8), slice(8, 16), slice(16, 20)):
        z = x[rows] @ net.parameters["0.kernel"] + net.parameters["0.bias"]
        mean = momentum * mean + (1 - momentum) * z.mean(axis=0)
        var = momentum * var + (1 - momentum) * ((z - z.mean(axis=0)) ** 2).mean(axis=0)
        net.train_on_batch(x[rows], y[rows])
        close(net.buffers["1.running_mean"], mean)
        close(net.buffers["1.running_var"], var)


def test_row21_inference_uses_running_statistics(dtype):
    """At inference mu and s2 are the running ones: a row's prediction doesn't depend on the batch."""
    net, x, y, _ = normalizing(20, dtype=dtype)
    for _ in range(3):
        net.train_on_batch(x, y)
    p = {key: value.astype(np.float64) for key, value in {**net.parameters, **net.buffers}.items()}
    z = x @ p["0.kernel"] + p["0.bias"]
    zbar = (z - p["1.running_mean"]) / np.sqrt(p["1.running_var"] + 1e-5)
    expected = np.tanh(p["1.gamma"] * zbar + p["1.beta"]) @ p["3.kernel"] + p["3.bias"]
    tolerance = 1e-13 if dtype == np.float64 else 3e-6
    close(net.predict(x), expected, tolerance)
    close(net.predict(x[:1]), expected[:1], tolerance)
    close(net.vjp(x)[0], expected, tolerance)
    evaluated = net.evaluate(x, y, batch_size=7)["loss"]
    assert evaluated == pytest.approx(0.5 * ((expected - y) ** 2).sum(axis=1).mean(), rel=1e-5)


def test_row21_folded_into_the_kernel_at_inference():
    """(x W + b - mu) inv gamma + beta = x W s + t, s = gamma inv, t = (b - mu) s + beta: the epilogue of one GEMM."""
    net, *_ = normalizing()
    operations = [operation.name for operation in net.plan(8, training=False)]
    assert operations == ["batchnorm_running", "batchnorm_fold", "dense", "dense"]
    assert "batchnorm" in [operation.name for operation in net.plan(8, training=True)]


def test_row21_gamma_and_beta_are_learned():
    """gamma starts as 1, beta as 0, and both follow their gradients."""
    net = network(Dense(4), BatchNorm(), Activation("relu"), Dense(1), inputs=2, optimizer="sgd", loss="mse")
    np.testing.assert_array_equal(net.parameters["1.gamma"], np.ones(4))
    np.testing.assert_array_equal(net.parameters["1.beta"], np.zeros(4))
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 2))
    _, gradients = net.loss_and_gradients(x, x[:, :1])
    net.train_on_batch(x, x[:, :1])
    close(net.parameters["1.gamma"], 1 - 0.01 * gradients["1.gamma"])
    close(net.parameters["1.beta"], -0.01 * gradients["1.beta"])
    assert gradients["1.gamma"].any()
    assert gradients["1.beta"].any()


# 22: mini-batches


class Recorder(fm.activations.Activation):
    """The identity, which remembers the first column of what came through."""

    def __init__(self):
        self.batches = []

    def forward(self, z):
        self.batches.append(z[:, 0].astype(int).tolist())
        return z

    def derivative(self, z, a):
        return np.ones_like(z)


def joined(batches):
    return [row for batch in batches for row in batch]


def recorded(n, batch_size, epochs, **options):
    recorder = Recorder()
    net = network(Activation(recorder), Dense(1), inputs=1, seed=5, optimizer=fm.optimizers.SGD(1e-6), loss="mse")
    net.fit(np.arange(n)[:, None], np.zeros(n), epochs=epochs, batch_size=batch_size, verbose=0, **options)
    return recorder.batches


@pytest.mark.parametrize(
    ("n", "batch_size", "sizes"), [(10, 4, [4, 4, 2]), (8, 4, [4, 4]), (3, 9, [3]), (5, 1, [1] * 5)]
)
def test_row22_every_row_once_an_epoch(n, batch_size, sizes):
    """An epoch visits every row once, in batches of batch_size and an incomplete last one."""
    batches = recorded(n, batch_size, 3)
    assert [len(batch) for batch in batches] == 3 * sizes
    for epoch in range(3):
        rows = joined(batches[epoch * len(sizes) : (epoch + 1) * len(sizes)])
        assert sorted(rows) == list(range(n))
    in_order = recorded(n, batch_size, 2, shuffle=False)
    assert joined(in_order) == 2 * list(range(n))


def test_row22_shuffling_is_another_order_each_epoch():
    """Each epoch draws a permutation of its own; none is the order of the data."""
    rows = joined(recorded(50, 50, 4))
    epochs = {tuple(rows[at : at + 50]) for at in range(0, 200, 50)}
    assert len(epochs) == 4
    assert tuple(range(50)) not in epochs


def test_row22_every_permutation_is_as_likely():
    """Of 4 rows each of the 24 orders comes about as often: chi^2 of 23 degrees of freedom is below 50 (p = 0.001)."""
    rows = joined(recorded(4, 4, 2400))
    orders = [tuple(rows[at : at + 4]) for at in range(0, len(rows), 4)]
    counts = [orders.count(order) for order in set(orders)]
    assert len(counts) == 24
    assert sum((count - 100) ** 2 / 100 for count in counts) < 50


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("batch_size", [4, 5, 11, 64])
def test_row22_steps_and_epoch_loss(batch_size, weighted):
    """Each mini-batch is a step along its own mean gradient; the epoch's loss is the mean over rows: a last batch of
    half the size counts half. Weights: sum w C / sum w."""
    net = network(Dense(2), inputs=3, optimizer=fm.optimizers.SGD(0.1), loss="half_squared_error")
    rng = randomize(net)
    x, y = rng.normal(size=(11, 3)), rng.normal(size=(11, 2))
    weight = rng.uniform(0.1, 3, 11) if weighted else np.ones(11)
    w, b = net.parameters["0.kernel"].copy(), net.parameters["0.bias"].copy()
    total = 0.0
    for at in range(0, 11, batch_size):
        rows = slice(at, at + batch_size)
        d = x[rows] @ w + b - y[rows]
        total += (weight[rows] * 0.5 * (d**2).sum(axis=1)).sum()
        d *= (weight[rows] / weight[rows].sum())[:, None]
        w, b = w - 0.1 * x[rows].T @ d, b - 0.1 * d.sum(axis=0)
    history = net.fit(
        x, y, batch_size=batch_size, shuffle=False, verbose=0, sample_weight=weight if weighted else None
    ).history
    close(net.parameters["0.kernel"], w)
    close(net.parameters["0.bias"], b)
    close(history["loss"], [total / weight.sum()])


# 23: validation


def curved(n=60, seed=1):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    return x, x[:, :1] * x[:, 1:] + 0.5 * rng.normal(size=(n, 1))


def learner(dtype="float64", **options):
    return network(
        Dense(30),
        BatchNorm(),
        Activation("tanh"),
        Dense(1),
        inputs=2,
        seed=2,
        dtype=dtype,
        optimizer=fm.optimizers.Adam(0.05),
        loss="mse",
        **options,
    )


def test_row23_validation_data():
    """val_* of an epoch is the error of the network as it stands after that epoch, on data that it doesn't learn."""

    class After(fm.callbacks.Callback):
        def __init__(self):
            self.seen = []

        def on_epoch_end(self, epoch, logs=None):
            found = self.model.evaluate(*held, batch_size=256)
            self.seen.append({f"val_{name}": value for name, value in found.items()})

    x, y = curved()
    held, after = curved(25, seed=7), After()
    net = learner(metrics=["mae"])
    history = net.fit(x, y, epochs=4, validation_data=held, callbacks=[after], verbose=0).history
    for name in ("val_loss", "val_mean_absolute_error"):
        assert history[name] == [seen[name] for seen in after.seen]
    close(history["val_loss"][-1], ((net.predict(held[0]) - held[1]) ** 2).mean())
    alone = learner()
    alone.fit(x, y, epochs=4, verbose=0)
    for key, value in alone.parameters.items():
        np.testing.assert_array_equal(value, net.parameters[key])


def test_row23_validation_data_with_weights():
    """Weighted validation error: sum w C / sum w."""
    (x, y), (xv, yv) = curved(), curved(25, seed=7)
    w = np.linspace(0, 2, 25)
    net = learner()
    history = net.fit(x, y, validation_data=(xv, yv, w), verbose=0).history
    rows = ((net.predict(xv) - yv) ** 2)[:, 0]
    close(history["val_loss"], [(w * rows).sum() / w.sum()])


def test_row23_validation_split_is_the_last_share(same_bits):
    """The last share of the rows is held back before any shuffling; the rest is learned as if it came alone."""
    x, y = curved()
    split, given = learner(), learner()
    history = split.fit(x, y, epochs=3, validation_split=0.25, verbose=0).history
    expected = given.fit(x[:45], y[:45], epochs=3, validation_data=(x[45:], y[45:]), verbose=0).history
    assert history == expected
    assert same_bits(dict(split.parameters), dict(given.parameters))


class Remember(fm.callbacks.Callback):
    """Keeps everything after each epoch."""

    def __init__(self):
        self.epochs = []

    def on_epoch_end(self, epoch, logs=None):
        arrays = {**self.model.parameters, **self.model.buffers}
        self.epochs.append({key: value.copy() for key, value in arrays.items()})


@pytest.mark.parametrize("patience", [1, 3])
def test_row23_early_stopping_gives_back_the_best_weights(patience, same_bits):
    """Training stops `patience` epochs after the lowest validation error, with parameters and running statistics of
    that epoch."""
    x, y = curved()
    net, remember = learner(), Remember()
    stopping = fm.callbacks.EarlyStopping(patience=patience)
    history = net.fit(
        x, y, epochs=200, batch_size=16, validation_split=0.3, callbacks=[remember, stopping], verbose=0
    ).history
    errors = history["val_loss"]
    best = int(np.argmin(errors))
    assert len(errors) == best + patience + 1 < 200  # a network of this size overfits these rows
    assert min(errors) < errors[-1]
    assert (stopping.best_epoch, stopping.stopped_epoch, stopping.best) == (best, len(errors) - 1, errors[best])
    assert same_bits({**net.parameters, **net.buffers}, remember.epochs[best])
    assert not same_bits(remember.epochs[best], remember.epochs[-1])
    close(net.evaluate(x[42:], y[42:])["loss"], errors[best])


def test_row23_early_stopping_may_keep_the_last_weights(same_bits):
    """With restore_best_weights=False the weights are those of the last epoch."""
    x, y = curved()
    net, remember = learner(), Remember()
    stopping = fm.callbacks.EarlyStopping(patience=2, restore_best_weights=False)
    net.fit(x, y, epochs=200, batch_size=16, validation_split=0.3, callbacks=[remember, stopping], verbose=0)
    assert len(remember.epochs) < 200
    assert same_bits({**net.parameters, **net.buffers}, remember.epochs[-1])


def test_row23_early_stopping_also_gives_back_after_the_last_epoch(same_bits):
    """The best weights come back as well where `epochs` ends the training."""
    x, y = curved()
    net, remember = learner(), Remember()
    stopping = fm.callbacks.EarlyStopping(patience=1000)
    errors = net.fit(
        x, y, epochs=40, batch_size=16, validation_split=0.3, callbacks=[remember, stopping], verbose=0
    ).history["val_loss"]
    best = int(np.argmin(errors))
    assert len(errors) == 40 > best + 1
    assert same_bits({**net.parameters, **net.buffers}, remember.epochs[best])
