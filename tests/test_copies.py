"""Copies and pickles: classes and attributes of users come along, arrays to the bit, and nothing is shared."""

import copy
import pickle
from types import FunctionType

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.configurable import Configurable
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout, Residual

WAYS = {
    "deepcopy": copy.deepcopy,
    "copy": copy.copy,
    **{
        f"pickle {protocol}": lambda net, protocol=protocol: pickle.loads(pickle.dumps(net, protocol))
        for protocol in (0, 2, pickle.HIGHEST_PROTOCOL)
    },
}


@pytest.fixture(params=WAYS)
def copied(request):
    return WAYS[request.param]


X = np.random.default_rng(3).normal(size=(20, 4)).astype("f4")
Y = np.random.default_rng(4).normal(size=(20, 2)).astype("f4")


# -- classes that are in no registry -----------------------------------------------------------------------------------


class Bent(fm.activations.Activation):
    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, z):
        return z / (1 + self.beta * np.abs(z))


class Scaled(fm.layers.Layer):
    """A layer in NumPy, with state of its own beside what the network keeps."""

    def __init__(self, factor=2.0, *, name=None):
        super().__init__(name=name)
        self.factor = factor
        self.seen = []

    def build(self, input_dim):
        self.add_parameter("shift", (input_dim,))
        self.add_buffer("calls", (1,))
        return input_dim

    def forward(self, x, *, training, rng):
        self.buffers["calls"] += training
        return x * self.factor + self.parameters["shift"], lambda dy: (dy * self.factor, {"shift": dy.sum(axis=0)})


class Momentum(fm.optimizers.Optimizer):
    def init_state(self, param):
        return {"mean": np.zeros_like(param), "steps": np.zeros(2, np.int64)}

    def update(self, param, grad, state, learning_rate, step):
        state["mean"] += 0.1 * (grad - state["mean"])
        state["steps"] += step
        param -= learning_rate * state["mean"]


class Tilted(fm.losses.Loss):
    def __init__(self, share=0.9):
        self.share = share

    def value_and_gradient(self, y_true, y_pred):
        slope = np.where(y_pred < y_true, -self.share, 1 - self.share)
        return (slope * (y_pred - y_true)).mean(axis=1), slope / y_pred.shape[1]


class Worst(fm.metrics.Metric):
    def rows(self, y_true, y_pred):
        return np.abs(y_pred - y_true).max(axis=1)


class Sevens(fm.initializers.Initializer):
    def __call__(self, shape, rng, dtype):
        return np.full(shape, 0.7, dtype)


class Drawn(fm.regularizers.Regularizer):
    def value_and_gradient(self, w):
        return float((w * w).sum()), 2 * w


def decayed(step):
    return 0.1 / step


def unregistered(optimizer):
    layers = [
        Dense(5, Bent(0.5), kernel_initializer=Sevens(), kernel_regularizer=Drawn()),
        Scaled(name="scaled"),
        BatchNorm(),
        Dropout(0.3),
        Residual([Dense(5, fm.activations.recorded(lambda z, a=0.5: np.tanh(a * z)))]),
        Dense(2, "prelu"),
    ]
    net = fm.Sequential(layers, input_dim=4, seed=5)
    net.compile(optimizer, Tilted(0.75), [Worst()])
    net.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    return net


@pytest.mark.parametrize("optimizer", [Momentum, lambda: fm.optimizers.Adam(decayed)], ids=["own", "function"])
def test_a_network_of_own_classes_goes_on_alike(optimizer, copied, same_future):
    net = unregistered(optimizer())
    net.layers[1].seen.append("something")
    twin = copied(net)
    assert [type(layer) for layer in twin.layers] == [type(layer) for layer in net.layers]
    assert type(twin.layers[0].activation) is Bent and twin.layers[0].activation.beta == 0.5
    assert (type(twin.loss), twin.loss.share, type(twin.metrics[0])) == (Tilted, 0.75, Worst)
    assert twin.layers[1].seen == ["something"] and twin.layers[1].seen is not net.layers[1].seen
    assert twin.engine.counters() == net.engine.counters() == {"steps": 6, "iterations": 6, "epochs": 2}
    same_future(net, twin)


