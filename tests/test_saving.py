"""Writing a file: what is seen of it while it is written, what a failure leaves, and what errors say."""

import errno
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import serialization
from fastmlp.archives import _replace
from fastmlp.layers import Dense

posix = pytest.mark.skipif(os.name == "nt", reason="no such permissions and locks on Windows")


@pytest.fixture
def net():
    return fm.Sequential([Dense(3, "relu"), Dense(2)], input_dim=4, seed=1)


@pytest.fixture
def while_writing(monkeypatch):
    """Call a function with the file when all of it has been written, before it takes its place."""
    write = serialization.write_arrays

    def install(function):
        def write_and_look(file, arrays):
            write(file, arrays)
            file.flush()
            function(file)

        monkeypatch.setattr(serialization, "write_arrays", write_and_look)

    return install


def failing(error):
    def fail(*arguments, **options):
        raise error

    return fail


def parts_in(folder):
    return sorted(name for name in os.listdir(folder) if name.endswith(".part"))


# -- while it is written -----------------------------------------------------------------------------------------------


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o604])
def test_nobody_reads_more_than_the_file_that_is_replaced(mode, net, tmp_path, while_writing):
    path = tmp_path / "network"
    net.save(path)
    path.chmod(mode)
    seen = []
    while_writing(lambda file: seen.append(stat.S_IMODE(os.fstat(file.fileno()).st_mode)))
    net.save(path)
    assert seen[0] & ~mode & 0o077 == 0
    assert stat.S_IMODE(path.stat().st_mode) == mode


@pytest.mark.parametrize("name", ["network", "some.npz"])
def test_the_old_file_is_there_until_the_new_one_is_whole(name, net, tmp_path, while_writing):
    path = tmp_path / name
    path.write_bytes(b"old")
    seen = []
    while_writing(lambda file: seen.append((path.read_bytes(), len(parts_in(tmp_path)))))
    net.save(path)
    assert seen == [(b"old", 1)]
    assert os.listdir(tmp_path) == [name]


