"""Nobody reaches for what is private to another file: read from the sources.

The rule, over the package, its plugins, the benchmarks and these tests: a name with a leading underscore is private to
the file that defines it.

- ``x._name`` needs ``_name`` to be defined in the same file: in the body of a class there, or by an assignment to
  ``self._name`` or ``cls._name`` in one of its methods. What a base class in another file defines is that file's, also
  behind ``self``: what subclasses are to use has a public name.
- The same holds for a name in quotes that `getattr`, `setattr`, `hasattr`, `delattr` or `monkeypatch` is given, where
  another file here defines it.
- ``from module import _name`` imports modules alone, and a module of ours with an underscore is for the package that it
  lies in: ``fastmlp._kernels`` for all of fastmlp, ``fastmlp.layers._dense`` for ``fastmlp.layers``. Tests may import
  any.

Excepted are the methods of named tuples, ``os._exit``, which has no other name, and names with an underscore at both
ends, which Python and ctypes give a meaning.
"""

import ast
from functools import cache
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
PUBLIC = {"_exit", "_asdict", "_field_defaults", "_fields", "_make", "_replace"}
BY_NAME = {"delattr", "delitem", "getattr", "hasattr", "setattr"}


def is_private(name):
    return name.startswith("_") and not name.endswith("_") and name not in PUBLIC


def defined_in(tree):
    """Return the private names that the classes of a file define."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            for statement in node.body:
                names.update(bound_by(statement))
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_self(node.value):
            names.add(node.attr)
    return names


def is_self(node):
    return isinstance(node, ast.Name) and node.id in ("self", "cls")


def bound_by(statement):
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return [statement.name]
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return [target.id for target in targets if isinstance(target, ast.Name)]


@cache
def all_names():
    """Return the private names that any source defines."""
    return set().union(*(defined_in(ast.parse(path.read_text(encoding="utf-8"))) for path, _ in sources().values()))


def reaches(text, package, path):
    """Return line and code of every reach in a source; `package` is the dotted name of the folder that it lies in."""
    tree = ast.parse(text)
    own = defined_in(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            wrong = is_private(node.attr) and node.attr not in own and not is_module(node.attr, path)
        elif isinstance(node, ast.Call):
            wrong = any(is_private(name) and name in all_names() - own for name in names_in_quotes(node))
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            ours = [parts for parts in imported(node, package) if parts[0].startswith("fastmlp")]
            wrong = not all(may_import(parts, package, path) for parts in ours)
        else:
            continue
        if wrong:
            found.append((node.lineno, ast.unparse(node)))
    return sorted(found)


def names_in_quotes(call):
    """Return the names that a call looks up: ``getattr(x, "name")``, ``monkeypatch.setattr("module.name", ...)``."""
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called not in BY_NAME:
        return []
    texts = [argument.value for argument in call.args[:2] if isinstance(argument, ast.Constant)]
    return [text.rpartition(".")[2] for text in texts if isinstance(text, str)]


def imported(node, package):
    """Return each imported name in full, as its parts."""
    if isinstance(node, ast.Import):
        return [alias.name.split(".") for alias in node.names]
    base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base += node.module.split(".") if node.module else []
    return [[*base, alias.name] for alias in node.names]


def may_import(parts, package, path):
    """Return whether a file may import a name: private parts of it are modules, below the file's own package."""
    for place, part in enumerate(parts):
        if not is_private(part):
            continue
        if not is_module(part, path):
            return False
        above = parts[:place]
        if package and package.split(".")[: len(above)] != above:
            return False
    return True


def is_module(name, path):
    """Return whether a private name is that of a module or a package beside the sources, compiled ones among them."""
    plugin = [parent / "src" for parent in path.parents if parent.parent == CHECKOUT / "plugins"]
    return any(name in modules_below(root) for root in (CHECKOUT / "fastmlp", *plugin))


@cache
def modules_below(root):
    return {path.name.partition(".")[0] for path in root.rglob("_*") if path.suffix in (".py", ".pyx", "")}


@cache
def sources():
    """Return path and package of every source; files that lie in no package have none."""
    found = {}
    for folder in ("fastmlp", "tests", "bench", "build_support", "plugins"):
        for path in (CHECKOUT / folder).rglob("*.py"):
            relative = path.relative_to(CHECKOUT)
            parts = relative.parent.parts
            if folder == "plugins":
                parts = parts[3:] if "src" in parts else ()
            elif folder != "fastmlp":
                parts = ()
            if "build" not in relative.parts:
                found[relative.as_posix()] = path, ".".join(parts)
    for name in ("pytest_fastmlp.py", "setup.py"):
        found[name] = CHECKOUT / name, ""
    return dict(sorted(found.items()))


@cache
def reaches_of(name):
    path, package = sources()[name]
    return reaches(path.read_text(encoding="utf-8"), package, path)


@pytest.mark.parametrize("name", sources())
def test_private_names_stay_in_their_file(name):
    found = reaches_of(name)
    assert found == [], "\n".join(f"line {line}: {code}" for line, code in found)


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("x._name", 1),
        ("x.name._other.more", 1),
        ("self._name", 1),
        ("class A:\n    def f(self):\n        self._name = 1\ndef g(a):\n    return a._name", 0),
        ("class A:\n    def f(self):\n        return self._name", 1),
        ("class A:\n    def _name(self): ...\nA()._name()", 0),
        ("class A:\n    _name: int = 0\nA()._name", 0),
        ("def _name(): ...\nx._name", 1),
        ("x._name = 1", 1),
        ("row._replace(a=1)._asdict()", 0),
        ("x.__dict__, kind._type_", 0),
        ("getattr(x, '_name')", 1),
        ("getattr(x, 'name', '_default')", 0),
        ("monkeypatch.setattr(x, '_name', 1)", 1),
        ("monkeypatch.setattr('a.b._name', 1)", 1),
        ("from ..other import _name", 1),
        ("from fastmlp.layers import _dense", 1),
        ("from ..layers._dense import Dense", 1),
        ("from .._kernels import plan", 0),
        ("from ._summary import describe", 0),
    ],
)
def test_the_rule(code, count):
    """As if it stood in a file of ``fastmlp.inspection``."""
    assert len(reaches(code, "fastmlp.inspection", CHECKOUT / "fastmlp" / "inspection" / "_new.py")) == count
