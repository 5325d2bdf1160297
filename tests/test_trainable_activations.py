"""Learned parameters of activations: gradients and steps against NumPy by hand and finite differences, bits at any
number of threads."""

import copy
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

PER = ("layer", "unit")


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


class Swish(fm.activations.Activation):
    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, z):
        return z / (1 + np.exp(-self.beta * z))


class Own(Swish):
    """A class with a derivative of its own."""

    def derivative(self, z, a):
        s = 1 / (1 + np.exp(-self.beta * z))
        return s + self.beta * a * (1 - s)


def swish(per, value=1.0):
    return fm.activations.recorded(lambda z, beta=1.0: z / (1 + np.exp(-beta * z)), beta=fm.learned(value, per=per))


def two(per):
    """Two parameters, one of each kind."""
    other = fm.learned(0.5, per="unit" if per == "layer" else "layer")
    return fm.activations.recorded(
        lambda z, a, da: np.tanh(a * z) + da * np.sin(z) * a, a=fm.learned(1.25, per=per), da=other
    )


STACKS = {
    "between": lambda per: [Dense(7, swish(per)), Dense(3)],
    "class": lambda per: [Dense(7, Swish(fm.learned(0.75, per=per))), Dense(3)],
    "own derivative": lambda per: [Dense(7, Own(fm.learned(0.75, per=per))), Dense(3)],
    "last": lambda per: [Dense(5, "tanh"), Dense(3, two(per))],
    "first": lambda per: [Activation(two(per)), Dense(3)],
    "only": lambda per: [Activation(swish(per)), Activation(two(per))],
    "batchnorm and dropout": lambda per: [
        *(Dense(17), BatchNorm(), Activation(swish(per)), Dropout(0.25)),
        *(Dense(33, two(per), use_bias=False), Dropout(0.1), Dense(3, "tanh")),
    ],
    "prelu": lambda per: [Dense(31, fm.activations.PReLU(fm.learned(0.25, per=per))), Dense(3)],
}


def network(stack, per, dtype="float64", inputs=3):
    net = fm.Sequential(STACKS[stack](per), input_dim=inputs, dtype=dtype, seed=5)
    rng = np.random.default_rng(8)
    for key, view in net.parameters.items():  # so that no two units are alike
        if not key.endswith(("kernel", "bias")):
            view += 0.2 * rng.uniform(-1, 1, view.shape)
    net.compile("adam", "mse")
    return net


def data(rows, dtype="float64", inputs=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, inputs)).astype(dtype), rng.normal(size=(rows, 3)).astype(dtype)


# -- what it is ------------------------------------------------------------------------------------------------------


def test_a_learned_parameter_prints_compares_and_copies():
    one = fm.learned(1)
    assert repr(one) == "learned(1.0)"
    assert repr(fm.learned(0.25, per="unit")) == "learned(0.25, per='unit')"
    assert one == fm.learned(1.0, per="layer")
    assert one != fm.learned(2.0)
    assert one != fm.learned(1.0, per="unit")
    assert one != 1.0
    assert one.get_config() == {"value": 1.0, "per": "layer"}
    for other in (copy.copy(one), copy.deepcopy(one), pickle.loads(pickle.dumps(one))):
        assert other == one
        assert hash(other) == hash(one)
    assert Swish(fm.learned(1.0)) == Swish(fm.learned(1.0)) != Swish(1.0)
    assert repr(Swish(fm.learned(1.0))) == "Swish(beta=learned(1.0))"
    assert "beta=learned(1.0, per='unit')" in repr(swish("unit"))


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.nan,), ValueError, "finite number, got nan"),
        ((np.inf,), ValueError, "finite number, got inf"),
        (("1",), TypeError, "expected a number, got '1'"),
        ((True,), TypeError, "expected a number, got True"),
        ((1.0, "row"), ValueError, "per: expected one of layer, unit, got 'row'"),
        ((1.0, ["unit"]), ValueError, "per: expected one of layer, unit"),
        ((1.0, None), ValueError, "per: expected one of layer, unit, got None"),
    ],
)
def test_bad_arguments(arguments, error, words):
    with pytest.raises(error, match=words):
        fm.learned(*arguments)


@pytest.mark.parametrize("make", [swish, lambda per: Swish(fm.learned(1.0, per=per))], ids=["function", "class"])
def test_numpy_takes_the_initial_value(make, dtype):
    activation, z = make("unit"), np.linspace(-3, 3, 11).astype(dtype)
    expected = Swish(1.0)
    assert activation(z).dtype == dtype
    np.testing.assert_allclose(activation(z), expected(z), rtol=1e-6)
    np.testing.assert_allclose(activation.derivative(z, None), expected.derivative(z, None), rtol=1e-5)


