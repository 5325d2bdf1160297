"""Archives that lie: every byte belongs to one member, sizes are proven, each array is what its checksum says."""

import io
import struct
import zipfile
import zlib

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import serialization
from fastmlp.archives._archive import write_arrays
from fastmlp.archives._zip import read_directory, read_member, write_members
from fastmlp.layers import BatchNorm, Dense

HEADER = "fastmlp.json"
CENTRAL, LOCAL, END = b"PK\x01\x02", b"PK\x03\x04", b"PK\x05\x06"


@pytest.fixture(scope="module")
def content():
    net = fm.Sequential([Dense(3, name="first"), BatchNorm(), Dense(2, "softmax")], input_dim=4, seed=1)
    net.compile("adam", "sparse_categorical_crossentropy")
    net.train_on_batch(np.ones((3, 4)), [0, 1, 1])
    return serialization.to_bytes(net.engine)


@pytest.fixture
def damaged(tmp_path, refused):
    """Check that bytes are refused as a file, for a reason."""

    def check(data, *words):
        (tmp_path / "network").write_bytes(data)
        return refused(tmp_path / "network", *words)

    return check


def arrays_of(content):
    with np.load(io.BytesIO(content)) as archive:
        return {name: archive[name] for name in archive}


def entry_of(content, name):
    """Where the directory has a member."""
    return content.rindex(name.encode()) - 46


def with_field(content, name, field, form, value):
    changed = bytearray(content)
    struct.pack_into(form, changed, entry_of(content, name) + field, value)
    return bytes(changed)


# -- bytes that belong to nothing --------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [b"\0", b"PK", bytes(100), b"MZ" + bytes(1000)], ids=len)
def test_bytes_around_an_archive(more, content, damaged):
    damaged(content + more)
    damaged(more + content)


def test_a_program_in_front_whose_places_are_right(content, damaged):
    """As an archive that unpacks itself: zip tools take it."""
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        file = io.BytesIO(b"MZ" + bytes(1000))
        file.seek(0, io.SEEK_END)
        with zipfile.ZipFile(file, "a") as target:
            for name in source.namelist():
                target.writestr(name, source.read(name))
    assert zipfile.is_zipfile(file)
    damaged(file.getvalue(), "belong to n")


def test_a_comment(content, damaged):
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"hello"
    damaged(file.getvalue())


def test_two_archives_in_one(content, damaged):
    damaged(content + content)


def test_a_gap_between_members(content, damaged):
    at = content.index(LOCAL, 10)
    end = struct.unpack_from("<L", content, content.rindex(END) + 16)[0]
    moved = bytearray(content[:at] + bytes(16) + content[at:])
    place = moved.index(CENTRAL)
    while place >= 0:
        offset = struct.unpack_from("<L", moved, place + 42)[0]
        struct.pack_into("<L", moved, place + 42, offset + 16 * (offset >= at))
        place = moved.find(CENTRAL, place + 1)
    struct.pack_into("<L", moved, moved.rindex(END) + 16, end + 16)
    assert zipfile.ZipFile(io.BytesIO(bytes(moved))).testzip() is None
    damaged(bytes(moved), "belong to none of its members")


def test_members_that_share_bytes(content, damaged):
    """One entry of the directory stands for another's bytes."""
    first = struct.unpack_from("<L", content, entry_of(content, "parameters/first.kernel.npy") + 42)[0]
    damaged(with_field(content, "state/first.kernel/m.npy", 42, "<L", first))


# -- sizes -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 191, 193, 10**6, 2**31, 2**32 - 2, 2**32 - 1])
@pytest.mark.parametrize("field", [20, 24], ids=["packed", "unpacked"])
def test_sizes_of_what_is_stored(field, size, content, damaged):
    damaged(with_field(content, "parameters/first.kernel.npy", field, "<L", size))


@pytest.mark.parametrize("size", [1, 2**20, 2**31, 2**32 - 2])
def test_sizes_of_what_is_deflated(size, content, damaged):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays_of(content))
    damaged(with_field(file.getvalue(), "parameters/first.kernel.npy", 24, "<L", size))


