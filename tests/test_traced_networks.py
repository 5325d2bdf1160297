"""Networks with activations of their users: what the summary says, what warns, what is imported, what a copy takes."""

import copy
import math
import pickle
import re
import warnings

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.activations import execution_of
from fastmlp.layers import Activation, Dense

X = np.random.default_rng(0).normal(size=(20, 4))


class Swish(fm.activations.Activation):
    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, z):
        return z / (1 + np.exp(-self.beta * z))


def swish(x, beta=1.0):
    return x / (1 + np.exp(-beta * x))


class Branch(fm.activations.Activation):
    """One `if` for the whole array."""

    def forward(self, z):
        return np.sin(z) if (z > 100).any() else z * 1

    def derivative(self, z, a):
        return np.ones_like(z)


class RandomizedReLU(fm.activations.Activation):
    """Xu et al. 2015: a slope of its own for each element."""

    def forward(self, z):
        return np.where(z < 0, z * np.random.default_rng(0).uniform(0.1, 0.3, z.shape), z)

    def derivative(self, z, a):
        return np.where(z < 0, np.divide(a, z, where=z != 0, out=np.zeros_like(z)), 1.0)


class ErrorFunction(fm.activations.Activation):
    """GELU as one writes it without SciPy."""

    def forward(self, z):
        return 0.5 * z * (1 + np.vectorize(math.erf)(z / math.sqrt(2)))

    def derivative(self, z, a):
        return 0.5 * (1 + np.vectorize(math.erf)(z / math.sqrt(2))) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


class Squash(fm.activations.Activation):
    """Of whole rows: each becomes as long as its norm says (Sabour et al. 2017)."""

    elementwise = False

    def forward(self, z):
        norm = np.sqrt((z * z).sum(axis=-1, keepdims=True))
        return z * norm / (1 + norm**2)

    def backward(self, z, a, da):
        n = np.sqrt((z * z).sum(axis=-1, keepdims=True))
        slope = (1 - n**2) / (1 + n**2) ** 2
        return da * n / (1 + n**2) + z * (da * z).sum(axis=-1, keepdims=True) * slope / n


IN_PYTHON = {
    Branch: "forward: it asks for .any of the array",
    RandomizedReLU: "forward: it asks for .shape of the array",
    ErrorFunction: "forward: its numbers are asked for (np.asarray, math.exp, or a compiled function)",
    Squash: "it works on whole rows (elementwise = False)",
}


def net_of(*activations, dtype="float64"):
    layers = [layer for activation in activations for layer in (Dense(4), Activation(activation))]
    net = fm.Sequential([*layers, Dense(2)], input_dim=4, dtype=dtype, seed=0)
    net.compile("sgd", "mse")
    return net


# What is said


@pytest.mark.parametrize("cls", IN_PYTHON)
def test_summary_says_what_runs_in_python_and_why(cls):
    text = repr(net_of("relu", cls(), Swish()))
    (line,) = [line for line in text.splitlines() if cls.__name__ in line and "(" + IN_PYTHON[cls] in line]
    assert line == f"  layer 3: activation {cls()!r} ({IN_PYTHON[cls]})"
    assert text.endswith("all other operations run compiled")
    assert not re.search("activation Swish", text)


@pytest.mark.parametrize("cls", IN_PYTHON)
def test_what_runs_in_python_trains(cls):
    """A step follows the gradient that differences of the loss give."""
    net, y = net_of(cls()), np.ones((20, 2))
    _, gradients = net.loss_and_gradients(X, y)
    losses = []
    kernel = net.parameters["0.kernel"].copy()
    for h in (1e-6, -1e-6):
        net.parameters["0.kernel"] = kernel + h * gradients["0.kernel"]
        losses.append(net.loss_and_gradients(X, y)[0])
    assert (losses[0] - losses[1]) / 2e-6 == pytest.approx((gradients["0.kernel"] ** 2).sum(), 1e-6)


def test_summary_of_traced_activations():
    assert repr(net_of(Swish(), Swish(2.0))).endswith("all operations run compiled")


def test_a_difference_at_infinity_warns():
    """Once for a class; where all numbers agree, infinities and NaN too, nothing does."""

    class Hyperbolic(fm.activations.Activation):
        def forward(self, z):
            return np.hypot(z, 2 * z)

    with pytest.warns(RuntimeWarning, match=r"gives \[nan, nan, nan\] at \[inf, -inf, nan\].*\[inf, inf, nan\]"):
        found = execution_of(Hyperbolic(), np.dtype("f8"))
    assert found.mode == "traced"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert execution_of(Hyperbolic(), np.dtype("f8")).mode == "traced"
        assert execution_of(Swish(), np.dtype("f8")).mode == "traced"


