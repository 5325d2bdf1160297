"""Initializers: distributions, shapes and dtypes, reproducibility, errors (docs/equations.md, rows 17 and 18)."""

from __future__ import annotations

import math

import numpy as np
import pytest

import fastmlp as fm

FAN_IN, FAN_OUT = 300, 500
SHAPE = (FAN_IN, FAN_OUT)
COUNT = FAN_IN * FAN_OUT

# name, variance as row 18 states it, distribution
ROW_18 = [
    ("he_normal", 2 / FAN_IN, "normal"),
    ("he_uniform", 2 / FAN_IN, "uniform"),
    ("lecun_normal", 1 / FAN_IN, "normal"),
    ("lecun_uniform", 1 / FAN_IN, "uniform"),
    ("glorot_normal", 2 / (FAN_IN + FAN_OUT), "normal"),
    ("glorot_uniform", 2 / (FAN_IN + FAN_OUT), "uniform"),
    ("random_normal", 1.0, "normal"),
    ("random_uniform", 0.1**2 / 12, "uniform"),
]
NAMES = [name for name in fm.registry.initializers if fm.registry.initializers.origin(name) == "built-in"]
MATRICES = {"orthogonal": {2, 3}, "identity": {2}}  # the numbers of axes that they take


def draw(identifier, shape=SHAPE, dtype="float64", seed=0):
    return fm.registry.initializers.get(identifier)(shape, np.random.default_rng(seed), dtype)


@pytest.mark.parametrize(("name", "variance", "kind"), ROW_18)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_row18_variances(name, variance, kind, dtype):
    """Mean 0 and the stated variance, both within five standard errors of the sample."""
    w = draw(name, dtype=dtype).astype(float)
    # Var of the sample variance is (kurtosis - 1) variance**2 / n; the kurtosis is 3 or 9/5.
    kurtosis = 3.0 if kind == "normal" else 1.8
    assert abs(w.mean()) < 5 * math.sqrt(variance / COUNT)
    assert abs(w.var() / variance - 1) < 5 * math.sqrt((kurtosis - 1) / COUNT)


@pytest.mark.parametrize(("name", "variance", "kind"), ROW_18)
def test_row18_distributions(name, variance, kind):
    """The whole distribution: Kolmogorov-Smirnov distance below the 0.1 % point, 1.95 / sqrt(n)."""
    w = np.sort(draw(name).ravel())
    if kind == "normal":
        expected = np.array([0.5 * (1 + math.erf(x / math.sqrt(2 * variance))) for x in w])
    else:
        limit = math.sqrt(3 * variance)
        assert -limit <= w[0] and w[-1] <= limit
        expected = (w + limit) / (2 * limit)
    steps = np.arange(COUNT + 1) / COUNT
    distance = max(np.abs(expected - steps[:-1]).max(), np.abs(expected - steps[1:]).max())
    assert distance < 1.95 / math.sqrt(COUNT)


def test_row18_normals_are_not_truncated():
    """A normal sample of this size has values beyond 4 standard deviations; a truncated one hasn't."""
    assert np.abs(draw("lecun_normal")).max() > 4 * math.sqrt(1 / FAN_IN)


def test_row18_keeps_the_variance_of_activations():
    """What k is for: E[a^2] stays through 20 layers, of ReLU with k = 2 and of identity with k = 1."""
    rng = np.random.default_rng(5)
    for name, function in (("he_normal", lambda z: np.maximum(z, 0)), ("lecun_normal", lambda z: z)):
        initializer = fm.registry.initializers.get(name)
        a = rng.standard_normal((200, 256))
        start = np.mean(a**2)
        for _ in range(20):
            a = function(a @ initializer((256, 256), rng, "float64"))
        # With k = 2, E[z^2] is twice the E[a^2] before it, and ReLU halves it again.
        assert 0.5 < np.mean(a**2) / start < 2.0