def test_zeros_that_unpack_to_much(content, damaged):
    """A hundred thousand bytes for a hundred million: more than the place of the array has."""
    arrays = arrays_of(content)
    arrays["parameters/first.kernel"] = np.zeros((5000, 5000), "f4")
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    damaged(file.getvalue(), "parameters/first.kernel should be (4, 3), 48 bytes")


def test_what_goes_on_behind_its_size(content, damaged):
    """Deflated bytes that give more than the directory says."""
    arrays = arrays_of(content)
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    size = len(zipfile.ZipFile(file).read("parameters/first.kernel.npy"))
    damaged(with_field(file.getvalue(), "parameters/first.kernel.npy", 24, "<L", size - 4), "unpacks to more than")


@pytest.mark.parametrize("flag", [0x1, 0x8, 0x20, 0x40, 0x2000], ids=hex)
def test_flags_of_what_no_network_has(flag, content, damaged):
    """Encrypted members, sizes that come behind the data, patches."""
    damaged(with_field(content, "parameters/first.kernel.npy", 8, "<H", flag), "in a way that fastmlp doesn't use")


def test_more_members_than_are_there(content, damaged):
    changed = bytearray(content)
    for field in (8, 10):
        struct.pack_into("<H", changed, content.rindex(END) + field, 99)
    damaged(bytes(changed), "99 are expected")


# -- names -------------------------------------------------------------------------------------------------------------


def renamed(content, new):
    """A member under another name of the same length, in the directory and where it lies."""
    return content.replace(b"parameters/first.bias.npy", new)


@pytest.mark.parametrize("name", [b"parameters/first.bi\xffs.npy", b"parameters/first.b\xc3(s.npy"])
def test_names_in_another_encoding(name, content, damaged):
    damaged(renamed(content, name), "not in UTF-8")


def test_names_in_another_encoding_that_say_so(content, damaged):
    """Without the flag of UTF-8, zip means code page 437."""
    changed = bytearray(renamed(content, "parameters/first.bi\u00e4.npy".encode()))
    at = bytes(changed).rindex("bi\u00e4.npy".encode()) - len("parameters/first.") - 46
    struct.pack_into("<H", changed, at + 8, 0)
    damaged(bytes(changed), "not in UTF-8")


@pytest.mark.parametrize("name", ["parameters/first.bias.txt", "parameters/first.bias\0npy"])
def test_members_that_are_no_arrays(name, content, damaged):
    damaged(renamed(content, name.encode()), "is no array")


def test_the_directory_and_the_members_name_other_things(content, damaged):
    at = content.rindex(b"parameters/first.bias.npy")
    damaged(content[:at] + b"parameters/first.boas.npy" + content[at + 25 :], "there should be")


def test_a_member_twice(content, damaged):
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("parameters/first.bias.npy", archive.read("parameters/first.bias.npy"))
    damaged(file.getvalue(), "two arrays of one name")


@pytest.mark.parametrize("name", ["\x1b[31mred\x1b[0m", "two\nlines", "back\rward", "\u202egnp.exe", "a" * 5000])
def test_names_are_shown_on_one_line(name, content, damaged):
    """What a file is called inside can neither paint a terminal nor fill it."""
    arrays = arrays_of(content)
    del arrays["checksums"]
    file = io.BytesIO()
    write_arrays(file, {**arrays, name: np.zeros(3)})
    message = damaged(file.getvalue(), "unknown arrays")
    assert message.isprintable() and len(message) < 1500


# -- checksums ---------------------------------------------------------------------------------------------------------


def test_an_array_of_another_network(content, damaged):
    """Its own archive had it right, and so has zip's checksum."""
    arrays = arrays_of(content)
    arrays["parameters/first.bias"] = arrays["parameters/first.bias"] + 1
    file = io.BytesIO()
    np.savez(file, **arrays)
    damaged(file.getvalue(), "'parameters/first.bias' is not what its checksum says")


def test_two_arrays_exchanged(content, damaged):
    arrays = arrays_of(content)
    m, v = "state/first.kernel/m", "state/first.kernel/v"
    arrays[m], arrays[v] = arrays[v], arrays[m]
    file = io.BytesIO()
    np.savez(file, **arrays)
    damaged(file.getvalue(), "is not what its checksum says")


