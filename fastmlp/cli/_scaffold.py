"""``fastmlp plugins new``: a package with a plugin that works, to be changed into one's own."""

from __future__ import annotations

import keyword
import re
import sys
from pathlib import Path

from .. import (  # noqa: F401 - they fill the registries
    activations,
    constraints,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    registry,
    regularizers,
    schedules,
)
from ._templates import FILES, KINDS

__all__ = ["KINDS", "write"]


def write(name: str, into: str = ".", kind: str = "activations") -> tuple[Path, list[str]]:
    """Write a package into the folder ``into/name``.

    Parameters
    ----------
    name : str
        Of the distribution: letters, digits, ``-``, ``_`` and ``.``, a letter first.
    into : str
        An existing folder.
    kind : str
        One of `KINDS`, in the plural or in the singular.

    Returns
    -------
    pathlib.Path, list of str
        The new folder, and its files.

    Raises
    ------
    ValueError
        If `name` can't be that of a distribution and a package, or is taken by a built-in; if `kind` is unknown.
    FileExistsError, NotADirectoryError
        If the folder exists already; if `into` doesn't.
    """
    kind = next((plural for plural in KINDS if kind == getattr(registry, plural).kind), kind)
    if kind not in KINDS:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")
    package, plain = _names(name, kind)
    example = KINDS[kind]
    parent = Path(into)
    if not parent.is_dir():
        raise NotADirectoryError(f"{into} is no folder: make it first")
    folder = parent / name
    if folder.exists():
        raise FileExistsError(f"{folder} exists already: nothing is overwritten; choose another name or folder")
    values = {
        "NAME": name,
        "PACKAGE": package,
        "PLAIN": plain,
        "CLASS": "".join(part[:1].upper() + part[1:] for part in plain.split("_")),
        "KIND": getattr(registry, kind).kind,
        "KINDS": kind,
        "BASE": example.base,
        "DOC": example.doc,
        "BODY": example.body,
        "TEST": example.test,
    }
    files = {_fill(path, values): _fill(text, values) for path, text in FILES.items()}
    for path, text in files.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return folder, list(files)


def _fill(text: str, values: dict[str, str]) -> str:
    return re.sub("@([A-Z]+)@", lambda found: values[found[1]], text)


def _names(name: str, kind: str) -> tuple[str, str]:
    """Return the package of a distribution, and the name under which it offers its object."""
    if not re.fullmatch(r"[A-Za-z]([A-Za-z0-9._-]*[A-Za-z0-9])?", name):
        raise ValueError(f"name: expected letters, digits, '-', '_' and '.', a letter first, got {name!r}")
    package = registry.canonical_distribution(name).replace("-", "_")
    plain = re.sub("^fastmlp_", "", package)
    if keyword.iskeyword(package) or package in {
        *sys.stdlib_module_names,
        "fastmlp",
        "numpy",
        "pytest",
        "test",
        "tests",
    }:
        raise ValueError(f"name: {name!r} would be the package {package!r}, which is taken; choose another one")
    if plain[0].isdigit() or keyword.iskeyword(plain):
        raise ValueError(f"name: {name!r} would offer the name {plain!r}; choose another one")
    of_kind = getattr(registry, kind)
    if plain in of_kind.builtins():
        raise ValueError(f"name: {name!r} would offer {plain!r}, a built-in {of_kind.kind}; choose another one")
    return package, plain