def test_infinities_and_nan_go_through():
    net = fm.Sequential([Activation(Swish())], input_dim=4, dtype="float64")
    net.compile("sgd", "mse")
    assert net.predict([[np.inf, -np.inf, np.nan, -1e4]]).tolist()[0] == pytest.approx(
        [np.inf, np.nan, np.nan, 0], nan_ok=True
    )


# Settings


def test_networks_with_other_settings():
    """One class, two numbers: each network has its own, also where one object changed in between."""
    nets = {beta: fm.Sequential([Activation(Swish(beta))], input_dim=4, dtype="float64") for beta in (1.0, 2.0, -0.5)}
    activation = Swish(3.0)
    nets[3.0] = fm.Sequential([Activation(activation)], input_dim=4, dtype="float64")
    np.testing.assert_allclose(nets[3.0].predict(X), swish(X, 3.0), 1e-12)
    activation.beta = 4.0
    nets[4.0] = fm.Sequential([Activation(activation)], input_dim=4, dtype="float64")
    for beta in (1.0, 2.0, -0.5, 4.0):
        np.testing.assert_allclose(nets[beta].predict(X), swish(X, beta), 1e-12)


def test_a_setting_that_changes_holds_from_the_next_call_on_for_batches_of_all_sizes():
    activation = Swish(1.0)
    net = fm.Sequential([Activation(activation)], input_dim=4, dtype="float64")
    for beta in (1.0, 5.0):
        activation.beta = beta
        np.testing.assert_allclose(net.predict(X[:1]), Swish(beta)(X[:1]), rtol=1e-12)
        np.testing.assert_array_equal(net.predict(X[:1]), net.predict(X)[:1])


def test_settings_of_other_types():
    """What `__init__` keeps may be a number of NumPy, an integer, an array of no dimension."""
    for beta in (2, np.float32(2), np.float64(2), np.int64(2), np.array(2.0)):
        assert execution_of(Swish(beta), np.dtype("f8")).mode == "traced"
    found = execution_of(Swish(np.ones(4)), np.dtype("f8"))
    assert found.reason == "forward: it combines the array with an array of shape (4,); a number was expected"


@pytest.mark.parametrize("way", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))], ids=["copy", "pickle"])
def test_copies_go_on_alike(way, same_future):
    """A copy is traced anew; it trains on with the same bits."""
    name = "test_traced_networks.swish"
    fm.registry.activations.register(name, Swish, override=True)
    net = net_of(Swish(1.5), "relu", Swish(), dtype="float32")
    x, y = X.astype("f4"), np.ones((20, 2), "f4")
    net.fit(x, y, epochs=2, verbose=0)
    twin = way(net)
    assert twin.layers[1].activation == Swish(1.5)
    assert twin.layers[1].activation is not net.layers[1].activation
    np.testing.assert_array_equal(twin.predict(x), net.predict(x))
    same_future(net, twin)


def test_activations_made_of_others():
    """Of built-ins and one's own, called as functions; a subclass of a built-in."""
    sigmoid, swish_of_two = fm.activations.Sigmoid(), Swish(2.0)

    class Gated(fm.activations.Activation):
        def forward(self, z):
            return z * sigmoid(z) + swish_of_two(z) + fm.activations.get("relu")(z)

    class Mine(fm.activations.Tanh):
        pass

    net = fm.Sequential([Activation(Gated())], input_dim=4, dtype="float64")
    np.testing.assert_allclose(net.predict(X), swish(X) + swish(X, 2) + np.maximum(X, 0), 1e-12)
    for cls in (fm.activations.Sigmoid, fm.activations.Cos, fm.activations.LeakyReLU, fm.activations.ReLU, Mine):
        assert execution_of(type("Sub", (cls,), {})(), np.dtype("f8")).mode == "traced", cls


def test_a_recording_leaves_nothing_in_the_object():
    """What `forward` puts aside for `derivative` is an array again once the network is built."""

    class Keeps(fm.activations.Activation):
        def forward(self, z):
            self.kept = np.cos(z)
            return np.sin(z)

        def derivative(self, z, a):
            return self.kept

    activation = Keeps()
    net = net_of(activation)
    net.fit(X, np.ones((20, 2)), verbose=0)
    assert isinstance(activation.kept, np.ndarray)
    assert repr(net).endswith("all operations run compiled")


# What is imported


def test_built_ins_import_no_recording(run_python):
    """Who uses no plugin does not pay for them."""
    code = """
        import sys
        import fastmlp as fm
        net = fm.Sequential([fm.layers.Dense(2, "relu"), fm.layers.Activation("tanh")], input_dim=1)
        net.compile("adam", "mse")
        net.fit([[1.0]], [[1.0, 2.0]], verbose=0)
        repr(net)
        print(*sorted(name.split(".")[2] for name in sys.modules if name.startswith("fastmlp._tracing.")))
    """
    assert run_python(code).split() == ["execution", "native", "trainable"]
