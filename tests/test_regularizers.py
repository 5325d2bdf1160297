"""Regularizers: penalties are a part of the loss, compiled or in Python, and add nothing where there are none."""

import copy
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import cli
from fastmlp._compiler.emit import FUSED_BYTES
from fastmlp._kernels import PENALTY_CHUNK
from fastmlp.layers import BatchNorm, Dense, Layer

FEATURES = 6
BUILTINS = ["l1", "l2", "l1_l2"]


def literal(w, l1=0.0, l2=0.0):
    """Value and gradient, number by number."""
    value = sum(l1 * abs(x) + l2 * x * x for x in w.ravel().tolist())
    slopes = [l1 * ((x > 0) - (x < 0)) + 2 * l2 * x for x in w.ravel().tolist()]
    return value, np.reshape(slopes, w.shape)


class Norm(fm.regularizers.Regularizer):
    """A reduction in the middle."""

    def __init__(self, strength=0.1):
        self.strength = strength

    def value_and_gradient(self, w):
        norm = np.sqrt((w * w).sum() + 1e-6)
        return self.strength * norm, self.strength * w / norm


class Spread(fm.regularizers.Regularizer):
    """Looks at the shape: the mean of fourth powers, less a number, by columns and in other ways."""

    def value_and_gradient(self, w):
        return np.mean(w**4) / 2 - 1.5 + 0.01 * np.sum(np.abs(w)), 2 * w**3 / w.size + 0.01 * np.sign(w)


def data(rows=40, units=3, dtype="float64"):
    rng = np.random.default_rng(4)
    x, y = rng.normal(size=(rows, FEATURES)).astype(dtype), rng.normal(size=(rows, units)).astype(dtype)
    return x, y, rng.uniform(0.1, 2, rows).astype(dtype)


def layers(regularizer, width=9):
    """One for each parameter that can have one; None for the same network without."""
    return [
        Dense(width, "tanh", kernel_regularizer=regularizer, bias_initializer="random_normal"),
        BatchNorm(gamma_regularizer=regularizer, beta_regularizer=regularizer),
        Dense(3, kernel_regularizer=regularizer, bias_regularizer=regularizer, bias_initializer="ones"),
    ]


PENALIZED = ["0.kernel", "1.gamma", "1.beta", "2.kernel", "2.bias"]


def network(regularizer, width=9, dtype="float64", optimizer="sgd", loss="mse"):
    net = fm.Sequential(layers(regularizer, width), input_dim=FEATURES, dtype=dtype, seed=1)
    net.compile(optimizer, loss)
    return net


def penalties(net, regularizer):
    found = {key: regularizer.value_and_gradient(net.parameters[key].copy()) for key in PENALIZED}
    return sum(float(value) for value, _ in found.values()), {key: slope for key, (_, slope) in found.items()}


# -- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"l1": 0.3}, {"l2": 0.2}, {"l1": 0.3, "l2": 0.2}, {"l1": 0.0}, {"l1": 0, "l2": 0}]
)
def test_formulas(settings, dtype):
    w = np.array([[1.5, -2.0, 0.0], [-0.0, 3.0, 1e-3]], dtype)
    made = fm.regularizers.get("_".join(settings), **settings)
    value, gradient = made.value_and_gradient(w)
    expected, slopes = literal(w, **settings)
    assert value == pytest.approx(expected, rel=1e-6) and gradient.dtype == dtype
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6)


def test_defaults_are_those_of_keras():
    assert fm.regularizers.get("l1").get_config() == {"l1": 0.01}
    assert fm.regularizers.get("l2").get_config() == {"l2": 0.01}
    assert fm.regularizers.get("l1_l2").get_config() == {"l1": 0.01, "l2": 0.01}


