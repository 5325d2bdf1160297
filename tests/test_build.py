"""The package as it is installed: version, files, choice of the level; and how the build finds OpenMP."""

import importlib.metadata
import importlib.resources
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastmlp
from fastmlp import _kernels

ROOT = Path(__file__).parent.parent
CPUINFO = Path("/proc/cpuinfo")

REFUSED = """
import sys
try:
    import fastmlp._kernels
except ImportError as error:
    print(error)
levels = "fastmlp._kernels.x86", "fastmlp._kernels.plain"
print("loaded:", *(name for name in sys.modules if name.startswith(levels)))
"""

OLD_PROCESSOR = """
import sys
import types
sys.modules["fastmlp._kernels._cpu"] = types.SimpleNamespace(supported=lambda: ("plain",))
"""


def python(code: str, folder: Path, **environ: str) -> str:
    """What a new interpreter prints; outside the checkout, so that the installed package is imported."""
    call, environment = [sys.executable, "-c", code], os.environ | environ
    done = subprocess.run(call, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# The distribution


def test_one_version():
    """Declared in one place, which pyproject.toml reads."""
    assert not re.search(r"^version =", (ROOT / "pyproject.toml").read_text().partition("[tool.")[0], re.MULTILINE)
    declared = re.search(r'^__version__ = "(.+)"$', (ROOT / "fastmlp" / "_version.py").read_text(), re.MULTILINE)
    assert fastmlp.__version__ == importlib.metadata.version("fastmlp") == declared[1]


def test_import_reads_no_metadata(tmp_path):
    code = "import sys, numpy; before = set(sys.modules); import fastmlp; print(*(set(sys.modules) - before))"
    assert "importlib.metadata" not in python(code, tmp_path).split()


def test_wheel_has_no_sources():
    suffixes = {file.suffix for file in importlib.metadata.files("fastmlp")}
    assert suffixes.isdisjoint({".pyx", ".pxd", ".c", ".o"})
    assert (importlib.resources.files("fastmlp") / "py.typed").is_file()


def test_every_level_has_the_same_modules():
    folders = [Path(_kernels.__path__[0], name.replace("-", "_")) for name in _kernels.available()]
    modules = [sorted(path.name for path in folder.iterdir() if path.is_file()) for folder in folders]
    assert len(modules[0]) > 1  # more than __init__.py
    assert all(names == modules[0] for names in modules)


# The choice of a level


def test_highest_level_is_chosen(tmp_path):
    code = "from fastmlp import _kernels; print(_kernels.level)"
    assert python(code, tmp_path, FASTMLP_ISA="").strip() == _kernels.levels()[-1]


@pytest.mark.parametrize("level", _kernels.levels())
def test_level_can_be_forced(level, tmp_path):
    code = "from fastmlp import _kernels; print(_kernels.level)"
    assert python(code, tmp_path, FASTMLP_ISA=level).strip() == level


def test_unknown_level_is_refused(tmp_path):
    message, loaded = python(REFUSED, tmp_path, FASTMLP_ISA="x86-64-v9").splitlines()
    assert message.startswith("FASTMLP_ISA='x86-64-v9': no such instruction-set level")
    assert message.endswith(f"Possible here: {', '.join(_kernels.levels())}.")
    assert loaded == "loaded:"


def test_unsupported_level_is_refused_before_it_is_loaded(tmp_path):
    message, loaded = python(OLD_PROCESSOR + REFUSED, tmp_path, FASTMLP_ISA="x86-64-v4").splitlines()
    assert message.startswith("FASTMLP_ISA='x86-64-v4': this processor cannot run it; it can run plain.")
    assert loaded == "loaded:"


def test_load_refuses_a_level_that_was_not_built(monkeypatch):
    monkeypatch.setattr(_kernels, "available", lambda: ("plain",))
    monkeypatch.setattr(_kernels, "supported", lambda: ("plain", "x86-64-v2"))
    with pytest.raises(ImportError, match=r"level='x86-64-v2': not built .*Possible here: plain\."):
        _kernels.load("x86-64-v2", "gemm")


@pytest.mark.skipif(not CPUINFO.exists(), reason="needs the processor's flags as Linux lists them")
def test_supported_levels_agree_with_the_operating_system():
    needed = {
        "x86-64-v2": "cx16 lahf_lm pni popcnt sse4_1 sse4_2 ssse3",
        "x86-64-v3": "abm avx avx2 bmi1 bmi2 f16c fma movbe",
        "x86-64-v4": "avx512f avx512bw avx512cd avx512dq avx512vl",
    }
    found = re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)
    flags = set(found[1].split()) if found else set()
    runs = [name for name, features in needed.items() if flags.issuperset(features.split())]
    assert _kernels.supported() == ("plain", *runs)


