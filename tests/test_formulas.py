"""Activations of one line, and `fm.activations.recorded`: closed forms, compiled, kept in files as data."""

import math

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.activations import execution_of
from fastmlp.layers import Dense

Z = np.concatenate([np.linspace(-9.1, 9.3, 93), [0.0, 1e-9, -1e-9, 40.0, -40.0]])
PHI = np.array([0.5 * math.erfc(-z / math.sqrt(2)) for z in Z])
SIGMOID = 1 / (1 + np.exp(-Z))
FORMULAS = {  # written otherwise than in the library
    "softplus": ({}, np.log1p(np.exp(-np.abs(Z))) + np.maximum(Z, 0)),
    "softsign": ({}, np.sign(Z) * (1 - 1 / (1 + np.abs(Z)))),
    "silu": ({"beta": 1.0}, Z * SIGMOID),
    "swish": ({}, Z * SIGMOID),
    "gelu": ({}, Z * PHI),
    "mish": ({}, Z * (1 - 2 / ((1 + np.exp(Z)) ** 2 + 1))),
    "elu": ({"alpha": 0.7}, np.where(Z > 0, Z, 0.7 * np.expm1(np.minimum(Z, 0)))),
    "celu": ({"alpha": 2.0}, np.maximum(Z, 0) + np.minimum(0, 2 * np.expm1(np.minimum(Z, 0) / 2))),
    "selu": ({}, 1.0507009873554805 * np.where(Z > 0, Z, 1.6732632423543772 * np.expm1(np.minimum(Z, 0)))),
    "relu6": ({}, np.minimum(np.maximum(Z, 0), 6)),
    "hard_sigmoid": ({}, np.where(Z < -3, 0, np.where(Z > 3, 1, (Z + 3) / 6))),
    "hard_tanh": ({}, np.maximum(-1, np.minimum(1, Z))),
    "hard_silu": ({}, Z * np.minimum(np.maximum(Z + 3, 0), 6) / 6),
    "hard_swish": ({}, Z * np.minimum(np.maximum(Z + 3, 0), 6) / 6),
    "hard_shrink": ({"threshold": 0.8}, Z * (np.abs(Z) > 0.8)),
    "soft_shrink": ({"threshold": 0.8}, np.sign(Z) * np.maximum(np.abs(Z) - 0.8, 0)),
    "tanh_shrink": ({}, Z - np.tanh(Z)),
    "log_sigmoid": ({}, np.minimum(Z, 0) - np.log1p(np.exp(-np.abs(Z)))),
    "squareplus": ({"b": 2.5}, np.where(Z > 0, (Z + np.sqrt(Z * Z + 2.5)) / 2, 1.25 / (np.sqrt(Z * Z + 2.5) - Z))),
    "sparse_plus": ({}, np.where(Z <= -1, 0, np.where(Z >= 1, Z, (Z + 1) ** 2 / 4))),
    "threshold": ({"threshold": 0.1, "value": -2.0}, np.where(Z > 0.1, Z, -2.0)),
}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", FORMULAS)
def test_one_line_activations(name, dtype):
    """By call, and compiled in a network that is nothing else."""
    config, expected = FORMULAS[name]
    activation = fm.activations.get(name, **config)
    assert execution_of(activation, np.dtype(dtype)).mode == "traced"
    z = Z.astype(dtype)
    net = fm.Sequential([fm.layers.Activation(activation)], input_dim=len(Z), dtype=dtype)
    tolerance = 2e-6 if dtype == "float32" else 1e-13
    for found in (activation(z), net.predict(z[None])[0]):
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=10 * tolerance)


DERIVATIVES = {  # of those whose docstring has it
    "log_sigmoid": ({}, 1 - SIGMOID),
    "squareplus": ({"b": 2.5}, (1 + Z / np.sqrt(Z * Z + 2.5)) / 2),
    "sparse_plus": ({}, np.clip((Z + 1) / 2, 0, 1)),
}


@pytest.mark.parametrize("name", DERIVATIVES)
def test_derivatives(name):
    config, expected = DERIVATIVES[name]
    activation = fm.activations.get(name, **config)
    net = fm.Sequential([fm.layers.Activation(activation)], input_dim=len(Z), dtype="float64")
    _, backward = net.vjp(Z[None])
    for found in (activation.derivative(Z, activation(Z)), backward(np.ones((1, len(Z))))[1][0]):
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_far_from_zero():
    """Nothing overflows, and small values keep their digits."""
    z = np.array([-1e30, -1e4, 1e4, 1e30])
    np.testing.assert_allclose(fm.activations.Squareplus()(z), [1e-30, 1e-4, 1e4, 1e30], rtol=1e-7)
    np.testing.assert_allclose(fm.activations.Squareplus()(z.astype("f4")), [1e-30, 1e-4, 1e4, 1e30], rtol=1e-6)
    np.testing.assert_allclose(fm.activations.LogSigmoid()(z), [-1e30, -1e4, 0, 0], rtol=1e-12)


ROWS = np.array([[0.1, 0.2, 0.9], [5.0, 1.0, 5.0], [-3.0, -3.0, -3.0], [1000.0, 0.0, 999.5]])


