"""What ``fit`` takes, and what it makes of it: arrays of any kind, iterables, validation, weights, printed lines."""

import contextlib
import copy
import io
import itertools
import re

import numpy as np
import pytest
from labelled import CLASSES, FEATURES, N, labelled_data, network, plain

import fastmlp as fm
from fastmlp._training.data import prepare
from fastmlp._training.loop import Loop
from fastmlp._training.means import RunningMeans
from fastmlp._training.position import Position
from fastmlp._training.source import ArraySource
from fastmlp.callbacks import Callback, CallbackList
from fastmlp.layers import BatchNorm, Dense, Dropout


@pytest.fixture
def data():
    return labelled_data()


class BatchRecorder(Callback):
    """Keeps the batches that it is told of."""

    def __init__(self):
        self.calls = []

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("batch end", batch, dict(logs)))


# Data of any dtype and layout


FORMS = {  # of whole numbers, which every dtype holds
    "float64": lambda x: x.astype("f8"),
    "float64, Fortran": lambda x: np.asfortranarray(x, "f8"),
    "int64": lambda x: x.astype("i8"),
    "int8": lambda x: x.astype("i1"),
    "float16": lambda x: x.astype("f2"),
    "Fortran": np.asfortranarray,
    "big-endian": lambda x: x.astype(">f4"),
    "every other column": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "columns backwards": lambda x: x[:, ::-1].copy()[:, ::-1],
    "rows backwards": lambda x: x[::-1].copy()[::-1],
    "longer rows": lambda x: np.pad(x, ((0, 0), (1, 2)))[:, 1:-2],
    "list": lambda x: x.tolist(),
}


@pytest.fixture(params=["at once", "in blocks", "in a block for each batch"])
def cast(request, monkeypatch):
    """How data of another dtype or layout is cast."""
    if request.param != "at once":
        monkeypatch.setattr("fastmlp._training.source.copy_budget", lambda: 0)
        monkeypatch.setattr("fastmlp._training.source.BLOCK_BYTES", 500 if request.param == "in blocks" else 1)


def regressor(dtype="float32"):
    layers = [Dense(6, "tanh"), BatchNorm(), Dropout(0.2), Dense(CLASSES)]
    net = fm.Sequential(layers, input_dim=FEATURES, seed=7, dtype=dtype)
    net.compile("adam", "mse", metrics=["mae"])
    return net


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("form", FORMS)
def test_a_form_of_the_data_changes_no_bit(form, shuffle, cast, dtype, snapshot, same_bits):
    """Neither of x nor of y, in training, validation and evaluation: against arrays of the network's dtype."""
    rng = np.random.default_rng(4)
    x = rng.integers(-9, 9, (N, FEATURES)).astype(np.float32)
    y = rng.integers(-9, 9, (N, CLASSES)).astype(np.float32)
    weight = rng.random(N)
    weight[12:19] = 0
    options = {"epochs": 2, "batch_size": 6, "sample_weight": weight, "shuffle": shuffle, "verbose": 0}

    def run(x, y):
        net = regressor(dtype)
        history = net.fit(x, y, validation_data=(x, y), **options).history
        return snapshot(net), history, net.evaluate(x, y, batch_size=7), net.predict(x)

    expected = run(x.astype(dtype), y.astype(dtype))
    for found in (
        run(FORMS[form](x), y.astype(dtype)),
        run(x.astype(dtype), FORMS[form](y)),
        run(*map(FORMS[form], (x, y))),
    ):
        assert same_bits(found[0], expected[0])
        assert found[1:3] == expected[1:3]
        assert same_bits(found[3], expected[3])


def test_data_that_is_cast_goes_through_compiled_calls(cast, monkeypatch):
    """No step through Python: neither of `fit` nor of `evaluate`."""
    x, y = np.ones((N, FEATURES)), np.asfortranarray(np.ones((N, CLASSES), np.float32))
    net = fm.Sequential([Dense(CLASSES)], input_dim=FEATURES, seed=0)
    net.compile("sgd", "mse")
    monkeypatch.setattr("fastmlp._training.step.step", None)
    net.fit(x, y, batch_size=10, validation_data=(x, y), verbose=0)
    net.evaluate(x, y)


@pytest.mark.parametrize("which", ["x", "y", "validation"])
def test_numbers_beyond_the_dtype_are_refused_before_anything_changes(which, cast, refuses):
    x, y = np.ones((N, FEATURES)), np.ones((N, CLASSES))
    large = {"x": x.copy(), "y": y.copy()}
    for array in large.values():
        array[-1, -1] = 1e39
    data = {"x": x, "y": y} | ({which: large[which]} if which in large else {})
    held = (large["x"], y) if which == "validation" else None
    refuses(
        regressor, lambda net: net.fit(*data.values(), validation_data=held), ValueError, "beyond the range of float32"
    )


