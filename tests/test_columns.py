"""Embedding, Columns and Parallel: values, gradients, bits at any number of threads, files, and what is refused."""

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, BatchNorm, Columns, Dense, Dropout, Embedding, GaussianNoise, Parallel, Residual


def wide(merge):
    def make():
        deep = [Dense(6, "tanh"), Dropout(0.2), Dense(3)]
        chains = [[Dense(3), Dropout(0.3)], Dense(3), deep, [Dense(3, "relu")]]
        return [Embedding(7, 2), Parallel(chains, merge=merge), Dense(3)]

    return make


STACKS = {  # on five columns of ids from 0 to 6
    "embedding first": lambda: [Embedding(7, 3), Dense(6, "tanh"), Dense(3)],
    "columns": lambda: [
        Columns({0: Embedding(7, 3), (2, 1): [Embedding(9, 2), Dense(4, "tanh")], range(3, 5): BatchNorm()}),
        Dense(3),
    ],
    "passed on": lambda: [Columns([([1], Embedding(7, 3)), ([3, 1, 3], [])], remainder="passthrough"), Dense(3)],
    "dropped": lambda: [Columns([(4, Dense(2, "tanh"))], remainder="drop"), Dense(3)],
    "columns within": lambda: [
        Dense(6, "relu"),
        Columns({(0, 2): Dense(4, "relu"), (1, 2, 3): Activation("relu")}, remainder="passthrough"),
        Dense(3),
    ],
    "columns within columns": lambda: [
        Columns({(4, 2, 0): Columns({2: Embedding(7, 2), (0, 1): Dense(2)}), (1, 3): Embedding(7, 1)}),
        Dense(3),
    ],
    "wide and deep": wide("concatenate"),
    "wide and deep, added": wide("add"),
    "inputs beside": lambda: [Parallel([[], [Dense(4, "relu"), GaussianNoise(0.1)]]), Dense(3)],
    "last": lambda: [Dense(5, "relu"), Parallel([Dense(1), [Activation("relu"), Dense(2, "tanh")]])],
    "added in a residual": lambda: [
        Dense(4, "relu"),
        Residual([Parallel([[], Activation("tanh"), [Dense(4), Dropout(0.1)]], merge="add")]),
        Dense(3),
    ],
    "beside each other in a residual": lambda: [
        Dense(4),
        Residual([Parallel([[Dense(2), Dropout(0.1)], [Dense(2), Activation("tanh")]])]),
        Dense(3),
    ],
    "a single branch": lambda: [Parallel([[Embedding(7, 2), Dense(4)]]), Dense(3)],
}
stack = pytest.mark.parametrize("stack", STACKS)


def network(stack, **settings):
    net = fm.Sequential(STACKS[stack](), input_dim=5, seed=1, **settings)
    net.compile(fm.optimizers.SGD(0.01, momentum=0.9), "mean_squared_error")
    return net


def data(rows=40, dtype=float):
    rng = np.random.default_rng(2)
    return rng.integers(0, 7, (rows, 5)).astype(dtype), rng.standard_normal((rows, 3)).astype(dtype)


@stack
@pytest.mark.parametrize("fused", [True, False])
def test_gradients_are_those_of_finite_differences(stack, fused, fuse):
    fuse(fused)
    net, (x, y) = network(stack, dtype="float64"), data()
    for key, w in net.parameters.items():  # off the kinks of relu, which lie at whole numbers
        w += 0.3 * np.random.default_rng(len(key)).standard_normal(w.shape)
    _, gradients = net.loss_and_gradients(x, y)
    assert gradients.keys() == set(net.parameters)
    h = 1e-5
    for key, w in net.parameters.items():
        for at in list(np.ndindex(w.shape))[:8]:
            before, found = w[at], []
            for step in (1, -1, 2, -2):
                w[at] = before + step * h
                found.append(net.loss_and_gradients(x, y)[0])
            w[at] = before
            slope = (8 * (found[0] - found[1]) - found[2] + found[3]) / 12 / h
            assert gradients[key][at] == pytest.approx(slope, rel=1e-6, abs=1e-8)