@pytest.mark.parametrize("make", [*BUILTINS, Norm, Spread])
def test_loss_and_gradients_have_it(make):
    """Those of the same network without, and what NumPy gives for each parameter; with weights too."""
    regularizer = fm.regularizers.get(make)
    net, plain = network(regularizer), network(None)
    x, y, weight = data()
    value, slopes = penalties(net, regularizer)
    for given in (None, weight):
        (loss, gradients), (least, others) = (one.loss_and_gradients(x, y, given) for one in (net, plain))
        assert loss == pytest.approx(least + value, rel=1e-12)
        for key, array in gradients.items():
            np.testing.assert_allclose(array, others[key] + slopes.get(key, 0), rtol=1e-11, atol=1e-13)
        found, expected = (one.evaluate(x, y, sample_weight=given, batch_size=7)["loss"] for one in (net, plain))
        assert found == pytest.approx(expected + value, rel=1e-12)
        assert net.train_on_batch(x, y, given)["loss"] == loss
        net, plain = network(regularizer), network(None)


class Squares(fm.losses.Loss):
    recordable = False

    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return (d * d).mean(axis=1), 2 * d / d.shape[1]


@pytest.mark.parametrize("make", ["l2", Norm])
def test_beside_a_loss_in_python(make):
    nets = [network(fm.regularizers.get(make), loss=loss) for loss in ("mse", Squares())]
    x, y, weight = data()
    for _ in range(2):
        logs = [net.train_on_batch(x, y, weight)["loss"] for net in nets]
        assert logs[0] == pytest.approx(logs[1], rel=1e-12)
    logs = [net.evaluate(x, y, batch_size=15)["loss"] for net in nets]
    assert logs[0] == pytest.approx(logs[1], rel=1e-12)


def test_profile_of_penalties(same):
    """Each operation is timed, and nothing is changed."""
    for make in ("l2", Norm):
        net, twin = (network(fm.regularizers.get(make)) for _ in range(2))
        x, y, _ = data()
        assert [timing.operation.name for timing in net.profile(x, y, repeats=1)] == names(net)
        same(net, twin)
        assert net.train_on_batch(x, y) == twin.train_on_batch(x, y)