@posix
def test_file_and_folder_are_synced_in_this_order(net, tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace

    def spy(descriptor):
        calls.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    monkeypatch.setattr(os, "replace", lambda *names: (calls.append("replace"), replace(*names)))
    net.save(tmp_path / "network")
    assert calls == ["file", "replace", "folder"]


@posix
def test_a_folder_that_cannot_be_synced(net, tmp_path, monkeypatch):
    """The file is there, and whole: that its name may be lost with the power is no error."""
    fsync = os.fsync

    def refuse(descriptor):
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not here")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    net.save(tmp_path / "network")
    assert fm.load(tmp_path / "network").built


# -- what fails --------------------------------------------------------------------------------------------------------

ERRORS = [
    OSError(errno.ENOSPC, "No space left on device"),
    OSError(errno.EIO, "I/O"),
    KeyboardInterrupt(),
    MemoryError(),
]
PLACES = ["write", "flush", "fsync", "chmod", "replace"]


@pytest.mark.parametrize("error", ERRORS, ids=repr)
@pytest.mark.parametrize("place", PLACES)
def test_a_failure_leaves_nothing(place, error, net, tmp_path, monkeypatch, while_writing):
    path = tmp_path / "network"
    path.write_bytes(b"old")
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    if place == "write":
        monkeypatch.setattr(serialization, "write_arrays", failing(error))
    elif place == "flush":
        while_writing(failing(error))
    else:
        monkeypatch.setattr(os, place, failing(error))
    with pytest.raises(type(error)) as caught:
        net.save(path)
    monkeypatch.undo()
    if isinstance(error, OSError):
        assert caught.value.errno == error.errno
        assert caught.value.filename == str(path) and ".part" not in str(caught.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["network"]
    del caught
    assert not open_files or len(os.listdir("/proc/self/fd")) == open_files
    net.save(path)  # the network isn't left locked
    assert fm.load(path).built


def test_what_is_refused_touches_no_file(net, tmp_path):
    net.metadata["f"] = len
    with pytest.raises(TypeError, match="metadata"):
        net.save(tmp_path / "missing" / "network")  # before the folder is looked for
    assert os.listdir(tmp_path) == []


# -- paths -------------------------------------------------------------------------------------------------------------


def test_a_folder_that_is_not_there(net, tmp_path):
    path = tmp_path / "missing" / "network"
    with pytest.raises(FileNotFoundError, match="no folder") as caught:
        net.save(path)
    assert caught.value.filename == str(path)


def test_a_tilde_is_not_expanded(net, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder .*expanduser.*~/models/network"):
        net.save("~/models/network")
    assert os.listdir(tmp_path) == []


def test_a_file_as_a_folder(net, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError) as caught:
        net.save(tmp_path / "file" / "network")
    assert caught.value.filename == str(tmp_path / "file" / "network")


@posix
def test_a_name_that_is_too_long(net, tmp_path):
    with pytest.raises(OSError) as caught:
        net.save(tmp_path / ("n" * 300))
    assert caught.value.errno == errno.ENAMETOOLONG and caught.value.filename == str(tmp_path / ("n" * 300))
    assert os.listdir(tmp_path) == []


def test_no_path_at_all(net):
    with pytest.raises(FileNotFoundError):
        net.save("")


@posix
def test_a_folder_that_may_not_be_written(net, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(0o500)
    try:
        if os.access(folder, os.W_OK):  # root may
            net.save(folder / "network")
        else:
            with pytest.raises(PermissionError) as caught:
                net.save(folder / "network")
            assert caught.value.filename == str(folder / "network")
    finally:
        folder.chmod(0o700)
    assert parts_in(folder) == []


@posix
def test_a_link_to_itself(net, tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OSError, match="loop"):
        net.save(tmp_path / "loop")
    assert (tmp_path / "loop").is_symlink() and os.listdir(tmp_path) == ["loop"]


@posix
def test_a_link_into_another_folder(net, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "there" / "network")
    net.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink() and os.listdir(tmp_path / "there") == ["network"]


@pytest.mark.parametrize("make", [str, Path, lambda path: os.fsencode(path)], ids=["str", "Path", "bytes"])
def test_kinds_of_paths(make, net, tmp_path):
    net.save(make(tmp_path / "network"))
    assert fm.load(make(tmp_path / "network")).built
    with pytest.raises(FileNotFoundError, match="missing"):
        fm.load(make(tmp_path / "missing"))
    with pytest.raises(IsADirectoryError if os.name != "nt" else PermissionError):
        fm.load(make(tmp_path))


# -- what dead processes leave -----------------------------------------------------------------------------------------

DIES = """
    import os, sys
    import fastmlp as fm
    from fastmlp import serialization

    def die(file, arrays):
        file.write(b"half of it")
        file.flush()
        os._exit(0)

    serialization.write_arrays = die
    fm.Sequential([fm.layers.Dense(1)], input_dim=2).save(sys.argv[1])
"""


def dies_in(folder):
    subprocess.run([sys.executable, "-c", textwrap.dedent(DIES), folder / "network"], check=True, timeout=120)
    (left,) = parts_in(folder)
    return folder / left


@posix
def test_what_a_dead_process_left_goes_with_the_next_save(net, tmp_path):
    dies_in(tmp_path)
    net.save(tmp_path / "another")
    assert os.listdir(tmp_path) == ["another"]


@posix
def test_what_somebody_is_writing_stays(net, tmp_path, while_writing):
    """Two networks that are saved into one folder at once, in one process and in two."""
    begun, go = threading.Event(), threading.Event()
    first = threading.current_thread()

    def wait(file):
        if threading.current_thread() is not first:
            begun.set()
            assert go.wait(60)

    while_writing(wait)
    thread = threading.Thread(target=net.save, args=(tmp_path / "slow",))
    thread.start()
    assert begun.wait(60)
    kept = parts_in(tmp_path)
    fm.Sequential([Dense(1)], input_dim=2).save(tmp_path / "fast")
    code = "import sys, fastmlp as fm; fm.Sequential([fm.layers.Dense(1)], input_dim=2).save(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, tmp_path / "other"], check=True, timeout=120)
    assert parts_in(tmp_path) == kept
    go.set()
    thread.join()
    assert sorted(os.listdir(tmp_path)) == ["fast", "other", "slow"]


@posix
@pytest.mark.parametrize("hours, stays", [(0, True), (23, True), (25, False)])
def test_what_another_machine_left_goes_when_it_is_old(hours, stays, net, tmp_path):
    """Its locks may not be seen from here."""
    left = tmp_path / ".fastmlp-00000000-0123456789abcdef.part"
    left.write_bytes(b"half of it")
    os.utime(left, (time.time() - 3600 * hours,) * 2)
    net.save(tmp_path / "network")
    assert left.exists() == stays


@posix
@pytest.mark.parametrize("seconds, stays", [(0, True), (600, False)])
def test_what_is_empty_may_be_locked_in_a_moment(seconds, stays, net, tmp_path):
    left = dies_in(tmp_path)
    left.write_bytes(b"")
    os.utime(left, (time.time() - seconds,) * 2)
    net.save(tmp_path / "network")
    assert left.exists() == stays


@pytest.mark.parametrize("hours, stays", [(1, True), (25, False)])
def test_without_locks_age_alone_decides(hours, stays, net, tmp_path, monkeypatch):
    monkeypatch.setattr(_replace, "fcntl", None)
    left = tmp_path / f".fastmlp-{'0' * 8}-{'1' * 16}.part"
    left.write_bytes(b"half of it")
    os.utime(left, (time.time() - 3600 * hours,) * 2)
    net.save(tmp_path / "network")
    assert left.exists() == stays


def test_files_of_others_stay(net, tmp_path):
    names = [".fastmlp-notes.part", "x.part", ".fastmlp-00000000-0123456789abcdef.part.bak", "model.npz"]
    for name in names:
        (tmp_path / name).write_bytes(b"mine")
        os.utime(tmp_path / name, (0, 0))
    (tmp_path / ".fastmlp-00000000-ffffffffffffffff.part").mkdir()
    net.save(tmp_path / "network")
    assert sorted(os.listdir(tmp_path)) == sorted([*names, ".fastmlp-00000000-ffffffffffffffff.part", "network"])


# -- metadata ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"features": ["age", "height"], "classes": ["a", "b"], "threshold": 0.25, "n": 3, "ok": True, "none": None},
        {"": {"deep": [[[{"x": []}]]]}, "\x1b": "\n", "kind": "tuple", "big": 2**80, "surrogate": "\ud800"},
        {"many": [str(number) for number in range(50_000)]},
    ],
    ids=["nothing", "names", "odd", "many"],
)
@pytest.mark.parametrize("built", [True, False])
def test_metadata_comes_back(metadata, built, tmp_path):
    net = fm.Sequential([Dense(1)], input_dim=2 if built else None)
    assert net.metadata == {}
    net.metadata = metadata
    net.save(tmp_path / "network")
    again = fm.load(tmp_path / "network").metadata
    assert again == metadata and again is not metadata


@pytest.mark.parametrize(
    "metadata, error, words",
    [
        ({"a": (1, 2)}, TypeError, "tuple"),
        ({"a": np.arange(3)}, TypeError, "tolist"),
        ({"a": np.float64(1.0)}, TypeError, "float64"),
        ({"a": {1: 2}}, TypeError, "strings as keys"),
        ({"a": b"bytes"}, TypeError, "bytes"),
        ({"a": [float("nan")]}, ValueError, "finite"),
        ({"a": {"b": float("inf")}}, ValueError, "finite"),
        ({"a": [0] * 200_000}, ValueError, "absurd size"),
        ({"a": "x" * 2**24}, ValueError, "takes"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_metadata_that_would_come_back_otherwise(metadata, error, words, net, tmp_path):
    net.metadata.update(metadata)
    with pytest.raises(error, match=words):
        net.save(tmp_path / "network")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("wrong", [None, [], "text", 3])
def test_metadata_is_a_dict(wrong, net):
    with pytest.raises(TypeError, match="metadata: expected a dict"):
        net.metadata = wrong


@pytest.mark.parametrize("wrong", [None, [], "text", {"a": float("nan")}])
def test_metadata_of_a_file_is_checked(wrong, net, tmp_path, rewrite, refused):
    net.save(tmp_path / "network")
    refused(rewrite(tmp_path / "network", lambda header: header.update(metadata=wrong)), "metadata")


# -- files of before ---------------------------------------------------------------------------------------------------

OLD = Path(__file__).parent / "files" / "format-1.npz"  # trained and saved by 0.1.0


def test_a_file_of_the_first_format(tmp_path):
    net = fm.load(OLD)
    with np.load(OLD) as archive:
        arrays = {name: archive[name] for name in archive if name != "fastmlp.json"}
    assert "checksums" not in arrays and len(arrays) == 20
    kept = {f"parameters/{key}": view for key, view in net.parameters.items()}
    kept |= {f"buffers/{key}": view for key, view in net.buffers.items()}
    for key, state in net.optimizer_state.items():
        kept |= {f"state/{key}/{name}": view for name, view in state.items()}
    assert kept.keys() == arrays.keys()
    assert [name for name in kept if kept[name].tobytes() != arrays[name].tobytes()] == []
    assert (net.seed, net.metadata, net.engine.counters()) == (7, {}, {"steps": 6, "iterations": 6, "epochs": 2})
    assert (net.layers[0].name, net.layers[0].activation) == ("first", fm.activations.LeakyReLU(0.25))
    assert net.optimizer == fm.optimizers.Adam(0.01)
    net.save(tmp_path / "new")
    assert serialization.to_bytes(fm.load(tmp_path / "new").engine) == serialization.to_bytes(net.engine)
