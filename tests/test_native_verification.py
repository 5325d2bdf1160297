"""The header, as compilers see it, and what `verify` finds in functions that one of them made."""

import ctypes
import shlex
import shutil
import subprocess
import sysconfig
import textwrap

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._tracing import native_sources
from fastmlp.activations import execution_of
from fastmlp.native import NativeKernel, verify

C = """
#include <math.h>
#include "fastmlp/activation.h"
#define PAIR(T, suffix, EXP) \\
    void forward_##suffix(const T *z, T *a, ptrdiff_t n, const double *params) { \\
        const T beta = (T)params[0]; \\
        for (ptrdiff_t i = 0; i < n; i++) a[i] = z[i] / (1 + EXP(-beta * z[i])); \\
    } \\
    void backward_##suffix(const T *z, const T *a, const T *da, T *dz, ptrdiff_t n, const double *params) { \\
        const T beta = (T)params[0]; \\
        for (ptrdiff_t i = 0; i < n; i++) { \\
            const T s = 1 / (1 + EXP(-beta * z[i])); \\
            dz[i] = da[i] * (s + beta * a[i] * (1 - s)); \\
        } \\
    }
PAIR(float, f32, expf)
PAIR(double, f64, exp)
fastmlp_activation swish = FASTMLP_ACTIVATION(forward_f32, backward_f32, forward_f64, backward_f64);

/* What may be wrong with g(z) = 2 z in float64. */
#define FORWARD(name, ...) \\
    void name(const double *z, double *a, ptrdiff_t n, const double *params) { \\
        (void)params; \\
        for (ptrdiff_t i = 0; i < n; i++) { __VA_ARGS__; } \\
    }
FORWARD(right, a[i] = 2 * z[i])
FORWARD(steep, a[i] = z[i] > 50 ? 3 * z[i] : 2 * z[i])
FORWARD(outside, a[i] = 2 * z[i]; a[i + 1] = 0)
FORWARD(touches, a[i] = 2 * z[i]; ((double *)z)[i] = 0)
FORWARD(by_place, a[i] = 2 * z[i] * (i < n - n % 4 ? 1 : 1 + 1e-15))
FORWARD(twice, a[i] = 0; a[i] = 2 * z[i])
FORWARD(no_nan, a[i] = z[i] == z[i] ? 2 * z[i] : 0)
void d_right(const double *z, const double *a, const double *da, double *dz, ptrdiff_t n, const double *params) {
    (void)z, (void)a, (void)params;
    for (ptrdiff_t i = 0; i < n; i++) dz[i] = 2 * da[i];
}
void d_wrong(const double *z, const double *a, const double *da, double *dz, ptrdiff_t n, const double *params) {
    (void)a, (void)params;
    for (ptrdiff_t i = 0; i < n; i++) dz[i] = z[i] == 0.125 ? 1.9 * da[i] : 2 * da[i];
}
"""

NAME = native_sources.CAPSULE.encode()  # a capsule keeps the pointer, not the text
CC = shlex.split(sysconfig.get_config_var("CC") or "cc")


