"""Memory: a step allocates nothing that grows with the batch, an epoch nothing that grows with the data's width; all
that training holds is little more than the parameters, what goes with each of them, and the activations of a batch."""

import gc
import json
import os
import tempfile
import tracemalloc

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import checks
from fastmlp._training.budget import available_memory, copy_budget
from fastmlp.layers import Activation, BatchNorm, Dense, Dropout

FEATURES = 50
FEW = 2048  # bytes: objects of Python, whose number doesn't depend on the data


def network(loss="sparse_categorical_crossentropy", dtype="float32"):
    last = {"binary_crossentropy": "sigmoid", "mse": "tanh"}.get(loss, "softmax")
    layers = [Dense(40), BatchNorm(), Activation("relu"), Dropout(0.2), Dense(30, "tanh"), Dense(10, last)]
    net = fm.Sequential(layers, input_dim=FEATURES, dtype=dtype, seed=0)
    net.compile("adam", loss, ["accuracy"])
    return net


def data(n, loss="sparse_categorical_crossentropy", dtype="float32"):
    """What is read in place: C-contiguous, in the network's dtype; labels in int64."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, FEATURES)).astype(dtype)
    if loss.startswith("sparse"):
        return x, rng.integers(0, 10, n)
    return x, rng.uniform(size=(n, 10)).astype(dtype)


def peak_of(call):
    """Bytes above what is there at the start; those that NumPy takes are counted too."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        call()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return peak - before


@pytest.fixture(autouse=True)
def one_thread():
    """The number of threads decides nothing here but the time."""
    with fm.num_threads(1):
        yield


def test_the_measure_sees_numpy():
    """An array of a megabyte, or the tests below would show nothing."""
    assert 1e6 < peak_of(lambda: np.ones(10**6, np.int8)) < 1.1e6


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "loss", ["sparse_categorical_crossentropy", "categorical_crossentropy", "binary_crossentropy", "mse"]
)
def test_a_step_allocates_nothing_that_grows_with_the_batch(loss, weighted, dtype):
    """After the first step: 256 or 4096 rows, whichever comes when."""
    net = network(loss, dtype)
    x, y = data(4096, loss, dtype)
    weight = np.random.default_rng(1).uniform(0.1, 1, 4096).astype(dtype) if weighted else None
    net.train_on_batch(x, y, weight)

    def step(n):
        return peak_of(lambda: net.train_on_batch(x[:n], y[:n], None if weight is None else weight[:n]))

    step(256)
    peaks = {n: step(n) for n in (256, 4096, 1, 4096)}
    assert abs(peaks[4096] - peaks[256]) < FEW, peaks
    assert peaks[4096] < 16 * 1024, peaks


def test_a_step_keeps_nothing():
    """A hundred steps leave no more behind than one."""
    net = network()
    x, y = data(512)
    for _ in range(3):
        net.train_on_batch(x, y)
    gc.collect()
    tracemalloc.start()
    net.train_on_batch(x, y)
    before, _ = tracemalloc.get_traced_memory()
    for _ in range(100):
        net.train_on_batch(x, y)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after - before < FEW


def test_steps_go_on_in_the_same_memory():
    """Two steps run in the same memory: nothing is laid out anew for a batch that isn't larger."""
    net = network()
    x, y = data(600)
    net.train_on_batch(x, y)
    first = {key: view.ctypes.data for key, view in net.parameters.items()}
    executable = net.engine.executables.training(5)
    for n in (600, 5, 600):
        net.train_on_batch(x[:n], y[:n])
        assert net.engine.executables.training(5) is executable
    assert first == {key: view.ctypes.data for key, view in net.parameters.items()}


def test_predict_allocates_its_result_alone():
    """Once there is an executable, and nothing of it where `out` is given."""
    net = network()
    x, _ = data(20_000)
    out = np.empty((20_000, 10), np.float32)
    net.predict(x, out=out)
    assert peak_of(lambda: net.predict(x, out=out)) < 16 * 1024
    assert out.nbytes <= peak_of(lambda: net.predict(x)) < out.nbytes + 16 * 1024


def test_batch_size_bounds_the_memory_of_predict():
    """The memory is that of batch_size rows, not of all."""
    x, _ = data(50_000)
    small, large = (peak_of(lambda n=n: network().predict(x[:n], batch_size=64)) for n in (64, 50_000))
    assert large - small < 50_000 * 10 * 4 + FEW + 64 * 1024


