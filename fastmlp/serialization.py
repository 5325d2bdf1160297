"""Files: a ``.npz`` without pickle, its configuration as JSON inside, written atomically, checked when read.

A file names classes by their registered names; loading asks the registry, and imports nothing that a file says.
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from . import registry
from .configurable import Configurable
from .model import Sequential

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_bytes", "load", "save", "to_bytes"]

FORMAT = 1
HEADER = "fastmlp.json"
KINDS = ("activations", "initializers", "layers", "losses", "metrics", "optimizers", "schedules")


def _encode(value: Any) -> Any:
    """Objects as ``{"kind", "class", "config"}``, numbers as JSON has them."""
    if isinstance(value, Configurable) or callable(value):
        for kind in KINDS:
            of_kind: registry.Registry[Any] = getattr(registry, kind)
            if of_kind.base is not None and isinstance(value, of_kind.base):
                config = {name: _encode(part) for name, part in value.get_config().items()}
                return {"kind": kind, "class": of_kind.identify(value), "config": config}
    if isinstance(value, np.ndarray):
        return {"kind": "array", "dtype": value.dtype.str, "values": value.tolist()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple)):
        return [_encode(part) for part in value]
    if isinstance(value, dict):
        return {"kind": "dict", "items": [[_encode(k), _encode(v)] for k, v in value.items()]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(
        f"a network with {value!r} in its configuration can't be saved: make it a number, a string, a list, or an "
        "object of a registered class (a function as learning rate can be set again after loading)"
    )


def _decode(value: Any) -> Any:
    if isinstance(value, list):
        return [_decode(part) for part in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if kind == "array":
        return np.array(value["values"], dtype=np.dtype(value["dtype"]))
    if kind == "dict":
        return {_decode(k): _decode(v) for k, v in value["items"]}
    if kind not in KINDS:
        raise ValueError(f"unknown kind of object {kind!r}")
    cls = getattr(registry, kind).resolve(value["class"])
    return cls.from_config({name: _decode(part) for name, part in value["config"].items()})


def _contents(net: Sequential) -> dict[str, NDArray[Any]]:
    import json

    from . import __version__

    header: dict[str, Any] = {
        "format": FORMAT,
        "version": __version__,
        "layers": [_encode(layer) for layer in net.layers],
        "input_dim": net.input_dim,
        "dtype": net.dtype.name,
        "seed": net.seed,
        "optimizer": _encode(net.optimizer),
        "loss": _encode(net.loss),
        "metrics": [_encode(metric) for metric in net.metrics],
        "steps": net._steps,
        "iterations": net._iterations,
        "epochs": net._epochs,
    }
    arrays: dict[str, NDArray[Any]] = {}
    if net.built:
        arrays |= {f"parameters/{key}": view for key, view in net.parameters.items()}
        arrays |= {f"buffers/{key}": view for key, view in net.buffers.items()}
        for key, state in net.optimizer_state.items():
            arrays |= {f"state/{key}/{name}": np.asarray(view) for name, view in state.items()}
    return {HEADER: np.frombuffer(json.dumps(header).encode(), dtype=np.uint8), **arrays}


def _write(net: Sequential, file: BinaryIO) -> None:
    with net._usage.reading("save"):
        contents = _contents(net)
        np.savez(file, **contents)  # type: ignore[arg-type]


def to_bytes(net: Sequential) -> bytes:
    """The bytes that `save` would write."""
    file = io.BytesIO()
    _write(net, file)
    return file.getvalue()


def save(net: Sequential, path: str | os.PathLike[str]) -> None:
    """Write a network to exactly `path`: the old file stays whole until the new one is.

    Raises
    ------
    UnknownNameError
        If a class of the network is in no registry.
    TypeError
        If a configuration holds what JSON can't.
    OSError
        If the file can't be written.
    """
    import tempfile

    target = os.fspath(path)
    folder = os.path.dirname(os.path.abspath(target))
    descriptor, temporary = tempfile.mkstemp(prefix=os.path.basename(target) + ".", suffix=".part", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            _write(net, file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, _mode(target))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _mode(target: str) -> int:
    """Permissions: those of the file that is replaced, or of any new one."""
    try:
        return os.stat(target).st_mode & 0o777
    except FileNotFoundError:
        mask = os.umask(0)
        os.umask(mask)
        return 0o666 & ~mask


def load(path: str | os.PathLike[str]) -> Sequential:
    """Read a network that `save` wrote: compiled, ready to go on.

    Raises
    ------
    FileNotFoundError
    ValueError
        If the file is no fastmlp network, is damaged, or is of a newer format.
    UnknownNameError
        If it names a class that no installed package registers.
    """
    with open(path, "rb") as file:
        return _read(file, os.fspath(path))


def from_bytes(data: bytes) -> Sequential:
    """The network that `to_bytes` wrote."""
    return _read(io.BytesIO(data), "bytes")


def _read(file: BinaryIO, source: str) -> Sequential:
    import json
    import zipfile
    import zlib

    damaged = (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError, OSError)
    try:
        with np.load(file, allow_pickle=False) as archive:
            if not isinstance(archive, np.lib.npyio.NpzFile) or HEADER not in archive.files:
                raise ValueError("no header")
            header = json.loads(archive[HEADER].tobytes())
            arrays = {name: archive[name] for name in archive.files if name != HEADER}
    except damaged as error:
        raise ValueError(f"{source}: not a fastmlp network, or damaged ({error})") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        found = header.get("format") if isinstance(header, dict) else header
        raise ValueError(f"{source}: expected format {FORMAT}, got {found!r}; a newer fastmlp may read it")
    try:
        return _rebuild(header, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{source}: damaged header ({type(error).__name__}: {error})") from error


def _rebuild(header: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> Sequential:
    net = Sequential(
        [_decode(layer) for layer in header["layers"]],
        input_dim=header["input_dim"],
        dtype=header["dtype"],
        seed=header["seed"],
    )
    if header["optimizer"] is not None:
        metrics = [_decode(metric) for metric in header["metrics"]]
        net.compile(_decode(header["optimizer"]), _decode(header["loss"]), metrics)
    if net.built:
        _fill(net, arrays)
    net._steps, net._iterations, net._epochs = (int(header[k]) for k in ("steps", "iterations", "epochs"))
    return net


def _fill(net: Sequential, arrays: dict[str, NDArray[Any]]) -> None:
    """Copies every array to its place; the file must hold just those, in their shapes and dtype."""
    targets = {f"parameters/{key}": view for key, view in net.parameters.items()}
    targets |= {f"buffers/{key}": view for key, view in net.buffers.items()}
    for key, state in net.optimizer_state.items():
        targets |= {f"state/{key}/{name}": view for name, view in state.items()}
    if set(targets) != set(arrays):
        missing, unknown = sorted(set(targets) - set(arrays)), sorted(set(arrays) - set(targets))
        raise ValueError(f"damaged file: missing arrays {missing}, unknown arrays {unknown}")
    for name, target in targets.items():
        array = arrays[name]
        if array.shape != target.shape or array.dtype != target.dtype:
            raise ValueError(
                f"damaged file: {name} should be {target.dtype} {target.shape}, is {array.dtype} {array.shape}"
            )
    for name, target in targets.items():
        target[...] = arrays[name]