# Hyper-parameters, filled ahead


class Wavy(fm.optimizers.Adam):
    """A learning rate of its own making."""

    def learning_rate_at(self, step):
        return 0.01 * (1 + step % 3)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: fm.optimizers.Adam(lambda step: 0.01 * (1 + step % 3)),
        lambda: fm.optimizers.SGD(0.1, momentum=lambda step: 0.1 * (step % 5)),
        lambda: Wavy(),
    ],
)
def test_functions_of_the_step_are_asked_for_each_step(optimizer, data, snapshot, same_bits, monkeypatch):
    """In one stretch, in short ones, beside a callback, and step by step."""
    x, y = data
    nets = [network() for _ in range(4)]
    for net in nets:
        net.compile(optimizer(), "sparse_categorical_crossentropy")
    options = {"epochs": 2, "batch_size": 10, "shuffle": False, "verbose": 0}
    nets[0].fit(x, y, **options)
    nets[1].fit(x, y, callbacks=[BatchRecorder()], **options)
    for at in 2 * list(range(0, N, 10)):
        nets[2].train_on_batch(x[at : at + 10], y[at : at + 10])
    monkeypatch.setattr("fastmlp._training.stretch.MOST_BATCHES", 2)
    nets[3].fit(x, y, **options)
    for net in nets[1:]:
        assert same_bits(snapshot(net), snapshot(nets[0]))
    assert nets[0].engine.steps == 10


# Where a training stands


class SpreadOfOutputs(fm.metrics.Metric):
    """A metric in NumPy that depends on how the rows were cut into batches."""

    def reset(self):
        self.values = []

    def update(self, y_true, y_pred, weight):
        self.values.append(float(np.ptp(y_pred)))

    def result(self):
        return float(np.mean(self.values))


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("steps", [1, 7, 10, 13])
def test_a_training_goes_on_from_its_position_to_the_bit(steps, shuffle, data, snapshot, same_bits, register):
    """Stopped in the middle of an epoch or at its end, and gone on with by a copy of the network."""

    class Leaves(Callback):
        every_n_steps = steps

        def on_train_batch_end(self, batch, logs=None):
            raise InterruptedError

    register("metrics", "test_fit.spread", SpreadOfOutputs)

    def made():
        net = network()
        net.compile("adam", "sparse_categorical_crossentropy", ["accuracy", SpreadOfOutputs()])
        return net

    def loop(net, position, callbacks=()):
        source = ArraySource(net.engine, prepare(net.engine, *data), 10, shuffle=shuffle)
        return Loop(net.engine, source, CallbackList(callbacks, net), position)

    straight, first = made(), made()
    loop(straight, Position()).run(4)
    cut = loop(first, Position(), [Leaves()])
    with pytest.raises(InterruptedError):
        cut.run(4)
    assert (cut.position.epoch, cut.position.batch) == divmod(steps, 5) or steps % 5 == 0

    second = copy.deepcopy(first)
    means = RunningMeans(second.engine)
    means.sums[:] = cut.position.means.sums
    means.in_numpy[0].values = list(cut.position.means.in_numpy[0].values)
    rest = loop(second, Position(cut.position.epoch, cut.position.batch, cut.position.order_key, means))
    rest.run(4)
    assert same_bits(snapshot(second), snapshot(straight))
    assert second.engine.counters() == straight.engine.counters()
    done = len(first.history.epoch)
    for name, values in straight.history.history.items():
        assert first.history.history.get(name, []) + second.history.history[name] == values
    assert second.history.epoch == list(range(done, 4))


# Steps of an epoch, iterables


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_steps_per_epoch(steps, data):
    recorder = BatchRecorder()
    with pytest.warns(UserWarning, match="3 steps, 4 were asked for") if steps == 4 else contextlib.nullcontext():
        network().fit(*data, epochs=2, batch_size=20, steps_per_epoch=steps, callbacks=[recorder], verbose=0)
    batches = [call[1] for call in recorder.calls if call[0] == "batch end"]
    assert batches == 2 * list(range(min(steps, 3)))


