"""Running statistics of batch norm: a single row never moves them, and loops of one's own move them as `fit` does."""

import copy
import pickle
import warnings

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense, Layer, Residual

RNG = np.random.default_rng(11)
X, Y = RNG.normal(size=(24, 3)), RNG.normal(size=(24, 2))


def network(dtype="float64", layers=None, optimizer="adam", **settings):
    layers = layers or [Dense(5), BatchNorm(momentum=0.7, **settings), Dense(4, "tanh"), BatchNorm(), Dense(2)]
    net = fm.Sequential(layers, input_dim=3, seed=3, dtype=dtype)
    net.compile(optimizer, "mse")
    return net


def buffers(net):
    return {key: view.copy() for key, view in net.buffers.items()}


def by_hand(net, x, y):
    net.apply_gradients(net.loss_and_gradients(x, y)[1])


def by_vjp(net, x, y):
    outputs, backward = net.vjp(x, training=True)
    net.apply_gradients(backward(2 * (outputs - y) / y.size)[0])


ONE_ROW = {
    "train_on_batch": lambda net: net.train_on_batch(X[:1].astype(net.dtype), Y[:1].astype(net.dtype)),
    "general path": lambda net: net.train_on_batch(X[:1].tolist(), Y[:1].tolist(), [2.0]),
    "last batch of fit": lambda net: net.fit(X[:4], Y[:4], batch_size=3, shuffle=False, steps_per_epoch=2),
    "iterable": lambda net: net.fit([(X[:3], Y[:3]), (X[:1], Y[:1])]),
    "loss_and_gradients": lambda net: by_hand(net, X[:1], Y[:1]),
    "vjp": lambda net: by_vjp(net, X[:1], Y[:1]),
}


@pytest.mark.parametrize("call", ONE_ROW)
def test_one_row_moves_no_running_statistics(call, dtype, same_bits, snapshot):
    net, twin = network(dtype), network(dtype)
    if call in ("last batch of fit", "iterable"):
        twin.train_on_batch(X[:3].astype(dtype), Y[:3].astype(dtype))
    before, expected = snapshot(net), buffers(twin)
    ONE_ROW[call](net)
    assert same_bits(buffers(net), expected)
    assert not np.array_equal(net.parameters["4.bias"], before["4.bias"])  # the rest of the step is done
    assert not np.array_equal(net.parameters["3.beta"], before["3.beta"])


@pytest.mark.parametrize("rows", [33, 65, 97])
def test_a_last_row_alone_leaves_the_variance(rows):
    x = np.random.default_rng(0).normal(size=(rows, 4))
    found = []
    for n in (rows, rows - 1):
        net = fm.Sequential([BatchNorm(), Dense(1)], input_dim=4, seed=0, dtype="float64")
        net.compile(fm.optimizers.SGD(0.0), "mse")
        net.fit(x[:n], np.zeros(n), batch_size=32, shuffle=False, epochs=9)
        found.append(net.buffers["0.running_var"].copy())
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("layers", "rows", "batch_size"),
    [
        ([BatchNorm(), Dense(2)], 24, 1),
        ([Dense(3), Residual([Dense(3), BatchNorm()]), Dense(2)], 7, 1),
        ([Dense(2), BatchNorm()], 1, 32),
    ],
)
def test_fit_refuses_batches_of_one_row(layers, rows, batch_size, says, snapshot, same_bits):
    net = network(layers=layers)
    before = snapshot(net)
    with pytest.raises(ValueError) as caught:
        net.fit(X[:rows], Y[:rows], batch_size=batch_size)
    says(caught.value, "BatchNorm", "2 rows", "batch_size", "LayerNorm", "trainable=False")
    assert same_bits(snapshot(net), before)
    assert net.engine.counters() == {"steps": 0, "iterations": 0, "epochs": 0}


def test_a_refused_first_fit_builds_nothing():
    net = fm.Sequential([BatchNorm(), Dense(2)], seed=0)
    net.compile("sgd", "mse")
    with pytest.raises(ValueError, match="2 rows"):
        net.fit(X, Y, batch_size=1)
    assert not net.built


def test_frozen_batch_norm_takes_one_row():
    net = network(layers=[Dense(3), BatchNorm(trainable=False), Dense(2)])
    assert len(net.fit(X, Y, batch_size=1, epochs=2).history["loss"]) == 2


@pytest.mark.parametrize("batches", [[(X[:1], Y[:1])], [(X[k : k + 1], Y[k : k + 1]) for k in range(5)]])
def test_an_iterable_of_single_rows_is_told(batches):
    net = network()
    before = buffers(net)
    with pytest.warns(UserWarning, match=r"all batches of epoch 1 have one row, .*BatchNorm") as told:
        net.fit(iter(batches))
    assert told[0].filename == __file__
    assert all(np.array_equal(before[key], array) for key, array in net.buffers.items())
    network(layers=[Dense(2)]).fit(batches)


class Whiten(Layer):
    """A layer in Python that says that it takes statistics of the batch, and keeps some."""

    batch_statistics = True

    def build(self, input_dim):
        self.add_buffer("seen", (input_dim,), 0.5)
        return input_dim

    def forward(self, x, *, training, rng):
        if training:
            self.buffers["seen"] += x.mean(axis=0)
        return x - x.mean(axis=0), lambda dy: (dy - dy.mean(axis=0), {})


