"""Files that nobody vouches for: names, sizes and fields that no network of ours would write are refused."""

import copy
import json
import sys

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.layers import Dense

HEADER = "fastmlp.json"


class Bend(fm.activations.Activation):
    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, z):
        return z / (1 + self.beta * np.abs(z))

    def derivative(self, z, a):
        return (1 + self.beta * np.abs(z)) ** -2


class Steps(fm.optimizers.Optimizer):
    def init_state(self, param):
        return {}

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


@pytest.fixture
def path(tmp_path, register):
    """A network with an activation and an optimizer of this program, in a file."""
    register("activations", "bend", Bend)
    register("optimizers", "steps", Steps)
    net = fm.Sequential([Dense(3, Bend(0.5)), Dense(2, "softmax")], input_dim=4, seed=1)
    net.compile("steps", "sparse_categorical_crossentropy", ["accuracy"])
    net.save(tmp_path / "network.npz")
    return tmp_path / "network.npz"


def activation_in(header):
    return header["layers"][0]["config"]["activation"]


# -- names ----------------------------------------------------------------------------------------------------------

DOTTED = [
    "os:system",
    "os.system",
    "trap.module:Class",
    "trap:Class",
    "trap",
    "trap.module",
    "../trap",
    "trap;ls:x",
    ":",
]


@pytest.mark.parametrize("name", DOTTED)
@pytest.mark.parametrize("place", ["activation", "optimizer"])
def test_dotted_paths_and_unregistered_names(name, place, path, tmp_path, monkeypatch, rewrite, refused):
    """Nothing of that name is imported, though it could be."""
    (tmp_path / "trap").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    for module in ("__init__", "module"):
        (tmp_path / "trap" / f"{module}.py").write_text("raise SystemExit('imported')\n")

    def change(header):
        (activation_in(header) if place == "activation" else header["optimizer"])["class"] = name

    message = refused(rewrite(path, change), "unknown", kind=fm.UnknownNameError)
    assert "trap" not in sys.modules and "trap.module" not in sys.modules
    assert "pip install trap;" not in message


@pytest.mark.parametrize(
    "change",
    [
        {"grid": 2},
        {"grid": True},
        {"forward": None},
        {"forward": [0.5] * 15},
        {"forward": [0.5] * 10**6},
        {"backward": [0.5] * 15 + ["x"]},
        {"backward": [0.5] * 15 + [float("nan")]},
        {"backward": [0.5] * 15 + [10**400]},
        {"backward": [0.5] * 15 + [True]},
        {"backward": {}},
        {"more": 1},
    ],
    ids=lambda change: str(change)[:30],
)
def test_a_fingerprint_of_another_form(change, path, rewrite, refused):
    refused(rewrite(path, lambda header: activation_in(header)["fingerprint"].update(change)))


def test_a_fingerprint_of_what_is_no_activation(path, rewrite, refused):
    record = {"grid": 1, "forward": [0.0] * 16, "backward": None}
    refused(rewrite(path, lambda header: header["optimizer"].update(fingerprint=record)), "no activation")


def nested(depth, make):
    value = 0
    for _ in range(depth):
        value = make(value)
    return value


ABSURD = {
    "list": [0] * 10**6,
    "many lists": [[0] * 90_000] * 12,
    "tuple": {"kind": "tuple", "items": [0] * 200_000},
    "dict": {"kind": "dict", "items": [[0, 0]] * 200_000},
    "array": {"kind": "array", "dtype": "<f8", "values": [0.0] * 10**6},
    "strings": {"kind": "array", "dtype": "<U100000000", "values": ["a"]},
    "deep": nested(400, lambda value: [value]),
    "deep tuples": nested(200, lambda value: {"kind": "tuple", "items": [value]}),
    "deep array": {"kind": "array", "dtype": "<f8", "values": nested(80, lambda value: [value])},
}


@pytest.mark.parametrize("which", ABSURD)
def test_absurd_sizes(which, path, rewrite, refused):
    """Before anything is made of them; a word of each message tells where it was noticed."""
    said = {"strings": "bytes in the header", "deep array": ""}.get(which, "absurd size")
    refused(rewrite(path, lambda header: activation_in(header)["config"].update(beta=ABSURD[which])), said)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"kind": "tuple", "items": ['], ids=repr)
def test_nesting_that_the_parser_cannot_follow(opening, path, rewrite, refused):
    refused(rewrite(path, lambda header: opening * 100_000), "damaged header")


def test_a_header_of_many_bytes(path, rewrite, refused):
    refused(rewrite(path, lambda header: b" " * 2**25 + json.dumps(header).encode()), "more than")


class Holder(fm.activations.Activation):
    def __init__(self, what=None):
        self.what = what

    def forward(self, z):
        return z.copy()


def own(value):
    value.append(value)
    return value


@pytest.mark.parametrize(
    "what", [[0] * 10**6, np.zeros(10**6), nested(150, lambda value: [value]), own([]), "x" * 2**25], ids=type
)
def test_what_could_not_be_loaded_is_not_saved(what, register, tmp_path):
    register("activations", "holder", Holder)
    net = fm.Sequential([Dense(2, Holder(what))], input_dim=2)
    with pytest.raises(ValueError, match=r"absurd size|nested too deeply|takes \d+ bytes"):
        net.save(tmp_path / "holder.npz")
    assert not (tmp_path / "holder.npz").exists()


def test_an_array_that_unpacks_to_more_than_its_place(path, refused):
    """State is as bounded as parameters are: nothing is unpacked that would not fit."""
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive}
    arrays["parameters/0.bias"] = np.zeros(10**6, "f4")
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    refused(path, "parameters/0.bias")


# -- every field of every kind -------------------------------------------------------------------------------------


def fields(value, at=()):
    """The place of every value in a header."""
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield (*at, key)
        if isinstance(part, (dict, list)) and part:
            yield from fields(part, (*at, key))


WRONG = [None, True, -1, 0, 10**30, 1.5, float("nan"), "", "x", "os:system", [], [[]], {}, {"kind": "tuple"}, [1, "x"]]


def test_every_field_of_another_kind(path, header_of, rewrite):
    """Each value of the header by others of all kinds: the network comes, or one of three errors that name the file."""
    content, header = path.read_bytes(), header_of(path)
    places = [
        place for place in fields(header) if not (place[-2:-1] in (("forward",), ("backward",)) and place[-1] > 1)
    ]
    errors = 0
    for place in places:
        for wrong in WRONG:
            changed = copy.deepcopy(header)
            target = changed
            for key in place[:-1]:
                target = target[key]
            target[place[-1]] = wrong
            path.write_bytes(content)
            rewrite(path, lambda _, changed=changed: changed)
            try:
                assert isinstance(fm.load(path), fm.Sequential)
            except (ValueError, fm.UnknownNameError, fm.PluginError) as error:
                assert str(error).startswith(f"{path}: "), place
                errors += 1
    assert errors > len(places) * len(WRONG) * 0.7
