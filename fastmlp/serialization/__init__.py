"""Files: a ``.npz`` without pickle, its configuration as JSON inside, written atomically, checked when read.

A file names classes by their registered names; loading asks the registry, and imports nothing that a file says. Of a
class that is no built-in it keeps the version of its distribution, and of an activation what it does at some points
(`_fingerprint`), which loading compares.

The archive holds ``fastmlp.json`` (the header, as bytes), ``parameters/<key>``, ``buffers/<key>``,
``state/<key>/<name>``, and ``checksums`` of all of these. In the header, what JSON doesn't have is an object that says
its ``kind``: ``array``, ``dict``, ``tuple``, or a kind of the registry with ``class`` and ``config``.
"""

from __future__ import annotations

import io
import math
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, TypeVar

import numpy as np

from .._compiler.compiled import Compiled
from .._compiler.contents import arrays_of, check_values, least_values
from ..archives import Archive, Damaged, check_numbers, checksum, given_path, replacing, write_arrays
from ..checks import one_line
from ..errors import PluginError, UnknownNameError
from ._header import HEADER_BYTES, read_header, write_header

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .._compiler.network import Network as BuiltNetwork

__all__ = ["Network", "checksum", "from_bytes", "load", "save", "to_bytes"]

HEADER = "fastmlp.json"
NPY_HEADER = 2**16  # bytes that may precede the numbers of an array

# What reading may raise, beside ValueError, where bytes were lost or changed.
UNREADABLE = (Damaged, zlib.error, struct.error, OSError)


class Network(Protocol):
    """What `load` makes: a class above `Compiled`, which it keeps in `engine`; it checks what it is given."""

    engine: Compiled

    def __init__(self, layers: Iterable[Any], *, dtype: Any, seed: int) -> None: ...

    def compile(self, optimizer: Any, loss: Any, metrics: Iterable[Any]) -> None:
        """Choose how to train."""


N = TypeVar("N", bound=Network)


# -- writing ---------------------------------------------------------------------------------------------------------


def _contents(compiled: Compiled) -> dict[str, NDArray[Any]]:
    """Return what a file holds, by name: nothing that `load` would refuse."""
    header = np.frombuffer(write_header(compiled), dtype=np.uint8)
    arrays = {name: check_numbers(name, view) for name, view in arrays_of(compiled).items()}
    for name, least in least_values(compiled).items():
        check_values(name, arrays[name], least)
    return {HEADER: header, **arrays}


def to_bytes(compiled: Compiled) -> bytes:
    """Return the bytes that `save` would write; errors as there."""
    file = io.BytesIO()
    with compiled.guard.reading("save"):
        write_arrays(file, _contents(compiled))
    return file.getvalue()


def save(compiled: Compiled, path: str | bytes | os.PathLike[str] | os.PathLike[bytes]) -> None:
    """Write a network to exactly `path`: the old file stays whole until the new one is.

    Parameters
    ----------
    compiled : Compiled
        Built or not, compiled or not. Layers, parameters, buffers, optimizer and its state, loss, metrics, seed,
        counters and metadata are kept, so that training goes on to the bits that it would have reached.
    path : str, bytes or path-like
        A link is followed. A file that is replaced keeps its permissions.

    Raises
    ------
    UnknownNameError, TypeError, ValueError, OSError
        As `Sequential.save`.
    """
    target = given_path(path)
    if not compiled.built and any(layer.carried for layer in compiled.layers):
        raise ValueError(
            "the network has copies of trained layers, whose numbers no file holds yet: call build(n) first"
        )
    with compiled.guard.reading("save"):
        contents = _contents(compiled)
        with replacing(target) as file:
            write_arrays(file, contents)


# -- reading ---------------------------------------------------------------------------------------------------------


