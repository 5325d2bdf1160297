"""The virtual machine of traced programs, as the kernels of this processor's level have it."""

from __future__ import annotations

from typing import Any

from .._kernels import vm as _kernels

__all__ = ["CODES", "LIMITS", "Extension", "Program"]

CODES: dict[str, int] = _kernels.NAMES  # instructions by name
LIMITS: dict[str, int] = _kernels.LIMITS  # inputs, uniforms, registers and outputs that a program may have
Program: Any = _kernels.Program  # instructions in memory, checked
Extension: Any = _kernels.Extension  # programs or native functions of an activation
