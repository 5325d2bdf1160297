"""What ``fit`` does around its steps: hooks and when they are called, history, stopping early, and how it ends."""

import threading
import time

import numpy as np
import pytest
from labelled import CLASSES, FEATURES, N, labelled_data, network, plain

import fastmlp as fm
from fastmlp.callbacks import Callback, EarlyStopping, History


@pytest.fixture
def data():
    return labelled_data()


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


# Hooks as Keras has them


def every_hook(calls):
    """A callback that keeps the name of each hook that is called, with its number."""

    def hook(name):
        def method(self, *arguments):
            calls.append((name, *arguments[:-1]))
            self.logs = arguments[-1]

        return method

    return type("Every", (Callback,), {name: hook(name) for name in HOOKS})()


HOOKS = [
    f"on_{of}_{when}"
    for of in ("train", "epoch", "train_batch", "test", "test_batch", "predict", "predict_batch")
    for when in ("begin", "end")
]


def test_hooks_are_called_in_the_order_of_keras(data):
    x, y = data
    calls = []
    network().fit(
        x, y, epochs=2, batch_size=30, validation_data=(x[:40], y[:40]), callbacks=[every_hook(calls)], verbose=0
    )
    batches = [(f"on_train_batch_{when}", batch) for batch in (0, 1) for when in ("begin", "end")]
    test_batches = [(f"on_test_batch_{when}", batch) for batch in (0, 1) for when in ("begin", "end")]
    epochs = [
        call
        for epoch in (0, 1)
        for call in (
            ("on_epoch_begin", epoch),
            *batches,
            ("on_test_begin",),
            *test_batches,
            ("on_test_end",),
            ("on_epoch_end", epoch),
        )
    ]
    assert calls == [("on_train_begin",), *epochs, ("on_train_end",)]


def test_evaluate_and_predict_call_no_hooks(data):
    calls = []

    class Uses(Callback):
        def on_epoch_end(self, epoch, logs=None):
            calls.clear()
            self.model.evaluate(*data)
            self.model.predict(data[0])
            assert calls == []

    network().fit(*data, callbacks=[every_hook(calls), Uses()], verbose=0)


def test_logs_of_the_hooks(data):
    seen = {}

    class Keeps(Callback):
        def on_test_batch_end(self, batch, logs=None):
            seen["test batch"] = dict(logs)

        def on_test_end(self, logs=None):
            seen["test"] = dict(logs)

        def on_epoch_end(self, epoch, logs=None):
            seen["epoch"] = dict(logs)

        def on_train_end(self, logs=None):
            seen["train"] = dict(logs)

        def on_train_begin(self, logs=None):
            seen["begin"] = logs

    network().fit(*data, epochs=2, validation_data=data, callbacks=[Keeps()], verbose=0)
    assert list(seen["epoch"]) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    assert seen["train"] == seen["epoch"] and seen["begin"] == {}
    assert seen["test"] == seen["test batch"] == {name: seen["epoch"][f"val_{name}"] for name in ("loss", "accuracy")}


def test_what_a_callback_knows(data):
    seen = []

    class Asks(Callback):
        def on_train_begin(self, logs=None):
            seen.append((self.model, dict(self.params)))

    net = network()
    assert Asks().model is None and dict(Asks().params) == {}
    net.fit(*data, epochs=3, batch_size=20, callbacks=[Asks()], verbose=0)
    net.fit([data], steps_per_epoch=1, callbacks=[Asks()], verbose=0)
    net.fit([data], callbacks=[Asks()], verbose=0)
    assert seen == [
        (net, {"epochs": 3, "steps": 3, "verbose": 0}),
        (net, {"epochs": 1, "steps": 1, "verbose": 0}),
        (net, {"epochs": 1, "steps": None, "verbose": 0}),
    ]


def test_set_model_and_set_params_are_called(data):
    seen = []

    class Takes(Callback):
        def set_model(self, model):
            seen.append(model)

        def set_params(self, params):
            seen.append(params["epochs"])

    net = network()
    net.fit(*data, callbacks=[Takes()], verbose=0)
    assert net in seen and 1 in seen and len(seen) == 2


