"""Files, pickles and copies: every bit comes back, nothing is half written, nothing damaged is believed."""

import copy
import io
import json
import os
import pickle
import stat
import sys
import zipfile

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import serialization
from fastmlp.archives._archive import write_arrays
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

HEADER = "fastmlp.json"


def by_file(net, folder):
    net.save(folder / "network.npz")
    return fm.load(folder / "network.npz")


WAYS = {
    "file": by_file,
    "bytes": lambda net, folder: serialization.from_bytes(serialization.to_bytes(net.engine), fm.Sequential),
    "pickle 2": lambda net, folder: pickle.loads(pickle.dumps(net, protocol=2)),
    "pickle 5": lambda net, folder: pickle.loads(pickle.dumps(net, protocol=5)),
    "deepcopy": lambda net, folder: copy.deepcopy(net),
    "copy": lambda net, folder: copy.copy(net),
}


@pytest.fixture(params=WAYS)
def there_and_back(request, tmp_path):
    return lambda net: WAYS[request.param](net, tmp_path)


@pytest.fixture
def data():
    rng = np.random.default_rng(5)
    return rng.normal(size=(70, 6)), rng.integers(0, 3, 70)


def network(dtype="float32", optimizer="adam", seed=11):
    layers = [
        Dense(9, name="first"),
        BatchNorm(momentum=0.7),
        Activation("tanh"),
        Dropout(0.3),
        Dense(7, activation=fm.activations.LeakyReLU(alpha=0.2), kernel_initializer="he_normal"),
        Dense(3, activation="softmax"),
    ]
    net = fm.Sequential(layers, input_dim=6, dtype=dtype, seed=seed)
    net.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


@pytest.fixture
def trained(data):
    net = network()
    net.fit(*data, epochs=2, batch_size=16, verbose=0)
    return net


# There and back


@pytest.mark.parametrize("optimizer", ["adam", "sgd", fm.optimizers.SGD(0.05, momentum=0.9, nesterov=True)], ids=repr)
def test_every_bit_comes_back(optimizer, dtype, data, there_and_back, snapshot, same_bits):
    net = network(dtype, optimizer)
    net.fit(*data, epochs=2, batch_size=16, verbose=0)
    again = there_and_back(net)
    assert again is not net
    assert same_bits(snapshot(again), snapshot(net))
    assert same_bits(again.predict(data[0]), net.predict(data[0]))
    assert again.evaluate(*data) == net.evaluate(*data)
    assert (again.dtype, again.seed, again.input_dim) == (net.dtype, net.seed, net.input_dim)
    assert repr(again) == repr(net)
    assert [layer.get_config() for layer in again.layers] == [layer.get_config() for layer in net.layers]
    assert (again.optimizer, again.loss, again.metrics) == (net.optimizer, net.loss, net.metrics)


def test_training_goes_on_to_the_same_bits(dtype, data, there_and_back, snapshot, same_bits):
    straight, net = network(dtype), network(dtype)
    history = straight.fit(*data, epochs=5, batch_size=16, verbose=0).history
    net.fit(*data, epochs=2, batch_size=16, verbose=0)
    net = there_and_back(net)
    rest = net.fit(*data, epochs=5, initial_epoch=2, batch_size=16, verbose=0).history
    assert rest == {name: values[2:] for name, values in history.items()}
    assert same_bits(snapshot(net), snapshot(straight))


def test_single_steps_go_on_to_the_same_bits(data, there_and_back, snapshot, same_bits):
    x, y = data
    straight, net = network(), network()
    for at in range(0, 64, 8):
        if at == 32:
            net = there_and_back(net)
        logs = [each.train_on_batch(x[at : at + 8], y[at : at + 8]) for each in (straight, net)]
        assert logs[0] == logs[1]
    assert same_bits(snapshot(net), snapshot(straight))


def test_learning_rate_set_between_steps_is_kept(trained, there_and_back):
    trained.optimizer.learning_rate = 0.125
    assert there_and_back(trained).optimizer.learning_rate == 0.125


