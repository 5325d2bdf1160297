"""What a file keeps of an activation that is no built-in: its values and derivatives at fixed points."""

import json

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense
from fastmlp.serialization import _fingerprint, _objects


class Root(fm.activations.Activation):
    """Not finite below zero, and in its derivative at zero."""

    def forward(self, z):
        return np.sqrt(z)

    def derivative(self, z, a):
        return 0.5 / a


def test_a_class_of_this_program_has_a_fingerprint_and_no_version(register):
    register("activations", "root", Root)
    record = _objects.encode(Root(), "")
    assert (record["class"], record["version"]) == ("root", None)
    values = record["fingerprint"]["forward"]
    assert [value is None for value in values] == (_fingerprint.POINTS.ravel() < 0).tolist()
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert isinstance(_objects.decode(record), Root)


class Rows(fm.activations.Activation):
    """a = z - mean z over a row."""

    elementwise = False

    def forward(self, z):
        return z - z.mean(axis=-1, keepdims=True)

    def backward(self, z, a, da):
        return da - da.mean(axis=-1, keepdims=True)


def test_an_activation_of_rows(register):
    register("activations", "rows", Rows)
    saved = _objects.encode(Rows(), "")["fingerprint"]
    z, da = _fingerprint.POINTS, _fingerprint.SLOPES
    np.testing.assert_allclose(saved["forward"], Rows().forward(z).ravel())
    np.testing.assert_allclose(saved["backward"], Rows().backward(z, None, da).ravel())


class NoDerivative(fm.activations.Activation):
    recordable = False

    def forward(self, z):
        return z * 2


class Draws(fm.activations.Activation):
    rng = np.random.default_rng(0)

    def forward(self, z):
        return z * self.rng.uniform()


class Fails(fm.activations.Activation):
    def forward(self, z):
        raise RuntimeError("not today")


class Writes(fm.activations.Activation):
    def forward(self, z):
        z[...] = 0
        return z


@pytest.mark.parametrize("cls, taken", [(NoDerivative, True), (Draws, False), (Fails, False), (Writes, False)])
def test_what_has_no_fingerprint_is_saved_without(cls, taken, register):
    """Those that fail, draw, or write into their argument are saved all the same, and load again."""
    register("activations", "odd", cls)
    record = _objects.encode(cls(), "")
    assert (record["fingerprint"] is not None) == taken
    if taken:
        assert record["fingerprint"]["backward"] is None
    assert type(_objects.decode(record)) is cls


def test_a_class_of_this_program_that_has_changed(register, tmp_path, says):
    register("activations", "rows", Rows)
    fm.Sequential([Dense(2, "rows")], input_dim=2).save(tmp_path / "rows.npz")

    class Other(Rows):
        def backward(self, z, a, da):
            return da

    fm.registry.activations.register("rows", Other, override=True)
    with pytest.raises(ValueError) as caught:
        fm.load(tmp_path / "rows.npz")
    says(
        caught.value, r"rows.npz: activation 'rows' is not what it was", "derivative at", "run the code that registers"
    )
    assert type(fm.load(tmp_path / "rows.npz", verify=False).layers[0].activation) is Other