@pytest.mark.parametrize(("name", "value"), [("zeros", 0.0), ("ones", 1.0), ("constant", 0.0)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_row17_constants(name, value, dtype):
    w = draw(name, (3, 4), dtype)
    assert w.shape == (3, 4) and w.dtype == dtype
    assert (w == value).all()


def test_row17_constant_units_stay_identical_and_random_ones_differ():
    """One step of gradient descent by hand, a hidden layer of three tanh units: the columns of the kernel."""
    rng = np.random.default_rng(1)
    x, y = rng.standard_normal((8, 2)), rng.standard_normal((8, 1))
    for name, identical in (({"name": "constant", "value": 0.3}, True), ("lecun_normal", False)):
        w1, w2 = draw(name, (2, 3)), draw(name, (3, 1))
        for _ in range(10):
            a = np.tanh(x @ w1)
            delta2 = a @ w2 - y
            delta1 = delta2 @ w2.T * (1 - a**2)
            w1, w2 = w1 - 0.01 * x.T @ delta1, w2 - 0.01 * a.T @ delta2
        spread = np.abs(w1 - w1[:, :1]).max()
        assert spread == 0 if identical else spread > 0.1


def test_constant_draws_nothing():
    rng = np.random.default_rng(0)
    fm.initializers.Constant(2.5)((4,), rng, "float32")
    assert rng.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64", np.float32, np.dtype("float64")])
@pytest.mark.parametrize("shape", [(7,), (5, 3), (1, 1), (2, 3, 4)])
def test_shape_dtype_and_ownership(name, dtype, shape):
    if len(shape) not in MATRICES.get(name, {len(shape)}):
        with pytest.raises(ValueError, match="a matrix is needed"):
            draw(name, shape, dtype)
        return
    w = draw(name, shape, dtype)
    assert w.shape == shape and w.dtype == np.dtype(dtype)
    assert w.flags.c_contiguous and w.flags.writeable
    assert np.isfinite(w).all()


@pytest.mark.parametrize("name", NAMES)
def test_same_generator_same_numbers(name):
    assert np.array_equal(draw(name, (20, 10)), draw(name, (20, 10)))
    assert np.array_equal(draw(name, (20, 10)).astype("float32"), draw(name, (20, 10), "float32"))


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"zeros", "ones", "constant", "identity"}))
def test_other_generator_other_numbers(name):
    assert not np.array_equal(draw(name, (20, 10)), draw(name, (20, 10), seed=1))


@pytest.mark.parametrize(
    ("shape", "fan_in", "fan_out"),
    [((40_000,), 40_000, 40_000), ((100, 900), 100, 900), ((50, 20, 200), 50, 200)],
)
def test_fans(shape, fan_in, fan_out):
    for mode, fan in (("fan_in", fan_in), ("fan_out", fan_out), ("fan_avg", (fan_in + fan_out) / 2)):
        for distribution in ("normal", "uniform"):
            config = {"name": "variance_scaling", "scale": 3.0, "mode": mode, "distribution": distribution}
            w = draw(config, shape)
            assert abs(w.var() / (3.0 / fan) - 1) < 5 * math.sqrt(2 / w.size)


def test_parameters_of_the_plain_ones():
    w = draw({"name": "random_normal", "stddev": 0.05, "mean": 2.0})
    assert abs(w.mean() - 2.0) < 5 * 0.05 / math.sqrt(COUNT)
    assert abs(w.std() / 0.05 - 1) < 5 / math.sqrt(2 * COUNT)
    w = draw({"name": "random_uniform", "minval": 3.0, "maxval": 5.0})
    assert 3.0 <= w.min() < 3.001 and 4.999 < w.max() <= 5.0
    assert (draw({"name": "random_uniform", "minval": 2.0, "maxval": 2.0}) == 2.0).all()
    assert (draw({"name": "random_normal", "stddev": 0.0, "mean": -1.0}) == -1.0).all()
    assert (draw({"name": "constant", "value": -0.25}) == -0.25).all()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"name": "random_normal", "stddev": -1.0}, "RandomNormal: stddev must be finite and at least 0"),
        ({"name": "random_normal", "stddev": math.nan}, "stddev"),
        ({"name": "random_normal", "mean": math.inf}, "RandomNormal: mean must be finite, got inf"),
        ({"name": "random_uniform", "minval": 1.0, "maxval": 0.0}, "minval 1.0 is greater than maxval 0.0"),
        ({"name": "random_uniform", "maxval": math.inf}, "maxval"),
        ({"name": "constant", "value": math.nan}, "Constant: value must be finite, got nan"),
        ({"name": "variance_scaling", "scale": -2.0}, "VarianceScaling: scale"),
        ({"name": "variance_scaling", "mode": "fan"}, "mode must be one of .*fan_avg"),
        ({"name": "variance_scaling", "distribution": "cauchy"}, "distribution must be one of .*uniform"),
    ],
)
def test_wrong_values_are_refused_at_once(config, message):
    with pytest.raises(ValueError, match=message):
        fm.registry.initializers.get(config)


@pytest.mark.parametrize("value", ["1", None, [1.0], 1j])
def test_wrong_types_are_refused_at_once(value):
    with pytest.raises(TypeError, match="Constant: value must be a number"):
        fm.initializers.Constant(value)


@pytest.mark.parametrize("shape", [(), (0, 3), (3, 0)])
@pytest.mark.parametrize("name", ["he_normal", "glorot_uniform"])
def test_scaling_needs_fans(name, shape):
    with pytest.raises(ValueError, match="positive lengths"):
        draw(name, shape)


def test_overflow_is_an_error():
    with pytest.raises(ValueError, match="beyond the range of float32"):
        draw({"name": "constant", "value": 1e300}, (2, 2), "float32")
    assert draw({"name": "constant", "value": 1e300}, (2, 2))[0, 0] == 1e300


