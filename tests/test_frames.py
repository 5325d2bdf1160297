"""Frames: numbers of their columns, nullable ones too, and names that a network remembers. By stand-ins of pandas and
polars that speak their protocols: ``columns``, ``__array__``, ``dtype.kind``, ``to_numpy``."""

import copy
import pickle
from types import SimpleNamespace

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import frames
from fastmlp.layers import Dense

RNG = np.random.default_rng(6)
NAMES = ["height", "mass", "age"]
X, Y = RNG.normal(size=(20, 3)), RNG.normal(size=20)


class Column:
    """A series: plain, or of a nullable type, whose array holds objects."""

    def __init__(self, values, kind=None):
        self.values, self.nullable = values, kind is not None
        self.dtype = SimpleNamespace(kind=kind) if kind else np.asarray(values).dtype

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, object if self.nullable else dtype)

    def __len__(self):
        return len(self.values)

    def to_numpy(self, dtype, na_value):
        return np.array([na_value if value is None else value for value in self.values], dtype)


class Frame:
    """A table: `columns` maps names to columns, or lists them as pairs where two have one name."""

    def __init__(self, columns):
        pairs = list(columns.items() if isinstance(columns, dict) else columns)
        self.columns, self.parts = [name for name, _ in pairs], [part for _, part in pairs]

    def __array__(self, dtype=None, copy=None):
        parts = [np.asarray(part) for part in self.parts]
        kinds = "".join({part.dtype.kind for part in parts})
        alike = len(kinds) == 1 or set(kinds) <= set("fiu")
        return np.stack(parts if alike else [part.astype(object) for part in parts], 1)

    def __getitem__(self, name):
        return self.parts[self.columns.index(name)]

    def __len__(self):
        return len(self.parts[0])


def frame(names=NAMES, x=X):
    order = [NAMES.index(name) if name in NAMES else 0 for name in names]
    return Frame([(name, Column(x[:, at])) for name, at in zip(names, order, strict=True)])


def network(names=None, inputs=3):
    net = fm.Sequential([Dense(1)], input_dim=inputs, seed=0)
    net.compile("sgd", "mse")
    net.feature_names = names
    return net


CALLS = {
    "fit": lambda net, x: net.fit(x, Y),
    "fit again": lambda net, x: (net.fit(frame(), Y), net.fit(x, Y)),
    "train_on_batch": lambda net, x: net.train_on_batch(x, Y),
    "iterable": lambda net, x: net.fit([(x, Y)]),
    "later batch": lambda net, x: net.fit([(frame(), Y), (x, Y)]),
    "validation_data": lambda net, x: net.fit(X, Y, validation_data=(x, Y)),
    "evaluate": lambda net, x: net.evaluate(x, Y),
    "predict": lambda net, x: net.predict(x),
    "call": lambda net, x: net(x),
    "loss_and_gradients": lambda net, x: net.loss_and_gradients(x, Y),
    "vjp": lambda net, x: net.vjp(x),
    "profile": lambda net, x: net.profile(x),
}
OTHERS = {
    "another order": (["mass", "height", "age"], ["'mass', 'height', 'age'"]),
    "missing": (["height", "mass"], [r"missing \['age'\]"]),
    "additional": ([*NAMES, "shoe"], [r"extra \['shoe'\]"]),
    "renamed": (["height", "mass", "Age"], [r"missing \['age'\]", r"extra \['Age'\]"]),
    "twice": (["height", "mass", "mass"], [r"missing \['age'\]", r"twice \['mass'\]"]),
}


# -- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", OTHERS)
def test_other_columns_are_refused(call, what, says):
    names, words = OTHERS[what]
    net = network(NAMES)
    with pytest.raises(ValueError) as caught:
        CALLS[call](net, frame(names))
    says(caught.value, "'height', 'mass', 'age'", *words, r"net\.feature_names = None")
    assert net.feature_names == tuple(NAMES)


@pytest.mark.parametrize("call", CALLS)
def test_the_same_columns_and_arrays_are_taken(call):
    for x in (frame(), X, X.tolist(), Frame([(number, Column(X[:, number])) for number in range(3)])):
        net = network(NAMES)
        CALLS[call](net, x)
        assert net.feature_names == tuple(NAMES)


@pytest.mark.parametrize("call", ["fit", "train_on_batch", "iterable"])
def test_training_remembers_names(call):
    net = network()
    CALLS[call](net, frame())
    assert net.feature_names == tuple(NAMES)