@pytest.mark.parametrize(
    "rate", [lambda step: 0.1 / step, lambda step, base=0.5: base / step], ids=["plain", "default"]
)
def test_functions_that_only_memory_has(rate, same_future):
    """A deep copy has the function itself; pickle can't find it, and says so."""
    net = fm.Sequential([Dense(2)], input_dim=4, seed=0)
    net.compile(fm.optimizers.SGD(rate), "mse")
    net.fit(X, Y, verbose=0)
    twin = copy.deepcopy(net)
    assert twin.optimizer is not net.optimizer and twin.optimizer.learning_rate is rate
    same_future(net, twin)
    with pytest.raises((pickle.PicklingError, AttributeError), match="lambda"):
        pickle.dumps(net)


def test_a_file_says_what_must_be_registered(tmp_path):
    with pytest.raises(fm.UnknownNameError, match=r'registry\.activations\.register\("name", Bent\)'):
        unregistered("sgd").save(tmp_path / "net")


def test_a_class_that_is_gone(monkeypatch):
    pickled = pickle.dumps(unregistered("sgd"))
    monkeypatch.delitem(globals(), "Bent")
    with pytest.raises(AttributeError, match="Bent"):
        pickle.loads(pickled)


def test_a_pickle_in_another_process(run_python, tmp_path):
    """It may hold the first network there."""
    net = fm.Sequential([Dense(3, "relu"), BatchNorm(), Dense(2)], input_dim=4, seed=5)
    net.compile("adam", "mse")
    net.fit(X, Y, verbose=0)
    (tmp_path / "pickle").write_bytes(pickle.dumps((net, X)))
    code = """
        import pickle, sys
        with open(sys.argv[1], "rb") as file:
            net, x = pickle.load(file)
        print(net.predict(x).tobytes().hex())
        net.fit(x, net.predict(x), verbose=0)
    """
    assert run_python(code, arguments=[str(tmp_path / "pickle")]).strip() == net.predict(X).tobytes().hex()


# -- subclasses --------------------------------------------------------------------------------------------------------


class Classifier(fm.Sequential):
    """With attributes, and an ``__init__`` of its own that copies don't call."""

    made = 0

    def __init__(self, names, units):
        super().__init__([Dense(units, "softmax")], input_dim=4, seed=0)
        type(self).made += 1
        self.names = names
        self.table = np.arange(3.0)

    def named(self, x):
        return [self.names[number] for number in self.predict(x).argmax(axis=1)]


class Slotted(fm.Sequential):
    __slots__ = ("threshold", "unset")


class WithState(fm.Sequential):
    def __getstate__(self):
        return {"engine": self.engine, "kept": "by hand"}

    def __setstate__(self, state):
        self.engine = state["engine"]
        self.kept = state["kept"]


def test_a_subclass_with_its_attributes(copied):
    net = Classifier(["a", "b"], 2)
    twin = copied(net)
    assert type(twin) is Classifier and Classifier.made == 1
    assert twin.names == ["a", "b"] and twin.names is not net.names and not np.shares_memory(twin.table, net.table)
    assert twin.named(X) == net.named(X)
    Classifier.made = 0


def test_a_subclass_with_slots(copied):
    net = Slotted([Dense(1)], input_dim=4, seed=0)
    net.threshold, net.note = 0.25, ["also a dict"]
    twin = copied(net)
    assert (type(twin), twin.threshold, twin.note) == (Slotted, 0.25, ["also a dict"])
    assert not hasattr(twin, "unset")


def test_a_subclass_that_decides_itself(copied):
    net = WithState([Dense(1)], input_dim=4, seed=0)
    net.other = 1
    twin = copied(net)
    assert twin.kept == "by hand" and not hasattr(twin, "other")
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


class Reduced(fm.Sequential):
    def __reduce__(self):
        return type(self), ([Dense(1)],)


class Shared(fm.layers.Layer):
    """All copies are the one that its module has."""

    def __reduce__(self):
        return "SHARED"


SHARED = Shared()


def test_classes_that_reduce_themselves(copied):
    assert len(copied(Reduced([Dense(3), Dense(2)])).layers) == 1
    if copied is not copy.copy:
        assert copied(SHARED) is SHARED


