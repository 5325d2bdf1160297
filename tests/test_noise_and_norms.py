"""GaussianNoise, UnitNorm and Normalization: values, gradients, bits at any number of threads, files, errors."""

import copy

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense, GaussianNoise, Normalization, UnitNorm

STACKS = {
    "first": lambda: [adapted(), GaussianNoise(0.2), UnitNorm(), Dense(3)],
    "last": lambda: [Dense(3, "tanh"), adapted(3), UnitNorm()],
    "between": lambda: [Dense(7, "relu"), UnitNorm(), GaussianNoise(0.1), Dense(6, "tanh"), adapted(6), Dense(3)],
    "noise last": lambda: [Dense(3, "relu"), GaussianNoise(0.3)],
    "beside a residual": lambda: [Dense(4), fm.layers.Residual([UnitNorm(), adapted(4), GaussianNoise(0.1)]), Dense(3)],
}
stack = pytest.mark.parametrize("stack", STACKS)


def adapted(columns=5):
    rng = np.random.default_rng(columns)
    return Normalization(mean=rng.standard_normal(columns), variance=rng.uniform(0.5, 2, columns))


def network(stack, **settings):
    net = fm.Sequential(STACKS[stack](), input_dim=5, seed=1, **settings)
    net.compile(fm.optimizers.SGD(0.1, momentum=0.9), "mean_squared_error")
    return net


def data(rows=40, dtype=float):
    rng = np.random.default_rng(2)
    return rng.standard_normal((rows, 5)).astype(dtype), rng.standard_normal((rows, 3)).astype(dtype)


@stack
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_those_of_finite_differences(stack, training):
    net, (x, _) = network(stack, dtype="float64"), data()
    outputs, backward = net.vjp(x, training=training)
    dy = np.cos(np.arange(outputs.size)).reshape(outputs.shape)
    gradients, d_input = backward(dy)
    h = 1e-6

    def slope(array, at):
        before, sides = array[at], []
        for step in (h, -h):
            array[at] = before + step
            sides.append((net.vjp(x, training=training)[0] * dy).sum())
        array[at] = before
        return (sides[0] - sides[1]) / 2 / h

    for at in ((0, 0), (7, 3), (39, 4)):
        assert d_input[at] == pytest.approx(slope(x, at), rel=1e-6, abs=1e-7)
    for key, w in net.parameters.items():
        for at in list(np.ndindex(w.shape))[:5]:
            assert gradients[key][at] == pytest.approx(slope(w, at), rel=1e-6, abs=1e-7)


@stack
def test_the_same_bits_in_any_schedule_and_at_any_number_of_threads(stack, same_in_any_schedule):
    same_in_any_schedule(lambda: network(stack), *data(300, "f4"))


@stack
def test_files_and_copies_go_on_to_the_same_bits(stack, tmp_path, same_future):
    net, (x, y) = network(stack), data(dtype="f4")
    net.fit(x, y, verbose=0)
    net.save(tmp_path / "net")
    for twin in (fm.load(tmp_path / "net"), copy.deepcopy(net)):
        same_future(copy.deepcopy(net), twin)
    assert "all operations run compiled" in repr(net)


@pytest.mark.parametrize("cls", [GaussianNoise, UnitNorm, Normalization])
def test_the_conformance_kit_passes(cls):
    fm.testing.check(cls)


# GaussianNoise


def test_noise_is_added_in_training_alone(dtype):
    net = fm.Sequential([GaussianNoise(0.5)], input_dim=64, dtype=dtype, seed=3)
    x = np.random.default_rng(0).standard_normal((500, 64)).astype(dtype)
    np.testing.assert_array_equal(net.predict(x), x)
    noise = (net.vjp(x, training=True)[0] - x).astype(float)
    assert abs(noise.mean()) < 5 * 0.5 / np.sqrt(noise.size)
    assert abs(noise.std() - 0.5) < 5 * 0.5 / np.sqrt(2 * noise.size)


def test_noise_is_another_in_each_step_and_layer():
    net = fm.Sequential(
        [GaussianNoise(1.0), Dense(5, kernel_initializer="zeros"), GaussianNoise(1.0)], input_dim=5, seed=3
    )
    net.compile(fm.optimizers.SGD(0.0), "mean_squared_error")
    x = np.zeros((4, 5), "f4")
    first = net.vjp(x, training=True)[0]
    np.testing.assert_array_equal(net.vjp(x, training=True)[0], first)  # of the coming step
    alone = fm.Sequential([GaussianNoise(1.0)], input_dim=5, seed=3)
    assert (alone.vjp(x, training=True)[0] != first).all()
    net.train_on_batch(x, x)
    assert (net.vjp(x, training=True)[0] != first).all()


def test_stddev_can_be_changed_and_is_checked():
    layer = GaussianNoise(0.0)
    net = fm.Sequential([layer], input_dim=2, seed=3)
    x = np.ones((2, 2), "f4")
    np.testing.assert_array_equal(net.vjp(x, training=True)[0], x)
    layer.stddev = 1.0
    assert (net.vjp(x, training=True)[0] != x).all()
    for bad, error in ((-1.0, ValueError), (np.nan, ValueError), ("0.1", TypeError), (None, TypeError)):
        with pytest.raises(error, match="stddev"):
            GaussianNoise(bad)


