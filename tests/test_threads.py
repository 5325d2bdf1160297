"""Threads of Python on one network: first calls, readers beside a training, the way back of ``vjp``, and how many
threads of the kernels each of them gets."""

import ctypes
import threading

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _kernels
from fastmlp.layers import BatchNorm, Dense, Dropout, Layer

WIDTH, ROWS, CLASSES = 7, 24, 3
RNG = np.random.default_rng(3)
X, Y = RNG.normal(size=(ROWS, WIDTH)).astype(np.float32), RNG.integers(0, CLASSES, ROWS)


def network(*, input_dim=None, optimizer="adam", layers=None):
    layers = layers or [Dense(9, "tanh"), BatchNorm(), Dropout(0.2), Dense(CLASSES, "softmax")]
    net = fm.Sequential(layers, input_dim=input_dim, seed=4)
    net.compile(optimizer, "sparse_categorical_crossentropy")
    return net


def outcomes(*calls):
    """What calls in threads of their own return or raise, all at once."""
    found = [None] * len(calls)
    barrier = threading.Barrier(len(calls))

    def run(number):
        barrier.wait(60)
        try:
            found[number] = calls[number]()
        except BaseException as error:
            found[number] = error

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a call hangs"
    return found


@pytest.fixture
def impatient():
    """Nobody waits long for a step of another thread."""
    before = _kernels.concurrency.set_patience(0.05)
    yield
    _kernels.concurrency.set_patience(before)


# -- first calls ---------------------------------------------------------------------------------------------------


class Converted:
    """An argument whose conversion does something first."""

    def __init__(self, values, action):
        self.values, self.action = values, action

    def __array__(self, dtype=None, copy=None):
        self.action()
        return np.array(self.values, dtype)

    def __len__(self):
        return len(self.values)


ARGUMENTS = {  # a call with an argument that is converted, by the name of the argument
    "x of predict": lambda net, of: net.predict(of(X)),
    "x of vjp": lambda net, of: net.vjp(of(X)),
    "x of train_on_batch": lambda net, of: net.train_on_batch(of(X), Y),
    "y of train_on_batch": lambda net, of: net.train_on_batch(X, of(Y)),
    "weight of train_on_batch": lambda net, of: net.train_on_batch(X, Y, of(np.ones(ROWS))),
    "y of loss_and_gradients": lambda net, of: net.loss_and_gradients(X, of(Y)),
    "y of evaluate": lambda net, of: net.evaluate(X, of(Y)),
    "weight of evaluate": lambda net, of: net.evaluate(X, Y, sample_weight=of(np.ones(ROWS))),
    "x of fit": lambda net, of: net.fit(of(X), Y),
    "y of fit": lambda net, of: net.fit(X, of(Y)),
    "validation of fit": lambda net, of: net.fit(X, Y, validation_data=(of(X), of(Y))),
}


@pytest.mark.parametrize("argument", ARGUMENTS)
def test_a_conversion_may_build_the_network_for_another_width(argument, says):
    """The width that counts is the one that the network has in the end; no row is read past its end."""
    net = network()
    with pytest.raises(ValueError) as caught:
        ARGUMENTS[argument](net, lambda values: Converted(values, lambda: net.build(WIDTH + 50)))
    says(caught.value, f"expected {WIDTH + 50} features", f"got {WIDTH}")
    assert net.input_dim == WIDTH + 50
    assert net.predict(np.zeros((2, WIDTH + 50))).shape == (2, CLASSES)


ACTIONS = {
    "predict": lambda net: net.predict(np.zeros((2, WIDTH))),
    "build": lambda net: net.build(WIDTH),
    "fit": lambda net: net.fit(X, Y),
    "train_on_batch": lambda net: net.train_on_batch(X, Y),
    "compile": lambda net: net.compile("sgd", "sparse_categorical_crossentropy"),
    "set parameters": lambda net: net.parameters.__setitem__("0.bias", np.ones(9)) if net.built else None,
}


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("argument", ARGUMENTS)
@pytest.mark.parametrize("input_dim", [None, WIDTH])
def test_a_conversion_may_use_the_network(argument, action, input_dim, same_future):
    """The call does what it does after such a use."""
    net, twin = network(input_dim=input_dim), network(input_dim=input_dim)
    done = []

    def act():
        if not done:
            done.append(1)
            ACTIONS[action](net)

    ARGUMENTS[argument](net, lambda values: Converted(values, act))
    ACTIONS[action](twin)
    ARGUMENTS[argument](twin, lambda values: values)
    same_future(net, twin)