@pytest.mark.parametrize("call", ["evaluate", "predict", "loss_and_gradients", "vjp", "validation_data", "profile"])
def test_other_calls_remember_none(call):
    net = network()
    CALLS[call](net, frame())
    assert net.feature_names is None


def test_names_within_one_call_of_fit(says):
    net = network()
    with pytest.raises(ValueError) as caught:
        net.fit(frame(), Y, validation_data=(frame(["age", "mass", "height"]), Y))
    says(caught.value, "'height', 'mass', 'age'", "'age', 'mass', 'height'")
    assert net.feature_names is None
    assert net.engine.steps == 0


@pytest.mark.parametrize(
    "refused",
    [
        lambda net: net.fit(frame(), Y[:-1]),
        lambda net: net.train_on_batch(frame(), [["a"]] * 20),
        lambda net: net.fit(frame(), Y, validation_data=3),
        lambda net: net.fit(frame(["mass", "mass", "age"]), Y),
    ],
)
def test_a_call_that_is_refused_leaves_no_names(refused):
    net = network()
    with pytest.raises((TypeError, ValueError)):
        refused(net)
    assert net.feature_names is None


def test_two_columns_of_one_name_are_refused_by_name():
    with pytest.raises(ValueError, match=r"the same name: \['mass'\]"):
        network().fit(frame(["mass", "mass", "age"]), Y)


def test_none_lets_the_next_training_say_the_names():
    net = network(NAMES)
    net.feature_names = None
    other = ["age", "mass", "height"]
    net.fit(frame(other), Y)
    assert net.feature_names == tuple(other)
    net.compile("adam", "mse")
    assert net.feature_names == tuple(other)


@pytest.mark.parametrize("names", [[2, 0, 1], [10, 20, 30]])
def test_columns_named_by_numbers(names):
    parts = [Column(X[:, at]) for at in range(3)]
    net = network()
    net.fit(Frame(zip(names, parts, strict=True)), Y)
    assert net.feature_names == tuple(names)
    net.predict(Frame(zip(map(np.int64, names), parts, strict=True)))
    with pytest.raises(ValueError, match="expected the columns"):
        net.predict(Frame(zip(range(3), parts, strict=True)))


@pytest.mark.parametrize(
    "names, error",
    [
        ("abc", TypeError),
        (3, TypeError),
        (["a", None, "c"], TypeError),
        ([True, "b", "c"], TypeError),
        (["a", "b"], ValueError),
        (["a", "a", "c"], ValueError),
    ],
)
def test_names_that_are_none(names, error):
    net = network(NAMES)
    with pytest.raises(error, match="feature_names"):
        net.feature_names = names
    assert net.feature_names == tuple(NAMES)


def test_names_before_the_network_is_built(says):
    net = fm.Sequential([Dense(1)], seed=0)
    net.compile("sgd", "mse")
    net.feature_names = NAMES
    with pytest.raises(ValueError) as caught:
        net.fit(RNG.normal(size=(4, 5)), Y[:4])
    says(caught.value, "there are 3", "5 features")
    net.fit(frame(), Y)


def test_names_of_wide_tables_are_cut():
    wide = [f"column {number}" for number in range(3000)]
    with pytest.raises(ValueError, match="and 2988 more") as caught:
        frames.check_order("x", tuple(reversed(wide)), tuple(wide), "feature_names")
    assert len(str(caught.value)) < 1200


@pytest.mark.parametrize("again", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), "file"])
@pytest.mark.parametrize("names", [NAMES, None, ["größe", "mass\n", 7]])
def test_names_are_kept(again, names, tmp_path):
    net = network(names)
    if again == "file":
        net.save(tmp_path / "net.npz")
        twin = fm.load(tmp_path / "net.npz")
    else:
        twin = again(net)
    assert twin.feature_names == net.feature_names == (None if names is None else tuple(names))


@pytest.mark.parametrize(
    "names", ["abc", 3, ["a", "b"], ["a", "a", "b"], [None] * 3, {"a": 1, "b": 2, "c": 3}.items, [["a"], "b", "c"]]
)
def test_damaged_names(names, tmp_path, rewrite, refused):
    names = list(names()) if callable(names) else names
    network(NAMES).save(tmp_path / "net.npz")
    refused(rewrite(tmp_path / "net.npz", lambda header: header.update(feature_names=names)), "feature_names")


