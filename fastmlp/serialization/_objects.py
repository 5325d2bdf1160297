"""Objects of a network as JSON has them, and back: classes by their registered names, nothing else.

A class that is no built-in is written with the version of its distribution, if it has one, and an activation with its
fingerprint; both may be missing, as in files of before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .. import registry
from .._tracing.trainable import Learned
from ..errors import PluginError, UnknownNameError
from . import _fingerprint
from ._origins import advice, check_version, loaded_class, version_of

__all__ = ["check_size", "decode", "encode"]

LONGEST = 100_000  # entries of one list
ENTRIES = 1_000_000  # of all lists together
DEPTH = 100  # lists in lists
ARRAY_BYTES = 2**26


# -- writing ---------------------------------------------------------------------------------------------------------


def encode(value: Any, where: str) -> Any:
    """Return `value` as JSON has it; `where` is its place in the network, for messages."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiubU":
        return {"kind": "array", "dtype": value.dtype.str, "values": value.tolist()}
    if isinstance(value, list):
        return [encode(part, where) for part in value]
    if isinstance(value, tuple):
        return {"kind": "tuple", "items": [encode(part, where) for part in value]}
    if isinstance(value, dict):
        items = [[encode(key, where), encode(part, where)] for key, part in value.items()]
        return {"kind": "dict", "items": items}
    if isinstance(value, Learned):
        return {"kind": "learned", **value.get_config()}
    for kind in registry.KINDS:
        of_kind: registry.Registry[Any] = getattr(registry, kind)
        if of_kind.base is not None and isinstance(value, of_kind.base):
            return _encode_object(value, kind, of_kind)
    remedy = "make it a number, a string, a list, or an object of a registered class"
    if callable(value):
        remedy = (
            "a file has no place for a function. As a function of the step, make it a registered schedule: one of "
            "fm.schedules, or a subclass of fm.schedules.Schedule under a name (@fm.registry.schedules.register(...)); "
            "or set a number before saving, and the function again after loading"
        )
    raise TypeError(f"a network with {where} = {value!r} can't be saved: {remedy}")


def _encode_object(value: Any, kind: str, of_kind: registry.Registry[Any]) -> dict[str, Any]:
    """Return name and configuration of an object; of a foreign one also whose it is, and what it does."""
    label = f"{type(value).__name__}."
    remedy = getattr(type(value), "instead_of_file", None)
    if remedy is not None:
        raise TypeError(f"a network with {value!r} can't be saved: {remedy}")
    name = of_kind.identify(value)
    config = {key: encode(part, label + key) for key, part in value.get_config().items()}
    record: dict[str, Any] = {"kind": kind, "class": name, "config": config}
    if of_kind.origin(name) != "built-in":
        record["version"] = version_of(of_kind, name)
        if kind == "activations":
            record["fingerprint"] = _fingerprint.fingerprint(value)
    return record


# -- reading ---------------------------------------------------------------------------------------------------------


def check_size(value: Any) -> None:
    """Refuse JSON of absurd size; ValueError. The same for what is to be written and for what was read."""
    waiting, entries = [(value, 0)] if isinstance(value, (list, dict)) else [], 0
    while waiting:
        part, depth = waiting.pop()
        entries += len(part)
        if len(part) > LONGEST or entries > ENTRIES or depth > DEPTH:
            raise ValueError(
                f"a configuration of absurd size: a list of {len(part)} entries, {entries} in all, {depth} deep; "
                f"expected at most {LONGEST}, {ENTRIES} and {DEPTH} (large arrays belong into parameters or buffers)"
            )
        inside = part.values() if isinstance(part, dict) else part
        waiting += [(inner, depth + 1) for inner in inside if isinstance(inner, (list, dict))]


def decode(value: Any, *, verify: bool = True) -> Any:
    """Return what `encode` was given; the registry finds the classes, or raises `UnknownNameError`.

    `verify` compares activations with their fingerprints. The size of `value` has been checked.
    """
    if isinstance(value, list):
        return [decode(part, verify=verify) for part in value]
    if not isinstance(value, dict):
        return value
    kind = value.get("kind")
    if isinstance(kind, str) and kind in registry.KINDS:
        return _decode_object(_record(value), verify)
    if isinstance(kind, str) and kind in DECODERS:
        return DECODERS[kind](value, verify)
    raise ValueError(f"unknown kind of object {kind!r} in the header")


