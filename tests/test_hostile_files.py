"""Files that nobody vouches for: names, sizes and fields that no network of ours would write are refused."""

import copy
import json
import os
import sys
from types import MappingProxyType

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.archives._archive import write_arrays
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

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


# -- the text of the header ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "utf-8-sig"])
def test_other_encodings(encoding, path, rewrite, refused):
    """Also those that the parser would guess."""
    refused(rewrite(path, lambda header: json.dumps(header).encode(encoding)), "no JSON in UTF-8")


def test_bytes_that_are_no_text(path, rewrite, refused):
    refused(rewrite(path, lambda header: json.dumps(header).encode()[:-1] + b', "\xe4": 1}'), "no JSON in UTF-8")


@pytest.mark.parametrize(
    "more", ['"seed": 2', '"format": 1', '"x": {"a": 1, "b": [{"c": 1, "c": 1}]}', '"\\u0073eed": 2'], ids=str
)
def test_keys_that_stand_twice(more, path, rewrite, refused):
    """Parsers differ in which of them they take."""
    refused(rewrite(path, lambda header: json.dumps(header).encode()[:-1] + f", {more}}}".encode()), "stands twice")


def test_many_keys_that_stand_twice(path, rewrite, refused):
    text = "{" + ", ".join(f'"{number % 50_000}": 0' for number in range(100_000)) + "}"
    refused(rewrite(path, lambda header: text.encode()), "'0' stands twice")


def test_small_containers_without_end(path, rewrite, refused):
    """Each takes two bytes of the file, and fifty once it is parsed."""
    refused(rewrite(path, lambda header: b"[" + b"[]," * 3_000_000 + b"0]"), "absurd size")


def test_keys_of_later_versions_are_passed_over(path, rewrite):
    net = fm.load(rewrite(path, lambda header: header.update(columns=["a", "b"], later={"x": 1})))
    assert net.built


@pytest.mark.parametrize("name", ["steps", "iterations", "epochs"])
@pytest.mark.parametrize("value", [-1, 2**63 - 1, 2**63, 10**40, 1.0, "1", True])
def test_counters_out_of_range(name, value, path, rewrite, refused):
    refused(rewrite(path, lambda header: header.update({name: value})), name)


@pytest.mark.parametrize(
    "value", ["\x1b[2J", "a\nb\rc", "x" * 100_000, "\u202e"], ids=["clear", "lines", "long", "back"]
)
@pytest.mark.parametrize(
    "change",
    [
        lambda header, value: activation_in(header).update({"class": value}),
        lambda header, value: header["layers"][0]["config"].update({value: 1}),
        lambda header, value: header["layers"][0]["config"].update(name=f"{value}.b"),
        lambda header, value: header["layers"][0]["config"].update(units=value),
        lambda header, value: header.update(dtype=value),
        lambda header, value: header.update(steps=value),
        lambda header, value: header.update(format=value),
        lambda header, value: header["optimizer"].update(kind=value),
    ],
    ids=["class", "parameter", "name", "units", "dtype", "counter", "format", "kind"],
)
def test_text_of_a_file_is_shown_as_text(change, value, path, rewrite, refused):
    message = refused(rewrite(path, lambda header: change(header, value)))
    assert all(line.isprintable() for line in message.split("\n")) and len(message) < 4000


@pytest.mark.parametrize("name", ["\x1b[31mred", "a\nb", "\u202ecba"])
def test_names_of_layers_are_shown_as_text(name, path, rewrite, capsys):
    def change(header):
        header["layers"][1]["config"]["name"] = name

    net = fm.Sequential([Dense(2, name=name), Dense(1)], input_dim=2)
    net.summary()
    print(net.plan(4, training=False), fm.Sequential([Dense(2, name=name)]), sep="\n")
    assert all(line.isprintable() for line in capsys.readouterr().out.split("\n"))
    with pytest.raises(ValueError) as caught:
        fm.load(rewrite(path, change))
    message = str(caught.value)
    assert message.isprintable() and repr(name)[1:-1] in message


