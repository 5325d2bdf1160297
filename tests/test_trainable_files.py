"""Learned parameters of activations in files and copies, what is refused, and the conformance kit."""

import copy
import ctypes
import pickle

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._tracing.elementwise import Elementwise
from fastmlp.layers import Activation, Dense

PER = ("layer", "unit")


class Swish(fm.activations.Activation):
    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, z):
        return z / (1 + np.exp(-self.beta * z))


class Own(Swish):
    """A class with a derivative of its own."""

    def derivative(self, z, a):
        s = 1 / (1 + np.exp(-self.beta * z))
        return s + self.beta * a * (1 - s)


def swish(per):
    return fm.activations.recorded(lambda z, beta=1.0: z / (1 + np.exp(-beta * z)), beta=fm.learned(1.0, per=per))


def two():
    """One parameter of each kind."""
    return fm.activations.recorded(
        lambda z, a, b: np.tanh(a * z) + b * np.sin(z), a=fm.learned(1.25), b=fm.learned(0.5, per="unit")
    )


def data(rows):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 3)).astype(np.float32), rng.normal(size=(rows, 3)).astype(np.float32)


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["file", "pickle", "deepcopy"])
@pytest.mark.parametrize("per", PER)
def test_copies_go_on_alike(way, per, tmp_path, register, same_future):
    register("activations", "learned_swish", Swish)
    layers = [Dense(5, Swish(fm.learned(0.75, per=per))), Dense(4, two()), Dense(4, "prelu"), Dense(3)]
    net = fm.Sequential(layers, input_dim=3, seed=2)
    net.compile("adam", "mse")
    net.fit(*data(20), epochs=2, verbose=0)
    if way == "file":
        net.save(tmp_path / "net")
        twin = fm.load(tmp_path / "net")
    else:
        twin = pickle.loads(pickle.dumps(net)) if way == "pickle" else copy.deepcopy(net)
    assert twin.layers[0].activation == net.layers[0].activation
    assert twin.layers[1].activation.parameters == net.layers[1].activation.parameters
    assert not np.allclose(twin.parameters["0.beta"], 0.75)
    same_future(net, twin)


@pytest.fixture
def path(tmp_path, register):
    register("activations", "learned_swish", Swish)
    net = fm.Sequential([Dense(3, Swish(fm.learned(0.75, per="unit"))), Dense(2)], input_dim=4, seed=1)
    net.save(tmp_path / "network.npz")
    return tmp_path / "network.npz"


def config_of(header):
    return header["layers"][0]["config"]["activation"]["config"]


def test_what_a_file_says(path, header_of):
    assert config_of(header_of(path)) == {"beta": {"kind": "learned", "value": 0.75, "per": "unit"}}
    fingerprint = header_of(path)["layers"][0]["config"]["activation"]["fingerprint"]
    z = np.array([-18.5, -0.9, 0.06, 2.1])
    np.testing.assert_allclose(fingerprint["forward"][:4], Swish(0.75)(z))
    np.testing.assert_allclose(fingerprint["backward"][:4], Swish(0.75).derivative(z, None))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"value": "1.0"}, "'value' of a learned should be a float, got str"),
        ({"value": None}, "'value' of a learned should be a float, got NoneType"),
        ({"value": True}, "'value' of a learned should be a float, got bool"),
        ({"value": [1.0]}, "'value' of a learned should be a float, got list"),
        ({"value": float("nan")}, "expected a finite number, got nan"),
        ({"value": float("inf")}, "expected a finite number, got inf"),
        ({"per": "row"}, "per: expected one of layer, unit, got 'row'"),
        ({"per": 1}, "'per' of a learned should be a str, got int"),
        ({"per": {"kind": "learned"}}, "'per' of a learned should be a str, got dict"),
        ({"per": "layer"}, "parameters/0.beta should be float32 (1,)"),
        ({"value": 1.5}, "not what it was when the network was saved"),
        ({"kind": "learner"}, "unknown kind of object 'learner'"),
    ],
)
def test_hostile_files(change, words, path, rewrite, refused):
    refused(rewrite(path, lambda header: config_of(header)["beta"].update(change)), words)


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (lambda header, value: header.update(optimizer=value), "damaged header"),
        (lambda header, value: header.update(layers=[value]), "damaged header"),
        (lambda header, value: header["layers"][0]["config"].update(activation=value), "can't be made"),
        (lambda header, value: header["layers"][0]["config"].update(units=value), "expected an integer"),
        (lambda header, value: header.update(seed=value), "damaged header"),
        (lambda header, value: config_of(header).update(beta=[value]), "it fails where it gave values"),
    ],
    ids=["optimizer", "layer", "activation", "units", "seed", "list"],
)
def test_a_learned_entry_out_of_place(place, words, path, rewrite, refused):
    value = {"kind": "learned", "value": 0.75, "per": "unit"}
    refused(rewrite(path, lambda header: place(header, value)), words)


# -- what can't be learned -------------------------------------------------------------------------------------------


class Branch(Swish):
    def forward(self, z):
        return self.beta * z if (z > 100).any() else z

    def derivative(self, z, a):
        return np.ones_like(z)


class Converted(Swish):
    def forward(self, z):
        return z * z.dtype.type(self.beta)


class Unused(Swish):
    def forward(self, z):
        return 2 * z


class Threshold(Swish):
    def forward(self, z):
        return np.where(z > self.beta, z, 0)