@pytest.mark.parametrize("name", fm.registry.regularizers.names())
def test_finite_differences(name):
    """The gradient of a network's loss, penalties included, for everything registered."""
    net, (x, y, _) = network(name), data()
    if name == "orthogonal":  # it takes matrices alone
        net = fm.Sequential([Dense(9, "tanh", kernel_regularizer=name), Dense(3)], input_dim=FEATURES, dtype="float64")
        net.compile("sgd", "mse")
    _, gradients = net.loss_and_gradients(x, y)
    for key, array in gradients.items():
        weights = net.parameters[key]
        at = tuple(np.array(weights.shape) // 2)
        kept = weights[at]
        sides = []
        for moved in (kept + 1e-6, kept - 1e-6):
            weights[at] = moved
            sides.append(net.loss_and_gradients(x, y)[0])
        weights[at] = kept
        if abs(kept) > 1e-5:  # 0 is a corner of |w|
            assert array[at] == pytest.approx((sides[0] - sides[1]) / 2e-6, abs=1e-8)


def test_vjp_has_none_of_it(same_bits):
    """Its loss is the caller's."""
    x, y, _ = data()
    (_, backward), (_, other) = (network(regularizer).vjp(x, training=True) for regularizer in ("l2", None))
    (gradients, d_input), (others, same) = backward(y), other(y)
    assert same_bits(gradients, others) and same_bits(d_input, same)


class Plain(fm.optimizers.Optimizer):
    """In Python."""

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


class Signs(Plain):
    """Traced."""

    elementwise = True

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * np.sign(grad) * np.abs(grad) ** 0.5


@pytest.mark.parametrize("make", ["l1_l2", Norm], ids=["compiled", "python"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam", Plain, Signs])
def test_optimizers_get_it(optimizer, make, same):
    """A step is that of the gradients with penalties."""
    x, y, _ = data()
    net, twin = (network(fm.regularizers.get(make), optimizer=optimizer) for _ in range(2))
    for _ in range(3):
        _, gradients = twin.loss_and_gradients(x, y)
        twin.apply_gradients(gradients)
        net.train_on_batch(x, y)
    for key, array in net.parameters.items():
        np.testing.assert_array_equal(array, twin.parameters[key])


def test_weights_decay_by_hand():
    """w := w - lr (g + 2 lambda w), for one weight, from x = 0, so that g is 0."""
    net = fm.Sequential([Dense(1, use_bias=False, kernel_regularizer={"name": "l2", "l2": 0.25})], input_dim=1, seed=0)
    net.compile(fm.optimizers.SGD(0.5), "mse")
    net.parameters["0.kernel"] = [[8.0]]
    zero = np.zeros((1, 1), "f4")
    logs = [net.train_on_batch(zero, zero)["loss"] for _ in range(3)]
    assert logs == [16.0, 9.0, 5.0625]
    assert net.parameters["0.kernel"].item() == 8 * 0.75**3


@pytest.mark.parametrize("make", ["l2", Norm], ids=["compiled", "python"])
def test_logs_of_an_epoch(make):
    """The mean of the steps' losses, by weight; validation has the penalty of after the epoch."""
    x, y, weight = data(50)
    net, by_hand = (network(fm.regularizers.get(make)) for _ in range(2))
    history = net.fit(x, y, batch_size=16, shuffle=False, sample_weight=weight, validation_data=(x, y)).history
    parts = [slice(at, min(at + 16, 50)) for at in range(0, 50, 16)]
    logs = [by_hand.train_on_batch(x[part], y[part], weight[part])["loss"] for part in parts]
    mean = np.average(logs, weights=[weight[part].sum() for part in parts])
    assert history["loss"] == [pytest.approx(mean, rel=1e-12)]
    assert history["val_loss"] == [pytest.approx(by_hand.evaluate(x, y)["loss"], rel=1e-12)]


# -- where it runs -------------------------------------------------------------------------------------------------


def names(net, **options):
    return [operation.name for operation in net.plan(20, **options)]


def test_nothing_more_where_there_are_none():
    """The operations without the penalties are those of a network that has none."""
    plain, net = network(None), network("l2")
    assert not {"penalty", "penalty_sum"}.intersection(names(plain))
    assert [name for name in names(net) if not name.startswith("penalty")] == [
        name
        for name in names(plain)
        if name != "check"  # which is in the penalty
    ]
    assert names(net).count("penalty") == len(PENALIZED) and names(net).count("penalty_sum") == 1
    assert names(net, training=False) == names(plain, training=False)
    assert "all operations run compiled" in repr(net)
    shown = [operation.fused for operation in net.plan(20) if operation.name == "penalty"]
    assert shown == [(f"L2() of {key}",) for key in PENALIZED]


def test_what_runs_in_python_is_told():
    net = network(Norm(0.5))
    lines = repr(net).splitlines()
    assert [line for line in lines if "regularizer" in line and line.startswith("  ")] == [
        f"  regularizer Norm(strength=0.5) of {key} (np.sqrt of a sum; a sum must come last, but for numbers added and "
        "multiplied)"
        for key in PENALIZED
    ]
    (found,) = [operation for operation in net.plan(20) if not operation.compiled]
    assert found.section == "backward" and "np.sqrt of a sum" in found.reason
    assert all(f"Norm(strength=0.5) of {key}" in found.python for key in PENALIZED)


def of(function, **attributes):
    body = {"value_and_gradient": lambda self, w: function(w), **attributes}
    return type("Own", (fm.regularizers.Regularizer,), body)()


REASONS = {
    "float": (lambda w: (float(w.sum()), w * 0 + 1), "number of a sum"),
    "sum by rows": (lambda w: (np.sum(w, axis=0).sum(), w * 0 + 1), "axis=0"),
    "maximum": (lambda w: (np.max(w), w * 0), "max"),
    "transposed": (lambda w: ((w.T * w.T).sum(), 2 * w), ".T"),
    "no sum": (lambda w: (0.0, w * 0), "not a sum"),
    "another in NumPy": (
        lambda w: (w.sum(), w * 0 + (1 if isinstance(w, np.ndarray) else 2)),
        "gradient: traced, it gives",
    ),
    "another value": (
        lambda w: (w.sum() * (1 if isinstance(w, np.ndarray) else 2), w * 0 + 1),
        "value: traced, it gives",
    ),
}


@pytest.mark.parametrize("what", REASONS)
def test_reasons(what):
    function, reason = REASONS[what]
    net = fm.Sequential([Dense(3, kernel_regularizer=of(function))], input_dim=2)
    net.compile("sgd", "mse")
    assert reason in repr(net) and "in Python (NumPy):" in repr(net)
    said = fm.Sequential([Dense(3, kernel_regularizer=of(function, recordable=False))], input_dim=2)
    said.compile("sgd", "mse")
    assert "recordable = False" in repr(said)


def test_a_layer_in_python_and_one_of_ones_own(contents):
    """Any layer's parameter has one, by the name of the attribute that keeps it."""

    class Scale(Layer):
        def __init__(self, factor_regularizer=None):
            super().__init__()
            self.factor_regularizer = factor_regularizer

        def build(self, input_dim):
            self.add_parameter("factor", (input_dim,), "ones")
            return input_dim

        def forward(self, x, *, training, rng):
            factor = self.parameters["factor"]
            return x * factor, lambda dy: (dy * factor, {"factor": (dy * x).sum(axis=0)})

    x, y, _ = data(units=FEATURES)
    found = []
    for regularizer in ("l2", None):
        net = fm.Sequential([Scale(regularizer)], input_dim=FEATURES, dtype="float64")
        net.compile("sgd", "mse")
        found.append(net.loss_and_gradients(x, y))
    assert found[0][0] == pytest.approx(found[1][0] + 0.01 * FEATURES, rel=1e-12)
    np.testing.assert_allclose(found[0][1]["0.factor"], found[1][1]["0.factor"] + 0.02, rtol=1e-12)


# -- bits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [9, 25_000], ids=["fused group", "split"])
@pytest.mark.parametrize("make", ["l1_l2", Norm, Spread])
def test_the_same_bits_at_any_number_of_threads(make, width, dtype, teams, contents):
    x, y, weight = data(33, dtype=dtype)
    results = []
    for threads in (1, 2, 3, 5):
        with fm.num_threads(threads):
            net = network(fm.regularizers.get(make), width, dtype, "adam")
            assert (net.engine.memory.size * dtype.itemsize > FUSED_BYTES) == (width > 9)
            history = net.fit(x, y, epochs=2, batch_size=20, sample_weight=weight).history
            results.append((history, net.evaluate(x, y, batch_size=10), contents(net)))
    assert all(one == results[0] for one in results[1:])


def test_parameters_of_no_axes_and_of_no_numbers():
    class Odd(Layer):
        def __init__(self, number_regularizer="l2", none_regularizer="l1"):
            super().__init__()
            self.number_regularizer, self.none_regularizer = number_regularizer, none_regularizer

        def build(self, input_dim):
            self.add_parameter("number", (), "ones")
            self.add_parameter("none", (0, 3))
            return input_dim

        def forward(self, x, *, training, rng):
            number = self.parameters["number"]
            return x * number, lambda dy: (dy * number, {"number": (dy * x).sum(), "none": np.zeros((0, 3))})

    net = fm.Sequential([Odd()], input_dim=3, dtype="float64")
    net.compile("sgd", "mse")
    loss, gradients = net.loss_and_gradients(np.zeros((1, 3)), np.zeros((1, 3)))
    assert loss == pytest.approx(0.01, rel=1e-12) and gradients["0.number"] == pytest.approx(0.02, rel=1e-12)
    assert "  regularizer " not in repr(net)  # those that run in Python


@pytest.mark.parametrize("size", [1, 7, *(PENALTY_CHUNK + more for more in (-1, 0, 1)), 3 * PENALTY_CHUNK + 5])
def test_parameters_of_any_size(size, dtype, teams):
    """Integers, whose sum is exact: none is left out, and none beside it counts."""
    net = fm.Sequential([Dense(size, kernel_regularizer="l1", bias_regularizer="l1")], input_dim=1, dtype=dtype, seed=0)
    net.compile("sgd", of_zero())
    kernel = np.random.default_rng(0).integers(-9, 9, (1, size))
    net.parameters["0.kernel"], net.parameters["0.bias"] = kernel, np.arange(size) % 5 + 1
    zero = np.zeros((1, 1), dtype)
    loss, gradients = net.loss_and_gradients(zero, np.zeros((1, size), dtype))
    expected = np.abs(kernel).sum() + (np.arange(size) % 5 + 1).sum()
    assert loss == pytest.approx(0.01 * expected, rel=1e-6 if dtype == np.float32 else 1e-13)
    np.testing.assert_allclose(gradients["0.kernel"], 0.01 * np.sign(kernel), rtol=1e-6)
    np.testing.assert_allclose(gradients["0.bias"], np.full(size, 0.01), rtol=1e-6)


def of_zero():
    """A loss that is 0."""

    class Zero(fm.losses.Loss):
        def value_and_gradient(self, y_true, y_pred):
            return (0 * y_pred).sum(axis=1), 0 * y_pred

    return Zero()


def test_ways_through_a_step_give_the_same_bits(same):
    """In one call, with weights of 1, with a callback on each batch, and by another dtype of the data."""

    class Watch(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            pass

    x, y, _ = data(40, dtype="float32")
    nets = [network("l1_l2", dtype="float32", optimizer="adam") for _ in range(5)]
    for _ in range(2):
        for at in range(0, 40, 20):
            part = slice(at, at + 20)
            nets[0].train_on_batch(x[part], y[part])
            nets[1].train_on_batch(x[part], y[part], np.ones(20))
    assert nets[0].engine.executables.training(20).fastpath is not None
    nets[2].fit(x, y, epochs=2, batch_size=20, shuffle=False)
    nets[3].fit(x, y, epochs=2, batch_size=20, shuffle=False, callbacks=[Watch()])
    nets[4].fit(x.astype("f8"), y.astype("f8"), epochs=2, batch_size=20, shuffle=False)
    for net in nets[1:]:
        same(net, nets[0])


# -- settings, files, errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["train_on_batch", "evaluate"])
def test_a_setting_that_changes(first):
    x, y, _ = data()
    net = network(fm.regularizers.L2(0.1))
    net.optimizer.learning_rate = 0.0
    before = getattr(net, first)(x, y)
    net.layers[0].kernel_regularizer.l2 = 0.3  # one object, in all places
    penalty, _ = penalties(net, fm.regularizers.L2(0.1))
    after = getattr(net, first)(x, y)
    after, before = (logs["loss"] if isinstance(logs, dict) else logs for logs in (after, before))
    assert after == pytest.approx(before + 2 * penalty, rel=1e-12)


def test_files_and_copies(tmp_path, register, same):
    register("regularizers", "norm", Norm)
    for regularizer in (fm.regularizers.L1L2(0.1, 0.2), Norm(0.3)):
        net = network(regularizer, optimizer="adam")
        x, y, _ = data()
        net.train_on_batch(x, y)
        net.save(tmp_path / "net")
        assert net.layers[0].kernel_regularizer == regularizer and net.layers[0].bias_regularizer is None
        for twin in (fm.load(tmp_path / "net"), pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
            assert [repr(layer) for layer in twin.layers] == [repr(layer) for layer in net.layers]
            assert f"gamma_regularizer={regularizer!r}" in repr(twin)
            assert twin.loss_and_gradients(x, y)[0] == net.loss_and_gradients(x, y)[0]
        twin.train_on_batch(x, y)
        net.train_on_batch(x, y)
        same(net, twin)
        assert copy.deepcopy(regularizer) == pickle.loads(pickle.dumps(regularizer)) == regularizer


def test_a_layer_says_nothing_of_what_it_has_not():
    assert "regularizer" not in repr(Dense(3)) + repr(BatchNorm())
    assert Dense(3, kernel_regularizer="l2").kernel_regularizer == fm.regularizers.L2(0.01)


@pytest.mark.parametrize("name", BUILTINS)
def test_bad_settings(name):
    for setting in fm.regularizers.get(name).get_config():
        for value in (-0.1, np.nan, np.inf):
            with pytest.raises(ValueError, match=setting):
                fm.regularizers.get(name, **{setting: value})
        for value in ("0.1", None, True, [0.1]):
            with pytest.raises(TypeError, match=setting):
                fm.regularizers.get(name, **{setting: value})


@pytest.mark.parametrize(
    "make",
    [
        lambda given: Dense(3, kernel_regularizer=given),
        lambda given: Dense(3, bias_regularizer=given),
        lambda given: BatchNorm(gamma_regularizer=given),
        lambda given: BatchNorm(beta_regularizer=given),
    ],
)
def test_no_regularizers(make):
    with pytest.raises(fm.UnknownNameError, match="l2"):
        make("l3")
    for wrong in (0.01, fm.optimizers.SGD(), fm.losses.Huber, True):
        with pytest.raises(TypeError, match="regularizer"):
            make(wrong)


WRONG = {
    "value of another shape": (lambda w: (w.sum(axis=0), w), ValueError, ["value", r"\(\)", r"\(9,\)"]),
    "gradient of another shape": (lambda w: (w.sum(), w[:1]), ValueError, ["gradient", r"\(6, 9\)", r"\(1, 9\)"]),
    "one thing": (lambda w: w.sum(), TypeError, ["value, gradient"]),
    "nothing": (lambda w: None, TypeError, ["NoneType"]),
    "complex": (lambda w: (w.sum() * 1j, w), TypeError, ["complex"]),
    "writes": (lambda w: w.fill(0), (ValueError, TypeError), ["read-only"]),
    "raises": (lambda w: 1 / 0, ZeroDivisionError, ["division"]),
    "NaN": (lambda w: (np.nan, w), fm.NonFiniteError, ["regularizer Own", "value"]),
    "NaN in the gradient": (lambda w: (float(w.sum()), w * np.nan), fm.NonFiniteError, ["regularizer Own", "gradient"]),
}


@pytest.mark.parametrize("call", ["train_on_batch", "fit", "loss_and_gradients"])
@pytest.mark.parametrize("what", WRONG)
def test_one_that_does_something_else(what, call, refuses):
    """An error that says what, before anything has changed."""
    answer, error, words = WRONG[what]
    x, y, _ = data(dtype="float32")

    class Own(fm.regularizers.Regularizer):
        recordable = False
        wrong = False

        def value_and_gradient(self, w):
            return answer(w) if self.wrong else (w.sum(), np.ones_like(w))

    def make():
        net = fm.Sequential([Dense(9, kernel_regularizer=Own()), Dense(3)], input_dim=FEATURES, seed=1)
        net.compile("adam", "mse")
        net.train_on_batch(x, y)
        return net

    def go_wrong(net):
        own = net.layers[0].kernel_regularizer
        own.wrong = True
        try:
            getattr(net, call)(x, y)
        finally:
            own.wrong = False

    refuses(make, go_wrong, error, *words)


@pytest.mark.parametrize("power", [0.6, 0.9], ids=["value", "gradient too"])
def test_an_infinite_penalty_stops_the_step(power, refuses):
    """In float32 a weight of 1e23 has no square, and 2 lambda w may be none either."""
    x, y, _ = data(dtype="float32")

    def make():
        net = fm.Sequential([Dense(3, kernel_regularizer=fm.regularizers.L2(1e38**power))], input_dim=FEATURES, seed=1)
        net.compile(fm.optimizers.SGD(0.0), "mse")
        net.train_on_batch(0 * x, y)
        return net

    def grow(net):
        kept = net.parameters["0.kernel"].copy()
        net.parameters["0.kernel"][0, 0] = 1e23
        try:
            net.train_on_batch(0 * x, y)
        finally:
            net.parameters["0.kernel"] = kept

    refuses(make, grow, fm.NonFiniteError, "loss|gradients")


def test_plugins_of_this_kind(plugin, capsys):
    plugin(
        "ridge",
        """
        [fastmlp.regularizers]
        ridge = ridge_module:Ridge
        """,
        ridge_module="""
        import fastmlp as fm

        class Ridge(fm.regularizers.Regularizer):
            def value_and_gradient(self, w):
                return 0.5 * (w * w).sum(), w * 1
        """,
    )
    assert cli.main(["plugins", "--load"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "ridge" in line]
    assert line.split()[:5] == ["regularizer", "ridge", "ridge", "1.0", "traced"]
    assert cli.main(["plugins", "check", "ridge"]) == 0
    assert "regularizers ridge  of_the_loss" in capsys.readouterr().out
    net = fm.Sequential([Dense(3, kernel_regularizer="ridge")], input_dim=2)
    assert "kernel_regularizer=Ridge()" in repr(net)


# -- orthogonal --------------------------------------------------------------------------------------------------------


def test_orthogonal_by_hand(dtype):
    """Rows (3, 4), (0, 2), (-5, 0): cosines 4/5, -3/5 and 0 between them; columns have the cosine 20 / sqrt(34 20)."""
    w = np.array([[3.0, 4.0], [0.0, 2.0], [-5.0, 0.0]], dtype)
    value, gradient = fm.regularizers.get("orthogonal", factor=0.5).value_and_gradient(w)
    assert value == pytest.approx(0.5 * (4 / 5 + 3 / 5) / 3, rel=1e-6)
    # u = (3/5, 4/5), (0, 1), (-1, 0); the first row's g is (u2 - u3) / 6 = (1, 1) / 6, less its part along u, / 5
    np.testing.assert_allclose(gradient[0] * 6 * 5, [1 - 21 / 25, 1 - 28 / 25], rtol=1e-5)
    assert gradient.dtype == dtype and gradient.shape == w.shape
    value, _ = fm.regularizers.get("orthogonal", factor=0.5, mode="columns").value_and_gradient(w)
    assert value == pytest.approx(0.5 * 12 / (34 * 20) ** 0.5, rel=1e-6)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_orthogonal_is_kerass(mode):
    """Keras's own lines, in NumPy (keras/src/regularizers/regularizers.py, 3.x); and finite differences."""
    w = np.random.default_rng(8).normal(size=(5, 4))
    made = fm.regularizers.OrthogonalRegularizer(0.3, mode)

    def keras(inputs):
        inputs = inputs / np.maximum(np.linalg.norm(inputs, axis=int(mode == "rows"), keepdims=True), 1e-10)
        product = inputs @ inputs.T if mode == "rows" else inputs.T @ inputs
        size = inputs.shape[int(mode == "columns")]
        return 0.3 * 0.5 * np.sum(np.abs(product * (1.0 - np.eye(size)))) / (size * (size - 1.0) / 2.0)

    value, gradient = made.value_and_gradient(w)
    assert value == pytest.approx(keras(w), rel=1e-12)
    for place in np.ndindex(w.shape):
        step = np.zeros_like(w)
        step[place] = 1e-6
        assert gradient[place] == pytest.approx((keras(w + step) - keras(w - step)) / 2e-6, rel=1e-6, abs=1e-9)


def test_orthogonal_where_there_is_nothing_to_do():
    made = fm.regularizers.OrthogonalRegularizer(0.3)
    for w in (np.eye(3) * [[2.0], [5.0], [0.1]], np.zeros((3, 4)), np.ones((1, 4)), np.zeros((0, 4))):
        value, gradient = made.value_and_gradient(w)
        assert value == 0 and not gradient.any() and gradient.shape == w.shape
    for config in ({"factor": -1}, {"mode": "both"}):
        with pytest.raises(ValueError, match=next(iter(config))):
            fm.regularizers.get("orthogonal", **config)
    assert made.get_config() == {"factor": 0.3, "mode": "rows"}
    assert fm.regularizers.OrthogonalRegularizer().get_config() == {"factor": 0.01, "mode": "rows"}


def test_orthogonal_makes_units_orthogonal():
    config = {"name": "orthogonal", "factor": 1.0, "mode": "columns"}
    net = fm.Sequential([Dense(4, kernel_regularizer=config)], input_dim=6, seed=0)
    net.compile("sgd", "mse")
    assert "in Python (NumPy):\n  regularizer OrthogonalRegularizer(" in repr(net)
    x, y, _ = data(units=4, dtype="float32")

    def cosine():
        u = net.parameters["0.kernel"] / np.linalg.norm(net.parameters["0.kernel"], axis=0)
        return np.abs(u.T @ u - np.eye(4)).mean()

    before, net.optimizer.learning_rate = cosine(), 0.05
    net.fit(x, 0 * y, epochs=100, verbose=0)
    assert cosine() < before / 4
    wrong = fm.Sequential([Dense(4, bias_regularizer="orthogonal")], input_dim=6)
    wrong.compile("sgd", "mse")
    with pytest.raises(ValueError, match="a matrix is needed"):
        wrong.train_on_batch(x, y)
