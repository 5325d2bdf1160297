"""Objects of a network as JSON has them, and back: classes by their registered names, nothing else."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import registry
from ..configuration import REGISTRIES as KINDS

__all__ = ["decode", "encode"]


def encode(value: Any, where: str) -> Any:
    """`value` as JSON has it; `where` is its place in the network, for messages."""
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
    for kind in KINDS:
        of_kind: registry.Registry[Any] = getattr(registry, kind)
        if of_kind.base is not None and isinstance(value, of_kind.base):
            label = f"{type(value).__name__}."
            config = {name: encode(part, label + name) for name, part in value.get_config().items()}
            return {"kind": kind, "class": of_kind.identify(value), "config": config}
    raise TypeError(
        f"a network with {where} = {value!r} can't be saved: make it a number, a string, a list, or an object of a "
        "registered class (a function as learning rate can be set again after loading)"
    )


def decode(value: Any) -> Any:
    """What `encode` was given; the registry finds the classes, and raises `UnknownNameError` where it can't."""
    if isinstance(value, list):
        return [decode(part) for part in value]
    if not isinstance(value, dict):
        return value
    kind = value["kind"]
    if kind == "array":
        dtype = np.dtype(value["dtype"])
        if dtype.kind not in "fiubU":
            raise ValueError(f"an array of {dtype} in the header")
        return np.array(value["values"], dtype=dtype)
    if kind == "tuple":
        return tuple(decode(part) for part in value["items"])
    if kind == "dict":
        return {decode(key): decode(part) for key, part in value["items"]}
    if kind not in KINDS:
        raise ValueError(f"unknown kind of object {kind!r} in the header")
    cls = getattr(registry, kind).resolve(value["class"])
    return cls.from_config({name: decode(part) for name, part in value["config"].items()})
