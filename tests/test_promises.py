"""The page of promises names tests that are there; and what is promised on it and tested nowhere else."""

import ast
import contextlib
import ctypes
import functools
import os
import platform
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from interrupter import interrupted, places

import fastmlp as fm
from fastmlp import _kernels, serialization
from fastmlp.layers import BatchNorm, Dense, Dropout, LayerNorm

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "promises.md"
NAMED = re.compile(r"`(test_\w+\.py)::(test_\w+)`")

# -- the page --------------------------------------------------------------------------------------------------------


@functools.cache
def names_of_tests(file):
    """Return the names of the tests in a file; of one that is not there, none."""
    path = TESTS / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def faults(page):
    """Return what is wrong with a page: promises without a test, tests that are not there, names of another form."""
    found = []
    for section in re.split(r"^## ", page, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        for promise in re.split(r"^- ", text, flags=re.MULTILINE)[1:]:
            named = NAMED.findall(promise)
            beginning = f"{title}: {' '.join(promise.split())[:60]}"
            if not named and title != "What is not promised":
                found.append(f"{beginning}: no test")
            if promise.count("::") != len(named):
                found.append(f"{beginning}: a name of another form")
            found += [f"{beginning}: no {file}::{name}" for file, name in named if name not in names_of_tests(file)]
    return found


def test_every_promise_names_tests_that_are_there():
    page = PAGE.read_text(encoding="utf-8")
    assert faults(page) == []
    assert len(re.findall(r"^- ", page, flags=re.MULTILINE)) > 40
    assert page.count("\n## ") == 11


@pytest.mark.parametrize(
    "promise, fault",
    [
        ("It works.", "no test"),
        ("It works (`test_promises.py::test_that_nobody_wrote`).", "no test_promises.py::test_that_nobody_wrote"),
        ("It works (`test_nowhere.py::test_it`).", "no test_nowhere.py::test_it"),
        ("It works (test_promises.py::test_faults_are_found).", "no test"),
        ("It works (`test_promises.py::test_faults_are_found[1]`).", "a name of another form"),
        ("It works (`test_promises.py::test_faults_are_found`).", None),
    ],
    ids=["none", "no such test", "no such file", "bare", "parameters", "right"],
)
def test_faults_are_found(promise, fault):
    found = faults(f"# Page\n\n## Numbers\n\n- {promise}\n\n## What is not promised\n\n- Much.\n")
    assert (found == []) if fault is None else any(line.endswith(fault) for line in found)


# -- what no other file tests ------------------------------------------------------------------------------------------


def network(seed, dtype="float32"):
    """Return a network that is a step old."""
    layers = [Dense(16, "tanh"), BatchNorm(), Dropout(0.2), Dense(12, "gelu"), LayerNorm(), Dense(2)]
    net = fm.Sequential(layers, input_dim=3, seed=seed, dtype=dtype)
    net.compile("adam", "mse")
    net.train_on_batch(np.ones((4, 3), dtype), np.ones((4, 2), dtype))
    return net


def test_readers_wait_for_5_seconds():
    before = _kernels.concurrency.set_patience(1.0)
    _kernels.concurrency.set_patience(before)
    assert before == 5.0


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # files that Python closes as soon as an exception goes by
@pytest.mark.parametrize(("call", "stride"), [("save", 37), ("load", 101)])
def test_ctrl_c_in_save_and_load_leaves_nothing(call, stride, tmp_path):
    """At every so many places: the old file or the new one, no other one, and no descriptor."""
    net, path = network(2), tmp_path / "network"
    old, new = (serialization.to_bytes(one.engine) for one in (network(1), net))
    calls = {"save": lambda: net.save(path), "load": lambda: fm.load(path)}
    path.write_bytes(old)
    calls[call]()  # what is imported in a first call is none of this

    def descriptors():
        return len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0

    before = descriptors()
    path.write_bytes(old)
    for at in places(stride):
        if not interrupted(at, calls[call]):
            break
        assert os.listdir(tmp_path) == ["network"], at
        assert path.read_bytes() in (old, new), at
        assert descriptors() == before, at
        path.write_bytes(old)
    assert at > 10 * stride, "nothing was traced"
    assert path.read_bytes() == (new if call == "save" else old)  # the last one came to its end
    assert fm.load(path).built


FLUSH = 0x8040  # results and operands that are subnormal count as 0
MODES = {"up": 0x4000, "down": 0x2000, "towards 0": 0x6000, "flush": FLUSH, "up and flush": 0x4000 | FLUSH}


@contextlib.contextmanager
def mode_of_sse(bits):
    """Set bits of MXCSR, which the environment of C has as its last word, in the calling thread."""
    library, environment = ctypes.CDLL(None), (ctypes.c_uint32 * 8)()
    library.fegetenv(environment)
    before = environment[7]
    environment[7] = before | bits
    library.fesetenv(environment)
    try:
        yield
        library.fegetenv(environment)
        assert environment[7] & (0x6000 | FLUSH) == bits, "the mode is another one now"
    finally:
        environment[7] = before
        library.fesetenv(environment)


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="sets the mode as Linux does on x86-64"
)
@pytest.mark.usefixtures("teams")
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("bits", MODES.values(), ids=MODES)
def test_no_mode_of_the_caller_reaches_compiled_operations(bits, threads, dtype, snapshot, same_bits):
    """A network without biases gives subnormal outputs of such inputs; and NumPy shows that the mode is another one."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)).astype(dtype), rng.normal(size=(60, 2)).astype(dtype)
    tiny = rng.uniform(10, 20, (60, 3)).astype(dtype) * np.finfo(dtype).smallest_normal / dtype.type(1000)
    layers = [Dense(8, "relu", use_bias=False), Dense(2, use_bias=False)]
    linear = fm.Sequential(layers, input_dim=3, seed=0, dtype=dtype.name)
    small = np.full(9, np.finfo(dtype).smallest_subnormal)

    def in_numpy():
        return np.concatenate([small + small, np.arange(1, 50, dtype=dtype) / dtype.type(7)])

    def answers(net):
        outputs, backward = net.vjp(x)
        found = {"tiny": linear.predict(tiny), "tiny d": linear.vjp(x)[1](tiny[:, :2])[1]}
        found |= {"vjp": outputs, "d": backward(y)[1], "predict": net.predict(x), **net.loss_and_gradients(x, y)[1]}
        net.train_on_batch(x, y)
        net.fit(x, y, epochs=2, batch_size=20)
        return {**found, **{f"after {key}": array for key, array in snapshot(net).items()}}

    with fm.num_threads(threads):
        nets = network(1, dtype.name), network(1, dtype.name)
        for net in nets:
            answers(net)
        expected = answers(nets[0])
        with mode_of_sse(bits):
            found = answers(nets[1])
            of_numpy = in_numpy()
    for name in ("tiny", "tiny d"):
        assert 0 < abs(expected[name]).max() < np.finfo(dtype).smallest_normal
    assert [name for name, array in expected.items() if not same_bits(found[name], array)] == []
    assert not same_bits(of_numpy, in_numpy()), "the mode is that of always"