def test_another_header(content, damaged):
    arrays = arrays_of(content)
    arrays[HEADER] = np.frombuffer(arrays[HEADER].tobytes().replace(b'"steps": 1', b'"steps": 2'), np.uint8)
    file = io.BytesIO()
    np.savez(file, **arrays)
    damaged(file.getvalue(), f"'{HEADER}' is not what its checksum says")


@pytest.mark.parametrize("sums", [None, np.zeros((3, 32), "u1"), np.zeros(32, "u1"), np.zeros((0, 32), "u1")])
def test_checksums_that_are_missing(sums, content, damaged):
    arrays = arrays_of(content)
    del arrays["checksums"]
    if sums is not None:
        arrays["checksums"] = sums
    file = io.BytesIO()
    np.savez(file, **arrays)
    damaged(file.getvalue(), "checksums")


def test_a_checksum_is_of_name_dtype_shape_and_numbers():
    array = np.arange(6.0).reshape(2, 3)
    same = [np.asfortranarray(array), array.astype(">f8"), np.repeat(array, 2, axis=0)[::2]]
    assert {serialization.checksum("a", other) for other in same} == {serialization.checksum("a", array)}
    others = [array.astype("f4"), array.reshape(3, 2), array + 1, array.view("i8")]
    sums = {serialization.checksum("a", other) for other in others} | {serialization.checksum("b", array)}
    assert len(sums) == 5 and serialization.checksum("a", array) not in sums


# -- the container by itself -------------------------------------------------------------------------------------------


def test_an_empty_archive():
    file = io.BytesIO()
    write_members(file, [])
    assert read_directory(file) == {}
    assert zipfile.ZipFile(file).namelist() == []


@pytest.mark.parametrize("count", [1, 65_534, 65_535])
def test_many_members(count):
    """From 65,535 on the directory's end has records of 64 bits."""
    file = io.BytesIO()
    write_members(file, ((f"{number}", [b"x" * (number % 3)]) for number in range(count)))
    members = read_directory(file)
    assert list(members) == [str(number) for number in range(count)]
    assert read_member(file, members[str(count - 1)]) == b"x" * ((count - 1) % 3)
    assert len(zipfile.ZipFile(file).namelist()) == count


def test_sizes_of_64_bits_are_read():
    """As zip writers put them where they can't know that they aren't needed."""
    name, data = b"a", b"hello"
    extra = struct.pack("<2H3Q", 1, 24, len(data), len(data), 0)
    common = (0, 0, 0, 0x21, zlib.crc32(data), 2**32 - 1, 2**32 - 1, len(name), len(extra))
    local = struct.pack("<4s5H3L2H", LOCAL, 45, *common) + name + extra
    central = struct.pack("<4s6H3L5H2L", CENTRAL, 45, 45, *common, 0, 0, 0, 0, 2**32 - 1) + name + extra
    end = struct.pack("<4s4H2LH", END, 0, 0, 1, 1, len(central), len(local) + len(data), 0)
    file = io.BytesIO(local + data + central + end)
    assert read_member(file, read_directory(file)["a"]) == data


def test_what_numpy_writes_is_read(content, tmp_path):
    """Also packed, and through a file that can't go back."""
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "network.npz", **arrays_of(content))
        net = fm.load(tmp_path / "network.npz")
        assert serialization.to_bytes(net.engine) == content


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3, 3), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 0), }",
        b"{'descr': '<f3', 'fortran_order': False, 'shape': (4, 3), }",
        b"{'descr': '|O', 'fortran_order': False, 'shape': (4, 3), }",
        b"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (4, 3), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (4, 3L), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (4 3), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-4, -3), }",
        b"{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': (4, 3), }",
        b"[" * 5000,
        b"",
    ],
    ids=lambda header: header[:60].decode(),
)
def test_headers_of_arrays(header, content, damaged):
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(48)
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as source:
        names = [name for name in source.namelist() if name != "checksums.npy"]
        parts = {name: source.read(name) for name in names}
    header_text = parts[f"{HEADER}.npy"].replace(b'"format": 2', b'"format": 1')  # without checksums
    parts |= {f"{HEADER}.npy": header_text, "parameters/first.kernel.npy": data}
    write_members(file, ((name, [part]) for name, part in parts.items()))
    damaged(file.getvalue(), "parameters/first.kernel")