def test_a_conversion_may_compile_for_other_targets(says):
    """The targets are checked for the loss of the end: labels are no rows."""
    net = network(input_dim=WIDTH)
    labels = Converted(Y, lambda: net.compile("sgd", "mse"))
    for call in (net.train_on_batch, net.evaluate, net.loss_and_gradients, net.fit):
        net.compile("sgd", "sparse_categorical_crossentropy")
        with pytest.raises(ValueError) as caught:
            call(X, labels)
        says(caught.value, r"\by\b", "shape")


def test_outputs_of_another_network_width_are_checked_after_the_conversion(says):
    net, out = network(), np.full((ROWS, CLASSES + 1), 7, np.float32)
    with pytest.raises(ValueError) as caught:
        net.predict(Converted(X, lambda: net.build(WIDTH)), out=out)
    says(caught.value, "out", str((ROWS, CLASSES)))
    assert (out == 7).all()


@pytest.mark.parametrize("call", ["predict", "vjp", "evaluate"])
def test_first_calls_from_several_threads_all_answer(call):
    answers = {
        "predict": lambda net: net.predict(X),
        "vjp": lambda net: net.vjp(X)[0],
        "evaluate": lambda net: net.predict(X),
    }
    twin = network(input_dim=WIDTH)
    for _ in range(20):
        net = network()
        calls = [lambda net=net: answers[call](net)] * 4
        if call == "evaluate":
            calls[0] = lambda net=net: net.evaluate(X, Y) and net.predict(X)
        for found in outcomes(*calls):
            np.testing.assert_array_equal(found, answers[call](twin))


class Slow(Layer):
    """The identity, which takes its time to be built."""

    def build(self, input_dim):
        self.begun.set()
        self.go_on.wait(60)
        return input_dim

    def forward(self, x, *, training, rng):
        return x, lambda d: (d, {})


def slow_network():
    layer = Slow()
    layer.begun, layer.go_on = threading.Event(), threading.Event()
    return network(layers=[layer, Dense(CLASSES, "softmax")]), layer


def test_a_thread_waits_for_another_that_builds():
    net, layer = slow_network()

    def second():
        assert layer.begun.wait(60)
        threading.Timer(0.05, layer.go_on.set).start()
        return net.predict(X)

    first, other = outcomes(lambda: net.predict(X), second)
    np.testing.assert_array_equal(first, other)


def test_who_builds_first_decides_on_the_width(says):
    net, layer = slow_network()

    def second():
        assert layer.begun.wait(60)
        threading.Timer(0.05, layer.go_on.set).start()
        return net.predict(np.zeros((2, WIDTH + 1)))

    first, other = outcomes(lambda: net.predict(X), second)
    assert first.shape == (ROWS, CLASSES)
    assert isinstance(other, ValueError)
    says(other, f"expected {WIDTH} features", f"got {WIDTH + 1}")


def test_different_widths_from_several_threads():
    """One width wins; the others are told; nobody reads past an end, whoever it is."""
    wide = [np.ones((5, width), np.float32) for width in (1, WIDTH, 400, 3000)]
    for at in range(40):
        net = network()
        calls = [
            *(lambda net=net, x=x: net.predict(x) for x in wide),
            lambda net=net, at=at: net.train_on_batch(wide[at % 4], Y[:5]),
            lambda net=net, at=at: net.fit(wide[(at + 1) % 4], Y[:5]),
        ]
        found = outcomes(*calls)
        assert all(isinstance(one, (np.ndarray, dict, fm.callbacks.History, ValueError, RuntimeError)) for one in found)
        assert any(not isinstance(one, Exception) for one in found)
        for x, one in zip(wide, found, strict=False):
            if isinstance(one, np.ndarray):
                assert net.input_dim == x.shape[1]
            elif isinstance(one, ValueError):
                assert f"expected {net.input_dim} features" in str(one)


