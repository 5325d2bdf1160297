"""Files that name foreign objects: what is written of them, what is verified, what is refused and what is said."""

import copy
import json
import pickle
import sys
import textwrap
from contextlib import ExitStack

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import serialization
from fastmlp.layers import Dense
from fastmlp.serialization import _fingerprint

HEADER = "fastmlp.json"
ACTIVATION = """
    import numpy as np
    import fastmlp as fm

    class Bend(fm.activations.Activation):
        def __init__(self, beta=1.0):
            self.beta = beta

        def forward(self, z):
            return {forward}

        def derivative(self, z, a):
            return {derivative}

    class Steps(fm.optimizers.Optimizer):
        def init_state(self, param):
            return {{}}

        def update(self, param, grad, state, learning_rate, step):
            param -= learning_rate * grad
"""
FORMULA = {"forward": "z / (1 + self.beta * np.abs(z))", "derivative": "(1 + self.beta * np.abs(z)) ** -2"}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a version of the distribution bent-things, in the place of the one before; None uninstalls it."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def forget():
        for name in [name for name in sys.modules if name.startswith("bent_things")]:
            del sys.modules[name]
        for registry in (fm.registry.activations, fm.registry.optimizers):
            stack.enter_context(registry.temporary())

    def install(version, module=None, name="bend", **formula):
        for path in (*site.glob("*.dist-info/*"), *site.glob("*.py")):
            path.unlink()
        for path in site.glob("*.dist-info"):
            path.rmdir()
        if version is not None:
            info = site / f"bent_things-{version}.dist-info"
            info.mkdir()
            (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bent-things\nVersion: {version}\n")
            points = f"[fastmlp.activations]\n{name} = m:Bend\n[fastmlp.optimizers]\nsteps = m:Steps\n"
            module_name = f"bent_things_{version.replace('.', '_')}"
            (info / "entry_points.txt").write_text(points.replace("= m:", f"= {module_name}:"))
            text = textwrap.dedent(ACTIVATION).format(**{**FORMULA, **formula}) if module is None else module
            (site / f"{module_name}.py").write_text(text)
        forget()

    with ExitStack() as stack:
        yield install
        monkeypatch.undo()
        forget()


@pytest.fixture
def path(tmp_path, install):
    """A network with an activation and an optimizer of bent-things 1.5, in a file."""
    install("1.5")
    net = fm.Sequential([Dense(3, {"name": "bend", "beta": 0.5}), Dense(2, "softmax")], input_dim=4, seed=1)
    net.compile("bent-things:steps", "sparse_categorical_crossentropy", ["accuracy"])
    net.save(tmp_path / "network.npz")
    return tmp_path / "network.npz"


def activation_in(header):
    return header["layers"][0]["config"]["activation"]


# -- what is written -----------------------------------------------------------------------------------------------


def test_a_plugin_is_named_with_version_configuration_and_fingerprint(path, header_of):
    header = header_of(path)
    found = activation_in(header)
    assert (found["class"], found["version"], found["config"]) == ("bent-things:bend", "1.5", {"beta": 0.5})
    z = _fingerprint.POINTS.ravel()
    np.testing.assert_allclose(found["fingerprint"]["forward"], z / (1 + 0.5 * abs(z)), rtol=1e-15)
    np.testing.assert_allclose(found["fingerprint"]["backward"], (1 + 0.5 * abs(z)) ** -2, rtol=1e-14)
    optimizer = header["optimizer"]
    assert (optimizer["class"], optimizer["version"]) == ("bent-things:steps", "1.5")
    assert "fingerprint" not in optimizer


def test_what_is_built_in_is_written_as_before(path, header_of):
    header = header_of(path)
    for record in (header["layers"][1], header["layers"][1]["config"]["activation"], header["loss"]):
        assert record.keys() == {"kind", "class", "config"}
    assert header["format"] == 2


# -- what is verified ----------------------------------------------------------------------------------------------


def test_it_comes_back(path):
    net = fm.load(path)
    assert type(net.layers[0].activation).__name__ == "Bend" and net.layers[0].activation.beta == 0.5
    assert type(net.optimizer).__name__ == "Steps"


def test_another_version_with_the_same_values_is_taken_silently(path, install):
    install("2.0", forward="0.0 + z / (1.0 + np.abs(z) * self.beta) * (1 + 1e-13)")
    net = fm.load(path)
    assert type(net.layers[0].activation).__module__ == "bent_things_2_0"


@pytest.mark.parametrize(
    "formula, words",
    [
        ({"forward": "z / (1 + self.beta * np.abs(z)) + 1e-4"}, ["forward at -18.5 was -1.8", "16 of 16 points"]),
        ({"forward": "np.where(z > 5, z, z / (1 + self.beta * np.abs(z)))"}, ["forward at 7.5", "is 7.5 (2 of 16"]),
        ({"derivative": "np.where(z > 0, 1.0, (1 + self.beta * np.abs(z)) ** -2)"}, ["derivative at 0.06 was 0.94"]),
        ({"forward": "np.log(z)"}, ["not finite"]),
        ({"forward": "z[:1]"}, ["fails where it gave values", "shape"]),
        ({"derivative": "1 / 0"}, ["fails where it gave values", "ZeroDivisionError"]),
        ({"derivative": "super().derivative(z, a)"}, ["none now"]),
    ],
)
def test_other_values_are_refused(formula, words, path, install, refused):
    install("2.0", **formula)
    words = [*words, "'bent-things:bend'", "2.0 is installed", "saved with 1.5", "pip install bent-things==1.5"]
    refused(path, *words, "verify=False")
    net = fm.load(path, verify=False)
    assert type(net.layers[0].activation).__module__ == "bent_things_2_0"


def test_bytes_are_verified_too(path, install):
    """A pickle names the module of a class, as pickles do; what is to outlive a package's version is a file."""
    net = fm.load(path)
    for again in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert type(again.layers[0].activation) is type(net.layers[0].activation)
    content = serialization.to_bytes(net.engine)
    install("2.0", forward="-z")
    with pytest.raises(ValueError, match="is not what it was"):
        serialization.from_bytes(content, fm.Sequential)
    assert serialization.from_bytes(content, fm.Sequential, verify=False).built


@pytest.mark.parametrize("verify", [None, 1, "no"])
def test_verify_is_a_bool(verify, path):
    with pytest.raises(TypeError, match="verify: expected True or False"):
        fm.load(path, verify=verify)


def test_files_of_before_are_read(path, install, rewrite, refused):
    """0.1.0 wrote neither version nor fingerprint; whatever is installed is taken."""

    def change(header):
        for record in (activation_in(header), header["optimizer"]):
            for name in ("version", "fingerprint"):
                record.pop(name, None)

    rewrite(path, change)
    install("2.0", forward="-z")
    assert type(fm.load(path).layers[0].activation).__module__ == "bent_things_2_0"
    install(None)
    message = refused(path, "pip install bent-things", kind=fm.UnknownNameError)
    assert "==" not in message


OLD = {  # what 0.1.0 wrote of an unbuilt network
    "format": 1,
    "version": "0.1.0",
    "layers": [
        {
            "kind": "layers",
            "class": "dense",
            "config": {
                "units": 3,
                "activation": {"kind": "activations", "class": "leaky_relu", "config": {"alpha": 0.25}},
                "use_bias": True,
                "kernel_initializer": None,
                "bias_initializer": {"kind": "initializers", "class": "zeros", "config": {}},
                "name": None,
            },
        },
        {"kind": "layers", "class": "dropout", "config": {"rate": 0.5, "name": "noise"}},
    ],
    "input_dim": None,
    "dtype": "float64",
    "seed": 17,
    "optimizer": {"kind": "optimizers", "class": "adam", "config": {"learning_rate": 0.01}},
    "loss": None,
    "metrics": [],
    "steps": 0,
    "iterations": 0,
    "epochs": 0,
}


def test_a_header_of_before_is_read(tmp_path):
    np.savez(tmp_path / "old.npz", **{HEADER: np.frombuffer(json.dumps(OLD).encode(), np.uint8)})
    net = fm.load(tmp_path / "old.npz")
    assert net.layers[0].activation == fm.activations.LeakyReLU(0.25)
    assert (net.seed, net.dtype, net.layers[1].name) == (17, np.float64, "noise")
    assert net.optimizer.learning_rate == 0.01


# -- what to install -----------------------------------------------------------------------------------------------


def test_a_package_that_is_not_installed(path, install, refused):
    install(None)
    message = refused(path, "unknown activation 'bent-things:bend'", "is not installed here", kind=fm.UnknownNameError)
    assert message.endswith("pip install bent-things==1.5")


def test_a_version_without_that_name(path, install, refused):
    install("0.9", name="other")
    refused(path, "0.9 is installed", "with 1.5; pip install bent-things==1.5", kind=fm.UnknownNameError)


def test_a_version_that_fails_to_load(path, install):
    install("3.0", module="raise OSError('no such library')\n")
    words = ["no such library", "3.0 is installed", "pip install bent-things==1.5"]
    with pytest.raises(fm.PluginError) as caught:
        fm.load(path)
    assert [word for word in words if word not in str(caught.value)] == []
    assert caught.value.distribution == "bent-things"


def test_a_version_that_takes_another_configuration(path, install, refused):
    install("4.0", module=textwrap.dedent(ACTIVATION).format(**FORMULA).replace("beta", "gamma"))
    refused(path, "unknown parameter 'beta'", "4.0 is installed", "pip install bent-things==1.5")


class Moody(fm.optimizers.Optimizer):
    def __init__(self, mood="good"):
        if mood != "good":
            raise RuntimeError("bad mood")
        super().__init__()
        self.mood = mood


def test_a_constructor_that_fails(register, path, rewrite, refused):
    register("optimizers", "moody", Moody)
    record = {"kind": "optimizers", "class": "moody", "config": {"mood": "bad"}}
    refused(rewrite(path, lambda header: header.update(optimizer=record)), "'moody' can't be made", "bad mood")


# -- what is not imported ------------------------------------------------------------------------------------------


def test_nothing_is_imported_for_a_damaged_record(path, install, rewrite, refused):
    """Versions and fingerprints are looked at before the registry is asked."""
    install("1.5")
    for damage in ({"version": "1; ls"}, {"version": 5}, {"fingerprint": {"grid": 1}}, {"fingerprint": [1.0]}):
        content = path.read_bytes()
        refused(rewrite(path, lambda header, damage=damage: activation_in(header).update(damage)))
        path.write_bytes(content)
    assert not [name for name in sys.modules if name.startswith("bent_things")]