@pytest.mark.parametrize(
    ("name", "close"),
    [
        ("on_epoch_ended", "on_epoch_end(self, epoch, logs=None)"),
        ("on_batch_end", "on_train_batch_end(self, batch, logs=None)"),
        ("on_batch_begin", "on_train_batch_begin(self, batch, logs=None)"),
        ("on_training_begin", "on_train_begin(self, logs=None)"),
        ("on_nothing_like_it_at_all", "a method of your own needs a name that does not begin with 'on_'"),
    ],
)
def test_a_misspelt_hook_is_refused_before_anything_changes(name, close, data, refuses):
    callback = type("Misspelt", (Callback,), {name: lambda self, *arguments: None})()
    error = refuses(network_of_40, lambda net: net.fit(*data, callbacks=[callback]), TypeError, rf"Misspelt\.{name}")
    assert close in str(error)


def network_of_40():
    return network()


def of_old_on_epoch_end(self, net, epoch, logs):
    """As it was written for fastmlp 0.1.0."""


def of_old_on_epoch_begin(self, net, epoch):
    """As it was written for fastmlp 0.1.0: as many arguments as today, but others."""


def of_old_on_train_begin(self, net):
    """As it was written for fastmlp 0.1.0."""


@pytest.mark.parametrize(
    ("name", "method"),
    [
        ("on_epoch_end", of_old_on_epoch_end),
        ("on_epoch_begin", of_old_on_epoch_begin),
        ("on_train_begin", of_old_on_train_begin),
        ("on_epoch_end", lambda self: None),
        ("on_epoch_end", lambda self, epoch: None),
        ("on_train_end", lambda self, epoch, logs: None),
        ("on_epoch_end", lambda self, *, epoch, logs=None: None),
        ("on_train_batch_end", lambda self, batch, logs, more: None),
        ("on_epoch_end", 3),
    ],
)
def test_a_hook_with_other_arguments_is_refused_before_anything_changes(name, method, data, refuses):
    callback = type("Other", (Callback,), {name: method})()
    error = refuses(network_of_40, lambda net: net.fit(*data, callbacks=[callback]), TypeError, rf"Other\.{name}")
    if callable(method):
        assert f"write {name}(self, " in str(error) and "self.model" in str(error)


@pytest.mark.parametrize(
    "method",
    [
        lambda self, epoch, logs: None,
        lambda self, epoch, logs=None, more=None: None,
        lambda self, number, means: None,
        lambda self, *arguments: None,
        lambda *arguments, **keywords: None,
        staticmethod(lambda epoch, logs=None: None),
    ],
)
def test_hooks_that_can_be_called_are_taken(method, data):
    callback = type("Fine", (Callback,), {"on_epoch_end": method, "on_device": "cpu"})()
    network().fit(*data, callbacks=[callback], verbose=0)


def test_a_hook_of_an_instance(data):
    seen, callback = [], Callback()
    callback.on_epoch_end = lambda epoch, logs: seen.append(epoch)
    network().fit(*data, epochs=2, callbacks=[callback], verbose=0)
    assert seen == [0, 1]


# Called now and then


class Steps(Callback):
    """Keeps the steps around which it is called, as (the number of the step, of the batch), or (number,) before."""

    def __init__(self, **when):
        self.calls = []
        for name, value in when.items():
            setattr(self, name, value)

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append((self.model.engine.steps + 1,))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append((self.model.engine.steps, batch))

    @property
    def steps(self):
        assert self.calls[::2] == [call[:1] for call in self.calls[1::2]]  # before and after the same steps
        return self.calls[1::2]


def test_every_n_steps_counts_the_steps_of_the_network(data, snapshot, same_bits):
    net, twin, watch = network(), network(), Steps(every_n_steps=4)
    for one, callbacks in ((net, [watch]), (twin, [])):
        one.train_on_batch(*data)
        one.fit(*data, epochs=3, batch_size=10, callbacks=callbacks, verbose=0)
    assert watch.steps == [(4, 2), (8, 1), (12, 0), (16, 4)]
    assert same_bits(snapshot(net), snapshot(twin))
    net.fit(*data, batch_size=10, callbacks=[watch], verbose=0)
    assert watch.steps[4:] == [(20, 3)]


@pytest.mark.parametrize("batches", ["arrays", "iterable"])
def test_callbacks_with_intervals_of_their_own(batches, data):
    x, y = data
    if batches == "iterable":
        x, y = [(x[at : at + 10], y[at : at + 10]) for at in range(0, N, 10)], None
    third, fifth, every, never = Steps(every_n_steps=3), Steps(every_n_steps=5), Steps(), Steps(every_n_steps=100)
    network().fit(x, y, epochs=2, batch_size=10, callbacks=[third, fifth, every, never], verbose=0)
    assert [step for step, _ in third.steps] == [3, 6, 9]
    assert [step for step, _ in fifth.steps] == [5, 10]
    assert [step for step, _ in every.steps] == list(range(1, 11))
    assert never.calls == []