def _field(value: dict[str, Any], name: str, expected: type) -> Any:
    if not isinstance(value.get(name), expected):
        raise ValueError(
            f"damaged header: {name!r} of a {value['kind']} should be a {expected.__name__}, got "
            f"{type(value.get(name)).__name__}"
        )
    return value[name]


def _decode_array(value: dict[str, Any], verify: bool) -> Any:
    dtype = np.dtype(_field(value, "dtype", str))
    if dtype.kind not in "fiubU":
        raise ValueError(f"an array of {dtype} in the header")
    values = value["values"]
    if _count(values, LEAVES[dtype.kind]) * dtype.itemsize > ARRAY_BYTES:
        raise ValueError(f"an array of more than {ARRAY_BYTES} bytes in the header")
    with np.errstate(all="ignore"):
        return np.array(values, dtype=dtype)


LEAVES: dict[str, tuple[type, ...]] = {"f": (int, float), "i": (int,), "u": (int,), "b": (bool,), "U": (str,)}


def _count(values: Any, leaves: tuple[type, ...]) -> int:
    """Count the numbers in nested lists, each of one of the types `leaves`."""
    if isinstance(values, list):
        return sum(_count(part, leaves) for part in values)
    if not isinstance(values, leaves) or (isinstance(values, bool) and bool not in leaves):
        raise ValueError(f"damaged header: {type(values).__name__} in an array of {leaves[-1].__name__}")
    return 1


def _decode_tuple(value: dict[str, Any], verify: bool) -> Any:
    return tuple(decode(part, verify=verify) for part in _field(value, "items", list))


def _decode_dict(value: dict[str, Any], verify: bool) -> Any:
    pairs = _field(value, "items", list)
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        raise ValueError("damaged header: a dict should be a list of pairs")
    return {decode(key, verify=verify): decode(part, verify=verify) for key, part in pairs}


def _decode_learned(value: dict[str, Any], verify: bool) -> Any:
    return Learned(_field(value, "value", float), _field(value, "per", str))


DECODERS: dict[str, Callable[[dict[str, Any], bool], Any]] = {
    "array": _decode_array,
    "tuple": _decode_tuple,
    "dict": _decode_dict,
    "learned": _decode_learned,
}


class _Record(NamedTuple):
    """An object of a registered class, as a file has it."""

    kind: str
    name: str
    config: dict[str, Any]
    version: str | None
    fingerprint: dict[str, Any] | None


def _record(value: dict[str, Any]) -> _Record:
    """Return the fields of an object, checked before anything is looked up."""
    name, config = _field(value, "class", str), _field(value, "config", dict)
    check_version(value.get("version"))
    saved = value.get("fingerprint")
    if saved is not None:
        if value["kind"] != "activations":
            raise ValueError(f"damaged header: a fingerprint of {name!r}, which is no activation")
        _fingerprint.check_form(saved)
    return _Record(value["kind"], name, config, value.get("version"), saved)


def _decode_object(record: _Record, verify: bool) -> Any:
    of_kind: registry.Registry[Any] = getattr(registry, record.kind)
    cls = loaded_class(of_kind, record.name, record.version)
    config = {name: decode(part, verify=verify) for name, part in record.config.items()}
    try:
        value = cls.from_config(config)
    except (UnknownNameError, PluginError, MemoryError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a class of somebody else's may raise what it likes
        other = record.version != version_of(of_kind, record.name)
        raise ValueError(
            f"{of_kind.kind} {record.name!r} can't be made of its configuration ({type(error).__name__}: {error})"
            + (f"; {advice(of_kind, record.name, record.version)}" if other else "")
        ) from error
    if verify and record.fingerprint is not None:
        _verify(of_kind, record, value)
    return value


def _verify(of_kind: registry.Registry[Any], record: _Record, value: Any) -> None:
    change = _fingerprint.compare(value, record.fingerprint or {})
    if change is not None:
        raise ValueError(
            f"{of_kind.kind} {record.name!r} is not what it was when the network was saved: {change}; "
            f"{advice(of_kind, record.name, record.version)}, or load it as it is now: "
            "fastmlp.load(path, verify=False)"
        )
