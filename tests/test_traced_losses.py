"""Losses that are traced: what NumPy gives, compiled, to the same bits however a batch is cut; and what can't be."""

import copy
import math
import pickle
import threading
from itertools import pairwise

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._compiler.emit import FUSED_BYTES
from fastmlp.layers import BatchNorm, Dense

FEATURES = 6


def literal_huber(d, delta=1.0):
    return d * d / 2 if abs(d) <= delta else delta * (abs(d) - delta / 2)


LITERAL = {  # of one number: the value for a target and an output
    "mae": lambda y, p: abs(p - y),
    "huber": lambda y, p: literal_huber(p - y),
    "log_cosh": lambda y, p: math.log(math.cosh(p - y)),
    "poisson": lambda y, p: p - y * math.log(p + 1e-7),
    "hinge": lambda y, p: max(0.0, 1 - (-1 if y == 0 else y) * p),
}


class Power(fm.losses.Loss):
    """A sum along the outputs, as NumPy has it, times a constant."""

    def __init__(self, factor=0.5):
        self.factor = factor

    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return self.factor * np.sum(np.abs(d) ** 3, axis=-1), self.factor * 3 * d * np.abs(d)


class Means(fm.losses.Loss):
    """Several sums, numbers added and multiplied, the number of outputs by another name."""

    def value_and_gradient(self, y_true, y_pred):
        _, units = y_pred.shape
        d = y_pred - y_true
        value = -(1 - np.mean(d * d, axis=1)) / 2 + 0.25 * np.cosh(d).sum(1) - np.sin(d).mean(axis=-1)
        return value, d / units + 0.25 * np.sinh(d) - np.cos(d) / y_pred.shape[-1]


class Quantile(fm.losses.Loss):
    """A mask, an assignment by it, and a gradient in place."""

    def value_and_gradient(self, y_true, y_pred):
        d = y_true - y_pred
        value = 0.2 * d
        value[d < 0] *= -4
        slope = np.where(d < 0, 0.8, -0.2)
        slope /= d.shape[1]
        return value.mean(axis=1), slope


class Constant(fm.losses.Loss):
    """The gradient is the same everywhere."""

    def value_and_gradient(self, y_true, y_pred):
        return (y_pred - y_true).sum(axis=1), np.ones_like(y_pred)


OWN = [Power, Means, Quantile, Constant]


def in_python(cls, *arguments):
    return type(f"{cls.__name__}InPython", (cls,), {"recordable": False})(*arguments)


def data(rows, units, dtype="float64", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, FEATURES)).astype(dtype)
    return x, np.abs(rng.normal(size=(rows, units))).astype(dtype), rng.uniform(0.1, 2, rows).astype(dtype)


def network(loss, units=3, width=9, dtype="float64", last=None, optimizer="adam", metrics=()):
    net = fm.Sequential([Dense(width, "tanh"), Dense(units, last)], input_dim=FEATURES, dtype=dtype, seed=1)
    net.compile(optimizer, loss, metrics)
    return net


def compiled(net):
    return "all operations run compiled" in repr(net) and all(operation.compiled for operation in net.plan(5))


# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [1, 2, 7])
@pytest.mark.parametrize("name", LITERAL)
def test_builtins_number_by_number(name, units):
    """Mean over the outputs, mean over the rows by weight: in training and in evaluation."""
    net = network(name, units, last="softplus" if name == "poisson" else None)
    x, y, weight = data(23, units)
    y[::3] = 0
    rows = np.vectorize(LITERAL[name])(y, net.predict(x)).mean(axis=1)
    expected = np.average(rows, weights=weight)
    assert compiled(net)
    assert net.loss_and_gradients(x, y, weight)[0] == pytest.approx(expected, rel=1e-12)
    assert net.evaluate(x, y, sample_weight=weight, batch_size=5)["loss"] == pytest.approx(expected, rel=1e-12)
    assert net.train_on_batch(x, y)["loss"] == pytest.approx(np.mean(rows), rel=1e-12)


def test_settings():
    x, y = np.zeros((1, 2)), np.array([[3.0, -0.5]])
    for delta, value in ((1.0, (2.5 + 0.125) / 2), (4.0, (4.5 + 0.125) / 2), (0.1, (0.295 + 0.045) / 2)):
        rows, gradient = fm.losses.Huber(delta).value_and_gradient(y, x)
        assert rows == pytest.approx([value], rel=1e-12)
        np.testing.assert_allclose(gradient, np.clip(x - y, -delta, delta) / 2)
    assert fm.losses.get("mae") == fm.losses.get("mean_absolute_error") == fm.losses.MeanAbsoluteError()
    for delta in (0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="delta"):
            fm.losses.Huber(delta)
    for delta in ("1", None, True):
        with pytest.raises(TypeError, match="delta"):
            fm.losses.Huber(delta)