@stack
def test_the_gradient_of_the_input_adds_up(stack):
    net, (x, _) = network(stack, dtype="float64"), data()
    ids = net.engine.network.ids
    x = x + np.where(np.isin(np.arange(5), list(ids)), 0, 0.25)
    outputs, backward = net.vjp(x)
    dy = np.cos(np.arange(outputs.size)).reshape(outputs.shape)
    _, d_input = backward(dy)
    h = 1e-6
    for at in [(row, column) for row in (0, 7, 39) for column in range(5)]:
        if at[1] in ids and stack != "passed on":
            assert d_input[at] == 0
        elif at[1] not in ids:
            sides = []
            for step in (h, -h):
                moved = x.copy()
                moved[at] += step
                sides.append((net.vjp(moved)[0] * dy).sum())
            assert d_input[at] == pytest.approx((sides[0] - sides[1]) / 2 / h, abs=1e-6)


@stack
def test_the_same_bits_in_any_schedule_and_at_any_number_of_threads(stack, same_in_any_schedule):
    same_in_any_schedule(lambda: network(stack), *data(300, "f4"))


@stack
def test_files_and_copies_go_on_to_the_same_bits(stack, tmp_path, same_future):
    net, (x, y) = network(stack), data(dtype="f4")
    net.fit(x, y, verbose=0)
    assert "all operations run compiled" in repr(net)
    net.save(tmp_path / "net")
    for twin in (fm.load(tmp_path / "net"), copy.deepcopy(net)):
        assert twin.engine.network.ids == net.engine.network.ids
        twin.fit(x, y, verbose=0)
        other = copy.deepcopy(net)
        other.fit(x, y, verbose=0)
        for key, w in other.parameters.items():
            np.testing.assert_array_equal(twin.parameters[key], w)


@stack
def test_all_of_it_can_be_frozen_between_fits(stack):
    net, (x, y) = network(stack), data(dtype="f4")
    net.layers[0].trainable = False
    before = {key: w.copy() for key, w in net.parameters.items()}
    net.fit(x, y, verbose=0)
    mine = [key for key in before if key.startswith("0.")]
    assert mine or stack in ("inputs beside",)
    for key in mine:
        np.testing.assert_array_equal(net.parameters[key], before[key])
    assert any((net.parameters[key] != before[key]).any() for key in before)
    net.layers[0].trainable = True
    net.fit(x, y, verbose=0)
    assert all((net.parameters[key] != before[key]).any() for key in mine if "bias" not in key)


# Values


def test_embedding_gives_rows_of_its_table(dtype):
    net = fm.Sequential([Embedding(5, 3)], input_dim=2, dtype=dtype, seed=0)
    table = net.parameters["0.embeddings"]
    assert np.abs(table).max() <= 0.05 and np.unique(table).size == 15
    x = np.array([[0, 4], [2, 2], [4, 1]])
    np.testing.assert_array_equal(net.predict(x), table[x].reshape(3, 6))
    np.testing.assert_array_equal(net.predict(x.astype("u1")), table[x].reshape(3, 6))


def test_the_gradient_of_a_table_is_summed_in_the_order_of_rows(dtype):
    rng = np.random.default_rng(0)
    net = fm.Sequential([Embedding(6, 4)], input_dim=3, dtype=dtype, seed=0)
    x, dy = rng.integers(0, 5, (500, 3)), rng.standard_normal((500, 12)).astype(dtype)
    expected = np.zeros((6, 4), dtype)
    for row, gradient in zip(x, dy, strict=True):
        for k, part in zip(row, gradient.reshape(3, 4), strict=True):
            expected[k] += part
    for threads in (1, 2, 5):
        with fm.num_threads(threads):
            np.testing.assert_array_equal(net.vjp(x)[1](dy)[0]["0.embeddings"], expected)


