"""Build the kernels once per instruction-set level; all else about the package stands in pyproject.toml.

The sources in `fastmlp/_kernels` are copied into one package per level below the build directory, where
Cython and the C compiler work on them: relative cimports resolve inside each copy, and nothing generated
reaches the checkout.

Environment: `FASTMLP_BUILD_LEVELS` (comma-separated, default: every level of this architecture),
`FASTMLP_NO_OPENMP`, `FASTMLP_REQUIRE_OPENMP`; `FASTMLP_SANITIZE` (what `-fsanitize=` takes); `CC`, `CFLAGS` and
`LDFLAGS` as usual.
"""

import logging
import os
import platform
import shlex
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

import setuptools
from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py
from setuptools.errors import SetupError

sys.path.insert(0, str(Path(__file__).parent))  # a build front end runs this file without it
from build_support.probe import CompilerError, OpenMPError, Toolchain, openmp_flags, require_compiler

KERNELS = Path("fastmlp/_kernels")
HEADERS = Path("fastmlp/include")
# Compiled once, for any processor: the list of levels that it can run, and what all levels share.
COMMON = "_cpu", "concurrency", "plan_ops"
PACKAGE = '''"""The kernels, compiled for {level}; written by setup.py."""

import sys

from .. import plan_ops  # one table of operations for all levels

sys.modules[__name__ + ".plan_ops"] = plan_ops
'''
# Cython's memoryviews, generated and compiled once instead of in every module: 4 s and 160 kB less for each.
UTILITY = "_cyutility"
SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
LEVELS = {
    "plain": [],
    "x86-64-v2": ["-march=x86-64-v2"],
    "x86-64-v3": ["-march=x86-64-v3"],
    # Compilers prefer 256-bit vectors even here; the kernels are written for whole registers.
    "x86-64-v4": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
}
# Never -ffast-math: how a sum is grouped, and whether a*b+c is rounded once, is for the kernel to say.
# Errno and traps are given up: no kernel looks at them.
FLAGS = ["-O3", "-g0", "-ffp-contract=off", "-fno-math-errno", "-fvisibility=hidden"]
# Vectors are written out where they pay: left to itself, the compiler packs the addresses of a tile's rows into one,
# and calls memset for a tile's zeros.
FLAGS_WHERE_KNOWN = [
    *("-fno-trapping-math", "-fno-semantic-interposition", "-fno-asynchronous-unwind-tables"),
    *("-fno-tree-slp-vectorize", "-fno-tree-loop-distribute-patterns", "-Wno-sign-compare"),
]
# No symbols, and no padding between segments: of many small files, that is a sixth.
STRIP = ["-Wl,--strip-all", "-Wl,-z,noseparate-code", "-Wl,-z,norelro", "-Wl,--build-id=none", "-Wl,--gc-sections"]
# Modules that call kernels and are none; then kernels, and what runs them, that are no faster with more.
CALLERS = ("bindings", "plan", "plan_ops", "plan_fastpath", "concurrency", "_cpu", UTILITY)
SECOND = (
    *("vm", "nn_activations", "nn_losses", "nn_noise", "nn_parametric", "nn_penalties", "random"),
    *("plan_dispatch", "plan_schedule"),
)
SMALL = {stem: ["-Os"] for stem in CALLERS} | {stem: ["-O2"] for stem in SECOND}
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": False,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": False,
    "nonecheck": False,
    "embedsignature": True,
    "embedsignature.format": "clinic",  # which `inspect` reads
    "auto_pickle": False,  # what is compiled belongs to a process; pickling it is a TypeError
    "binding": False,  # plain functions: Cython's own type of them would come with every module
}


def levels_to_build() -> list[str]:
    """Return the levels that `FASTMLP_BUILD_LEVELS` asks for, else those of this architecture."""
    x86_64 = platform.machine().lower() in ("x86_64", "amd64") and sys.maxsize > 2**32
    possible = list(LEVELS) if x86_64 else ["plain"]
    asked = {name.strip() for name in os.environ.get("FASTMLP_BUILD_LEVELS", "").split(",")} - {""}
    if unknown := asked.difference(possible):
        raise SetupError(f"FASTMLP_BUILD_LEVELS names {sorted(unknown)}; possible here: {possible}")
    return [level for level in possible if level in asked] or possible[1:] or possible


def sanitizing() -> list[str]:
    """Return the flags for the sanitizers that `FASTMLP_SANITIZE` asks for; reports have names and lines."""
    names = os.environ.get("FASTMLP_SANITIZE")
    return (
        [f"-fsanitize={names}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g1"] if names else []
    )


def package(level: str) -> Path:
    """Return the folder of a level's package: a dash can't stand in the name of a module."""
    return KERNELS / level.replace("-", "_")


class Kernel(Extension):
    """One source of `fastmlp/_kernels`, compiled for one level, or once and for any processor."""

    def __init__(self, source: Path, level: str | None = None):
        self.level, self.stem = level, source.stem
        self.folder = package(level) if level else KERNELS
        name = ".".join((*self.folder.parts, source.stem))
        super().__init__(name, [str(source)], include_dirs=[str(HEADERS)])


def kernels() -> list[Kernel]:
    """Return every extension module of the package."""
    common = [KERNELS / f"{stem}.pyx" for stem in COMMON]
    sources = [source for source in sorted(KERNELS.glob("*.pyx")) if source not in common]
    by_level = [Kernel(source, level) for level in levels_to_build() for source in sources]
    return [*map(Kernel, common), Kernel(KERNELS / f"{UTILITY}.c"), *by_level]


