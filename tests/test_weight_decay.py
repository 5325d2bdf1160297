"""Weight decay: decoupled, of kernels alone, scaled by the learning rate, for every optimizer and in each form."""

import copy
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense, LayerNorm
from fastmlp.optimizers import execution_of

BUILT_INS = [fm.registry.optimizers.resolve(name) for name in fm.registry.optimizers.builtins()]


def in_numpy(cls):
    return type(cls.__name__, (cls,), {"elementwise": False})


def network(optimizer, dtype="float64", **first):
    layers = [Dense(5, "prelu", **first), BatchNorm(), Dense(4), LayerNorm(), Dense(2)]
    net = fm.Sequential(layers, input_dim=3, seed=1, dtype=dtype)
    net.compile(optimizer, "mse")
    return net


def data(rows=40):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2))


def numbers(net):
    return {key: array.copy() for key, array in net.parameters.items()}


def same(net, other):
    for key, array in net.parameters.items():
        np.testing.assert_array_equal(array, other.parameters[key], key)


@pytest.mark.parametrize("form", [lambda cls: cls, in_numpy], ids=["compiled", "in NumPy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cls", BUILT_INS)
def test_kernels_shrink_and_nothing_else_does(cls, dtype, form):
    """Gradients are 0, so that a step is the decay alone: bit by bit, by the rate of that step."""
    net = network(form(cls)(0.5, weight_decay=lambda step: 0.25 * step), dtype)
    with pytest.warns(UserWarning, match="running statistics"):
        net.apply_gradients({key: np.zeros_like(array) for key, array in net.parameters.items()})
    net.parameters["0.bias"][...] = net.parameters["1.beta"][...] = 1.0
    before = numbers(net)
    net.apply_gradients({key: np.zeros_like(array) for key, array in net.parameters.items()})
    factor = np.dtype(dtype).type(1 - 0.5 * 0.5)
    for key, array in net.parameters.items():
        np.testing.assert_array_equal(array, before[key] * factor if key.endswith("kernel") else before[key], key)


@pytest.mark.parametrize("cls", BUILT_INS)
def test_compiled_it_does_what_it_does_in_numpy(cls):
    nets = [network(kind(0.01, weight_decay=0.3)) for kind in (cls, in_numpy(cls))]
    assert [execution_of(net.optimizer).mode == "python" for net in nets] == [False, True]
    for net in nets:
        net.fit(*data(), epochs=3, batch_size=16, verbose=0)
    for key, array in nets[0].parameters.items():
        np.testing.assert_allclose(array, nets[1].parameters[key], rtol=1e-9, atol=1e-11)


def test_it_is_a_step_of_its_own_before_the_update():
    """AdamW is Adam on kernels that have decayed, bit by bit: gradients come from before."""
    decaying, plain = network(fm.optimizers.AdamW(0.1, weight_decay=0.5)), network(fm.optimizers.Adam(0.1))
    for _ in range(4):
        _, gradients = decaying.loss_and_gradients(*data())
        decaying.apply_gradients(gradients)
        for key, array in plain.parameters.items():
            if key.endswith("kernel"):
                array *= 1 - 0.1 * 0.5
        plain.apply_gradients(gradients)
        same(decaying, plain)


def test_defaults():
    assert fm.optimizers.AdamW().weight_decay == 0.01
    assert fm.optimizers.get("adamw") == fm.optimizers.AdamW()
    assert {cls().weight_decay for cls in BUILT_INS if cls is not fm.optimizers.AdamW} == {0.0}
    assert execution_of(fm.optimizers.AdamW()).kernel.name == "adam"
    assert not execution_of(fm.optimizers.AdamW(weight_decay=0.0)).kernel.decays
    for wrong, error in ((-0.1, ValueError), (np.nan, ValueError), ("x", TypeError), (None, TypeError)):
        with pytest.raises(error, match="weight_decay"):
            fm.optimizers.SGD(weight_decay=wrong)


@pytest.mark.parametrize("cls", BUILT_INS)
def test_without_it_no_bit_changes(cls):
    """A decay that was set and taken back before the first step, and in between."""
    net, twin = network(cls(0.01, weight_decay=0.0), "float32"), network(cls(0.01, weight_decay=0.0), "float32")
    net.optimizer.weight_decay = 0.5
    net.optimizer.weight_decay = 0.0
    for one in (net, twin):
        one.fit(*data(), epochs=2, batch_size=16, verbose=0)
    same(net, twin)
    net.optimizer.weight_decay = 0.5
    net.train_on_batch(*data())
    twin.train_on_batch(*data())
    assert not np.array_equal(net.parameters["0.kernel"], twin.parameters["0.kernel"])
    if cls is fm.optimizers.SGD:
        np.testing.assert_array_equal(net.parameters["4.bias"], twin.parameters["4.bias"])


@pytest.mark.parametrize("cls", [fm.optimizers.SGD, fm.optimizers.AdamW, fm.optimizers.Lion, fm.optimizers.Nadam])
def test_fit_batches_and_threads_agree_to_the_bit(cls):
    nets = [network(cls(0.01, weight_decay=lambda step: 0.5 / step), "float32") for _ in range(3)]
    x, y = data()
    nets[0].fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
    with fm.num_threads(3):
        nets[1].fit(x, y, epochs=3, batch_size=8, shuffle=False, verbose=0)
    for _ in range(3):
        for at in range(0, 40, 8):
            nets[2].train_on_batch(x[at : at + 8], y[at : at + 8])
    same(nets[0], nets[1])
    same(nets[0], nets[2])


def test_large_layers_decay_in_all_their_parts():
    net = fm.Sequential([Dense(300), Dense(1)], input_dim=201, seed=0)
    net.compile(fm.optimizers.Lion(0.5, weight_decay=0.5))
    before = numbers(net)
    with fm.num_threads(3):
        net.apply_gradients({key: np.zeros_like(array) for key, array in net.parameters.items()})
    for key, array in net.parameters.items():
        np.testing.assert_array_equal(array, before[key] * (np.float32(0.75) if key.endswith("kernel") else 1))


def test_multipliers_scale_it_and_frozen_layers_keep_their_numbers():
    class Slow(fm.layers.Layer):
        def build(self, input_dim):
            self.add_parameter("w", (input_dim,), "ones", decay=True, learning_rate_multiplier=0.5)
            self.add_parameter("b", (input_dim,), "ones", learning_rate_multiplier=0.5)
            return input_dim

        def forward(self, x, *, training, rng):
            w, b = self.parameters["w"], self.parameters["b"]
            return x * w + b, lambda dy: (dy * w, {"w": (dy * x).sum(0), "b": dy.sum(0)})

    layers = [Slow(), Dense(3, trainable=False, kernel_initializer="ones"), Dense(2, kernel_initializer="ones")]
    for form in (fm.optimizers.SGD, in_numpy(fm.optimizers.SGD)):
        net = fm.Sequential(copy.deepcopy(layers), input_dim=3, seed=0, dtype="float64")
        net.compile(form(0.5, weight_decay=0.5), "mse")
        net.apply_gradients({key: np.zeros_like(array) for key, array in net.parameters.items()})
        found = {key: array.flat[0] for key, array in net.parameters.items()}
        assert found == {"0.w": 0.875, "0.b": 1, "1.kernel": 1, "1.bias": 0, "2.kernel": 0.75, "2.bias": 0}


@pytest.mark.parametrize("cls", BUILT_INS)
def test_copies_files_and_pickles_keep_it(cls, tmp_path):
    net = network(cls(0.01, weight_decay=0.3))
    net.fit(*data(), epochs=2, batch_size=16, verbose=0)
    net.save(tmp_path / "net")
    others = [copy.deepcopy(net), pickle.loads(pickle.dumps(net)), fm.load(tmp_path / "net")]
    assert pickle.loads(pickle.dumps(net.optimizer)) == net.optimizer
    net.fit(*data(), epochs=2, batch_size=16, verbose=0)
    for other in others:
        assert other.optimizer == net.optimizer and other.optimizer.weight_decay == 0.3
        other.fit(*data(), epochs=2, batch_size=16, verbose=0)
        same(net, other)


@pytest.mark.parametrize("cls", [fm.optimizers.SGD, fm.optimizers.AdamW, fm.optimizers.Adagrad, fm.optimizers.Lion])
def test_a_decay_that_overflows_is_refused_and_taken_back(cls):
    """1 - lr wd = -2 doubles numbers near the largest; nothing changes."""
    net = network(cls(1.0, weight_decay=3.0), "float32")
    x, y = data()
    net.parameters["0.kernel"][...] = 2e38
    net.parameters["2.kernel"][...] = 0.0
    before = numbers(net)
    with pytest.raises(fm.NonFiniteError):
        net.fit(x, y, verbose=0)
    for key, array in before.items():
        np.testing.assert_array_equal(net.parameters[key], array)
    assert net.engine.steps == 0


def test_classes_of_ones_own_get_it_with_the_keywords_that_they_pass_on():
    class Own(fm.optimizers.Optimizer):
        elementwise = True

        def __init__(self, learning_rate=0.5, **options):
            super().__init__(learning_rate, **options)

        def update(self, param, grad, state, learning_rate, step):
            param -= learning_rate * grad

    config = Own(weight_decay=0.25).get_config()
    assert (config["learning_rate"], config["weight_decay"]) == (0.5, 0.25)
    twin = network(fm.optimizers.SGD(0.125, weight_decay=0.25))
    for form in (Own, in_numpy(Own)):
        net = network(form(0.125, weight_decay=0.25))
        net.train_on_batch(*data())
        if form is Own:
            twin.train_on_batch(*data())
        for key, array in net.parameters.items():
            np.testing.assert_allclose(array, twin.parameters[key], rtol=1e-14)


def test_a_class_that_does_not_know_of_it_refuses_it_later():
    class Own(fm.optimizers.Optimizer):
        def __init__(self, rate=0.5):
            super().__init__(rate)
            self.rate = rate

    class Bare(fm.optimizers.Optimizer):
        def __init__(self):
            """Says nothing to its base."""

    with pytest.raises(AttributeError, match=r"Own has no weight_decay in its configuration.*super"):
        Own().weight_decay = 0.1
    assert Own().weight_decay == Bare().weight_decay == 0.0
    assert not Bare().decays
