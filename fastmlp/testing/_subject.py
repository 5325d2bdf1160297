"""What is checked: a class, an instance, or an entry point that is not imported before the first check runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import registry
from ..configurable import check_config
from ..errors import UnknownNameError
from ..registry import KINDS, Plugin, Registry, same_distribution
from ._outcome import Skipped

__all__ = ["OPTIONS", "Subject", "registry_of", "subject_of"]

OPTIONS: dict[str, tuple[str, Any]] = {  # what a class may declare in its attribute `conformance`: meaning, default
    "config": ("arguments that the kit makes the object with", {}),
    "nan": ("'propagates', or 'any' where NaN may give a number", "propagates"),
    "gradient": ("'exact', or 'surrogate' where it is meant to differ from that of the function", "exact"),
    "compiled": ("whether running in Python is a failure", False),
    "domain": ("(low, high): where arguments are drawn from; None is the whole line", None),
    "whole": ("whether a layer takes whole numbers, ids: then without a gradient by its inputs", False),
    "targets": ("'rows' or 'labels': what a metric is given as y_true", "rows"),
}
CHOICES = {"nan": ("propagates", "any"), "gradient": ("exact", "surrogate"), "targets": ("rows", "labels")}


class Subject:
    """An object of one kind, made anew for each check.

    Parameters
    ----------
    of_kind : Registry
    label : str
        How outcomes call it.
    source : str, type or object
        A registered name, a class, or an instance.
    plugin : Plugin, optional
        The entry point that `source` names.
    problem : str, optional
        Why the entry point can't be used at all.
    """

    def __init__(
        self, of_kind: Registry[Any], label: str, source: Any, plugin: Plugin | None = None, problem: str | None = None
    ) -> None:
        self.of_kind = of_kind
        self.label = label
        self.plugin = plugin
        self.problem = problem
        self._source = source
        self._loaded: type[Any] | None = None

    @property
    def kind(self) -> str:
        """Name of its registry, ``"activations"`` for instance."""
        return self.of_kind.plural

    def load(self) -> type[Any]:
        """Return the class; raise what its import raises."""
        if self._loaded is None:
            if isinstance(self._source, str):
                self._loaded = self.of_kind.resolve(self._source)
            else:
                self._loaded = self._source if isinstance(self._source, type) else type(self._source)
        return self._loaded

    @property
    def cls(self) -> type[Any]:
        """The class; `Skipped` where it can't be loaded, which is another check's failure."""
        try:
            return self.load()
        except Exception:
            raise Skipped("it can't be loaded, see the check 'loads'") from None

    def create(self) -> Any:
        """Return the instance, or one made with ``conformance["config"]``; raises what ``__init__`` raises."""
        if isinstance(self._source, (str, type)):
            cls, config = self.cls, self.option("config")
            check_config(cls, config)
            return cls(**config)
        if self.kind == "layers":  # a layer belongs to one network
            return type(self._source).from_config(self._source.get_config())
        return self._source

    def make(self) -> Any:
        """Return as `create` does; `Skipped` where that fails, which is another check's failure."""
        try:
            return self.create()
        except (Exception, SystemExit):
            raise Skipped("no object can be made, see the check 'makes'") from None

    def option(self, name: str) -> Any:
        """Return what the class declares, or the default."""
        declared = getattr(self.cls, "conformance", {})
        return declared.get(name, OPTIONS[name][1]) if isinstance(declared, Mapping) else OPTIONS[name][1]

    def declaration_problem(self) -> str | None:
        """Return what is wrong with the attribute `conformance`, if anything is."""
        declared = getattr(self.cls, "conformance", {})
        if not isinstance(declared, Mapping):
            return f"the attribute conformance must be a dict, got {declared!r}"
        for name, value in declared.items():
            if name not in OPTIONS:
                return f"conformance has the unknown key {name!r}; known: {', '.join(sorted(OPTIONS))}"
            if name in CHOICES and value not in CHOICES[name]:
                return f"conformance[{name!r}]: expected one of {CHOICES[name]}, got {value!r}"
            if name == "config" and not isinstance(value, Mapping):
                return f"conformance['config']: expected a dict of arguments, got {value!r}"
        domain = declared.get("domain")
        if domain is not None and not (
            isinstance(domain, (tuple, list)) and len(domain) == 2 and domain[0] < domain[1]
        ):
            return f"conformance['domain']: expected (low, high), got {domain!r}"
        return None


def registry_of(kind: str) -> Registry[Any]:
    """Return the registry of ``"activations"`` or ``"activation"``."""
    for plural in KINDS:
        found: Registry[Any] = getattr(registry, plural)
        if kind in (plural, found.kind):
            return found
    raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {kind!r}")


def subject_of(obj: Any, kind: str | None = None) -> Subject:
    """Return the subject of a name, a class or an instance; errors as `fastmlp.testing.check`."""
    if isinstance(obj, str):
        of_kind = registry_of(kind) if kind else _registry_with(obj)
        return Subject(of_kind, obj, obj, _plugin(of_kind, obj))
    cls = obj if isinstance(obj, type) else type(obj)
    if kind:
        of_kind = registry_of(kind)
    else:
        fitting = [one for one in map(registry_of, KINDS) if one.base is not None and issubclass(cls, one.base)]
        if not fitting:
            raise TypeError(
                f"expected an object of fastmlp or its class, got {obj!r}; derive it from a base class such as "
                "fm.activations.Activation, or give kind="
            )
        of_kind = fitting[0]
    return Subject(of_kind, cls.__qualname__, obj)


def _registry_with(name: str) -> Registry[Any]:
    offering = [
        one
        for one in map(registry_of, KINDS)
        if name in one or _plugin(one, name) or any(plugin.name == name for plugin in one.plugins())
    ]
    if len(offering) > 1:
        kinds = [one.plural for one in offering]
        raise ValueError(f"{name!r} is a name of {' and of '.join(kinds)}; give kind={kinds[0]!r}, for instance")
    if not offering:
        raise UnknownNameError(f"no object of any kind is called {name!r}; `fastmlp plugins` lists what is installed")
    return offering[0]


def _plugin(of_kind: Registry[Any], name: str) -> Plugin | None:
    """Return the plugin that a name means; a plain name may be a built-in's, or that of two."""
    distribution, _, plain = name.rpartition(":")
    if not distribution:
        found = [plugin for plugin in of_kind.plugins() if plugin.name == plain]
        mine = of_kind.origin(name) if len(found) == 1 and name in of_kind else ""
        return found[0] if found and mine == found[0].origin else None
    for plugin in of_kind.plugins():
        if plugin.name == plain and same_distribution(plugin.distribution, distribution):
            return plugin
    return None