ROWS = 60_000


def on_disk(dtype):
    """A memory map, whose pages are no memory that is taken."""
    with tempfile.TemporaryFile() as file:  # gone with the map
        array = np.memmap(file, dtype, "w+", shape=(ROWS, FEATURES))
    array[...] = 1
    return array


class Watch(fm.callbacks.Callback):
    """Sends each step through Python."""

    def on_train_batch_end(self, batch, logs=None):
        pass


LARGE = {  # x in dtypes and layouts that are read in place, and in others
    "float32": lambda: np.ones((ROWS, FEATURES), np.float32),
    "float32, every other column": lambda: np.ones((ROWS, 2 * FEATURES), np.float32)[:, ::2],
    "float32, Fortran": lambda: np.ones((FEATURES, ROWS), np.float32).T,
    "float32, longer rows": lambda: np.ones((ROWS, FEATURES + 3), np.float32)[:, 1:-2],
    "float32, memory map": lambda: on_disk("float32"),
    "float64": lambda: np.ones((ROWS, FEATURES)),
    "float64, every other column": lambda: np.ones((ROWS, 2 * FEATURES))[:, ::2],
    "float64, Fortran": lambda: np.ones((FEATURES, ROWS)).T,
    "float64, memory map": lambda: on_disk("float64"),
    "int64": lambda: np.ones((ROWS, FEATURES), np.int64),
    "int8": lambda: np.ones((ROWS, FEATURES), np.int8),
    "bool": lambda: np.ones((ROWS, FEATURES), bool),
    "big-endian": lambda: np.ones((ROWS, FEATURES), ">f4"),
}


IN_PLACE = ("float32", "float32, longer rows", "float32, memory map")


@pytest.fixture
def no_copies(monkeypatch):
    """As on a machine that has no memory left for a copy of the data."""
    monkeypatch.setattr("fastmlp._training.source.copy_budget", lambda: 0)


@pytest.mark.parametrize("layout", LARGE)
@pytest.mark.parametrize("call", ["fit", "shuffled", "watched", "split", "validated", "evaluate", "predict"])
def test_x_is_not_copied_whole_where_that_would_take_much(layout, call, no_copies):
    """Inputs are read where they are, or cast in blocks: an epoch's peak is the order of the rows and a few of their
    labels' size, not the 12 MB of the inputs in the network's dtype."""
    x, y = LARGE[layout](), np.zeros(ROWS, np.int64)
    calls = {
        "fit": lambda net: net.fit(x, y, batch_size=1000, shuffle=False, verbose=0),
        "shuffled": lambda net: net.fit(x, y, batch_size=1000, verbose=0),
        "watched": lambda net: net.fit(x, y, batch_size=1000, callbacks=[Watch()], verbose=0),
        "split": lambda net: net.fit(x, y, batch_size=1000, validation_split=0.5, verbose=0),
        "validated": lambda net: net.fit(x[:1000], y[:1000], validation_data=(x, y), batch_size=1000, verbose=0),
        "evaluate": lambda net: net.evaluate(x, y, batch_size=1000),
        "predict": lambda net: net.predict(x),
    }
    net = fm.Sequential([Dense(2, "softmax")], input_dim=FEATURES, seed=0)
    net.compile("sgd", "sparse_categorical_crossentropy")
    calls[call](net)  # with an executable
    peak = peak_of(lambda: calls[call](net))
    assert peak < 4 * y.nbytes < x.size * 4 / 6


@pytest.mark.parametrize("layout", LARGE)
@pytest.mark.parametrize("call", ["fit", "shuffled", "split", "evaluate"])
def test_targets_are_not_copied_whole_where_that_would_take_much(layout, call, no_copies):
    """As inputs: an autoencoder whose targets are of another dtype than the network."""
    x, y = np.ones((ROWS, FEATURES), np.float32), LARGE[layout]()
    calls = {
        "fit": lambda net: net.fit(x, y, batch_size=1000, shuffle=False, verbose=0),
        "shuffled": lambda net: net.fit(x, y, batch_size=1000, verbose=0),
        "split": lambda net: net.fit(x, y, batch_size=1000, validation_split=0.5, verbose=0),
        "evaluate": lambda net: net.evaluate(x, y, batch_size=1000),
    }
    net = fm.Sequential([Dense(2), Dense(FEATURES)], input_dim=FEATURES, seed=0)
    net.compile("sgd", "mean_squared_error")
    calls[call](net)
    assert peak_of(lambda: calls[call](net)) < 32 * ROWS < y.size * 4 / 6