def test_files_without_names_load(tmp_path, rewrite):
    network(NAMES).save(tmp_path / "net.npz")
    assert (
        fm.load(rewrite(tmp_path / "net.npz", lambda header: header.pop("feature_names") and None)).feature_names
        is None
    )


# -- targets ---------------------------------------------------------------------------------------------------------


def several(names):
    return frame(names, np.tile(Y[:, None], 3))


Y_CALLS = {
    "fit": lambda net, y: net.fit(X, y),
    "train_on_batch": lambda net, y: net.train_on_batch(X, y),
    "iterable": lambda net, y: net.fit([(X, y)]),
    "evaluate": lambda net, y: net.evaluate(X, y),
    "validation_data": lambda net, y: net.fit(X, several(NAMES), validation_data=(X, y)),
}


@pytest.mark.parametrize("call", Y_CALLS)
def test_targets_in_another_order(call, says, tmp_path):
    net = fm.Sequential([Dense(3)], input_dim=3, seed=0)
    net.compile("sgd", "mse")
    net.fit(X, several(NAMES))
    assert net.target_names == tuple(NAMES)
    assert net.feature_names is None
    net.save(tmp_path / "net")
    for one in (net, fm.load(tmp_path / "net")):
        with pytest.raises(ValueError) as caught:
            Y_CALLS[call](one, several(["mass", "height", "age"]))
        says(caught.value, "y: ", "'height', 'mass', 'age'", "'mass', 'height', 'age'", r"net\.target_names = None")
        Y_CALLS[call](one, several(NAMES))
        Y_CALLS[call](one, np.tile(Y[:, None], 3))


def test_the_name_of_one_target_says_nothing():
    net = network()
    net.fit(X, Frame({"price": Column(Y)}))
    assert net.target_names is None
    net.evaluate(X, Frame({"cost": Column(Y)}))


def test_target_names_are_checked():
    net = network()
    with pytest.raises(ValueError, match="target_names: expected 1"):
        net.target_names = ["a", "b"]
    net.target_names = ["price"]
    assert net.target_names == ("price",)


# -- numbers ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kinds", ["fff", "iii", "fi ", "b i", "bbb", " if"])
def test_nullable_columns_are_taken(kinds):
    x = RNG.integers(0, 2, (20, 3)) if "b" in kinds else RNG.integers(-9, 9, (20, 3))
    parts = [Column(x[:, at].tolist(), None if kind == " " else kind) for at, kind in enumerate(kinds)]
    table = Frame(zip(NAMES, parts, strict=True))
    net, twin = network(), network()
    assert np.array_equal(net.predict(table), twin.predict(x.astype(float)))
    net.fit(table, Column(Y.tolist(), "f"))
    twin.fit(x.astype(float), Y)
    assert np.array_equal(net.parameters["0.kernel"], twin.parameters["0.kernel"])


def test_what_is_missing_is_named():
    table = Frame({name: Column([1.0, None, 3.0], "f") for name in NAMES})
    with pytest.raises(fm.NonFiniteError, match="in x"):
        network().fit(table, Y[:3])
    assert np.isnan(network().predict(table)[:, 0]).tolist() == [False, True, False]
    net = fm.Sequential([Dense(2, "softmax")], input_dim=3, seed=0)
    net.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(ValueError, match="NaN"):
        net.fit(X[:3], Column([1, None, 0], "i"))


@pytest.mark.parametrize(
    "column, kind",
    [
        (Column(["a", "b"] * 10, "O"), "O"),
        (Column(np.array(["2020-01-01"] * 20, "M8[D]")), "datetime64"),
        (Column([True, None] * 10, "O"), "O"),
        (Column(np.ones(20) * 1j), "complex"),
    ],
)
@pytest.mark.parametrize("call", ["fit", "evaluate", "predict", "validation_data"])
def test_columns_without_numbers_are_named(column, kind, call, says):
    table = Frame({"height": Column(X[:, 0]), "colour": column, "age": Column(X[:, 2])})
    net = network(["height", "colour", "age"])
    with pytest.raises(TypeError) as caught:
        CALLS[call](net, table)
    says(caught.value, "'colour'", kind)
    assert "age" not in str(caught.value)


def test_a_series_that_holds_no_numbers():
    with pytest.raises(TypeError, match=r"y: .*dtype object"):
        network().fit(X, Column(["a"] * 20, "O"))


def test_a_frame_without_targets_says_what_is_missing():
    with pytest.raises(ValueError, match="y is missing"):
        network().fit(frame())