def test_a_copy_shares_nothing(trained, there_and_back, data, snapshot, same_bits):
    before, answers = snapshot(trained), trained.predict(data[0])
    again = there_and_back(trained)
    for mapping in (again.parameters, again.buffers, *again.optimizer_state.values()):
        for key in mapping:
            mapping[key] = np.full_like(mapping[key], 0.5)
    again.optimizer.learning_rate = 0.5
    again.layers[3].rate = 0.9
    again.fit(*data, epochs=1, verbose=0)
    assert same_bits(snapshot(trained), before)
    assert same_bits(trained.predict(data[0]), answers)
    assert trained.optimizer.learning_rate == 0.001
    assert trained.layers[3].rate == 0.3


def test_unbuilt(there_and_back, data, snapshot, same_bits):
    net = fm.Sequential([Dense(4, activation="relu"), Dense(3, activation="softmax")], dtype="float64", seed=2**64 - 1)
    again = there_and_back(net)
    assert not again.built and again.optimizer is None and again.loss is None
    assert (again.seed, again.dtype) == (2**64 - 1, np.float64)
    for each in (net, again):
        each.build(6)
    assert same_bits(dict(again.parameters), dict(net.parameters))


def test_unbuilt_but_compiled(there_and_back, data, snapshot, same_bits):
    net = fm.Sequential([Dense(4, activation="relu"), Dense(3, activation="softmax")], seed=4)
    net.compile("adam", fm.losses.SparseCategoricalCrossentropy(), metrics=["accuracy"])
    again = there_and_back(net)
    for each in (net, again):
        each.fit(*data, verbose=0)
    assert same_bits(snapshot(again), snapshot(net))


def test_uncompiled(there_and_back, data, same_bits):
    net = fm.Sequential([Dense(4, activation="relu"), BatchNorm(), Dense(2)], input_dim=6, seed=4)
    net.buffers["1.running_mean"] = np.arange(4)
    again = there_and_back(net)
    assert again.optimizer is None
    assert same_bits(again.predict(data[0]), net.predict(data[0]))


def test_compiled_without_a_loss(there_and_back):
    net = fm.Sequential([Dense(2)], input_dim=3, seed=1)
    net.compile(fm.optimizers.Adam(0.25))
    net.apply_gradients({key: np.ones_like(view) for key, view in net.parameters.items()})
    again = there_and_back(net)
    assert again.loss is None and again.optimizer == fm.optimizers.Adam(0.25)
    np.testing.assert_array_equal(again.optimizer_state["0.bias"]["m"], net.optimizer_state["0.bias"]["m"])


@pytest.mark.parametrize("numbers", [[-0.0, 1.5, -5e-324], [np.inf, np.nan, -np.inf]], ids=["finite", "not finite"])
@pytest.mark.parametrize("way", WAYS)
def test_special_numbers_in_arrays_come_back(way, numbers, tmp_path, same_bits):
    """Copies are as their originals in any case; a file never holds parameters that no training can give."""
    net = fm.Sequential([Dense(3)], input_dim=1, dtype="float64", seed=0)
    net.parameters["0.bias"] = numbers
    if way in ("file", "bytes") and not np.isfinite(numbers).all():
        with pytest.raises(ValueError, match=r"parameters/0\.bias: expected finite numbers, got"):
            WAYS[way](net, tmp_path)
        assert os.listdir(tmp_path) == []
    else:
        assert same_bits(dict(WAYS[way](net, tmp_path).parameters), dict(net.parameters))


# Classes of users


class Wave(fm.activations.Activation):
    """An activation with every kind of configuration."""

    def __init__(self, factor=1.0, shape=(1, 2), table=None, options=None, inner=None):
        self.factor = factor
        self.shape = shape
        self.table = np.arange(3.0) if table is None else table
        self.options = {"a": [1, None, True], 2: "b"} if options is None else options
        self.inner = fm.activations.Tanh() if inner is None else inner

    def forward(self, z):
        return (self.factor * np.sin(z)).astype(z.dtype)

    def derivative(self, z, a):
        return (self.factor * np.cos(z)).astype(z.dtype)


