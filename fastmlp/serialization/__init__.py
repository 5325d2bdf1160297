"""Files: a ``.npz`` without pickle, its configuration as JSON inside, written atomically, checked when read.

A file names classes by their registered names; loading asks the registry, and imports nothing that a file says. Of a
class that is no built-in it keeps the version of its distribution, and of an activation what it does at some points
(`_fingerprint`), which loading compares. Readers that don't know these two fields pass them over: the format is one.

The archive holds ``fastmlp.json`` (the header, as bytes), ``parameters/<key>``, ``buffers/<key>`` and
``state/<key>/<name>``. In the header, what JSON doesn't have is an object that says its ``kind``: ``array``, ``dict``,
``tuple``, or a kind of the registry with ``class`` and ``config``.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeVar

import numpy as np

from .._compiler.compiled import Compiled
from .._compiler.network import build_network
from .._version import __version__
from ..checks import check_dtype, check_integer
from ..errors import PluginError, UnknownNameError
from ..frames import Names, check_names
from ._archive import UNREADABLE, Archive
from ._objects import check_size, decode, encode

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

__all__ = ["Network", "from_bytes", "load", "save", "to_bytes"]

FORMAT = 1
HEADER = "fastmlp.json"
NAMES = ("feature_names", "target_names")  # of columns; files of before have none
COUNTERS = ("steps", "iterations", "epochs")
NPY_HEADER = 2**16  # bytes that may precede the numbers of an array
HEADER_BYTES = 2**24


class Network(Protocol):
    """What `load` makes: a class above `Compiled`, which it keeps in `engine`; it checks what it is given."""

    engine: Compiled

    def __init__(self, layers: Iterable[Any], *, dtype: Any, seed: int) -> None: ...

    def compile(self, optimizer: Any, loss: Any, metrics: Iterable[Any]) -> None:
        """Choose how to train."""


N = TypeVar("N", bound=Network)


# -- writing ---------------------------------------------------------------------------------------------------------


def _header(compiled: Compiled) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "version": __version__,
        "layers": [encode(layer, "a layer") for layer in compiled.layers],
        "input_dim": compiled.input_dim,
        **{which: names and list(names) for which, names in _names(compiled).items()},
        "dtype": compiled.dtype.name,
        "seed": compiled.seed,
        "optimizer": encode(compiled.optimizer, "the optimizer"),
        "loss": encode(compiled.loss, "the loss"),
        "metrics": [encode(metric, "a metric") for metric in compiled.metrics],
        **compiled.counters(),
    }


def _names(compiled: Compiled) -> dict[str, Names | None]:
    return {which: getattr(compiled, which) for which in NAMES}


def _views(compiled: Compiled) -> dict[str, NDArray[Any]]:
    """Return every array of a network, by its name in a file; none of one that isn't built."""
    if not compiled.built:
        return {}
    views = {f"parameters/{key}": view for key, view in compiled.parameters.items()}
    views |= {f"buffers/{key}": view for key, view in compiled.buffers.items()}
    for key, state in compiled.optimizer_state.items():
        views |= {f"state/{key}/{name}": view for name, view in state.items()}
    for name, view in views.items():
        if not isinstance(view, np.ndarray) or view.dtype.hasobject:
            raise TypeError(f"{name}: expected an array of numbers, got {view!r}")
    return views


def _text(compiled: Compiled) -> bytes:
    """Return the header as JSON, of a size that `load` takes."""
    import json

    try:
        header = _header(compiled)
    except RecursionError as error:
        raise ValueError("a configuration contains itself, or is nested too deeply: a file can't hold it") from error
    check_size(header)
    text = json.dumps(header).encode()
    if len(text) > HEADER_BYTES:
        raise ValueError(f"the configuration takes {len(text)} bytes, more than {HEADER_BYTES}: a file can't hold it")
    return text


def _write(compiled: Compiled, file: BinaryIO) -> None:
    with compiled.guard.reading("save"):
        header = np.frombuffer(_text(compiled), dtype=np.uint8)
        contents: dict[str, Any] = {HEADER: header, **_views(compiled)}
        np.savez(file, **contents)


def to_bytes(compiled: Compiled) -> bytes:
    """Return the bytes that `save` would write; errors as there."""
    file = io.BytesIO()
    _write(compiled, file)
    return file.getvalue()


def save(compiled: Compiled, path: str | os.PathLike[str]) -> None:
    """Write a network to exactly `path`: the old file stays whole until the new one is.

    Parameters
    ----------
    compiled : Compiled
        Built or not, compiled or not. Layers, parameters, buffers, optimizer and its state, loss, metrics, seed and
        counters are kept, so that training goes on to the bits that it would have reached.
    path : str or path-like
        A link is followed. A file that is replaced keeps its permissions.

    Raises
    ------
    UnknownNameError
        If a class of the network is in no registry; the message says how to register it.
    TypeError
        If a configuration holds what JSON can't.
    ValueError
        If it is of absurd size: a list of more than 100,000 entries, say.
    OSError
        If the file can't be written, or is no regular file.
    """
    from contextlib import suppress

    target = os.path.realpath(os.fsdecode(path))
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(f"{os.fsdecode(path)}: not a regular file, so no network can be written in its place")
    # Not from tempfile, which makes private files: a new file should have the permissions of any other.
    temporary = os.path.join(os.path.dirname(target), f".fastmlp-{os.urandom(8).hex()}.part")
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    descriptor = os.open(temporary, flags, 0o666)
    try:
        with os.fdopen(descriptor, "w+b") as file:
            _write(compiled, file)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(temporary, os.stat(target).st_mode & 0o777)
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        raise


# -- reading ---------------------------------------------------------------------------------------------------------


