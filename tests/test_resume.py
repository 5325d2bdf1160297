"""`BackupAndRestore`: killed at any moment and started again by the same script, a training ends in the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from labelled import CLASSES, FEATURES, N, labelled_data

import fastmlp as fm
from fastmlp import archives
from fastmlp.archives import read_tree, write_tree
from fastmlp.callbacks import (
    BackupAndRestore,
    Callback,
    CSVLogger,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
)
from fastmlp.layers import BatchNorm, Dense, Dropout

KILLS = Path(__file__).parent.parent / "build_support" / "kills.py"
X, Y = labelled_data()


class Killed(BaseException):
    """Stands for the end of a process."""


class Kill(Callback):
    """Ends a training after a step, counted over the life of the network, or while validation runs after an epoch."""

    def __init__(self, step=None, epoch=None):
        self.step, self.epoch = step, epoch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.model.engine.steps == self.step:
            raise Killed

    def on_test_begin(self, logs=None):
        if self.now == self.epoch:
            raise Killed


class Spread(fm.metrics.Metric):
    """A metric in NumPy that keeps a list, and depends on how the rows were cut into batches."""

    better = "lower"

    def reset(self):
        self.values = []

    def update(self, y_true, y_pred, weight):
        self.values.append(float(np.ptp(y_pred)))

    def result(self):
        return float(np.mean(self.values))


def made(rate=0.02, seed=3, dtype="float32", metrics=("accuracy",), units=6, optimizer=fm.optimizers.Adam):
    layers = [Dense(units), BatchNorm(), Dropout(0.3), Dense(CLASSES, "softmax")]
    net = fm.Sequential(layers, input_dim=FEATURES, seed=seed, dtype=dtype)
    net.compile(optimizer(rate), "sparse_categorical_crossentropy", metrics=list(metrics))
    return net


def compiled(folder):
    """A learning rate that is a function of the step; kept every 3 steps."""
    net = made(rate=lambda step: 0.05 / step)
    return net, {}, [BackupAndRestore(folder / "backup", save_freq=3)]


def stateful(folder):
    """Callbacks with states, a metric in NumPy, validation; kept after each epoch and every second step."""
    callbacks = [
        LearningRateScheduler(lambda epoch, rate: rate * 0.9),
        BackupAndRestore(folder / "backup", every_seconds=0),
        ReduceLROnPlateau("loss", factor=0.5, patience=1, min_delta=0.05),
        EarlyStopping("val_loss", patience=9),
        ModelCheckpoint(folder / "{epoch}", "loss", save_best_only=True, keep_last=2),
        CSVLogger(folder / "log.csv"),
    ]
    net = made(dtype="float64", metrics=("accuracy", Hits()))
    return net, {"validation_split": 0.2, "class_weight": {1: 3.0}}, callbacks


@pytest.fixture(autouse=True)
def registered(register):
    register("metrics", "hits", Hits)


class Hits(fm.metrics.Metric):
    better = "higher"

    def rows(self, y_true, y_pred):
        return (y_pred.argmax(axis=1) == y_true).astype(float)


def whole_epochs(folder):
    """Kept after epochs alone, with a validation."""
    return made(), {"validation_data": (X[:9], Y[:9])}, [BackupAndRestore(folder / "backup")]


def iterable(folder):
    """Batches of an iterable, for a network that the first one builds."""
    net = fm.Sequential([Dense(5), BatchNorm(), Dense(CLASSES, "softmax")], seed=1)
    net.compile(fm.optimizers.SGD(0.05, momentum=0.9), "sparse_categorical_crossentropy", metrics=[Spread()])
    batches = [(X[:20], Y[:20]), (X[20:25], Y[20:25]), (X[25:], Y[25:])]
    return net, {"x": batches, "y": None}, [BackupAndRestore(folder / "backup", save_freq=2)]


def in_python(folder):
    """Steps in NumPy, with a metric beside; a weight of 0 makes some batches no steps."""

    class Halves(fm.optimizers.Optimizer):
        def init_state(self, param):
            return {"n": np.zeros(1, param.dtype)}

        def update(self, param, grad, state, learning_rate, step):
            state["n"] += 1
            param -= learning_rate / float(state["n"][0]) * grad

    net = made(metrics=("accuracy", Spread()), optimizer=Halves)
    weight = np.ones(N)
    weight[:20] = 0
    options = {"sample_weight": weight, "shuffle": False}
    return net, options, [BackupAndRestore(folder / "backup", save_freq=2)]


TRAININGS = [compiled, stateful, whole_epochs, iterable, in_python]


def run(training, folder, *more, epochs=4):
    net, options, callbacks = training(folder)
    options = {"x": X, "y": Y, "batch_size": 8, "epochs": epochs, "verbose": 0, **options}
    if options["y"] is None:
        del options["batch_size"]
    history = net.fit(callbacks=[*more, *callbacks], **options)
    return net, history


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folders(tmp_path):
    found = tmp_path / "killed", tmp_path / "alone"
    for folder in found:
        folder.mkdir()
    return found


# The same bits


@pytest.mark.parametrize("training", TRAININGS)
@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 8, 9, 13, 14, 15, 19, 28])
def test_a_training_that_is_killed_ends_in_the_same_bits(training, step, folders, snapshot, same_bits):
    killed, alone = folders
    with pytest.raises(Killed):
        run(training, killed, Kill(min(step, 12 if training is iterable else 20)))
    net, history = run(training, killed, Kill())
    twin, expected = run(training, alone, Kill())
    assert same_bits(snapshot(net), snapshot(twin))
    assert history.history == expected.history and history.epoch == expected.epoch == [0, 1, 2, 3]
    assert net.engine.counters() == twin.engine.counters()
    assert files(killed) == files(alone) and "backup" not in files(killed)
    np.testing.assert_array_equal(net.predict(X), twin.predict(X))


@pytest.mark.parametrize("training", [stateful, whole_epochs])
def test_a_training_that_is_killed_after_the_steps_of_an_epoch(training, folders, snapshot, same_bits):
    killed, alone = folders
    for epoch in (0, 1, 3):
        with pytest.raises(Killed):
            run(training, killed, Kill(epoch=epoch))
    net, history = run(training, killed, Kill())
    twin, expected = run(training, alone, Kill())
    assert same_bits(snapshot(net), snapshot(twin)) and history.history == expected.history
    assert files(killed) == files(alone)


def test_a_training_that_is_killed_all_the_time(folders, snapshot, same_bits):
    killed, alone = folders
    steps = 0
    for step in range(1, 100):
        try:
            net, history = run(stateful, killed, Kill(step))
        except Killed:
            steps += 1
        else:
            break
    twin, expected = run(stateful, alone, Kill())
    assert steps == twin.engine.steps == 20
    assert same_bits(snapshot(net), snapshot(twin)) and history.history == expected.history


def test_real_kills():
    """By SIGKILL, at random moments, of other processes; `build_support/kills.py` alone does many more."""
    done = subprocess.run(
        [sys.executable, KILLS, "--kills", "5", "--only", "adamw,plateau"], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("the same bits") == 2


def test_the_early_end_of_a_training_is_kept(folders, snapshot, same_bits):
    """Stopped after an epoch, and killed before anybody knew."""

    class Worse(Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["val_loss"] = abs(epoch - 1.0)

    class KillAtEnd(Callback):
        def on_train_end(self, logs=None):
            assert logs["val_loss"] == 2.0
            if kill:
                raise Killed

    def training(folder):
        stop = EarlyStopping(patience=2)
        return made(), {}, [Worse(), stop, BackupAndRestore(folder / "backup", delete_checkpoint=False), KillAtEnd()]

    killed, alone = folders
    kill = True
    with pytest.raises(Killed):
        run(training, killed, epochs=99)
    kill = False
    net, history = run(training, killed, epochs=99)
    twin, expected = run(training, alone, epochs=99)
    assert history.epoch == expected.epoch == [0, 1, 2, 3] and history.history == expected.history
    assert net.engine.steps == 4 * 7
    assert same_bits(snapshot(net), snapshot(twin))


def test_a_seed_that_nobody_gave_is_that_of_the_training(tmp_path, snapshot, same_bits):
    nets = [made(seed=None), made(seed=None)]
    options = {"batch_size": 8, "epochs": 4, "verbose": 0}
    with pytest.raises(Killed):
        nets[0].fit(X, Y, callbacks=[Kill(9), BackupAndRestore(tmp_path / "backup", save_freq=4)], **options)
    nets[1].predict(X)
    nets[1].train_on_batch(X, Y)
    nets[1].fit(X, Y, callbacks=[Kill(), BackupAndRestore(tmp_path / "backup", save_freq=4)], **options)
    twin = made(seed=nets[0].seed)
    twin.fit(X, Y, **options)
    assert nets[1].seed == nets[0].seed and same_bits(snapshot(nets[1]), snapshot(twin))


# Hooks


def test_hooks_of_a_training_that_goes_on(tmp_path):
    calls = []

    class Tells(Callback):
        def __init__(self):
            self.state = 0

        def on_train_begin(self, logs=None):
            calls.append("begin")
            self.state = -1

        def on_epoch_begin(self, epoch, logs=None):
            calls.append(("epoch", epoch))
            self.model.optimizer.learning_rate *= 0.5
            self.model.parameters["0.bias"][...] = 9
            self.state += 100

        def on_epoch_end(self, epoch, logs=None):
            calls.append(("end", epoch, self.state, self.model.optimizer.learning_rate))

        def get_state(self):
            return {"state": (self.state, np.arange(3), [None, 1.5, {"a": np.float32(2)}])}

        def set_state(self, state):
            (self.state, array, rest) = state["state"]
            assert array.tolist() == [0, 1, 2] and array.flags.writeable and rest == [None, 1.5, {"a": 2.0}]

    def training(folder):
        return made(rate=0.5), {}, [Tells(), BackupAndRestore(folder / "backup", save_freq=4)]

    with pytest.raises(Killed):
        run(training, tmp_path, Kill(9), epochs=2)
    assert calls == ["begin", ("epoch", 0), ("end", 0, 99, 0.25), ("epoch", 1)]
    calls.clear()
    run(training, tmp_path, Kill(), epochs=2)  # from step 8, in the middle of the second epoch
    assert calls == ["begin", ("epoch", 1), ("end", 1, 199, 0.125)]


def test_it_is_the_last_callback_wherever_it_stands(tmp_path):
    backup = BackupAndRestore(tmp_path / "x")
    hooks = fm.callbacks.CallbackList([backup, EarlyStopping("loss")], made())
    assert [type(one).__name__ for one in hooks.callbacks] == ["EarlyStopping", "History", "BackupAndRestore"]
    assert hooks.quiet_stretch(0) == (np.inf, np.inf)
    with pytest.raises(ValueError, match="one BackupAndRestore, got 2"):
        made().fit(X, Y, callbacks=[backup, BackupAndRestore(tmp_path / "y")], verbose=0)


def test_where_it_went_on(tmp_path):
    backup = BackupAndRestore(tmp_path / "backup", save_freq=4)
    with pytest.raises(Killed):
        made().fit(X, Y, batch_size=8, epochs=3, callbacks=[backup, Kill(9)], verbose=0)
    assert backup.restored is None
    made().fit(X, Y, batch_size=8, epochs=3, callbacks=[backup, Kill()], verbose=0)
    assert backup.restored == (1, 1)
    made().fit(X, Y, batch_size=8, epochs=3, callbacks=[backup, Kill()], verbose=0)
    assert backup.restored is None


def test_the_same_network_goes_on_after_an_exception(tmp_path, snapshot, same_bits):
    """As in a notebook: Ctrl-C, and the same cell again; the learning rate has changed meanwhile."""
    net, twin = made(), made()
    callbacks = [LearningRateScheduler(lambda epoch, rate: rate * 0.5), BackupAndRestore(tmp_path / "backup")]
    with pytest.raises(Killed):
        net.fit(X, Y, batch_size=8, epochs=4, callbacks=[Kill(16), *callbacks], verbose=0)
    net.parameters["0.bias"] = np.ones(6)
    net.fit(X, Y, batch_size=8, epochs=4, callbacks=[Kill(), *callbacks], verbose=0)
    twin.fit(X, Y, batch_size=8, epochs=4, callbacks=callbacks[:1], verbose=0)
    assert same_bits(snapshot(net), snapshot(twin)) and net.history.epoch == [0, 1, 2, 3]


def test_a_complete_training_that_is_kept_is_not_done_again(tmp_path, snapshot, same_bits):
    def fit(epochs):
        net = made()
        backup = BackupAndRestore(tmp_path / "backup", delete_checkpoint=False)
        history = net.fit(X, Y, epochs=epochs, callbacks=[backup], verbose=0)
        return net, history

    first, history = fit(2)
    again, same = fit(2)
    assert same.history == history.history and same_bits(snapshot(first), snapshot(again))
    longer, more = fit(4)
    twin = made()
    expected = twin.fit(X, Y, epochs=4, verbose=0)
    assert more.history == expected.history and same_bits(snapshot(longer), snapshot(twin))


# What differs


def begun(tmp_path, **options):
    with pytest.raises(Killed):
        fit_of(tmp_path, Kill(9), **options)


def fit_of(tmp_path, kill, x=X, y=Y, net=None, callbacks=(), **options):
    options = {"batch_size": 8, "epochs": 3, "verbose": 0, **options}
    backup = BackupAndRestore(tmp_path / "backup", save_freq=4)
    net = made() if net is None else net
    net.fit(x, y, callbacks=[kill, *callbacks, backup], **options)
    return net


def other(array, place=0):
    array = array.copy()
    array[place] = array[place + 1] + 1 if array.ndim == 2 else (array[place] + 1) % CLASSES
    return array


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: {"x": other(X)}, r"x was \(50, 4\), checksum \w+, is \(50, 4\), checksum"),
        (lambda: {"y": other(Y, 49)}, "y was"),
        (lambda: {"x": X[:49], "y": Y[:49]}, r"x was \(50, 4\).*is \(49, 4\).*y was"),
        (lambda: {"sample_weight": np.arange(N)}, "sample_weight was not there, is"),
        (lambda: {"batch_size": 9}, "batch_size was 8, is 9"),
        (lambda: {"shuffle": False}, "shuffle was True, is False"),
        (lambda: {"steps_per_epoch": 2}, "steps_per_epoch was None, is 2"),
        (lambda: {"initial_epoch": 1}, "initial_epoch was 0, is 1"),
        (lambda: {"validation_data": (X, Y)}, "validation x was not there, is"),
        (lambda: {"callbacks": [EarlyStopping("loss")]}, "callbacks was Kill, History, .*, is Kill, EarlyStopping, "),
        (lambda: {"net": made(seed=4)}, "seed was 3, is 4"),
        (lambda: {"net": made(seed=None)}, "seed was 3, is drawn"),
        (lambda: {"net": made(units=7)}, r"layer 0 was Dense\(units=6, .*is Dense\(units=7"),
        (lambda: {"net": made(rate=0.03)}, r"optimizer was Adam\(learning_rate=0.02, .*is Adam\(learning_rate=0.03"),
        (lambda: {"net": made(rate=lambda step: 0.02)}, r"optimizer was .*function .*lambda"),
        (lambda: {"net": made(optimizer=fm.optimizers.SGD)}, r"optimizer was Adam.*, is SGD"),
        (lambda: {"net": made(metrics=())}, r"metrics was Accuracy.*, is none"),
        (lambda: {"net": made(dtype="float64")}, r"dtype was float32, is float64"),
    ],
)
def test_what_differs_is_named_and_nothing_changes(change, words, tmp_path, snapshot, same_bits):
    begun(tmp_path)
    change = change()
    net = change.pop("net", None) or made()
    before, kept = snapshot(net), (tmp_path / "backup").read_bytes()
    with pytest.raises(ValueError, match=words) as caught:
        fit_of(tmp_path, Kill(), net=net, **change)
    assert "backup of another training" in str(caught.value) and str(tmp_path / "backup") in str(caught.value)
    assert "delete the file to begin anew" in str(caught.value)
    assert same_bits(snapshot(net), before) and net.engine.steps == 0
    assert (tmp_path / "backup").read_bytes() == kept


@pytest.mark.parametrize(
    "form",
    [
        lambda x: np.asfortranarray(x),
        lambda x: np.ascontiguousarray(x[:, ::-1])[:, ::-1],
        lambda x: x.astype(np.float64),
        lambda x: x.tolist(),
    ],
)
def test_the_same_numbers_are_the_same_data(form, tmp_path, snapshot, same_bits):
    begun(tmp_path)
    net = fit_of(tmp_path, Kill(), x=form(X))
    twin = made()
    twin.fit(X, Y, batch_size=8, epochs=3, verbose=0)
    assert same_bits(snapshot(net), snapshot(twin))


def test_of_large_arrays_some_rows_are_compared(monkeypatch):
    from fastmlp._training import identity

    array = np.random.default_rng(0).normal(size=(10_000, 3))
    monkeypatch.setattr(identity, "WHOLE_BYTES", 1000)
    first = identity.digest(array)
    assert identity.digest(array.copy("F")) == first and identity.digest(array[:-1]) != first
    array[-1, 0] += 1
    assert identity.digest(array) != first


def test_a_network_whose_arrays_differ_is_refused(tmp_path):
    """Where its description is the same: a layer of a user's that depends on what it isn't told."""

    class Scale(fm.layers.Layer):
        wide = False

        def build(self, input_dim):
            self.add_buffer("more" if self.wide else "some", (input_dim,), 0.0)
            return input_dim

        def forward(self, x, *, training, rng):
            return x, lambda d: (d, {})

    def net():
        made = fm.Sequential([Scale(), Dense(CLASSES, "softmax")], input_dim=FEATURES, seed=1)
        made.compile("sgd", "sparse_categorical_crossentropy")
        return made

    begun(tmp_path, net=net())
    Scale.wide = True
    with pytest.raises(ValueError, match=r"other arrays: \['buffers/0.some'\] are in the backup alone"):
        fit_of(tmp_path, Kill(), net=net())


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"save_freq": "batch"}, ValueError),
        ({"save_freq": 0}, ValueError),
        ({"save_freq": None}, ValueError),
        ({"every_seconds": -1}, ValueError),
        ({"path": 3}, TypeError),
    ],
)
def test_options_are_checked(options, error):
    with pytest.raises(error):
        BackupAndRestore(**{"path": "x", **options})


@pytest.mark.parametrize("what", ["callback", "metric"])
def test_a_state_that_cannot_be_kept_says_where_it_is(what, tmp_path):
    class Odd(Callback):
        def get_state(self):
            return {"mine": [1, object()]}

    class OddMetric(Hits):
        def reset(self):
            super().reset()
            self.odd = {1, 2}

    begun(tmp_path)
    kept = (tmp_path / "backup").read_bytes()
    (tmp_path / "other").mkdir()
    metrics, callbacks = ([OddMetric()], []) if what == "metric" else (["accuracy"], [Odd()])
    where = r"state.position.means.metrics\[0\].odd" if what == "metric" else r"state.callbacks\[1\].mine\[1\]"
    with pytest.raises(TypeError, match=rf"{where}: expected None, bools, numbers, strings"):
        fit_of(tmp_path / "other", Kill(), net=made(metrics=metrics), callbacks=callbacks)
    assert (tmp_path / "backup").read_bytes() == kept and not files(tmp_path / "other")


# The file


TREE = {"a": [1, 2.5, None, True, "ä", float("inf"), -0.0], "b": (np.arange(3), {"c": np.float64(0.1)}), "d": {}}


def test_a_tree_comes_back(tmp_path):
    for tree in (TREE, {"nan": float("nan"), "deep": [[[()]]], "empty": np.zeros((0, 3), np.float32)}):
        write_tree(str(tmp_path / "x"), tree)
        again = read_tree(str(tmp_path / "x"))
        assert repr(again).replace("np.float64(0.1)", "0.1") == repr(tree).replace("np.float64(0.1)", "0.1")
    assert again["empty"].dtype == np.float32 and again["empty"].shape == (0, 3)


def test_every_cut_and_every_changed_byte_is_found(tmp_path):
    path = tmp_path / "x"
    write_tree(str(path), TREE)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for damaged in (whole[: at - at % 4], whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            try:
                found = read_tree(str(path))
            except ValueError as error:
                assert str(path) in str(error)
            else:  # bytes that mean nothing: dates, permissions
                assert len(damaged) == len(whole) and repr(found) == repr(read(path, whole))


def read(path, content):
    path.write_bytes(content)
    return read_tree(str(path))


def test_a_write_that_ends_after_any_byte_leaves_the_backup_before(tmp_path, monkeypatch):
    """As if the process had died there: nothing is cleaned up either."""
    path = str(tmp_path / "x")
    write_tree(path, {"old": np.arange(5)})
    old = Path(path).read_bytes()
    whole = len(old)
    real, left = archives.write_arrays, [0]
    monkeypatch.setattr("fastmlp.archives._tree.write_arrays", lambda file, arrays: real(Cut(file, left), arrays))
    for most in range(0, whole + 200, 7):
        left[0] = most
        with pytest.raises(Killed):
            write_tree(path, {"new": np.arange(500)})
        assert Path(path).read_bytes() == old
        assert read_tree(path)["old"].tolist() == [0, 1, 2, 3, 4]


class Cut:
    """A file that ends the process after some bytes."""

    def __init__(self, file, left):
        self.file, self.left = file, left

    def write(self, data):
        data = bytes(data)
        self.file.write(data[: self.left[0]])
        self.left[0] -= len(data)
        if self.left[0] <= 0:
            self.file.flush()
            raise Killed


@pytest.mark.skipif(os.name == "nt", reason="processes are not killed by signals there")
def test_a_process_that_dies_while_it_writes_leaves_the_backup_before(tmp_path, run_python):
    path = tmp_path / "backup"
    write_tree(str(path), {"old": 1})
    old = path.read_bytes()
    code = f"""
        import os, signal
        import numpy as np
        from fastmlp.archives import _tree
        pid = os.fork()
        if pid == 0:
            def die(file, arrays):
                file.write(b"half of it")
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
            _tree.write_arrays = die
            _tree.write_tree({str(path)!r}, {{"new": np.zeros(1000)}})
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """
    assert run_python(code).strip() == "-9"
    assert path.read_bytes() == old and len(files(tmp_path)) == 2
    write_tree(str(path), {"new": 1})
    assert read_tree(str(path)) == {"new": 1} and len(files(tmp_path)) == 1  # what was left is gone


@pytest.mark.parametrize(
    "content", [b"", b"no archive", "network", {"format": 2}, {"format": 1}, {"format": 1, "identity": {}}, {"a": 1}]
)
def test_another_file_in_its_place_is_refused_and_stays(content, tmp_path, same_future):
    path = tmp_path / "backup"
    if content == "network":
        made().save(path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        write_tree(str(path), content)
    before, net = path.read_bytes(), made()
    with pytest.raises(ValueError, match="backup"):
        fit_of(tmp_path, Kill(), net=net)
    assert path.read_bytes() == before
    same_future(net, made())


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(OSError, match="no folder"):
        fit_of(tmp_path / "nowhere", Kill())
