"""Native kernels inside the plan: the same networks as in NumPy, the same bits at any number of threads, and files."""

import ctypes
import shlex
import shutil
import subprocess
import sysconfig

import numpy as np
import pytest

import fastmlp as fm
from fastmlp.activations import execution_of
from fastmlp.layers import Activation, BatchNorm, Dense

C = """
#include "fastmlp/activation.h"
#define PAIR(T, suffix) \\
    void forward_##suffix(const T *z, T *a, ptrdiff_t n, const double *params) { \\
        const T scale = (T)params[0]; \\
        for (ptrdiff_t i = 0; i < n; i++) { T m = z[i] < 0 ? -z[i] : z[i]; a[i] = scale * (z[i] / (1 + m)); } \\
    } \\
    void backward_##suffix(const T *z, const T *a, const T *da, T *dz, ptrdiff_t n, const double *params) { \\
        const T scale = (T)params[0]; \\
        (void)a; \\
        for (ptrdiff_t i = 0; i < n; i++) { \\
            T m = 1 + (z[i] < 0 ? -z[i] : z[i]); \\
            dz[i] = da[i] * (scale / (m * m)); \\
        } \\
    }
PAIR(float, f32)
PAIR(double, f64)
"""
CC = shlex.split(sysconfig.get_config_var("CC") or "cc")
ROWS, FIRST, LAST = 150, 9, 4


class Softsign(fm.activations.Activation):
    recordable = False

    def __init__(self, scale=1.5):
        self.scale = scale

    def forward(self, z):
        return self.scale * (z / (1 + np.abs(z)))

    def derivative(self, z, a):
        return self.scale / (1 + np.abs(z)) ** 2


@pytest.fixture(scope="module")
def native(tmp_path_factory):
    """The class with functions that a compiler made."""
    if shutil.which(CC[0]) is None:
        pytest.skip(f"no compiler: {CC[0]}")
    folder = tmp_path_factory.mktemp("native")
    (folder / "kernels.c").write_text(C)
    command = [
        *CC,
        "-O3",
        "-shared",
        "-fPIC",
        "-ffp-contract=off",
        f"-I{fm.get_include()}",
        "kernels.c",
        "-o",
        "kernels.so",
    ]
    subprocess.run(command, cwd=folder, check=True)
    library = ctypes.CDLL(str(folder / "kernels.so"))

    def pair(suffix):
        functions = getattr(library, f"forward_{suffix}"), getattr(library, f"backward_{suffix}")
        for function in functions:
            function.restype = None
        return functions

    kernel = fm.activations.NativeKernel(float32=pair("f32"), float64=pair("f64"), params=("scale",))
    return type("NativeSoftsign", (Softsign,), {"native": kernel})


STACKS = {
    "fused": lambda g: [Dense(33, g), Dense(17, g), Dense(LAST, "softmax")],
    "alone": lambda g: [Activation(g), Dense(16), Activation(g), Dense(LAST, "softmax")],
    "after batch norm": lambda g: [Dense(31), BatchNorm(), Activation(g), Dense(LAST, "softmax")],
    "wide rows": lambda g: [Dense(256, g), Dense(1500, g), Dense(LAST, "softmax")],
    "at the end": lambda g: [Dense(5, "relu"), Dense(LAST, g)],
}


def trained(stack, activation, dtype, threads=1):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, FIRST)).astype(dtype), rng.integers(0, LAST, ROWS)
    net = fm.Sequential(STACKS[stack](activation), input_dim=FIRST, dtype=dtype, seed=1)
    if stack == "at the end":
        net.compile("adam", "mean_squared_error")
        y = rng.normal(size=(ROWS, LAST)).astype(dtype)
    else:
        net.compile("adam", "sparse_categorical_crossentropy")
    with fm.num_threads(threads):
        net.fit(x, y, epochs=3, batch_size=64, verbose=0)
        return np.concatenate([value.ravel() for value in net.parameters.values()]), net.predict(x), net


@pytest.mark.parametrize("stack", STACKS)
def test_native_kernels_train_what_numpy_trains(native, stack):
    expected, prediction, _ = trained(stack, Softsign(), "float64")
    found, predicted, net = trained(stack, native(), "float64")
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(predicted, prediction, rtol=1e-8, atol=1e-10)
    assert execution_of(native(), net.dtype).mode == "native"


@pytest.mark.parametrize("stack", STACKS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_threads_change_no_bit(native, teams, stack, dtype, same_bits):
    weights, prediction, _ = trained(stack, native(), dtype)
    for threads in (2, 3, 5):
        others = trained(stack, native(), dtype, threads)
        assert same_bits(weights, others[0]) and same_bits(prediction, others[1])


def test_parameters_reach_the_functions(native):
    z = np.linspace(-3, 3, 77).reshape(7, 11)
    net = fm.Sequential([Activation(native(scale=4.0))], input_dim=11, dtype="float64")
    np.testing.assert_allclose(net.predict(z), 4 * z / (1 + np.abs(z)), rtol=1e-14)


def test_a_traced_form_agrees(native):
    """Native, traced and NumPy: three forms of one function."""
    traced = type("TracedSoftsign", (Softsign,), {"recordable": True})
    assert execution_of(traced(), np.dtype("float64")).mode == "traced"
    forms = [trained("fused", form, "float64")[0] for form in (native(), traced(), Softsign())]
    np.testing.assert_allclose(forms[0], forms[1], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(forms[0], forms[2], rtol=1e-8, atol=1e-10)


def test_files_and_copies(native, tmp_path):
    name = "test_native_networks.softsign"
    fm.registry.activations.register(name, native, override=True)
    _, prediction, net = trained("fused", native(2.0), "float32")
    x = np.random.default_rng(0).normal(size=(ROWS, FIRST)).astype("float32")
    net.save(tmp_path / "net.npz")
    assert fm.load(tmp_path / "net.npz").predict(x).tobytes() == prediction.tobytes()


def test_a_wrong_kernel_is_an_error_before_anything_is_built(native):
    class Steeper(native):
        def forward(self, z):
            return 1.001 * super().forward(z)

    with pytest.raises(fm.PluginError, match="forward"):
        fm.Sequential([Dense(3, Steeper())], input_dim=2).predict(np.zeros((1, 2)))
