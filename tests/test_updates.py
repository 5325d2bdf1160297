"""After a step all numbers of a network are finite, or the step is refused and all are as before it."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense

ROWS = 12


class Traced(fm.optimizers.Optimizer):
    """Divides by the root of a mean square, without an epsilon."""

    elementwise = True

    def init_state(self, param):
        return {"v": np.ones_like(param)}

    def update(self, param, grad, state, learning_rate, step):
        state["v"] *= 0.5
        state["v"] += 0.5 * grad * grad
        param -= learning_rate * grad / np.sqrt(state["v"])


class InPython(Traced):
    elementwise = False


class Sum(fm.optimizers.Optimizer):
    """Only its state overflows."""

    elementwise = True

    def init_state(self, param):
        return {"sum": np.full_like(param, 1e38)}

    def update(self, param, grad, state, learning_rate, step):
        state["sum"] += state["sum"]
        param -= learning_rate * np.sign(grad)


class SumInPython(Sum):
    elementwise = False


class Slow(fm.activations.Activation):
    """Runs in NumPy, so that steps are run from Python."""

    def forward(self, z):
        return np.cos(z) if (z > 1e6).any() else z * 0.5

    def derivative(self, z, a):
        return np.full_like(z, 0.5)


def network(optimizer, layers=None, dtype="float32", loss="mse"):
    net = fm.Sequential(layers or [Dense(5, "tanh"), Dense(2)], input_dim=3, dtype=dtype, seed=1)
    net.compile(optimizer, loss)
    return net


def data(dtype="float32", scale=1.0):
    rng = np.random.default_rng(0)
    return rng.normal(size=(ROWS, 3)).astype(dtype), (scale * rng.normal(size=(ROWS, 2))).astype(dtype)


def numbers(net):
    """Return all that a step changes."""
    state = {f"{key} {name}": a for key, s in net.engine.memory.state.items() for name, a in s.items()}
    arrays = {**net.parameters, **net.buffers, **state}
    return {key: array.copy() for key, array in arrays.items()} | {"counters": np.array(net.engine.steps)}


def check_refused(net, call, layer=None):
    """Check that a call raises, naming layer and step, and changes nothing."""
    before = numbers(net)
    with pytest.raises(fm.NonFiniteError) as refused:
        call()
    after = numbers(net)
    for key, array in before.items():
        np.testing.assert_array_equal(after[key], array, key)
    assert refused.value.step == net.engine.steps + 1
    if layer is not None:
        assert refused.value.layer == layer


def all_finite(net):
    return all(np.isfinite(array).all() for array in numbers(net).values())


WAYS = {
    "train_on_batch": lambda net, x, y: net.train_on_batch(x, y),
    "fit": lambda net, x, y: net.fit(x, y, batch_size=ROWS, verbose=0),
    "fit_weighted": lambda net, x, y: net.fit(x, y, batch_size=ROWS, sample_weight=np.ones(ROWS), verbose=0),
    "apply_gradients": lambda net, x, y: net.apply_gradients(net.loss_and_gradients(x, y)[1]),
}
OVERFLOWS = {
    "sgd": (fm.optimizers.SGD(1e38), 1e5),
    "momentum": (fm.optimizers.SGD(1e38, momentum=0.9), 1e5),
    "nesterov": (fm.optimizers.SGD(1e38, momentum=0.9, nesterov=True), 1e5),
    "adam": (fm.optimizers.Adam(0.1), 1e20),
    "adam_beta": (fm.optimizers.Adam(0.1, beta_2=0.0), 1e20),
    "rmsprop": (fm.optimizers.RMSprop(0.1), 1e20),
    "rmsprop_rate": (fm.optimizers.RMSprop(3e38), 1.0),
    "traced": (Traced(0.1), 1e20),
    "python": (InPython(0.1), 1e20),
    "sum": (Sum(0.1), 1.0),
    "sum_in_python": (SumInPython(0.1), 1.0),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", OVERFLOWS)
def test_an_update_that_overflows_is_refused(name, way):
    optimizer, scale = OVERFLOWS[name]
    net = network(optimizer)
    x, y = data(scale=scale)
    if name.startswith("sum"):
        WAYS[way](net, x, y)  # 2e38; the next doubling is too much
    check_refused(net, lambda: WAYS[way](net, x, y), "0")
    assert all_finite(net)
    if not name.startswith("sum") and "rate" not in name and optimizer.learning_rate < 1:
        small = data()  # and training goes on
        before = net.parameters["0.kernel"].copy()
        net.train_on_batch(*small)
        assert (net.parameters["0.kernel"] != before).all()


@pytest.mark.parametrize("name", OVERFLOWS)
def test_steps_from_python_are_refused_alike(name):
    optimizer, scale = OVERFLOWS[name]
    net = network(optimizer, [Dense(5, Slow()), BatchNorm(), Dense(2)])
    x, y = data(scale=scale)
    if name.startswith("sum"):
        net.train_on_batch(x, y)
    check_refused(net, lambda: net.fit(x, y, batch_size=ROWS, verbose=0))
    assert all_finite(net)


def test_a_large_step_among_others_changes_no_other():
    """Guarded once, an update is not guarded any more; the steps before and after have the bits of single ones."""
    x, y = data()
    y[4:8] *= 1e17
    for activation in (Slow, fm.activations.Tanh):
        net, twin = (network(fm.optimizers.Adam(0.01), [Dense(5, activation()), Dense(2)]) for _ in range(2))
        net.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
        for at in (0, 4, 8, 0, 4, 8):
            twin.train_on_batch(x[at : at + 4], y[at : at + 4])
        for key, array in net.parameters.items():
            np.testing.assert_array_equal(twin.parameters[key], array)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [fm.optimizers.SGD(1e-20), fm.optimizers.Adam(0.01), Traced(0.01)])
def test_large_steps_that_stay_finite_are_done_as_small_ones(optimizer, dtype):
    """Gradients of 1e17, whose squares are finite: what is guarded has the bits of what is not."""
    x, y = data(dtype, 1e17)
    net = network(optimizer, dtype=dtype)
    one_by_one = network(optimizer, dtype=dtype)
    history = net.fit(x, y, epochs=3, batch_size=ROWS, shuffle=False, verbose=0).history["loss"]
    assert history == [one_by_one.train_on_batch(x, y)["loss"] for _ in range(3)]
    assert all_finite(net)
    reference = fm.Sequential([Dense(5, "tanh"), Dense(2)], input_dim=3, dtype=dtype, seed=1)
    expected = {key: array.copy() for key, array in reference.parameters.items()}
    states = {key: optimizer.init_state(array) for key, array in expected.items()}
    reference.compile(optimizer, "mse")
    for step in (1, 2, 3):
        _, gradients = reference.loss_and_gradients(x, y)
        for key, array in expected.items():
            optimizer.update(array, gradients[key], states[key], optimizer.learning_rate, step)
            reference.parameters[key] = array
    for key, array in expected.items():
        np.testing.assert_allclose(net.parameters[key], array, rtol=1e-3 if dtype == "float32" else 1e-9)


def test_an_epsilon_of_0_is_right_where_no_gradient_is_0():
    """The zeros between two parameters, which would give 0 / 0, are no part of it."""
    x, y = data()
    net = network(fm.optimizers.Adam(0.01, epsilon=0.0))
    net.fit(x, y, epochs=3, batch_size=4, verbose=0)
    assert all_finite(net) and net.engine.steps == 9
    dead = network(fm.optimizers.Adam(0.01, epsilon=0.0), [Dense(5, "relu"), Dense(2)])
    dead.parameters["0.bias"] = np.full(5, -100.0)
    check_refused(dead, lambda: dead.train_on_batch(x, y), "0")


def test_state_written_through_views_is_looked_at():
    x, y = data()
    net = network(fm.optimizers.SGD(0.01, momentum=0.9), [Dense(2)])
    view = net.optimizer_state["0.kernel"]["velocity"]
    net.train_on_batch(x, y)
    view[0, 0] = 3e38
    net.parameters["0.kernel"][0, 0] = 3e38
    x = np.zeros_like(x)  # outputs are biases
    check_refused(net, lambda: net.train_on_batch(x, y), "0")
    view[0, 0] = 0
    net.train_on_batch(x, y)
    adam = network(fm.optimizers.Adam(0.01))
    adam.train_on_batch(*data())
    moments = adam.optimizer_state["0.bias"]["v"]
    moments[0] = -1.0
    check_refused(adam, lambda: adam.fit(*data(), verbose=0), "0")


def test_a_loaded_state_is_looked_at(tmp_path):
    net = network(fm.optimizers.SGD(0.01, momentum=0.9))
    net.train_on_batch(*data())
    net.optimizer_state["0.kernel"]["velocity"][...] = 3e38
    net.parameters["0.kernel"][...] = 3e38
    net.save(tmp_path / "net")
    loaded = fm.load(tmp_path / "net")
    x, y = data()
    check_refused(loaded, lambda: loaded.train_on_batch(np.zeros_like(x), y), "0")


@pytest.mark.parametrize("optimizer", [fm.optimizers.Adam(0.01), Traced(0.01), InPython(0.01)])
def test_running_statistics_stay_finite(optimizer):
    """The mean of a column is near the largest float, and so are the running ones."""
    net = network(optimizer, [BatchNorm(momentum=0.5), Dense(2)])
    net.buffers["0.running_mean"] = np.full(3, 3.4e38)
    net.buffers["0.running_var"] = np.full(3, 3.4e38)
    x, y = data()
    x[:, 1] *= 1.2e19
    try:
        net.train_on_batch(x, y)
    except fm.NonFiniteError:
        assert net.engine.steps == 0
    assert all_finite(net)


def test_penalties_and_learned_activations_are_part_of_it():
    heavy = network(fm.optimizers.SGD(10.0), [Dense(5, "prelu", kernel_regularizer=fm.regularizers.L2(1e19)), Dense(2)])
    heavy.parameters["0.kernel"][...] = 1.0
    x, y = data()
    for _ in range(3):  # each step multiplies the kernel by about 1e20
        before = numbers(heavy)
        try:
            heavy.train_on_batch(x, y)
        except fm.NonFiniteError:
            break
    else:
        pytest.fail("no step was refused")
    after = numbers(heavy)
    for key, array in before.items():
        np.testing.assert_array_equal(after[key], array, key)
    learned = network(fm.optimizers.SGD(1e38), [Dense(5, "prelu"), Dense(2)])
    check_refused(learned, lambda: learned.train_on_batch(x * 1e3, y * 1e3))


def test_frozen_parameters_and_others_are_put_back_alike():
    net = network(fm.optimizers.RMSprop(3e38), [Dense(5, "tanh"), Dense(4, "tanh", trainable=False), Dense(2)])
    x, y = data()
    check_refused(net, lambda: net.fit(x, y, verbose=0))


def test_metrics_in_numpy_and_history_take_guarded_steps_along():
    """Large steps are run one by one, between others, with the means of the epoch and kept outputs."""
    x, y = data(scale=1.0)
    y[4:8] *= 1e17
    means = []
    for metrics in ([], [fm.metrics.MeanAbsoluteError()]):
        net = fm.Sequential([Dense(5, "tanh"), Dense(2)], input_dim=3, seed=1)
        net.compile(fm.optimizers.Adam(1e-3), "mse", metrics=metrics)
        history = net.fit(x, y, epochs=2, batch_size=4, shuffle=False, verbose=0).history
        means.append(history["loss"])
        assert net.engine.steps == 6
    assert means[0] == means[1]
    other = fm.Sequential([Dense(5, "tanh"), Dense(2)], input_dim=3, seed=1)
    other.compile(fm.optimizers.Adam(1e-3), "mse", metrics=[fm.metrics.MeanAbsoluteError()])
    logs = [other.train_on_batch(x[at : at + 4], y[at : at + 4]) for at in (0, 4, 8)]
    assert history["mean_absolute_error"][0] == pytest.approx(np.mean([log["mean_absolute_error"] for log in logs]))
