"""Runs the kernels under sanitizers; Linux, GCC.

    python build_support/sanitize.py all                       # everything: both, over all tests named in TESTS
    python build_support/sanitize.py all --short               # what CI runs
    python build_support/sanitize.py address [ARGUMENT OF PYTEST ...]
    python build_support/sanitize.py thread [ARGUMENT OF PYTEST ...]

Builds the package below a temporary folder, by default for the lowest level, whose partial loads are loops that a
sanitizer sees, and not instructions; `FASTMLP_BUILD_LEVELS` chooses others. Then it runs `exercise.py`, and pytest
over TESTS, or by arguments that are given (``tests/test_fastpath.py``). The first report ends a run. A compiler without
a sanitizer is told, and no error.
"""

import argparse
import os
import platform
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Python frees its memory at the end, or never: leaks are not ours to tell.
SANITIZERS = {
    "address": ("address,undefined", ["libasan.so", "libubsan.so"], {"ASAN_OPTIONS": "detect_leaks=0"}),
    # NumPy isn't compiled for it.
    "thread": ("thread", ["libtsan.so"], {"TSAN_OPTIONS": "halt_on_error=1", "OPENBLAS_NUM_THREADS": "1"}),
}
# Kernels, plans and programs; data in any layout; threads; files; signals; what is refused.
TESTS = {
    "address": [
        *(
            "kernels",
            "plan_kernel",
            "vm",
            "layouts",
            "updates",
            "release",
            "stacks",
            "fastpath",
            "schedule",
            "determinism",
        ),
        *("serialization", "archives", "saving", "hostile_files", "foreign_files", "threads", "interrupts"),
        *("interrupted_numpy", "traced_losses", "trainable_activations"),
    ],
    # Not test_determinism, which counts threads of OpenMP: team.c keeps none between calls.
    "thread": [
        *("updates", "release", "schedule", "threads"),
        *("serialization", "archives", "hostile_files", "interrupts", "interrupted_numpy"),
    ],
}
# What needs libgomp itself, for which team.c stands in.
NOT_HERE = {"address": [], "thread": ["-k", "not openmp_bounds"]}
SHORT = {"address": ["plan_kernel", "layouts", "updates"], "thread": ["release"]}
CC = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "gcc")


def found(library: str) -> str | None:
    """Return the path of a library of the compiler, or None if it has none."""
    try:
        path = subprocess.check_output([*CC, f"-print-file-name={library}"], text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return path if Path(path).is_absolute() else None


def shared(source: str, target: Path, flags: list[str]) -> None:
    """Compile one source beside this file into a library."""
    subprocess.run(
        [*CC, *flags, "-O1", "-g1", "-shared", "-fPIC", str(HERE / source), "-o", str(target), "-lm"], check=True
    )


def build(folder: Path, names: str) -> None:
    """The package, and the activation that `exercise.py` takes, compiled for sanitizers."""
    lowest = "x86-64-v2" if platform.machine().lower() in ("x86_64", "amd64") else "plain"
    environ = {"FASTMLP_BUILD_LEVELS": lowest, **os.environ, "FASTMLP_REQUIRE_OPENMP": "1", "FASTMLP_SANITIZE": names}
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(folder / "temp"), "--build-lib"]
    subprocess.run([*command, str(folder / "package")], cwd=HERE.parent, env=environ, check=True)
    flags = [f"-fsanitize={names}", "-fno-sanitize-recover=all", f"-I{HERE.parent / 'fastmlp' / 'include'}"]
    shared("native.c", folder / "native.so", flags)


def sanitized(sanitizer: str, short: bool, pytest: list[str]) -> int:
    """Build for a sanitizer, and run all there is to run; the status of what failed, or 0."""
    names, libraries, options = SANITIZERS[sanitizer]
    preload = list(filter(None, map(found, libraries)))
    if len(preload) < len(libraries):
        print(f"not run under -fsanitize={names}: {CC[0]} has no {', '.join(libraries)}", flush=True)
        return 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder, names)
        if sanitizer == "thread":
            shared("team.c", folder / "team.so", ["-fsanitize=thread", "-pthread"])
            preload.append(str(folder / "team.so"))
        environ = {**options, **os.environ, "PYTHONMALLOC": "malloc", "PYTHONPATH": str(folder / "package")}
        environ["LD_PRELOAD"] = " ".join(preload)
        # A kernel that scatters addresses far leaves no room for the shadow memory.
        still = [path, platform.machine(), "-R"] if (path := shutil.which("setarch")) else []
        python = [*still, sys.executable, "-W", "error"]
        paths = [str(HERE.parent / each) if (HERE.parent / each).exists() else each for each in pytest]
        if not paths:
            named = (SHORT if short else TESTS)[sanitizer]
            paths = [str(HERE.parent / "tests" / f"test_{each}.py") for each in named]
        root = ["-q", "-s", "-p", "no:cacheprovider", f"--rootdir={HERE.parent}", f"--confcutdir={HERE.parent}"]
        commands = [
            [*python, str(HERE / "exercise.py"), str(folder / "native.so"), *(["--short"] if short else [])],
            [*python, "-m", "pytest", *root, "-c", str(HERE.parent / "pyproject.toml"), *NOT_HERE[sanitizer], *paths],
        ]
        # In a folder without the checkout's package.
        return max(subprocess.run(command, cwd=folder, env=environ, check=False).returncode for command in commands)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sanitizer", choices=[*SANITIZERS, "all"])
    parser.add_argument("--short", action="store_true", help="fewer sizes and tests")
    arguments, pytest = parser.parse_known_args()
    names = list(SANITIZERS) if arguments.sanitizer == "all" else [arguments.sanitizer]
    return max(abs(sanitized(name, arguments.short, pytest)) for name in names)


if __name__ == "__main__":
    sys.exit(main())
