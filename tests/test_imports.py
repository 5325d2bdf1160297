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
    *("__future__", "array", "collections.abc", "contextlib", "copy", "functools", "importlib", "inspect", "math"),
    *("numbers", "os", "re", "sys", "threading", "time", "types", "typing", "warnings"),
)
CYTHON = re.compile(r"cython_runtime|_cython_\w+|_cyutility")
NEVER = (
    *("numpy.random", "numpy.testing", "importlib.metadata", "importlib.resources", "json", "argparse", "logging"),
    *("subprocess", "multiprocessing", "ctypes.util", "difflib", "zipfile", "tempfile", "unittest", "pickle"),
    *("scipy", "sklearn", "pandas", "matplotlib", "onnx", "numba", "Cython", "setuptools", "pytest"),
)

LATER = (  # modules that wait until somebody asks for them
    *(
        "_kernels.reference",
        "archives",
        "cli",
        "datasets",
        "diagnostics",
        "inspection",
        "onnx",
        "plots",
        "serialization",
    ),
    *("sklearn", "testing"),
)


@pytest.fixture
def imported(run_python):
    """Return the names of the modules that some code imports, in a new interpreter."""

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


def test_import_leaves_out_what_is_asked_for_later(imported):
    """Files, command line, bridges and the kernels' NumPy twins."""
    found = imported("import fastmlp")
    assert not found.intersection(f"fastmlp.{module}" for module in LATER)


def test_what_is_asked_for_later_is_an_attribute(run_python):
    code = """
        import sys
        import fastmlp as fm
        for name in ("datasets", "inspection", "serialization", "testing"):
            assert f"fastmlp.{name}" not in sys.modules or name == "serialization", name  # testing needs it
            assert getattr(fm, name) is sys.modules[f"fastmlp.{name}"]
        print(fm.load)
    """
    assert "load" in run_python(code)


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


# Who imports whom. Each wing, a module or a folder of the package, may import itself and those of the rows above it.

ORDER = """
frames
errors checks configurable copies archives _version _source_tree
user_code
registry
_kernels
forks
threads
_tracing
activations initializers regularizers constraints schedules losses metrics optimizers
native
layers
_compiler
callbacks
_training
serialization inspection
model
configuration
diagnostics plots datasets
testing sklearn onnx distributed
cli __main__
__init__
"""
ROW = {}
for number, row in enumerate(ORDER.strip().splitlines()):
    ROW |= dict.fromkeys(row.split(), number)
VOCABULARY = {name for name in ORDER.split() if ROW["_tracing"] < ROW[name] < ROW["_compiler"]} - {"native"}
FILES = sorted(path for path in PACKAGE.rglob("*.py") if not path.parent.name.startswith(("x86_64", "plain")))
BRIDGES = ("sklearn", "onnx", "distributed", "plots")  # each behind an extra: they need more than NumPy


def wing_of(path):
    """Return ``model`` for model.py, ``layers`` for every file of that folder."""
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


class Imports(ast.NodeVisitor):
    """Collect (module, whether inside a function, line) of every import that runs: type checkers' own don't."""

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


def wings(path):
    """Return wing and line of every import of this package by a file, those inside functions too."""
    found = []
    for name, _, line in Imports(path).found:
        parts = name.split(".")
        if parts[0] == "fastmlp":
            known = len(parts) > 1 and ((PACKAGE / parts[1]).is_dir() or (PACKAGE / f"{parts[1]}.py").exists())
            found.append((parts[1] if known else "__init__", line))
    return found


def test_the_sources_are_read():
    """A file that is missed would be allowed everything; so would an import inside a function."""
    assert {"model.py", "_dense.py", "__init__.py"} <= {path.name for path in FILES}
    assert {"layers", "_compiler", "_training", "serialization"} <= {wing for wing, _ in wings(PACKAGE / "model.py")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_point_up(path):
    here = wing_of(path)
    assert here in ROW, f"{here} has no place yet: put it into ORDER"
    allowed = {here} if here == "_kernels" else {here, *(wing for wing in ROW if ROW[wing] < ROW[here])}
    wrong = [f"line {line}: {here} imports {wing}" for wing, line in wings(path) if wing not in allowed]
    assert not wrong


def test_what_networks_are_described_with_calls_no_kernel():
    """Layers, activations and the like hand over values; what compiles them calls kernels."""
    described = [path for path in FILES if wing_of(path) in VOCABULARY or wing_of(path) in ("callbacks", "model")]
    assert len(described) > 10
    assert [path.name for path in described if "_kernels" in {wing for wing, _ in wings(path)}] == []


def test_nobody_imports_the_twins_of_the_kernels():
    """They are for tests and benchmarks."""
    names = {name for path in FILES for name, _, _ in Imports(path).found if wing_of(path) != "_kernels"}
    assert not any(name.startswith("fastmlp._kernels.reference") for name in names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_numpy_is_the_only_dependency(path):
    """Optional packages are imported where they are used: in functions, or in the bridge that is behind their extra."""
    known = {*sys.stdlib_module_names, "fastmlp", "numpy"}
    outside = [(name, line) for name, inside, line in Imports(path).found if not inside]
    assert wing_of(path) in BRIDGES or not [(name, line) for name, line in outside if name.split(".")[0] not in known]


KERNELS = sorted(path for path in (CHECKOUT / "_kernels").glob("*.p[yx][xd]"))


def cimports(path):
    """Return the names after ``from .`` and ``cimport`` of a Cython source, in its code."""
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
        names = [name[1:] if re.fullmatch(r"\.\.\w+", name) else name for name in cimports(path)]
        assert not [name for name in names if name.startswith(("fastmlp", "..", "numpy"))], path.name
        siblings = {name[1:] for name in names if name.startswith(".")} - {path.stem}
        assert siblings <= {other.stem for other in KERNELS}, path.name
        graph.setdefault(path.stem, set()).update(siblings)
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("simd") < order.index("gemm") < order.index("plan")