def test_layers_of_ones_own_may_refuse_one_row():
    net = network(layers=[Whiten(), Dense(2)])
    with pytest.raises(ValueError, match="2 rows"):
        net.fit(X, Y, batch_size=1)


# -- loops of one's own ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "rmsprop"])
def test_own_loops_leave_the_bits_of_train_on_batch(optimizer, dtype, same):
    net, twin = network(dtype, optimizer=optimizer), network(dtype, optimizer=optimizer)
    x, y = X.astype(dtype), Y.astype(dtype)
    for rows in (slice(0, 8), slice(8, 11), slice(11, 12), slice(12, 24)):
        twin.train_on_batch(x[rows], y[rows])
        by_hand(net, x[rows], y[rows])
        same(net, twin)


def test_steps_by_vjp_leave_the_statistics_of_train_on_batch(dtype, same_bits):
    """Of one step: gradients are rounded otherwise than those of the loss."""
    net, twin = network(dtype), network(dtype)
    x, y = X.astype(dtype), Y.astype(dtype)
    twin.train_on_batch(x, y)
    by_vjp(net, x, y)
    assert same_bits(buffers(net), buffers(twin))


def test_gradients_carry_mean_and_variance():
    net = network(layers=[BatchNorm(), Dense(2)])
    _, gradients = net.loss_and_gradients(X, Y)
    assert gradients.keys() == net.parameters.keys()
    assert gradients.statistics.keys() == net.buffers.keys()
    assert gradients.statistics["0.running_mean"] == pytest.approx(X.mean(axis=0), rel=1e-12)
    assert gradients.statistics["0.running_var"] == pytest.approx(X.var(axis=0), rel=1e-12)
    _, backward = net.vjp(X)  # by running statistics
    assert backward(np.zeros_like(Y))[0].statistics == {}
    assert net.loss_and_gradients(X[:1], Y[:1])[1].statistics == {}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda found: pickle.loads(pickle.dumps(found))])
def test_gradients_are_copied_whole(duplicate):
    net = network()
    found = net.loss_and_gradients(X, Y)[1]
    again = duplicate(found)
    assert type(again) is type(found)
    assert again.keys() == found.keys()
    assert again.statistics.keys() == found.statistics.keys()


def test_gradients_changed_in_place_keep_their_statistics(same_bits):
    net, twin = network(), network()
    _, gradients = net.loss_and_gradients(X, Y)
    for key in gradients:
        gradients[key] = 2 * gradients[key]
    net.apply_gradients(gradients)
    twin.train_on_batch(X, Y)
    assert same_bits(buffers(net), buffers(twin))


def test_a_plain_dict_warns_once(same_bits):
    net = network()
    before = buffers(net)
    plain = dict(net.loss_and_gradients(X, Y)[1])
    with pytest.warns(UserWarning, match="running statistics") as told:
        net.apply_gradients(plain)
    assert told[0].filename == __file__
    net.apply_gradients(plain)
    assert same_bits(buffers(net), before)


def test_a_plain_dict_is_all_that_others_need():
    for layers in ([Dense(2)], [BatchNorm(trainable=False), Dense(2)]):
        net = network(layers=layers)
        net.apply_gradients({key: np.ones_like(view) for key, view in net.parameters.items()})
        assert net.engine.steps == 1


def test_buffers_that_layers_in_python_write():
    net, twin = network(layers=[Whiten(), Dense(2)]), network(layers=[Whiten(), Dense(2)])
    twin.train_on_batch(X, Y)
    _, gradients = net.loss_and_gradients(X, Y)
    assert np.array_equal(net.buffers["0.seen"], np.full(3, 0.5))
    net.apply_gradients(gradients)
    assert np.array_equal(net.buffers["0.seen"], twin.buffers["0.seen"])


CHANGES = {
    "unknown": (lambda found: found.update({"9.mean": np.zeros(3)}), ValueError, "9.mean"),
    "missing": (lambda found: found.pop("0.running_var"), ValueError, "missing.*0.running_var"),
    "shape": (lambda found: found.update({"0.running_mean": np.zeros(4)}), ValueError, r"\(3,\).*\(4,\)"),
    "NaN": (lambda found: found["0.running_mean"].fill(np.nan), fm.NonFiniteError, "0.running_mean"),
    "text": (lambda found: found.update({"0.running_mean": np.array(["a"] * 3)}), TypeError, "0.running_mean"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_statistics_are_checked_before_anything_changes(change, snapshot, same_bits, says):
    alter, error, word = CHANGES[change]
    net = network(layers=[BatchNorm(), Dense(2)])
    _, gradients = net.loss_and_gradients(X, Y)
    alter(gradients.statistics)
    before = snapshot(net)
    with pytest.raises(error) as caught:
        net.apply_gradients(gradients)
    says(caught.value, word)
    assert same_bits(snapshot(net), before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net.apply_gradients(dict(gradients))  # and it can be used


def test_statistics_of_a_layer_that_was_frozen_since_are_passed_over(same_bits):
    net = network(layers=[BatchNorm(), Dense(2)])
    _, gradients = net.loss_and_gradients(X, Y)
    net.layers[0].trainable = False
    before = buffers(net)
    net.apply_gradients(gradients)
    assert same_bits(buffers(net), before)
