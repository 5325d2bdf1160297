"""The commands ``fastmlp plugins``, ``fastmlp plugins check NAME`` and ``fastmlp plugins new NAME``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..checks import one_line

if TYPE_CHECKING:
    import argparse

    from ..registry import Plugin, Registry

__all__ = ["add_plugins"]

Row = dict[str, str | None]


def add_plugins(commands: Any) -> None:
    """Add the command ``plugins`` to the subparsers of ``fastmlp``."""
    plugins = commands.add_parser("plugins", help="list, check or begin plugins")
    plugins.description = "List installed plugins, without importing them; check them; or begin a new one."
    plugins.add_argument("--json", action="store_true", help="print JSON")
    plugins.add_argument("--load", action="store_true", help="import each; tell how it runs, or why it failed")
    plugins.set_defaults(run=_list)
    actions = plugins.add_subparsers(dest="action", metavar="ACTION")

    check = actions.add_parser("check", help="check an object, or all that a distribution brings")
    check.add_argument("name", metavar="NAME", help='a name, "distribution:name", or a distribution')
    check.add_argument("--kind", metavar="KIND", help="activations, layers, ...: for a name that several kinds have")
    check.add_argument("--json", action="store_true", help="print JSON")
    check.set_defaults(run=_check)

    new = actions.add_parser("new", help="write a package with a plugin that works")
    new.add_argument("name", metavar="NAME", help="of the distribution and the folder")
    new.add_argument("--into", metavar="DIR", default=".", help="folder to write it into (default: this one)")
    new.add_argument("--kind", metavar="KIND", default="activations", help="what it brings (default: activations)")
    new.set_defaults(run=_new)


# -- list --------------------------------------------------------------------------------------------------------------


def _list(arguments: argparse.Namespace) -> int:
    from .. import registry

    found: list[Row] = []
    unreadable: dict[str, str] = {}
    for plural in registry.KINDS:
        of_kind: Registry[Any] = getattr(registry, plural)
        plugins, ignored, failed = of_kind.plugins(), of_kind.ignored(), of_kind.failed()
        owners: dict[str, list[str]] = {}
        for plugin in plugins:
            owners.setdefault(plugin.name, []).append(plugin.distribution)
        for plugin in plugins:
            loaded = _load(of_kind, plugin) if arguments.load else {}
            others = [owner for owner in owners[plugin.name] if owner != plugin.distribution]
            found.append({**_describe(plugin, of_kind.kind, others, ignored, failed), **loaded})
        listed = {plugin.qualified for plugin in plugins}
        unreadable |= {source: reason for source, reason in ignored.items() if source not in listed}
    if arguments.json:
        _print_json({"plugins": found, "unreadable": unreadable})
        return 0
    columns = ["kind", "name", "distribution", "version", *(["speed"] if arguments.load else [])]
    if found:
        _print_table(
            [[*columns, ""], *([*(plugin[column] or "" for column in columns), _note(plugin)] for plugin in found)]
        )
    else:
        print("no plugins are installed")
    for source, reason in sorted(unreadable.items()):
        print(f"left out: {source} ({reason})")
    return 0


def _describe(plugin: Plugin, kind: str, others: list[str], ignored: dict[str, str], failed: dict[str, str]) -> Row:
    """Return a plugin with its status: available, failed, ignored, or ambiguous where `others` offer its name."""
    status, reason = "available", None
    if plugin.qualified in failed:
        status, reason = "failed", failed[plugin.qualified]
    elif plugin.qualified in ignored:
        status, reason = "ignored", f"{ignored[plugin.qualified]}; ask for {plugin.qualified!r}"
    elif others:
        status, reason = "ambiguous", f"also offered by {', '.join(others)}; ask for {plugin.qualified!r}"
    return {
        "kind": kind,
        "name": plugin.name,
        "distribution": plugin.distribution,
        "version": plugin.version,
        "class": one_line(plugin.entry_point.value, 200),
        "status": status,
        "reason": reason,
    }


def _load(of_kind: Registry[Any], plugin: Plugin) -> Row:
    """Return what importing a plugin adds to its row: how it runs, or that it failed and why."""
    from ..testing import execution_mode

    try:
        cls = of_kind.resolve(plugin.qualified)
    except ImportError:
        return {"speed": None, "speed_reason": None, "status": "failed", "reason": of_kind.failed()[plugin.qualified]}
    speed, reason = execution_mode(of_kind.plural, cls)
    return {"speed": speed, "speed_reason": reason}


def _note(plugin: Row) -> str:
    notes = [] if plugin["reason"] is None else [f"{plugin['status']}: {plugin['reason']}"]
    return "; ".join([*notes, *filter(None, [plugin.get("speed_reason")])])


def _print_table(rows: list[list[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_json(value: Any) -> None:
    """Print `value` as JSON."""
    import json

    print(json.dumps(value, indent=2))


# -- check -------------------------------------------------------------------------------------------------------------


def _check(arguments: argparse.Namespace) -> int:
    from ..errors import UnknownNameError
    from ..testing import checks, checks_of

    try:
        listed = checks(arguments.name, kind=arguments.kind)
    except UnknownNameError:
        if arguments.kind or ":" in arguments.name:
            raise
        listed = checks_of(arguments.name)
    outcomes = []
    for check in listed:
        status, text = check.run()
        outcomes.append(
            {"kind": check.kind, "object": check.subject, "check": check.name, "status": status, "text": text}
        )
        if not arguments.json:
            mark = {"passed": "ok", "failed": "FAILED"}.get(status, status)
            print(f"{mark:<8} {check.kind} {check.subject}  {check.name}{f': {text}' if text else ''}")
    failed = sum(outcome["status"] == "failed" for outcome in outcomes)
    if arguments.json:
        _print_json({"checks": outcomes, "failed": failed})
    else:
        print(f"{failed} of {len(outcomes)} checks failed" if failed else f"all of {len(outcomes)} checks passed")
    return 1 if failed else 0


# -- new ---------------------------------------------------------------------------------------------------------------


def _new(arguments: argparse.Namespace) -> int:
    from ._scaffold import write

    try:
        folder, files = write(arguments.name, arguments.into, arguments.kind)
    except (ValueError, OSError) as error:
        print(f"fastmlp plugins new: {error}", file=sys.stderr)
        return 1
    for file in files:
        print(f"wrote {folder / file}")
    place = folder if folder.is_absolute() else f"./{folder.as_posix()}"  # without a dot, pip asks the index for it
    print(f'next: pip install "{place}[test]", then: pytest {place}')
    return 0
