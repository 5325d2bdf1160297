"""Forked processes: one thread, whoever has used OpenMP before; networks that other threads used at that moment."""

import json
import os
import platform
import shutil
import subprocess
import sys

import pytest

import fastmlp as fm

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")

COMMON = """
import json, multiprocessing, os, sys, threading, time, warnings
warnings.simplefilter("ignore")


def in_child(work):
    \"\"\"What `work` returns in a forked process, and how many threads that has then.\"\"\"
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            found = work()
        except BaseException as error:
            found = f"{type(error).__name__}: {error}"
        tasks = len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 1
        os.write(writing, json.dumps([found, tasks]).encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as file:
        found = json.loads(file.read())
    os.waitpid(pid, 0)
    return found


def made():
    import fastmlp as fm

    layers = [fm.layers.Dense(600, "relu"), fm.layers.BatchNorm(), fm.layers.Dense(5, "softmax")]
    net = fm.Sequential(layers, input_dim=200, seed=0)
    net.compile("adam", "sparse_categorical_crossentropy")
    return net


def data():
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.normal(size=(300, 200)).astype("f4"), rng.integers(0, 5, 300)


def work(net=None):
    import zlib
    import fastmlp as fm

    fm.set_num_threads(4)
    net, (x, y) = net or made(), data()
    net.fit(x, y, epochs=2, batch_size=100, verbose=0)
    net.train_on_batch(x, y)
    _, backward = net.vjp(x)
    backward(net.predict(x))
    net.evaluate(x, y)
    return zlib.crc32(net.predict(x).tobytes())
"""


@pytest.fixture
def forked(run_python):
    """Run a script after what it may use, and return what it prints, from JSON."""

    def run(code, *arguments, **environ):
        return json.loads(run_python(COMMON + code, arguments=arguments, **environ))

    return run


# A region of OpenMP that fastmlp knows nothing of, in the library that it is linked with.
OF_OTHERS = """
import ctypes
import fastmlp as fm
from fastmlp import _kernels

library = ctypes.CDLL(_kernels.plan.__file__)
function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda argument: None)
library.GOMP_parallel(ctypes.cast(function, ctypes.c_void_p), None, 3, 0)
found = in_child(work)
grandchild = in_child(lambda: in_child(work))
print(json.dumps([found, grandchild[0], work(), fm.get_num_threads()]))
"""


@pytest.mark.skipif(not fm.config()["openmp"], reason="built without OpenMP")
def test_others_may_have_run_threads(forked):
    """A library that shares OpenMP with fastmlp has started its threads: a child would wait for them for ever."""
    found, grandchild, right, count = forked(OF_OTHERS)
    assert found == grandchild == [right, 1]
    assert count == 4  # the parent is as free as before


IN_CHILD_ALONE = """
import ctypes, ctypes.util
name = ctypes.util.find_library("gomp")
function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(lambda argument: None)
if name:
    library = ctypes.CDLL(name)
    library.GOMP_parallel(ctypes.cast(function, ctypes.c_void_p), None, 3, 0)

def use():
    found = work()
    import fastmlp as fm

    return [found, fm.get_num_threads()]

print(json.dumps([in_child(use)[0], use(), bool(name)]))
"""


@pytest.mark.skipif(not fm.config()["openmp"], reason="built without OpenMP")
def test_a_child_that_imports_fastmlp_first(forked):
    found, right, shared = forked(IN_CHILD_ALONE)
    assert found == ([right[0], 1] if shared and sys.platform == "linux" else right)
    assert right[1] == 4


METHODS = """
if __name__ == "__main__":
    with open("script.py", "w") as file:
        file.write('''COMMON
def send(connection):
    import fastmlp as fm

    connection.send((work(), fm.get_num_threads()))


if __name__ == "__main__":
    right = work()
    context = multiprocessing.get_context(sys.argv[1])
    here, there = context.Pipe()
    process = context.Process(target=send, args=(there,))
    process.start()
    assert here.poll(100), "the child hangs"
    found, count = here.recv()
    process.join()
    print(json.dumps([found == right, count]))
''')
    import subprocess

    print(subprocess.check_output([sys.executable, "script.py", sys.argv[1]], text=True))
"""


@pytest.mark.parametrize(("method", "count"), [("fork", 1), ("spawn", 4), ("forkserver", 4)])
def test_start_methods(method, count, forked):
    code = METHODS.replace("COMMON", COMMON.replace('\\"', '"').replace("\\", "\\\\"))
    assert forked(code, method) == [True, count]


WARNS = """
import fastmlp as fm

def warned(n):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fm.set_num_threads(n)
        net = made()
        for _ in range(3):
            net.predict(data()[0])
            net.fit(*data(), verbose=0)
        thread = threading.Thread(target=lambda: (fm.set_num_threads(n), net.predict(data()[0])))
        thread.start()
        thread.join()
    return [type(warning.message).__name__ for warning in caught]

print(json.dumps([in_child(lambda: warned(4))[0], in_child(lambda: warned(1))[0], warned(4)]))
"""


