"""The package as a whole: what it brings, what it imports, its docstrings, the size of its files."""

import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp as fm

PACKAGE = Path(fm.__file__).parent
CHECKOUT = Path(__file__).parent.parent
SOURCES = CHECKOUT / "fastmlp" / "_kernels"  # not installed
LINES = 400
# all that is written in Python; an eighth of it checks data, files, outputs and what users' code returns
PYTHON_BYTES = 1_150_000
# longer files, with the reason
LONGER = {
    "_kernels/simd.h": "all the C that there is, in one place",
    "_kernels/simd.pxd": "the names of all that, in one place",
    "_kernels/bindings.pyx": "a function for each kernel, for tests and benchmarks",
    "_kernels/plan_dispatch.pyx": "a function for each operation: its memory, its share, the call of its kernel",
    "_kernels/plan_ops.pxd": "a struct for each operation",
    "_kernels/plan.pyx": "one class, `Run`: each way to run a plan, with every check of its arguments",
    "_kernels/reference.py": "a twin of each binding",
    "model.py": "every public method, documented in full where users call it",
}
PUBLIC = ["activations", "callbacks", "errors", "initializers", "layers", "losses", "metrics", "optimizers", "registry"]
PUBLIC += ["regularizers", "schedules"]
PUBLIC += ["regularizers", "datasets", "inspection", "serialization", "testing"]

IMPORTED = """
import sys
import numpy
before = set(sys.modules)
import fastmlp
new = set(sys.modules) - before
print(*sorted({name.partition(".")[0] for name in new} - {"fastmlp", "numpy"} - set(sys.stdlib_module_names)))
print(*sorted(name for name in new if name.startswith("fastmlp.")))
"""


def requirements():
    """Of the distribution that the tested package belongs to; of the checkout, where it is not installed."""
    try:
        distribution = importlib.metadata.distribution("fastmlp")
    except importlib.metadata.PackageNotFoundError:
        distribution = None
    if distribution and Path(distribution.locate_file("fastmlp")).resolve() == PACKAGE.resolve():
        return distribution.requires
    text = (CHECKOUT / "pyproject.toml").read_text()
    listed = re.search(r"^dependencies = \[(.*?)\]", text, re.MULTILINE | re.DOTALL)
    extras = re.search(r"^\[project.optional-dependencies\]\n(.*?)^\[", text, re.MULTILINE | re.DOTALL)
    names = re.findall(r'"([^"]+)"', listed[1])
    return names + [f'{name}; extra == "x"' for name in re.findall(r'"([^"]+)"', extras[1])]


def test_numpy_is_all_that_is_needed():
    listed = requirements()
    needed = [text for text in listed if "extra ==" not in text]
    assert [re.match(r"[\w-]+", text)[0].lower() for text in needed] == ["numpy"]
    assert len(listed) > len(needed)  # test tools and the like are extras


def test_import_brings_numpy_and_the_core_alone(tmp_path):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORTED], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    foreign, own = done.stdout.splitlines()
    assert [name for name in foreign.split() if not re.match("_?cython_|_cyutility$", name)] == []  # of Cython itself
    levels = {name.split(".")[2] for name in own.split() if name.startswith("fastmlp._kernels.")}
    assert len({level for level in levels if level.startswith(("x86", "plain"))}) == 1  # one level, no other
    assert "fastmlp._kernels.reference" not in own.split()  # the twin in NumPy is for tests


def test_types_are_announced():
    assert (PACKAGE / "py.typed").is_file()


def modules():
    """Every module of the package that is no compiled kernel."""
    found = [fm]
    for info in pkgutil.walk_packages([str(PACKAGE)], "fastmlp."):
        if not re.match(r"fastmlp\._kernels\.|.*\.__main__$", info.name):
            found.append(importlib.import_module(info.name))
    return found


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_modules_say_what_they_are(module):
    assert module.__doc__ and module.__doc__.strip()