# -- numbers that can't be -----------------------------------------------------------------------------------------


def trained(optimizer):
    net = fm.Sequential([Dense(3), BatchNorm(), Dense(2)], input_dim=4, seed=1)
    net.compile(optimizer, "mse")
    net.train_on_batch(np.ones((3, 4)), np.ones((3, 2)))
    return net


NEVER = [
    ("adam", "parameters/0.kernel", [np.nan, np.inf, -np.inf]),
    ("adam", "parameters/1.gamma", [np.nan]),
    ("adam", "buffers/1.running_mean", [np.nan, np.inf]),
    ("adam", "buffers/1.running_var", [-1.0, -1e-30, np.nan, np.inf]),
    ("adam", "state/0.kernel/m", [np.nan, -np.inf]),
    ("adam", "state/2.bias/v", [-1e-20, np.nan, np.inf]),
    ("rmsprop", "state/0.kernel/v", [-1.0, np.nan]),
    (fm.optimizers.SGD(0.1, momentum=0.5), "state/0.bias/velocity", [np.nan, np.inf]),
]


@pytest.mark.parametrize(
    "optimizer, name, value", [(optimizer, name, value) for optimizer, name, values in NEVER for value in values]
)
def test_numbers_that_no_training_gives(optimizer, name, value, tmp_path, refused):
    """They are neither loaded, whoever wrote them, nor saved."""
    net = trained(optimizer)
    net.save(tmp_path / "network")
    with np.load(tmp_path / "network") as archive:
        arrays = {key: archive[key] for key in archive if key != "checksums"}
    arrays[name].flat[-1] = value
    with (tmp_path / "network").open("wb") as file:
        write_arrays(file, arrays)
    refused(tmp_path / "network", f"damaged file: {name}: expected finite numbers")
    kind, _, key = name.partition("/")
    key, _, part = key.partition("/")
    live = {"parameters": net.parameters, "buffers": net.buffers}.get(kind) or net.optimizer_state[key]
    live[part or key].flat[-1] = value
    with pytest.raises(ValueError, match=f"{name}: expected finite numbers"):
        net.save(tmp_path / "other")
    assert not (tmp_path / "other").exists()


class Records(fm.layers.Layer):
    """Its buffer may hold what it likes; another one says what it holds."""

    def build(self, input_dim):
        self.add_buffer("lowest", (input_dim,), np.inf)
        self.add_buffer("share", (1,), 0.5, least=0.0)
        return input_dim

    def forward(self, x, *, training, rng):
        return x, lambda dy: (dy, {})


class Best(fm.optimizers.Optimizer):
    least_state = MappingProxyType({"count": 1.0})

    def init_state(self, param):
        return {"best": np.full_like(param, np.inf), "count": np.ones(1)}

    def update(self, param, grad, state, learning_rate, step):
        param -= learning_rate * grad


def test_what_may_hold_anything(register, tmp_path):
    register("layers", "records", Records)
    register("optimizers", "best", Best)
    net = fm.Sequential([Records(), Dense(1)], input_dim=2, seed=0)
    net.compile(Best(), "mse")
    net.save(tmp_path / "network")
    again = fm.load(tmp_path / "network")
    assert np.isinf(again.buffers["0.lowest"]).all() and np.isinf(again.optimizer_state["1.bias"]["best"]).all()
    for array, name in ((net.optimizer_state["1.bias"]["count"], "count"), (net.buffers["0.share"], "share")):
        array[...] = -1
        with pytest.raises(ValueError, match=f"{name}: expected finite numbers of at least"):
            net.save(tmp_path / "network")


# -- what loading needs ----------------------------------------------------------------------------------------------


class Once(fm.initializers.Initializer):
    calls = 0

    def __call__(self, shape, rng, dtype):
        type(self).calls += 1
        return np.ones(shape, dtype)