@pytest.mark.parametrize(
    "function",
    [
        lambda z, b: np.select([z < -1, z < 1], [b * z, b], default=0.25),
        lambda z, b: np.clip(z, -b, b) + np.where(z > 0, b, z) * z,
        lambda z, b: np.maximum(b * z, z) / (1 + b**2) - np.float32(2) * b * z,
    ],
    ids=["select", "clip", "maximum"],
)
def test_numpy_functions_take_it(function, dtype):
    z = np.linspace(-2, 2, 9).astype(dtype)
    found = function(z, fm.learned(0.5))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, function(z, 0.5))


def test_functions_of_a_learned_parameter_alone():
    """Python's numbers, which leave float32 as it is, and truth values."""
    beta = fm.learned(0.5, per="unit")
    results = [-beta, abs(beta), beta + 1, 2 * beta, np.exp(beta), beta**2, 1 / beta]
    assert [type(result) for result in results] == [float] * len(results)
    assert results[:4] == [-0.5, 0.5, 1.5, 1.0]
    assert (beta > 0) is True
    assert divmod(beta, 2) == (0, 0.5)


def test_it_never_becomes_a_number_without_a_word():
    """`float(beta)` in __init__ would leave a constant in its place."""
    for convert in (float, np.float32, lambda beta: fm.activations.LeakyReLU(beta)):
        with pytest.raises(TypeError, match="learned"):
            convert(fm.learned(1.0))


# -- parameters of a network -----------------------------------------------------------------------------------------


def test_keys_shapes_and_counts(capsys):
    net = fm.Sequential(
        [Dense(5, swish("unit"), name="first"), Activation(swish("layer", 0.5)), Dense(2, two("unit"))],
        input_dim=3,
        seed=0,
    )
    shapes = {key: view.shape for key, view in net.parameters.items() if not key.endswith(("kernel", "bias"))}
    assert shapes == {"first.beta": (5,), "1.beta": (1,), "2.a": (2,), "2.da": (1,)}
    assert (net.parameters["first.beta"] == 1).all()
    assert (net.parameters["1.beta"] == 0.5).all()
    assert net.count_params() == (3 * 5 + 5 + 5) + 1 + (5 * 2 + 2 + 2 + 1)
    net.summary()
    text = capsys.readouterr().out
    assert "all operations run compiled" in text
    assert [line.split()[-1] for line in text.splitlines()[3:6]] == ["25", "1", "15"]
    assert not any(spec.decay for key, spec in net.engine.memory.specs.items() if key in shapes)


def test_kernels_begin_as_they_do_beside_a_constant(same_bits):
    plain, learning = (
        fm.Sequential([Dense(6, Swish(beta)), Dense(2)], input_dim=3, seed=4) for beta in (1.0, fm.learned(1.0))
    )
    assert all(same_bits(plain.parameters[key], learning.parameters[key]) for key in plain.parameters)


def test_each_layer_has_parameters_of_its_own():
    shared = swish("unit", 1.5)
    net = fm.Sequential([Dense(4, shared), Dense(4, shared), Dense(3)], input_dim=3, dtype="float64", seed=0)
    net.compile(fm.optimizers.SGD(0.1), "mse")
    net.train_on_batch(*data(8))
    first, second = net.parameters["0.beta"], net.parameters["1.beta"]
    assert not np.allclose(first, second)
    assert not np.allclose(first, 1.5)
    assert shared.parameters["beta"] == fm.learned(1.5, per="unit")


def test_a_name_that_the_layer_has_is_refused():
    bias = fm.activations.recorded(lambda z, bias: z + bias, bias=fm.learned(1.0))
    with pytest.raises(ValueError, match=r"learned parameter 'bias' has the name of an array of Dense; rename"):
        fm.Sequential([Dense(3, bias)], input_dim=2)
    net = fm.Sequential([Dense(3, bias, use_bias=False), Dense(3)], input_dim=3, seed=0)
    net.compile("sgd", "mse")
    net.train_on_batch(*data(4, "float32"))
    assert net.parameters["0.bias"].shape == (1,)
    assert net.parameters["0.bias"][0] != 1


# -- by hand ---------------------------------------------------------------------------------------------------------