def test_log_cosh_of_large_and_small_errors():
    """cosh overflows at 90 in float32, and log(1 + d^2 / 2) is 0 for small d."""
    d = np.array([[1e4], [100.0], [1e-3], [0.0]], "f4")
    value, _ = fm.losses.LogCosh().value_and_gradient(np.zeros_like(d), d)
    np.testing.assert_allclose(value[:2], d[:2, 0] - np.log(2), rtol=1e-6)
    np.testing.assert_allclose(value[2:], d[2:, 0] ** 2 / 2, rtol=2e-4, atol=0)


@pytest.mark.parametrize("units", [1, 5, 511, 513, 1100])
@pytest.mark.parametrize("cls", OWN)
def test_the_same_as_in_python(cls, units, dtype):
    """Rows narrower and wider than what is worked on at once; with weights; and the same after some steps."""
    net, other = network(cls(), units, dtype=dtype), network(in_python(cls), units, dtype=dtype)
    assert compiled(net) and not compiled(other)
    x, y, weight = data(37, units, dtype)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    for given in (None, weight):
        (loss, gradients), (expected, others) = (one.loss_and_gradients(x, y, given) for one in (net, other))
        assert loss == pytest.approx(expected, rel=tolerance)
        for key, array in gradients.items():
            np.testing.assert_allclose(array, others[key], rtol=0, atol=tolerance * (1 + np.abs(others[key]).max()))
        logs = [one.evaluate(x, y, sample_weight=given, batch_size=11)["loss"] for one in (net, other)]
        assert logs[0] == pytest.approx(logs[1], rel=tolerance)
    histories = [one.fit(x, y, epochs=2, batch_size=10).history["loss"] for one in (net, other)]
    assert histories[0] == pytest.approx(histories[1], rel=100 * tolerance)


# -- bits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("units", "width"), [(1, 9), (600, 9), (1, 40_000), (4, 25_000), (600, 500)])
def test_the_same_bits_at_any_number_of_threads(units, width, dtype, teams, contents):
    """In both schedules: rows go through small networks in fused groups."""
    x, y, weight = data(61, units, dtype)
    results = []
    for threads in (1, 2, 3, 5):
        with fm.num_threads(threads):
            net = network("log_cosh", units, width, dtype)
            assert (net.engine.memory.size * dtype.itemsize > FUSED_BYTES) == (width > 9)
            history = net.fit(x, y, epochs=2, batch_size=25, sample_weight=weight)
            results.append((history.history, net.evaluate(x, y, batch_size=17), contents(net)))
    assert all(one == results[0] for one in results[1:])


@pytest.mark.parametrize("units", [1, 3, 530])
def test_a_row_has_the_bits_of_itself(units, dtype):
    """Its value and its gradient, wherever it stands in a batch, and alone."""
    net = network(Means(), units, dtype=dtype)
    x, y, _ = data(19, units, dtype)
    for row in range(19):
        alone, own = net.loss_and_gradients(x[row : row + 1], y[row : row + 1])
        among, same = net.loss_and_gradients(x, y, np.eye(19, dtype=dtype)[row])
        assert alone == among
        assert own["1.bias"].tobytes() == same["1.bias"].tobytes()


def test_targets_of_any_layout():
    x, y, _ = data(30, 4, "float32")
    wide = np.zeros((60, 9), "f4")
    wide[::2, 3:7] = y
    expected = network("huber", 4, dtype="float32").loss_and_gradients(x, y)[0]
    for given in (wide[::2, 3:7], y.astype("f8"), np.asfortranarray(y), y.tolist()):
        assert network("huber", 4, dtype="float32").loss_and_gradients(x, given)[0] == expected


# -- beside other things -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("units", [1, 3])
def test_accuracy_is_compiled_beside_it(units):
    net, other = (network(one, units, last="sigmoid", metrics=["accuracy"]) for one in ("mae", "half_squared_error"))
    x, y, _ = data(40, units)
    y = (y > 0.5).astype(float)
    assert net.evaluate(x, y)["accuracy"] == other.evaluate(x, y)["accuracy"]
    assert net.train_on_batch(x, y)["accuracy"] == other.train_on_batch(x, y)["accuracy"]
    assert net.engine.executables.training(40).fastpath is not None


