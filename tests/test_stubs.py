"""Stubs of compiled modules say what these have: names, and the parameters of functions and methods."""

import ast
import inspect
from pathlib import Path

import pytest

from fastmlp import _kernels

FOLDER = Path(__file__).parents[1] / "fastmlp" / "_kernels"
STUBS = sorted(path.stem for path in FOLDER.glob("*.pyi"))
COMMON = ("_cpu", "concurrency", "plan_ops")


def module_of(stem):
    if stem in COMMON:
        return __import__(f"fastmlp._kernels.{stem}", fromlist=[stem])
    return _kernels.load(_kernels.level, stem)


def stubbed(tree):
    """Return what the stub of a module or class defines, by name."""
    found = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found[node.name] = node
        elif isinstance(node, ast.AnnAssign):
            found[node.target.id] = node
    return found


def parameters(node):
    """Return names and whether they have a default, as the stub of a function says; without self."""
    arguments = node.args
    plain = [argument.arg for argument in arguments.args]
    defaults = [False] * (len(plain) - len(arguments.defaults)) + [True] * len(arguments.defaults)
    names = list(zip(plain, defaults, strict=True))
    names += [(arguments.vararg.arg, False)] if arguments.vararg else []
    names += [
        (argument.arg, default is not None)
        for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return [(name, default) for name, default in names if name != "self"]


def signature(function):
    found = inspect.signature(function).parameters.values()
    return [(p.name, p.default is not p.empty) for p in found if p.name != "self"]


@pytest.mark.parametrize("stem", STUBS)
def test_a_stub_says_what_its_module_has(stem):
    module = module_of(stem)
    names = stubbed(ast.parse((FOLDER / f"{stem}.pyi").read_text(encoding="utf-8")))
    public = {
        name
        for name, value in vars(module).items()
        if name[0] != "_"
        and not inspect.ismodule(value)
        and getattr(value, "__module__", module.__name__) != "builtins"
    }
    assert public == set(names)
    for name, node in names.items():
        value = getattr(module, name)
        if isinstance(node, ast.FunctionDef):
            assert parameters(node) == signature(value), name
        elif isinstance(node, ast.ClassDef):
            members = stubbed(node)
            special = {"__init__", "__enter__", "__exit__"}
            assert {m for m in vars(value) if m[0] != "_"} == set(members) - special, name
            for member, method in members.items():
                if isinstance(method, ast.FunctionDef) and not method.decorator_list and member not in special:
                    assert parameters(method) == signature(getattr(value, member)), f"{name}.{member}"


def test_every_module_that_python_loads_has_a_stub():
    assert set(STUBS) == {"_cpu", "concurrency", "peak", "plan", "plan_fastpath", "plan_ops", "plan_schedule", "vm"}