def by_hand(p, x, y, per):
    """Loss and gradients of Dense, Swish, Dense with the mean of squares."""
    z = x @ p["0.kernel"] + p["0.bias"]
    s = sigmoid(p["0.beta"] * z)
    a = z * s
    out = a @ p["1.kernel"] + p["1.bias"]
    d = 2 * (out - y) / out.size
    da = d @ p["1.kernel"].T
    slopes = da * z * z * s * (1 - s)
    dz = da * (s + p["0.beta"] * a * (1 - s))
    gradients = {
        "0.kernel": x.T @ dz,
        "0.bias": dz.sum(axis=0),
        "0.beta": slopes.sum(axis=0) if per == "unit" else slopes.sum(keepdims=True)[0],
        "1.kernel": a.T @ d,
        "1.bias": d.sum(axis=0),
    }
    return ((out - y) ** 2).mean(), out, gradients


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("rows", [1, 2, 63, 64, 65, 130])
def test_gradients_by_hand(per, rows):
    net = network("between", per)
    x, y = data(rows)
    loss, out, expected = by_hand(dict(net.parameters), x, y, per)
    got, gradients = net.loss_and_gradients(x, y)
    assert got == pytest.approx(loss, rel=1e-12)
    assert gradients.keys() == expected.keys()
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, expected[key], rtol=1e-10, atol=1e-14, err_msg=key)
    np.testing.assert_allclose(net.predict(x), out, rtol=1e-12, atol=1e-14)


class Adam:
    """Kingma and Ba, Algorithm 1."""

    def __init__(self, rate):
        self.rate, self.m, self.v, self.t = rate, {}, {}, 0

    def __call__(self, p, gradients):
        self.t += 1
        for key, g in gradients.items():
            self.m[key] = 0.9 * self.m.get(key, 0) + 0.1 * g
            self.v[key] = 0.999 * self.v.get(key, 0) + 0.001 * g * g
            m, v = self.m[key] / (1 - 0.9**self.t), self.v[key] / (1 - 0.999**self.t)
            p[key] = p[key] - self.rate * m / (np.sqrt(v) + 1e-7)


class Descent:
    def __init__(self, rate):
        self.rate = rate

    def __call__(self, p, gradients):
        for key, g in gradients.items():
            p[key] = p[key] - self.rate * g


class Sign(fm.optimizers.Optimizer):
    """Traced, or in Python."""

    def init_state(self, param):
        return {}

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * np.sign(grad)


class TracedSign(Sign):
    elementwise = True


class Signs(Descent):
    def __call__(self, p, gradients):
        super().__call__(p, {key: np.sign(g) for key, g in gradients.items()})


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize(
    ("optimizer", "same"),
    [
        (lambda: fm.optimizers.SGD(0.1), lambda: Descent(0.1)),
        (lambda: fm.optimizers.Adam(0.01, epsilon=1e-7), lambda: Adam(0.01)),
        (lambda: Sign(0.01), lambda: Signs(0.01)),
        (lambda: TracedSign(0.01), lambda: Signs(0.01)),
    ],
    ids=["sgd", "adam", "python", "traced"],
)
def test_steps_by_hand(per, optimizer, same):
    net = network("between", per)
    net.compile(optimizer(), "mse")
    p, x_y, step = {key: view.copy() for key, view in net.parameters.items()}, data(37), same()
    before = p["0.beta"]
    for _ in range(5):
        loss, _, gradients = by_hand(p, *x_y, per)
        assert net.train_on_batch(*x_y)["loss"] == pytest.approx(loss, rel=1e-10)
        step(p, gradients)
    for key, view in net.parameters.items():
        np.testing.assert_allclose(view, p[key], rtol=1e-9, atol=1e-11, err_msg=key)
    assert np.abs(net.parameters["0.beta"] - before).min() > 1e-5


# -- finite differences ----------------------------------------------------------------------------------------------


