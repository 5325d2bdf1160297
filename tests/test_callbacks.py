"""What ``fit`` does around its steps: callbacks, history, stopping, validation, weights, iterables, printed lines."""

import io
import itertools
import re

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.callbacks import Callback, EarlyStopping, History
from fastmlp.layers import BatchNorm, Dense, Dropout

N, FEATURES, CLASSES = 50, 4, 3


@pytest.fixture
def data():
    rng = np.random.default_rng(2)
    return rng.normal(size=(N, FEATURES)).astype(np.float32), rng.integers(0, CLASSES, N)


def network(seed=7, learning_rate=0.01, dtype="float32"):
    layers = [Dense(6), BatchNorm(), Dropout(0.2), Dense(CLASSES, activation="softmax")]
    net = fm.Sequential(layers, input_dim=FEATURES, seed=seed, dtype=dtype)
    net.compile(fm.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


def plain():
    """A network whose loss in training is the one of `evaluate` before the step: no BatchNorm, no Dropout."""
    net = fm.Sequential([Dense(CLASSES, activation="softmax")], input_dim=FEATURES, seed=7, dtype="float64")
    net.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return net


class Recorder(Callback):
    """Keeps every call, in order."""

    def __init__(self):
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append(("train begin",))

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(("epoch begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(("epoch end", epoch, dict(logs)))

    def on_train_end(self, logs=None):
        self.calls.append(("train end",))


class BatchRecorder(Recorder):
    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("batch end", batch, dict(logs)))


class Stopper(Callback):
    """Stops at an epoch, or at a batch of it."""

    def __init__(self, epoch, batch=None):
        self.epoch, self.batch = epoch, batch

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_epoch_end(self, epoch, logs=None):
        if self.batch is None and epoch == self.epoch:
            self.model.stop_training = True


class BatchStopper(Stopper):
    def on_train_batch_end(self, batch, logs=None):
        if (self.now, batch) == (self.epoch, self.batch):
            self.model.stop_training = True


# Order and logs


def test_hooks_of_epochs(data):
    recorder = Recorder()
    history = network().fit(*data, epochs=2, callbacks=[recorder], verbose=0)
    names = [call[:2] if call[0].startswith("epoch") else call for call in recorder.calls]
    assert names == [
        ("train begin",),
        *[("epoch begin", 0), ("epoch end", 0)],
        *[("epoch begin", 1), ("epoch end", 1)],
        ("train end",),
    ]
    for call in recorder.calls:
        if call[0] == "epoch end":
            assert call[2] == {name: values[call[1]] for name, values in history.history.items()}


def test_hooks_of_batches(data):
    recorder = BatchRecorder()
    network().fit(*data, epochs=2, batch_size=20, callbacks=[recorder], verbose=0)
    batches = [("batch end", 0), ("batch end", 1), ("batch end", 2)]
    assert [call[:2] for call in recorder.calls] == [
        ("train begin",),
        *[("epoch begin", 0), *batches, ("epoch end", 0)],
        *[("epoch begin", 1), *batches, ("epoch end", 1)],
        ("train end",),
    ]
    logs = [call[2] for call in recorder.calls if call[0] == "batch end"][:3]
    assert all(log.keys() == {"loss", "accuracy"} and type(log["loss"]) is float for log in logs)
    epoch = next(call[2] for call in recorder.calls if call[0] == "epoch end")
    assert logs[-1] == epoch and logs[0] != logs[1] != logs[2]


def test_logs_of_batches_are_the_means_so_far(data):
    x, y = data
    recorder, twin = BatchRecorder(), network()
    network().fit(x, y, batch_size=20, shuffle=False, callbacks=[recorder], verbose=0)
    single = [twin.train_on_batch(x[at : at + 20], y[at : at + 20]) for at in (0, 20, 40)]
    logs = [call[2] for call in recorder.calls if call[0] == "batch end"]
    for name in ("loss", "accuracy"):  # the last batch has 10 rows
        means = [np.average([log[name] for log in single[:n]], weights=[20, 20, 10][:n]) for n in (1, 2, 3)]
        assert [log[name] for log in logs] == pytest.approx(means, rel=1e-12)


def test_callbacks_are_called_in_their_order(data):
    calls = []

    class Named(Callback):
        def __init__(self, name):
            self.name = name

        def on_epoch_end(self, epoch, logs=None):
            calls.append((self.name, epoch))

    network().fit(*data, epochs=2, callbacks=(Named(name) for name in "ab"), verbose=0)
    assert calls == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]


def test_a_batch_hook_changes_no_bit(data, dtype, snapshot, same_bits):
    watched, net = network(dtype=dtype), network(dtype=dtype)
    options = {"epochs": 3, "batch_size": 16, "verbose": 0}
    seen = watched.fit(*data, callbacks=[BatchRecorder()], **options)
    history = net.fit(*data, **options)
    assert same_bits(snapshot(watched), snapshot(net))
    assert seen.history == history.history


def test_hooks_see_and_may_change_the_network(data):
    class Half(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.08 / 2**epoch

        def on_epoch_end(self, epoch, logs=None):
            self.model.parameters["0.bias"] = np.full(6, epoch)

    net = network()
    net.fit(*data, epochs=3, callbacks=[Half()], verbose=0)
    assert net.optimizer.learning_rate == 0.02
    np.testing.assert_array_equal(net.parameters["0.bias"], 2)


def test_a_learning_rate_set_by_a_hook_counts_from_the_next_step(data, snapshot, same_bits):
    class Schedule(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.model.optimizer.learning_rate = 0.1 if epoch else 0.0

    class Steps(Schedule):
        def on_train_batch_end(self, batch, logs=None):
            pass

    net, stepwise = network(), network()
    first = snapshot(net)["0.kernel"]
    net.fit(*data, epochs=1, callbacks=[Schedule()], verbose=0)
    assert same_bits(snapshot(net)["0.kernel"], first)
    net.fit(*data, epochs=2, initial_epoch=1, callbacks=[Schedule()], verbose=0)
    assert not same_bits(snapshot(net)["0.kernel"], first)
    stepwise.fit(*data, epochs=2, callbacks=[Steps()], verbose=0)
    assert same_bits(snapshot(net), snapshot(stepwise))


@pytest.mark.parametrize("base", [Recorder, BatchRecorder])
def test_an_error_in_a_hook_comes_out_and_leaves_a_usable_network(base, data):
    class Failing(base):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("mine")

    net = network()
    with pytest.raises(RuntimeError, match="mine"):
        net.fit(*data, callbacks=[Failing()], verbose=0)
    net.fit(*data, verbose=0)


def test_a_callback_may_use_the_network(data):
    answers = []

    class Asking(Callback):
        def on_train_batch_end(self, batch, logs=None):
            answers.append(self.model.predict(data[0][:2]))

        def on_epoch_end(self, epoch, logs=None):
            answers.append(self.model.evaluate(*data)["loss"])

    net, alone = network(), network()
    net.fit(*data, epochs=2, batch_size=25, callbacks=[Asking()], verbose=0)
    alone.fit(*data, epochs=2, batch_size=25, verbose=0)
    assert len(answers) == 6 and np.isfinite(np.concatenate([np.ravel(answer) for answer in answers])).all()
    np.testing.assert_array_equal(net.predict(data[0]), alone.predict(data[0]))


# History


def test_history(data):
    net = network()
    history = net.fit(*data, epochs=3, validation_data=data, verbose=0)
    assert isinstance(history, History)
    assert history.epoch == [0, 1, 2]
    assert list(history.history) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert all(len(values) == 3 and all(type(v) is float for v in values) for values in history.history.values())
    last = net.evaluate(*data)
    assert history.history["val_loss"][-1] == pytest.approx(last["loss"])
    assert history.history["val_accuracy"][-1] == last["accuracy"]
    assert repr(history).startswith("<History of 3 epochs: loss=")


def test_the_loss_of_an_epoch_is_the_mean_before_each_step(data):
    net, twin = plain(), plain()
    logs = net.fit(*data, epochs=1, batch_size=N, verbose=0).history
    expected = twin.evaluate(*data)
    assert logs["loss"][0] == pytest.approx(expected["loss"], rel=1e-12)
    assert logs["accuracy"][0] == expected["accuracy"]


def test_epochs_are_numbered_from_initial_epoch(data, snapshot, same_bits):
    recorder = Recorder()
    net, straight = network(), network()
    whole = straight.fit(*data, epochs=5, verbose=0).history
    first = net.fit(*data, epochs=2, verbose=0)
    rest = net.fit(*data, epochs=5, initial_epoch=2, callbacks=[recorder], verbose=0)
    assert first.epoch == [0, 1] and rest.epoch == [2, 3, 4]
    assert [call[1] for call in recorder.calls if call[0] == "epoch begin"] == [2, 3, 4]
    assert {name: first.history[name] + rest.history[name] for name in whole} == whole
    assert same_bits(snapshot(net), snapshot(straight))


def test_no_epoch_left(data, snapshot, same_bits):
    net = network()
    before = snapshot(net)
    history = net.fit(*data, epochs=3, initial_epoch=3, verbose=0)
    assert history.epoch == [] and history.history == {}
    assert same_bits(snapshot(net), before)


# Stopping


def test_stop_after_an_epoch(data):
    recorder = Recorder()
    history = network().fit(*data, epochs=9, callbacks=[Stopper(2), recorder], verbose=0)
    assert history.epoch == [0, 1, 2]
    assert recorder.calls[-1] == ("train end",)


def test_stop_within_an_epoch(data, snapshot, same_bits):
    recorder = BatchRecorder()
    net = network()
    history = net.fit(*data, epochs=9, batch_size=10, callbacks=[BatchStopper(1, 2), recorder], verbose=0)
    assert history.epoch == [0, 1]
    assert [call[1] for call in recorder.calls if call[0] == "batch end"] == [0, 1, 2, 3, 4, 0, 1, 2]
    assert recorder.calls[-1] == ("train end",)
    logs = [call[2]["loss"] for call in recorder.calls if call[0] == "batch end"][5:]
    assert history.history["loss"][1] == logs[-1]


def test_stop_within_an_iterable(data):
    x, y = data
    recorder = BatchRecorder()
    batches = [(x[at : at + 10], y[at : at + 10]) for at in range(0, N, 10)]
    history = network().fit(batches, epochs=9, callbacks=[BatchStopper(1, 2), recorder], verbose=0)
    assert history.epoch == [0, 1]
    assert [call[1] for call in recorder.calls if call[0] == "batch end"] == [0, 1, 2, 3, 4, 0, 1, 2]


def test_a_stop_is_for_one_fit(data):
    net = network()
    net.fit(*data, epochs=3, callbacks=[Stopper(0)], verbose=0)
    assert net.stop_training
    assert net.fit(*data, epochs=3, verbose=0).epoch == [0, 1, 2]
    assert not net.stop_training


# Early stopping


class Losses(Callback):
    """Puts chosen numbers in the place of a validation loss, and marks each epoch in a parameter."""

    def __init__(self, values, name="val_loss"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs=None):
        logs[self.name] = self.values[epoch]
        self.model.parameters["0.bias"] = np.full(6, epoch)
        self.model.buffers["1.running_mean"] = np.full(6, epoch)


@pytest.mark.parametrize(
    ("values", "patience", "best", "stopped"),
    [
        ([5, 4, 3, 4, 5, 6], 2, 2, 4),
        ([5, 4, 3, 4, 2, 3, 3, 9], 2, 4, 6),
        ([5, 4, 3, 3, 3, 3], 3, 2, 5),  # as good is not better
        ([5, 6, 7, 8], 0, 0, 1),
        ([5, 6, 7, 8], 1, 0, 1),
        ([5, 4, 3, 2], 1, 3, None),
        ([np.nan, np.nan, 3, 4, np.nan, 2], 2, 2, 4),  # not a number is never better
    ],
)
def test_early_stopping(values, patience, best, stopped, data):
    stopping = EarlyStopping(patience=patience)
    net = network()
    history = net.fit(*data, epochs=len(values), callbacks=[Losses(values), stopping], verbose=0)
    assert history.epoch[-1] == (len(values) - 1 if stopped is None else stopped)
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (values[best], best, stopped)
    np.testing.assert_array_equal(net.parameters["0.bias"], best)
    np.testing.assert_array_equal(net.buffers["1.running_mean"], best)


def test_early_stopping_without_restoring(data):
    net = network()
    stopping = EarlyStopping(patience=2, restore_best_weights=False)
    net.fit(*data, epochs=9, callbacks=[Losses([5, 4, 5, 6, 7]), stopping], verbose=0)
    assert (stopping.best_epoch, stopping.stopped_epoch) == (1, 3)
    np.testing.assert_array_equal(net.parameters["0.bias"], 3)


@pytest.mark.parametrize(
    ("options", "name", "values", "best"),
    [
        ({"min_delta": 0.5}, "val_loss", [5, 4.8, 4.6, 4.4], 0),
        ({"min_delta": 0.5}, "val_loss", [5, 4.4, 4.2, 4.0], 1),
        ({}, "val_accuracy", [0.5, 0.6, 0.4, 0.3], 1),
        ({"mode": "max"}, "val_loss", [1, 2, 1, 1], 1),
        ({"mode": "min"}, "val_accuracy", [0.5, 0.4, 0.6, 0.7], 1),
        ({}, "made_up", [3, 1, 2, 2], 1),
    ],
)
def test_what_counts_as_better(options, name, values, best, data):
    stopping = EarlyStopping(name, patience=2, **options)
    network().fit(*data, epochs=4, callbacks=[Losses(values, name), stopping], verbose=0)
    assert (stopping.best, stopping.best_epoch) == (values[best], best)
    assert stopping.stopped_epoch == (best + 2 if best + 2 < 4 else None)


def test_early_stopping_on_real_losses(data):
    x, y = data
    net = network(learning_rate=0.1)
    stopping = EarlyStopping(patience=3)
    options = {"epochs": 200, "validation_data": (x[:20], y[::-1][:20]), "verbose": 0}  # labels of other rows
    history = net.fit(x[20:], y[20:], callbacks=[stopping], **options).history
    assert stopping.stopped_epoch is not None and len(history["loss"]) == stopping.stopped_epoch + 1 < 200
    assert stopping.best == min(history["val_loss"]) == history["val_loss"][stopping.best_epoch]
    assert net.evaluate(x[:20], y[::-1][:20])["loss"] == pytest.approx(stopping.best, rel=1e-5)


def test_early_stopping_begins_anew_with_each_fit(data):
    stopping = EarlyStopping(patience=1)
    network().fit(*data, epochs=9, callbacks=[Losses([1, 2]), stopping], verbose=0)
    network().fit(*data, epochs=3, callbacks=[Losses([9, 8, 7]), stopping], verbose=0)
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (7, 2, None)


def test_early_stopping_tells_what_it_misses(data):
    with pytest.raises(ValueError, match=r"no 'val_loss' among accuracy, loss; give fit validation_data or"):
        network().fit(*data, callbacks=[EarlyStopping()], verbose=0)
    with pytest.raises(ValueError, match=r"no 'f1' among accuracy, loss, val_accuracy, val_loss$"):
        network().fit(*data, validation_data=data, callbacks=[EarlyStopping("f1")], verbose=0)


@pytest.mark.parametrize("options", [{"mode": "up"}, {"patience": -1}, {"min_delta": -0.1}])
def test_early_stopping_checks_its_options(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        EarlyStopping(**options)


# Steps of an epoch, iterables


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_steps_per_epoch(steps, data):
    recorder = BatchRecorder()
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


@pytest.mark.parametrize("verbose", ["yes", 3, None])
def test_other_verbosities(verbose, data, snapshot, same_bits):
    net = network()
    before = snapshot(net)
    with pytest.raises(ValueError, match="verbose: expected 'auto', 0 or 1"):
        net.fit(*data, verbose=verbose)
    assert same_bits(snapshot(net), before)