def public(module):
    """Name and object: what a module offers, and the methods and properties of its classes."""
    for name in getattr(module, "__all__", ()):
        value = getattr(module, name)
        if name.startswith("__") or inspect.ismodule(value):
            continue
        yield f"{module.__name__}.{name}", value
        if inspect.isclass(value):
            for attribute, member in vars(value).items():
                if not attribute.startswith("_") and (callable(member) or isinstance(member, (property, classmethod))):
                    yield f"{module.__name__}.{name}.{attribute}", getattr(value, attribute)


@pytest.mark.parametrize("name", ["", *PUBLIC])
def test_every_public_object_has_a_docstring(name):
    """A method may have it from the base class."""
    objects = list(public(getattr(fm, name) if name else fm))
    assert len(objects) >= (1 if name == "datasets" else 5)
    bare = [label for label, value in objects if not (inspect.getdoc(value) or "").strip()]
    assert bare == []


def test_dir_shows_public_names_alone():
    """No module that is private, or that is there because something was imported."""
    assert dir(fm) == sorted(fm.__all__)
    assert {"load", "testing", "inspection", "datasets", "serialization", "Sequential", "learned"} <= set(dir(fm))
    assert [name for name in dir(fm) if name.startswith("_")] == ["__version__"]
    assert not {"annotations", "Any", "TYPE_CHECKING", "model", "threads", "checks"} & set(dir(fm))


@pytest.mark.parametrize("name", ["", *PUBLIC])
def test_everything_in_all_is_there_and_everything_public_is_in_all(name):
    module = getattr(fm, name) if name else fm
    assert all(hasattr(module, entry) for entry in module.__all__)
    classes = {entry: value for entry, value in vars(module).items() if inspect.isclass(value) and entry[0] != "_"}
    kinds = (BaseException, *bases())
    own = {entry for entry, cls in classes.items() if cls.__module__ == module.__name__ and issubclass(cls, kinds)}
    assert own - set(module.__all__) == set()


def bases():
    kinds = ("activations", "initializers", "layers", "losses", "metrics", "optimizers", "regularizers", "schedules")
    return [getattr(fm.registry, kind).base for kind in kinds] + [fm.callbacks.Callback]


def test_a_docstring_tells_every_parameter():
    """Of the classes that users make: each parameter of `__init__` stands in the text."""
    silent = []
    for module in PUBLIC:
        for label, value in public(getattr(fm, module)):
            if inspect.isclass(value) and issubclass(value, tuple(bases())):
                parameters = list(inspect.signature(value).parameters)
                silent += [f"{label}: {name}" for name in parameters if not re.search(rf"\b{name}\b", value.__doc__)]
    assert silent == []


def files():
    found = {path.relative_to(PACKAGE).as_posix(): path for path in PACKAGE.rglob("*.py")}
    found |= {f"_kernels/{path.name}": path for path in SOURCES.glob("*.p[yx]*")}
    found |= {f"_kernels/{path.name}": path for path in SOURCES.glob("*.h")}
    return {name: path for name, path in sorted(found.items()) if not path.name.startswith("_cyutility")}


@pytest.mark.parametrize("name", files())
def test_a_long_file_has_a_reason(name):
    lines = files()[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= LINES or LONGER.get(name), f"{len(lines)} lines: make a folder of it, or give the reason"


def test_reasons_are_for_files_that_are_long():
    assert all(len(files()[name].read_text(encoding="utf-8").splitlines()) > LINES for name in LONGER)


def test_installed_files_are_small():
    """Code without its kernels: what every user downloads for the Python part."""
    size = sum(path.stat().st_size for path in PACKAGE.rglob("*.py"))
    assert 20_000 < size < PYTHON_BYTES
    kernels = [path for path in PACKAGE.rglob("*.so")] + [path for path in PACKAGE.rglob("*.pyd")]
    assert kernels
    levels = {path.parent for path in kernels}
    assert sum(path.stat().st_size for path in kernels) < 3_000_000 * len(levels)