def central(function, view, h=1e-3):
    """d function / d view, in place, to the fourth order."""
    gradient = np.empty(view.shape)
    for at in np.ndindex(view.shape):
        value, found = view[at], []
        for steps in (1, -1, 2, -2):
            view[at] = value + steps * h
            found.append(function())
        view[at] = value
        gradient[at] = (8 * (found[0] - found[1]) - (found[2] - found[3])) / (12 * h)
    return gradient


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("rows", [1, 9])
@pytest.mark.parametrize("stack", [name for name in STACKS if name != "prelu"])
def test_gradients_by_finite_differences(stack, rows, per):
    if rows == 1 and "batchnorm" in stack:
        pytest.skip("batch norm of one row is a constant")
    net, (x, y) = network(stack, per), data(rows)
    _, gradients = net.loss_and_gradients(x, y)
    for key, view in net.parameters.items():
        expected = central(lambda: net.loss_and_gradients(x, y)[0], view)
        np.testing.assert_allclose(gradients[key], expected, rtol=1e-6, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("stack", ["last", "first", "only", "batchnorm and dropout"])
@pytest.mark.parametrize("training", [False, True])
def test_vjp_by_finite_differences(stack, training, per):
    net, (x, dy) = network(stack, per), data(6)
    gradients, d_input = net.vjp(x, training=training)[1](dy)
    found = {key: gradient for key, gradient in gradients.items() if not key.endswith("kernel")}
    for key, gradient in {**found, "x": d_input}.items():
        view = x if key == "x" else net.parameters[key]
        expected = central(lambda: (net.vjp(x, training=training)[0] * dy).sum(), view)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8, err_msg=key)


@pytest.mark.parametrize("per", PER)
def test_prelu_by_hand(per):
    """He and others, section 2: the slope of alpha is the sum of da z over what lies below zero."""
    net, (x, dy) = network("prelu", per), data(50)
    z = x @ net.parameters["0.kernel"] + net.parameters["0.bias"]
    alpha = net.parameters["0.alpha"]
    np.testing.assert_allclose(net.predict(x), np.where(z < 0, alpha * z, z) @ net.parameters["1.kernel"], atol=1e-12)
    da = dy @ net.parameters["1.kernel"].T
    below = np.where(z < 0, da * z, 0)
    gradients, d_input = net.vjp(x)[1](dy)
    expected = below.sum(axis=0) if per == "unit" else below.sum(keepdims=True)[0]
    np.testing.assert_allclose(gradients["0.alpha"], expected, rtol=1e-11)
    dz = np.where(z < 0, alpha * da, da)
    np.testing.assert_allclose(d_input, dz @ net.parameters["0.kernel"].T, rtol=1e-9, atol=1e-12)


def test_prelu_as_it_is_given():
    net = fm.Sequential([Dense(4, "prelu"), Dense(2)], input_dim=3, seed=0)
    assert net.parameters["0.alpha"].tolist() == [0.25] * 4
    assert net.layers[0].recommended_initializer == "he_normal"
    fixed = fm.Sequential([Dense(4, fm.activations.PReLU(0.1))], input_dim=3, seed=0)
    assert list(fixed.parameters) == ["0.kernel", "0.bias"]


def test_a_parameter_makes_a_network_fit_what_it_could_not():
    """|x| from one unit: a slope of -1 below zero."""
    net = fm.Sequential([Dense(1, "prelu", kernel_initializer="ones")], input_dim=1, dtype="float64", seed=0)
    net.compile(fm.optimizers.Adam(0.05), "mse")
    x = np.linspace(-1, 1, 41)[:, None]
    net.fit(x, np.abs(x), epochs=300, batch_size=41, verbose=0)
    assert net.parameters["0.alpha"][0] == pytest.approx(-1, abs=0.01)


# -- bits ------------------------------------------------------------------------------------------------------------


def trained(stack, per, dtype, threads, snapshot, rows, batch):
    """What some steps make of a network, and what it gives; the last batch is shorter."""
    net = network(stack, per, dtype, 20)
    x = np.random.default_rng(1).normal(size=(rows, 20)).astype(dtype)
    y = np.cos(net.predict(x))
    with fm.num_threads(threads):
        net.fit(x, y, epochs=2, batch_size=batch, verbose=0)
        _, gradients = net.loss_and_gradients(x[:batch], y[:batch])
        outputs, backward = net.vjp(x)
        more, d_input = backward(outputs)
        results = {"predict": net.predict(x), "one": net.predict(x[:1]), "vjp": outputs, "d_input": d_input}
    results |= {f"d {key}": value for key, value in gradients.items()}
    return {**snapshot(net), **results, **{f"vjp {key}": value for key, value in more.items()}}


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("stack", ["batchnorm and dropout", "only", "prelu"])
@pytest.mark.parametrize(("rows", "batch"), [(150, 70), (7, 2), (301, 257)])
def test_neither_schedule_nor_team_changes_a_bit(stack, per, dtype, rows, batch, teams, fuse, snapshot, same_bits):
    expected = trained(stack, per, dtype, 1, snapshot, rows, batch)
    for fused in (True, False):
        fuse(fused)
        for threads in (1, 2, 3, 5):
            found = trained(stack, per, dtype, threads, snapshot, rows, batch)
            assert same_bits(found, expected), (fused, threads)