# The search for OpenMP: a compiler is a command, so a few lines of Python can play one


@pytest.fixture(scope="module")
def probe():
    spec = importlib.util.spec_from_file_location("probe", ROOT / "build_support" / "probe.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def command(code: str) -> list[str]:
    return [sys.executable, "-c", f"import os, sys\n{code}"]


FAILS = command("sys.exit('no such flag')")
SUCCEEDS = command("")


def linker(status: int) -> list[str]:
    """A linker whose programs end with `status`."""
    program = f"#!/bin/sh\nexit {status}\n"
    return command(f"open(sys.argv[-1], 'w').write({program!r})\nos.chmod(sys.argv[-1], 0o755)")


NO_HEADERS = command("sys.exit('fatal error: Python.h: No such file or directory')")


@pytest.mark.parametrize(
    "compiler, reason",
    [
        (["/nowhere/cc"], "no C compiler here: '/nowhere/cc' was not found"),
        ([], "no C compiler here: 'cc' was not found"),
        (NO_HEADERS, "does not find Python's headers"),
        (FAILS, "can't compile a small C program"),
    ],
    ids=["absent", "unnamed", "no headers", "broken"],
)
def test_without_a_compiler_the_build_says_what_to_install(probe, compiler, reason, monkeypatch):
    if not compiler:
        monkeypatch.setenv("PATH", "")
    with pytest.raises(probe.CompilerError, match=reason) as caught:
        probe.require_compiler(probe.Toolchain(compiler, []), [])
    assert f"apt install gcc libc6-dev python{sys.version_info[0]}.{sys.version_info[1]}-dev" in str(caught.value)


def test_a_compiler_gets_the_include_folders(probe):
    probe.require_compiler(probe.Toolchain(command("sys.exit('-Ihere' not in sys.argv)"), []), ["here"])


def test_openmp_that_runs_is_used(probe, capfd):
    assert probe.openmp_flags(probe.Toolchain(SUCCEEDS, linker(0)), {}) == (["-fopenmp"], ["-fopenmp"])
    assert capfd.readouterr().err == ""


def test_next_flags_are_tried(probe):
    compiler = command("sys.exit('-fopenmp' in sys.argv)")
    assert probe.openmp_flags(probe.Toolchain(compiler, linker(0)), {})[0] == ["-fopenmp=libomp"]


@pytest.mark.parametrize("step", ["compile", "link", "run"])
def test_no_openmp_is_a_warning(probe, step, capfd):
    compiler = FAILS if step == "compile" else SUCCEEDS
    toolchain = probe.Toolchain(compiler, FAILS if step == "link" else linker(3))
    assert probe.openmp_flags(toolchain, {}) == ([], [])
    printed = capfd.readouterr().err
    assert ("exit status 3" if step == "run" else "no such flag") in printed
    assert "will run on one thread" in printed


def test_no_openmp_is_an_error_where_required(probe):
    toolchain = probe.Toolchain(FAILS, FAILS)
    with pytest.raises(probe.OpenMPError, match=r"FASTMLP_REQUIRE_OPENMP is set[\s\S]*no such flag"):
        probe.openmp_flags(toolchain, {"FASTMLP_REQUIRE_OPENMP": "1"})


def test_openmp_can_be_refused(probe, capfd):
    toolchain = probe.Toolchain(SUCCEEDS, linker(0))
    assert probe.openmp_flags(toolchain, {"FASTMLP_NO_OPENMP": "1"}) == ([], [])
    assert capfd.readouterr().err == ""
    with pytest.raises(probe.OpenMPError, match="both set"):
        probe.openmp_flags(toolchain, {"FASTMLP_NO_OPENMP": "1", "FASTMLP_REQUIRE_OPENMP": "1"})


def test_missing_compiler_is_a_complaint(probe):
    assert "no-such-compiler" in probe.Toolchain(["no-such-compiler"], FAILS).complaint("", [])


def test_flags_with_warnings_are_dropped(probe):
    compiler = command("sys.exit('-fno-such-flag' in sys.argv)")
    assert probe.Toolchain(compiler, linker(0)).known(["-O3", "-fno-such-flag"]) == ["-O3"]
