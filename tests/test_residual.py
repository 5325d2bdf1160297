"""Residual layers: outputs added to inputs, gradients both ways, in the plan."""

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Residual


class Branching(fm.activations.Activation):
    """Runs in NumPy: it branches on data."""

    def forward(self, z):
        return np.sin(z) if z.sum() > -1e30 else z

    def derivative(self, z, a):
        return np.cos(z)


STACKS = {
    "after a dense layer": lambda: [Dense(8, "tanh"), Residual([Dense(6, "silu"), Dense(8)]), Dense(3)],
    "first": lambda: [Residual([Dense(5, "sigmoid")]), Dense(3)],
    "last": lambda: [Dense(3), Residual([Dense(3, "tanh")])],
    "activation alone": lambda: [Dense(3), Residual([Activation("tanh")])],
    "batch norm and dropout inside": lambda: [
        Dense(8),
        Residual([BatchNorm(), Activation("silu"), Dropout(0.3), Dense(8, "tanh")]),
        Dense(3),
    ],
    "within another": lambda: [Dense(8), Residual([Residual([Dense(8, "tanh")]), LayerNorm(), Dense(8)]), Dense(3)],
    "one after the other": lambda: [Dense(8), *(Residual([Dense(8, "tanh")]) for _ in range(3)), Dense(3)],
    "before an activation": lambda: [Dense(8), Residual([Dense(8)]), Activation("tanh"), Dense(3)],
    "in Python inside": lambda: [Dense(8), Residual([Dense(8, Branching()), Dense(8)]), Dense(3)],
}
stack = pytest.mark.parametrize("stack", STACKS)


def network(stack, **settings):
    net = fm.Sequential(STACKS[stack](), input_dim=5, seed=1, **settings)
    net.compile(fm.optimizers.SGD(0.1, momentum=0.9), "mean_squared_error")
    return net


def data(rows=40, dtype=float):
    rng = np.random.default_rng(2)
    return rng.standard_normal((rows, 5)).astype(dtype), rng.standard_normal((rows, 3)).astype(dtype)


def test_outputs_are_those_of_its_layers_plus_its_inputs(dtype):
    net = fm.Sequential([Dense(4, "relu"), Residual([Dense(7, "tanh"), Dense(4)])], input_dim=5, dtype=dtype, seed=3)
    x, _ = data(dtype=dtype)
    p = net.parameters
    h = np.maximum(x @ p["0.kernel"] + p["0.bias"], 0)
    y = np.tanh(h @ p["1.0.kernel"] + p["1.0.bias"]) @ p["1.1.kernel"] + p["1.1.bias"] + h
    np.testing.assert_allclose(net.predict(x), y, rtol=1e-5 if dtype == np.float32 else 1e-12, atol=1e-6)


@stack
def test_gradients_are_those_of_finite_differences(stack):
    net, (x, y) = network(stack, dtype="float64"), data()
    _, gradients = net.loss_and_gradients(x, y)
    assert gradients.keys() == set(net.parameters)
    h = 1e-4
    for key, w in net.parameters.items():
        for at in list(np.ndindex(w.shape))[:5]:
            before, found = w[at], []
            for step in (1, -1, 2, -2):
                w[at] = before + step * h
                found.append(net.loss_and_gradients(x, y)[0])
            w[at] = before
            slope = (8 * (found[0] - found[1]) - found[2] + found[3]) / 12 / h
            assert gradients[key][at] == pytest.approx(slope, abs=1e-8)


@stack
def test_the_gradient_of_the_input_adds_up(stack):
    net, (x, _) = network(stack, dtype="float64"), data()
    outputs, backward = net.vjp(x)
    dy = np.cos(np.arange(outputs.size)).reshape(outputs.shape)
    _, d_input = backward(dy)
    h = 1e-5
    for at in ((0, 0), (7, 3), (39, 4)):
        sides = []
        for step in (h, -h):
            moved = x.copy()
            moved[at] += step
            sides.append((net.predict(moved) * dy).sum())
        assert d_input[at] == pytest.approx((sides[0] - sides[1]) / 2 / h, abs=1e-7)


@stack
def test_the_same_bits_in_any_schedule_and_at_any_number_of_threads(stack, same_in_any_schedule):
    same_in_any_schedule(lambda: network(stack), *data(300, "f4"))


def test_it_runs_in_the_plan():
    net = network("within another")
    assert "all operations run compiled" in repr(net)
    assert [operation.name for operation in net.plan(32, training=False)].count("add") == 2


@stack
def test_files_and_copies_go_on_to_the_same_bits(stack, tmp_path, register, same_future):
    register("activations", "branching", Branching)
    net, (x, y) = network(stack), data(dtype="f4")
    net.fit(x, y, verbose=0)
    net.save(tmp_path / "net")
    for twin in (fm.load(tmp_path / "net"), copy.deepcopy(net)):
        same_future(copy.deepcopy(net), twin)


@pytest.mark.parametrize(
    ("layers", "error", "words"),
    [
        (Dense(3), TypeError, "expected a list of layers, got Dense"),
        ([3], TypeError, "expected a name, a class, an instance"),
        ([], ValueError, "expected at least one layer"),
        ([dense := Dense(3), dense], ValueError, "stands twice"),
    ],
)
def test_no_layers_are_refused(layers, error, words):
    with pytest.raises(error, match=words):
        Residual(layers)


def test_layers_belong_to_one_residual_layer():
    dense = Dense(3)
    Residual([dense])
    with pytest.raises(ValueError, match="belongs to another network"):
        Residual([dense])


def test_other_widths_are_refused_when_the_network_is_built():
    net = fm.Sequential([Residual([Dense(4)])])
    with pytest.raises(ValueError, match="give 4 columns, but take 5"):
        net.build(5)
    assert not net.built