@pytest.mark.parametrize("per", PER)
@pytest.mark.parametrize("units", [1, 7, 8, 9, 15, 16, 17, 64, 65, 300])
def test_a_row_of_a_prediction_is_that_of_the_row_alone(per, units, dtype, same_bits):
    net = fm.Sequential([Dense(units, two(per)), Activation(swish(per)), Dense(3)], input_dim=3, dtype=dtype, seed=1)
    x, _ = data(150, dtype)
    whole = net.predict(x)
    assert all(same_bits(net.predict(x[i : i + 1]), whole[i : i + 1]) for i in range(0, 150, 7))
    assert np.isfinite(whole).all()


@pytest.mark.parametrize("units", [1, 7, 16, 65, 300])
def test_one_number_for_all_units_is_a_row_of_equal_ones(units, dtype, same_bits):
    """The two kinds differ in what becomes of the gradients alone."""
    nets = [fm.Sequential([Dense(units, two(per))], input_dim=3, dtype=dtype, seed=1) for per in PER]
    x, _ = data(70, dtype)
    (y, backward), (other, other_backward) = (net.vjp(x) for net in nets)
    assert same_bits(y, other)
    (of_layer, d_input), (of_unit, other_d_input) = backward(y), other_backward(y)
    assert same_bits(d_input, other_d_input)
    close = {"rtol": 1e-4 if dtype == np.float32 else 1e-11, "atol": 1e-4 if dtype == np.float32 else 1e-12}
    np.testing.assert_allclose(of_layer["0.a"][0], of_unit["0.a"].sum(), **close)
    np.testing.assert_allclose(of_unit["0.da"][0], of_layer["0.da"].sum(), **close)


def test_sums_are_accurate():
    """Of a million equal numbers in float32."""
    shift = fm.activations.recorded(lambda z, b: z + b, b=fm.learned(0.0))
    net = fm.Sequential([Activation(shift)], input_dim=1000)
    gradients, _ = net.vjp(np.zeros((1000, 1000), np.float32))[1](np.full((1000, 1000), 0.1, np.float32))
    assert gradients["0.b"][0] == pytest.approx(np.float32(0.1) * 1e6, rel=1e-6)


# -- what else a parameter takes part in -----------------------------------------------------------------------------


def test_a_gradient_that_is_not_finite_stops_the_step(refuses):
    """The square root of 0 is 0, and its slope is not finite."""
    root = fm.activations.recorded(lambda z, b: z + np.sqrt(b), b=fm.learned(1.0))

    def make():
        net = fm.Sequential([Dense(4, root), Dense(3)], input_dim=3, seed=0)
        net.compile("adam", "mse")
        return net

    def spoiled(net):
        net.parameters["0.b"][0] = 0
        try:
            net.train_on_batch(*data(5, "float32"))
        finally:
            assert net.parameters["0.b"][0] == 0
            net.parameters["0.b"][0] = 1

    refuses(make, spoiled, fm.NonFiniteError, "gradients at step 1")


def test_nan_in_a_parameter_is_found_in_the_output_of_its_layer():
    net = network("between", "unit")
    net.parameters["0.beta"][3] = np.nan
    with pytest.raises(fm.NonFiniteError, match="output of layer '0' at step 1") as caught:
        net.train_on_batch(*data(5))
    assert caught.value.layer == "0"


def test_gradients_applied_are_a_step(snapshot, same_bits):
    one, other = network("last", "unit", "float32"), network("last", "unit", "float32")
    x, y = data(9, "float32")
    one.train_on_batch(x, y)
    other.apply_gradients(other.loss_and_gradients(x, y)[1])
    assert same_bits(snapshot(one), snapshot(other))
    with pytest.raises(ValueError, match=r"expected the keys of parameters; missing \['1.a'\]"):
        gradients = other.loss_and_gradients(x, y)[1]
        del gradients["1.a"]
        other.apply_gradients(gradients)


def test_the_plan_names_them_and_only_where_they_are():
    listed = network("between", "unit").plan(40)
    assert [(op.name, op.layer, op.fused) for op in listed if op.name.startswith("parametric")] == [
        ("parametric", "0", ("beta",)),
        ("parametric_backward", "0", ("beta",)),
        ("parametric_sums", "0", ("beta",)),
    ]
    plain = fm.Sequential([Dense(7, Swish(0.75)), Dense(3)], input_dim=3, seed=0)
    plain.compile("adam", "mse")
    assert not [op for op in plain.plan(40) if op.name.startswith("parametric")]
