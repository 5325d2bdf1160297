"""Plugins of one kind: listed from the metadata of what is installed, imported one by one when asked for."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from ..checks import one_line
from ..errors import PluginError

if TYPE_CHECKING:
    from importlib.metadata import Distribution, EntryPoint

NAME = re.compile(r"[A-Za-z0-9_.-]+")
NAME_RULE = "only letters, digits, '_', '.' and '-' are allowed"


class Plugin(NamedTuple):
    """An entry point as its distribution's metadata declares it; nothing of it is imported.

    Attributes
    ----------
    distribution, version : str
        Who brings it.
    name : str
        The plain name under which it offers its class.
    entry_point : importlib.metadata.EntryPoint
        Where the class is: ``entry_point.value`` is ``"module:Class"``.
    """

    distribution: str
    version: str
    name: str
    entry_point: EntryPoint

    @property
    def qualified(self) -> str:
        """The name that is always this plugin's: ``"distribution:name"``."""
        return f"{self.distribution}:{self.name}"

    @property
    def origin(self) -> str:
        """Distribution and version."""
        return f"{self.distribution} {self.version}"


def canonical_distribution(distribution: str) -> str:
    """Normalize a distribution's name as packaging does: ``My_Plugins`` and ``my-plugins`` are one."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


def same_distribution(one: str, other: str) -> bool:
    """Return whether two names are of one distribution."""
    return canonical_distribution(one) == canonical_distribution(other)


def is_distribution(name: str) -> bool:
    """Return whether a distribution can have this name: letters, digits, ``_``, ``.`` and ``-``."""
    return NAME.fullmatch(name) is not None


def package(module: str) -> str:
    """Return the top-level package of a module's name."""
    return module.partition(".")[0]


class Plugins:
    """The installed plugins of one entry-point group.

    Parameters
    ----------
    group : str
        The entry-point group.
    check : callable
        Called with what an entry point names; raises TypeError if it isn't a class of the right kind.

    Attributes
    ----------
    failed : dict
        The error of each plugin whose loading failed, by qualified name.
    unusable : dict
        Why a distribution or an entry point was left out of the list, by path or qualified name.

    Notes
    -----
    What is broken harms its own name alone, unless the environment says ``FASTMLP_STRICT_PLUGINS=1``: then the first
    question about plugins imports all of them, and what can't be read or imported is a `PluginError`. Names, versions
    and errors are written by others: they are kept as a terminal can show them.
    """

    def __init__(self, group: str, check: Callable[[object], None]) -> None:
        self.group = group
        self.failed: dict[str, str] = {}
        self.unusable: dict[str, str] = {}
        self._check = check
        self._listed: list[Plugin] | None = None
        self._loaded: dict[str, type[Any]] = {}  # by qualified name
        # Held while listing, never while a plugin is imported: an import may need a lock of another thread
        # that waits for this one.
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Read the metadata anew at the next question."""
        with self._lock:
            self._listed = None

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """Load plugins anew inside, and forget at the end what was loaded or failed."""
        kept = self._loaded, self.failed
        self._loaded, self.failed = {}, {}
        self.forget()
        try:
            yield
        finally:
            self._loaded, self.failed = kept
            self.forget()

    def listed(self) -> list[Plugin]:
        """Return all plugins, sorted by distribution and name; never raises, imports none of them, unless strict."""
        with self._lock:
            if self._listed is not None:
                return self._listed
            self.unusable.clear()
            found, complete = self._read()
            found.sort(key=lambda plugin: plugin.qualified)
            strict = os.environ.get("FASTMLP_STRICT_PLUGINS") == "1"
            if complete or strict:
                self._listed = found
        if strict:
            self._insist(found)
        return found

    def _insist(self, plugins: list[Plugin]) -> None:
        """Raise if a plugin is broken; then the next question does so, too."""
        try:
            for source, reason in self.unusable.items():
                raise PluginError(f"{source}: {reason} (FASTMLP_STRICT_PLUGINS is set)")
            for plugin in plugins:
                self.load(plugin)
        except BaseException:
            self.forget()
            raise

    def offers(self, name: str) -> list[Plugin]:
        """Return the plugins that a plain or a qualified name may mean."""
        distribution, _, plain = name.rpartition(":")
        return [
            plugin
            for plugin in self.listed()
            if plugin.name == plain and (not distribution or same_distribution(plugin.distribution, distribution))
        ]

    def load(self, plugin: Plugin) -> type[Any]:
        """Import a plugin and return its class; a failure is a `PluginError` that names the distribution."""
        key = plugin.qualified
        if key not in self._loaded:
            try:
                cls = plugin.entry_point.load()
                self._check(cls)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # SystemExit, too: a module may do anything while it is imported
                self.failed[key] = _told(error)
                raise PluginError(
                    f"{plugin.name!r} of the group {self.group}, from distribution {plugin.origin}, failed "
                    f"to load ({one_line(plugin.entry_point.value, 200)}): {self.failed[key]}",
                    distribution=plugin.distribution,
                ) from error
            self.failed.pop(key, None)
            self._loaded[key] = cls
        return self._loaded[key]

    def is_class(self, plugin: Plugin, cls: type) -> bool:
        """Tell whether `cls` is what a plugin names; only plugins of the same package are imported for it."""
        if plugin.qualified not in self._loaded:
            if package(plugin.entry_point.value.partition(":")[0]) != package(cls.__module__):
                return False
            try:
                self.load(plugin)
            except PluginError:
                return False
        return self._loaded[plugin.qualified] is cls

    def _read(self) -> tuple[list[Plugin], bool]:
        """Return what is found, and whether it is all: what the system has refused may be there the next time."""
        from importlib import metadata

        found: list[Plugin] = []
        seen: set[str] = set()
        complete = True
        try:
            for distribution in metadata.distributions():
                try:
                    found += self._read_one(distribution, seen)
                except KeyboardInterrupt:
                    raise
                except BaseException as error:
                    path = one_line(getattr(distribution, "_path", distribution))
                    self.unusable[path] = f"unreadable metadata, {_told(error)}"
                    complete &= not isinstance(error, (OSError, MemoryError))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a finder on sys.meta_path that fails
            self.unusable["sys.meta_path"] = _told(error)
            complete = False
        return found, complete

    def _read_one(self, distribution: Distribution, seen: set[str]) -> list[Plugin]:
        # The text is looked at first, because parsing the metadata of everything installed is slow.
        if "[fastmlp." not in (distribution.read_text("entry_points.txt") or ""):
            return []
        owner, version = distribution.metadata["Name"], distribution.metadata["Version"]
        if not owner:
            raise ValueError("the distribution has no name")
        if not is_distribution(owner):
            raise ValueError(f"no distribution can have the name {owner!r:.100}")
        if canonical_distribution(owner) in seen:  # hidden by one that stands earlier on sys.path
            return []
        seen.add(canonical_distribution(owner))
        plugins: dict[str, Plugin] = {}
        for entry_point in distribution.entry_points.select(group=self.group):
            plugin = Plugin(owner, one_line(version, 50), entry_point.name, entry_point)
            if NAME.fullmatch(plugin.name):
                plugins.setdefault(plugin.name, plugin)
            else:
                self.unusable[one_line(plugin.qualified, 200)] = f"in its name, {NAME_RULE}"
        return list(plugins.values())


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {one_line(error, 500)}"
