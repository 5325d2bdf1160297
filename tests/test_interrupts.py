"""What comes in between: callbacks that raise or use the network, other threads, Ctrl-C."""

import functools
import json
import threading

import numpy as np
import pytest
from interrupter import in_thread, interrupted, places

import fastmlp as fm

L = fm.layers
N, FEATURES, CLASSES, BATCH = 40, 5, 3, 8


def data(dtype="float32"):
    rng = np.random.default_rng(5)
    x = rng.normal(size=(N, FEATURES)).astype(dtype)
    return x, rng.integers(0, CLASSES, N), rng.normal(size=(N, CLASSES)).astype(dtype)


X, LABELS, ROWS = data()
for array in (X, LABELS, ROWS):
    array.flags.writeable = False  # whatever is called, it must not write into its arguments


def built(layers, loss, optimizer="adam", metrics=(), **kwargs):
    net = fm.Sequential(layers, input_dim=FEATURES, seed=11, **kwargs)
    net.compile(optimizer, loss, metrics)
    return net


def classifier(trained=True, **kwargs):
    """A network that has everything that a step may change, two steps old."""
    layers = [L.Dense(8), L.BatchNorm(), L.Activation("tanh"), L.Dropout(0.3), L.Dense(CLASSES, "softmax")]
    net = built(layers, "sparse_categorical_crossentropy", metrics=["accuracy"], **kwargs)
    for at in range(2 if trained else 0):
        net.train_on_batch(X[at::2], LABELS[at::2])
    return net


def regressor(optimizer="adam", metrics=()):
    layers = [L.Dense(8, "relu"), L.BatchNorm(), L.Dropout(0.3), L.Dense(CLASSES)]
    net = built(layers, "mse", optimizer, metrics)
    for at in range(2):
        net.train_on_batch(X[at::2], ROWS[at::2])
    return net


def fit(net, x, y, *, shuffle=False, **kwargs):
    net.fit(x, y, batch_size=BATCH, shuffle=shuffle, **kwargs)


def fit_history(net, x, y, **kwargs):
    return net.fit(x, y, batch_size=BATCH, **kwargs).history


# -- callbacks -----------------------------------------------------------------------------------------------------


HOOKS = [f"on_{of}_{when}" for of in ("train", "epoch", "train_batch") for when in ("begin", "end")]


@pytest.mark.parametrize("hook", HOOKS)
def test_callbacks_that_raise(hook, same_future):
    def fail(self, *arguments):
        if hook in ("on_train_begin", "on_train_end") or arguments[0] == 1:  # the second epoch, or batch
            raise OSError("disk full")

    Fails = type("Fails", (fm.callbacks.Callback,), {hook: fail})
    net, twin = classifier(), classifier()
    with pytest.raises(OSError, match="disk full"):
        net.fit(X, LABELS, epochs=2, batch_size=BATCH, shuffle=False, callbacks=[Fails()])
    if hook.startswith("on_train_batch"):
        for at in (0, BATCH) if hook.endswith("end") else (0,):
            twin.train_on_batch(X[at : at + BATCH], LABELS[at : at + BATCH])
    elif hook != "on_train_begin":
        epochs = {"on_epoch_begin": 1, "on_epoch_end": 2, "on_train_end": 2}[hook]
        twin.fit(X, LABELS, epochs=epochs, batch_size=BATCH, shuffle=False)
    same_future(net, twin)
    assert in_thread(lambda: net.predict(X)) == []  # nobody is taken to use it still


