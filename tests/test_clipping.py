"""Clipping of gradients: by value, by the norm of a parameter and of all; in kernels, traced and Python optimizers."""

import copy
import itertools

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import BatchNorm, Dense

X = np.random.default_rng(0).normal(size=(40, 7))
Y = np.random.default_rng(1).integers(0, 3, 40)


class InPython(fm.optimizers.Optimizer):
    """Plain descent, in NumPy at every step."""

    def __init__(self, learning_rate=0.01, **common):
        super().__init__(learning_rate, **common)

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


class Traced(InPython):
    """The same, traced."""

    elementwise = True


OPTIMIZERS = [fm.optimizers.SGD, Traced, InPython]
LIMITS = [
    {"clipvalue": 0.01},
    {"clipnorm": 0.05},
    {"global_clipnorm": 0.1},
    {"clipvalue": 0.02, "clipnorm": 0.05, "global_clipnorm": 0.06},
    {"clipvalue": 1e6, "clipnorm": 1e6, "global_clipnorm": 1e6},
]


def network(optimizer, dtype="float64", units=9):
    layers = [Dense(units, "tanh"), BatchNorm(), Dense(3, "softmax")]
    net = fm.Sequential(layers, input_dim=7, dtype=dtype, seed=0)
    net.compile(optimizer, "sparse_categorical_crossentropy")
    return net


