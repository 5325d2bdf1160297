"""What `NativeKernel` takes, what it refuses and how; nothing here is called."""

import copy
import ctypes
import gc
import pickle
import types
import weakref

import numpy as np
import pytest

import fastmlp as fm
from fastmlp._tracing import native_sources
from fastmlp.native import NativeKernel

TYPES = {"float32": ctypes.c_float, "float64": ctypes.c_double}
ARRAYS = {"forward": 2, "backward": 4}


def prototype(part, dtype, count=ctypes.c_ssize_t, restype=None):
    array = ctypes.POINTER(TYPES[dtype])
    return ctypes.CFUNCTYPE(restype, *[array] * ARRAYS[part], count, ctypes.POINTER(ctypes.c_double))


def pair(dtype="float32"):
    """Function pointers of the right signatures, never called."""
    return prototype("forward", dtype)(4096), prototype("backward", dtype)(8192)


def capsule_of(address, name=b"fastmlp.activation.v1"):
    new = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(("PyCapsule_New", ctypes.pythonapi))(address, name, None)


def struct(abi=1, size=40, **functions):
    return native_sources.Struct(abi, size, **functions)


class Swish(fm.activations.Activation):
    def __init__(self, beta=1.0):
        self.beta = beta


class Double(fm.activations.Activation):
    """Has no beta."""


# -- what NativeKernel takes ---------------------------------------------------------------------------------------


def test_ctypes_pairs():
    kernel = NativeKernel(float32=pair(), float64=list(pair("float64")), params=["beta"])
    assert kernel.dtypes == ("float32", "float64") and kernel.params == ("beta",)
    assert kernel.addresses("float32") == kernel.addresses(np.dtype("float64")) == (4096, 8192)
    assert repr(kernel) == "<NativeKernel of float32 and float64, params=('beta',)>"


@pytest.mark.parametrize("restype", [ctypes.c_int, None])
def test_functions_of_libraries(restype):
    """Nobody has set their argtypes."""
    forward = ctypes.CDLL(None)["abs"]
    forward.restype = restype
    address = ctypes.cast(forward, ctypes.c_void_p).value
    assert NativeKernel(float32=(forward, pair()[1])).addresses("float32") == (address, 8192)


ANY = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, np.ctypeslib.ndpointer("float64"))


def test_pointers_to_anything():
    forward = ctypes.CFUNCTYPE(None, *ANY)(4096)
    assert NativeKernel(float32=(forward, pair()[1])).addresses("float32") == (4096, 8192)


def like_numba(*arguments, result="none", address=4096, **more):
    signature = types.SimpleNamespace(args=arguments, return_type=result)
    return types.SimpleNamespace(address=address, _sig=signature, **more)


NUMBA = ("float32*", "float32*", "int64", "float64*")


def test_what_numba_makes():
    """By its address and its signature, of which the names of types count; no numba is imported."""
    forward, backward = like_numba(*NUMBA), like_numba(*NUMBA[:1], *NUMBA[:1], *NUMBA, address=8192)
    assert NativeKernel(float32=(forward, backward)).addresses("float32") == (4096, 8192)
    bare = types.SimpleNamespace(address=4096, ctypes=pair()[0])
    assert NativeKernel(float32=(bare, backward)).addresses("float32") == (4096, 8192)


def wrong(function):
    return {"float32": (function, pair()[1])}