def test_a_table_is_penalized():
    net = fm.Sequential([Embedding(4, 2, embeddings_regularizer="l2")], input_dim=1, dtype="float64", seed=0)
    net.compile("sgd", "mean_squared_error")
    x, table = np.zeros((3, 1)), net.parameters["0.embeddings"]
    plain = ((net.predict(x) - 1) ** 2).mean()
    assert net.evaluate(x, np.ones((3, 2)))["loss"] == pytest.approx(plain + 0.01 * (table**2).sum())


def test_a_table_is_constrained():
    net = fm.Sequential([Embedding(4, 2, embeddings_constraint="non_neg")], input_dim=1, seed=0)
    net.compile("sgd", "mean_squared_error")
    net.train_on_batch(np.array([[0], [2], [3]]), -np.ones((3, 2)))
    assert (net.parameters["0.embeddings"] >= 0).all()


def test_columns_go_side_by_side_in_their_order():
    table = np.arange(8.0).reshape(4, 2)
    layer = Columns([((2, 0), []), (1, Embedding(4, 2))], remainder="passthrough")
    net = fm.Sequential([layer], input_dim=5, dtype="float64", seed=0)
    net.parameters["0.1.0.embeddings"] = table
    x = np.array([[10, 3, 12, 13, 14], [20, 1, 22, 23, 24]])
    np.testing.assert_array_equal(net.predict(x), [[12, 10, 6, 7, 13, 14], [22, 20, 2, 3, 23, 24]])
    assert layer.units == 6


def test_branches_are_added_or_stand_side_by_side(dtype):
    x = data(dtype=dtype)[0]
    for merge, joined in (("add", sum), ("concatenate", np.hstack)):
        net = fm.Sequential([Parallel([Dense(3), Dense(3, "tanh")], merge=merge)], input_dim=5, dtype=dtype, seed=3)
        p = net.parameters
        one = x @ p["0.0.0.kernel"] + p["0.0.0.bias"]
        two = np.tanh(x @ p["0.1.0.kernel"] + p["0.1.0.bias"])
        np.testing.assert_allclose(net.predict(x), joined([one, two]), rtol=1e-4, atol=1e-5)


def test_rows_of_predict_stand_alone():
    net, (x, _) = network("columns"), data(70, "f4")
    whole = net.predict(x)
    for row in (0, 33, 69):
        np.testing.assert_array_equal(net.predict(x[row : row + 1]), whole[row : row + 1])


def test_ids_pass_the_conformance_kit():
    fm.testing.check(Embedding)


# What is refused


@pytest.mark.parametrize("bad", [-1, 7, 2.5, np.nan, np.inf, 1e30])
def test_numbers_that_are_no_ids_are_refused_before_anything_changes(bad, contents):
    net, (x, y) = network("columns"), data(dtype="f4")
    net.fit(x, y, verbose=0)
    net.predict(x)
    before, bad_x = contents(net), x.copy()
    bad_x[33, 0] = bad
    calls = (
        lambda: net.fit(bad_x, y, verbose=0),
        lambda: net.fit(x, y, validation_data=(bad_x, y), verbose=0),
        lambda: net.train_on_batch(bad_x, y),
        lambda: net.predict(bad_x),
        lambda: net.evaluate(bad_x, y),
        lambda: net.vjp(bad_x),
        lambda: net.loss_and_gradients(bad_x, y),
    )
    for call in calls:
        with pytest.raises(ValueError, match="column 0"):
            call()
        assert contents(net) == before


def test_batches_of_an_iterable_are_looked_at_too():
    net, (x, y) = network("embedding first"), data(dtype="f4")
    with pytest.raises(ValueError, match="column 4 holds ids"):
        net.fit([(x, y), (x + np.array([0, 0, 0, 0, 7], "f4"), y)], verbose=0)


