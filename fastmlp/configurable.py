"""``Configurable``: an object whose configuration is what its ``__init__`` takes (scikit-learn's rule).

Plans are compiled from such objects, whose attributes may be set at any time. `VERSIONS` counts those changes, so that
a plan is known to be up to date by comparing two integers.
"""

from __future__ import annotations

import inspect
from array import array
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from types import MappingProxyType
from typing import Any, ClassVar, Final, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

__all__ = [
    "HYPERPARAMETERS",
    "SETTINGS",
    "VERSIONS",
    "Configurable",
    "check_config",
    "init_parameters",
    "is_builtin",
    "same_values",
    "unknown_attribute",
    "unknown_parameters",
]

Self = TypeVar("Self", bound="Configurable")

VERSIONS: Final = array("q", [0, 0])  # compiled code reads it through its buffer
SETTINGS, HYPERPARAMETERS = 0, 1  # indices of VERSIONS
# Each version is given out once, also where threads set attributes at the same time: no version comes back.
_NEXT = (count(1), count(1))
_NOT_THERE = object()
_REQUIRED = inspect.Parameter.empty
_OURS = f"{__name__.partition('.')[0]}."  # how modules of fastmlp's own classes are called


class _Signature(NamedTuple):
    """What an ``__init__`` takes: parameters by name, and whether ``*args`` and ``**kwargs`` besides."""

    named: dict[str, inspect.Parameter]
    takes_args: bool
    passes_on: bool


_SIGNATURES: WeakKeyDictionary[Any, _Signature] = WeakKeyDictionary()  # of each ``__init__``


def init_parameters(cls: type) -> Mapping[str, inspect.Parameter]:
    """Return the parameters that a class takes, by name, in the order of its ``__init__``.

    ``**kwargs`` stands for the parameters of the next ``__init__`` in the method resolution order, so that a
    subclass may pass on what its base takes without repeating it.

    Raises
    ------
    TypeError
        If an ``__init__`` takes ``*args`` alone: such values have no name to be kept under.
    """
    found: dict[str, inspect.Parameter] = {}
    for owner in cls.__mro__:
        if owner is object:
            break
        if "__init__" not in owner.__dict__:
            continue
        named, takes_args, passes_on = _signature_of(owner.__dict__["__init__"])
        found = {**found, **named, **found} if found else named  # in this order, and those of subclasses hold
        if not passes_on:
            if takes_args:
                raise TypeError(
                    f"{owner.__qualname__}.__init__ takes *args, which a configuration has no name for; "
                    "give them a parameter of their own, or override get_config() and from_config()"
                )
            break
    return found


def _signature_of(init: Any) -> _Signature:
    try:
        return _SIGNATURES[init]
    except (KeyError, TypeError):  # TypeError: not every callable can be referred to weakly
        _, *parameters = inspect.signature(init).parameters.values()
    kinds = {parameter.kind for parameter in parameters}
    rest = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
    signature = _Signature(
        {parameter.name: parameter for parameter in parameters if parameter.kind not in rest},
        inspect.Parameter.VAR_POSITIONAL in kinds,
        inspect.Parameter.VAR_KEYWORD in kinds,
    )
    with suppress(TypeError):
        _SIGNATURES[init] = signature
    return signature


def check_config(cls: type, config: Mapping[str, Any], label: str | None = None) -> None:
    """Check that `cls` can be called with the keywords in `config`.

    Parameters
    ----------
    cls : type
        The class to be made.
    config : mapping of str to object
        The keywords.
    label : str, optional
        How the error calls the class; default: the class's name.

    Raises
    ------
    TypeError
        If a keyword is unknown or a required one is missing; the message names the accepted ones.
    """
    accepted = init_parameters(cls)
    unknown = [name for name in config if name not in accepted]
    missing = [
        f"missing parameter {name!r}"
        for name, parameter in accepted.items()
        if name not in config and parameter.default is _REQUIRED
    ]
    if unknown or missing:
        raise unknown_parameters(cls, unknown, label, missing)


def unknown_parameters(
    cls: type, names: Iterable[str], label: str | None = None, others: Iterable[str] = ()
) -> TypeError:
    """Return the error for keywords that a class doesn't take: what it takes, and ours for names of other libraries.

    Parameters
    ----------
    cls : type
        The class to be made.
    names : iterable of str
        The keywords.
    label : str, optional
        How the error calls the class; default: the class's name.
    others : iterable of str
        What else is wrong.
    """
    accepted = init_parameters(cls)
    problems = []
    for name in names:
        ours = _our_names(cls, name, accepted)
        problems.append(f"unknown parameter {name!r}" + (f", here called {ours}" if ours else ""))
    known = ", ".join(
        name if parameter.default is _REQUIRED else f"{name}={parameter.default!r}"
        for name, parameter in accepted.items()
    )
    return TypeError(f"{label or cls.__qualname__}: {'; '.join([*problems, *others])}; accepted: {known or 'none'}")


