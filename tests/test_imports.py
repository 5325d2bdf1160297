"""What importing fastmlp brings along, and who imports whom: read from ``sys.modules`` and from the sources."""

import ast
import graphlib
import re
import sys
from pathlib import Path

import pytest

import fastmlp

PACKAGE = Path(fastmlp.__path__[0])
CHECKOUT = Path(__file__).parent.parent / "fastmlp"

# What is imported

STDLIB = (  # small, and all that `import fastmlp` may take from the standard library beside what NumPy has taken
    *("__future__", "collections.abc", "contextlib", "copy", "functools", "importlib", "inspect", "math", "numbers"),
    *("os", "re", "sys", "threading", "time", "types", "typing", "warnings"),
)
CYTHON = re.compile(r"cython_runtime|_cython_\w+|_cyutility")
NEVER = (
    *("numpy.random", "numpy.testing", "importlib.metadata", "importlib.resources", "json", "argparse", "logging"),
    *("subprocess", "multiprocessing", "ctypes.util", "difflib", "zipfile", "tempfile", "unittest", "pickle"),
    *("scipy", "sklearn", "pandas", "matplotlib", "onnx", "numba", "Cython", "setuptools", "pytest"),
)

SHUT = (
    *("_kernels.reference", "cli", "cli_plugins", "diagnostics", "inspection", "onnx", "plots", "scaffold"),
    *("serialization", "sklearn", "testing"),
)


@pytest.fixture
def imported(run_python):
    """Names of the modules that some code imports, in a new interpreter."""

    def names(code):
        return set(run_python(f"{code}\nimport sys\nprint(*sorted(sys.modules))").split())

    return names


def test_import_brings_numpy_and_the_core_alone(imported):
    """Nothing else beyond a few modules of the standard library, named above."""
    allowed = imported(f"import numpy, {', '.join(STDLIB)}")
    found = imported("import fastmlp")
    strange = {name for name in found - allowed if name.split(".")[0] != "fastmlp" and not CYTHON.fullmatch(name)}
    assert not strange
    assert "fastmlp._kernels" in found


def test_import_spares_what_is_used_later(imported):
    """Modules that numpy does not need, and neither does a script that only imports fastmlp."""
    assert not imported("import fastmlp").intersection(NEVER) - imported("import numpy")


def test_import_leaves_rooms_shut(imported):
    """Files, command line, bridges and the kernels' NumPy twins wait until they are asked for."""
    found = imported("import fastmlp")
    assert not found.intersection(f"fastmlp.{room}" for room in SHUT)


def test_training_needs_no_more_than_random_numbers(imported):
    """A network built, trained and asked: NumPy's generator comes, and no bridge, plugin list or twin."""
    before = imported(f"import numpy.random, {', '.join(STDLIB)}")
    found = imported(
        "import fastmlp as fm\n"
        "net = fm.Sequential([fm.layers.Dense(2, 'relu')], input_dim=1)\n"
        "net.compile('adam', 'mse')\n"
        "net.fit([[1.0]], [[1.0, 2.0]], verbose=0)\n"
        "net.predict([[1.0]])"
    )
    strange = {name for name in found - before if name.split(".")[0] != "fastmlp" and not CYTHON.fullmatch(name)}
    assert not strange
    assert "fastmlp._kernels.reference" not in found


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads as Linux shows them")
def test_import_starts_no_thread(run_python):
    """Threads come with the first work for them."""
    code = """
        import os, numpy
        before = os.listdir("/proc/self/task")
        import fastmlp
        print(before == os.listdir("/proc/self/task"))
    """
    assert run_python(code) == "True\n"


def test_import_imports_no_plugin(tmp_path, run_python):
    """An installed plugin is neither imported by `import fastmlp` nor by the list of names, but by its use."""
    info = tmp_path / "loud-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: loud\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fastmlp.activations]\nloud = loud_plugin:Loud\n")
    (tmp_path / "loud_plugin.py").write_text("raise ImportError('imported')\n")
    code = """
        import sys
        import fastmlp as fm
        assert not any(name.startswith("importlib.metadata") for name in sys.modules)
        fm.Sequential([fm.layers.Dense(2, "relu")], input_dim=1)
        assert "loud" in fm.registry.activations.names()
        assert "loud_plugin" not in sys.modules
        try:
            fm.activations.get("loud")
        except fm.PluginError as error:
            print(error)
    """
    assert "imported" in run_python(code)


# Who imports whom: each room may import those above it. "=" separates rooms of one row, which don't know each other.

ROWS = """
core
errors = checks = configurable = threads = usage
registry
_tracing
activations = initializers = losses = metrics = optimizers = regularizers = constraints = schedules = callbacks
native
data
lowering
layers
building
state
workspace = objective
summary = doors
steps
evaluation = inspection
model
configuration
training = serialization
datasets = diagnostics = plots = testing = scaffold
sklearn = onnx = distributed
cli_plugins
cli = __main__
__init__
"""
ROW = {room.strip(): number for number, row in enumerate(ROWS.strip().splitlines()) for room in row.split("=")}
DOORS = {  # inside functions: methods of Sequential whose body lives below it, and the version
    ("model", "summary"),
    ("model", "training"),
    ("model", "serialization"),
    ("configuration", "__init__"),
    ("serialization", "__init__"),
}
BRIDGES = ("sklearn", "onnx", "distributed", "plots")  # each behind an extra: the only rooms that need more than NumPy
FILES = sorted(path for path in PACKAGE.rglob("*.py") if not path.parent.name.startswith(("x86_64", "plain")))