def test_logs_of_every_nth_step_are_the_means_so_far(data):
    class Logs(Callback):
        def __init__(self, n):
            self.every_n_steps, self.seen = n, {}

        def on_train_batch_end(self, batch, logs=None):
            self.seen[batch] = dict(logs)

    every, third = Logs(None), Logs(3)
    for logs in (every, third):
        net = network()
        net.compile("sgd", "sparse_categorical_crossentropy", ["accuracy", Spread()])
        net.fit(*data, batch_size=7, callbacks=[logs], verbose=0)
    assert third.seen == {batch: every.seen[batch] for batch in (2, 5)}


class Spread(fm.metrics.Metric):
    """A metric in NumPy that depends on how the rows were cut into batches."""

    def reset(self):
        self.values = []

    def update(self, y_true, y_pred, weight):
        self.values.append(float(np.ptp(y_pred)))

    def result(self):
        return float(np.mean(self.values))


def test_every_seconds(data, snapshot, same_bits):
    net, twin = network(), network()
    rare, often, both = Steps(every_seconds=3600), Steps(every_seconds=1e-9), Steps(every_seconds=3600, every_n_steps=5)
    net.fit(*data, epochs=2, batch_size=10, callbacks=[rare, often, both], verbose=0)
    twin.fit(*data, epochs=2, batch_size=10, verbose=0)
    assert rare.calls == []
    assert [step for step, _ in often.steps] == list(range(1, 11))
    assert [step for step, _ in both.steps] == [5, 10]
    assert same_bits(snapshot(net), snapshot(twin))


def test_every_seconds_within_an_epoch_that_is_long():
    x, y = np.zeros((200_000, FEATURES), np.float32), np.zeros(200_000, np.int64)
    watch = Steps(every_seconds=0.02)
    watch.times = []
    end = watch.on_train_batch_end

    def on_train_batch_end(batch, logs):
        end(batch, logs)
        watch.times.append(time.monotonic())
        watch.model.stop_training = len(watch.times) == 3

    watch.on_train_batch_end = on_train_batch_end
    network().fit(x, y, epochs=1000, batch_size=2, callbacks=[watch], verbose=0)
    assert len(watch.steps) == 3
    assert np.diff(watch.times).min() > 0.019
    assert watch.steps[1][0] - watch.steps[0][0] > 3


def test_an_interval_may_change_while_training_goes_on(data):
    class Widens(Steps):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)
            self.every_n_steps = 4

    watch = Widens(every_n_steps=1)
    network().fit(*data, epochs=2, batch_size=10, callbacks=[watch], verbose=0)
    assert [step for step, _ in watch.steps] == [1, 4, 8]


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"every_n_steps": 0}, ValueError),
        ({"every_n_steps": 2.0}, TypeError),
        ({"every_n_steps": True}, TypeError),
        ({"every_seconds": -1}, ValueError),
        ({"every_seconds": np.nan}, ValueError),
        ({"every_seconds": "1"}, TypeError),
    ],
)
def test_intervals_are_checked_before_anything_changes(options, error, data, refuses):
    watch = Steps(**options)
    refuses(network_of_40, lambda net: net.fit(*data, callbacks=[watch]), error, f"{next(iter(options))} of Steps")


@pytest.mark.parametrize("n", [None, 2])
def test_batches_without_weight_are_no_steps_and_call_no_hooks(n, data):
    x, y = data
    weight = np.ones(N)
    weight[10:30] = 0
    weight[40:] = 0
    watch = Steps(every_n_steps=n)
    network().fit(x, y, sample_weight=weight, batch_size=10, shuffle=False, callbacks=[watch], verbose=0)
    assert watch.steps == ([(1, 0), (2, 3)] if n is None else [(2, 3)])


# The end


class Ends(Callback):
    """Keeps what it was told of the end."""

    def __init__(self):
        self.ended = []

    def on_train_end(self, logs=None):
        self.ended.append(logs)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_test_begin"])
