"""Hand over from a source tree without kernels to the installed fastmlp.

Python looks into the current folder first: in a clone it finds the sources, which can't run before they are built,
although fastmlp may be installed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec, PathFinder

__all__ = ["hand_over"]


def hand_over(name: str, path: Sequence[str]) -> bool:
    """Let an installed package take this one's place in ``sys.modules``, if this one isn't built and there is one.

    Parameters
    ----------
    name : str
        The package's name.
    path : sequence of str
        The package's ``__path__``.

    Returns
    -------
    bool
        Whether another package has taken its place. If not, the import goes on here; without kernels it fails, with an
        error that says what to do.
    """
    if any(map(_has_kernels, path)):
        return False
    for spec in _others(name, path):
        from importlib.util import module_from_spec

        ours = sys.modules.pop(__name__), sys.modules[name]
        other = module_from_spec(spec)
        sys.modules[name] = other
        try:
            assert spec.loader is not None
            spec.loader.exec_module(other)
        except BaseException:
            sys.modules[__name__], sys.modules[name] = ours
            raise
        return True
    return False


def _has_kernels(folder: str) -> bool:
    """Return whether a folder of the package has kernels that are compiled for this Python."""
    return any(os.path.exists(os.path.join(folder, "_kernels", f"_cpu{suffix}")) for suffix in EXTENSION_SUFFIXES)


def _others(name: str, path: Sequence[str]) -> Iterator[ModuleSpec]:
    """Find packages of that name that have kernels, in other folders than these."""
    here = {os.path.realpath(folder) for folder in path}
    places = [place for place in sys.path if os.path.realpath(os.path.join(place, name)) not in here]
    for finder in sys.meta_path:  # those of editable installations among them
        find_spec = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find_spec(name, places if finder is PathFinder else None) if find_spec else None
        found = list(spec.submodule_search_locations or ()) if spec else []
        if spec and any(map(_has_kernels, found)) and not here.intersection(map(os.path.realpath, found)):
            yield spec
