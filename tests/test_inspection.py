"""Looking into the plan: what is listed, what is measured, and that looking changes nothing."""

import json
import tracemalloc

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._kernels import OPS
from fastmlp.inspection import _listing
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

N = 48


class Wave(fm.activations.Activation):
    recordable = False

    def __init__(self, factor=1.0):
        self.factor = factor

    def forward(self, z):
        return (self.factor * np.sin(z)).astype(z.dtype)

    def derivative(self, z, a):
        return (self.factor * np.cos(z)).astype(z.dtype)


class Shift(fm.layers.Layer):
    """Writes into its buffer, and into its parameter, at each step."""

    fails_at = -1
    error = RuntimeError("enough")

    def build(self, input_dim):
        self.add_parameter("shift", (input_dim,), "zeros")
        self.add_buffer("calls", (1,), 0.0)
        self.calls = 0
        return input_dim

    def forward(self, x, *, training, rng):
        self.calls += 1
        self.buffers["calls"] += 1
        y = x + self.parameters["shift"]
        self.parameters["shift"][...] *= 0.5
        if self.calls == self.fails_at:
            raise self.error
        return y, lambda dy: (dy, {"shift": dy.sum(axis=0)})


class Slow(fm.optimizers.Optimizer):
    def init_state(self, param):
        return {"mean": np.zeros_like(param), "steps": np.zeros(2, np.int64)}

    def update(self, param, grad, state, learning_rate, step):
        state["mean"] += grad
        state["steps"] += step
        param -= learning_rate * state["mean"]


class Doubled(fm.losses.Loss):
    recordable = False

    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return 2 * (d * d).sum(axis=1), 4 * d


def network(
    layers, optimizer="adam", loss="sparse_categorical_crossentropy", inputs=20, metrics=("accuracy",), **options
):
    net = fm.Sequential(layers, input_dim=inputs, seed=3, **options)
    net.compile(optimizer, loss, metrics)
    return net


def classifier(dtype="float32"):
    layers = [Dense(30), BatchNorm(), Activation("relu"), Dropout(0.3), Dense(12, "tanh"), Dense(5, "softmax")]
    return network(layers, dtype=dtype)


def momentum():
    return network([Dense(7, "sigmoid"), Dense(5)], fm.optimizers.SGD(0.1, momentum=0.9), "mse", metrics=())


def foreign():
    layers = [Dense(9, Wave(2.0)), Shift(), BatchNorm(), Dense(5)]
    return network(layers, Slow(0.01), Doubled(), metrics=())


NETWORKS = {"float32": classifier, "float64": lambda: classifier("float64"), "momentum": momentum, "foreign": foreign}


def data_for(net, n=N):
    rng = np.random.default_rng(8)
    x = rng.normal(size=(n, net.input_dim)).astype(net.dtype)
    return x, rng.integers(0, 5, n) if net.loss.labels else rng.normal(size=(n, 5)).astype(net.dtype)


@pytest.fixture(params=NETWORKS)
def make(request):
    """A trained network, the same at each call."""

    def make():
        net = NETWORKS[request.param]()
        for _ in range(3):
            net.train_on_batch(*data_for(net))
        return net

    return make


def names(listing):
    return [(operation.name, operation.layer, operation.fused) for operation in listing]


# -- what is listed ------------------------------------------------------------------------------------------------


def test_a_training_step():
    net = network([Dense(128, "relu"), Dense(10, "softmax")], inputs=784)
    found = net.plan(128)
    softmax = ("sparse_softmax_crossentropy", "accuracy")
    assert [(o.section, o.name, o.layer, o.shape, o.fused) for o in found] == [
        ("forward", "dense", "0", (128, 784, 128), ("relu",)),
        ("forward", "dense", "1", (128, 128, 10), ()),
        ("forward", "loss", None, (128, 10), softmax),
        ("backward", "d_input", "1", (128, 10, 128), ("derivative of relu",)),
        ("backward", "loss_sum", None, (128,), ()),
        ("backward", "d_kernel", "1", (128, 128, 10), ("d_bias", "check")),
        ("backward", "d_kernel", "0", (784, 128, 128), ("d_bias", "check")),
        ("check", "abort_if_nonfinite", None, (), ()),
        ("commit", "adam", None, (net.engine.memory.size,), ()),
    ]
    assert found.multiply_adds == sum(o.multiply_adds for o in found) == 2 * 128 * 784 * 128 + 3 * 128 * 128 * 10
    assert all(o.compiled and o.python is None for o in found)
    assert found.training and (found.batch, found.dtype) == (128, "float32")