def test_sparsemax():
    """By hand: tau is (sum of the support - 1) / its size."""
    expected = [[1 / 30, 4 / 30, 25 / 30], [0.5, 0, 0.5], [1 / 3] * 3, [0.75, 0, 0.25]]
    found = fm.activations.Sparsemax()(ROWS)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1, rtol=1e-12)
    da = np.array([[1.0, 2, 6], [1, 2, 6], [1, 2, 6], [1, 2, 6]])
    dz = fm.activations.Sparsemax().backward(ROWS, found, da)
    np.testing.assert_allclose(dz, [[-2, -1, 3], [-2.5, 0, 2.5], [-2, -1, 3], [-2.5, 0, 2.5]], atol=1e-12)


def test_log_softmax():
    found = fm.activations.LogSoftmax()(ROWS)
    np.testing.assert_allclose(np.exp(found), fm.activations.Softmax()(ROWS), rtol=1e-12)
    assert found[3, 1] == pytest.approx(-1000 - math.log1p(math.exp(-0.5)), rel=1e-12)


@pytest.mark.parametrize("approximate", [False, True])
def test_gelu_has_two_forms(approximate):
    found = fm.activations.GELU(approximate=approximate)(Z)
    np.testing.assert_allclose(found, Z * PHI, atol=1e-12 if not approximate else 5e-3)
    assert approximate == bool(np.abs(found - Z * PHI).max() > 1e-6)


@pytest.mark.parametrize(
    "name, config",
    [
        ("celu", {"alpha": 0.0}),
        ("squareplus", {"b": 0}),
        ("hard_shrink", {"threshold": -1.0}),
        ("silu", {"beta": math.nan}),
    ],
)
def test_bad_settings(name, config):
    with pytest.raises(ValueError, match=next(iter(config))):
        fm.activations.get(name, **config)


# A function


def swish(z, beta=1.0):
    return z / (1 + np.exp(-beta * z))


def network(activation):
    return fm.Sequential([Dense(6, activation), Dense(2)], input_dim=3, seed=0)


def test_a_function_becomes_an_activation():
    activation = fm.activations.recorded(swish, beta=1.5)
    np.testing.assert_allclose(activation(Z), Z / (1 + np.exp(-1.5 * Z)), rtol=1e-12, atol=1e-15)
    s = 1 / (1 + np.exp(-1.5 * Z))
    np.testing.assert_allclose(
        activation.derivative(Z, activation(Z)), s + 1.5 * Z * s * (1 - s), rtol=1e-9, atol=1e-12
    )
    assert execution_of(activation, np.dtype("float32")).mode == "traced"
    x = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    one, same = network(activation), network(fm.activations.SiLU(1.5))
    for key, value in one.parameters.items():
        same.parameters[key] = value
    assert one.predict(x).tobytes() == same.predict(x).tobytes()


def test_files_hold_the_program_and_not_the_function(tmp_path):
    net = network(fm.activations.recorded(lambda z, a=0.3, b=2.0: np.where(z < 0, a * np.expm1(z), b * z)))
    net.compile("adam", "mse")
    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    net.fit(x, y, epochs=2, verbose=0)
    net.save(tmp_path / "net.npz")
    again = fm.load(tmp_path / "net.npz")
    assert again.predict(x).tobytes() == net.predict(x).tobytes()
    assert again.layers[0].activation == net.layers[0].activation
    again.fit(x, y, epochs=1, verbose=0)


@pytest.mark.parametrize(
    "function, error, words",
    [
        (lambda z: z if z.sum() > 0 else -z, TypeError, "sum"),
        (lambda z: np.sort(z), TypeError, "sort"),
        (lambda z, beta: z * beta, TypeError, "parameter 'beta' has no value"),
        (lambda z, beta="x": z * beta, TypeError, "beta"),
        (lambda z: "z", TypeError, "str"),
    ],
)
def test_what_can_not_be_traced_is_an_error(function, error, words):
    with pytest.raises(error, match=words):
        fm.activations.recorded(function)


def test_a_parameter_that_the_function_does_not_take():
    with pytest.raises(TypeError, match="gamma"):
        fm.activations.recorded(swish, gamma=1.0)


GOOD = [["input", "'z'"], ["const", "2.0"], ["mul", 0, 1]]
BAD = {
    "too long": [["input", "'z'"], *(["neg", k] for k in range(1_000))],
    "10^6 operations": [["input", "'z'"]] * 1_000_000,
    "no such operation": [["input", "'z'"], ["system", 0]],
    "a dotted path": [["input", "'z'"], ["os.system", 0]],
    "an operand out of range": [["input", "'z'"], ["neg", 1]],
    "a negative operand": [["input", "'z'"], ["neg", -1]],
    "an operand that is none": [["input", "'z'"], ["neg", "0"]],
    "an input that is not given": [["input", "'y'"], ["neg", 0]],
    "empty": [],
    "no list": {"op": "neg"},
}


@pytest.mark.parametrize("what", BAD)
def test_programs_of_files_are_checked_before_anything_runs(what, tmp_path, header_of, rewrite):
    """A file whose program was changed is refused."""
    path = tmp_path / "net.npz"
    network(fm.activations.recorded(lambda z: 2 * z)).save(path)

    def config(header):
        return header["layers"][0]["config"]["activation"]["config"]

    assert config(header_of(path))["program"] == GOOD
    rewrite(path, lambda header: config(header).update(program=BAD[what]))
    with pytest.raises(ValueError, match=r"program|damaged|entries"):
        fm.load(path)