def test_on_train_end_runs_when_a_hook_raises(hook, error, data):
    calls = []

    def fail(self, *arguments):
        calls.append(hook)
        if len(calls) == 3:
            raise error("mine")

    ends, fails = Ends(), type("Fails", (Callback,), {hook: fail})()
    net = network()
    with pytest.raises(error, match="mine"):
        net.fit(*data, epochs=9, validation_data=data, callbacks=[ends, fails], verbose=0)
    assert len(ends.ended) == 1
    if hook in ("on_epoch_begin", "on_test_begin"):
        assert ends.ended[0]["loss"] == net.history.history["loss"][-1]
    net.fit(*data, verbose=0)


def test_on_train_end_runs_after_nan(data):
    x, y = data
    x = x.copy()
    x[3, 1] = np.nan
    ends = Ends()
    with pytest.raises(fm.NonFiniteError):
        network().fit(x, y, callbacks=[ends], verbose=0)
    assert ends.ended == [{}]


def test_on_train_end_runs_after_an_iterable_that_raises(data):
    def batches():
        yield data
        raise OSError("cut off")

    ends = Ends()
    with pytest.raises(OSError, match="cut off"):
        network().fit(batches(), callbacks=[ends], verbose=0)
    assert len(ends.ended) == 1


@pytest.mark.parametrize("before", [None, "on_epoch_end"])
def test_on_train_end_runs_for_all_even_where_it_raises(before, data):
    """The last error goes on to the caller, with the one before it as its context."""

    class Fails(Callback):
        def on_train_end(self, logs=None):
            raise OSError("disk full")

    def fail(self, epoch, logs=None):
        raise ZeroDivisionError

    callbacks = [Ends(), Fails(), Ends()]
    if before is not None:
        callbacks.append(type("Before", (Callback,), {before: fail})())
    with pytest.raises(OSError, match="disk full") as caught:
        network().fit(*data, callbacks=callbacks, verbose=0)
    assert len(callbacks[0].ended) == len(callbacks[2].ended) == 1
    assert before is None or isinstance(caught.value.__context__, ZeroDivisionError)


def test_what_has_not_begun_does_not_end(data):
    class Fails(Callback):
        def on_train_begin(self, logs=None):
            raise OSError("no disk")

        def on_train_end(self, logs=None):
            raise AssertionError("it never began")

    first, last = Ends(), Ends()
    with pytest.raises(OSError, match="no disk"):
        network().fit(*data, callbacks=[first, Fails(), last], verbose=0)
    assert len(first.ended) == 1 and last.ended == []


def test_early_stopping_gives_the_best_weights_back_after_an_error(data):
    """Of the best epoch, not those that led to the error, which are one step short of infinity."""

    class Explodes(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 3:
                self.best = {key: value.copy() for key, value in self.model.parameters.items()}
                self.model.parameters["3.kernel"] = np.full((6, CLASSES), 3e38)

    net, cause, stop = network(), Explodes(), EarlyStopping("loss", patience=9)
    with pytest.raises(fm.NonFiniteError):
        net.fit(*data, epochs=9, batch_size=N, callbacks=[cause, stop], verbose=0)
    assert stop.best_epoch == 2 and stop.stopped_epoch is None
    assert all((net.parameters[key] == value).all() for key, value in cause.best.items())
    assert net.history.epoch == [0, 1, 2]


class Fails(Callback):
    """Raises in one hook."""

    def __init__(self, hook, error, epoch=2):
        def fail(*arguments):
            self.epochs += 1
            if "train_" in hook or self.epochs > epoch:
                raise error("mine")

        self.epochs = 0
        setattr(self, hook, fail)


ENDINGS = ["on_epoch_begin", "on_epoch_end", "on_test_begin", "on_test_end", "on_test_batch_end", "on_train_end"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, GeneratorExit])
@pytest.mark.parametrize("hook", ENDINGS)
@pytest.mark.parametrize("first", [True, False], ids=["before", "behind"])
def test_the_best_weights_and_the_history_survive_every_ending(first, hook, error, data):
    """Of a hook before or behind the stopping, in an epoch, its validation, and the end itself."""
    net, stop, ends = network(learning_rate=0.5), EarlyStopping("loss", patience=99), Ends()
    fails = Fails(hook, error, epoch=4 if hook == "on_test_batch_end" else 2)  # two batches an epoch
    callbacks = [fails, stop, ends] if first else [ends, stop, fails]
    with pytest.raises(error, match="mine"):
        net.fit(*data, epochs=6, validation_data=data, callbacks=callbacks, verbose=0)
    losses = net.history.history["loss"]
    assert len(losses) == (6 if hook == "on_train_end" else 2) and len(ends.ended) == 1
    twin = network(learning_rate=0.5)
    twin.fit(*data, epochs=stop.best_epoch + 1, verbose=0)
    assert stop.best in losses or hook == "on_epoch_end"
    for key, value in twin.parameters.items():
        np.testing.assert_array_equal(net.parameters[key], value)
    for key, value in twin.buffers.items():
        np.testing.assert_array_equal(net.buffers[key], value)


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, RuntimeError])
def test_the_best_weights_survive_an_iterable_that_raises(error, data):
    x, y = data

    class Batches:
        epochs = 0

        def __iter__(self):
            self.epochs += 1
            yield x[:20], y[:20]
            if self.epochs == 4:
                raise error("cut off")
            yield x[20:], y[20:]

    net, twin, stop = network(), network(), EarlyStopping("loss", patience=99)
    with pytest.raises(error, match="cut off"):
        net.fit(Batches(), epochs=9, callbacks=[stop], verbose=0)
    assert net.history.epoch == [0, 1, 2]
    twin.fit(Batches(), epochs=stop.best_epoch + 1, verbose=0)
    assert all((net.parameters[key] == value).all() for key, value in twin.parameters.items())


