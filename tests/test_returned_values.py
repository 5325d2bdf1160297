"""What users' code returns is checked where it comes back, and named: shape, kind of numbers, finiteness."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import user_code
from fastmlp.layers import Activation, Dense

RNG = np.random.default_rng(8)
X, Y = RNG.normal(size=(12, 3)), RNG.normal(size=(12, 4))
WEIGHT = RNG.uniform(0.5, 2, 12)


def network(dtype="float64", layers=None, optimizer="sgd", loss="mse", metrics=()):
    net = fm.Sequential(layers or [Dense(4)], input_dim=3, seed=0, dtype=dtype)
    net.compile(optimizer, loss, metrics=metrics)
    return net


# -- the mechanism ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [np.ones((3, 1)), np.ones(1), 1.0, np.ones((1, 3)), [], [[1.0], [2.0], [3.0]]])
def test_nothing_is_broadcast(value):
    with pytest.raises(ValueError, match=r"rows of thing: expected an array of shape \(3,\), got"):
        user_code.returned(value, "rows of thing", (3,))


@pytest.mark.parametrize("value", [np.ones(3) * 1j, np.array([1, None, 2]), ["a", "b", "c"], None, [[1.0], [2.0, 3.0]]])
def test_numbers_are_real(value):
    with pytest.raises(TypeError, match="thing"):
        user_code.returned(value, "thing", (3,))


@pytest.mark.parametrize("value", [3, 2.5, np.float32(0.5), np.int64(4), np.array(7.0), np.array(3, np.float32)])
def test_one_number(value):
    assert user_code.returned_number(value, "thing") == float(value)


@pytest.mark.parametrize("value", [np.ones(1), np.ones(2), "0.5", None, 1j, True, [1.0], np.array("a"), np.array(1j)])
def test_no_number(value):
    with pytest.raises((TypeError, ValueError), match=r"thing: expected (a|one) number"):
        user_code.returned_number(value, "thing")


# -- metrics ---------------------------------------------------------------------------------------------------------

ROWS = {
    "a column": lambda t, p: np.abs(p - t).mean(axis=1, keepdims=True),
    "all outputs": lambda t, p: np.abs(p - t),
    "one number": lambda t, p: np.abs(p - t).mean(),
    "one row less": lambda t, p: np.abs(p - t).mean(axis=1)[1:],
    "by columns": lambda t, p: np.abs(p - t).mean(axis=0),
    "complex": lambda t, p: np.abs(p - t).mean(axis=1) * 1j,
    "objects": lambda t, p: np.abs(p - t).mean(axis=1).astype(object),
    "text": lambda t, p: ["0.5"] * len(p),
    "nothing": lambda t, p: None,
}
CALLS = {
    "evaluate": lambda net: net.evaluate(X, Y),
    "weighted": lambda net: net.evaluate(X, Y, sample_weight=WEIGHT),
    "fit": lambda net: net.fit(X, Y, batch_size=6),
    "train_on_batch": lambda net: net.train_on_batch(X, Y),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("what", ROWS)
def test_rows_of_metrics(what, call, says):
    class Distance(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            return ROWS[what](y_true, y_pred)

    net = network(metrics=[Distance()])
    with pytest.raises((TypeError, ValueError)) as caught:
        CALLS[call](net)
    says(caught.value, r"rows of metric Distance\(\)")
    if isinstance(caught.value, ValueError):
        says(caught.value, r"shape \((6|12),\), got")


@pytest.mark.parametrize("value", [np.ones(2), "0.5", None, 1j])
@pytest.mark.parametrize("call", CALLS)
def test_results_of_metrics(value, call, says):
    class Last(fm.metrics.Metric):
        def update(self, y_true, y_pred, weight):
            pass

        def result(self):
            return value

    with pytest.raises((TypeError, ValueError)) as caught:
        CALLS[call](network(metrics=[Last()]))
    says(caught.value, r"result of metric Last\(\)", "expected (a|one) number")


@pytest.mark.parametrize("kind", [np.float32, np.int8, bool])
def test_rows_of_other_numbers_are_taken(kind):
    class Far(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            return (np.abs(y_pred - y_true).max(axis=1) > 1).astype(kind)

    net = network(metrics=[Far()])
    far = np.abs(net.predict(X) - Y).max(axis=1) > 1
    assert net.evaluate(X, Y, sample_weight=WEIGHT)["Far"] == pytest.approx(far @ WEIGHT / WEIGHT.sum())


def test_a_metric_may_be_nan():
    class Undefined(fm.metrics.Metric):
        def rows(self, y_true, y_pred):
            return np.full(len(y_pred), np.nan)

    assert np.isnan(network(metrics=[Undefined()]).evaluate(X, Y)["Undefined"])


# -- functions of the step -------------------------------------------------------------------------------------------


def decay(step):
    return decay.value


SCHEDULES = [np.nan, np.inf, -0.1, "0.1", None, np.ones(2), np.ones(1), 1j, [0.1]]


@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
@pytest.mark.parametrize("value", SCHEDULES, ids=str)
@pytest.mark.parametrize("optimizer", [fm.optimizers.SGD, fm.optimizers.Adam, fm.optimizers.RMSprop])
def test_schedules_that_give_no_rate(value, call, optimizer, says, snapshot, same_bits):
    decay.value = 0.1
    net = network(optimizer=optimizer(decay))
    net.train_on_batch(X, Y)
    before = snapshot(net)
    decay.value = value
    with pytest.raises((TypeError, ValueError)) as caught:
        CALLS[call](net)
    says(caught.value, f"learning_rate of {optimizer.__name__} at step [23], given by decay")
    assert same_bits(snapshot(net), before)


@pytest.mark.parametrize("name, make", [("momentum", fm.optimizers.SGD), ("rho", fm.optimizers.RMSprop)])
@pytest.mark.parametrize("value", [1.0, np.nan, -0.5, np.zeros(2)], ids=str)
def test_other_hyperparameters(name, make, value, says):
    with pytest.raises((TypeError, ValueError)) as caught:
        network(optimizer=make(0.1, **{name: lambda step: value})).fit(X, Y)
    says(caught.value, f"{name} of {make.__name__} at step", "given by .*lambda")


@pytest.mark.parametrize("value", [np.nan, "fast", np.ones(3), -1.0])
@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_a_rate_of_ones_own(value, call, says):
    class Warm(fm.optimizers.SGD):
        elementwise = True

        def learning_rate_at(self, step):
            return value

    with pytest.raises((TypeError, ValueError)) as caught:
        CALLS[call](network(optimizer=Warm()))
    says(caught.value, "learning_rate of Warm at step 1")


def test_a_rate_that_numpy_gives_as_an_array_of_no_dimension(same):
    first = network(optimizer=fm.optimizers.SGD(lambda step: np.where(step < 2, 0.1, 0.01)))
    second = network(optimizer=fm.optimizers.SGD(lambda step: 0.1 if step < 2 else 0.01))
    for net in (first, second):
        net.fit(X, Y, batch_size=4)
    same(first, second)


# -- initializers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value, words",
    [
        (lambda shape: np.ones(shape[::-1]), [r"\(3, 4\)", r"\(4, 3\)"]),
        (lambda shape: np.ones((1, shape[1])), [r"\(3, 4\)", r"\(1, 4\)"]),
        (lambda shape: 0.5, [r"\(3, 4\)", r"\(\)"]),
        (lambda shape: np.full(shape, np.nan), ["finite"]),
        (lambda shape: np.full(shape, np.inf), ["finite"]),
        (lambda shape: np.full(shape, 1e300), ["range of float32"]),
        (lambda shape: np.ones(shape, complex), ["complex"]),
        (lambda shape: None, ["None"]),
    ],
)
def test_initializers(value, words, says):
    class Mine(fm.initializers.Initializer):
        def __call__(self, shape, rng, dtype):
            return value(shape)

    with pytest.raises((TypeError, ValueError)) as caught:
        fm.Sequential([Dense(4, kernel_initializer=Mine())], input_dim=3)
    says(caught.value, r"initializer Mine\(\) of 0.kernel", *words)


# -- optimizers ------------------------------------------------------------------------------------------------------


class Sum(fm.optimizers.Optimizer):
    """Its state is what a test says."""

    def __init__(self, state=None, elementwise=True):
        super().__init__(0.1)
        self.state, self.elementwise = state, elementwise

    def init_state(self, param):
        return self.state(param)

    def update(self, param, grad, state, learning_rate, step):
        state["m"] += grad
        param -= learning_rate * state["m"]


STATES = {
    "NaN": lambda p: {"m": np.full(p.shape, np.nan)},
    "one NaN": lambda p: {"m": np.where(np.arange(p.size) == p.size - 1, np.nan, 0).reshape(p.shape)},
    "NaN beside infinity": lambda p: {"m": np.where(p == p.max(), np.nan, np.inf)},
    "complex": lambda p: {"m": np.zeros(p.shape, complex)},
    "objects": lambda p: {"m": np.zeros(p.shape, object)},
    "the parameter itself": lambda p: {"m": p},
    "a view of it": lambda p: {"m": p[:]},
    "one array twice": lambda p: dict.fromkeys(("m", "v"), np.zeros_like(p)),
    "read-only": lambda p: {"m": np.broadcast_to(0.0, p.shape)},
    "a name that is no text": lambda p: {0: np.zeros_like(p)},
}


@pytest.mark.parametrize("elementwise", [True, False])
@pytest.mark.parametrize("what", STATES)
def test_states_of_optimizers(what, elementwise, says, snapshot, same_bits):
    net = network()
    before = snapshot(net)
    with pytest.raises((TypeError, ValueError)) as caught:
        net.compile(Sum(STATES[what], elementwise), "mse")
    says(caught.value, r"init_state of Sum\(", "0.kernel|0.bias")
    assert same_bits(snapshot(net), before)
    assert net.train_on_batch(X, Y)["loss"] > 0


class Least(fm.optimizers.Optimizer):
    """Remembers the least gradient so far, which is infinite before there is one."""

    def __init__(self, elementwise=True, begin=np.inf, used=True):
        super().__init__(0.1)
        self.elementwise, self.begin, self.used = elementwise, begin, used

    def init_state(self, param):
        return {"least": np.full_like(param, self.begin)}

    def update(self, param, grad, state, learning_rate, step):
        if self.used:
            np.minimum(state["least"], np.abs(grad), out=state["least"])
        param -= learning_rate * grad


@pytest.mark.parametrize("elementwise", [True, False])
def test_states_may_be_infinite_until_the_first_update(elementwise):
    net = network("float32", optimizer=Least(elementwise))
    assert ("Python" in repr(net)) != elementwise
    gradients = net.loss_and_gradients(X, Y)[1]
    net.train_on_batch(X, Y)
    for key, gradient in gradients.items():
        np.testing.assert_allclose(net.optimizer_state[key]["least"], np.abs(gradient), rtol=1e-6)


@pytest.mark.parametrize("begin", [np.inf, -np.inf])
@pytest.mark.parametrize("elementwise", [True, False])
def test_states_that_stay_infinite_are_refused(elementwise, begin, snapshot, same_bits):
    net = network("float32", optimizer=Least(elementwise, begin, used=False))
    before = snapshot(net)
    with pytest.raises(fm.errors.NonFiniteError, match=r"update of '0.kernel'.*state"):
        net.train_on_batch(X, Y)
    assert same_bits(snapshot(net), before)


@pytest.mark.parametrize("shape", [(), (1,), (4,)])
@pytest.mark.parametrize("elementwise", [True, False])
def test_states_of_other_shapes_run_in_python_as_they_are(shape, elementwise):
    net = network(optimizer=Sum(lambda p: {"m": np.zeros(shape)}, elementwise))
    assert [state["m"].shape for state in net.optimizer_state.values()] == [shape, shape]
    assert "Python" in repr(net)


def test_states_of_other_names():
    with pytest.raises(ValueError, match=r"same names.*\['m'\].*\[.*'v'\] for '0.bias'"):
        network(optimizer=Sum(lambda p: {name: np.zeros_like(p) for name in ("m", "v")[: 3 - p.ndim]}))


# -- activations, layers, losses, regularizers: which of them made the first NaN --------------------------------------


class Bent(fm.activations.Activation):
    recordable = False

    def forward(self, z):
        return z**2

    def backward(self, z, a, da):
        return da * np.nan


class Own(fm.layers.Layer):
    def build(self, input_dim):
        self.add_parameter("shift", (input_dim,))
        return input_dim

    def forward(self, x, *, training, rng):
        return x + self.parameters["shift"], lambda dy: (dy, {"shift": dy.sum(axis=0) * np.inf})


class Sharp(fm.losses.Loss):
    recordable = False

    def value_and_gradient(self, y_true, y_pred):
        return np.abs(y_pred - y_true).sum(axis=1), np.full(y_pred.shape, np.inf)


class Wide(fm.regularizers.Regularizer):
    recordable = False

    def value_and_gradient(self, w):
        return np.float64(np.nan), w


CULPRITS = {
    "activation": (
        lambda: [Dense(3), Activation(Bent()), Dense(4)],
        "mse",
        "1",
        [r"layer 1: backward of activation Bent\(\)"],
    ),
    "layer": (
        lambda: [Dense(3), Own(), Dense(4)],
        "mse",
        "1",
        [r"layer 1: backward of Own\(\)", "gradient of 'shift'"],
    ),
    "loss": (lambda: [Dense(4)], Sharp(), None, [r"loss Sharp\(\)", "gradient"]),
    "regularizer": (
        lambda: [Dense(4, kernel_regularizer=Wide())],
        "mse",
        None,
        [r"regularizer Wide\(\) of 0.kernel", "value"],
    ),
}


@pytest.mark.parametrize("what", CULPRITS)
@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_the_error_names_who_made_nan_of_finite_numbers(what, call, says, snapshot, same_bits):
    layers, loss, key, words = CULPRITS[what]
    net = network(layers=layers(), loss=loss)
    before = snapshot(net)
    with pytest.raises(fm.NonFiniteError) as caught:
        CALLS[call](net)
    says(caught.value, *words, "step 1", "all its inputs are finite")
    assert (caught.value.layer, caught.value.step) == (key, 1)
    assert same_bits(snapshot(net), before)


def test_nan_in_the_data_is_nobodys_fault():
    net = network(layers=[Dense(3), Activation(Bent()), Dense(4)])
    with pytest.raises(fm.NonFiniteError, match="in x"):
        net.train_on_batch(np.where(X > 1, np.nan, X), Y)
    assert np.isnan(net.predict(np.full((2, 3), np.nan))).all()
    outputs, backward = net.vjp(X)
    assert np.isnan(backward(np.ones_like(outputs))[1]).all()