def load(path: str | os.PathLike[str], cls: type[N], *, verify: bool = True) -> N:
    """Read a network that `save` wrote, as an object of a class; `fastmlp.load` tells users all about it.

    Parameters
    ----------
    path : str or path-like
    cls : type
        The class to make: `Sequential`, or one that can be made and compiled as it is.
    verify : bool
        Whether an activation that is no built-in must give what it gave when the network was saved.

    Raises
    ------
    OSError, ValueError, UnknownNameError, PluginError
        As `fastmlp.load`; the message names the path.
    """
    with open(path, "rb") as file:
        return _read(file, os.fsdecode(path), cls, _check_flag(verify))


def from_bytes(data: bytes, cls: type[N], *, verify: bool = True) -> N:
    """Return the network that `to_bytes` wrote; class, `verify` and errors as `load`."""
    return _read(io.BytesIO(data), "bytes of a network", cls, _check_flag(verify))


def _check_flag(verify: object) -> bool:
    if not isinstance(verify, (bool, np.bool_)):
        raise TypeError(f"verify: expected True or False, got {verify!r}")
    return bool(verify)


def _read(file: BinaryIO, source: str, cls: type[N], verify: bool) -> N:
    try:
        return _rebuild(Archive(file), cls, verify)
    except UNREADABLE as error:
        raise ValueError(f"{source}: not a fastmlp network, or damaged ({error})") from error
    except UnknownNameError as error:
        raise UnknownNameError(f"{source}: {error}") from error
    except PluginError as error:
        raise PluginError(f"{source}: {error}", distribution=error.distribution) from error
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    except (MemoryError, Warning):
        raise
    except Exception as error:  # also what the class of a plugin raises when it is made or built
        raise ValueError(f"{source}: damaged header ({type(error).__name__}: {error})") from error


class _Header(NamedTuple):
    """A header whose parts have been made."""

    layers: list[Any]
    input_dim: int | None
    names: dict[str, Any]
    dtype: np.dtype[Any]
    seed: int
    optimizer: Any
    loss: Any
    metrics: list[Any]
    counters: dict[str, int]


def _read_header(archive: Archive, verify: bool) -> _Header:
    import json

    try:
        header = json.loads(archive.read(HEADER, HEADER_BYTES + NPY_HEADER).tobytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged header, not JSON ({error})") from error
    found = header.get("format") if isinstance(header, dict) else None
    if found != FORMAT:
        newer = isinstance(found, int) and found > FORMAT
        raise ValueError(f"expected format {FORMAT}, got {found!r}{'; a newer fastmlp can read it' if newer else ''}")
    check_size(header)
    return _Header(
        layers=_decode_list(header, "layers", verify),
        input_dim=None if header["input_dim"] is None else check_integer("input_dim", header["input_dim"], 1),
        names={which: header.get(which) for which in NAMES},
        dtype=check_dtype(header["dtype"]),
        seed=check_integer("seed", header["seed"], 0),
        optimizer=decode(header["optimizer"], verify=verify),
        loss=decode(header["loss"], verify=verify),
        metrics=_decode_list(header, "metrics", verify),
        counters={name: check_integer(name, header[name], 0) for name in COUNTERS},
    )


def _decode_list(header: dict[str, Any], name: str, verify: bool) -> list[Any]:
    if not isinstance(header[name], list):
        raise ValueError(f"damaged header: {name} should be a list, got {type(header[name]).__name__}")
    return [decode(part, verify=verify) for part in header[name]]


def _rebuild(archive: Archive, cls: type[N], verify: bool) -> N:
    header = _read_header(archive, verify)
    net = cls(header.layers, dtype=header.dtype, seed=header.seed)
    if header.input_dim is not None:
        _check_sizes(net.engine, header.input_dim, archive.members)
        net.engine.build(header.input_dim)
    if header.optimizer is not None:
        with net.engine.checks_later():
            net.compile(header.optimizer, header.loss, header.metrics)
    _restore_names(net.engine, header.names)
    _fill(_views(net.engine), archive)
    net.engine.restore_counters(header.counters)
    return net


def _restore_names(compiled: Compiled, names: Mapping[str, Any]) -> None:
    units = compiled.units if compiled.built else None
    compiled.feature_names = check_names("feature_names", names["feature_names"], compiled.input_dim)
    compiled.target_names = check_names("target_names", names["target_names"], units)


def _check_sizes(compiled: Compiled, input_dim: int, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Compare header and arrays before there is memory: a damaged number could ask for any amount of it."""
    built = build_network(compiled.layers, input_dim)
    for which in ("parameter", "buffer"):
        for key, spec in built.specs(which).items():
            name = f"{which}s/{key}"
            if name not in members:
                raise ValueError(f"damaged file: {name} is missing")
            expected, size = math.prod(spec.shape) * compiled.dtype.itemsize, members[name].file_size
            if not expected < size <= expected + NPY_HEADER:
                raise ValueError(
                    f"damaged file: {name} should be {compiled.dtype} {spec.shape}, {expected} bytes, but has {size}"
                )


def _fill(targets: Mapping[str, NDArray[Any]], archive: Archive) -> None:
    """Copy every array to its place; the file must hold just those, in their shapes and dtypes."""
    stored = archive.members.keys() - {HEADER}
    if targets.keys() != stored:
        missing, unknown = sorted(targets.keys() - stored), sorted(stored - targets.keys())
        raise ValueError(f"damaged file: missing arrays {missing}, unknown arrays {unknown}")
    for name, target in targets.items():
        array = archive.read(name, target.nbytes + NPY_HEADER)
        if array.shape != target.shape or array.dtype.newbyteorder("=") != target.dtype:
            raise ValueError(
                f"damaged file: {name} should be {target.dtype} {target.shape}, is {array.dtype} {array.shape}"
            )
        target[...] = array
