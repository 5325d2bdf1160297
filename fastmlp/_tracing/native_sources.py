"""Takes native functions from numba, ctypes or a capsule: each is checked, and its address is read."""

from __future__ import annotations

import ctypes
from _ctypes import FUNCFLAG_PYTHONAPI, CFuncPtr, _Pointer, _SimpleCData
from typing import Any, NamedTuple

__all__ = ["read_capsule", "read_pair"]

ABI = 1
CAPSULE = "fastmlp.activation.v1"
COUNT = f"int{8 * ctypes.sizeof(ctypes.c_ssize_t)}"
HEADER = "compile it against fm.get_include()"


class Signature(NamedTuple):
    """Result and arguments in numba's words (``float32*``, ``int64``)."""

    result: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.result}({', '.join(self.arguments)})"

    def takes(self, other: Signature) -> bool:
        """Return whether a function of the `other` signature can be called by this one."""
        if (self.result, len(self.arguments)) != (other.result, len(other.arguments)):
            return False
        return all(map(_alike, self.arguments, other.arguments))


def _alike(ours: str, theirs: str) -> bool:
    """Return whether two words mean the same: any pointer does, and a count without a sign, since n isn't negative."""
    return ours == theirs or (theirs == "void*" and ours.endswith("*")) or (ours == COUNT and theirs == f"u{COUNT}")


def expected(part: str, dtype: str) -> Signature:
    """Return the signature of ``forward`` or ``backward``."""
    arrays = 2 if part == "forward" else 4
    return Signature("void", (*[f"{dtype}*"] * arrays, COUNT, "float64*"))


def read_pair(pair: Any, dtype: str) -> tuple[int, int]:
    """Return the addresses of ``(forward, backward)``."""
    if not isinstance(pair, (tuple, list)) or len(pair) != 2:
        got = f"{len(pair)} of them" if isinstance(pair, (tuple, list)) else type(pair).__name__
        raise TypeError(f"NativeKernel: {dtype}: expected a pair (forward, backward), got {got}")
    forward, backward = (
        _read(function, f"NativeKernel: {part} of {dtype}", expected(part, dtype))
        for part, function in zip(("forward", "backward"), pair, strict=True)
    )
    return forward, backward


def _read(function: Any, what: str, wanted: Signature) -> int:
    """Return the address of a function whose signature, where it can be seen, is the wanted one."""
    if isinstance(function, CFuncPtr):
        _refuse_python(function, what)
        address = ctypes.cast(function, ctypes.c_void_p).value
        found = _ctypes_signature(function)
    else:
        address = getattr(function, "address", None)
        if isinstance(address, bool) or not isinstance(address, int):
            remedy = "compile it with numba.cfunc(signature)" if callable(function) else "give one for each"
            raise TypeError(
                f"{what}: expected a numba cfunc or a ctypes function pointer, got {type(function).__name__}; {remedy}"
            )
        found = _signature(function)
    if not address:
        raise ValueError(f"{what}: expected a function, got a null pointer")
    if found is not None and not wanted.takes(found):
        raise TypeError(f"{what}: expected the signature {wanted}, got {found}; declare it so")
    return address


def _refuse_python(function: Any, what: str) -> None:
    """Refuse functions that need the GIL: threads of the plan have none, and may wait while one of them holds it."""
    kept = getattr(function, "_objects", None)  # what ctypes keeps alive for it
    thunk = any(type(value).__name__ == "CThunkObject" for value in kept.values()) if kept else False
    if thunk or getattr(function, "_flags_", 0) & FUNCFLAG_PYTHONAPI:
        raise TypeError(
            f"{what}: expected a compiled function, got one that needs the GIL; write forward and derivative in NumPy "
            "and leave native away, or compile it"
        )


def _signature(function: Any) -> Signature | None:
    """Return what a numba cfunc, or something like it, tells about itself."""
    for name in ("_sig", "signature"):
        own: Any = getattr(function, name, None)
        if hasattr(own, "args") and hasattr(own, "return_type"):
            words = [str(word) for word in (own.return_type, *own.args)]
            return Signature(*_split(words))
    twin = getattr(function, "ctypes", None)
    return _ctypes_signature(twin) if isinstance(twin, CFuncPtr) else None