def test_batch_norm_is_folded_at_inference_and_not_in_training():
    net = network([Dense(6, name="first"), BatchNorm(name="norm"), Activation("tanh"), Dense(5, "softmax")])
    assert names(net.plan(9, training=False)) == [
        ("batchnorm_running", "norm", ()),
        ("batchnorm_fold", "norm", ()),
        ("dense", "first", ("batchnorm", "tanh")),
        ("dense", "3", ()),
        ("softmax", "3", ()),
    ]
    step = names(net.plan(9))
    for operation in ("batchnorm_statistics", "batchnorm_backward_sums", "batchnorm_backward", "batchnorm_update"):
        assert (operation, "norm", ()) in step
    assert ("batchnorm", "norm", ("tanh",)) in step
    assert ("d_input", "3", ("derivative of tanh",)) in step
    assert step.count(("check", "norm", ())) == 2


def test_a_prediction_of_what_is_no_product():
    net = fm.Sequential([Activation("leaky_relu"), Activation("softmax")], input_dim=3)
    assert names(net.plan(2)) == [("gather", None, ()), ("activation", "0", ("leaky_relu",)), ("softmax", "1", ())]
    assert [(o.shape, o.multiply_adds) for o in net.plan(2)] == [((2, 3), 0)] * 3


def test_what_runs_in_python_is_named():
    found = [o for o in foreign().plan(16) if not o.compiled]
    assert [(o.section, o.layer, o.python, o.shape) for o in found] == [
        ("forward", "0", "Wave(factor=2.0)", (16, 9)),
        ("forward", "1", "Shift()", (16, 9)),
        ("forward", None, "Doubled()", (16, 5)),
        ("backward", "1", "Shift()", (16, 9)),
        ("backward", "0", "Wave(factor=2.0)", (16, 9)),
        ("commit", None, "Slow(learning_rate=0.01)", (20 * 9 + 9 + 9 + 18 + 9 * 5 + 5,)),
    ]
    assert all(o.name == "python" and o.schedule is None for o in found)
    assert found[0].reason and found[1].reason is None


def test_it_is_the_plan_that_runs(make):
    net = make()
    plan = net.engine.executables.training(N).plan
    name_of = {spec.code: name for name, spec in OPS.items()}
    records = plan.ops.view(np.dtype(OPS["python"].layout))[:, 0]  # they differ behind what all have
    assert [o.name for o in net.plan(N)] == [name_of[code] for code in records["code"].tolist()]
    assert _listing.listing(net.engine, plan, N, True) == net.plan(N)
    plan = net.engine.executables.take_predicting(N).plan
    assert _listing.listing(net.engine, plan, N, False) == net.plan(N, training=False)


def test_as_text_and_as_json():
    listing = foreign().plan(16)
    text = str(listing)
    assert text == repr(listing) and text.startswith("training step of 16 rows, float32, threads: ")
    for words in (
        "16x20x9",
        "Python: Wave(factor=2.0)",
        "Slow(learning_rate=0.01)",
        "batchnorm_update",
        "d_bias, check",
    ):
        assert words in text
    assert "Wave(factor=2.0) runs in Python: " in text
    assert len(text.splitlines()) == len(listing) + 5  # two reasons
    found = json.loads(json.dumps(listing.to_dict(), allow_nan=False))
    assert [row["name"] for row in found["operations"]] == [o.name for o in listing]
    assert found["operations"][0]["shape"] == [16, 20, 9]
    assert found["multiply_adds"] == listing.multiply_adds and found["batch"] == 16


def test_the_step_is_taken_where_there_is_one():
    net = fm.Sequential([Dense(2)], input_dim=3)
    assert not net.plan().training and net.plan().batch == 32
    net.compile("sgd", "mse")
    assert net.plan().training and not net.plan(training=False).training
    net.compile("sgd")
    assert not net.plan().training


def test_no_memory_of_a_batch_is_taken():
    net = classifier()
    net.plan(8)
    tracemalloc.start()
    try:
        net.plan(10**12)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 300_000


@pytest.mark.parametrize(
    "arguments, error, words",
    [
        ({"batch": 0}, ValueError, ["batch", "at least 1", "0"]),
        ({"batch": 10**30}, ValueError, ["batch", "at most"]),
        ({"batch": 2.0}, TypeError, ["batch", "integer", "2.0"]),
        ({"batch": True}, TypeError, ["batch"]),
        ({"training": 1}, TypeError, ["training", "True, False or None"]),
    ],
)
def test_bad_arguments_of_plan(arguments, error, words, refuses):
    refuses(classifier, lambda net: net.plan(**arguments), error, *words)


