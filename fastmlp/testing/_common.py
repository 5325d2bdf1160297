"""Checks of every kind: loading, names, configuration, copies."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Mapping
from typing import Any

from ..configurable import Configurable, init_parameters, same_values
from ..errors import PluginError
from ._outcome import Failure, Skipped, describe_error, expect
from ._subject import Subject

__all__ = ["FIRST", "copies", "loads"]


def loads(subject: Subject) -> None:
    """Make the entry point name a class of the right kind, in a module that imports without an error."""
    if subject.problem:
        raise Failure(subject.problem)
    try:
        cls = subject.load()
    except PluginError as error:
        ends = isinstance(error.__cause__, SystemExit)
        remedy = "; importing it ends the program: move what runs at import into functions" if ends else ""
        raise Failure(f"{error}{remedy}") from error
    base = subject.of_kind.base
    expect(base is None or issubclass(cls, base), f"{cls.__qualname__} must be a subclass of {base}")
    problem = subject.declaration_problem()
    expect(problem is None, str(problem))


def name(subject: Subject) -> None:
    """Choose a name that no built-in and no other installed distribution has."""
    plugin, of_kind = subject.plugin, subject.of_kind
    if plugin is None:
        raise Skipped("no entry point")
    reason = of_kind.ignored().get(plugin.qualified)
    expect(reason is None, f"{reason}, so only {plugin.qualified!r} reaches it: rename the entry point")
    others = [one.origin for one in of_kind.plugins() if one.name == plugin.name and one != plugin]
    expect(
        not others,
        f"{plugin.origin} and {' and '.join(others)} both offer the {of_kind.kind} {plugin.name!r}, so the plain name "
        f"is an error and only {plugin.qualified!r} is found: rename one, or uninstall one",
    )


def makes(subject: Subject) -> None:
    """Give every parameter of ``__init__`` a default, or declare arguments in ``conformance``."""
    cls = subject.cls
    try:
        subject.create()
    except (Exception, SystemExit) as error:
        config = dict(subject.option("config"))
        raise Failure(
            f"{cls.__qualname__}({', '.join(f'{key}={value!r}' for key, value in config.items())}) raised "
            f"{describe_error(error)}; give defaults, or arguments to check it with: "
            'conformance = {"config": {"name": value}} in the class'
        ) from error


def configuration(subject: Subject) -> None:
    """Keep each parameter of ``__init__`` under its own name, as it came, so that the object can be made again."""
    made = subject.make()
    config = made.get_config()
    expect(isinstance(config, Mapping), f"get_config() must return a dict, got {config!r}")
    again = type(made).from_config(config)
    expect(type(again) is type(made), f"from_config() made a {type(again).__qualname__}, not {type(made).__qualname__}")
    _same_config(made, again, "from_config(get_config())")
    expect(isinstance(repr(made), str) and repr(made), "repr() must be a text")
    lost = [key for key in init_parameters(type(made)) if key not in config and _overrides_get_config(made) is False]
    expect(not lost, f"get_config() lacks {lost}")


def _overrides_get_config(made: Any) -> bool:
    return type(made).get_config is not Configurable.get_config


def _same_config(made: Any, again: Any, what: str) -> None:
    mine, other = made.get_config(), again.get_config()
    wrong = sorted(key for key in {*mine, *other} if key not in mine or key not in other)
    expect(not wrong, f"{what}: only one of the two configurations has {wrong}")
    for key, value in mine.items():
        expect(
            same_values(value, other[key]),
            f"{what} changed {key!r} from {value!r} to {other[key]!r}: keep what __init__ takes, unchanged or in a "
            "form that it takes again",
        )


def copies(subject: Subject) -> None:
    """Define the class at the top of a module and keep only what pickle can store; a copy must act alike."""
    from ._networks import trace

    made = subject.make()
    twins: dict[str, Any] = {}
    for what, duplicate in (("pickle", _pickled), ("copy.deepcopy", copy.deepcopy)):
        try:
            twins[what] = duplicate(made)
        except Exception as error:
            raise Failure(
                f"{what} raised {describe_error(error)}: define the class at the top level of a module, and keep no "
                "function, lock, file or handle in an attribute (or write __reduce__)"
            ) from error
    for what, twin in twins.items():
        expect(type(twin) is type(made), f"{what} gave a {type(twin).__qualname__}")
        _same_config(made, twin, what)
    expected = trace(subject, made)
    for what, twin in twins.items():
        expect(trace(subject, twin) == expected, f"a copy by {what} gives other results: copy all that it depends on")


def _pickled(made: Any) -> Any:
    return pickle.loads(pickle.dumps(made))


FIRST = (loads, name, makes, configuration)