def test_steps_per_epoch_without_hooks(data, snapshot, same_bits):
    net, watched = network(), network()
    options = {"epochs": 3, "batch_size": 20, "steps_per_epoch": 2, "verbose": 0}
    net.fit(*data, **options)
    watched.fit(*data, callbacks=[BatchRecorder()], **options)
    assert same_bits(snapshot(net), snapshot(watched))


def test_each_epoch_of_a_few_steps_takes_other_rows():
    x = np.arange(40, dtype=np.float32)[:, None]
    net = fm.Sequential([Dense(1)], input_dim=1, seed=0)
    net.compile(fm.optimizers.SGD(0.0), "mse")
    losses = net.fit(x, x, epochs=6, batch_size=4, steps_per_epoch=1, verbose=0).history["loss"]
    assert len(set(losses)) == 6


def test_an_iterable_of_batches(data, snapshot, same_bits):
    x, y = data
    net, twin = network(), network()
    batches = [(x[at : at + 16], y[at : at + 16]) for at in range(0, N, 16)]
    history = net.fit(batches, epochs=2, verbose=0).history
    logs = [[twin.train_on_batch(*batch) for batch in batches] for _ in range(2)]
    assert same_bits(snapshot(net), snapshot(twin))
    for epoch in range(2):
        expected = np.average([log["loss"] for log in logs[epoch]], weights=[len(batch[0]) for batch in batches])
        assert history["loss"][epoch] == pytest.approx(expected)


def test_an_iterable_equals_arrays_that_are_not_shuffled(data, snapshot, same_bits):
    x, y = data
    net, twin = network(), network()
    net.fit([(x[at : at + 16], y[at : at + 16]) for at in range(0, N, 16)], epochs=2, verbose=0)
    twin.fit(x, y, epochs=2, batch_size=16, shuffle=False, verbose=0)
    assert same_bits(snapshot(net), snapshot(twin))


def test_an_iterable_is_iterated_anew_each_epoch(data):
    class Batches:
        epochs = 0

        def __iter__(self):
            self.epochs += 1
            yield from [data, data]

    batches = Batches()
    recorder = BatchRecorder()
    network().fit(batches, epochs=3, callbacks=[recorder], verbose=0)
    assert batches.epochs == 3
    assert [call[1] for call in recorder.calls if call[0] == "batch end"] == [0, 1] * 3


def test_an_endless_iterable(data):
    recorder = BatchRecorder()
    network().fit(itertools.repeat(data), epochs=2, steps_per_epoch=3, callbacks=[recorder], verbose=0)
    assert [call[1] for call in recorder.calls if call[0] == "batch end"] == [0, 1, 2] * 2


def test_an_endless_generator_loses_no_batch(data):
    given = []

    def batches():
        for number in itertools.count():
            given.append(number)
            yield data

    network().fit(batches(), epochs=2, steps_per_epoch=3, verbose=0)
    assert given == list(range(6))


def test_a_generator_is_used_up(data):
    net = network()
    with pytest.raises(ValueError, match="a generator is used up after one epoch"):
        net.fit((batch for batch in [data]), epochs=2, verbose=0)
    assert net.fit([data], epochs=2, verbose=0).epoch == [0, 1]


@pytest.mark.parametrize("kind", ["generator", "list"])
def test_fewer_steps_than_were_asked_for_are_told(kind, data):
    batches, steps = ((batch for batch in [data] * 3), 2) if kind == "generator" else ([data] * 3, 5)
    with pytest.warns(UserWarning, match=f"steps, {steps} were asked for") as told:
        network().fit(batches, epochs=2, steps_per_epoch=steps, verbose=0)
    assert len(told) == (1 if kind == "generator" else 2)
    assert all(warning.filename == __file__ for warning in told)


def test_weights_in_an_iterable(data, snapshot, same_bits):
    x, y = data
    weight = np.linspace(0.5, 2, N)
    net, twin = network(), network()
    net.fit([(x, y, weight)], epochs=2, verbose=0)
    twin.fit(x, y, sample_weight=weight, epochs=2, batch_size=N, shuffle=False, verbose=0)
    assert same_bits(snapshot(net), snapshot(twin))


def test_an_iterable_builds_the_network(data):
    net = fm.Sequential([Dense(CLASSES, activation="softmax")], seed=0)
    net.compile("sgd", "sparse_categorical_crossentropy")
    net.fit(iter([data]), verbose=0)
    assert net.input_dim == FEATURES


def test_validation_beside_an_iterable(data):
    net = network()
    history = net.fit([data], epochs=2, validation_data=data, verbose=0).history
    assert history["val_loss"][-1] == pytest.approx(net.evaluate(*data)["loss"])