@pytest.mark.parametrize("layout", LARGE)
def test_x_is_copied_once_for_all_epochs_or_not_at_all(layout, monkeypatch):
    """Of another dtype or layout, where there is memory: one copy in the network's dtype, however many epochs."""
    x, y = LARGE[layout](), np.zeros(ROWS, np.int64)
    net = fm.Sequential([Dense(2, "softmax")], input_dim=FEATURES, seed=0)
    net.compile("sgd", "sparse_categorical_crossentropy")
    casts = []
    cast = checks.cast
    monkeypatch.setattr("fastmlp._training.data.cast", lambda x, *others: casts.append(x.ndim) or cast(x, *others))
    net.fit(x, y, batch_size=1000, verbose=0)
    peak = peak_of(lambda: net.fit(x, y, batch_size=1000, epochs=3, verbose=0))
    assert casts.count(2) == (0 if layout in IN_PLACE else 2)  # those of labels have one dimension
    assert peak < 4 * y.nbytes + (0 if layout in IN_PLACE else x.size * 4)


@pytest.mark.parametrize("available, budget", [(None, 1 << 30), (1 << 40, 1 << 30), (1 << 31, 1 << 29), (0, 0)])
def test_the_memory_that_a_copy_may_take(available, budget, monkeypatch):
    """A quarter of what is available, 1 GiB at most."""
    monkeypatch.setattr("fastmlp._training.budget.available_memory", lambda: available)
    assert copy_budget() == budget


def test_available_memory():
    found = available_memory()
    assert found is None or 0 <= found < 1 << 50


HELD = """
import json, re, sys
import numpy as np
import fastmlp as fm

optimizer, dtype = json.loads(sys.argv[1]), sys.argv[2]
fm.set_num_threads(2)

def resident(key):
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(key + r":\\s+(\\d+) kB", file.read())[1])

def trained(units, x):
    *hidden, last = units
    layers = [*(fm.layers.Dense(n, "relu") for n in hidden), fm.layers.Dense(last, "softmax")]
    net = fm.Sequential(layers, input_dim=x.shape[1], dtype=dtype, seed=0)
    net.compile(optimizer, "sparse_categorical_crossentropy", ["accuracy"])
    net.fit(x, y, batch_size=128, epochs=2, verbose=0)
    return net

rng = np.random.default_rng(0)
x, y = rng.random((128 * 20, 400), dtype), rng.integers(0, 10, 128 * 20)
trained((7, 10), x[:, :4])  # what the first use of everything takes, the threads too, is no network's
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the peak is from here on
before = resident("VmRSS")
net = trained((600, 600, 10), x)
peak = resident("VmHWM") - before
parameters = sum(array.nbytes for array in net.parameters.values())
state = sum(array.nbytes for arrays in net.optimizer_state.values() for array in arrays.values())
print(json.dumps([peak, parameters, state, 128 * (600 + 600 + 10) * x.itemsize]))
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the peak of a part of a program is Linux's")
@pytest.mark.parametrize(
    "optimizer, slots",
    [("sgd", 0), ({"name": "sgd", "momentum": 0.9}, 1), ("adam", 2)],
    ids=["sgd", "momentum", "adam"],
)
def test_what_training_holds(optimizer, slots, dtype, run_python):
    """From the first layer to the last step, at its peak: a fifth more than parameters, gradients, the optimizer's
    state, one copy of the parameters, and the activations of a batch.

    Of the resident memory, as kernels' scratch is none of Python's. The allocator gives back at once what is freed.
    """
    printed = run_python(HELD, arguments=[json.dumps(optimizer), dtype.name], MALLOC_MMAP_THRESHOLD_="65536")
    peak, parameters, state, activations = json.loads(printed)
    assert state == slots * parameters
    assert 2 * parameters + state < peak < 1.2 * (3 * parameters + state + activations)