@pytest.mark.parametrize("first", ["train_on_batch", "fit", "evaluate", "loss_and_gradients"])
def test_an_attribute_that_changes(first):
    """The next step takes it, through whatever it is made."""
    x, y, _ = data(20, 3)
    net = network(Power(0.5))
    net.optimizer.learning_rate = 0.0
    calls = {
        "train_on_batch": lambda: net.train_on_batch(x, y)["loss"],
        "fit": lambda: net.fit(x, y, batch_size=20, shuffle=False).history["loss"][0],
        "evaluate": lambda: net.evaluate(x, y)["loss"],
        "loss_and_gradients": lambda: net.loss_and_gradients(x, y)[0],
    }
    before = calls[first]()
    assert calls[first]() == before and compiled(net)
    net.loss.factor = 2.0
    assert all(call() == pytest.approx(4 * before, rel=1e-12) for call in (calls[first], *calls.values()))


def test_what_was_traced_is_no_part_of_the_object(tmp_path, register):
    register("losses", "power", Power)
    x, y, _ = data(20, 3)
    net = network(Power(2.0))
    net.train_on_batch(x, y)
    assert net.loss == Power(2.0) and repr(net.loss) == "Power(factor=2.0)" and net.loss.get_config() == {"factor": 2.0}
    for twin in (copy.deepcopy(net.loss), pickle.loads(pickle.dumps(net.loss))):
        assert twin == net.loss
    net.save(tmp_path / "net")
    for other in (fm.load(tmp_path / "net"), copy.deepcopy(net)):
        assert other.loss == net.loss and compiled(other)
        assert other.loss_and_gradients(x, y)[0] == net.loss_and_gradients(x, y)[0]


class Root(fm.losses.Loss):
    def value_and_gradient(self, y_true, y_pred):
        return np.sqrt(y_pred - y_true).sum(axis=1), 0.5 / np.sqrt(y_pred - y_true)


@pytest.mark.parametrize("call", ["train_on_batch", "fit", "loss_and_gradients"])
def test_what_is_not_finite_stops_the_step(call, says, same):
    """The root of a negative number, in the value and in the gradient; and a target that is none."""
    x, y, _ = data(20, 3, "float32")
    low, high, none = y - 20, y + 20, y - 20
    none[7, 1] = np.nan
    net, twin = (network(Root(), dtype="float32", optimizer="adam") for _ in range(2))
    for one in (net, twin):
        one.train_on_batch(x, low)
    assert compiled(net)
    for targets, words in ((high, ("loss", "step 2")), (none, ("NaN or infinity in y", "step 2"))):
        with pytest.raises(fm.NonFiniteError) as caught:
            getattr(net, call)(x, targets)
        says(caught.value, *words)
    for one in (net, twin):
        one.fit(x, low, batch_size=6)
    same(net, twin)


def test_beside_batch_norm_in_the_whole_batch(contents):
    x, y, _ = data(50, 2)
    nets = []
    for loss in (Power(1.0), in_python(Power, 1.0)):
        net = fm.Sequential([Dense(8), BatchNorm(), Dense(2)], input_dim=FEATURES, dtype="float64", seed=2)
        net.compile("sgd", loss)
        net.fit(x, y, batch_size=20, epochs=2)
        nets.append(net)
    for key, array in nets[0].parameters.items():
        np.testing.assert_allclose(array, nets[1].parameters[key], rtol=1e-10, atol=1e-12)


# -- what can't be traced ----------------------------------------------------------------------------------------


def of(function, **attributes):
    return type("Own", (fm.losses.Loss,), {"value_and_gradient": lambda self, y, p: function(y, p), **attributes})()