class Shift(fm.layers.Layer):
    """A layer in NumPy, with a parameter, a buffer and noise."""

    def __init__(self, scale=1.0, *, name=None):
        super().__init__(name=name)
        self.scale = scale

    def build(self, input_dim):
        self.add_parameter("shift", (input_dim,), "zeros")
        self.add_buffer("calls", (1,), 0.0)
        return input_dim

    def forward(self, x, *, training, rng):
        y = x + self.parameters["shift"]
        if training:
            self.buffers["calls"] += 1
            y = y + self.scale * rng.standard_normal(x.shape).astype(x.dtype)
        return y, lambda dy: (dy, {"shift": dy.sum(axis=0)})


class Slow(fm.optimizers.Optimizer):
    """An optimizer in NumPy whose state has a shape and a dtype of its own."""

    def init_state(self, param):
        return {"mean": np.zeros_like(param), "steps": np.zeros((2,), np.int64)}

    def update(self, param, grad, state, learning_rate, step):
        state["mean"] += 0.1 * (grad - state["mean"])
        state["steps"] += step
        param -= learning_rate * state["mean"]


class Doubled(fm.losses.Loss):
    def value_and_gradient(self, y_true, y_pred):
        d = y_pred - y_true
        return 2 * (d * d).sum(axis=1), 4 * d


class Worst(fm.metrics.Metric):
    def rows(self, y_true, y_pred):
        return np.abs(y_pred - y_true).max(axis=1)


class Sevens(fm.initializers.Initializer):
    def __init__(self, value=7.0):
        self.value = value

    def __call__(self, shape, rng, dtype):
        return np.full(shape, self.value, dtype)


def test_registered_classes_come_back(register, there_and_back, data, snapshot, same_bits):
    register("activations", "wave", Wave)
    register("layers", "shift", Shift)
    register("optimizers", "slow", Slow)
    register("losses", "doubled", Doubled)
    register("metrics", "worst", Worst)
    register("initializers", "sevens", Sevens)
    wave = Wave(0.5, (3, (4,)), np.array([[1.5, np.nan]], np.float32), {"x": {"y": (1, 2.5)}}, Wave(2.0))
    layers = [Dense(5, activation=wave, bias_initializer=Sevens(0.25)), Shift(0.1, name="noise"), Dense(2)]
    net = fm.Sequential(layers, input_dim=6, seed=3)
    net.compile(Slow(0.01), "doubled", metrics=["worst"])
    x, y = data[0], data[0][:, :2]
    net.fit(x, y, epochs=2, verbose=0)
    again = there_and_back(net)
    assert same_bits(snapshot(again), snapshot(net))
    found = again.layers[0].activation
    assert type(found) is Wave and found == wave
    assert type(found.shape) is tuple and type(found.shape[1]) is tuple and type(found.options["x"]["y"]) is tuple
    assert found.table.dtype == np.float32 and type(found.inner) is Wave
    for each in (net, again):
        each.fit(x, y, epochs=2, verbose=0)
    assert same_bits(snapshot(again), snapshot(net))
    assert again.evaluate(x, y) == net.evaluate(x, y)


def test_an_unregistered_class_cannot_be_saved(tmp_path):
    net = fm.Sequential([Dense(2, activation=Wave())], input_dim=2)
    with pytest.raises(fm.UnknownNameError, match=r"fm\.registry\.activations\.register\(\"name\", Wave\)"):
        net.save(tmp_path / "network.npz")
    assert os.listdir(tmp_path) == []


def test_a_class_that_is_no_longer_registered(tmp_path):
    with fm.registry.activations.temporary():
        fm.registry.activations.register("wave", Wave)
        fm.Sequential([Dense(2, activation="wave")], input_dim=2).save(tmp_path / "wave.npz")
    with pytest.raises(fm.UnknownNameError, match=r"wave\.npz: unknown activation 'wave'"):
        fm.load(tmp_path / "wave.npz")