def _our_names(cls: type, name: str, known: Iterable[str]) -> str:
    """Return what a class calls a parameter that other libraries, or earlier versions, call `name`; "" if nothing."""
    ours: tuple[str, ...] = ()
    if issubclass(cls, Configurable):
        ours = (cls.renamed[name],) if name in cls.renamed else tuple(cls.elsewhere.get(name, ()))
    return " and ".join(map(repr, ours)) if set(ours) <= set(known) else ""


def is_builtin(cls: type) -> bool:
    """Return whether a class is fastmlp's own, which has the attributes that it says and no others."""
    return cls.__module__.startswith(_OURS)


def unknown_attribute(kind: str, name: str, known: Iterable[str], ours: str = "") -> AttributeError:
    """Return the error for an attribute that can't be set because there is none of that name; it names a close one.

    `ours` says which is meant, where that is known.
    """
    from difflib import get_close_matches

    names = sorted(known)
    close = [one for one in names if "".join(part[:1] for part in one.split("_")) == name]  # lr: learning_rate
    close = close or get_close_matches(name, names, n=1)
    meant = ours or (repr(close[0]) if close else "")
    meant = f": did you mean {meant}?" if meant else "."
    return AttributeError(f"{kind} has no attribute {name!r}{meant} What can be set: {', '.join(names) or 'nothing'}")