def load(
    path: str | bytes | os.PathLike[str] | os.PathLike[bytes],
    cls: type[N],
    *,
    verify: bool = True,
) -> N:
    """Read a network that `save` wrote, as an object of a class; `fastmlp.load` tells users all about it.

    Parameters
    ----------
    path : str, bytes or path-like
    cls : type
        The class to make: `Sequential`, or one that can be made and compiled as it is.
    verify : bool
        Whether an activation that is no built-in must give what it gave when the network was saved.

    Raises
    ------
    OSError, ValueError, UnknownNameError, PluginError
        As `fastmlp.load`; the message names the path.
    """
    source = given_path(path)
    verify = _check_flag(verify)
    if stat.S_ISFIFO(os.stat(source).st_mode):  # opening it would wait for whoever writes
        raise ValueError(f"{source}: not a fastmlp network: a pipe, which can't be read twice")
    with open(source, "rb") as file:
        return _read(file, source, cls, verify)


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
        raise ValueError(f"{source}: not a fastmlp network, or damaged ({one_line(error)})") from error
    except UnknownNameError as error:
        raise UnknownNameError(f"{source}: {_lines(error)}") from error
    except PluginError as error:
        raise PluginError(f"{source}: {_lines(error)}", distribution=error.distribution) from error
    except MemoryError as error:
        raise ValueError(f"{source}: it takes more memory than there is") from error
    except ValueError as error:
        raise ValueError(f"{source}: {one_line(error)}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also what the class of a plugin raises when it is made or built
        raise ValueError(f"{source}: damaged header ({type(error).__name__}: {one_line(error)})") from error


def _lines(error: Exception) -> str:
    return "\n".join(map(one_line, str(error).split("\n")))


def _rebuild(archive: Archive, cls: type[N], verify: bool) -> N:
    text = _array(archive, HEADER, HEADER_BYTES)
    header = read_header(text.tobytes(), has_checksums=archive.has_checksums, verify=verify)
    net = cls(header.layers, dtype=header.dtype, seed=header.seed)
    compiled = net.engine
    compiled.metadata = header.metadata
    if header.input_dim is not None:
        compiled.build_unfilled(header.input_dim, partial(_check_sizes, compiled.dtype.itemsize, archive.sizes))
        _fill(compiled, archive, "parameters/", "buffers/")
    if header.optimizer is not None:
        with compiled.checks_later():
            net.compile(header.optimizer, header.loss, header.metrics)
    compiled.set_names(**header.names)  # behind the loss, which says how many targets there are
    _check_names(arrays_of(compiled), archive.sizes.keys() - {HEADER})
    _fill(compiled, archive, "state/")
    compiled.restore_counters(header.counters)
    return net


def _fill(compiled: Compiled, archive: Archive, *places: str) -> None:
    """Copy arrays to their places, each once it is known to be one that can stand there."""
    least = least_values(compiled)
    for name, target in arrays_of(compiled).items():
        if not name.startswith(places):
            continue
        array = _array(archive, name, target.nbytes)
        if array.shape != target.shape or array.dtype.newbyteorder("=") != target.dtype:
            raise ValueError(
                f"damaged file: {name} should be {target.dtype} {target.shape}, is {array.dtype} {array.shape}"
            )
        if name in least:
            check_values(f"damaged file: {name}", array, least[name])
        target[...] = array


def _array(archive: Archive, name: str, most: int) -> NDArray[Any]:
    """Return an array of at most so many bytes."""
    if archive.sizes.get(name, 0) > most + NPY_HEADER:
        raise Damaged(f"{name} has {archive.sizes[name]} bytes, more than {most}")
    return archive.read(name)


def _check_sizes(itemsize: int, sizes: Mapping[str, int], network: BuiltNetwork) -> None:
    """Compare header and arrays before there is memory: a damaged number could ask for any amount of it."""
    for which in ("parameter", "buffer"):
        for key, spec in network.specs(which).items():
            name = f"{which}s/{key}"
            if name not in sizes:
                raise ValueError(f"damaged file: {name} is missing")
            expected, size = math.prod(spec.shape) * itemsize, sizes[name]
            if not expected < size <= expected + NPY_HEADER:
                raise ValueError(f"damaged file: {name} should be {spec.shape}, {expected} bytes, but has {size}")


def _check_names(expected: Iterable[str], stored: Iterable[str]) -> None:
    missing, unknown = sorted(set(expected) - set(stored)), sorted(set(stored) - set(expected))
    if missing or unknown:
        raise ValueError(
            f"damaged file: missing arrays {one_line(missing, 300)}, unknown arrays {one_line(unknown, 300)}"
        )
