"""LayerNorm and RMSNorm: normalization of rows, in the plan."""

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Activation, Dense, LayerNorm, RMSNorm

NORMS = {"layer_norm": LayerNorm, "rms_norm": RMSNorm}
norm = pytest.mark.parametrize("norm", NORMS.values(), ids=NORMS)
STACKS = {
    "before an activation": lambda norm: [Dense(9), norm(), Activation("silu"), Dense(3)],
    "before relu": lambda norm: [Dense(9), norm(), Activation("relu"), Dense(3)],
    "first": lambda norm: [norm(), Dense(9, "tanh"), Dense(3)],
    "last": lambda norm: [Dense(9, "tanh"), Dense(3), norm()],
    "alone": lambda norm: [norm()],
    "twice": lambda norm: [Dense(70, "tanh"), norm(), norm(), Dense(3)],
    "with penalties": lambda norm: [Dense(9), norm(gamma_regularizer="l2"), Activation("tanh"), Dense(3)],
}
stack = pytest.mark.parametrize("stack", STACKS)


def network(stack, norm, **settings):
    net = fm.Sequential(STACKS[stack](norm), input_dim=3, seed=1, **settings)
    net.compile("adam", "mean_squared_error")
    return net


def data(rows=40, dtype=float):
    rng = np.random.default_rng(2)
    return rng.standard_normal((rows, 3)).astype(dtype), rng.standard_normal((rows, 3)).astype(dtype)


@pytest.mark.parametrize("units", [1, 2, 7, 8, 9, 64, 131])
@norm
def test_rows_are_normalized_by_the_formula(norm, units, dtype):
    net = fm.Sequential([norm(epsilon=1e-3)], input_dim=units, dtype=dtype, seed=0)
    rng = np.random.default_rng(units)
    x = (3 + 5 * rng.standard_normal((11, units))).astype(dtype)
    for view in net.parameters.values():
        view[...] = rng.standard_normal(units)
    wide, p = x.astype(float), net.parameters
    mean = wide.mean(axis=1, keepdims=True) if norm is LayerNorm else 0
    expected = (wide - mean) / np.sqrt(((wide - mean) ** 2).mean(axis=1, keepdims=True) + 1e-3) * p["0.gamma"]
    expected += p["0.beta"] if norm is LayerNorm else 0
    np.testing.assert_allclose(net.predict(x), expected, *((2e-5, 2e-5) if dtype == np.float32 else (1e-11, 1e-11)))


def test_by_hand():
    net = fm.Sequential([LayerNorm(epsilon=1e-300)], input_dim=4, dtype="float64")
    np.testing.assert_allclose(net.predict([[1.0, 1.0, 3.0, 3.0]]), [[-1, -1, 1, 1]])
    net = fm.Sequential([RMSNorm(epsilon=1e-300)], input_dim=2, dtype="float64")
    np.testing.assert_allclose(net.predict([[3.0, 4.0]]), [[3 / np.sqrt(12.5), 4 / np.sqrt(12.5)]])


@pytest.mark.parametrize("far", [1e3, 1e5])
def test_a_large_mean_costs_no_digits(far):
    """The second pass corrects the first: numbers beside a large mean keep their differences."""
    net = fm.Sequential([LayerNorm()], input_dim=64, seed=0)
    x = (far + np.arange(64.0)).astype(np.float32)[None, :]
    wide = x.astype(float) - far
    expected = (wide - wide.mean()) / np.sqrt(wide.var() + 1e-5)
    np.testing.assert_allclose(net.predict(x), expected, rtol=1e-4, atol=1e-3)


@stack
@norm
def test_gradients_are_those_of_finite_differences(stack, norm):
    net, (x, y) = network(stack, norm, dtype="float64"), data()
    _, gradients = net.loss_and_gradients(x, y)
    h = 1e-4
    for key, w in net.parameters.items():
        for at in list(np.ndindex(w.shape))[:5]:
            before, found = w[at], []
            for step in (1, -1, 2, -2):
                w[at] = before + step * h
                found.append(net.loss_and_gradients(x, y)[0])
            w[at] = before
            slope = (8 * (found[0] - found[1]) - found[2] + found[3]) / 12 / h
            assert gradients[key][at] == pytest.approx(slope, abs=1e-5 if "relu" in stack else 1e-8)


@norm
def test_the_gradient_of_the_input(norm):
    net, (x, _) = network("first", norm, dtype="float64"), data()
    outputs, backward = net.vjp(x)
    _, d_input = backward(np.ones_like(outputs))
    h = 1e-5
    for at in ((0, 0), (7, 1), (39, 2)):
        sides = []
        for step in (h, -h):
            moved = x.copy()
            moved[at] += step
            sides.append(net.predict(moved).sum())
        assert d_input[at] == pytest.approx((sides[0] - sides[1]) / 2 / h, abs=1e-7)


@stack
@norm
@pytest.mark.usefixtures("teams")
def test_the_same_bits_in_any_schedule_and_at_any_number_of_threads(stack, norm, fuse, contents):
    results = []
    for fused, threads in ((True, 1), (True, 2), (True, 3), (False, 1), (False, 3)):
        fuse(fused)
        with fm.num_threads(threads):
            net, (x, y) = network(stack, norm), data(300, "f4")
            net.fit(x, y, epochs=2, batch_size=129, verbose=0)
            results.append({**contents(net), "predicted": net.predict(x).tobytes()})
    assert all(result == results[0] for result in results)


@norm
def test_a_row_does_not_depend_on_those_beside_it(norm):
    """In training neither: what is normalized is a row, so that a batch may be a single one."""
    net, (x, y) = network("before an activation", norm), data(dtype="f4")
    whole = net.predict(x)
    assert all((net.predict(x[i : i + 1]) == whole[i]).all() for i in range(len(x)))
    net.train_on_batch(x[:1], y[:1])


@norm
def test_it_runs_in_the_plan_with_its_activation(norm):
    net = network("before an activation", norm)
    assert "all operations run compiled" in repr(net)
    (operation,) = [operation for operation in net.plan(32, training=False) if operation.name == "layernorm"]
    assert operation.fused == ("extension",)
    net = network("before relu", norm)
    (operation,) = [operation for operation in net.plan(32, training=False) if operation.name == "layernorm"]
    assert operation.fused == ("relu",)


@norm
def test_settings_are_checked(norm):
    with pytest.raises(ValueError, match="epsilon: expected a positive number"):
        norm(epsilon=0)
    with pytest.raises(TypeError, match="epsilon: expected a number"):
        norm(epsilon="small")


def test_kerass_names_name_ours():
    with pytest.raises(AttributeError, match="'LayerNorm'"):
        fm.layers.LayerNormalization  # noqa: B018
    with pytest.raises(AttributeError, match="'RMSNorm'"):
        fm.layers.RMSNormalization  # noqa: B018