@pytest.mark.parametrize(
    "refused",
    [
        lambda net: net.train_on_batch(X, Y + 100),
        lambda net: net.fit(X, Y, validation_data=(X[:, 1:], Y)),
        lambda net: net.evaluate(X, Y, sample_weight=-np.ones(ROWS)),
        lambda net: net.predict(X, out=np.zeros((1, 1))),
    ],
    ids=["labels", "validation", "weights", "out"],
)
def test_a_first_call_that_is_refused_unbuilds_nobodys_network(refused):
    for _ in range(10):
        net = network()
        found = outcomes(*[lambda net=net: net.predict(X)] * 2, *[lambda net=net: refused(net)] * 2)
        assert net.input_dim == WIDTH
        assert [one.shape for one in found[:2]] == [(ROWS, CLASSES)] * 2
        assert all(isinstance(one, (ValueError, RuntimeError)) for one in found[2:])


@pytest.mark.parametrize("call", [lambda net: net.predict(X), lambda net: net.fit(X, Y), lambda net: net.build(WIDTH)])
def test_a_layer_can_not_use_the_network_that_is_being_built(call, says):
    class Uses(Layer):
        def build(self, input_dim):
            call(net)
            return input_dim

    net = network(layers=[Uses(), Dense(CLASSES, "softmax")])
    with pytest.raises(RuntimeError) as caught:
        net.predict(X)
    says(caught.value, "within")
    assert not net.built


# -- readers beside a training -------------------------------------------------------------------------------------


def elsewhere(call):
    """What a call in another thread returns or raises."""
    return outcomes(call)[0]


class Asks(fm.callbacks.Callback):
    """Lets another thread do something, at a hook, and waits for it."""

    def __init__(self, hook, call):
        self.found = []
        setattr(type(self), hook, lambda self, *arguments: self.found.append(elsewhere(lambda: call(self.model))))

    @classmethod
    def at(cls, hook, call):
        return type("Asks", (cls,), {})(hook, call)


@pytest.mark.parametrize("hook", ["on_train_begin", "on_epoch_begin", "on_train_batch_begin", "on_train_batch_end"])
@pytest.mark.parametrize(
    "call",
    [
        lambda net: net.predict(X),
        lambda net: net.vjp(X)[1](np.ones((ROWS, CLASSES)))[1],
        lambda net: fm.Sequential.__reduce__(net)[1][0],
    ],
    ids=["predict", "vjp", "bytes"],
)
def test_a_callback_may_wait_for_a_reader_in_another_thread(hook, call, same_future):
    net, twin = network(), network()
    ask = Asks.at(hook, call)
    net.fit(X, Y, batch_size=8, epochs=2, validation_data=(X, Y), callbacks=[ask])
    twin.fit(X, Y, batch_size=8, epochs=2, validation_data=(X, Y))
    assert not any(isinstance(found, BaseException) for found in ask.found[hook == "on_train_begin" :])
    same_future(net, twin)


@pytest.mark.parametrize("hook", ["on_epoch_end", "on_train_end", "on_test_begin", "on_test_batch_end"])
def test_a_callback_gets_what_it_would_compute_itself(hook):
    net = network()
    ask = Asks.at(hook, lambda net: net.predict(X))
    net.fit(X, Y, validation_data=(X, Y), callbacks=[ask])
    np.testing.assert_array_equal(ask.found[-1], net.predict(X))


WRITERS = {
    "fit": lambda net: net.fit(X, Y),
    "evaluate": lambda net: net.evaluate(X, Y),
    "train_on_batch": lambda net: net.train_on_batch(X, Y),
    "loss_and_gradients": lambda net: net.loss_and_gradients(X, Y),
    "compile": lambda net: net.compile("sgd"),
    "profile": lambda net: net.profile(X, Y, repeats=1),
}


