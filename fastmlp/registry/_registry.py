"""``Registry``: names and the classes they stand for."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, Generic, NoReturn, TypeVar, cast, overload

from ..configurable import check_config
from ..errors import DuplicateNameError, UnknownNameError
from ._plugins import NAME, NAME_RULE, Plugin, Plugins, package

SHOWN = 200  # names in a message
COMPARED = 500  # names that a misspelt one is compared with
LONGEST = 100  # characters of it

T = TypeVar("T")
C = TypeVar("C", bound=type[Any])


def _source(cls: type) -> str:
    """Return where a class was defined: a re-run notebook cell makes a new class with the same source."""
    return f"{cls.__module__}.{cls.__qualname__}"


def _closest(name: str, names: list[str]) -> str | None:
    """Return the name that was probably meant; among many only those that begin alike and are about as long."""
    from difflib import get_close_matches

    wanted = name[:LONGEST].lower()
    folded = {known.lower(): known for known in names}
    likely: Iterable[str] = folded
    if len(folded) > COMPARED:
        near = (known for known in folded if known[:1] == wanted[:1] and abs(len(known) - len(wanted)) <= 2)
        likely = islice(near, COMPARED)
    close = get_close_matches(wanted, likely, n=1)
    return folded[close[0]] if close else None


class Registry(Generic[T]):
    """Names and the classes they stand for.

    Parameters
    ----------
    kind : str
        What one of them is called, in messages: ``"activation"``.
    plural : str
        Name of the registry in ``fm.registry`` and of its entry-point group, ``fastmlp.<plural>``.
    of_function : str, optional
        What to write where one has a function: for the error of whoever gives it in place of an object.

    Attributes
    ----------
    base : type or None
        Every registered class is a subclass of it; set by the module that defines it.

    Notes
    -----
    A plain name means, in this order: the built-in, what was registered at run time, the plugin. A plugin is
    always reached as ``"distribution:name"``, also where its plain name is hidden or offered twice.
    """

    def __init__(self, kind: str, plural: str, of_function: str = "") -> None:
        self.kind = kind
        self.plural = plural
        self.of_function = of_function
        self.base: type[T] | None = None
        self._builtin: dict[str, type[T]] = {}
        self._builtin_names: dict[type, str] = {}  # the first of each class
        self._runtime: dict[str, type[T]] = {}
        self._plugins = Plugins(f"fastmlp.{plural}", self._check_class)
        self._lock = threading.Lock()

    # -- registering ---------------------------------------------------------------------------------------

    def builtin(self, *names: str) -> Callable[[C], C]:
        """Class decorator for the classes of fastmlp itself; names after the first are aliases."""

        def add(cls: C) -> C:
            if package(cls.__module__) != package(__name__):
                raise ValueError(f"{_source(cls)} isn't a part of fastmlp: use register(), not builtin()")
            for name in names:
                self._claim(name, cls, self._builtin, override=False)
                self._builtin_names.setdefault(cls, name)
            return cls

        return add

    @overload
    def register(self, name: str, obj: None = None, *, override: bool = False) -> Callable[[C], C]: ...

    @overload
    def register(self, name: str, obj: C, *, override: bool = False) -> C: ...

    def register(self, name: str, obj: C | None = None, *, override: bool = False) -> C | Callable[[C], C]:
        """Register a class for this run of Python, by a call or as a decorator.

        Parameters
        ----------
        name : str
            Letters, digits, ``_``, ``.`` and ``-``.
        obj : type, optional
            A subclass of `base`; left out, a decorator is returned.
        override : bool
            Whether the class may take the place of another one that was registered at run time. A class of
            the same module and qualified name (a notebook cell run again) replaces itself without it.

        Returns
        -------
        type
            The class, unchanged.

        Raises
        ------
        DuplicateNameError
            If the name is a built-in's, or taken and `override` is false.
        TypeError, ValueError
            If `obj` isn't a subclass of `base`; if the name has other characters.
        """
        self._check_name(name)

        def add(cls: C) -> C:
            self._claim(name, cls, self._runtime, override=override)
            return cls

        return add if obj is None else add(obj)

    @contextmanager
    def temporary(self) -> Iterator[None]:
        """Forget at the end what is registered, and which plugins are loaded, inside this context: for tests.

        Examples
        --------
        >>> import fastmlp as fm
        >>> with fm.registry.activations.temporary():
        ...     _ = fm.registry.activations.register("mine", fm.activations.Identity)
        ...     "mine" in fm.registry.activations
        True
        >>> "mine" in fm.registry.activations
        False
        """
        kept = self._runtime
        self._runtime = kept.copy()
        try:
            with self._plugins.temporary():
                yield
        finally:
            self._runtime = kept

    def _claim(self, name: str, cls: type, table: dict[str, type[T]], *, override: bool) -> None:
        self._check_name(name)
        self._check_class(cls)
        with self._lock:
            if name in self._builtin and table is not self._builtin:
                raise DuplicateNameError(
                    f"{name!r} is a built-in {self.kind} and can't be replaced; choose another name"
                )
            owner = table.get(name)
            if owner is not None and _source(owner) != _source(cls) and not override:
                raise DuplicateNameError(
                    f"{self.kind} {name!r} is registered by {_source(owner)} and now by {_source(cls)}; "
                    "choose another name, or pass override=True to replace the first"
                )
            table[name] = cls

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str):
            raise TypeError(f'a name is a str, got {name!r}; write @fm.registry.{self.plural}.register("name")')
        if not NAME.fullmatch(name):
            raise ValueError(f"{self.kind} name {name!r}: {NAME_RULE}")

    def _check_class(self, cls: object) -> None:
        base = "" if self.base is None else f" (a subclass of {_source(self.base)})"
        if not isinstance(cls, type):
            raise TypeError(f"expected a class of {self.kind}{base}, got {cls!r}{self._advice_for(cls)}")
        if self.base is not None and not issubclass(cls, self.base):
            raise TypeError(f"expected a class of {self.kind}{base}, got {_source(cls)}")

    def _advice_for(self, wrong: object) -> str:
        """Return what to do about something that is no class and no instance, but can be called."""
        return f"; for a function: {self.of_function}" if callable(wrong) and self.of_function else ""

    # -- looking up ----------------------------------------------------------------------------------------

    def get(self, identifier: object, /, **config: Any) -> T:
        """Return an instance.

        Parameters
        ----------
        identifier : str, type, dict or instance
            A name (``"relu"``, ``"distribution:name"``), a subclass of `base`, a dict
            ``{"name": name, **config}``, or an instance, which comes back unchanged.
        **config
            Parameters of the class; they go before those of a dict.

        Raises
        ------
        UnknownNameError
            If there is no such name; the message lists the names, a close match and the failed plugins.
        DuplicateNameError
            If several distributions offer the plain name.
        PluginError
            If the plugin of that name can't be imported or isn't a class of this kind.
        TypeError
            If `identifier` is none of the above, or a parameter is unknown or missing.
        """
        if isinstance(identifier, dict) and "name" in identifier:
            config = {**identifier, **config}
            identifier = config.pop("name")
        if self.base is not None and isinstance(identifier, self.base):
            if config:
                raise TypeError(f"{identifier!r} is made already, so it takes no parameters: {sorted(config)}")
            return identifier
        if isinstance(identifier, str):
            cls, label = self.resolve(identifier), f"{self.kind} {identifier!r}"
        elif isinstance(identifier, type):
            self._check_class(identifier)
            cls, label = cast("type[T]", identifier), identifier.__qualname__
        else:
            raise TypeError(
                f'{self.kind}: expected a name, a class, an instance or {{"name": ..., **config}}, got {identifier!r}'
                f"{self._advice_for(identifier)}"
            )
        check_config(cls, config, label)
        return cls(**config)

    def resolve(self, name: str) -> type[T]:
        """Return the class of a name, importing its plugin if need be; errors as `get`."""
        found = self._find(name)
        return cast("type[T]", self._plugins.load(found)) if isinstance(found, Plugin) else found

    def origin(self, name: str) -> str:
        """Tell where a name comes from, importing nothing; errors as `get`.

        Returns
        -------
        str
            ``"built-in"``, ``"run time (module.Class)"`` or ``"distribution version"``.
        """
        found = self._find(name)
        if isinstance(found, Plugin):
            return found.origin
        return "built-in" if name in self._builtin else f"run time ({_source(found)})"

    def identify(self, obj: object) -> str:
        """Return the name to store in a file for an instance or a class: what `get` takes to find it again.

        Raises
        ------
        UnknownNameError
            If its class isn't registered; the message says how to register it.
        """
        cls = obj if isinstance(obj, type) else type(obj)
        name = self._builtin_names.get(cls)
        if name is not None:
            return name
        for plugin in self._plugins.listed():
            if self._plugins.is_class(plugin, cls):
                return plugin.qualified
        for name, known in self._runtime.copy().items():
            if _source(known) == _source(cls):
                return name
        raise UnknownNameError(
            f"{_source(cls)} isn't a registered {self.kind}, so a file can't name it; "
            f'register it: fm.registry.{self.plural}.register("name", {cls.__name__})'
        )

    def names(self) -> list[str]:
        """Return the names that `get` takes, sorted; no plugin is imported.

        A plain name that several distributions offer stands as ``"distribution:name"``, once for each.
        """
        own = {*self._builtin, *self._runtime}
        plugins = [plugin for plugin in self._plugins.listed() if plugin.name not in own]
        offers = Counter(plugin.name for plugin in plugins)
        return sorted(own.union(p.name if offers[p.name] == 1 else p.qualified for p in plugins))

    def __contains__(self, name: object) -> bool:
        """Tell whether `get` knows exactly one class of that name."""
        if not isinstance(name, str):
            return False
        return name in self._builtin or name in self._runtime or len(self._plugins.offers(name)) == 1

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __repr__(self) -> str:
        return f"<registry of {self.plural}: {', '.join(self.names())}>"

    def _find(self, name: str) -> type[T] | Plugin:
        for table in (self._builtin, self._runtime):
            if name in table:
                return table[name]
        offers = self._plugins.offers(name)
        if len(offers) > 1:
            raise DuplicateNameError(
                f"{self.kind} {name!r} is offered by {' and by '.join(p.origin for p in offers)}; "
                f"ask for {' or '.join(repr(p.qualified) for p in offers)}"
            )
        return offers[0] if offers else self._raise_unknown(name)

    def _raise_unknown(self, name: str) -> NoReturn:
        names = self.names()
        close = _closest(name, names)
        message = f"unknown {self.kind} {name!r:.200}"
        message += f"; did you mean {close!r}?" if close else ""
        more = ""
        if len(names) > SHOWN:  # those of plugins go last
            more = f" and {len(names) - SHOWN} more"
            names.sort(key=lambda known: known not in self._builtin and known not in self._runtime)
        message += f"\nknown: {', '.join(names[:SHOWN]) or 'none'}{more}"
        failed = {**self._plugins.unusable, **self._plugins.failed}
        message += "".join(f"\nfailed to load: {key} ({reason})" for key, reason in sorted(failed.items()))
        if ":" in name:
            message += f"\nis the distribution {name.rpartition(':')[0]!r:.200} installed here?"
        raise UnknownNameError(message)

    # -- built-ins and plugins -----------------------------------------------------------------------------

    def builtins(self) -> list[str]:
        """Return the names of fastmlp's own classes, sorted, aliases among them."""
        return sorted(self._builtin)

    def plugins(self) -> list[Plugin]:
        """Return every installed plugin of this kind, also those ignored or broken; imports none."""
        return list(self._plugins.listed())

    def ignored(self) -> dict[str, str]:
        """Return what isn't reached by a plain name, with the reason, by qualified name: plugins hidden by a
        built-in or by run-time registration, and whatever couldn't be read (by its path).
        """
        reasons = {}
        for plugin in self._plugins.listed():
            if plugin.name in self._builtin:
                reasons[plugin.qualified] = f"{plugin.name!r} is a built-in {self.kind}"
            elif plugin.name in self._runtime:
                reasons[plugin.qualified] = f"{plugin.name!r} was registered at run time"
        return {**self.unusable(), **reasons}

    def unusable(self) -> dict[str, str]:
        """Return the entry points and distributions that couldn't be read, with the reason: those by qualified name,
        these by path.
        """
        self._plugins.listed()
        return dict(self._plugins.unusable)

    def failed(self) -> dict[str, str]:
        """Return the plugins whose loading failed so far, with the error, by qualified name."""
        return dict(self._plugins.failed)

    def refresh(self) -> None:
        """Forget the list of plugins, so that one installed meanwhile is found."""
        self._plugins.forget()