@pytest.mark.parametrize(
    "options", [{"sample_weight": np.ones(N)}, {"class_weight": {0: 2}}, {"validation_split": 0.2}]
)
def test_what_comes_with_the_batches_is_not_an_option(options, data):
    with pytest.raises(ValueError, match="without y"):
        network().fit([data], verbose=0, **options)


@pytest.mark.parametrize("batch", [3, "xy", (1,), np.zeros((2, FEATURES))], ids=repr)
def test_batches_that_are_none(batch, data):
    with pytest.raises(TypeError, match=r"expected batches \(x, y\) or \(x, y, weight\)"):
        network().fit([batch], verbose=0)


# Validation


def test_validation_split_takes_the_last_share(data, snapshot, same_bits):
    x, y = data
    net, twin = network(), network()
    history = net.fit(x, y, epochs=3, validation_split=0.3, verbose=0).history
    expected = twin.fit(x[:35], y[:35], epochs=3, validation_data=(x[35:], y[35:]), verbose=0).history
    assert history == expected
    assert same_bits(snapshot(net), snapshot(twin))


def test_validation_split_splits_weights_too(data):
    x, y = data
    weight = np.linspace(0.1, 3, N)
    history = network().fit(x, y, sample_weight=weight, validation_split=0.3, verbose=0).history
    held = (x[35:], y[35:], weight[35:])
    expected = network().fit(x[:35], y[:35], sample_weight=weight[:35], validation_data=held, verbose=0).history
    assert history == expected


@pytest.mark.parametrize("share", [1.0, -0.1, 1.5, 1e-9, float("nan")])
def test_validation_split_out_of_range(share, data):
    with pytest.raises(ValueError, match="validation_split"):
        network().fit(*data, validation_split=share, verbose=0)


def test_validation_changes_nothing(data, snapshot, same_bits):
    net, alone = network(), network()
    net.fit(*data, epochs=2, validation_data=data, verbose=0)
    alone.fit(*data, epochs=2, verbose=0)
    assert same_bits(snapshot(net), snapshot(alone))


def test_weighted_validation(data):
    weight = np.linspace(0, 2, N)
    net = network()
    history = net.fit(*data, validation_data=(*data, weight), verbose=0).history
    logs = net.evaluate(*data, sample_weight=weight)
    assert history["val_loss"][0] == pytest.approx(logs["loss"])
    assert history["val_accuracy"][0] == pytest.approx(logs["accuracy"])


@pytest.mark.parametrize("validation", [(1,), 3, "xy", (1, 2, 3, 4)], ids=repr)
def test_validation_data_of_another_kind(validation, data):
    with pytest.raises(ValueError, match=r"validation_data|2 dimensions"):
        network().fit(*data, validation_data=validation, verbose=0)


# Weights


def test_a_weight_of_two_counts_as_two_rows(data):
    x, y = data
    weight = np.ones(N)
    weight[[3, 7]] = 2
    twice = np.r_[np.arange(N), 3, 7]
    net = plain()
    weighted, repeated = net.evaluate(x, y, sample_weight=weight), net.evaluate(x[twice], y[twice])
    assert weighted == pytest.approx(repeated, rel=1e-12)
    loss, gradients = net.loss_and_gradients(x, y, weight)
    expected, others = net.loss_and_gradients(x[twice], y[twice])
    assert loss == pytest.approx(expected, rel=1e-12)
    for key, gradient in gradients.items():
        np.testing.assert_allclose(gradient, others[key], rtol=1e-11, atol=1e-15)


def test_a_weight_of_zero_counts_as_no_row(data):
    x, y = data
    weight = np.ones(N)
    weight[10:] = 0
    net = plain()
    assert net.evaluate(x, y, sample_weight=weight) == pytest.approx(net.evaluate(x[:10], y[:10]), rel=1e-12)


def test_the_scale_of_weights_is_of_no_matter(data):
    weight = np.random.default_rng(0).uniform(0.1, 1, N)
    a, b = plain(), plain()
    histories = [net.fit(*data, epochs=2, sample_weight=w, verbose=0) for net, w in ((a, weight), (b, 4 * weight))]
    for name, values in histories[0].history.items():
        assert values == pytest.approx(histories[1].history[name])
    np.testing.assert_allclose(a.parameters["0.kernel"], b.parameters["0.kernel"], rtol=1e-12)