REASONS = {
    "norm": (lambda y, p: (np.linalg.norm(p - y, axis=1), (p - y) / np.linalg.norm(p - y)), "norm"),
    "root of a sum": (lambda y, p: (np.sqrt(((p - y) ** 2).sum(axis=1)), p - y), "np.sqrt of a sum"),
    "power of a sum": (lambda y, p: ((p - y).sum(axis=1) ** 2, p - y), "np.power of a sum"),
    "product of sums": (lambda y, p: (p.sum(axis=1) * y.sum(axis=1), p * 1), "np.multiply of sums"),
    "sum in the middle": (lambda y, p: (((p - p.sum(axis=1)) ** 2).sum(axis=1), p), "a number was expected"),
    "kept axis": (lambda y, p: ((p - p.mean(axis=1, keepdims=True)).sum(axis=1), p), "keepdims"),
    "sum over rows": (lambda y, p: (p.sum(axis=0), p), "axis=0"),
    "sum of all": (lambda y, p: (np.sum(p), p), "axis=None"),
    "maximum": (lambda y, p: (np.max(p - y, axis=1), p), "max"),
    "branch on data": (lambda y, p: (p.sum(axis=1), p if (p > 0).all() else y), "all"),
    "branch on a sum": (lambda y, p: (p.sum(axis=1) if p.sum(axis=1) > 0 else 0, p), "np.greater of a sum"),
    "rows": (lambda y, p: (p.sum(axis=1) * (1 + 0 * len(p)), p), "length"),
    "number of rows": (lambda y, p: (p.sum(axis=1), (p - y) / p.shape[0]), "number of rows"),
    "columns": (lambda y, p: (p[:, 0] - y[:, 0], p), "by their place"),
    "no sum": (lambda y, p: (p - y, p), "not a sum"),
    "a number": (lambda y, p: (1.0, p), "not a sum"),
    "truths": (lambda y, p: ((p > y).sum(axis=1), p), "truth values"),
    "truths as gradient": (lambda y, p: (p.sum(axis=1), p > y), "gradient"),
    "one array": (lambda y, p: p.sum(axis=1), "Sum"),
    "random": (lambda y, p: (p.sum(axis=1) * np.random.default_rng().uniform(), p), "two calls"),
    "an error": (lambda y, p: (p.sum(axis=1), p / {}["no"]), "KeyError"),
    "writes": (lambda y, p: (np.subtract(p, y, out=p).sum(axis=1), p), "read-only"),
    "function of math": (lambda y, p: (p.sum(axis=1), p * math.exp(p.sum(axis=1))), "number of a sum"),
    "another in NumPy": (
        lambda y, p: (p.sum(axis=1) * (1 if isinstance(p, np.ndarray) else 1.001), p * 0 + 1),
        "value: traced, it gives",
    ),
    "another gradient": (
        lambda y, p: (p.sum(axis=1), p * 0 + (1 if isinstance(p, np.ndarray) else 2)),
        "gradient: traced, it gives",
    ),
    "an error in NumPy": (lambda y, p: (p.sum(axis=1), p if not isinstance(p, np.ndarray) else 1 / 0), "ZeroDivision"),
}


@pytest.mark.parametrize("what", REASONS)
def test_the_reason_is_told(what):
    function, reason = REASONS[what]
    net = network(of(function))
    text = repr(net)
    assert "in Python (NumPy):" in text and "loss Own() (" in text
    assert reason in text
    (found,) = [operation for operation in net.plan(5) if not operation.compiled]
    assert (found.section, found.python, found.shape) == ("forward", "Own()", (5, 3))
    assert reason in found.reason


def test_reasons_that_a_class_gives():
    squares = REASONS["sum over rows"][0]
    assert "its targets are labels" in repr(network(of(squares, labels=True)))
    assert "recordable = False" in repr(network(of(squares, recordable=False)))


class Counting(fm.losses.Loss):
    """Changes itself at every call."""

    def __init__(self):
        self.calls = 0

    def value_and_gradient(self, y_true, y_pred):
        self.calls += 1
        d = y_pred - y_true
        return (d * d).sum(axis=1), 2 * d


def test_one_that_counts_its_calls():
    """It runs in Python, once a step."""
    net = network(Counting())
    x, y, _ = data(20, 3)
    net.train_on_batch(x, y)
    assert "changes its own attributes" in repr(net)
    counts = []
    for _ in range(4):
        net.train_on_batch(x, y)
        counts.append(net.loss.calls)
    assert [later - sooner for sooner, later in pairwise(counts)] == [1, 1, 1]


class Nested(fm.losses.Loss):
    """Asks the network that it is a part of."""

    net = None

    def value_and_gradient(self, y_true, y_pred):
        if self.net is not None:
            self.net.evaluate(*data(3, 3)[:2])
        return (y_pred - y_true).sum(axis=1), y_pred * 0 + 1


def test_one_that_uses_its_own_network(says):
    net = network(Nested())
    Nested.net = net
    try:
        with pytest.raises(RuntimeError) as caught:
            net.train_on_batch(*data(20, 3)[:2])
        says(caught.value, "within a step")
    finally:
        Nested.net = None
    assert np.isfinite(net.train_on_batch(*data(20, 3)[:2])["loss"])


def test_threads_that_record_one_object():
    """Each gets a program, also where they come at the same time."""
    loss, found, start = Means(), [], threading.Barrier(4)

    def work():
        net = network(loss)
        start.wait()
        net.train_on_batch(*data(20, 3)[:2])
        found.append(compiled(net))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert found == [True] * 4


def test_an_interrupt_while_it_is_traced(monkeypatch):
    """Ctrl-C goes up, and nothing of it is remembered."""
    net = network(Means())

    def interrupted(self, y_true, y_pred):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Means, "value_and_gradient", interrupted)
        with pytest.raises(KeyboardInterrupt):
            net.train_on_batch(*data(20, 3)[:2])
    net.train_on_batch(*data(20, 3)[:2])
    assert compiled(net)
