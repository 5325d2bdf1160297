"""``trainable = False``: a layer whose parameters stay as they are, set before or between fits."""

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Dense, LayerNorm, Residual

OPTIMIZERS = {
    "sgd": lambda: fm.optimizers.SGD(0.05),
    "momentum": lambda: fm.optimizers.SGD(0.05, momentum=0.9),
    "adam": lambda: "adam",
}


class Decay(fm.optimizers.Optimizer):
    """Traced; moves every parameter, gradient or not."""

    elementwise = True

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * (grad + 0.1 * param)


class InPython(Decay):
    """The same, one parameter after the other in NumPy."""

    elementwise = False


OPTIMIZERS |= {"traced": Decay, "in Python": InPython}
optimizer = pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)


def layers():
    return [
        Dense(9, "tanh", kernel_regularizer="l2"),
        BatchNorm(),
        Activation("prelu"),
        Residual([Dense(9, "tanh"), Dense(9)]),
        LayerNorm(),
        Dense(3, "softmax"),
    ]


def network(optimizer="adam", frozen=(), dtype="float32"):
    net = fm.Sequential(layers(), input_dim=5, seed=1, dtype=dtype)
    for index in frozen:
        net.layers[index].trainable = False
    net.compile(optimizer() if callable(optimizer) else optimizer, "sparse_categorical_crossentropy")
    return net


def data(rows=60):
    rng = np.random.default_rng(2)
    return rng.standard_normal((rows, 5)).astype("f4"), rng.integers(0, 3, rows)


def of(arrays, index):
    return {key: value for key, value in arrays.items() if key.split("/")[-1].split(".")[0] == str(index)}


@pytest.mark.parametrize("frozen", [(0,), (1,), (2,), (3,), (4,), (5,), (0, 1, 2), (0, 5), (1, 3, 4)])
@optimizer
def test_frozen_layers_stay_and_others_move(optimizer, frozen, snapshot, same_bits):
    net, (x, y) = network(optimizer, frozen), data()
    before = snapshot(net)
    net.fit(x, y, epochs=2, verbose=0)
    net.train_on_batch(x, y)
    after = snapshot(net)
    for index in range(6):
        arrays = [key for key in before if key.split(".")[0] == str(index) and "/" not in key]
        if index in frozen:
            assert same_bits({key: before[key] for key in arrays}, {key: after[key] for key in arrays})
        else:
            assert not any(same_bits(before[key], after[key]) for key in arrays if "running" not in key)


@optimizer
def test_what_is_left_learns_as_with_a_constant_in_the_place_of_frozen_layers(optimizer):
    """Training the last layer alone is training a network on the outputs of those before it."""
    net, (x, y) = network(optimizer, range(5)), data()
    inner = fm.Sequential([Dense(3, "softmax")], input_dim=9, seed=1)
    inner.compile(optimizer() if callable(optimizer) else optimizer, "sparse_categorical_crossentropy")
    for name in ("kernel", "bias"):
        inner.parameters[f"0.{name}"] = net.parameters[f"5.{name}"]
    features = fm.Sequential(layers()[:5], input_dim=5, seed=1)
    for key in features.parameters:
        features.parameters[key] = net.parameters[key]
    hidden = features.predict(x)  # by running statistics: a frozen batch norm takes none of the batch
    for _ in range(3):
        net.train_on_batch(x, y)
        inner.train_on_batch(hidden, y)
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(net.parameters[f"5.{name}"], inner.parameters[f"0.{name}"], rtol=2e-4, atol=2e-6)


def test_it_holds_from_the_next_call_on(same_bits, snapshot):
    net, (x, y) = network(), data()
    net.fit(x, y, verbose=0)
    net.train_on_batch(x, y)
    net.layers[5].trainable = False
    before = snapshot(net)
    net.train_on_batch(x, y)
    middle = snapshot(net)
    assert same_bits(before["5.kernel"], middle["5.kernel"]) and not same_bits(before["0.kernel"], middle["0.kernel"])
    net.layers[5].trainable = True
    net.train_on_batch(x, y)
    assert not same_bits(middle["5.kernel"], snapshot(net)["5.kernel"])


def test_gradients_of_frozen_parameters_are_zero(dtype):
    net, (x, y) = network(frozen=(3,), dtype=dtype), data()
    value, gradients = net.loss_and_gradients(x.astype(dtype), y)
    assert gradients.keys() == set(net.parameters)
    assert all((gradient == 0).all() == key.startswith("3.") for key, gradient in gradients.items())
    net.layers[3].trainable = True
    again, gradients = net.loss_and_gradients(x.astype(dtype), y)
    assert again == value
    assert not any((gradient == 0).all() for gradient in gradients.values())
    net.layers[3].trainable = False  # nothing is left over from before
    _, gradients = net.loss_and_gradients(x.astype(dtype), y)
    assert all((gradient == 0).all() == key.startswith("3.") for key, gradient in gradients.items())


def test_no_work_is_done_for_frozen_layers():
    """Nothing before the first layer that learns has a way back."""
    names = [operation.name for operation in network(frozen=(0, 1, 2, 3, 4)).plan(32)]
    assert names.count("d_kernel") == 1 and "d_input" not in names and "batchnorm_statistics" not in names


def test_a_network_may_be_frozen_as_a_whole(snapshot, same_bits):
    net, (x, y) = network(frozen=range(6)), data()
    before = snapshot(net)
    assert np.isfinite(net.train_on_batch(x, y)["loss"])
    assert same_bits(before, snapshot(net))


def test_a_frozen_layer_freezes_those_within_it(snapshot, same_bits):
    net, (x, y) = network(frozen=(3,)), data()
    assert all(layer.trainable for layer in net.layers[3].layers)
    before = snapshot(net)
    net.train_on_batch(x, y)
    assert all(same_bits(before[key], value) for key, value in snapshot(net).items() if key.startswith("3."))


def test_a_frozen_batch_norm_takes_running_statistics(same_bits):
    net, (x, y) = network(frozen=(1,)), data()
    net.buffers["1.running_mean"] = np.linspace(-1, 1, 9)
    net.buffers["1.running_var"] = np.linspace(0.5, 2, 9)
    before = {key: np.array(value) for key, value in net.buffers.items()}
    value = net.evaluate(x, y, batch_size=60)["loss"]
    assert net.train_on_batch(x, y)["loss"] == pytest.approx(value, rel=1e-5)
    assert same_bits(before, {key: np.array(value) for key, value in net.buffers.items()})


def test_files_and_copies_keep_it(tmp_path, same_future):
    net, (x, y) = network(frozen=(0, 3)), data()
    net.fit(x, y, verbose=0)
    net.save(tmp_path / "net")
    for twin in (fm.load(tmp_path / "net"), copy.deepcopy(net)):
        assert [layer.trainable for layer in twin.layers] == [False, True, True, False, True, True]
        same_future(copy.deepcopy(net), twin)


def test_it_is_a_setting_of_every_layer():
    assert not Dense(3, trainable=False).trainable
    assert Dense(3, trainable=False).get_config()["trainable"] is False
    for layer in (BatchNorm(trainable=False), LayerNorm(trainable=False), Activation("prelu", trainable=False)):
        assert "trainable=False" in repr(layer)