@pytest.mark.parametrize("name", WRITERS)
def test_whoever_wants_more_than_to_read_is_refused(name, same_future, says):
    net, twin = network(), network()
    ask = Asks.at("on_train_batch_end", WRITERS[name])
    net.fit(X, Y, batch_size=8, callbacks=[ask])
    twin.fit(X, Y, batch_size=8)
    assert [type(found) for found in ask.found] == [RuntimeError] * 3
    says(ask.found[0], name, "another thread")
    same_future(net, twin)


def test_nested_calls_of_callbacks_pass_while_others_read(same_future):
    """Also a step: it waits until nobody else reads."""
    reading, done = threading.Event(), threading.Event()

    class Reads(Layer):
        def build(self, input_dim):
            return input_dim

        def forward(self, x, *, training, rng):
            if threading.current_thread() is not threading.main_thread():
                reading.set()
                done.wait(0.05)
            return x, lambda d: (d, {})

    class Nested(fm.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            thread.start()
            assert reading.wait(60)  # the other thread is in the middle of a prediction
            self.model.predict(X)
            self.model.evaluate(X, Y)
            self.model.train_on_batch(X, Y)

    net, twin = (network(layers=[Reads(), Dense(CLASSES, "softmax")]) for _ in range(2))
    thread = threading.Thread(target=lambda: net.predict(X))
    net.fit(X, Y, callbacks=[Nested()])
    thread.join(60)
    twin.fit(X, Y)
    twin.train_on_batch(X, Y)
    same_future(net, twin)


@pytest.mark.parametrize("in_numpy", [False, True])
def test_readers_of_all_kinds_leave_a_training_as_it_is(in_numpy, tmp_path, register, same_future):
    """They see the network between two steps, with all of a step or nothing of it."""

    class Momentum(fm.optimizers.Optimizer):
        def init_state(self, param):
            return {"v": np.zeros_like(param)}

        def update(self, param, grad, state, learning_rate, step):
            state["v"] *= 0.9
            state["v"] += grad
            param -= learning_rate * state["v"]

    register("optimizers", "momentum", Momentum)
    optimizer = Momentum if in_numpy else fm.optimizers.Adam
    net, twin = (network(optimizer=optimizer(0.01), input_dim=WIDTH) for _ in range(2))
    running, errors, done = [0] * 3, [], threading.Event()

    def keep(number, call):
        while not done.is_set():
            try:
                call()
                running[number] += 1
            except BaseException as error:
                errors.append(error)
                return

    def round_trip():
        path = tmp_path / "net.npz"
        net.save(path)
        np.testing.assert_array_equal(fm.load(path).predict(X).shape, (ROWS, CLASSES))

    def both_ways():
        outputs, backward = net.vjp(X)
        try:
            backward(np.ones_like(outputs))
        except RuntimeError as error:  # a step has come between the two
            assert "call vjp again" in str(error)

    threads = [
        threading.Thread(target=keep, args=(number, call))
        for number, call in enumerate([lambda: net.predict(X), round_trip, both_ways])
    ]
    for thread in threads:
        thread.start()
    try:
        while min(running) < 3 and not errors:
            net.fit(X, Y, batch_size=8, epochs=5)
    finally:
        done.set()
        for thread in threads:
            thread.join(60)
    assert errors == []
    twin.fit(X, Y, batch_size=8, epochs=net.engine.epochs)
    same_future(net, twin)


def test_a_training_waits_for_those_who_read_when_it_begins():
    reading, done = threading.Event(), threading.Event()

    class Holds(Layer):
        def build(self, input_dim):
            return input_dim

        def forward(self, x, *, training, rng):
            if not training:
                reading.set()
                assert done.wait(60)
            return x, lambda d: (d, {})

    net = network(layers=[Holds(), Dense(CLASSES, "softmax")], input_dim=WIDTH)

    def train():
        assert reading.wait(60)
        threading.Timer(0.05, done.set).start()
        return net.fit(X, Y)

    predicted, history = outcomes(lambda: net.predict(X), train)
    assert predicted.shape == (ROWS, CLASSES)
    assert isinstance(history, fm.callbacks.History)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("first", ["fit", "predict"])
def test_two_that_wait_for_each_other_do_not_hang(first, says):
    """A layer waits for another thread, which waits for the layer's step: that thread is refused."""
    found = []

    class Waits(Layer):
        def build(self, input_dim):
            return input_dim

        def forward(self, x, *, training, rng):
            if not found and threading.current_thread() is threading.main_thread():
                second = (lambda: net.predict(X)) if first == "fit" else (lambda: net.fit(X, Y))
                found.append(elsewhere(second))
            return x, lambda d: (d, {})

    net = network(layers=[Waits(), Dense(CLASSES, "softmax")], input_dim=WIDTH)
    net.fit(X, Y) if first == "fit" else net.predict(X)
    assert isinstance(found[0], RuntimeError)
    says(found[0], "another thread")
    for call in (lambda: net.predict(X), lambda: net.fit(X, Y), lambda: net.compile("sgd")):
        assert not isinstance(elsewhere(call), BaseException)  # all is free again


# -- the way back of vjp -------------------------------------------------------------------------------------------


def pulled(inputs=64, units=8, rows=256):
    net = fm.Sequential([Dense(48, "tanh"), Dense(units)], input_dim=inputs, seed=1)
    x = np.random.default_rng(8).normal(size=(rows, inputs)).astype(np.float32)
    dys = [np.random.default_rng(number).normal(size=(rows, units)).astype(np.float32) for number in range(4)]
    return net, x, dys


@pytest.mark.usefixtures("teams")
@pytest.mark.parametrize("counts", [(1, 1, 1, 1), (1, 2, 3, 4), (3, 1, 2, 3)])
def test_one_way_back_in_several_threads(counts, same_bits):
    """Each gets its own gradients, whatever the others do at the same time, and on however many threads."""
    net, x, dys = pulled()
    _, backward = net.vjp(x)
    right = [backward(dy) for dy in dys]

    def caller(number):
        def call():
            fm.set_num_threads(counts[number])
            for _ in range(30):
                gradients, d_input = backward(dys[number])
                assert same_bits(gradients, right[number][0]) and same_bits(d_input, right[number][1])

        return call

    assert outcomes(*map(caller, range(4))) == [None] * 4


def test_ways_back_of_several_calls_live_side_by_side(same_bits):
    """An earlier one survives the next call; the memory of those that are gone serves later ones."""
    net, x, dys = pulled(rows=40)
    calls = [net.vjp(x + number) for number in range(3)]
    right = [(outputs.copy(), backward(dys[0])) for outputs, backward in calls]
    for outputs, backward in reversed([net.vjp(x + number) for number in range(3)]):
        backward(dys[1])
        assert outputs.shape == (40, 8)
    for (outputs, backward), (before, (gradients, d_input)) in zip(calls, right, strict=True):
        again = backward(dys[0])
        assert same_bits(outputs, before) and same_bits(again[0], gradients) and same_bits(again[1], d_input)


def test_the_data_may_change_between_the_two_ways(same_bits):
    net, x, dys = pulled(rows=40)
    given = x.copy()
    _, backward = net.vjp(given)
    right = backward(dys[0])
    given[:] = 7
    assert same_bits(backward(dys[0])[0], right[0])


@pytest.mark.parametrize("change", ["fit", "train_on_batch", "apply_gradients"])
def test_the_way_back_after_a_step_is_refused(change, says):
    """Its outputs are those of other parameters."""
    net, x, dys = pulled(rows=40)
    net.compile("sgd", "mse")
    _, backward = net.vjp(x)
    backward(dys[0])
    if change == "apply_gradients":
        net.apply_gradients(backward(dys[0])[0])
    else:
        getattr(net, change)(x, dys[1])
    with pytest.raises(RuntimeError) as caught:
        backward(dys[0])
    says(caught.value, "backward", "vjp again")
    net.vjp(x)[1](dys[0])


@pytest.mark.parametrize("harmless", ["compile", "predict", "evaluate", "loss_and_gradients"])
def test_the_way_back_after_what_changes_no_parameter(harmless, same_bits):
    net, x, dys = pulled(rows=40)
    net.compile("sgd", "mse")
    _, backward = net.vjp(x)
    right = backward(dys[0])
    {
        "compile": lambda: net.compile("adam", "mse"),
        "predict": lambda: net.predict(x),
        "evaluate": lambda: net.evaluate(x, dys[0]),
        "loss_and_gradients": lambda: net.loss_and_gradients(x, dys[0]),
    }[harmless]()
    assert same_bits(backward(dys[0])[0], right[0])


def test_a_layer_that_calls_its_own_way_back_is_refused(says):
    class Calls(Layer):
        def build(self, input_dim):
            return input_dim

        def forward(self, x, *, training, rng):
            return x, lambda d: (backward(d)[1], {})

    net = fm.Sequential([Calls(), Dense(2)], input_dim=2)
    _, backward = net.vjp(np.zeros((2, 2)))
    with pytest.raises(RuntimeError) as caught:
        backward(np.zeros((2, 2)))
    says(caught.value, "backward", "within")


@pytest.mark.usefixtures("impatient")
def test_a_way_back_that_another_one_waits_for_does_not_hang():
    found = []

    class Waits(Layer):
        def build(self, input_dim):
            return input_dim

        def forward(self, x, *, training, rng):
            return x, self.back

        def back(self, d):
            if not found:
                found.append(elsewhere(lambda: backward(np.zeros((2, 2)))))
            return d, {}

    net = fm.Sequential([Waits(), Dense(2)], input_dim=3)
    _, backward = net.vjp(np.zeros((2, 3)))
    backward(np.zeros((2, 2)))
    assert isinstance(found[0], RuntimeError)


# -- how many threads ----------------------------------------------------------------------------------------------


@pytest.fixture
def openmp_limit():
    """Set what OpenMP allows the calling thread, as ``threadpoolctl`` does it: on the library that the kernels use."""
    if not fm.config()["openmp"]:
        pytest.skip("built without OpenMP")
    library = ctypes.CDLL(_kernels.plan.__file__)  # symbols are looked for in what it is linked with, too
    before = library.omp_get_max_threads()
    yield library.omp_set_num_threads
    library.omp_set_num_threads(before)


COUNTS = """
import ctypes, sys
import fastmlp as fm
from fastmlp import _kernels, threads

limit = ctypes.CDLL(_kernels.plan.__file__).omp_set_num_threads
found = []
for number in map(int, sys.argv[1].split(",")):
    limit(number)
    found.append((fm.get_num_threads(), threads.team()))
fm.set_num_threads(6)
found.append((fm.get_num_threads(), threads.team()))
print(found)
"""


@pytest.mark.skipif(not fm.config()["openmp"], reason="built without OpenMP")
@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"OMP_NUM_THREADS": "4"}, [1, 3, 4, 6]),
        ({"FASTMLP_NUM_THREADS": "5", "OMP_NUM_THREADS": "4"}, [5, 5, 5, 6]),
        ({"FASTMLP_NUM_THREADS": "2"}, [2, 2, 2, 6]),
    ],
)
def test_openmp_bounds_a_number_that_nobody_has_chosen(environment, expected, run_python):
    found = run_python(COUNTS, arguments=["1,3,9"], **environment)
    assert found.strip() == str([(count, count) for count in expected])


def test_a_limit_of_openmp_holds_in_its_thread_of_python_alone(openmp_limit, monkeypatch):
    monkeypatch.delenv("FASTMLP_NUM_THREADS", raising=False)
    free = elsewhere(fm.get_num_threads)
    openmp_limit(1)
    assert elsewhere(fm.get_num_threads) == free
    with fm.num_threads(3):
        assert fm.get_num_threads() == 3