def test_weights_that_are_stored_are_not_drawn(register, tmp_path):
    register("initializers", "once", Once)
    net = fm.Sequential([Dense(3, kernel_initializer="once"), Dense(2, bias_initializer="once")], input_dim=2)
    drawn = Once.calls
    net.save(tmp_path / "network")
    for twin in (fm.load(tmp_path / "network"), copy.deepcopy(net)):
        np.testing.assert_array_equal(twin.parameters["0.kernel"], 1)
    assert Once.calls == drawn == 2


def test_an_optimizer_finds_the_weights_when_its_state_begins(register, tmp_path):
    seen = []

    class Anchored(Steps):
        def init_state(self, param):
            seen.append(param.copy())
            return {}

    register("optimizers", "anchored", Anchored)
    net = fm.Sequential([Dense(3, bias_initializer="ones")], input_dim=2, seed=4)
    net.compile(Anchored(), "mse")
    net.save(tmp_path / "network")
    fm.load(tmp_path / "network")
    for before, after in zip(seen[:2], seen[2:], strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("too deep"), SystemExit(3), GeneratorExit(), UserWarning("x")]
)
@pytest.mark.parametrize("place", ["made", "built"])
def test_whatever_a_class_raises_is_one_error(error, place, register, path, rewrite, refused):
    class Raises(fm.layers.Layer):
        def __init__(self, where="nowhere"):
            super().__init__()
            self.where = where
            if where == "made":
                raise error

        def build(self, input_dim):
            if self.where == "built":
                raise error
            return input_dim

    register("layers", "raises", Raises)
    record = {"kind": "layers", "class": "raises", "config": {"where": place}}
    message = refused(rewrite(path, lambda header: header["layers"].append(record)))
    assert "more memory than there is" in message if isinstance(error, MemoryError) else type(error).__name__ in message


def test_an_interrupt_is_no_error_of_the_file(register, path, rewrite):
    class Interrupted(fm.layers.Layer):
        def build(self, input_dim):
            raise KeyboardInterrupt

    register("layers", "interrupted", Interrupted)
    record = {"kind": "layers", "class": "interrupted", "config": {}}
    with pytest.raises(KeyboardInterrupt):
        fm.load(rewrite(path, lambda header: header["layers"].append(record)))


@pytest.mark.parametrize("layer", [lambda: Dropout(0.1), lambda: Activation("tanh"), BatchNorm, lambda: Dense(1)])
def test_networks_deeper_than_the_stack(layer, tmp_path):
    """Nothing calls itself once for each layer: build, predict, train, list, save, load, copy."""
    net = fm.Sequential([layer() for _ in range(1200)] + [Dense(1)], input_dim=1, seed=0)
    net.compile("sgd", "mse")
    x = np.ones((4, 1), "f4")
    net.train_on_batch(x, x)
    assert len(net.plan(4)) >= 1000
    net.save(tmp_path / "deep")
    for twin in (fm.load(tmp_path / "deep"), copy.deepcopy(net)):
        np.testing.assert_array_equal(twin.predict(x), net.predict(x))


def test_many_layers_of_one_name(path, rewrite, refused):
    """They are counted, not each compared with all."""
    records = [
        {"kind": "layers", "class": "dropout", "config": {"rate": 0.5, "name": f"n{n // 2}"}} for n in range(30_000)
    ]
    refused(rewrite(path, lambda header: header.update(layers=records)), "two layers have one name")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on Windows")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="pipe: not a fastmlp network"):
        fm.load(tmp_path / "pipe")


@pytest.mark.parametrize("wrong", [0, 3, True, None, 1.5, ["a"]])
def test_what_is_no_path(wrong):
    """A number would be that of a descriptor: 0 is the terminal."""
    with pytest.raises(TypeError, match="path"):
        fm.load(wrong)
    with pytest.raises(TypeError, match="path"):
        fm.Sequential([Dense(1)]).save(wrong)


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
