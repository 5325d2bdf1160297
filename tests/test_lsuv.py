"""``lsuv``: kernels scaled by data (Mishkin and Matas, arXiv:1511.06422)."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.initializers import lsuv
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout, LayerNorm, Residual

RNG = np.random.default_rng(3)
X = RNG.normal(1.0, 7.0, (300, 12))
STACKS = {
    "relu": lambda: [Dense(20, "relu", name="first"), Dense(30, "relu"), Dense(2, "softmax")],
    "mixed": lambda: [
        *(Dense(20), BatchNorm(), Activation("tanh"), Dropout(0.5), Dense(9, "prelu", use_bias=False)),
        *(LayerNorm(), Residual([Dense(9, "tanh")]), Dense(3)),
    ],
}


def another(layer):
    if isinstance(layer, Residual):
        return Residual([another(one) for one in layer.layers])
    return type(layer).from_config(layer.get_config())


def outputs_before_activations(net, x):
    """Return ``x kernel + bias`` of each Dense of a chain, computed in NumPy."""
    found, a = {}, np.asarray(x, net.dtype)
    for number, layer in enumerate(net.layers):
        key = f"{layer.name or number}"
        if isinstance(layer, Dense):
            z = a @ net.parameters[f"{key}.kernel"] + (net.parameters[f"{key}.bias"] if layer.use_bias else 0)
            found[f"{key}.kernel"] = z
        prefix = fm.Sequential(
            [another(one) for one in net.layers[: number + 1]],
            input_dim=net.input_dim,
            dtype=net.dtype,
        )
        for name in prefix.parameters:
            prefix.parameters[name] = net.parameters[name]
        a = prefix.predict(x)
    return found


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("orthogonal", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_outputs_of_every_layer_get_variance_1(stack, orthogonal, dtype):
    net = fm.Sequential(STACKS[stack](), input_dim=12, seed=1, dtype=dtype)
    before = {key: array.copy() for key, array in net.parameters.items()}
    reached = lsuv(net, X, orthogonal=orthogonal, tolerance=1e-3)
    found = outputs_before_activations(net, X)
    assert reached.keys() == found.keys() and len(reached) == 3
    for key, z in found.items():
        assert z.var() == pytest.approx(1, abs=1e-3) and reached[key] == pytest.approx(z.var(), rel=1e-4)
        w, old = net.parameters[key], before[key]
        if orthogonal:
            gram = w @ w.T if len(w) <= w.shape[1] else w.T @ w
            np.testing.assert_allclose(gram / gram[0, 0], np.eye(len(gram)), atol=1e-5)
        else:
            np.testing.assert_allclose(w / w[0, 0], old / old[0, 0], rtol=1e-4)
    others = before.keys() - reached.keys()
    assert all(np.array_equal(net.parameters[key], before[key]) for key in others) and len(others) > 2


def test_a_bias_takes_some_rounds():
    layer = Dense(5, "relu", bias_initializer="random_normal")
    net = fm.Sequential([layer], input_dim=12, seed=1, dtype="float64")
    bias = net.parameters["0.bias"].copy()
    once = lsuv(net, X, tolerance=1e-9, max_iterations=1)["0.kernel"]
    assert abs(once - 1) > 1e-3
    assert lsuv(net, X, tolerance=1e-9, max_iterations=200, orthogonal=False)["0.kernel"] == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(net.parameters["0.bias"], bias)


def test_the_same_seed_gives_the_same_bits_and_the_network_trains_on(contents):
    nets = [fm.Sequential(STACKS["relu"](), seed=4) for _ in range(2)]  # not built: the data says how many inputs
    for net in nets:
        lsuv(net, X)
        net.compile("adam", "sparse_categorical_crossentropy")
        net.fit(X, np.arange(300) % 2, epochs=2, verbose=0)
    assert contents(nets[0]) == contents(nets[1])


def test_what_is_not_trained_is_left_alone():
    net = fm.Sequential([Dense(5, "relu", trainable=False), Dense(2)], input_dim=12, seed=0)
    frozen = net.parameters["0.kernel"].copy()
    assert lsuv(net, X).keys() == {"1.kernel"}
    np.testing.assert_array_equal(net.parameters["0.kernel"], frozen)


def test_failures_change_nothing(contents):
    net = fm.Sequential([Dense(5, "relu"), Dense(2)], input_dim=12, seed=0)
    before = contents(net)
    for x, words in ((np.zeros((4, 12)), r"0\.kernel: .* variance 0 over x"), (X * np.nan, r"0\.kernel: .*nan")):
        with pytest.raises(ValueError, match=words):
            lsuv(net, x)
    net.parameters["0.bias"][:] = -1e6  # no unit of the first layer ever answers
    before = contents(net)
    with pytest.raises(ValueError, match=r"1\.kernel"):
        lsuv(net, X, max_iterations=1)
    for wrong in ({"tolerance": 0}, {"max_iterations": 0}, {"tolerance": "x"}):
        with pytest.raises((ValueError, TypeError), match=next(iter(wrong))):
            lsuv(net, X, **wrong)
    assert contents(net) == before