def test_the_loss_of_an_epoch_is_weighted_across_batches(data):
    x, y = data
    weight = np.linspace(0, 3, N)
    net = plain()
    net.optimizer.learning_rate = 0.0
    history = net.fit(x, y, batch_size=8, sample_weight=weight, verbose=0).history
    assert {name: values[0] for name, values in history.items()} == pytest.approx(
        net.evaluate(x, y, sample_weight=weight), rel=1e-12
    )


def test_class_weight_is_a_sample_weight(data, snapshot, same_bits):
    x, y = data
    factors = {0: 0.5, 2: 3.0}  # a class that is not named counts 1
    net, twin = network(), network()
    history = net.fit(x, y, epochs=2, class_weight=factors, verbose=0).history
    weight = np.array([factors.get(label, 1.0) for label in y.tolist()])
    assert twin.fit(x, y, epochs=2, sample_weight=weight, verbose=0).history == history
    assert same_bits(snapshot(net), snapshot(twin))


def test_class_weight_times_sample_weight(data, snapshot, same_bits):
    x, y = data
    weight = np.linspace(0.5, 2, N)
    factors = np.array([0.5, 1.0, 4.0])
    net, twin = network(), network()
    net.fit(x, y, sample_weight=weight, class_weight=dict(enumerate(factors)), verbose=0)
    twin.fit(x, y, sample_weight=weight * factors[y], verbose=0)
    assert same_bits(snapshot(net), snapshot(twin))


def test_class_weight_of_one_hot_rows_and_of_yes_or_no(data, snapshot, same_bits):
    x, y = data
    for units, activation, loss, target in (
        (CLASSES, "softmax", "categorical_crossentropy", np.eye(CLASSES)[y]),
        (1, "sigmoid", "binary_crossentropy", (y == 1).astype(float)),
    ):
        labels = y if units > 1 else (y == 1).astype(int)
        factors = np.array([0.5, 2.0, 1.0])
        nets = [fm.Sequential([Dense(units, activation=activation)], input_dim=FEATURES, seed=1) for _ in range(2)]
        for net, options in zip(
            nets, ({"class_weight": {0: 0.5, 1: 2.0}}, {"sample_weight": factors[labels]}), strict=True
        ):
            net.compile("sgd", loss)
            net.fit(x, target, verbose=0, **options)
        assert same_bits(snapshot(nets[0]), snapshot(nets[1]))


# Lines that are printed


def test_lines(data, capsys):
    net = network()
    history = net.fit(*data, epochs=10, validation_data=data, verbose=1).history
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert captured.err == "" and len(lines) == 10
    for epoch, line in enumerate(lines):
        values = "  ".join(f"{name} {values[epoch]:.4f}" for name, values in history.items())
        assert re.fullmatch(rf"epoch {epoch + 1:>2}/10  {re.escape(values)}  [\d,]+ samples/s", line)


def test_lines_for_an_iterable(data, capsys):
    network().fit([data], epochs=2, verbose=1)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert all(re.match(rf"epoch {epoch}/2  loss \d+\.\d{{4}}  accuracy ", line) for epoch, line in enumerate(lines, 1))


def test_silence(data, capsys):
    network().fit(*data, verbose=0)
    network().fit(*data)  # "auto": the output of a test is no terminal
    assert capsys.readouterr().out == ""


def test_auto_prints_to_a_terminal(data, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr("sys.stdout", terminal := Terminal())
    network().fit(*data, epochs=3)
    assert len(terminal.getvalue().splitlines()) == 3


class Tee:
    """What some programs put in the place of the standard output."""

    def __init__(self, **methods):
        self.written = []
        vars(self).update(methods)

    def write(self, text):
        self.written.append(text)


def closed():
    out = io.StringIO()
    out.close()
    return out


@pytest.mark.parametrize(
    "output", [None, Tee(), Tee(flush=lambda: None), closed()], ids=["None", "", "flush", "closed"]
)
def test_auto_is_silent_where_the_output_is_no_file(output, data, monkeypatch):
    monkeypatch.setattr("sys.stdout", output)
    network().fit(*data)
    assert not getattr(output, "written", [])


def test_lines_need_no_flush(data, monkeypatch):
    output = Tee()
    monkeypatch.setattr("sys.stdout", output)
    network().fit(*data, epochs=2, verbose=1)
    assert "".join(output.written).count("samples/s\n") == 2


@pytest.mark.parametrize("verbose", ["yes", 3, None])
def test_other_verbosities(verbose, data, snapshot, same_bits):
    net = network()
    before = snapshot(net)
    with pytest.raises(ValueError, match="verbose: expected 'auto', 0 or 1"):
        net.fit(*data, verbose=verbose)
    assert same_bits(snapshot(net), before)