WRONG = {
    "nothing": ({}, TypeError, "expected one capsule, or pairs .* got nothing"),
    "one function": ({"float32": pair()[0]}, TypeError, r"float32: expected a pair \(forward, backward\)"),
    "three functions": ({"float32": (*pair(), None)}, TypeError, "expected a pair .* got 3 of them"),
    "half a pair": ({"float64": (pair("float64")[0], None)}, TypeError, "backward of float64: .* got NoneType"),
    "Python": (wrong(lambda z, a, n, params: None), TypeError, "got function; compile it with numba.cfunc"),
    "Python by ctypes": (wrong(prototype("forward", "float32")(print)), TypeError, "one that needs the GIL; write"),
    "Python's C API": (wrong(ctypes.pythonapi.PyCapsule_New), TypeError, "one that needs the GIL"),
    "address": (wrong(4096), TypeError, "expected a numba cfunc or a ctypes function pointer, got int"),
    "null": (wrong(prototype("forward", "float32")(0)), ValueError, "got a null pointer"),
    "float64 for float32": (
        wrong(pair("float64")[0]),
        TypeError,
        r"forward of float32: .*void\(float32\*, float32\*, int64, float64\*\), got void\(float64\*, float64\*, int64",
    ),
    "backward for forward": (wrong(pair()[1]), TypeError, r"got void\(float32\*, float32\*, float32\*, float32\*, int"),
    "32-bit count": (wrong(prototype("forward", "float32", ctypes.c_int)(1)), TypeError, "int32, float64"),
    "result": (wrong(prototype("forward", "float32", restype=ctypes.c_float)(1)), TypeError, r"got float32\("),
    "result alone": (wrong(ctypes.CFUNCTYPE(ctypes.c_double)(1)), TypeError, r"got float64\(\)"),
    "numba's float64": (wrong(like_numba("float64*", *NUMBA[1:])), TypeError, r"got void\(float64\*, float32\*"),
    "numba's arrays": (wrong(like_numba("array(float32, 1d, C)")), TypeError, r"got void\(array\(float32, 1d, C\)\)"),
    "numba's result": (wrong(like_numba(*NUMBA, result="float32")), TypeError, r"got float32\(float32\*"),
    "a name as params": ({"float32": pair(), "params": "beta"}, TypeError, r"write \('beta',\)"),
    "numbers as params": ({"float32": pair(), "params": (1.0,)}, TypeError, "expected a tuple of names"),
    "a name twice": ({"float32": pair(), "params": ("b", "b")}, ValueError, "each name once"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_functions(case):
    given, error, match = WRONG[case]
    with pytest.raises(error, match=match):
        NativeKernel(**given)


# -- capsules ------------------------------------------------------------------------------------------------------


def test_capsule():
    """Also one of a later struct, which is longer."""
    ours = struct(size=48, forward_f64=16, backward_f64=32)
    kernel = NativeKernel(capsule_of(ctypes.addressof(ours)))
    assert kernel.dtypes == ("float64",) and kernel.addresses("float64") == (16, 32)
    with pytest.raises(TypeError, match="no functions for float32; make the network with dtype='float64'"):
        kernel.addresses("float32")


WRONG_STRUCTS = {
    "ABI": (struct(abi=2, forward_f32=1, backward_f32=1), "expected a capsule of ABI 1, got ABI 2; compile it against"),
    "size": (struct(size=8, forward_f32=1, backward_f32=1), "at least 40 bytes, got size = 8"),
    "empty": (struct(), "all functions of the capsule are NULL"),
    "half": (struct(forward_f32=1), "backward_f32 is NULL; give both"),
}


@pytest.mark.parametrize("case", WRONG_STRUCTS)
def test_wrong_structs(case):
    ours, match = WRONG_STRUCTS[case]
    with pytest.raises(ValueError, match=match):
        NativeKernel(capsule_of(ctypes.addressof(ours)))


@pytest.mark.parametrize("name", [b"fastmlp.activation.v2", None])
def test_capsules_of_other_names(name):
    ours = struct(forward_f32=1, backward_f32=1)
    with pytest.raises(ValueError, match=r"expected a capsule named 'fastmlp.activation.v1', got (no name|'.*v2')"):
        NativeKernel(capsule_of(ctypes.addressof(ours), name))


def test_capsule_or_pairs():
    with pytest.raises(TypeError, match=r"expected a PyCapsule .* got tuple; functions are given as float32="):
        NativeKernel(pair())
    with pytest.raises(TypeError, match="got a capsule and float32"):
        NativeKernel(capsule_of(1), float32=pair())


# -- parameters, copies --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("beta, error", [("1", TypeError), (True, TypeError), (np.nan, ValueError), (1j, TypeError)])
def test_values_are_finite_numbers(beta, error):
    kernel = NativeKernel(float32=pair(), params=("beta",))
    assert kernel.values(Swish(np.float32(0.5))).tolist() == [0.5]
    assert kernel.values(Swish(3)).dtype == np.float64
    with pytest.raises(error, match="beta, a parameter of its native kernel: expected a"):
        kernel.values(Swish(beta))
    with pytest.raises(AttributeError, match=r"takes 'beta', but .* \(self\.beta = beta\)"):
        kernel.values(Double())


def test_owners_are_kept_alive():
    forward, backward = pair()
    alive = weakref.ref(forward)
    kernel = NativeKernel(float32=(forward, backward))
    del forward, backward
    gc.collect()
    assert alive() is not None
    del kernel
    gc.collect()
    assert alive() is None


class Classy(Swish):
    native = NativeKernel(float32=pair(), params=("beta",))


def test_copies():
    """An attribute of the class stays where it is; one of the instance is shared by copies and can't be pickled."""
    for twin in (pickle.loads(pickle.dumps(Classy(2.0))), copy.deepcopy(Classy(2.0)), copy.copy(Classy(2.0))):
        assert twin == Classy(2.0) and twin.native is Classy.native
    activation = Swish()
    activation.native = Classy.native
    assert copy.deepcopy(activation).native is copy.copy(activation).native is Classy.native
    with pytest.raises(TypeError, match="can't be pickled; make it an attribute of the activation's class"):
        pickle.dumps(activation)