@pytest.fixture(scope="module")
def library_path(tmp_path_factory):
    """Compile the functions above."""
    if shutil.which(CC[0]) is None:
        pytest.skip(f"no compiler: {CC[0]}")
    folder = tmp_path_factory.mktemp("native")
    (folder / "kernels.c").write_text(C)
    flags = ["-std=c11", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-O2", "-shared", "-fPIC"]
    target = folder / "kernels.so"
    command = [*CC, *flags, f"-I{fm.get_include()}", "kernels.c", "-o", target.name, "-lm"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return str(target)


@pytest.fixture(scope="module")
def library(library_path):
    return ctypes.CDLL(library_path)


class Swish(fm.activations.Activation):
    """In NumPy; overflow of its exponential is harmless."""

    def __init__(self, beta=1.0):
        self.beta = beta

    def forward(self, z):
        return z / (1 + np.exp(-self.beta * z))

    def derivative(self, z, a):
        s = 1 / (1 + np.exp(-self.beta * z))
        return s + self.beta * a * (1 - s)


class Double(fm.activations.Activation):
    def forward(self, z):
        return 2 * z

    def derivative(self, z, a):
        return np.full_like(z, 2)


def functions(library, forward, backward):
    """Two functions of the library, for float64."""
    pointers = [ctypes.POINTER(ctypes.c_double)] * 4
    forward_type = ctypes.CFUNCTYPE(None, *pointers[:2], ctypes.c_ssize_t, pointers[0])
    backward_type = ctypes.CFUNCTYPE(None, *pointers, ctypes.c_ssize_t, pointers[0])
    return forward_type((forward, library)), backward_type((backward, library))


def doubling(library, forward="right", backward="d_right"):
    activation = Double()
    activation.native = NativeKernel(float64=functions(library, forward, backward))
    return activation


def native_swish(library):
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    address = ctypes.addressof(ctypes.c_char.in_dll(library, "swish"))
    capsule = new(("PyCapsule_New", ctypes.pythonapi))(address, NAME, None)

    class NativeSwish(Swish):
        native = fm.activations.NativeKernel(capsule, params=("beta",))

    return NativeSwish


# -- the header ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [("c", "-std=c11"), ("c++", "-std=c++11"), ("c++", "-std=c++20")])
def test_header_is_clean(options, tmp_path):
    """Included twice, with nothing before it, as C and as C++; struct, ABI and name are those that Python reads."""
    if shutil.which(CC[0]) is None:
        pytest.skip(f"no compiler: {CC[0]}")
    language, standard = options
    source = tmp_path / "header.c"
    source.write_text(
        '#include "fastmlp/activation.h"\n#include "fastmlp/activation.h"\n'
        f"typedef char size_is_known[sizeof(fastmlp_activation) == {ctypes.sizeof(native_sources.Struct)} ? 1 : -1];\n"
        f"typedef char abi_is_known[FASTMLP_ACTIVATION_ABI == {native_sources.ABI} ? 1 : -1];\n"
        "fastmlp_activation none = FASTMLP_ACTIVATION(NULL, NULL, NULL, NULL);\n"
    )
    flags = [f"-I{fm.get_include()}", "-pedantic-errors", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
    done = subprocess.run([*CC, "-x", language, standard, *flags, str(source)], capture_output=True, text=True)
    if "cc1plus" in done.stderr:
        pytest.skip("no compiler of C++")
    assert done.returncode == 0, done.stderr
    with open(f"{fm.get_include()}/fastmlp/activation.h", encoding="ascii") as file:
        assert f'#define FASTMLP_ACTIVATION_CAPSULE "{native_sources.CAPSULE}"' in file.read()


# -- verify --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta", [1.0, -0.25, 7.5, 0.0])
def test_a_right_kernel_passes(library, beta, dtype):
    verify(native_swish(library)(beta), dtype)


def test_an_activation_without_a_kernel_passes():
    assert execution_of(Swish(), "float32").mode == "traced"
    verify(Swish(), "float32")


def test_verified_once_for_a_configuration(library, monkeypatch):
    calls = []
    forward = Swish.forward
    monkeypatch.setattr(Swish, "forward", lambda self, z: calls.append(self.beta) or forward(self, z))
    kind = native_swish(library)
    seen = []
    for beta, dtype in [(1.0, "float32"), (1.0, "float32"), (1.0, "float64"), (2.0, "float32"), (1.0, "float64")]:
        verify(kind(beta), dtype)
        seen.append(len(calls))
    assert 0 < seen[0] == seen[1] < seen[2] < seen[3] == seen[4]


def test_a_failure_is_not_remembered_as_passed(library):
    activation = doubling(library, "steep")
    for _ in range(2):
        with pytest.raises(fm.PluginError):
            verify(activation, "float64")


FAULTS = {
    "steep": r"forward of the native kernel of Double\(\) in float64: at z = 50\.5 it gives 151\.5, .* NumPy 101\.0",
    "outside": "called with n = [0-9]+, not in place, it wrote beside the [0-9]+ elements of its output",
    "touches": "it changed its input z; write to the output only",
    "by_place": "in a shorter array, or at another place in it, .*without -ffast-math",
    "twice": "computed in place and .*: read an element before writing it",
    "no_nan": r"at z = nan it gives 0\.0, and forward in NumPy nan",
}


@pytest.mark.parametrize("forward", FAULTS)
def test_faults(library, forward):
    verify(doubling(library), "float64")
    with pytest.raises(fm.PluginError, match=FAULTS[forward]) as caught:
        verify(doubling(library, forward), "float64")
    assert caught.value.distribution is None


def test_a_wrong_derivative(library):
    with pytest.raises(fm.PluginError, match=r"backward .* at z = 0\.125, a = 0\.25, da = .* \(1 of 901 values"):
        verify(doubling(library, backward="d_wrong"), "float64")


def test_an_inherited_kernel_of_another_function(library):
    """A subclass that changes forward has the old kernel still."""

    class Half(native_swish(library)):
        def forward(self, z):
            return 0.5 * super().forward(z)

    with pytest.raises(fm.PluginError, match="a subclass that changes forward or derivative sets a native of its own"):
        verify(Half(), "float32")


def test_what_verify_asks_of_the_activation(library):
    class Bare(fm.activations.Activation):
        recordable = False
        native = NativeKernel(float64=functions(library, "right", "d_right"))

    with pytest.raises(TypeError, match=r"no forward in NumPy to compare it with .*write it beside the kernel"):
        verify(Bare(), "float64")
    Bare.forward = lambda self, z: np.array(2 * z)  # can't be traced, so it has no derivative
    with pytest.raises(TypeError, match="no backward in NumPy"):
        verify(Bare(), "float64")
    Bare.forward = Double.forward
    Bare.backward = lambda self, z, a, da: 2 * da
    verify(Bare(), "float64")
    Bare.forward = lambda self, z: np.zeros(3)
    Bare.native = NativeKernel(float64=functions(library, "right", "d_right"))
    with pytest.raises(ValueError, match=r"forward in NumPy: expected shape \(901,\), got \(3,\)"):
        verify(Bare(), "float64")
    with pytest.raises(TypeError, match="no functions for float32"):
        verify(Bare(), "float32")


@pytest.mark.parametrize("part", ["native", "elementwise"])
def test_wrong_attributes(library, part):
    activation = doubling(library)
    setattr(activation, part, False)
    with pytest.raises((TypeError, ValueError), match=r"must be a NativeKernel or None, got bool|is elementwise, but"):
        verify(activation, "float32")


def test_an_error_of_a_property_is_told():
    """It doesn't pass for an activation without a kernel."""

    class Broken(Double):
        @property
        def native(self):
            return self.missing

    with pytest.raises(AttributeError, match="missing"):
        verify(Broken(), "float64")


def test_the_distribution_of_a_faulty_plugin(library_path, tmp_path, run_python):
    """The error names the installed distribution, and carries it."""
    info = tmp_path / "faulty-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faulty\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fastmlp.activations]\nfaulty = faulty_plugin:Faulty\n")
    code = """
        import ctypes
        import fastmlp as fm
        p = ctypes.c_void_p
        library = ctypes.CDLL(LIBRARY)
        class Faulty(fm.activations.Activation):
            native = fm.activations.NativeKernel(float64=(library.right, library.d_wrong))
            def forward(self, z): return 2 * z
            def backward(self, z, a, da): return 2 * da
    """.replace("LIBRARY", repr(library_path))
    (tmp_path / "faulty_plugin.py").write_text(textwrap.dedent(code))
    told = run_python(
        """
        import fastmlp as fm
        from fastmlp.native import verify
        try:
            verify(fm.activations.get("faulty"), "float64")
        except fm.PluginError as error:
            print(error.distribution, error)
        """
    )
    assert told.startswith("faulty backward of the native kernel of Faulty() in float64 (distribution faulty): at z")