def same_values(a: Any, b: Any) -> bool:
    """Compare configuration values: by content for arrays, a list equals a tuple, NaN equals NaN."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_values(value, b[key]) for key, value in a.items())
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same_values, a, b))
    if hasattr(a, "__array__") or hasattr(b, "__array__"):
        import numpy as np

        a, b = np.asarray(a), np.asarray(b)
        return a.shape == b.shape and bool(np.all((a == b) | ((a != a) & (b != b))))
    return a is b or bool(a == b) or bool(a != a and b != b)


class Configurable:
    """Mixin: configuration, representation and equality from the signature of ``__init__``.

    A subclass keeps every parameter of its ``__init__`` in an attribute of the same name; nothing else is
    needed. A subclass that can't do so overrides `get_config` and, if need be, `from_config`.

    Attributes
    ----------
    data_attributes : frozenset of str
        Attributes of instances that no plan depends on: sums of metrics, arrays of layers. A subclass adds its own:
        ``data_attributes = Base.data_attributes | {"total"}``.
    hyperparameters : tuple of str
        Attributes whose values a plan reads anew at every step, those kept by a property under a leading underscore
        included.
    renamed : mapping of str to str
        Parameters of earlier versions, and what they are called now: `from_config` takes both, so that what was saved
        can be loaded.
    elsewhere : mapping of str to sequence of str
        What other libraries call a parameter, and ours: for errors, which name them where the class has them.

    Notes
    -----
    An object of one of fastmlp's own classes has the attributes that its ``__init__`` takes, and no others: a name
    that nobody would look at is an AttributeError. What is set later is what ``__init__`` makes of it, so that it is
    checked, a name becomes the object it stands for, and what follows from it follows. Objects of somebody else's
    classes may have what they like.

    ``VERSIONS[SETTINGS]`` changes when an attribute that was there gets another object, or is deleted, and
    ``VERSIONS[HYPERPARAMETERS]`` instead if it is a hyper-parameter. "There" is what the object has, and what its class
    defines: not what ``__init__`` sets for the first time, since nothing can depend on it yet. A property counts
    through the attributes that its setter sets. What changes inside a list or an array, in the class, or in
    the object's ``vars`` is not counted.

    Examples
    --------
    >>> class Scale(Configurable):
    ...     def __init__(self, factor=1.0):
    ...         self.factor = factor
    >>> Scale(2.0)
    Scale(factor=2.0)
    >>> Scale.from_config({"factor": 2.0}) == Scale(2.0)
    True
    """

    data_attributes: ClassVar[frozenset[str]] = frozenset()
    hyperparameters: ClassVar[tuple[str, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = MappingProxyType({})
    elsewhere: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType({})

    # Names that objects of this very class set without hiding anything of the class: a lookup that fails is slow.
    _set_on_objects_alone: ClassVar[set[str]] = set()

    # What can be set on objects of this very class, once somebody has asked; None: anything.
    _settings: ClassVar[frozenset[str] | None] = None

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._set_on_objects_alone = set()
        cls._settings = None

    def __setattr__(self, name: str, value: Any) -> None:
        mine = self.__dict__
        if name in mine:
            changes = mine[name] is not value
            if changes:
                self._check_change(name, value)
                if name in self._checked_by_init():
                    for key, checked in self._check_setting(name, value).items():
                        if mine.get(key, _NOT_THERE) is not checked:
                            mine[key] = checked
                            self._count_change(key)
                    return
            object.__setattr__(self, name, value)
        elif name in self._set_on_objects_alone:  # as in most lines of an __init__, which should stay fast
            mine[name] = value
            return
        else:
            default = getattr(type(self), name, _NOT_THERE)
            if is_builtin(type(self)):
                self._check_name(name, default)
            object.__setattr__(self, name, value)
            if default is _NOT_THERE:
                type(self)._set_on_objects_alone.add(name)
                return
            # A property counts by what its setter sets; another descriptor may have kept the value under its own name.
            changes = not isinstance(default, property) and not (name in mine and hasattr(type(default), "__set__"))
        if changes:  # counted once it is set: whoever sees the new version sees the new value
            self._count_change(name)

    @classmethod
    def _checked_by_init(cls) -> frozenset[str]:
        """Return the settings of which ``__init__`` checks what is set later: not those that check it themselves."""
        if cls._settings is None:
            names = init_parameters(cls) if is_builtin(cls) else ()
            cls._settings = frozenset(name for name in names if not hasattr(type(getattr(cls, name, None)), "__set__"))
        return cls._settings

    def _check_name(self, name: str, default: Any) -> None:
        """Refuse an attribute that nobody would look at; `default` is what the class has of that name."""
        if name.startswith("_") or name in self.data_attributes or hasattr(type(default), "__set__"):
            return
        cls = type(self)
        names = init_parameters(cls)
        if name not in names and default is not _NOT_THERE:
            raise AttributeError(
                f"{cls.__name__}.{name} belongs to the class, and can't be set on an object: a subclass may have "
                f"another one. What can be set: {', '.join(names) or 'nothing'}"
            )
        if name not in names:
            raise unknown_attribute(cls.__name__, name, names, _our_names(cls, name, names))

    def _check_change(self, name: str, value: Any) -> None:
        """Refuse another object as an attribute that was there, if it is settled by now; AttributeError."""

    def _check_setting(self, name: str, value: Any) -> dict[str, Any]:
        """Return what to set, by name, where a setting is to have another value: what ``__init__`` makes of it."""
        config = {**self.get_config(), name: value}
        made = vars(type(self)(**config))
        return {key: made[key] for key in made if key in config or key not in self.data_attributes}

    def __delattr__(self, name: str) -> None:
        if name in self.__dict__ and name in self._checked_by_init():
            raise AttributeError(
                f"{type(self).__name__}.{name} can't be deleted: it is a setting, which may have other values"
            )
        super().__delattr__(name)
        self._count_change(name)

    def _count_change(self, name: str) -> None:
        if name not in self.data_attributes:
            names = self.hyperparameters
            which = HYPERPARAMETERS if name in names or name.removeprefix("_") in names else SETTINGS
            VERSIONS[which] = next(_NEXT[which])

    def get_config(self) -> dict[str, Any]:
        """Return the parameters of ``__init__`` with their present values, in the signature's order.

        Raises
        ------
        AttributeError
            If a parameter isn't kept under its own name.
        """
        config = {}
        for name in init_parameters(type(self)):
            try:
                config[name] = getattr(self, name)
            except AttributeError:
                kind = type(self).__qualname__
                raise AttributeError(
                    f"{kind}.__init__ takes {name!r}, but the object has no attribute {name!r}; keep it "
                    f"(self.{name} = {name}), or override get_config()"
                ) from None
        return config

    @classmethod
    def from_config(cls: type[Self], config: Mapping[str, Any]) -> Self:
        """Make an object from what `get_config` returned, also in an earlier version.

        Raises
        ------
        TypeError
            If a name in `config` isn't a parameter, or a required one is missing.
        """
        former = {old: new for old, new in cls.renamed.items() if old in config and new not in config}
        config = {former.get(name, name): value for name, value in config.items()}
        check_config(cls, config)
        return cls(**config)

    def __repr__(self) -> str:
        try:
            config = self.get_config()
        except AttributeError:  # a half-made object must still be printable, in a debugger above all
            return f"<{type(self).__name__}, incomplete>"
        parameters = init_parameters(type(self))
        shown = [
            f"{name}={value!r}"
            for name, value in config.items()
            if name not in parameters or not same_values(value, parameters[name].default)
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return NotImplemented
        assert isinstance(other, Configurable)
        return self is other or same_values(self.get_config(), other.get_config())

    def __hash__(self) -> int:
        # Values may be arrays, and may change: the type is all that equal objects surely share for life.
        return hash(type(self))