def room_of(path):
    """``layers`` for layers.py, ``lowering`` for every file of that folder."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


class Imports(ast.NodeVisitor):
    """(module, whether inside a function, line) of every import that runs: type checkers' own don't."""

    def __init__(self, path):
        self.package = ["fastmlp", *path.relative_to(PACKAGE).parent.parts]
        self.found = []
        self.depth = 0
        self.visit(ast.parse(path.read_text(encoding="utf-8")))

    def visit_If(self, node):
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            return
        self.generic_visit(node)

    def visit_FunctionDef(self, node):
        self.depth += 1
        self.generic_visit(node)
        self.depth -= 1

    visit_AsyncFunctionDef = visit_Lambda = visit_FunctionDef

    def add(self, name, node):
        self.found.append((name, self.depth > 0, node.lineno))

    def visit_Import(self, node):
        for alias in node.names:
            self.add(alias.name, node)

    def visit_ImportFrom(self, node):
        base = self.package[: len(self.package) - node.level + 1] if node.level else []
        module = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            self.add(f"{module}.{alias.name}", node)


def rooms(path):
    """(room, inside a function, line) of every import of this package by a file."""
    for name, inside, line in Imports(path).found:
        parts = name.split(".")
        if parts[0] == "fastmlp":
            known = len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists())
            yield (parts[1] if known else "__init__"), inside, line


def test_the_sources_are_read():
    """A file that is missed would be allowed everything."""
    assert {"model.py", "layers.py", "__init__.py"} <= {path.name for path in FILES}
    found = {room for room, _, _ in rooms(PACKAGE / "model.py")}
    assert {"layers", "lowering", "state", "training"} <= found
    assert ("training", True) in {(room, inside) for room, inside, _ in rooms(PACKAGE / "model.py")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_up(path):
    """A room imports rooms above it; within a folder all is free; the kernels import none."""
    here = room_of(path)
    if here == "_kernels":
        assert not [(room, line) for room, _, line in rooms(path) if room != "_kernels"]
        return
    assert here in ROW, f"{here} has no place yet: put it into ROWS"
    wrong = [
        f"line {line}: {here} imports {room}"
        for room, inside, line in rooms(path)
        if room not in ("_kernels", here)
        and not ROW[room] < ROW[here]
        and not (inside and (here, room) in DOORS)
        and not (room == "__init__" and here in (*BRIDGES, "cli", "__main__", "testing"))  # public names
    ]
    assert not wrong


def test_the_core_has_one_door():
    """The kernels are chosen in one place; nobody but tests and bench reads their NumPy twins."""
    doors = {room_of(path) for path in FILES if any(room == "_kernels" for room, _, _ in rooms(path))} - {"_kernels"}
    assert doors <= {"core", "configuration", "cli", "testing"}
    names = {name for path in FILES for name, _, _ in Imports(path).found if room_of(path) != "_kernels"}
    assert not any(name.startswith("fastmlp._kernels.reference") for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_numpy_is_the_only_dependency(path):
    """Optional packages are imported where they are used: in functions, or in the bridge that is behind their extra."""
    known = {*sys.stdlib_module_names, "fastmlp", "numpy"}
    outside = [(name, line) for name, inside, line in Imports(path).found if not inside]
    assert room_of(path) in BRIDGES or not [(name, line) for name, line in outside if name.split(".")[0] not in known]


KERNELS = sorted(path for path in (CHECKOUT / "_kernels").glob("*.p[yx][xd]"))


def cimports(path):
    """Names after ``from .`` and ``cimport`` of a Cython source, in its code."""
    code = re.sub(r'"""(?s:.*?)"""|#.*|\\\n', "", path.read_text(encoding="utf-8"))
    found = re.findall(r"^\s*(?:from\s+(\S+)\s+)?c?import\s+\(?\s*([\w., \t]+)", code, flags=re.MULTILINE)
    for module, names in found:
        yield from [module] if module.strip(".") else [f"{module}{name.split()[0]}" for name in names.split(",")]


def test_kernels_import_each_other_downward():
    """Kernels cimport libc and each other, without a circle; never fastmlp."""
    assert len(KERNELS) > 10
    graph = {}
    for path in KERNELS:
        # one that is compiled once for all levels is in the package above them
        names = [".concurrency" if name == "..concurrency" else name for name in cimports(path)]
        assert not [name for name in names if name.startswith(("fastmlp", "..", "numpy"))], path.name
        siblings = {name[1:] for name in names if name.startswith(".")} - {path.stem}
        assert siblings <= {other.stem for other in KERNELS}, path.name
        graph.setdefault(path.stem, set()).update(siblings)
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("simd") < order.index("gemm") < order.index("plan")
