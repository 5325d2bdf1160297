"""Whose class it is that a file names: its distribution, the version that saved it, and what to install."""

from __future__ import annotations

import re
from typing import Any

from ..errors import PluginError, UnknownNameError
from ..registry import Registry, is_distribution, same_distribution

__all__ = ["advice", "check_version", "loaded_class", "version_of"]

VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,99}")  # as packaging has them: nothing that a shell would run


def version_of(of_kind: Registry[Any], name: str) -> str | None:
    """Return the installed version of the distribution of ``"distribution:name"``; None for a plain name."""
    distribution, _, _ = name.rpartition(":")
    if not distribution:
        return None
    for plugin in of_kind.plugins():
        if same_distribution(plugin.distribution, distribution):
            return plugin.version if VERSION.fullmatch(plugin.version) else None
    return _installed(distribution)


def _installed(distribution: str) -> str | None:
    """Return the version of a distribution that may have no plugin of that kind; its metadata alone is read."""
    from importlib import metadata

    if not is_distribution(distribution):
        return None
    try:
        return metadata.version(distribution)
    except Exception:  # not installed, or its metadata can't be read
        return None


def check_version(version: Any) -> None:
    """Refuse what is no version; ValueError."""
    if version is not None and not (isinstance(version, str) and VERSION.fullmatch(version)):
        raise ValueError(f"damaged header: {version!r:.100} is no version of a distribution")


def loaded_class(of_kind: Registry[Any], name: str, version: str | None) -> Any:
    """Return the class of a name, by the registry alone; where there is none, the error says what to install."""
    try:
        return of_kind.resolve(name)
    except UnknownNameError as error:
        raise UnknownNameError(f"{error}\n{advice(of_kind, name, version)}") from None
    except PluginError as error:
        message = f"{error}\n{advice(of_kind, name, version)}"
        raise PluginError(message, distribution=error.distribution) from error


def advice(of_kind: Registry[Any], name: str, version: str | None) -> str:
    """Return what to do about a name that can't be used as it was when the network was saved."""
    distribution, _, plain = name.rpartition(":")
    if not distribution:
        return (
            f"{plain!r} comes from no installed package: run the code that registers it "
            f"(fastmlp.registry.{of_kind.plural}.register), as it was when the network was saved"
        )
    if not is_distribution(distribution):
        return f"{distribution!r} can't be the name of a distribution"
    installed = version_of(of_kind, name)
    here = "is not installed here" if installed is None else f"{installed} is installed here"
    saved = "" if version is None else f", the network was saved with {version}"
    wanted = distribution if version is None else f"{distribution}=={version}"
    trust = "if you trust whoever made the file, " if installed is None else ""
    return f"{distribution} {here}{saved}; {trust}pip install {wanted}"
