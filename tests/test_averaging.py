"""The moving average of the weights that an optimizer keeps."""

import copy
import itertools

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense

X = np.random.default_rng(0).normal(size=(40, 7))
Y = np.random.default_rng(1).integers(0, 3, 40)


class InPython(fm.optimizers.Optimizer):
    """Descent with a memory, in NumPy at every step."""

    def __init__(self, learning_rate=0.01, **common):
        super().__init__(learning_rate, **common)

    def init_state(self, param):
        return {"last": np.zeros_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        assert list(state) == ["last"]
        param -= learning_rate * (grad + 0.5 * state["last"])
        state["last"][...] = grad


class Traced(InPython):
    """The same, traced."""

    elementwise = True

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * (grad + 0.5 * state["last"])
        state["last"][...] = grad


OPTIMIZERS = [fm.optimizers.SGD, fm.optimizers.Adam, Traced, InPython]


def network(optimizer, dtype="float64"):
    layers = [Dense(9, "tanh"), BatchNorm(), Dense(3, "softmax")]
    net = fm.Sequential(layers, input_dim=7, dtype=dtype, seed=0)
    net.compile(optimizer, "sparse_categorical_crossentropy")
    return net


def weights(net):
    return {key: w.copy() for key, w in net.parameters.items()}


def averages(net):
    return {key: state["average"].copy() for key, state in net.optimizer_state.items()}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_average_of_all_steps(optimizer, dtype):
    net = network(optimizer(0.1, use_ema=True, ema_momentum=0.8), dtype)
    plain = network(optimizer(0.1), dtype)
    expected = weights(net)
    assert all((average == expected[key]).all() for key, average in averages(net).items())
    for _ in range(6):
        net.train_on_batch(X, Y)
        plain.train_on_batch(X, Y)
        expected = {key: 0.8 * expected[key] + 0.2 * w for key, w in net.parameters.items()}
        for key, average in averages(net).items():
            assert (plain.parameters[key] == net.parameters[key]).all()
            np.testing.assert_allclose(average, expected[key], rtol=1e-5 if dtype == "float32" else 1e-13)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_weights_become_their_average(optimizer):
    net = network(optimizer(0.1, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=3))
    for step in range(1, 8):
        net.train_on_batch(X, Y)
        same = all((average == net.parameters[key]).all() for key, average in averages(net).items())
        assert same == (step % 3 == 0)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_all_ways_of_training_average_alike(optimizer):
    nets = [network(optimizer(0.1, use_ema=True, ema_overwrite_frequency=2, clipnorm=0.1)) for _ in range(4)]
    nets[0].fit(X, Y, batch_size=40, epochs=5, shuffle=False, verbose=0)
    for _ in range(5):
        nets[1].fit([(X, Y)], verbose=0)
        nets[2].train_on_batch(X, Y)
        nets[3].apply_gradients(nets[3].loss_and_gradients(X, Y)[1])
    for net, key in itertools.product(nets[1:], nets[0].parameters):
        assert (net.parameters[key] == nets[0].parameters[key]).all()
        assert (averages(net)[key] == averages(nets[0])[key]).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_it_travels_with_the_network(optimizer, tmp_path, monkeypatch):
    net = network(optimizer(0.1, use_ema=True))
    net.fit(X, Y, epochs=2, verbose=0)
    others = [copy.deepcopy(net)]
    if optimizer in OPTIMIZERS[:2]:  # a class of the tests is not found by name
        net.save(tmp_path / "net.fastmlp")
        others.append(fm.load(tmp_path / "net.fastmlp"))
    for one in (net, *others):
        one.fit(X, Y, epochs=2, verbose=0)
    for one, key in itertools.product(others, net.parameters):
        assert (one.parameters[key] == net.parameters[key]).all()
        assert (averages(one)[key] == averages(net)[key]).all()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_refused_step_leaves_the_average(optimizer):
    net = network(optimizer(1e38, use_ema=True), "float32")
    net.parameters["2.bias"] = np.full(3, 3e38)
    before, kept = weights(net), averages(net)
    gradients = net.loss_and_gradients(X, Y)[1]
    for g in gradients.values():
        g[...] = -1e10
    with pytest.raises(fm.NonFiniteError):
        net.apply_gradients(gradients)
    assert all((net.parameters[key] == w).all() for key, w in before.items())
    assert all((average == kept[key]).all() for key, average in averages(net).items())


def test_the_average_of_the_largest_numbers_is_finite():
    net = network(fm.optimizers.SGD(0.0, use_ema=True, ema_momentum=0.3), "float32")
    most = np.finfo(np.float32).max
    net.parameters["2.bias"] = np.full(3, most)
    net.optimizer_state["2.bias"]["average"][...] = most
    gradients = net.loss_and_gradients(X, Y)[1]
    for g in gradients.values():
        g[...] = 0
    net.apply_gradients(gradients)
    assert (averages(net)["2.bias"] == most).all()


def test_same_bits_at_any_number_of_threads():
    found = []
    for threads in (1, 2, 3, 8):
        with fm.num_threads(threads):
            net = network(fm.optimizers.Adam(use_ema=True, ema_overwrite_frequency=2), "float32")
            net.fit(X, Y, epochs=3, verbose=0)
            found.append(np.concatenate([w.ravel() for w in averages(net).values()]).tobytes())
    assert len(set(found)) == 1


def test_settings():
    net = network(fm.optimizers.Adam(use_ema=True))
    with pytest.raises(AttributeError, match="use_ema"):
        net.optimizer.use_ema = False
    net.optimizer.ema_momentum = 0.0  # holds from the next step
    net.train_on_batch(X, Y)
    assert all((average == net.parameters[key]).all() for key, average in averages(net).items())
    for name, value in (("ema_momentum", 1.0), ("ema_momentum", -0.1), ("ema_overwrite_frequency", 0)):
        with pytest.raises(ValueError, match=name):
            fm.optimizers.Adam(use_ema=True, **{name: value})
        with pytest.raises(ValueError, match=name):
            setattr(net.optimizer, name, value)


def test_a_state_of_that_name_is_refused():
    class Averages(InPython):
        def init_state(self, param):
            return {"average": np.zeros_like(param)}

    with pytest.raises(ValueError, match="'average' is the name of what use_ema keeps"):
        network(Averages(use_ema=True))