# UnitNorm


def test_rows_get_length_1(dtype):
    net = fm.Sequential([UnitNorm()], input_dim=9, dtype=dtype, seed=0)
    x = np.random.default_rng(0).standard_normal((50, 9)).astype(dtype)
    y = net.predict(x)
    eps = 4 * np.finfo(dtype).eps
    np.testing.assert_allclose(y, x / np.linalg.norm(x.astype(float), axis=1, keepdims=True), rtol=eps)
    np.testing.assert_array_equal(net.predict(np.zeros((2, 9), dtype)), 0)


def test_a_row_of_zeros_passes_the_gradient_on_as_keras_does():
    net = fm.Sequential([UnitNorm()], input_dim=2, dtype="float64", seed=0)
    _, backward = net.vjp(np.zeros((1, 2)))
    np.testing.assert_allclose(backward(np.array([[1.0, -2.0]]))[1], [[1e12, -2e12]])


# Normalization


def test_adapt_takes_the_statistics_in_float64():
    x = (1e6 + np.random.default_rng(0).standard_normal((100_001, 20))).astype("f4")
    layer = Normalization()
    layer.adapt(x)
    np.testing.assert_allclose(layer.mean, x.mean(0, dtype=float), rtol=1e-12)
    np.testing.assert_allclose(layer.variance, x.var(0, dtype=float), rtol=1e-9)


def test_outputs_are_standardized(dtype):
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((300, 4)) * [1, 10, 0.1, 0] + [0, 5, -3, 2]).astype(dtype)
    layer = Normalization()
    net = fm.Sequential([layer], input_dim=4, dtype=dtype, seed=0)
    layer.adapt(x)
    y = net.predict(x).astype(float)
    np.testing.assert_allclose(y[:, :3].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(y[:, :3].std(0), 1, rtol=1e-5)
    np.testing.assert_array_equal(y[:, 3], 0)
    np.testing.assert_allclose(net.predict(x[:1] + dtype.type(1))[0, 3], 1e7, rtol=1e-6)  # over the least deviation


def test_before_it_is_adapted_nothing_runs_and_nothing_changes(contents):
    layer = Normalization()
    net = fm.Sequential([layer, Dense(3)], input_dim=5, seed=1)
    net.compile("sgd", "mean_squared_error")
    before, (x, y) = contents(net), data()
    calls = (
        lambda: net.fit(x, y, verbose=0),
        lambda: net.predict(x),
        lambda: net.evaluate(x, y),
        lambda: net.train_on_batch(x, y),
        lambda: net.vjp(x),
        lambda: net.loss_and_gradients(x, y),
    )
    for call in calls:
        with pytest.raises(RuntimeError, match=r"call its adapt\(x\)"):
            call()
    assert contents(net) == before
    assert "not adapted" in repr(net)
    layer.adapt(x)
    for call in calls:
        call()


def test_adapting_again_holds_from_the_next_call_on():
    layer = Normalization()
    x = np.array([[0.0], [2.0]])
    layer.adapt(x)
    net = fm.Sequential([layer], input_dim=1, dtype="float64", seed=1)
    np.testing.assert_array_equal(net.predict(x), [[-1], [1]])
    layer.adapt(10 * x)
    np.testing.assert_array_equal(net.predict(10 * x), [[-1], [1]])
    assert (layer.mean, layer.variance) == ((10.0,), (100.0,))
    np.testing.assert_array_equal(net.buffers["0.mean"], [10])
    with pytest.raises(ValueError, match="1 features, got 2"):
        layer.adapt(np.ones((3, 2)))
    with pytest.raises(AttributeError, match="can't be changed"):
        layer.mean = (3.0,)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_data_without_statistics_are_refused(bad):
    layer = Normalization()
    layer.adapt([[1.0, 2.0], [3.0, 4.0]])
    before = layer.mean
    with pytest.raises(ValueError, match="column 1"):
        layer.adapt([[1.0, bad], [3.0, -bad]])
    assert layer.mean == before
    for shape in ((0, 2), (3,), (2, 0)):
        with pytest.raises(ValueError, match="rows"):
            layer.adapt(np.ones(shape))


def test_arguments_are_checked():
    for arguments, error in (
        ({"mean": [1.0]}, ValueError),
        ({"mean": [1.0], "variance": [1.0, 2.0]}, ValueError),
        ({"mean": [1.0], "variance": [-1.0]}, ValueError),
        ({"mean": [np.nan], "variance": [1.0]}, ValueError),
        ({"mean": "1", "variance": 1.0}, TypeError),
    ):
        with pytest.raises(error):
            Normalization(**arguments)
    with pytest.raises(ValueError, match="knows 2 columns, but 3"):
        fm.Sequential([Normalization(mean=[1, 2], variance=[1, 2])], input_dim=3)


def test_a_number_may_stand_for_all_columns():
    net = fm.Sequential([Normalization(mean=1, variance=4)], input_dim=3, dtype="float64", seed=0)
    np.testing.assert_array_equal(net.predict([[1.0, 3.0, -1.0]]), [[0, 1, -1]])


def test_keras_spelling_is_answered():
    with pytest.raises(AttributeError, match="UnitNorm"):
        fm.layers.UnitNormalization  # noqa: B018
