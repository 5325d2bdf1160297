"""Fixtures: every level of the kernels that can be used here, both dtypes; what networks hold, and what they refuse."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import ExitStack

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import _kernels
from fastmlp._compiler import emit
from fastmlp.archives._archive import write_arrays

HEADER = "fastmlp.json"  # the member of a file that describes the network


def pytest_configure():
    """A shell starts what runs in the background with SIGINT ignored: tests of Ctrl-C would then wait for ever."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=_kernels.levels())
def level(request):
    return request.param


@pytest.fixture
def bindings(level):
    """The kernels of a level, one by one."""
    return _kernels.load(level, "bindings")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def teams():
    """Teams also where there is next to nothing to do, at the level that networks run at."""
    module = _kernels.load(_kernels.level, "plan_schedule")
    before = module.set_grain(1.0)
    yield
    module.set_grain(before)


# What several files share: fixtures that are functions, since --import-mode=importlib lets no test import another.


@pytest.fixture(scope="session")
def snapshot():
    """Return what training changes in a network, copied, by name."""

    def take(net):
        arrays = {**net.parameters, **net.buffers}
        arrays |= {f"{key}/{name}": s for key, state in net.optimizer_state.items() for name, s in state.items()}
        return {name: array.copy() for name, array in arrays.items()}

    return take


@pytest.fixture(scope="session")
def same_bits():
    """Return whether two arrays, or two mappings of arrays, are equal to the last bit, -0.0 and NaN included."""

    def compare(a, b):
        if isinstance(a, dict):
            return a.keys() == b.keys() and all(compare(a[key], b[key]) for key in a)
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()

    return compare


@pytest.fixture
def register():
    """Register a class for the length of a test."""
    with ExitStack() as stack:

        def register(kind, name, cls, *, override=False):
            registry = getattr(fm.registry, kind)
            stack.enter_context(registry.temporary())
            return registry.register(name, cls, override=override)

        yield register


@pytest.fixture
def fuse(monkeypatch):
    """Choose whether the operations of a plan run in fused groups, however large the network is."""

    def choose(fused):
        monkeypatch.setattr(emit, "FUSED_BYTES", 1 << 40 if fused else 0)

    return choose


@pytest.fixture(scope="session")
def header_of():
    """Return what a saved network says of itself."""

    def read(path):
        with np.load(path) as archive:
            return json.loads(archive[HEADER].tobytes())

    return read


@pytest.fixture(scope="session")
def rewrite():
    """Write a saved network anew with another header: a changed one, or text; the checksums are right."""

    def write(path, change):
        with np.load(path) as archive:
            arrays = {name: archive[name] for name in archive}
        del arrays["checksums"]
        header = json.loads(arrays.pop(HEADER).tobytes())
        changed = change(header)
        text = changed if isinstance(changed, bytes) else json.dumps(header if changed is None else changed).encode()
        with path.open("wb") as file:
            write_arrays(file, {HEADER: np.frombuffer(text, np.uint8), **arrays})
        return path

    return write


@pytest.fixture(scope="session")
def refused():
    """Check that loading a file fails, and that the message names the file and says some words."""

    def check(path, *words, kind=ValueError):
        with pytest.raises(kind) as caught:
            fm.load(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: ")
        assert [word for word in words if word not in message] == []
        return message

    return check


@pytest.fixture
def run_python(tmp_path):
    """Run a script in a new interpreter, outside the checkout, warnings being errors; gives what it prints."""

    def run(code, *options, arguments=(), **environ):
        done = subprocess.run(
            [sys.executable, "-W", "error", *options, "-c", textwrap.dedent(code), *arguments],
            cwd=tmp_path,
            env={**os.environ, **environ},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == 0, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def says():
    """Check that a message has all of some words, which are regular expressions."""

    def check(error, *words):
        missing = [word for word in words if not re.search(word, str(error))]
        assert not missing, f"{missing} not in: {error}"

    return check


@pytest.fixture(scope="session")
def contents():
    """Return every array of a network, as bytes."""

    def take(net):
        arrays = {f"parameter {key}": array for key, array in net.parameters.items()}
        arrays |= {f"buffer {key}": array for key, array in net.buffers.items()}
        for key, state in net.optimizer_state.items():
            arrays |= {f"state {key} {name}": np.asarray(array) for name, array in state.items()}
        return {name: array.tobytes() for name, array in arrays.items()}

    return take


@pytest.fixture(scope="session")
def same(contents):
    """Check that two networks have the same arrays; fail with the names of what differs."""

    def check(net, twin):
        mine, other = contents(net), contents(twin)
        assert mine.keys() == other.keys()
        assert [name for name in mine if mine[name] != other[name]] == []

    return check


@pytest.fixture(scope="session")
def same_future(same):
    """Check for the same arrays, and the same bits after what is done next: counters are alike too."""

    def check(net, twin, *, epochs=True):
        same(net, twin)
        rng = np.random.default_rng(5)
        units = list(net.parameters.values())[-1].shape[-1]
        x, labels = rng.normal(size=(40, net.input_dim)).astype("f4"), rng.integers(0, units, 40)
        y = labels if net.loss.labels else rng.normal(size=(40, units)).astype("f4")
        for one in (net, twin):
            one.train_on_batch(x, y)
        same(net, twin)
        if epochs:
            for one in (net, twin):
                one.fit(x, y, batch_size=8)
            same(net, twin)

    return check


@pytest.fixture(scope="session")
def refuses(says, same_future):
    """Check that `call(make())` raises, with all the words, and changes nothing; return what it raised."""

    def check(make, call, error, *words):
        net, twin = make(), make()
        with pytest.raises(error) as caught:
            call(net)
        says(caught.value, *words)
        same_future(net, twin)
        return caught.value

    return check


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Install a distribution for this test, and in processes with ``PYTHONPATH=plugin.path``: metadata and modules."""
    kinds = [getattr(fm.registry, plural) for plural in fm.registry.KINDS]
    site, before = tmp_path / "site", set(sys.modules)
    site.mkdir()
    monkeypatch.syspath_prepend(site)

    def install(name, entry_points, version="1.0", **modules):
        info = site / f"{name.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(textwrap.dedent(entry_points))
        for module, text in modules.items():
            (site / f"{module}.py").write_text(textwrap.dedent(text))
        for of_kind in kinds:
            of_kind.refresh()

    install.site = site
    install.path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH")]))
    with ExitStack() as stack:
        for of_kind in kinds:  # what plugins leave behind in this process
            stack.enter_context(of_kind.temporary())
        yield install
        monkeypatch.undo()
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.fixture
def same_in_any_schedule(teams, fuse, contents):
    """Train networks that `make` gives, fused or not, on some numbers of threads; all must end in the same bits."""

    def check(make, x, y):
        results = []
        for fused, threads in ((True, 1), (True, 2), (True, 3), (False, 1), (False, 3)):
            fuse(fused)
            with fm.num_threads(threads):
                net = make()
                net.fit(x, y, epochs=2, batch_size=129, verbose=0)
                results.append({**contents(net), "predicted": net.predict(x).tobytes()})
        assert all(result == results[0] for result in results)

    return check