@pytest.mark.parametrize("place", [0, 1, 2])
def test_the_history_is_the_new_one_where_a_beginning_fails(place, data):
    net, own = network(), fm.callbacks.History()
    old = net.fit(*data, verbose=0)
    for callbacks in ([Ends(), EarlyStopping("loss")], [own, Ends()]):
        callbacks.insert(place, Fails("on_train_begin", OSError))
        with pytest.raises(OSError, match="mine"):
            net.fit(*data, callbacks=callbacks, verbose=0)
        assert net.history is not old and net.history.epoch == []
    assert net.history is own


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


def test_the_network_has_its_last_history(data):
    net = network()
    assert net.history is None
    assert net.fit(*data, verbose=0) is net.history
    first = net.history
    with pytest.raises(ValueError, match="epochs"):
        net.fit(*data, epochs=0, verbose=0)
    assert net.history is first  # what is refused is no training


def test_the_network_has_its_history_after_an_error(data):
    class Fails(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise OSError("mine")

    net = network()
    with pytest.raises(OSError, match="mine"):
        net.fit(*data, epochs=9, callbacks=[Fails()], verbose=0)
    assert net.history.epoch == [0, 1] and len(net.history.history["loss"]) == 2


def test_a_history_of_ones_own_goes_on_growing(data):
    net, mine = network(), History()
    assert net.fit(*data, epochs=2, callbacks=[mine], verbose=0) is mine
    assert net.fit(*data, epochs=3, initial_epoch=2, callbacks=[mine], verbose=0) is mine is net.history
    assert mine.epoch == [0, 1, 2] and len(mine.history["loss"]) == 3


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


def test_stop_at_every_nth_step(data, snapshot, same_bits):
    class Stops(Callback):
        every_n_steps = 7

        def on_train_batch_end(self, batch, logs=None):
            self.model.stop_training = True

    net, twin = network(), network()
    history = net.fit(*data, epochs=9, batch_size=10, callbacks=[Stops()], verbose=0)
    assert history.epoch == [0, 1] and net.engine.steps == 7
    twin.fit(*data, batch_size=10, verbose=0)
    twin.fit(*data, batch_size=10, steps_per_epoch=2, verbose=0)
    assert same_bits(snapshot(net), snapshot(twin))


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin"])
def test_a_stop_before_the_first_step_ends_the_training_after_it(hook, data):
    def stop(self, *arguments):
        self.model.stop_training = True

    net = network()
    history = net.fit(*data, epochs=9, batch_size=10, callbacks=[type("Stops", (Callback,), {hook: stop})()], verbose=0)
    assert history.epoch == [0] and net.engine.steps == 1


def test_another_thread_may_stop_a_training_within_an_epoch():
    x, y = np.zeros((400_000, FEATURES), np.float32), np.zeros(400_000, np.int64)
    net = network()
    timer = threading.Timer(0.2, lambda: setattr(net, "stop_training", True))
    timer.start()
    history = net.fit(x, y, epochs=1000, batch_size=2, verbose=0)
    timer.join()
    assert len(history.epoch) < 1000


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
        ([3, np.nan, np.nan, np.nan], 2, 0, 2),
        ([np.inf, 7, 8, np.inf], 2, 1, 3),
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


def test_early_stopping_of_what_is_never_a_number(data):
    """NaN is no improvement: the training ends, and there is nothing to give back."""
    stopping = EarlyStopping(patience=2)
    net = network()
    history = net.fit(*data, epochs=9, callbacks=[Losses([np.nan] * 9), stopping], verbose=0)
    assert history.epoch == [0, 1, 2]
    assert (stopping.best, stopping.best_epoch, stopping.stopped_epoch) == (None, None, 2)
    np.testing.assert_array_equal(net.parameters["0.bias"], 2)


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
        ({"mode": "min"}, "made_up", [3, 1, 2, 2], 1),
        ({"mode": "max"}, "made_up", [1, 3, 2, 2], 1),
        ({}, "accuracy", [0.5, 0.6, 0.4, 0.3], 1),
        ({}, "loss", [3, 1, 2, 2], 1),
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
        network().fit(*data, validation_data=data, callbacks=[EarlyStopping("f1", mode="max")], verbose=0)


class Recall(fm.metrics.Metric):
    """Says nothing about which way is up."""

    def rows(self, y_true, y_pred):
        return (y_pred.argmax(axis=1) == y_true).astype(float)


class Hits(Recall):
    better = "higher"


class Misses(fm.metrics.Metric):
    better = "lower"

    def rows(self, y_true, y_pred):
        return (y_pred.argmax(axis=1) != y_true).astype(float)


class Loud(Recall):
    better = "louder"


@pytest.mark.parametrize(
    ("metric", "name"), [(Recall(), "val_Recall"), (Recall(), "f1"), (Recall(), "accuracy"), (Loud(), "Loud")], ids=str
)
def test_early_stopping_asks_for_the_mode_that_nobody_tells(metric, name, data, same_future):
    """When `fit` begins: a metric of the user's own, one of another callback, one that is not there."""
    nets = []
    for _ in range(2):
        net = fm.Sequential([fm.layers.Dense(CLASSES, "softmax")], input_dim=FEATURES, seed=1)
        net.compile("adam", "sparse_categorical_crossentropy", metrics=[metric])
        nets.append(net)
    ends, stop = Ends(), EarlyStopping(name)
    with pytest.raises(ValueError, match=r"mode='max' or mode='min'.*better = 'higher' or 'lower'") as caught:
        nets[0].fit(*data, validation_data=data, callbacks=[ends, stop], verbose=0)
    assert repr(name) in str(caught.value) and ("'louder'" in str(caught.value)) == (name == "Loud")
    assert len(ends.ended) == 1
    same_future(*nets)


@pytest.mark.parametrize(
    ("metric", "name", "best"), [(Hits(), "Hits", max), (Misses(), "Misses", min), ("accuracy", "accuracy", max)]
)
def test_metrics_tell_which_way_is_better(metric, name, best, data):
    net = fm.Sequential([fm.layers.Dense(6, "tanh"), fm.layers.Dense(CLASSES, "softmax")], input_dim=FEATURES, seed=5)
    net.compile(fm.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=[metric])
    stop = EarlyStopping(name, patience=99)
    values = net.fit(*data, epochs=20, callbacks=[stop], verbose=0).history[name]
    assert len(set(values)) > 2
    assert stop.best == best(values) == values[stop.best_epoch]


@pytest.mark.parametrize("options", [{"mode": "up"}, {"patience": -1}, {"min_delta": -0.1}])
def test_early_stopping_checks_its_options(options, data):
    with pytest.raises(ValueError, match=next(iter(options))):
        EarlyStopping(**options)
    stop = EarlyStopping("loss")
    for name, value in options.items():
        setattr(stop, name, value)
    with pytest.raises(ValueError, match=next(iter(options))):
        network().fit(*data, callbacks=[stop], verbose=0)


def test_a_mode_set_by_another_callback_holds_from_the_next_epoch(data):
    class Turn(Callback):
        def on_epoch_begin(self, epoch, logs=None):
            stop.mode = "max" if epoch >= 2 else "min"

    stop = EarlyStopping(patience=9)
    network().fit(*data, epochs=5, callbacks=[Turn(), Losses([3, 2, 5, 4, 7]), stop], verbose=0)
    assert (stop.best, stop.best_epoch) == (7, 4)