class Rows(Swish):
    elementwise = False


class Changing(Swish):
    recordable = False


class Native(Swish):
    """Nothing calls its functions."""

    native = fm.activations.NativeKernel(
        float32=[
            ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * arrays, ctypes.c_ssize_t, ctypes.c_void_p)(4096)
            for arrays in (2, 4)
        ]
    )


def many():
    values = dict.fromkeys("abcd", fm.learned(1.0))
    return fm.activations.recorded(lambda z, a, b, c, d: z * a + b * c * d, **values)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Branch(fm.learned(1.0)), "it asks for .any of the array"),
        (lambda: Converted(fm.learned(1.0)), "its numbers are asked for"),
        (lambda: Unused(fm.learned(1.0)), "forward doesn't use the learned parameter 'beta'"),
        (lambda: Threshold(fm.learned(1.0)), "forward has the derivative 0 by the learned parameter 'beta'"),
        (lambda: Rows(fm.learned(1.0)), "elementwise = False"),
        (lambda: Changing(fm.learned(1.0)), "recordable = False"),
        (lambda: Native(fm.learned(1.0)), "native kernel takes no learned parameters; set native = None"),
        (many, "it has 4 learned parameters; a program takes 3"),
    ],
    ids=["branch", "number", "unused", "threshold", "rows", "recordable", "native", "many"],
)
def test_what_cannot_be_traced_is_refused_when_the_network_is_built(make, reason):
    net = fm.Sequential([Dense(3), Activation(make()), Dense(2)], seed=0)
    with pytest.raises(TypeError, match=r"^parameters of activation .* can't be learned") as caught:
        net.build(4)
    assert reason in str(caught.value)
    assert not net.built


class Kept(fm.activations.Activation):
    """Its parameter stands where none is looked for."""

    def __init__(self, beta=1.0):
        self.beta = {"beta": beta}

    def forward(self, z):
        return z * self.beta["beta"]


class Computed(Kept):
    def forward(self, z):
        return z * np.exp(-self.beta["beta"])


class Around(Kept):
    def forward(self, z):
        return 2 * self.beta["beta"](z)


@pytest.mark.parametrize(
    "made",
    [Kept(fm.learned(1.0)), Computed(fm.learned(1.0)), Around(Swish(fm.learned(1.0))), Around(swish("layer"))],
    ids=["kept", "computed", "around a class", "around a function"],
)
def test_none_is_taken_for_a_constant_without_a_word(made):
    net = fm.Sequential([Dense(3, made)], input_dim=2, seed=0)
    with pytest.raises(TypeError, match=r"learned\(1.0\) would be a constant here"):
        net.predict(np.ones((1, 2)))


def test_functions_around_learned_parameters():
    beta = fm.learned(1.0)
    for function in (lambda z: z * beta, lambda z: -beta * z, lambda z: np.where(z > 0, beta, z)):
        with pytest.raises(TypeError, match="would be a constant here"):
            fm.activations.recorded(function)
    with pytest.raises(TypeError, match="'z' is what a program calls the argument itself"):
        fm.activations.recorded(lambda x, z=1.0: x * z)


@pytest.mark.parametrize("wrong", ["forward", "dz", "slope"])
def test_programs_are_compared_with_numpy(wrong, monkeypatch):
    """A program that does something else than the graph says is not used."""

    class Fresh(Swish):  # of which nothing is known yet
        pass

    def programs(self, right=Elementwise.programs):
        graph = self.graph
        if wrong == "forward":
            changed = self._replace(a=graph.apply("mul", self.a, graph.constant(1.001)))
        elif wrong == "dz":
            changed = self._replace(dz=graph.apply("mul", self.dz, graph.constant(1.001)))
        else:
            changed = self._replace(slopes=(graph.apply("mul", self.slopes[0], graph.constant(1.001)),))
        return right(changed)

    monkeypatch.setattr(Elementwise, "programs", programs)
    found = fm.activations.execution_of(Fresh(fm.learned(0.5)), np.dtype("float64"))
    assert found.mode == "python"
    assert {"forward": "forward: traced", "dz": "backward: traced", "slope": "derivative by 'beta': traced"}[
        wrong
    ] in str(found.reason)


# -- the conformance kit ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "made",
    [fm.activations.PReLU(), Swish(fm.learned(1.5)), Own(fm.learned(0.5, per="unit")), two(), swish("layer")],
    ids=["prelu", "class", "own derivative", "two", "function"],
)
def test_the_kit_passes_them(made):
    fm.testing.check(made)
    (check,) = (check for check in fm.testing.checks(made) if check.name == "learned")
    assert check.run().status == "passed"


class Twice(Swish):
    """What __init__ makes of a parameter doesn't learn."""

    def __init__(self, beta=1.0):
        super().__init__(beta)
        self.scale = 1 + 0.5 * beta

    def forward(self, z):
        return self.scale * super().forward(z)


@pytest.mark.parametrize(
    ("made", "words"),
    [(Branch(fm.learned(1.0)), "can't be learned"), (Twice(fm.learned(1.0)), "parameter 'beta' is wrong at")],
    ids=["branch", "twice"],
)
def test_the_kit_catches_what_does_not_learn(made, words):
    (check,) = (check for check in fm.testing.checks(made) if check.name == "learned")
    status, text = check.run()
    assert status == "failed"
    assert words in text