def clipped(gradients, clipvalue=None, clipnorm=None, global_clipnorm=None):
    """Clip as the formulas say, in double."""
    found = {key: np.array(g, np.float64) for key, g in gradients.items()}
    if clipvalue is not None:
        found = {key: g.clip(-clipvalue, clipvalue) for key, g in found.items()}
    if clipnorm is not None:
        found = {key: g * min(1, clipnorm / np.linalg.norm(g)) for key, g in found.items()}
    if global_clipnorm is not None:
        norm = np.sqrt(sum((g**2).sum() for g in found.values()))
        found = {key: g * min(1, global_clipnorm / norm) for key, g in found.items()}
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("limits", LIMITS, ids=str)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_a_step_uses_clipped_gradients(optimizer, limits, dtype):
    net = network(optimizer(0.5, **limits), dtype)
    before = {key: w.copy() for key, w in net.parameters.items()}
    gradients = net.loss_and_gradients(X, Y)[1]
    expected = clipped(gradients, **limits)
    moves = any((np.abs(g - expected[key]) > 1e-9).any() for key, g in gradients.items())
    assert moves == (limits["clipvalue"] < 1e6 if "clipvalue" in limits else True)
    net.train_on_batch(X, Y)
    tolerance = 1e-12 if dtype == "float64" else 1e-6
    for key, w in net.parameters.items():
        np.testing.assert_allclose(w, before[key] - 0.5 * expected[key], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", [*OPTIMIZERS, fm.optimizers.Adam])
def test_all_ways_of_training_clip_alike(optimizer):
    nets = [network(optimizer(0.5, clipnorm=0.05, global_clipnorm=0.1)) for _ in range(4)]
    nets[0].fit(X, Y, batch_size=40, epochs=3, shuffle=False, verbose=0)
    nets[1].fit([(X, Y)], epochs=3, verbose=0)
    for _ in range(3):
        nets[2].train_on_batch(X, Y)
        nets[3].apply_gradients(nets[3].loss_and_gradients(X, Y)[1])
    for net, key in itertools.product(nets[1:], nets[0].parameters):
        assert (net.parameters[key] == nets[0].parameters[key]).all()


@pytest.mark.parametrize("units", [9, 300])
def test_same_bits_at_any_number_of_threads(units):
    found = []
    for threads in (1, 2, 3, 8):
        with fm.num_threads(threads):
            net = network(fm.optimizers.Adam(clipvalue=0.02, clipnorm=0.05, global_clipnorm=0.06), "float32", units)
            net.fit(X, Y, epochs=3, verbose=0)
            found.append(np.concatenate([w.ravel() for w in net.parameters.values()]).tobytes())
    assert len(set(found)) == 1


def test_what_is_not_learned_does_not_count():
    net, other = (network(fm.optimizers.SGD(0.5, global_clipnorm=0.1)) for _ in range(2))
    net.layers[0].trainable = False
    gradients = net.loss_and_gradients(X, Y)[1]
    learned = {key: g for key, g in gradients.items() if not key.startswith("0.")}
    before = {key: w.copy() for key, w in net.parameters.items()}
    net.train_on_batch(X, Y)
    expected = clipped(learned, global_clipnorm=0.1)
    for key, w in net.parameters.items():
        np.testing.assert_allclose(w, before[key] - 0.5 * expected.get(key, 0), rtol=1e-12, atol=1e-14)
    other.train_on_batch(X, Y)
    assert (other.parameters["2.kernel"] != net.parameters["2.kernel"]).any()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_norms_whose_squares_overflow(optimizer, dtype):
    far = 1e30 if dtype == "float32" else 1e300
    for limits in ({"clipnorm": 1.0}, {"global_clipnorm": 1.0}, {"clipvalue": 1.0}):
        net = network(optimizer(1.0, **limits), dtype)
        before = {key: w.copy() for key, w in net.parameters.items()}
        given = {key: np.full(w.shape, far) for key, w in net.parameters.items()}
        with pytest.warns(UserWarning, match="running statistics"):
            net.apply_gradients(given)
        sizes = {key: w.size for key, w in net.parameters.items()}
        for key, w in net.parameters.items():
            n = 1 if "clipvalue" in limits else sizes[key] if "clipnorm" in limits else sum(sizes.values())
            np.testing.assert_allclose(before[key] - w, 1 / np.sqrt(n), rtol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_told_and_not_clipped(optimizer, bad):
    net = network(optimizer(clipvalue=1.0, global_clipnorm=1.0))
    gradients = net.loss_and_gradients(X, Y)[1]
    gradients["2.kernel"][0, 0] = bad
    before = {key: w.copy() for key, w in net.parameters.items()}
    with pytest.raises(fm.NonFiniteError):
        net.apply_gradients(gradients)
    assert all((net.parameters[key] == w).all() for key, w in before.items())


def test_no_gradient_at_all():
    net = network(fm.optimizers.SGD(clipnorm=1.0, global_clipnorm=1.0))
    with pytest.warns(UserWarning, match="running statistics"):
        net.apply_gradients({key: np.zeros(w.shape) for key, w in net.parameters.items()})
    assert all(np.isfinite(w).all() for w in net.parameters.values())


def test_limits_hold_from_the_next_step_and_travel(tmp_path):
    net, twin = network(fm.optimizers.SGD(0.5)), network(fm.optimizers.SGD(0.5, global_clipnorm=0.1))
    plain = network(fm.optimizers.SGD(0.5))
    net.train_on_batch(X, Y)
    plain.train_on_batch(X, Y)
    for key, w in net.parameters.items():
        twin.parameters[key] = w
    net.optimizer.global_clipnorm = 0.1
    net.save(tmp_path / "net.fastmlp")
    others = [twin, copy.deepcopy(net), fm.load(tmp_path / "net.fastmlp")]
    assert others[2].optimizer == net.optimizer == fm.optimizers.SGD(0.5, global_clipnorm=0.1)
    for one in (net, plain, *others):
        one.train_on_batch(X, Y)
    for one in others:
        assert all((one.parameters[key] == w).all() for key, w in net.parameters.items())
    assert (plain.parameters["0.kernel"] != net.parameters["0.kernel"]).any()
    net.optimizer.global_clipnorm = None
    assert "clip_norm" not in str(net.plan(40))
    net.optimizer.clipnorm = 0.5
    assert "clip_norm" in str(net.plan(40))


@pytest.mark.parametrize("name", ["clipvalue", "clipnorm", "global_clipnorm"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf"), "1", True])
def test_limits_that_are_none(name, value):
    for make in (fm.optimizers.SGD, fm.optimizers.Adam, fm.optimizers.RMSprop, Traced):
        with pytest.raises((TypeError, ValueError), match=name):
            make(**{name: value})
    optimizer = fm.optimizers.Adam()
    with pytest.raises((TypeError, ValueError), match=name):
        setattr(optimizer, name, value)
    assert getattr(optimizer, name) is None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_parameters_without_a_gap_between_them_have_norms_of_their_own(dtype):
    """A kernel of 16 x 16 fills whole cache lines, so that its bias lies right behind it."""
    net = fm.Sequential([Dense(16)], input_dim=16, seed=0, dtype=dtype)
    net.compile(fm.optimizers.SGD(1.0, clipnorm=1.0))
    before = {key: array.copy() for key, array in net.parameters.items()}
    net.apply_gradients({key: np.ones_like(array) for key, array in before.items()})
    for key, array in net.parameters.items():
        assert np.linalg.norm(array - before[key]) == pytest.approx(1.0, rel=1e-5)