def test_an_attribute_that_leads_back(copied):
    """A network in a list that it has itself, a layer that knows its network, two names for one thing."""
    net = Slotted([Scaled(), Dense(1)], input_dim=4, seed=0)
    net.threshold = [net]
    net.one = net.other = {"a": 1}
    net.layers[0].seen.append(net)
    twin = copied(net)
    assert twin.threshold[0] is twin and twin.one is twin.other and twin.layers[0].seen == [twin]


# -- what is shared ----------------------------------------------------------------------------------------------------


def containers_in(value):
    """Every array, dict and list that an object reaches, and the objects themselves, by id."""
    found, waiting = {}, [value]
    while waiting:
        part = waiting.pop()
        if id(part) in found or isinstance(part, (type, FunctionType, np.dtype)):
            continue
        found[id(part)] = part
        if isinstance(part, dict):
            waiting += part.values()
        elif isinstance(part, (list, tuple)):
            waiting += part
        elif isinstance(part, np.ndarray):
            waiting.append(part.base)
        else:
            waiting += getattr(part, "__dict__", {}).values()
    return {key: part for key, part in found.items() if isinstance(part, (np.ndarray, dict, list, Configurable))}


def test_nothing_is_shared(copied):
    net = unregistered(Momentum())
    net.metadata = {"classes": ["a", "b"]}
    twin = copied(net)
    mine, other = containers_in(net), containers_in(twin)
    assert len(mine) > 100
    assert [mine[key] for key in mine.keys() & other.keys()] == []
    assert twin.metadata == net.metadata


def test_copies_of_several_networks_at_once():
    """One network that stands twice is copied once; networks that share an object share its copy."""
    shared = Bent(0.25)
    one, two = (fm.Sequential([Dense(2, shared)], input_dim=4, seed=seed) for seed in (1, 2))
    first, second, again = copy.deepcopy([one, two, one])
    assert first is again and first is not one
    assert first.layers[0].activation is second.layers[0].activation is not shared
    memo = {}
    assert copy.deepcopy(one, memo) is copy.deepcopy(one, memo)


def test_a_target_network_and_a_snapshot():
    """A copy stays as it was while its original goes on, and the other way round."""
    net = unregistered("adam")
    target, before = copy.deepcopy(net), net.predict(X)
    net.fit(X, Y, verbose=0)
    np.testing.assert_array_equal(target.predict(X), before)
    after = net.predict(X)
    for view in target.parameters.values():
        view[...] = 0
    np.testing.assert_array_equal(net.predict(X), after)
    assert not np.array_equal(before, after)


def test_a_copy_from_a_callback(same):
    class Keep(fm.callbacks.Callback):
        def __init__(self):
            self.kept = []

        def on_epoch_end(self, epoch, logs):
            self.kept.append(copy.deepcopy(self.model))

    keep, net = Keep(), unregistered(Momentum())
    net.fit(X, Y, epochs=3, verbose=0, callbacks=[keep])
    same(keep.kept[-1], net)
    assert keep.kept[0].engine.epochs == net.engine.epochs - 2


def test_the_history_stays_with_the_original(copied):
    net = unregistered("sgd")
    assert net.history is not None
    assert copied(net).history is None


@pytest.mark.parametrize("compiled", [True, False])
def test_networks_that_are_not_built(compiled, copied):
    net = fm.Sequential([Dense(3, Bent()), Activation("tanh"), Dense(2)], seed=3)
    if compiled:
        net.compile(Momentum(), "mse")
    twin = copied(net)
    assert not twin.built and (twin.optimizer is None) == (not compiled)
    for one in (net, twin):
        one.build(4)
    np.testing.assert_array_equal(twin.predict(X), net.predict(X))


def test_what_is_set_after_building_comes_along(copied):
    net = fm.Sequential([Dense(3), Dropout(0.5), Dense(2)], input_dim=4, seed=3)
    net.compile("sgd", "mse")
    net.layers[0].trainable, net.layers[1].rate, net.optimizer.learning_rate = False, 0.25, 0.5
    twin = copied(net)
    assert (twin.layers[0].trainable, twin.layers[1].rate, twin.optimizer.learning_rate) == (False, 0.25, 0.5)


def test_a_layer_by_itself(copied):
    """It takes its configuration along, and neither arrays nor memory of the network."""
    net = unregistered("sgd")
    layer = copied(net.layers[1])
    assert (type(layer), layer.factor, layer.name) == (Scaled, 2.0, "scaled")
    assert not hasattr(layer, "parameters")
