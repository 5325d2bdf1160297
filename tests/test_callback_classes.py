"""The callbacks beside `EarlyStopping`: saving, learning rates, logs, progress, functions as hooks, an end by NaN."""

import builtins
import csv
import io
import sys
import types

import numpy as np
import pytest
from labelled import CLASSES, FEATURES, N, labelled_data, network

import fastmlp as fm
from fastmlp.callbacks import (
    Callback,
    CSVLogger,
    EarlyStopping,
    LambdaCallback,
    LearningRateScheduler,
    ModelCheckpoint,
    ProgressBar,
    ReduceLROnPlateau,
    SwapEMAWeights,
    TensorBoard,
    TerminateOnNaN,
)


@pytest.fixture
def data():
    return labelled_data()


class Values(Callback):
    """Puts chosen numbers into the logs of epochs."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = float(self.values[epoch])


class Rates(Callback):
    """Keeps the learning rate of each epoch."""

    def __init__(self):
        self.rates = []

    def on_train_batch_end(self, batch, logs=None):
        if batch == 0:
            self.rates.append(self.model.optimizer.learning_rate)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# EarlyStopping: what Keras has besides


@pytest.mark.parametrize(
    ("options", "values", "best", "stopped"),
    [
        # as Keras's, driven with the same numbers: see build_support/keras_callbacks.py
        ({"baseline": 3, "patience": 2}, [5, 6, 7, 8], 0, 1),
        ({"baseline": 3, "patience": 2}, [5, 4, 6, 7], 1, 2),
        ({"baseline": 3, "patience": 2}, [5, 4, 2, 7, 7, 7], 2, 4),
        ({"baseline": 3, "patience": 3}, [9, 8, 7, 6, 5, 6], 4, 5),
        ({"start_from_epoch": 3, "patience": 1}, [1, 2, 3, 9, 8, 9], 4, 5),
        ({"start_from_epoch": 9, "patience": 1}, [1, 2, 3, 4], None, None),
        ({"start_from_epoch": 2, "baseline": 3, "patience": 2}, [1, 2, 5, 6, 7], 2, 3),
        ({"baseline": 0.5, "patience": 1, "mode": "max", "min_delta": 0.1}, [0.55, 0.7, 0.7], 1, 2),
    ],
)
def test_early_stopping_with_a_baseline_or_a_warm_up(options, values, best, stopped, data):
    stop = EarlyStopping(**options)
    history = network().fit(*data, epochs=len(values), callbacks=[Values(values), stop], verbose=0)
    assert (stop.best_epoch, stop.stopped_epoch) == (best, stopped)
    assert history.epoch[-1] == (len(values) - 1 if stopped is None else stopped)


def test_early_stopping_says_that_it_stops(data, capsys):
    for verbose in (0, 1):
        stop = EarlyStopping(patience=1, verbose=verbose)
        network().fit(*data, epochs=9, callbacks=[Values([5, 4, 6]), stop], verbose=0)
    assert capsys.readouterr().out == "epoch 3: early stopping, epoch 2 was the best by val_loss\n"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"baseline": np.nan}, ValueError),
        ({"start_from_epoch": -1}, ValueError),
        ({"start_from_epoch": 1.5}, TypeError),
    ],
)
def test_early_stopping_refuses(options, error):
    with pytest.raises(error, match=next(iter(options))):
        EarlyStopping(**options)


# ModelCheckpoint


def test_a_checkpoint_after_each_epoch(data, tmp_path, snapshot, same_bits):
    net, kept = network(), []

    class Keeps(Callback):
        def on_epoch_end(self, epoch, logs=None):
            kept.append(snapshot(self.model))

    save = ModelCheckpoint(tmp_path / "deep" / "{epoch:02d}-{loss:.3f}-{val_accuracy:.2f}.npz")
    history = net.fit(*data, epochs=3, validation_data=data, callbacks=[save, Keeps()], verbose=0).history
    expected = [f"{e + 1:02d}-{history['loss'][e]:.3f}-{history['val_accuracy'][e]:.2f}.npz" for e in range(3)]
    assert names(tmp_path / "deep") == expected
    for name, then in zip(expected, kept, strict=True):
        assert same_bits(snapshot(fm.load(tmp_path / "deep" / name)), then)


@pytest.mark.parametrize("mode", ["auto", "max"])
def test_only_the_best_is_saved(mode, data, tmp_path, capsys):
    values = [0.5, 0.4, 0.6, 0.6, np.nan, 0.7]
    path = str(tmp_path / "{epoch}")
    save = ModelCheckpoint(path, "val_accuracy", save_best_only=True, mode=mode, verbose=1)
    network().fit(*data, epochs=6, callbacks=[Values(values, "val_accuracy"), save], verbose=0)
    assert names(tmp_path) == ["1", "3", "6"] and save.best == 0.7
    assert capsys.readouterr().out == "".join(f"epoch {e}: saved to {tmp_path / str(e)}\n" for e in (1, 3, 6))
    network().fit(*data, epochs=1, callbacks=[Values([0.1], "val_accuracy"), save], verbose=0)
    assert save.best == 0.1  # each fit begins anew


def test_a_value_that_the_first_must_pass(data, tmp_path):
    save = ModelCheckpoint(tmp_path / "{epoch}", save_best_only=True, initial_value_threshold=2.5)
    network().fit(*data, epochs=4, callbacks=[Values([4, 3, 2, 3]), save], verbose=0)
    assert names(tmp_path) == ["3"]


def test_a_checkpoint_every_n_steps_with_the_last_k_kept(data, tmp_path):
    (tmp_path / "mine").write_text("not to be deleted")
    save = ModelCheckpoint(tmp_path / "{epoch}-{batch}", save_freq=3, keep_last=2)
    net = network()
    net.fit(*data, epochs=3, batch_size=10, callbacks=[save], verbose=0)  # 5 steps an epoch: 3, 6, 9, 12, 15
    assert names(tmp_path) == ["3-2", "3-5", "mine"]
    assert [fm.load(tmp_path / name).engine.steps for name in ("3-2", "3-5")] == [12, 15]


def test_a_file_of_one_name_is_kept(data, tmp_path):
    save = ModelCheckpoint(tmp_path / "net", keep_last=1)
    network().fit(*data, epochs=3, callbacks=[save], verbose=0)
    assert names(tmp_path) == ["net"]
    save = ModelCheckpoint(tmp_path / "{epoch}", keep_last=1)
    network().fit(*data, epochs=3, callbacks=[save, LambdaCallback(on_epoch_begin=delete(tmp_path, "1"))], verbose=0)
    assert names(tmp_path) == ["3", "net"]


def delete(folder, name):
    def hook(epoch, logs):
        (folder / name).unlink(missing_ok=True)

    return hook


@pytest.mark.parametrize("seconds", [1e-9, 3600])
def test_a_checkpoint_every_so_many_seconds(seconds, data, tmp_path):
    save = ModelCheckpoint(tmp_path / "{batch}", save_freq=None, every_seconds=seconds)
    network().fit(*data, batch_size=10, callbacks=[save], verbose=0)
    assert names(tmp_path) == ([] if seconds > 1 else ["1", "2", "3", "4", "5"])


def test_a_checkpoint_of_epochs_takes_no_step_back_to_python(data, tmp_path):
    hooks = fm.callbacks.CallbackList([ModelCheckpoint(tmp_path / "x"), TensorBoard(tmp_path)], network())
    assert hooks.quiet_stretch(1) == (np.inf, np.inf)
    hooks = fm.callbacks.CallbackList([ModelCheckpoint(tmp_path / "x", save_freq=7)], network())
    assert hooks.quiet_stretch(1) == (5, np.inf)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"filepath": 3}, TypeError, "filepath|os.PathLike"),
        ({"filepath": ""}, TypeError, "filepath"),
        ({"filepath": "{epoch"}, ValueError, "can't be formatted"),
        ({"filepath": "{epoch:zz}"}, ValueError, "can't be formatted"),
        ({"save_freq": "batch"}, ValueError, "save_freq: expected 'epoch', a number of steps or None"),
        ({"save_freq": 0}, ValueError, "save_freq"),
        ({"save_freq": 2.5}, TypeError, "save_freq"),
        ({"save_freq": None}, ValueError, "every_seconds"),
        ({"every_seconds": -1}, ValueError, "every_seconds"),
        ({"keep_last": 0}, ValueError, "keep_last"),
        ({"mode": "up"}, ValueError, "mode"),
        ({"monitor": 3}, TypeError, "monitor"),
        ({"save_best_only": True, "save_freq": 5}, ValueError, "'val_loss' is known after epochs alone"),
        ({"initial_value_threshold": "1"}, TypeError, "initial_value_threshold"),
    ],
)
def test_checkpoints_refuse(options, error, words):
    with pytest.raises(error, match=words):
        ModelCheckpoint(**{"filepath": "x", **options})


def test_a_name_that_the_logs_lack(data, tmp_path):
    save = ModelCheckpoint(tmp_path / "{epoch}-{val_loss}")
    with pytest.raises(ValueError, match=r"'val_loss'.*there are accuracy, epoch, loss"):
        network().fit(*data, callbacks=[save], verbose=0)
    assert names(tmp_path) == []


@pytest.mark.parametrize("make", [ModelCheckpoint, ReduceLROnPlateau, EarlyStopping])
def test_all_that_watch_ask_for_what_nobody_tells(make, data, tmp_path):
    options = {"filepath": tmp_path / "x", "save_best_only": True} if make is ModelCheckpoint else {}
    with pytest.raises(ValueError, match=rf"{make.__name__}: mode='auto' can't know .*'val_f1'"):
        network().fit(*data, callbacks=[make(monitor="val_f1", **options)], verbose=0)
    with pytest.raises(
        ValueError, match=rf"{make.__name__}: no 'val_loss' among accuracy, loss.*; give fit validation"
    ):
        network().fit(*data, callbacks=[make(**options)], verbose=0)


# Learning rates


@pytest.mark.parametrize(
    ("options", "values", "rates"),
    [
        ({"patience": 1}, [5, 5, 5, 4, 4], [1, 1, 0.5, 0.25, 0.25]),
        ({"patience": 2}, [5, 4, 4, 4, 4, 4, 4], [1, 1, 1, 1, 0.5, 0.5, 0.25]),
        ({"patience": 1, "cooldown": 2}, [5, 5, 5, 5, 5, 5], [1, 1, 0.5, 0.5, 0.25, 0.25]),
        ({"patience": 1, "min_lr": 0.3}, [5, 5, 5, 5, 5], [1, 1, 0.5, 0.3, 0.3]),
        ({"patience": 1, "min_delta": 1}, [5, 4.5, 4, 3.9, 2.8], [1, 1, 0.5, 0.25, 0.25]),
        ({"patience": 1, "mode": "max"}, [5, 6, 6, 7], [1, 1, 1, 0.5]),
        ({"patience": 1}, [np.nan, np.inf, 3, np.nan, 2], [1, 0.5, 0.25, 0.25, 0.125]),
    ],
)
def test_the_learning_rate_is_lowered(options, values, rates, data, capsys):
    net, seen = network(learning_rate=1.0), Rates()
    reduce = ReduceLROnPlateau(factor=0.5, verbose=1, **options)
    history = net.fit(*data, epochs=len(values), callbacks=[seen, Values(values), reduce], verbose=0)
    assert seen.rates == rates == history.history["learning_rate"]
    assert (
        capsys.readouterr().out.count("learning rate lowered to") == len(set([*rates, net.optimizer.learning_rate])) - 1
    )


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"factor": 1.0}, ValueError),
        ({"factor": -0.1}, ValueError),
        ({"patience": 1.5}, TypeError),
        ({"cooldown": -1}, ValueError),
        ({"min_lr": -1}, ValueError),
        ({"min_delta": -1}, ValueError),
        ({"mode": "down"}, ValueError),
    ],
)
def test_reduce_lr_on_plateau_refuses(options, error):
    with pytest.raises(error, match=next(iter(options))):
        ReduceLROnPlateau(**options)


@pytest.mark.parametrize("schedule", [lambda epoch, rate: rate / 2 if epoch else rate, lambda epoch: 0.5**epoch])
def test_a_schedule_of_epochs(schedule, data, capsys):
    net, seen = network(learning_rate=1.0), Rates()
    history = net.fit(*data, epochs=3, callbacks=[LearningRateScheduler(schedule, verbose=1), seen], verbose=0)
    assert seen.rates == history.history["learning_rate"] == [1, 0.5, 0.25]
    assert capsys.readouterr().out.splitlines()[1] == "epoch 2: learning rate 0.5"


@pytest.mark.parametrize(
    ("value", "error"), [(-1.0, ValueError), (np.nan, ValueError), ("fast", TypeError), (None, TypeError)]
)
def test_a_schedule_that_gives_no_rate(value, error, data):
    with pytest.raises(error, match="the schedule's learning rate"):
        network().fit(*data, callbacks=[LearningRateScheduler(lambda epoch, rate: value)], verbose=0)


def test_an_error_in_a_schedule_comes_out(data):
    def schedule(epoch, rate):
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        network().fit(*data, callbacks=[LearningRateScheduler(schedule)], verbose=0)
    with pytest.raises(TypeError, match="schedule"):
        LearningRateScheduler(0.1)


@pytest.mark.parametrize("make", [lambda: LearningRateScheduler(lambda epoch, rate: rate), lambda: ReduceLROnPlateau()])
def test_a_rate_that_is_a_function_is_not_replaced(make, data, same_future):
    net, twin = network(), network()
    for one in (net, twin):
        one.compile(fm.optimizers.Adam(lambda step: 0.1 / step), "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match="function of the step"):
        net.fit(*data, callbacks=[make()], verbose=0)
    same_future(net, twin)


# Averages


def averaging():
    net = network()
    net.compile(
        fm.optimizers.Adam(0.1, use_ema=True, ema_momentum=0.5), "sparse_categorical_crossentropy", ["accuracy"]
    )
    return net


def averages(net):
    return {key: state["average"].copy() for key, state in net.engine.optimizer_state.items()}


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_averaged_weights_are_there_for_validations(swap_on_epoch, data, same_bits):
    net, twin, seen = averaging(), averaging(), []

    class Looks(Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen.append({key: value.copy() for key, value in self.model.parameters.items()})

        def on_epoch_end(self, epoch, logs=None):
            seen.append({key: value.copy() for key, value in self.model.parameters.items()})

    swap = SwapEMAWeights(swap_on_epoch)
    options = {"batch_size": N, "validation_data": data, "verbose": 0}
    net.fit(*data, epochs=2, callbacks=[swap, Looks()], **options)
    for epoch in range(2):
        twin.fit(*data, epochs=epoch + 1, initial_epoch=epoch, **options)
        trained = {key: value.copy() for key, value in twin.parameters.items()}
        assert same_bits(seen[2 * epoch], averages(twin))
        assert same_bits(seen[2 * epoch + 1], averages(twin) if swap_on_epoch else trained)
    assert same_bits(dict(net.parameters), averages(twin) if swap_on_epoch else trained)
    assert same_bits(averages(net), averages(twin))


@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_weights_come_back_where_a_validation_fails(swap_on_epoch, data, same_bits):
    def fail(batch, logs):
        raise KeyboardInterrupt

    net, twin = averaging(), averaging()
    callbacks = [SwapEMAWeights(swap_on_epoch), LambdaCallback(on_test_batch_end=fail)]
    with pytest.raises(KeyboardInterrupt):
        net.fit(*data, validation_data=data, callbacks=callbacks, verbose=0)
    twin.fit(*data, verbose=0)
    assert same_bits(dict(net.parameters), dict(twin.parameters)) and same_bits(averages(net), averages(twin))


def test_an_optimizer_without_averages(data):
    with pytest.raises(ValueError, match=r"Adam keeps no averages; make it with Adam\(use_ema=True\)"):
        network().fit(*data, callbacks=[SwapEMAWeights()], verbose=0)


# NaN


def explode(epoch_of, batch_of):
    """Make the parameters such that the step after a batch overflows."""

    def hook(self, batch, logs=None):
        if (len(self.model.history.epoch), batch) == (epoch_of, batch_of):
            self.model.parameters["3.kernel"] = np.full((6, CLASSES), 3e38)

    return type("Explodes", (Callback,), {"on_train_batch_begin": hook})()


@pytest.mark.parametrize("watched", [False, True])
def test_nan_ends_a_training_without_an_exception(watched, data):
    x, y = data
    x = x.copy()
    x[33, 1] = np.nan
    net, twin, ends = network(), network(), TerminateOnNaN()
    callbacks = [ends, LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))] if watched else [ends]
    seen = []
    history = net.fit(x, y, epochs=9, batch_size=10, shuffle=False, callbacks=callbacks, verbose=0)
    assert isinstance(ends.error, fm.NonFiniteError) and ends.error.step == 4
    assert seen == ([0, 1, 2] if watched else [])
    assert history.epoch == [0] and net.stop_training and net.engine.steps == 3
    expected = twin.fit(x, y, batch_size=10, shuffle=False, steps_per_epoch=3, verbose=0).history
    assert history.history == expected
    assert all((net.parameters[key] == value).all() for key, value in twin.parameters.items())
    net.fit(*data, callbacks=[ends], verbose=0)
    assert ends.error is None


def test_nan_in_the_first_step_of_an_epoch(data):
    ends = TerminateOnNaN()
    net = network()
    history = net.fit(*data, epochs=9, batch_size=10, callbacks=[explode(1, 0), ends], validation_data=data, verbose=0)
    assert history.epoch == [0, 1] and np.isnan(history.history["loss"][1]) and ends.error.step == 6
    assert "val_loss" in history.history


# CSVLogger


def rows(path, separator=","):
    with open(path, newline="") as file:
        return list(csv.reader(file, delimiter=separator))


def test_a_table_of_the_epochs(data, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("of before")
    net = network()
    log = CSVLogger(path)
    history = net.fit(*data, epochs=3, validation_data=data, callbacks=[log], verbose=0).history
    columns = sorted(history)
    expected = [["epoch", *columns], *([str(e), *(repr(history[c][e]) for c in columns)] for e in range(3))]
    assert rows(path) == expected
    net.fit(*data, epochs=5, initial_epoch=3, callbacks=[CSVLogger(path, append=True)], verbose=0)
    assert [row[0] for row in rows(path)] == ["epoch", "0", "1", "2", "3", "4"]
    net.fit(*data, callbacks=[log], verbose=0)
    assert rows(path)[0] == ["epoch", "accuracy", "loss"] and len(rows(path)) == 2


def test_a_table_with_another_separator_that_is_written_at_once(data, tmp_path):
    path, seen = tmp_path / "log.csv", []
    log = CSVLogger(str(path), separator=";", append=True)
    looks = LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(len(rows(path, ";"))))
    network().fit(*data, epochs=2, callbacks=[log, looks], verbose=0)
    assert seen == [2, 3] and rows(path, ";")[0] == ["epoch", "accuracy", "loss"]


def test_values_that_an_epoch_lacks(data, tmp_path):
    class Now(Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                logs['a, "b"'] = 1.0

    network().fit(*data, epochs=2, callbacks=[Now(), CSVLogger(tmp_path / "log")], verbose=0)
    found = rows(tmp_path / "log")
    assert found[0][1] == 'a, "b"' and [row[1] for row in found[1:]] == ["1.0", "NA"]


@pytest.mark.parametrize("separator", ["", ", ", 3])
def test_a_separator_is_one_character(separator):
    with pytest.raises(ValueError, match="separator"):
        CSVLogger("x", separator=separator)


# Functions as hooks


def test_functions_as_hooks(data):
    calls = []
    hooks = LambdaCallback(
        on_train_begin=lambda logs: calls.append("begin"),
        on_epoch_end=lambda epoch, logs: calls.append(epoch),
        on_train_batch_end=lambda batch, logs=None: calls.append(f"batch {batch}"),
        on_test_end=lambda logs: calls.append("test"),
        on_train_end=None,
        every_n_steps=2,
    )
    network().fit(*data, batch_size=10, validation_data=data, callbacks=[hooks], verbose=0)
    assert calls == ["begin", "batch 1", "batch 3", "test", 0]


def test_functions_that_are_no_hooks(data):
    with pytest.raises(TypeError, match=r"'on_batch_end' is no hook; hooks are .*on_train_batch_end"):
        LambdaCallback(on_batch_end=print)
    with pytest.raises(TypeError, match=r"LambdaCallback.on_epoch_end\(epoch\).*write on_epoch_end\(epoch, logs\)$"):
        network().fit(*data, callbacks=[LambdaCallback(on_epoch_end=lambda epoch: None)], verbose=0)
    with pytest.raises(TypeError, match="expected a method, got 3"):
        network().fit(*data, callbacks=[LambdaCallback(on_epoch_end=3)], verbose=0)


# Progress


@pytest.fixture
def without_tqdm(monkeypatch):
    monkeypatch.setitem(sys.modules, "tqdm", None)
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)


def test_lines_without_tqdm(without_tqdm, data, capsys):
    network().fit(*data, epochs=2, batch_size=10, callbacks=[ProgressBar()], verbose=0)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/2  step 5/5  loss ") and "accuracy" in first and first.endswith(" left")
    assert second.startswith("epoch 2/2  step 5/5  loss ") and second.endswith("  0:00 left")


def test_lines_within_an_epoch(without_tqdm, data, capsys):
    bar = ProgressBar(every_seconds=0, line_seconds=0)
    network().fit(*data, batch_size=10, callbacks=[bar], verbose=0)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[1] for line in lines] == [f"step {n}/5" for n in (1, 2, 3, 4, 5, 5)]


def test_lines_of_an_iterable(without_tqdm, data, capsys):
    network().fit([data, data], epochs=2, callbacks=[ProgressBar()], verbose=0)
    assert capsys.readouterr().out.count("  ? left\n") == 2


class Bar:
    """What `ProgressBar` needs of tqdm."""

    made = ()

    def __init__(self, initial, **options):
        self.initial, self.shown, self.closed = initial, [], 0
        Bar.made += (self,)

    def set_description_str(self, text, refresh):
        self.title = text

    def set_postfix_str(self, text, refresh):
        self.values = text

    def refresh(self):
        self.shown.append((self.n, self.total, self.title, self.values.split(" ")[0]))

    def close(self):
        self.closed += 1


@pytest.mark.parametrize("broken", [False, True])
def test_a_bar_of_tqdm(broken, data, monkeypatch):
    def fail(self):
        raise ValueError("I/O operation on closed file")

    module = types.ModuleType("tqdm.auto")
    bar = type("Mine", (Bar,), {"refresh": fail, "close": fail}) if broken else Bar
    module.tqdm = bar
    monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", module)
    Bar.made = ()
    callback = ProgressBar(every_seconds=0)
    network().fit(*data, epochs=3, initial_epoch=1, batch_size=30, callbacks=[callback], verbose=0)
    (made,) = Bar.made
    if not broken:
        title, rest = "epoch 2/3", "epoch 3/3"
        assert made.shown == [
            *[(2, 6, title, ""), (3, 6, title, "loss"), (4, 6, title, "loss"), (4, 6, title, "loss")],
            *[(4, 6, rest, ""), (5, 6, rest, "loss"), (6, 6, rest, "loss"), (6, 6, rest, "loss")],
        ]
        assert made.initial == 2 and made.closed == 1


def test_durations(without_tqdm, data, monkeypatch, capsys):
    """The clock is one that stands still but between epochs: 100 s each."""
    clock = iter([0.0] * 2 + [100.0] * 2 + [200.0] * 50)
    monkeypatch.setattr("fastmlp.callbacks._progress.time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    network().fit(*data, epochs=74, callbacks=[ProgressBar(every_seconds=3600), stop_after(2)], verbose=0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("  2:01:40 left") and lines[1].endswith("  2:00:00 left")


def stop_after(epochs):
    class Stops(Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch + 1 == epochs

    return Stops()


@pytest.mark.parametrize("stream", [None, object(), io.TextIOWrapper(io.BytesIO(), encoding="ascii")])
def test_a_stream_that_can_not_be_written_to(stream, without_tqdm, data, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream)
    history = network().fit(*data, callbacks=[ProgressBar(), Values([1.0], "Größe")], verbose=0)
    monkeypatch.undo()
    assert len(history.epoch) == 1


# TensorBoard


def test_tensorboard_names_its_extra(data, tmp_path, monkeypatch, same_future):
    real = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("tensorboard"):
            raise ImportError("No module named 'tensorboard'")
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    net = network()
    with pytest.raises(ImportError, match=r'pip install "fastmlp\[tensorboard\]"'):
        net.fit(*data, callbacks=[TensorBoard(tmp_path)], verbose=0)
    monkeypatch.undo()
    same_future(net, network())


@pytest.mark.parametrize("options", [{"update_freq": "step"}, {"update_freq": 0}, {"histogram_freq": -1}])
def test_tensorboard_refuses(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        TensorBoard(**options)


class Written:
    """Stands for tensorboard: keeps what is written, as (run, tag, step, value)."""

    def __init__(self, monkeypatch):
        self.events, self.closed = [], []
        outer = self

        class Writer:
            def __init__(self, folder):
                self.folder = folder

            def add_event(self, event):
                outer.events.append((self.folder, *event))

            def flush(self):
                pass

            def close(self):
                outer.closed.append(self.folder)

        modules = {
            "compat.proto.event_pb2": {"Event": lambda wall_time, step, summary: (summary[0], step, summary[1])},
            "plugins.histogram.summary_v2": {"histogram_pb": lambda tag, data: (tag, data.shape)},
            "plugins.scalar.summary_v2": {"scalar_pb": lambda tag, data: (tag, data)},
            "summary.writer.event_file_writer": {"EventFileWriter": Writer},
        }
        for name, attributes in modules.items():
            parts = ["tensorboard", *name.split(".")]
            for end in range(1, len(parts) + 1):
                module = types.ModuleType(".".join(parts[:end]))
                vars(module).update(attributes if end == len(parts) else {})
                monkeypatch.setitem(sys.modules, module.__name__, module)


def test_what_tensorboard_gets(data, monkeypatch):
    written = Written(monkeypatch)
    board = TensorBoard("logs", update_freq=3, histogram_freq=2, write_steps_per_second=True)
    net = network()
    history = net.fit(*data, epochs=3, batch_size=10, validation_data=data, callbacks=[board], verbose=0).history
    found = {(run, tag, step): value for run, tag, step, value in written.events}
    assert len(found) == len(written.events)
    for epoch in range(3):
        for name in ("loss", "accuracy"):
            assert found["logs/train", f"epoch_{name}", epoch] == history[name][epoch]
            assert found["logs/validation", f"epoch_{name}", epoch] == history[f"val_{name}"][epoch]
        assert found["logs/train", "epoch_learning_rate", epoch] == 0.01
        assert found["logs/train", "epoch_steps_per_second", epoch] > 0
    assert [step for _, tag, step in found if tag == "batch_loss"] == [3, 6, 9, 12, 15]
    assert [step for _, tag, step in found if tag == "0/kernel"] == [0, 2]
    assert found["logs/train", "0/kernel", 0] == (FEATURES, 6)
    assert sorted(written.closed) == ["logs/train", "logs/validation"]


def test_files_of_tensorboard_can_be_read(data, tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = TensorBoard(tmp_path, histogram_freq=1)
    history = network().fit(*data, epochs=2, validation_data=data, callbacks=[board], verbose=0).history
    for run, name in (("train", "loss"), ("validation", "val_loss")):
        events = EventAccumulator(str(tmp_path / run)).Reload()
        values = [tensor.tensor_proto.float_val[0] for tensor in events.Tensors("epoch_loss")]
        np.testing.assert_allclose(values, history[name], rtol=1e-6)


def test_callbacks_of_ones_own_have_no_state():
    assert Callback().get_state() == {}
