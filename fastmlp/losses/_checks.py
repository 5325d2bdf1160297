"""Checks of what losses are made with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..checks import check_number

__all__ = ["number_above", "numbers_above"]


def number_above(name: str, value: Any, low: float = 0.0, high: float = float("inf")) -> float:
    """Return a number between two others, neither of which it may be."""
    number = check_number(name, value)
    if not low < number < high:
        expected = "a positive number" if (low, high) == (0.0, float("inf")) else f"a number between {low} and {high}"
        raise ValueError(f"{name}: expected {expected}, got {value!r}")
    return number


def numbers_above(name: str, value: Any, low: float = 0.0, high: float = float("inf")) -> float | tuple[float, ...]:
    """Return one such number, or several as a tuple."""
    if hasattr(value, "tolist"):  # an array, or a number of NumPy
        value = value.tolist()
    if not isinstance(value, Sequence) or isinstance(value, str):
        return number_above(name, value, low, high)
    if not value:
        raise ValueError(f"{name}: expected at least one number, got {value!r}")
    return tuple(number_above(name, one, low, high) for one in value)