@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.train_on_batch(X, LABELS),
        lambda net: net.fit(X, LABELS),
        lambda net: net.evaluate(X, LABELS),
        lambda net: net.compile("sgd"),
        lambda net: net.loss_and_gradients(X, LABELS),
    ],
    ids=["train_on_batch", "fit", "evaluate", "compile", "loss_and_gradients"],
)
def test_another_thread_during_fit(call, same_future, says):
    errors = []

    class Elsewhere(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            errors.extend(in_thread(lambda: call(self.model)))

    net, twin = classifier(), classifier()
    fit(net, X, LABELS, callbacks=[Elsewhere()])
    fit(twin, X, LABELS)
    assert [type(error) for error in errors] == [RuntimeError] * (N // BATCH)
    says(errors[0], "another thread", "copy")
    same_future(net, twin)


def test_calls_within_a_callback_leave_the_training_alone(same_future):
    class Looks(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.predict(X)
            self.model.evaluate(X, ROWS)
            self.model.loss_and_gradients(np.tile(X, (2, 1)), np.tile(ROWS, (2, 1)))
            self.model.vjp(X)

    net, twin = regressor(metrics=["mae"]), regressor(metrics=["mae"])
    seen = fit_history(net, X, ROWS, epochs=2, callbacks=[Looks()])
    assert seen == fit_history(twin, X, ROWS, epochs=2)
    same_future(net, twin)


def test_steps_within_a_callback_count(same_future):
    class Trains(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            self.model.train_on_batch(X, LABELS)  # more rows than a batch of fit has

    net, twin = classifier(), classifier()
    fit(net, X, LABELS, callbacks=[Trains()])
    for at in range(0, N, BATCH):
        twin.train_on_batch(X[at : at + BATCH], LABELS[at : at + BATCH])
        twin.train_on_batch(X, LABELS)
    same_future(net, twin, epochs=False)


def test_compile_within_a_callback_is_obeyed_or_refused(contents, says):
    class Compiles(fm.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 0:
                self.model.compile(fm.optimizers.SGD(0.0), "mse")
                self.kept = contents(self.model)

    net, watch = regressor(), Compiles()
    try:
        fit(net, X, ROWS, callbacks=[watch])
    except RuntimeError as error:
        says(error, "compile")
        assert isinstance(net.optimizer, fm.optimizers.Adam)
    else:
        after = contents(net)
        assert [name for name in after if name.startswith("parameter") and after[name] != watch.kept[name]] == []


@pytest.mark.parametrize("hook", ["on_epoch_begin", "on_train_batch_begin", "on_train_batch_end", "on_epoch_end"])
def test_compile_within_a_callback_for_other_targets(hook, says):
    """The targets are rows, the new loss takes labels: a ValueError before the next step, and nothing read astray."""

    def compiles(self, number, logs=None):
        self.model.compile("sgd", fm.losses.SparseCategoricalCrossentropy(from_logits=True))
        self.steps = self.model.engine.steps

    net, watch = regressor(), type("Compiles", (fm.callbacks.Callback,), {hook: compiles})()
    with pytest.raises(ValueError) as caught:
        fit(net, X, ROWS, epochs=2, callbacks=[watch])
    says(caught.value, r"\by\b", "labels")
    assert net.engine.steps == watch.steps


def test_compile_within_a_callback_for_other_metrics():
    """The means begin anew."""

    class Compiles(fm.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            if batch == 2:
                self.model.compile("sgd", "mse", ["mae"])

    net = regressor()
    history = fit_history(net, X, ROWS, callbacks=[Compiles()])
    assert list(history) == ["loss", "mean_absolute_error"]
    assert np.isfinite(list(history.values())).all()


def test_a_reader_in_another_thread_does_not_end_a_training(same_future):
    """It waits for the step at hand, and is answered; the training, which has begun, goes on with the same bits."""
    net, twin = regressor(), regressor()
    answers, done = [], threading.Event()

    def read():
        while not done.is_set():
            answers.append(net.predict(X))

    class Starts(fm.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 2:
                thread.start()

    thread = threading.Thread(target=read, daemon=True)
    try:
        history = net.fit(X, ROWS, validation_data=(X, ROWS), epochs=300, callbacks=[Starts()])
    finally:
        done.set()
        thread.join(10)
    assert len(history.epoch) == 300 and len(answers) > 10
    twin.fit(X, ROWS, epochs=300)
    same_future(net, twin)


# -- Ctrl-C --------------------------------------------------------------------------------------------------------


INTERRUPTED = """
import json, os, signal, sys, threading, time
import numpy as np
import fastmlp as fm

class Watch(fm.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass

def make():
    L = fm.layers
    layers = [L.Dense(16), L.BatchNorm(), L.Activation("tanh"), L.Dropout(0.2), L.Dense(3, "softmax")]
    net = fm.Sequential(layers, input_dim=8, seed=3)
    net.compile("adam", "sparse_categorical_crossentropy")
    return net

def arrays(net):
    state = [view for views in net.optimizer_state.values() for view in views.values()]
    return b"".join(a.tobytes() for a in (*net.parameters.values(), *net.buffers.values(), *state))

rng = np.random.default_rng(0)
x, y = rng.normal(size=(3000, 8)).astype("f4"), rng.integers(0, 3, 3000)
data = {"batch_size": 32, "callbacks": [Watch()] if sys.argv[1] == "stepwise" else []}
sent = []

def interrupt():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

net, twin = make(), make()
threading.Timer(0.5, interrupt).start()
try:
    net.fit(x, y, epochs=10**9, **data)
except KeyboardInterrupt:
    late = time.perf_counter() - sent[0]
steps, epochs = net.engine.steps, net.engine.epochs
if epochs:
    twin.fit(x, y, epochs=epochs, **data)
if rest := steps - epochs * -(-3000 // 32):
    twin.fit(x, y, steps_per_epoch=rest, **data)
same = arrays(net) == arrays(twin)
losses = [one.train_on_batch(x, y)["loss"] for one in (net, twin)]
goes_on = arrays(net) == arrays(twin) and losses[0] == losses[1]
net.fit(x, y, **data)
print(json.dumps({"late": late, "steps": steps, "same": same, "goes_on": goes_on, "loss": losses[0]}))
"""


@pytest.mark.parametrize("way", ["compiled", "stepwise"])
def test_interrupted_fit(way, run_python):
    """It ends soon, and as after a complete step: replaying that many steps gives the same bits, then and later."""
    found = json.loads(run_python(INTERRUPTED, arguments=[way]))
    assert found["steps"] > 10
    assert found["late"] < 0.8
    assert np.isfinite(found["loss"])
    assert found["same"] and found["goes_on"]


INTERRUPTED_EVALUATION = """
import json, os, signal, sys, threading, time
import numpy as np
import fastmlp as fm

net = fm.Sequential([fm.layers.Dense(256, "tanh"), fm.layers.Dense(256, "tanh"), fm.layers.Dense(1)], input_dim=64)
net.compile("sgd", "mse")
fm.set_num_threads(1)
x = np.broadcast_to(np.ones(64, "f4"), (20_000_000, 64))  # takes no memory
y = np.broadcast_to(np.ones(1, "f4"), (20_000_000, 1))
begun = time.perf_counter()
net.evaluate(x[:2000], y[:2000])
begun = time.perf_counter()
net.evaluate(x[:20_000], y[:20_000])
rows = min(int(4 * 20_000 / (time.perf_counter() - begun)), len(x))  # about four seconds
sent = []

def interrupt():
    sent.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)

threading.Timer(0.3, interrupt).start()
try:
    if sys.argv[1] == "predict":
        net.predict(x[:rows])
    else:
        net.evaluate(x[:rows], y[:rows])
    print("the end was reached")
except KeyboardInterrupt:
    print(time.perf_counter() - sent[0])
"""


@pytest.mark.parametrize("call", ["predict", "evaluate"])
def test_interrupted_predict_and_evaluate(call, run_python):
    assert float(run_python(INTERRUPTED_EVALUATION, arguments=[call])) < 1.5


INTERRUPTIBLE = {
    "train_on_batch": lambda net: net.train_on_batch(X, LABELS),
    "apply_gradients": lambda net: net.apply_gradients(GRADIENTS),
}
GRADIENTS = classifier().loss_and_gradients(X, LABELS)[1]  # with the statistics of the batch


@pytest.fixture(scope="module")
def interrupted_everywhere(contents):
    """What is wrong after an interruption of a call, and what others may no longer use, by the number of the place."""

    @functools.cache
    def everywhere(name):
        call = INTERRUPTIBLE[name]
        before, after = classifier(), classifier()
        call(after)
        allowed = [contents(before), contents(after)]
        later = []
        for one in (before, after):
            call(one)
            later.append(contents(one))
        wrong, stuck = [], []
        for at in places(5):
            net = classifier()
            if not interrupted(at, lambda net=net: call(net)):
                break
            if in_thread(lambda net=net: net.predict(X[:1])):
                stuck.append(at)
            found = contents(net)
            if found not in allowed:
                wrong.append(f"{at}: neither before nor after")
                continue
            call(net)
            if contents(net) != later[allowed.index(found)]:
                wrong.append(f"{at}: the next step is another")
        assert at > 30, "nothing was traced"
        return wrong, stuck

    return everywhere


@pytest.mark.parametrize("name", INTERRUPTIBLE)
def test_ctrl_c_at_any_place_leaves_a_complete_step(name, interrupted_everywhere):
    """Parameters, state, statistics and counters are all of before the step, or all of after it."""
    assert interrupted_everywhere(name)[0] == []


@pytest.mark.parametrize("name", INTERRUPTIBLE)
def test_ctrl_c_at_any_place_leaves_the_network_to_others(name, interrupted_everywhere):
    assert interrupted_everywhere(name)[1] == []
