"""Ask the compiler that builds the kernels what it can do, by giving it small programs.

Standard library only: the tests load this file from the checkout, where setuptools may be absent.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

OPENMP_PROGRAM = """
#include <omp.h>
int main(void) {
    int members = 0;
    #pragma omp parallel reduction(+:members)
    members += omp_get_num_threads() > omp_get_thread_num();
    return members < 1;
}
"""

PYTHON_PROGRAM = """
#include <Python.h>
#include <math.h>
int main(void) { return 0; }
"""

# (compiler flags, linker flags), of which the first pair that works is taken: GCC and most Clangs; a Clang
# with another default; Apple's Clang with a libomp from elsewhere.
OPENMP_FLAGS = (
    (["-fopenmp"], ["-fopenmp"]),
    (["-fopenmp=libomp"], ["-fopenmp=libomp"]),
    (["-Xpreprocessor", "-fopenmp"], ["-lomp"]),
)


class OpenMPError(RuntimeError):
    """OpenMP is required and does not work."""


class CompilerError(RuntimeError):
    """No C program that includes Python's headers can be compiled."""


class Toolchain(NamedTuple):
    """The commands, with their standing flags, that compile and link C here."""

    compile: Sequence[str]
    link: Sequence[str]

    def complaint(self, source: str, cflags: Iterable[str], ldflags: Iterable[str] | None = None) -> str:
        """Compile `source`, and with `ldflags` link and run it; what went wrong, or "" where all succeed."""
        with tempfile.TemporaryDirectory() as folder:
            code, binary, program = (str(Path(folder) / name) for name in ("probe.c", "probe.o", "probe"))
            Path(code).write_text(source)
            commands = [[*self.compile, *cflags, "-c", code, "-o", binary]]
            if ldflags is not None:
                commands += [[*self.link, binary, *ldflags, "-o", program], [program]]
            for command in commands:
                try:
                    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
                except (OSError, subprocess.TimeoutExpired) as error:
                    return str(error)
                if done.returncode:
                    return f"{' '.join(command)}: exit status {done.returncode}\n{done.stderr.strip()}"
        return ""

    def known(self, flags: Iterable[str]) -> list[str]:
        """Return those of `flags` that the compiler takes without a warning."""
        return [flag for flag in flags if not self.complaint("int nothing;", ["-Werror", flag])]


def require_compiler(toolchain: Toolchain, include_dirs: Iterable[str]) -> None:
    """Raise a `CompilerError` that says what to install unless the compiler works and finds Python's headers."""
    include = [f"-I{folder}" for folder in include_dirs]
    complaint = toolchain.complaint(PYTHON_PROGRAM, include)
    if not complaint:
        return
    name = toolchain.compile[0] if toolchain.compile else "cc"
    if shutil.which(name) is None:
        what = f"fastmlp is compiled when it is installed, and there is no C compiler here: {name!r} was not found"
    elif "Python.h" in complaint:
        what = f"{name!r} does not find Python's headers (Python.h), which fastmlp is compiled against"
    else:
        what = f"{name!r} can't compile a small C program"
    version = "{}.{}".format(*sys.version_info)
    raise CompilerError(
        f"{what}.\nInstall GCC or Clang, C headers and Python's headers; for this Python {version}: "
        f"`apt install gcc libc6-dev python{version}-dev` (Debian, Ubuntu), "
        f"`dnf install gcc python{version}-devel` (Fedora), "
        "`apk add gcc musl-dev python3-dev` (Alpine), `xcode-select --install` (macOS). "
        f"CC=... chooses another compiler.\nIt said: {complaint}"
    )


Flags = tuple[list[str], list[str]]  # for the compiler, for the linker


def openmp_flags(toolchain: Toolchain, environ: Mapping[str, str] = os.environ) -> Flags:
    """The flags for OpenMP; none, and a warning, where it does not work.

    `FASTMLP_NO_OPENMP=1` does not look for it, `FASTMLP_REQUIRE_OPENMP=1` makes the warning an `OpenMPError`.
    """
    refused = environ.get("FASTMLP_NO_OPENMP", "0") not in ("", "0")
    required = environ.get("FASTMLP_REQUIRE_OPENMP", "0") not in ("", "0")
    if refused and required:
        raise OpenMPError("FASTMLP_NO_OPENMP and FASTMLP_REQUIRE_OPENMP are both set; unset one of them")
    if refused:
        return [], []
    complaints = []
    for cflags, ldflags in OPENMP_FLAGS:
        complaint = toolchain.complaint(OPENMP_PROGRAM, cflags, ldflags)
        if not complaint:
            return list(cflags), list(ldflags)
        complaints.append(complaint)
    report = "\n".join(complaints)
    if required:
        raise OpenMPError(f"FASTMLP_REQUIRE_OPENMP is set, but no OpenMP program could be run:\n{report}")
    print(
        f"{report}\nWARNING: no OpenMP program could be run (see above), so fastmlp will run on one thread. "
        "Install this compiler's OpenMP library, or set FASTMLP_REQUIRE_OPENMP=1 to make this an error.",
        file=sys.stderr,
    )
    return [], []