def write_if_changed(path: Path, content: bytes) -> None:
    """Write a file, but leave it alone where nothing changes: its time stamp decides what is recompiled."""
    if not path.exists() or path.read_bytes() != content:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def remove_others(paths: Iterable[Path], wanted: Iterable[str | Path]) -> None:
    """Remove files that are not `wanted`: earlier builds left them, and a wheel takes all that it finds."""
    kept = {Path(path) for path in wanted}
    for path in paths:
        if path.is_file() and path not in kept:
            path.unlink()


class BuildPython(build_py):
    """`build_py` that doesn't ship modules which have left the checkout, and doesn't list every file that it copies."""

    def run(self) -> None:
        built = list(Path(self.build_lib).rglob("*"))
        ours = [path for path in built if path.suffix not in (".so", ".pyd")]  # the rest is BuildKernels'
        remove_others(ours, self.get_outputs(include_bytecode=False))
        log = logging.getLogger()
        level = log.level
        log.setLevel(max(level, logging.WARNING))  # errors that come later would drown in the list
        try:
            super().run()
        finally:
            log.setLevel(level)


class BuildKernels(build_ext):
    """`build_ext` that compiles one copy of the sources per level."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.parallel = True  # as many compilers as processors

    def build_extensions(self) -> None:
        self.copies = Path(self.build_temp) / "kernels"
        self.choose_flags()
        self.copy_sources()
        self.translate()
        self.write_packages(Path(self.build_lib))
        remove_others(Path(self.build_lib).rglob(f"*{SUFFIX}"), self.get_outputs())
        super().build_extensions()

    def choose_flags(self) -> None:
        """Give every kernel its flags, and start afresh where the last build had others."""
        if not hasattr(self.compiler, "compiler_so"):
            raise SetupError("the kernels need GCC or Clang: on Windows, set up MinGW-w64 as the compiler")
        link = [*self.compiler.linker_exe, *shlex.split(os.environ.get("LDFLAGS", ""))]
        toolchain = Toolchain(self.compiler.compiler_so, link)
        try:
            require_compiler(toolchain, self.compiler.include_dirs)
            openmp, openmp_link = openmp_flags(toolchain)
        except (CompilerError, OpenMPError) as error:
            raise SetupError(str(error)) from None
        sanitizers = sanitizing()
        common = FLAGS + toolchain.known(FLAGS_WHERE_KNOWN) + sanitizers
        strip = sanitizers or (STRIP if sys.platform == "linux" else [])
        for kernel in self.extensions:
            own = [*LEVELS[kernel.level], *openmp] if kernel.level else []
            kernel.extra_compile_args = [*common, *own, *SMALL.get(kernel.stem, [])]
            kernel.extra_link_args = [*strip, *openmp_link] if kernel.level else strip
        recipe = f"{toolchain} {common} {LEVELS} {openmp} {openmp_link} {strip} {SMALL} {DIRECTIVES}".encode()
        stamp = self.copies / "recipe.txt"
        # Time stamps don't show that a flag has changed.
        if not stamp.exists() or stamp.read_bytes() != recipe:
            shutil.rmtree(self.copies, ignore_errors=True)
        write_if_changed(stamp, recipe)

    def copy_sources(self) -> None:
        """Bring the copy of each level up to date, and point its kernels there."""
        sources = [path for path in KERNELS.iterdir() if path.suffix in (".pyx", ".pxd", ".h")]
        for folder in {kernel.folder for kernel in self.extensions}:
            copy = self.copies / folder
            for source in sources:
                write_if_changed(copy / source.name, source.read_bytes())
            declarations = [*copy.glob("*.pxd"), *copy.glob("*.h")]
            remove_others(declarations, (copy / source.name for source in sources))
            for parent in (folder, *folder.parents[:-1]):
                write_if_changed(self.copies / parent / "__init__.py", b"")  # how Cython knows a package
        for kernel in self.extensions:
            copy = self.copies / kernel.folder
            kernel.sources = [str(copy / Path(source).name) for source in kernel.sources]
            kernel.depends = [str(path) for path in (*copy.glob("*.h"), *HEADERS.rglob("*.h"))]

    def translate(self) -> None:
        """Translate to C what is out of date."""
        translated = cythonize(
            [Extension(kernel.name, kernel.sources) for kernel in self.extensions],
            nthreads=os.cpu_count() or 1,
            compiler_directives=DIRECTIVES,
            shared_utility_qualified_name=".".join((*KERNELS.parts, UTILITY)),
        )
        sources = {extension.name: extension.sources for extension in translated}
        for kernel in self.extensions:
            kernel.sources = sources[kernel.name]

    def write_packages(self, root: Path) -> None:
        """Write the package of each level below `root`, and remove those that are not built now."""
        wanted = {kernel.level for kernel in self.extensions}
        for level in LEVELS:
            if level in wanted:
                write_if_changed(root / package(level) / "__init__.py", PACKAGE.format(level=level).encode())
            elif (root / package(level)).exists():
                shutil.rmtree(root / package(level))

    def copy_extensions_to_source(self) -> None:
        """Copy what was built into the checkout: an in-place or editable build."""
        self.write_packages(Path())
        in_place = KERNELS.rglob(f"*{SUFFIX}")
        remove_others(in_place, (self.get_ext_filename(kernel.name) for kernel in self.extensions))
        super().copy_extensions_to_source()


if __name__ == "__main__":
    if int(setuptools.__version__.split(".")[0]) < 77:
        raise SetupError(f"pyproject.toml needs setuptools >= 77; this is {setuptools.__version__}")
    setup(ext_modules=kernels(), cmdclass={"build_py": BuildPython, "build_ext": BuildKernels})
