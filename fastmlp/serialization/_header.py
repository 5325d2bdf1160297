"""The header of a file: the network in JSON. What is written of it, and what is believed when it is read."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple, NoReturn

import numpy as np

from .._compiler.compiled import Compiled
from .._compiler.contents import DESCRIPTION, NAMES
from .._version import __version__
from ..checks import check_dtype, check_integer, check_seed
from ._objects import ENTRIES, check_size, decode, encode

__all__ = ["HEADER_BYTES", "Header", "read_header", "write_header"]

FORMAT = 2
WITHOUT_CHECKSUMS = 1
HEADER_BYTES = 2**24
COUNTERS = ("steps", "iterations", "epochs")
LARGEST_COUNT = 2**62


# -- writing ---------------------------------------------------------------------------------------------------------


def write_header(compiled: Compiled) -> bytes:
    """Return the header as JSON, of a size that `read_header` takes."""
    places = {"layers": "a layer", "optimizer": "the optimizer", "loss": "the loss", "metrics": "a metric"}
    check_size(compiled.metadata)
    check_metadata(compiled.metadata)
    header: dict[str, Any] = {"format": FORMAT, "version": __version__}
    try:
        for name in DESCRIPTION:
            value = getattr(compiled, name)
            if name in places:
                value = encode(list(value) if isinstance(value, tuple) else value, places[name])
            header[name] = value.name if isinstance(value, np.dtype) else value
        header |= compiled.counters()
        check_size(header)
        text = json.dumps(header).encode()
    except RecursionError as error:
        raise ValueError("a configuration contains itself, or is nested too deeply: a file can't hold it") from error
    if len(text) > HEADER_BYTES:
        raise ValueError(f"the configuration takes {len(text)} bytes, more than {HEADER_BYTES}: a file can't hold it")
    return text


def check_metadata(metadata: object) -> None:
    """Refuse metadata that wouldn't come back as it is: what JSON has no word for, or another one.

    Its size has been checked.
    """
    if not isinstance(metadata, dict):
        raise TypeError(f"metadata: expected a dict, got {metadata!r:.100}")
    waiting: list[Any] = [metadata]
    while waiting:
        part = waiting.pop()
        if type(part) is dict and all(type(key) is str for key in part):
            waiting += part.values()
        elif type(part) is list:
            waiting += part
        elif type(part) is float and not math.isfinite(part):
            raise ValueError(f"metadata: expected finite numbers, got {part}")
        elif part is not None and type(part) not in (bool, int, float, str):
            raise TypeError(
                f"metadata: expected dicts with strings as keys, lists, strings, numbers, True, False or None, got "
                f"{part!r:.100} ({type(part).__name__}); list(...) makes a list, and .tolist() one of an array"
            )


# -- reading ---------------------------------------------------------------------------------------------------------


class Header(NamedTuple):
    """A header whose parts have been made."""

    layers: list[Any]
    input_dim: int | None
    dtype: np.dtype[Any]
    seed: int
    optimizer: Any
    loss: Any
    metrics: list[Any]
    names: dict[str, Any]
    metadata: dict[str, Any]
    counters: dict[str, int]


def read_header(text: bytes, *, has_checksums: bool, verify: bool) -> Header:
    """Return what a header describes. Keys that it has besides are passed over, so that later versions may add some."""
    header = _parse(text)
    found = header.get("format") if isinstance(header, dict) else None
    if not isinstance(header, dict) or isinstance(found, bool) or found not in (WITHOUT_CHECKSUMS, FORMAT):
        newer = isinstance(found, int) and found > FORMAT
        raise ValueError(
            f"expected format {FORMAT} or {WITHOUT_CHECKSUMS}, got {found!r:.100}"
            f"{'; a newer fastmlp can read it' if newer else ''}"
        )
    if found == FORMAT and not has_checksums:
        raise ValueError("damaged file: its checksums are missing")
    check_size(header)
    metadata = header.get("metadata", {})
    check_metadata(metadata)
    return Header(
        layers=_decode_list(header, "layers", verify),
        input_dim=None if header["input_dim"] is None else check_integer("input_dim", header["input_dim"], 1),
        dtype=check_dtype(header["dtype"]),
        seed=check_seed(check_integer("seed", header["seed"], 0)),
        optimizer=decode(header["optimizer"], verify=verify),
        loss=decode(header["loss"], verify=verify),
        metrics=_decode_list(header, "metrics", verify),
        names={name: header.get(name) for name in NAMES},
        metadata=metadata,
        counters={name: _count(name, header[name]) for name in COUNTERS},
    )


def _parse(text: bytes) -> Any:
    """Return JSON in UTF-8, in which each key stands once; what would take much memory isn't parsed."""
    if text.count(b",") + text.count(b"[") + text.count(b"{") > 2 * ENTRIES:
        raise ValueError(f"damaged header: a configuration of absurd size, more than {ENTRIES} entries")
    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_unique)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged header, no JSON in UTF-8 ({error})") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _raise_repeated(pairs)
    return found


def _raise_repeated(pairs: list[tuple[str, Any]]) -> NoReturn:
    seen: set[str] = set()
    for key, _ in pairs:
        if key in seen:
            raise ValueError(f"damaged header: the key {key!r:.80} stands twice")
        seen.add(key)
    raise AssertionError("no key stands twice")


def _count(name: str, value: object) -> int:
    number = check_integer(name, value, 0)
    if number > LARGEST_COUNT:
        raise ValueError(f"{name}: expected at most {LARGEST_COUNT}, got {number}")
    return number


def _decode_list(header: dict[str, Any], name: str, verify: bool) -> list[Any]:
    if not isinstance(header[name], list):
        raise ValueError(f"damaged header: {name} should be a list, got {type(header[name]).__name__}")
    return [decode(part, verify=verify) for part in header[name]]