def test_one_warning_where_it_makes_a_difference(forked):
    assert forked(WARNS, FASTMLP_NUM_THREADS="4") == [["RuntimeWarning"], [], []]


BESIDE = """
import numpy as np
import fastmlp as fm

x, y = data()
kind = sys.argv[1]
entered, leave = threading.Event(), threading.Event()

class Holds(fm.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        entered.set()
        leave.wait(60)

class Slow(fm.layers.Layer):
    on = False

    def build(self, input_dim):
        return input_dim

    def forward(self, x, *, training, rng):
        if Slow.on and not entered.is_set():
            entered.set()
            leave.wait(60)
        return x, lambda d: (d, {})

def made_slow():
    net = fm.Sequential([fm.layers.Dense(6), Slow(), fm.layers.Dense(5)], input_dim=200, seed=0)
    net.compile("adam", "mse")
    return net

net = made_slow()
rows = np.eye(5, dtype="f4")[y]
calls = {
    "between": lambda: net.fit(x, rows, callbacks=[Holds()], verbose=0),
    "step": lambda: net.fit(x, rows, verbose=0),
    "train_on_batch": lambda: net.train_on_batch(x, rows),
    "predict": lambda: net.predict(x),
    "evaluate": lambda: net.evaluate(x, rows),
}
Slow.on = kind != "between"
thread = threading.Thread(target=calls[kind])
thread.start()
assert entered.wait(60)
Slow.on = False

def use():
    net.predict(x)
    net.evaluate(x, rows)
    net.train_on_batch(x, rows)
    net.fit(x, rows, verbose=0)
    net.compile("sgd", "mse")
    net.vjp(x)[1](rows)
    return "works"

found = in_child(use)[0]
leave.set()
thread.join()
print(json.dumps([found, use()]))
"""


@pytest.mark.parametrize("kind", ["between", "predict", "evaluate", "step", "train_on_batch"])
def test_a_fork_beside_another_thread_leaves_no_lock(kind, forked):
    """Who used the network is gone in the child; a step that was cut off is told, since nobody will end it."""
    found, parent = forked(BESIDE, kind)
    assert parent == "works"
    if kind in ("step", "train_on_batch"):
        assert "RuntimeError" in found and "forked" in found
    else:
        assert found == "works"


FROM_WITHIN = """
import fastmlp as fm

class Forks(fm.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        net, (x, y) = self.model, data()
        def use():
            net.predict(x)
            net.train_on_batch(x, y)
            return work(net)
        self.found = in_child(use)[0]

net, forks = made(), Forks()
net.fit(*data(), callbacks=[forks], verbose=0)
twin = made()
twin.fit(*data(), verbose=0)
twin.train_on_batch(*data())
print(json.dumps([forks.found, work(twin)]))
"""


def test_a_callback_may_fork(forked):
    """The child goes on where it is, with the same network."""
    found, right = forked(FROM_WITHIN)
    assert found == right


BACKWARD = """
import numpy as np
import fastmlp as fm

entered, leave = threading.Event(), threading.Event()

class Slow(fm.layers.Layer):
    def build(self, input_dim):
        return input_dim

    def forward(self, x, *, training, rng):
        return x, self.back

    def back(self, d):
        if not leave.is_set():
            entered.set()
            leave.wait(60)
        return d, {}

net = fm.Sequential([Slow(), fm.layers.Dense(2)], input_dim=3, seed=0)
_, backward = net.vjp(np.ones((4, 3)))
thread = threading.Thread(target=backward, args=(np.ones((4, 2)),))
thread.start()
assert entered.wait(60)

def use():
    leave.set()
    other = net.vjp(np.ones((4, 3)))[1](np.ones((4, 2)))[1].tolist()
    try:
        return [other, backward(np.ones((4, 2)))[1].tolist() == other]
    except RuntimeError as error:
        return [other, "fork" in str(error)]

found = in_child(use)[0]
leave.set()
thread.join()
print(json.dumps([found, backward(np.ones((4, 2)))[1].tolist()]))
"""


def test_a_way_back_that_a_fork_cut_off_does_not_hang(forked):
    (other, fine), right = forked(BACKWARD)
    assert other == right
    assert fine is True


TRAINS = """
import subprocess, sys
import fastmlp as fm

fm.set_num_threads(2)
net = fm.Sequential([fm.layers.Dense(2)], input_dim=3, seed=0)
print(net.predict([[1.0, 2.0, 3.0]]).shape)
if "again" not in sys.argv:
    print(subprocess.check_output([sys.executable, "-W", "error", "script.py", "again"], text=True))
"""


@pytest.mark.skipif(shutil.which("setarch") is None, reason="needs setarch")
def test_a_new_program_is_no_fork_where_addresses_are_not_random(tmp_path):
    """As below a debugger: the library lies at the same address in every process."""
    command = ["setarch", platform.machine(), "-R"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("the system does not let addresses be fixed")
    (tmp_path / "script.py").write_text(TRAINS)
    done = subprocess.run(
        [*command, sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout.split()) == (0, ["(1,", "2)"] * 2), done.stderr