def test_what_json_cannot_hold_is_named(register, tmp_path):
    net = network()
    net.compile(fm.optimizers.Adam(learning_rate=lambda step: 0.1 / step), "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=r"Adam\.learning_rate = <function .*fm\.schedules\.Schedule under a name"):
        net.save(tmp_path / "network.npz")
    register("activations", "wave", Wave)
    for options in (object(), {"deep": [3j]}, np.array([object()])):
        net = fm.Sequential([Dense(2, activation=Wave(options=options))], input_dim=2)
        with pytest.raises(TypeError, match=r"Wave\.options"):
            net.save(tmp_path / "network.npz")
    assert os.listdir(tmp_path) == []


class Hoarder(fm.optimizers.Optimizer):
    def init_state(self, param):
        return {"things": np.array([None, {}])}

    def update(self, param, grad, state, learning_rate, step):
        pass


def test_state_of_objects_is_refused(register):
    """Before there is any: a file could not hold it without pickle."""
    register("optimizers", "hoarder", Hoarder)
    net = fm.Sequential([Dense(2)], input_dim=2)
    with pytest.raises(TypeError, match=r"Hoarder.*0\.kernel.*'things'.*dtype object"):
        net.compile("hoarder", "mse")


# The file


@pytest.mark.parametrize("name", ["network", "network.weights", ".hidden", "a b.npz", "ü" * 100, "n" * 250])
def test_exactly_that_path(name, trained, tmp_path, same_bits, data):
    trained.save(str(tmp_path / name))
    assert os.listdir(tmp_path) == [name]
    assert same_bits(fm.load(str(tmp_path / name)).predict(data[0]), trained.predict(data[0]))


def test_relative_path(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trained.save("network")
    assert os.listdir(tmp_path) == ["network"]
    assert fm.load("network").built


def test_a_file_holds_arrays_and_json_only(trained, tmp_path):
    trained.save(tmp_path / "network")
    with np.load(tmp_path / "network", allow_pickle=False) as archive:
        header = json.loads(archive[HEADER].tobytes())
        arrays = {name: archive[name] for name in archive if name != HEADER}
    assert header["format"] == 2 and header["version"] == fm.__version__
    for key, view in trained.parameters.items():
        np.testing.assert_array_equal(arrays[f"parameters/{key}"], view)
    assert {name.partition("/")[0] for name in arrays} == {"parameters", "buffers", "state", "checksums"}
    assert len(arrays["checksums"]) == len(arrays)  # of the header, too


def test_the_same_network_gives_the_same_bytes(trained):
    assert serialization.to_bytes(trained.engine) == serialization.to_bytes(copy.deepcopy(trained).engine)


def test_save_from_a_callback(data, tmp_path, snapshot, same_bits):
    class Checkpoint(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.save(tmp_path / f"batch{batch}")

        def on_epoch_end(self, epoch, logs=None):
            self.model.save(tmp_path / f"epoch{epoch}")

    straight, net = network(), network()
    straight.fit(*data, epochs=3, verbose=0)
    net.fit(*data, epochs=1, callbacks=[Checkpoint()], verbose=0)
    net = fm.load(tmp_path / "epoch0")
    net.fit(*data, epochs=3, initial_epoch=1, verbose=0)
    assert same_bits(snapshot(net), snapshot(straight))
    assert fm.load(tmp_path / "batch1").optimizer_state["first.kernel"]["m"].any()


@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=repr)
def test_a_failure_leaves_the_old_file(error, trained, tmp_path, monkeypatch, data):
    path = tmp_path / "network.npz"
    network(seed=1).save(path)
    old = path.read_bytes()

    def failing(file, arrays):
        write_arrays(file, dict(list(arrays.items())[: len(arrays) // 2]))
        file.flush()
        raise error

    monkeypatch.setattr(serialization, "write_arrays", failing)
    with pytest.raises(type(error)):
        trained.save(path)
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["network.npz"]
    with pytest.raises(type(error)):
        trained.save(tmp_path / "new.npz")
    assert os.listdir(tmp_path) == ["network.npz"]
    monkeypatch.undo()
    trained.fit(*data, verbose=0)  # the network isn't left locked
    trained.save(path)
    assert path.read_bytes() != old


def test_a_failure_of_the_last_step_leaves_the_old_file(trained, tmp_path, monkeypatch):
    path = tmp_path / "network.npz"
    path.write_bytes(b"old")

    def failing(*_):
        raise PermissionError("no")

    monkeypatch.setattr(os, "replace", failing)
    with pytest.raises(PermissionError):
        trained.save(path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["network.npz"]


@pytest.mark.skipif(os.name == "nt", reason="no such permissions on Windows")
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_permissions(mask, trained, tmp_path):
    path = tmp_path / "network.npz"
    before = os.umask(mask)
    try:
        trained.save(path)
        assert os.umask(mask) == mask
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    path.chmod(0o604)
    trained.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o604


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_are_followed(trained, tmp_path):
    (tmp_path / "link").symlink_to("target")
    for _ in range(2):
        trained.save(tmp_path / "link")
        assert (tmp_path / "link").is_symlink()
        assert fm.load(tmp_path / "target").built
    assert sorted(os.listdir(tmp_path)) == ["link", "target"]


def test_folders_are_refused(trained, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder: not a regular file"):
        trained.save(tmp_path / "folder")
    with pytest.raises(FileNotFoundError, match="missing"):
        trained.save(tmp_path / "missing" / "network")
    assert os.listdir(tmp_path) == ["folder"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no such files on Windows")
def test_devices_are_not_replaced(trained, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe: not a regular file"):
        trained.save(tmp_path / "pipe")
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        fm.load(tmp_path / "missing")


# Damage


@pytest.fixture
def path(trained, tmp_path):
    trained.save(tmp_path / "network.npz")
    return tmp_path / "network.npz"


@pytest.fixture
def rewrite(path):
    """Return a function that writes the file anew, header and arrays changed by functions, or another header."""

    def rewrite(header=None, arrays=None):
        with np.load(path) as archive:
            contents = {name: archive[name] for name in archive}
        del contents["checksums"]
        found = json.loads(contents.pop(HEADER).tobytes())
        changed = None if header is None else header(found)
        found = found if changed is None else changed
        if arrays is not None:
            arrays(contents)
        text = found if isinstance(found, bytes) else json.dumps(found).encode()
        with path.open("wb") as file:
            write_arrays(file, {HEADER: np.frombuffer(text, np.uint8), **contents})
        return path

    return rewrite


def refused(path, message=None, kind=ValueError):
    """The file is refused with one error that names it."""
    with pytest.raises(kind, match=message) as caught:
        fm.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    return caught.value


def test_rewriting_alone_does_no_harm(rewrite, trained, data, same_bits):
    assert same_bits(fm.load(rewrite()).predict(data[0]), trained.predict(data[0]))


def test_cut_off_anywhere(path):
    content = path.read_bytes()
    cuts = np.unique(np.r_[0, 1, 3, 4, 30, np.linspace(50, len(content) - 1, 40)].astype(int))
    for cut in cuts:
        path.write_bytes(content[:cut])
        refused(path, "not a fastmlp network, or damaged")


@pytest.mark.parametrize("seed", range(5))
def test_noise(seed, path):
    noise = np.random.default_rng(seed).bytes(4000)
    for content in (noise, b"PK\x03\x04" + noise, b"PK\x05\x06" + bytes(18), noise + path.read_bytes()):
        path.write_bytes(content)
        refused(path, "not a fastmlp network, or damaged")


def test_one_byte_changed_is_found_or_does_no_harm(path, data, trained, snapshot, same_bits):
    content, kept, answers = path.read_bytes(), snapshot(trained), trained.predict(data[0])
    rng = np.random.default_rng(0)
    found = 0
    directory = content.rfind(b"PK\x01\x02", 0, -4000)
    places = np.r_[rng.integers(0, len(content), 100), rng.integers(directory, len(content), 100)]
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << rng.integers(8)
        try:
            net = serialization.from_bytes(bytes(changed), fm.Sequential)
        except ValueError as error:
            assert str(error).startswith("bytes of a network: ")
            found += 1
        else:  # a time stamp, for instance
            assert same_bits(snapshot(net), kept) and same_bits(net.predict(data[0]), answers)
    assert found > len(places) / 2


@pytest.mark.parametrize(
    "save",
    [
        lambda file: np.save(file, np.arange(3)),
        lambda file: np.savez(file, a=np.arange(3)),
        lambda file: np.savez(file),
        lambda file: pickle.dump({"a": 1}, file),
        lambda file: zipfile.ZipFile(file, "w").close(),
    ],
    ids=["npy", "npz", "empty npz", "pickle", "empty zip"],
)
def test_other_files(save, path):
    with path.open("wb") as file:
        save(file)
    refused(path, "not a fastmlp network, or damaged")


@pytest.mark.parametrize("found", [0, 3, 99, "1", None, [1], 1.5, True])
def test_other_formats(found, rewrite):
    error = refused(rewrite(lambda header: header.update(format=found)), "expected format 2 or 1, got")
    assert ("newer" in str(error)) == (found in (3, 99))


@pytest.mark.parametrize("text", [b"", b"{", b"nope", b"\xff\xfe", b'{"format": 1', b"[" * 100_000])
def test_header_that_is_no_json(text, rewrite):
    refused(rewrite(lambda header: text), "damaged header")


@pytest.mark.parametrize("text", [b"[]", b"1", b"null", b'"format"', b"{}", b'{"format": 1}'])
def test_header_of_another_kind(text, rewrite):
    refused(rewrite(lambda header: text))


KEYS = ("layers", "input_dim", "dtype", "seed", "optimizer", "loss", "metrics", "steps", "iterations", "epochs")


@pytest.mark.parametrize("key", KEYS)
def test_header_with_a_part_missing(key, rewrite):
    refused(
        rewrite(lambda header: {name: part for name, part in header.items() if name != key}), f"damaged header.*{key}"
    )


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("value", ["x", -1, 1.5, [[]], {}, [{}], {"kind": "array"}, True], ids=repr)
def test_header_with_a_part_of_another_kind(key, value, rewrite):
    refused(rewrite(lambda header: header.update({key: value})))


@pytest.mark.parametrize(
    "name", ["os.system", "nope", "antigravity:fly", "antigravity.fly", "..", "", "fastmlp.errors"]
)
@pytest.mark.parametrize("place", ["layers", "optimizer", "loss", "metrics", "activations"])
def test_header_that_names_an_unknown_class(name, place, rewrite, monkeypatch):
    monkeypatch.delitem(sys.modules, "antigravity", raising=False)

    def change(header):
        encoded = header[place] if place != "activations" else header["layers"][0]["config"]["activation"]
        encoded = encoded[0] if isinstance(encoded, list) else encoded
        encoded["class"] = name

    error = refused(rewrite(change), "unknown", fm.UnknownNameError)
    assert repr(name) in str(error)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize(
    "change", [{"kind": "os"}, {"kind": "errors"}, {"kind": "__builtins__"}, {"class": 3}, {"class": []}]
)
def test_header_that_names_an_unknown_kind(change, rewrite):
    refused(rewrite(lambda header: header["layers"][0].update(change)))


@pytest.mark.parametrize("kind", ["activations", "losses", "optimizers"])
def test_header_with_an_object_of_another_kind(kind, rewrite):
    other = {"kind": kind, "class": {"activations": "relu", "losses": "mse", "optimizers": "sgd"}[kind], "config": {}}
    refused(rewrite(lambda header: header["layers"].__setitem__(0, other)))


@pytest.mark.parametrize("config", [{"units": 0}, {"units": "9"}, {"nope": 1}, {"units": 8}, {"units": 10**12}])
def test_header_with_another_configuration(config, rewrite):
    refused(rewrite(lambda header: header["layers"][0]["config"].update(config)))


@pytest.mark.parametrize("dtype", ["O", "V8", "datetime64[s]", "nope", 3])
def test_header_with_an_array_of_objects(dtype, rewrite):
    value = {"kind": "array", "dtype": dtype, "values": [1]}
    refused(rewrite(lambda header: header["layers"][1]["config"].update(momentum=value)))


@pytest.mark.parametrize(
    "name", ["parameters/first.kernel", "parameters/1.gamma", "buffers/1.running_var", "state/first.kernel/m"]
)
def test_arrays(name, rewrite, path):
    content = path.read_bytes()

    def change(function):
        path.write_bytes(content)
        return rewrite(arrays=lambda arrays: arrays.update({name: function(arrays[name])}))

    refused(change(lambda array: array[:-1]), name)
    refused(change(lambda array: np.concatenate([array, array])), name)
    refused(change(lambda array: array[None]), rf"{name} should be float32")
    refused(change(lambda array: array.astype(np.float64)), name)
    refused(change(lambda array: array.astype(np.int32)), rf"{name} should be float32")
    refused(change(lambda array: array.astype("S4")), rf"{name}' is no array of numbers")
    path.write_bytes(content)
    refused(rewrite(arrays=lambda arrays: arrays.pop(name)), name)


def test_unknown_arrays(rewrite):
    refused(rewrite(arrays=lambda arrays: arrays.update(extra=np.zeros(3))), r"unknown arrays \['extra'\]")


def test_arrays_of_an_unbuilt_network(rewrite):
    refused(rewrite(lambda header: header.update(input_dim=None)), "unknown arrays")


def test_arrays_of_other_layouts_are_read(rewrite, trained, data, same_bits):
    def change(arrays):
        swapped = arrays["parameters/first.kernel"]
        arrays["parameters/first.kernel"] = swapped.astype(swapped.dtype.newbyteorder())
        arrays["parameters/4.kernel"] = np.asfortranarray(arrays["parameters/4.kernel"])

    assert same_bits(fm.load(rewrite(arrays=change)).predict(data[0]), trained.predict(data[0]))


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


@pytest.mark.parametrize("name", ["parameters/first.kernel", "state/first.kernel/m", HEADER])
def test_pickles_are_never_opened(name, path):
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive}
    trap = np.empty(arrays[name].shape, object)
    trap[...] = Trap()
    arrays[name] = trap
    with path.open("wb") as file:
        np.savez(file, **arrays)
    refused(path)
    assert not Trap.sprung


def test_an_array_twice(path):
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[1]
        content = archive.read(name)
    with pytest.warns(UserWarning, match="Duplicate name"), zipfile.ZipFile(path, "a") as archive:
        archive.writestr(name, content)
    refused(path, "two arrays of one name")


def test_a_compressed_file_is_read(path, trained, data, same_bits):
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive}
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)
    assert same_bits(fm.load(path).predict(data[0]), trained.predict(data[0]))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method, path):
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    refused(path, "in a way that fastmlp doesn't use")


def test_damaged_bytes_are_refused(trained):
    content = serialization.to_bytes(trained.engine)
    for damaged in (content[: len(content) // 2] + bytes(len(content) // 2), b"", b"PK"):
        with pytest.raises(ValueError, match="bytes of a network: not a fastmlp network"):
            serialization.from_bytes(damaged, fm.Sequential)


def test_bytes_are_those_of_a_file(trained, tmp_path):
    trained.save(tmp_path / "network")
    assert (tmp_path / "network").read_bytes() == serialization.to_bytes(trained.engine)
    assert zipfile.is_zipfile(io.BytesIO(serialization.to_bytes(trained.engine)))