def test_ids_that_are_written_after_the_check_stop_the_step():
    net, (x, y) = network("embedding first"), data(dtype="f4")

    class Spoil(fm.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            x[5, 1] = 1e9 if epoch else x[5, 1]

    with pytest.raises(fm.NonFiniteError):
        net.fit(x, y, epochs=3, callbacks=[Spoil()], verbose=0)
    assert all(np.isfinite(w).all() for w in net.parameters.values())


def test_ids_that_the_dtype_does_not_hold_are_refused():
    net = fm.Sequential([Embedding(2**24 + 3, 1, embeddings_initializer="zeros")], input_dim=1, seed=0)
    assert net.predict([[2**24]]) == 0
    for bad in (np.array([[2**24 + 1]]), np.array([[2.0**24 + 2]])):
        with pytest.raises(ValueError, match=r"float32 none beyond 16777216 exactly.*use float64"):
            net.predict(bad)


def test_an_id_is_known_by_the_smaller_of_two_tables():
    net = fm.Sequential([Parallel([Embedding(5, 1), Embedding(3, 1)])], input_dim=1, seed=0)
    net.predict([[2]])
    with pytest.raises(ValueError, match="from 0 to 2, got 3"):
        net.predict([[3]])


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [Dense(2), Embedding(3, 2)],
        lambda: [Dropout(0.1), Embedding(3, 2)],
        lambda: [Columns({0: [Embedding(3, 2), Embedding(3, 2)]}, remainder="drop")],
        lambda: [Parallel([[], []]), Embedding(3, 2)],
    ],
)
def test_ids_are_read_from_the_data_alone(layers):
    with pytest.raises(ValueError, match="a layer before it computes"):
        fm.Sequential(layers(), input_dim=2)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Columns({}), TypeError, "at least one pair"),
        (lambda: Columns(3), TypeError, "mapping of columns"),
        (lambda: Columns(["ab"]), TypeError, "at least one pair"),
        (lambda: Columns({-1: Dense(2)}), ValueError, "at least 0"),
        (lambda: Columns({"a": Dense(2)}), TypeError, "integer"),
        (lambda: Columns({(): Dense(2)}), ValueError, "at least one number"),
        (lambda: Columns([(slice(2, None), Dense(2))]), ValueError, "slice with an end"),
        (lambda: Columns({0: 5}), TypeError, "layer or a list"),
        (lambda: Columns({0: []}, remainder="rest"), ValueError, "'passthrough'"),
        (lambda: Parallel([]), ValueError, "at least one"),
        (lambda: Parallel(Dense(2)), TypeError, "list of layers"),
        (lambda: Parallel([[Dense(2)], 3]), TypeError, "layer or a list"),
        (lambda: Parallel([[]], merge="sum"), ValueError, "'add'"),
        (lambda: Embedding(0, 2), ValueError, "input_dim"),
        (lambda: Embedding(3, 2.0), TypeError, "output_dim"),
    ],
)
def test_arguments_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_settings_of_an_embedding_are_fixed_once_it_is_built(tmp_path):
    other = {"input_dim": 9, "output_dim": 3, "embeddings_initializer": "ones", "embeddings_regularizer": "l2"}
    for name, value in other.items():
        layer = Embedding(8, 2)
        setattr(layer, name, value)
        net = fm.Sequential([layer], input_dim=1, seed=0)
        net.save(tmp_path / "net")
        assert fm.load(tmp_path / "net").layers[0].get_config()[name] == layer.get_config()[name]
        with pytest.raises(AttributeError, match="can't be changed"):
            setattr(layer, name, 5 if "dim" in name else "l1" if "reg" in name else "zeros")


def test_layers_live_in_one_place():
    shared = Dense(2)
    with pytest.raises(ValueError, match="stands twice"):
        Parallel([shared, [Dense(3), shared]])
    Parallel([shared])
    with pytest.raises(ValueError, match="belongs to another"):
        Columns({0: shared})


def test_what_does_not_fit_is_refused_when_it_is_built():
    with pytest.raises(ValueError, match="nobody takes the columns 1, 3"):
        fm.Sequential([Columns({(0, 2): []})], input_dim=4)
    with pytest.raises(ValueError, match="column 5 is named, but there are 4"):
        fm.Sequential([Columns({(0, 5): []}, remainder="drop")], input_dim=4)
    with pytest.raises(ValueError, match="can't be added"):
        fm.Sequential([Parallel([Dense(2), Dense(3)], merge="add")], input_dim=4)
