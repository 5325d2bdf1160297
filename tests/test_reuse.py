"""Trained layers in other networks: copies of layers, truncated networks, outputs of hidden layers."""

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Columns, Dense, Dropout, Embedding, Normalization, Parallel, Residual


class Pair(fm.layers.Layer):
    """Stands for two layers."""

    def compose(self, input_dim):
        return [Dense(input_dim, "tanh"), BatchNorm()]


class Shift(fm.layers.Layer):
    """Runs in NumPy."""

    def build(self, input_dim):
        self.add_parameter("by", (input_dim,), "ones")
        self.add_buffer("calls", (1,))
        return input_dim

    def forward(self, x, *, training, rng):
        self.buffers["calls"] += training
        return x + self.parameters["by"], lambda dy: (dy, {"by": dy.sum(axis=0)})


def layers():
    return [
        Dropout(0.1),
        Columns({0: Embedding(7, 3), (1, 2): [Normalization(mean=1, variance=2), Dense(4)]}, name="in"),
        Dense(6),
        BatchNorm(),
        Activation("relu"),
        Residual([Pair(name="pair"), Dense(6, "prelu")], name="block"),
        Parallel([[], Dense(2)]),
        Shift(),
        Dense(3, "softmax"),
    ][1:]


def data(rows=60, dtype="f4"):
    rng = np.random.default_rng(2)
    return rng.integers(0, 7, (rows, 3)).astype(dtype), rng.integers(0, 3, rows)


def trained(dtype="float32"):
    net = fm.Sequential(layers(), input_dim=3, dtype=dtype, seed=1)
    net.compile("adam", "sparse_categorical_crossentropy")
    x, y = data()
    net.fit(x, y, epochs=2, verbose=0)
    return net


def arrays(net):
    return {**net.parameters, **net.buffers}


# Copies


def test_copied_layers_keep_their_numbers_in_another_network(dtype):
    net = trained(dtype)
    twin = fm.Sequential([layer.copy() for layer in net.layers], input_dim=3, dtype=dtype, seed=99)
    assert arrays(twin).keys() == arrays(net).keys()
    for key, array in arrays(net).items():
        np.testing.assert_array_equal(arrays(twin)[key], array)
        assert not np.shares_memory(arrays(twin)[key], array)
    x, y = data()
    np.testing.assert_array_equal(twin.predict(x), net.predict(x))
    before = {key: array.copy() for key, array in arrays(net).items()}
    twin.compile("adam", "sparse_categorical_crossentropy")
    twin.fit(x, y, verbose=0)
    for key, array in arrays(net).items():
        np.testing.assert_array_equal(array, before[key])
    assert all(not layer.carried for layer in twin.layers)


def test_a_copy_stands_where_it_is_put_and_others_draw_as_ever():
    net = fm.Sequential([Dense(4, "relu"), Dense(2)], input_dim=3, seed=1)
    other = fm.Sequential([Dense(3), net.layers[0].copy(), Dense(2)], seed=1)
    plain = fm.Sequential([Dense(3), Dense(4, "relu"), Dense(2)], input_dim=5, seed=1)
    other.build(5)
    np.testing.assert_array_equal(other.parameters["1.kernel"], net.parameters["0.kernel"])
    for key in ("0.kernel", "2.kernel"):
        np.testing.assert_array_equal(other.parameters[key], plain.parameters[key])


def test_a_copy_is_of_the_moment_and_survives_its_network():
    net = fm.Sequential([Dense(4)], input_dim=3, seed=1)
    layer = net.layers[0].copy()
    before = net.parameters["0.kernel"].copy()
    net.parameters["0.kernel"][...] = 0
    del net
    for one in (layer.copy(), copy.deepcopy(fm.Sequential([layer.copy()])).layers[0].copy()):
        np.testing.assert_array_equal(fm.Sequential([one], input_dim=3).parameters["0.kernel"], before)


def test_settings_are_copied_and_frozen_by_themselves():
    net = fm.Sequential([Dense(4, name="first", trainable=False), Dense(2)], input_dim=3, seed=1)
    twin = net.layers[0].copy()
    assert (twin.name, twin.trainable, twin.built) == ("first", False, False)
    twin.trainable, twin.name = True, "other"
    assert not net.layers[0].trainable and net.layers[0].name == "first"
    new = fm.Sequential([twin, net.layers[1].copy()], input_dim=3, seed=2)
    new.compile("sgd", "mse")
    new.layers[0].trainable = False
    new.fit(np.ones((8, 3)), np.ones((8, 2)), verbose=0)
    np.testing.assert_array_equal(new.parameters["other.kernel"], net.parameters["first.kernel"])
    assert (new.parameters["1.kernel"] != net.parameters["1.kernel"]).any()