def test_numpy_numbers_are_kept_as_plain_ones():
    initializer = fm.initializers.RandomNormal(stddev=np.float32(0.5), mean=np.int64(2))
    assert {name: type(value) for name, value in initializer.get_config().items()} == {
        "stddev": float,
        "mean": float,
    }


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name):
    initializer = fm.registry.initializers.get(name)
    again = type(initializer).from_config(initializer.get_config())
    assert again == initializer
    assert fm.registry.initializers.identify(again) == name
    assert isinstance(initializer, fm.initializers.Initializer)


def test_representation():
    assert repr(fm.initializers.HeNormal()) == "HeNormal()"
    assert repr(fm.initializers.RandomNormal(0.1)) == "RandomNormal(stddev=0.1)"


def test_a_subclass_without_call_says_so():
    class Empty(fm.initializers.Initializer): ...

    with pytest.raises(NotImplementedError, match=r"Empty has no __call__\(self, shape, rng, dtype\)"):
        Empty()((2,), np.random.default_rng(0), "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_truncated_normal(dtype):
    """Keras's: cut off at two standard deviations, the rest as it is; the distribution as a whole."""
    w = draw({"name": "truncated_normal", "mean": 3.0, "stddev": 0.5}, dtype=dtype).astype(float)
    z = np.sort((w.ravel() - 3.0) / 0.5)
    assert 1.999 < -z[0] <= 2 + 1e-5 and 1.999 < z[-1] <= 2 + 1e-5
    below = math.erf(2 / math.sqrt(2))  # the probability of what is kept
    expected = np.array([0.5 + 0.5 * math.erf(x / math.sqrt(2)) / below for x in z])
    assert np.abs(expected - np.arange(COUNT) / COUNT).max() < 1.95 / math.sqrt(COUNT)
    assert z.std() == pytest.approx(0.8796, abs=5 / math.sqrt(2 * COUNT))
    assert fm.initializers.TruncatedNormal().get_config() == {"mean": 0.0, "stddev": 0.05}
    with pytest.raises(ValueError, match="TruncatedNormal: stddev"):
        fm.initializers.TruncatedNormal(stddev=-1)


# -- matrices ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 5), (12, 5), (5, 12), (1, 4), (4, 1), (2, 3, 4)])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-6), ("float64", 1e-14)])
def test_orthogonal(shape, dtype, tolerance):
    initializer = fm.registry.initializers.get("orthogonal", gain=2.0)
    w = initializer(shape, np.random.default_rng(0), dtype)
    assert w.shape == shape and w.dtype == dtype
    assert w.flags.c_contiguous and w.flags.writeable
    w = w.reshape(-1, shape[-1]).astype(float)
    gram = w.T @ w if w.shape[0] >= w.shape[1] else w @ w.T
    np.testing.assert_allclose(gram, 4.0 * np.eye(min(w.shape)), atol=4 * tolerance)
    again = initializer(shape, np.random.default_rng(0), dtype)
    assert np.array_equal(again.reshape(w.shape), w)


def test_orthogonal_is_uniform():
    """Of Haar-distributed 2 x 2 matrices, half are reflections and the angle is uniform."""
    initializer, rng = fm.registry.initializers.get("orthogonal"), np.random.default_rng(3)
    sample = np.array([initializer((2, 2), rng, "float64") for _ in range(4000)])
    assert abs(np.mean(np.linalg.det(sample))) < 5 / math.sqrt(4000)
    angle = np.arctan2(sample[:, 1, 0], sample[:, 0, 0])
    counts, _ = np.histogram(angle, bins=8, range=(-math.pi, math.pi))
    assert ((counts - 500) ** 2 / 500).sum() < 24.3  # chi-squared, 7 degrees of freedom, 0.1 % point


def test_orthogonal_needs_a_matrix():
    with pytest.raises(ValueError, match=r"a matrix is needed, got the shape \(3,\)"):
        fm.registry.initializers.get("orthogonal")((3,), np.random.default_rng(0), "float64")
    with pytest.raises(ValueError, match="gain must be finite"):
        fm.registry.initializers.get("orthogonal", gain=math.nan)


def test_orthogonal_layers_keep_lengths():
    rng = np.random.default_rng(2)
    x = y = rng.normal(size=(5, 32))
    for _ in range(50):
        y = y @ fm.initializers.Orthogonal()((32, 32), rng, "float64")
    np.testing.assert_allclose(np.linalg.norm(y, axis=1), np.linalg.norm(x, axis=1), rtol=1e-12)


def test_identity():
    assert draw("identity", (2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert draw({"name": "identity", "gain": -0.5}, (3, 2)).tolist() == [[-0.5, 0], [0, -0.5], [0, 0]]
    rng = np.random.default_rng(0)
    fm.initializers.Identity()((4, 4), rng, "float32")
    assert rng.random() == np.random.default_rng(0).random()
    with pytest.raises(ValueError, match="Identity: gain"):
        fm.initializers.Identity(math.inf)
