"""Checks of plain arguments: what came, what was expected."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

__all__ = ["check_count", "check_dtype", "check_integer", "check_seed", "check_share"]


def check_integer(name: str, value: object, least: int) -> int:
    """An integer of at least `least`; bools and floats are no integers."""
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    number = int(value.__index__())
    if number < least:
        raise ValueError(f"{name}: expected at least {least}, got {number}")
    return number


def check_count(name: str, value: object) -> int:
    """An integer of at least 1."""
    return check_integer(name, value, 1)


def check_share(name: str, value: Any) -> float:
    """A number in [0, 1)."""
    if isinstance(value, (str, bytes)) or not hasattr(value, "__float__"):
        raise TypeError(f"{name}: expected a number, got {value!r}")
    number = float(value)
    if not 0 <= number < 1:
        raise ValueError(f"{name}: expected a number in [0, 1), got {value!r}")
    return number


def check_dtype(dtype: Any) -> np.dtype[Any]:
    """float32 or float64."""
    found = np.dtype(dtype)
    if found not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise ValueError(f"dtype: expected 'float32' or 'float64', got {dtype!r}")
    return found


def check_seed(seed: object) -> int:
    """A seed of 64 bits; None draws one."""
    if seed is None:
        return int.from_bytes(os.urandom(4), "little")
    number = check_integer("seed", seed, 0)
    if number >= 2**64:
        raise ValueError(f"seed: expected less than 2^64, got {number}")
    return number
