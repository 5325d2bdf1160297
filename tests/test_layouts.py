"""Arrays that lie oddly in memory (at odd addresses, in another byte order, backwards) are as good as their copies."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense

ROWS = 20


def at_an_odd_address(a):
    found = np.frombuffer(bytearray(a.nbytes + 1), a.dtype, a.size, offset=1).reshape(a.shape)
    found[...] = a
    assert not found.flags.aligned
    return found


def with_odd_strides(a):
    """A field of packed records: rows lie a byte more apart than their numbers take."""
    found = np.zeros(len(a), np.dtype([("tag", "i1"), ("values", a.dtype, a.shape[1:])]))["values"]
    found[...] = a
    assert not found.flags.aligned
    return found


def read_only(a):
    found = a.copy()
    found.flags.writeable = False
    return found


LAYOUTS = {
    "at_an_odd_address": at_an_odd_address,
    "with_odd_strides": with_odd_strides,
    "in_another_byte_order": lambda a: a.astype(a.dtype.newbyteorder()),
    "from_the_last_row": lambda a: a[::-1].copy()[::-1],
    "from_the_last_column": lambda a: a[..., ::-1].copy()[..., ::-1],
    "with_gaps": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "by_columns": np.asfortranarray,
    "read_only": read_only,
}
layouts = pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)


def network(dtype, loss="mse"):
    layers = [Dense(5, "tanh"), BatchNorm(), Dense(3, None if loss == "mse" else "softmax")]
    net = fm.Sequential(layers, input_dim=4, dtype=dtype, seed=0)
    net.compile("adam", loss, metrics=["mae" if loss == "mse" else "accuracy"])
    return net


def data(dtype, loss):
    rng = np.random.default_rng(0)
    x, weights = rng.normal(size=(ROWS, 4)).astype(dtype), rng.uniform(0.5, 1, ROWS).astype(dtype)
    return x, rng.normal(size=(ROWS, 3)).astype(dtype) if loss == "mse" else rng.integers(0, 3, ROWS), weights


def used(net, x, y, weights):
    """Return what all calls that take data give, and the parameters after them."""
    results = [
        net.train_on_batch(x, y),
        net.train_on_batch(x, y, weights),
        net.fit(x, y, batch_size=7, verbose=0).history,
        net.fit(x, y, sample_weight=weights, batch_size=7, verbose=0, validation_data=(x, y, weights)).history,
        net.fit([(x, y), (x, y, weights)], verbose=0).history,
        net.evaluate(x, y, sample_weight=weights),
        net.predict(x).tolist(),
        net.predict(x[:1]).tolist(),
        net.vjp(x)[1](np.ones((ROWS, 3)))[1].tolist(),
        net.loss_and_gradients(x, y, weights)[0],
    ]
    return results, {key: array.tolist() for key, array in {**net.parameters, **net.buffers}.items()}


@layouts
@pytest.mark.parametrize("loss", ["mse", "sparse_categorical_crossentropy"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_data_in_any_layout(dtype, loss, layout):
    given = data(dtype, loss)
    assert used(network(dtype, loss), *map(layout, given)) == used(network(dtype, loss), *given)


@pytest.mark.filterwarnings("ignore:apply_gradients")  # a plain dict leaves running statistics
@layouts
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gradients_and_parameters_in_any_layout(dtype, layout):
    x, y, _ = data(dtype, "mse")
    one, other = network(dtype), network(dtype)
    _, gradients = one.loss_and_gradients(x, y)
    one.apply_gradients(gradients)
    other.apply_gradients({key: layout(array) for key, array in gradients.items()})
    for key, array in one.parameters.items():
        np.testing.assert_array_equal(other.parameters[key], array)
        other.parameters[key] = layout(2 * array)
        np.testing.assert_array_equal(other.parameters[key], 2 * array)
    other.optimizer_state["0.kernel"]["v"] = layout(one.parameters["0.kernel"] ** 2)
    np.testing.assert_array_equal(other.optimizer_state["0.kernel"]["v"], one.parameters["0.kernel"] ** 2)
    dy = np.linspace(-1, 1, 3 * ROWS).reshape(ROWS, 3).astype(dtype)
    np.testing.assert_array_equal(one.vjp(x)[1](layout(dy))[1], one.vjp(x)[1](dy)[1])


@layouts
def test_outputs_go_where_they_can_lie(layout):
    net, out = network("float32"), layout(np.zeros((ROWS, 3), np.float32))
    x = data("float32", "mse")[0]
    with pytest.raises(ValueError, match="out: expected"):
        net.predict(x, out=out)
    assert not out.any()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_that_are_all_the_same_memory(dtype):
    x, y, _ = data(dtype, "mse")
    for many in (np.broadcast_to(x[:1], x.shape), np.broadcast_to(x[:, :1], x.shape)):
        targets, weights = np.broadcast_to(y[:1], y.shape), np.broadcast_to(np.full(1, 0.5, dtype), ROWS)
        copies = (many.copy(), targets.copy(), weights.copy())
        assert used(network(dtype), many, targets, weights) == used(network(dtype), *copies)
    labels = np.broadcast_to(np.int64(2), ROWS)
    loss = "sparse_categorical_crossentropy"
    assert used(network(dtype, loss), x, labels, weights) == used(
        network(dtype, loss), x, labels.copy(), weights.copy()
    )