def _split(words: list[str]) -> tuple[str, tuple[str, ...]]:
    return ("void" if words[0] == "none" else words[0]), tuple(words[1:])


def _ctypes_signature(function: Any) -> Signature | None:
    """Return a signature, None where nobody has set ``argtypes``; ``restype`` is int then, which means nothing."""
    if function.argtypes is None:
        if function.restype in (None, ctypes.c_int):
            return None
        return Signature(_word(function.restype), ("...",))
    return Signature(*_split([_word(kind) for kind in (function.restype, *function.argtypes)]))


def _word(kind: Any) -> str:
    """Return a type of ctypes in numba's words."""
    if kind is None:
        return "void"
    if not isinstance(kind, type):
        return repr(kind)
    code: Any = getattr(kind, "_type_", "")
    if issubclass(kind, _Pointer):
        return f"{_word(code)}*"
    if issubclass(kind, ctypes.c_void_p):
        dtype = getattr(kind, "_dtype_", None)  # of numpy.ctypeslib.ndpointer
        return "void*" if dtype is None else f"{dtype}*"
    if isinstance(code, str) and issubclass(kind, _SimpleCData) and code in "fdhHiIlLqQ":
        family = "float" if code in "fd" else "int" if code.islower() else "uint"
        return f"{family}{8 * ctypes.sizeof(kind)}"
    return kind.__name__


class Struct(ctypes.Structure):
    """``fastmlp_activation`` of ``fastmlp/activation.h``."""

    _fields_ = [
        ("abi", ctypes.c_uint32),
        ("size", ctypes.c_uint32),
        ("forward_f32", ctypes.c_void_p),
        ("backward_f32", ctypes.c_void_p),
        ("forward_f64", ctypes.c_void_p),
        ("backward_f64", ctypes.c_void_p),
    ]


def read_capsule(capsule: Any) -> dict[str, tuple[int, int]]:
    """Return the addresses of a capsule's functions, by dtype."""
    if type(capsule).__name__ != "PyCapsule":
        raise TypeError(
            f"NativeKernel: expected a PyCapsule {CAPSULE!r}, got {type(capsule).__name__}; functions are given as "
            "float32=(forward, backward), float64=(forward, backward)"
        )
    call = ctypes.PYFUNCTYPE(ctypes.c_char_p, ctypes.py_object)
    name = call(("PyCapsule_GetName", ctypes.pythonapi))(capsule)
    if name != CAPSULE.encode():
        came = "no name" if name is None else repr(name.decode(errors="replace"))
        raise ValueError(f"NativeKernel: expected a capsule named {CAPSULE!r}, got {came}; {HEADER}")
    point = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)
    address = point(("PyCapsule_GetPointer", ctypes.pythonapi))(capsule, name)
    abi, size = (ctypes.c_uint32 * 2).from_address(address)
    if abi != ABI:
        raise ValueError(f"NativeKernel: expected a capsule of ABI {ABI}, got ABI {abi}; {HEADER} of this fastmlp")
    if size < ctypes.sizeof(Struct):
        raise ValueError(
            f"NativeKernel: expected a capsule with a struct of at least {ctypes.sizeof(Struct)} bytes, got size = "
            f"{size}; fill it by FASTMLP_ACTIVATION(...), and {HEADER}"
        )
    return _pairs(Struct.from_address(address))


def _pairs(struct: Struct) -> dict[str, tuple[int, int]]:
    pairs = {}
    for dtype, suffix in (("float32", "f32"), ("float64", "f64")):
        forward, backward = (getattr(struct, f"{part}_{suffix}") for part in ("forward", "backward"))
        if bool(forward) != bool(backward):
            missing = "backward" if forward else "forward"
            raise ValueError(f"NativeKernel: the capsule's {missing}_{suffix} is NULL; give both for a type, or none")
        if forward:
            pairs[dtype] = (forward, backward)
    if not pairs:
        raise ValueError("NativeKernel: all functions of the capsule are NULL; give a pair for a type")
    return pairs