def test_networks_without_a_plan():
    net = fm.Sequential([Dense(2)])
    with pytest.raises(fm.NotBuiltError, match="no parameters yet"):
        net.plan()
    with pytest.raises(fm.NotBuiltError, match="no parameters yet"):
        net.profile(np.zeros((4, 3)))
    assert not net.built
    net.build(3)
    for call in (lambda: net.plan(training=True), lambda: net.profile(np.zeros((4, 3)), np.zeros((4, 2)))):
        with pytest.raises(RuntimeError, match="not compiled"):
            call()


# -- what is measured ----------------------------------------------------------------------------------------------


def test_rows_of_a_profile_are_those_of_the_plan(make):
    net = make()
    x, y = data_for(net)
    for found, plan in ((net.profile(x, y, repeats=2), net.plan(N)), (net.profile(x), net.plan(N, training=False))):
        assert [timing.operation for timing in found] == list(plan) == list(found.plan)
        assert all(timing.microseconds >= 0 for timing in found)
        assert found.microseconds == sum(timing.microseconds for timing in found)
        assert found.step_microseconds > 0 and found.peak_gflops > 0
        for timing in found:
            if not timing.operation.multiply_adds:
                assert timing.gflops is None and timing.share is None
            elif timing.microseconds:
                assert timing.gflops == pytest.approx(2e-3 * timing.operation.multiply_adds / timing.microseconds)
                assert timing.share == pytest.approx(timing.gflops / found.peak_gflops)


def test_a_profile_as_text_and_as_json():
    net = foreign()
    found = net.profile(*data_for(net), repeats=1)
    text = str(found)
    assert text == repr(found) and "medians of 1" in text.splitlines()[0]
    for words in ("GFLOP/s", "of peak", "one by one", "in one go", "Python: Wave(factor=2.0)"):
        assert words in text
    written = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert [row["microseconds"] for row in written["operations"]] == [timing.microseconds for timing in found]
    assert written["repeats"] == 1 and written["step_microseconds"] == found.step_microseconds


def test_profiling_changes_nothing(make, same_future):
    net, twin = make(), make()
    x, y = data_for(net)
    net.profile(x, y, repeats=3)
    net.profile(x[::-2].astype("f8"), repeats=2)
    net.profile(x.tolist(), y.tolist(), repeats=1)
    assert net.engine.counters() == twin.engine.counters()
    same_future(net, twin)


@pytest.mark.parametrize("call", [1, 2, 4])
@pytest.mark.parametrize("error", [RuntimeError("enough"), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("training", [True, False])
def test_a_failure_changes_nothing(training, error, call, same_future):
    """What a layer wrote before it failed is put back, and the network isn't left locked."""
    net, twin = foreign(), foreign()
    x, y = data_for(net)
    layer = net.layers[1]
    layer.fails_at, layer.error = layer.calls + call, error
    with pytest.raises(type(error)):
        net.profile(x, y if training else None, repeats=4)
    assert layer.calls == layer.fails_at
    assert net.buffers["1.calls"] == 0
    same_future(net, twin)


def test_from_within_a_step():
    class Curious(Wave):
        def forward(self, z):
            if armed:
                net.profile(x, y)
            return super().forward(z)

    armed = False
    net = network([Dense(4, Curious()), Dense(5)], loss="mse", metrics=())
    x, y = data_for(net)
    armed = True
    with pytest.raises(RuntimeError, match="profile: called from within a step"):
        net.train_on_batch(x, y)
    armed = False
    assert len(net.profile(x, y, repeats=1)) == len(net.plan(N))


NAN = np.full((4, 20), np.nan)


@pytest.mark.parametrize(
    "x, y, repeats, error, words",
    [
        (np.zeros((4, 3)), None, 1, ValueError, ["expected 20 features, got 3"]),
        (np.zeros((0, 20)), None, 1, ValueError, ["no samples"]),
        (np.zeros(20), None, 1, ValueError, ["2 dimensions"]),
        (np.zeros((4, 20), complex), None, 1, TypeError, ["complex"]),
        (None, None, 1, TypeError, ["x", "None"]),
        (np.zeros((4, 20)), [0, 1, 2], 1, ValueError, ["expected 4 samples"]),
        (np.zeros((4, 20)), [0, 1, 2, 9], 1, ValueError, ["labels from 0 to 4"]),
        (NAN, [0, 1, 2, 3], 1, fm.NonFiniteError, ["NaN or infinity in x"]),
        (np.zeros((4, 20)), None, 0, ValueError, ["repeats", "at least 1"]),
        (np.zeros((4, 20)), None, 1.5, TypeError, ["repeats"]),
    ],
)
def test_bad_arguments_of_profile(x, y, repeats, error, words, refuses):
    refuses(classifier, lambda net: net.profile(x, y, repeats=repeats), error, *words)


def test_a_prediction_lets_nan_through():
    net = classifier()
    assert len(net.profile(NAN, repeats=1)) == len(net.plan(4, training=False))