def test_a_copy_for_other_inputs_is_refused_and_the_network_stays_unbuilt():
    net = fm.Sequential([Residual([Dense(3)])], input_dim=3, seed=1)
    other = fm.Sequential([net.layers[0].copy()], seed=1)
    with pytest.raises(ValueError, match="give 3 columns, but take 4"):
        other.build(4)
    plain = fm.Sequential([fm.Sequential([Dense(2)], input_dim=3).layers[0].copy()], seed=1)
    with pytest.raises(ValueError, match=r"layer '0'.*'kernel' was of shape \(3, 2\).*\(4, 2\)"):
        plain.build(4)
    assert not plain.built
    plain.build(3)


def test_a_file_of_copies_that_are_not_built_is_refused(tmp_path):
    net = fm.Sequential([trained().layers[1].copy()])
    with pytest.raises(ValueError, match=r"call build\(n\) first"):
        net.save(tmp_path / "net")
    net.build(7)
    net.save(tmp_path / "net")


def test_what_was_never_built_is_copied_without_numbers():
    twin = fm.Sequential([Dense(3).copy()], input_dim=2, seed=5)
    plain = fm.Sequential([Dense(3)], input_dim=2, seed=5)
    np.testing.assert_array_equal(twin.parameters["0.kernel"], plain.parameters["0.kernel"])


# Truncated networks, outputs of all layers


def test_a_truncated_network_gives_the_outputs_of_a_hidden_layer(dtype):
    net, (x, _) = trained(dtype), data()
    outputs = net.layer_outputs(x)
    keys = ["in", "1", "2", "3", "block", "5", "6", "7"]
    assert [key for key in outputs if "." not in key] == keys
    for count, key in enumerate(keys, 1):
        short = net.truncate(count)
        assert len(short.layers) == count and (short.seed, short.dtype) == (net.seed, net.dtype)
        tolerance = {"rtol": 1e-5, "atol": 1e-6} if dtype == np.float32 else {"rtol": 1e-12, "atol": 1e-14}
        np.testing.assert_allclose(short.predict(x), outputs[key], **tolerance)
    np.testing.assert_allclose(outputs["7"], net.predict(x), **tolerance)


def test_a_truncated_network_shares_nothing():
    net, (x, _) = trained(), data()
    short, before = net.truncate(-2), net.predict(x)
    for array in arrays(short).values():
        array[...] = 0
    np.testing.assert_array_equal(net.predict(x), before)


def test_how_many_layers_to_keep():
    net = fm.Sequential([Dense(2), Dense(3, name="mid"), Dense(4)], input_dim=5, seed=1)
    assert [len(net.truncate(k).layers) for k in (1, 3, -1, -2, "mid")] == [1, 3, 2, 1, 2]
    for bad in (0, 4, -3, "other"):
        with pytest.raises(ValueError, match="k: "):
            net.truncate(bad)
    for bad in (1.0, None, True):
        with pytest.raises(TypeError, match="k: expected an integer"):
            net.truncate(bad)
    assert not fm.Sequential([Dense(2), Dense(3)]).truncate(1).built


def test_names_of_features_go_along():
    net = fm.Sequential([Dense(2), Dense(3)], input_dim=2, seed=1)
    net.feature_names = ["a", "b"]
    assert net.truncate(1).feature_names == ("a", "b")


def test_outputs_of_layers_inside_others_are_seen_too():
    net, (x, _) = trained(), data()
    outputs = net.layer_outputs(x)
    assert outputs["in.0.0"].shape == (60, 3)
    np.testing.assert_array_equal(outputs["in"], np.hstack([outputs["in.0.0"], outputs["in.1.1"]]))
    np.testing.assert_array_equal(outputs["block"], outputs["block.1"] + outputs["3"])
    np.testing.assert_array_equal(outputs["3"], np.maximum(outputs["2"], 0))
    assert "block.pair.1" in outputs


@pytest.mark.parametrize("rows", [0, 1, 1023, 1024, 2500])
def test_outputs_of_any_number_of_rows(rows):
    net = fm.Sequential([Dropout(0.5), Dense(3, "relu"), BatchNorm(), Dense(2)], input_dim=4, seed=1)
    x = np.random.default_rng(0).standard_normal((rows, 4)).astype("f4")
    outputs = net.layer_outputs(x)
    np.testing.assert_array_equal(outputs["0"], x)
    np.testing.assert_array_equal(outputs["1"], net.truncate(2).predict(x))
    assert outputs["3"].shape == (rows, 2)
    np.testing.assert_array_equal(net.layer_outputs(x[::-1])["3"][::-1], outputs["3"])
