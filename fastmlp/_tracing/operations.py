"""The operations of a graph: how many operands each has, and the same in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["COMMUTATIVE", "LIMIT", "OPERATIONS", "TRUTHS"]

LIMIT = 1000  # nodes of a graph: more than anybody writes, few enough to check at once


def _erf(x: Any) -> Any:
    return np.vectorize(math.erf, otypes=[np.float64])(x).astype(np.result_type(x))


def _sigmoid(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


OPERATIONS: dict[str, tuple[int, Callable[..., Any]]] = {  # operands, and the same in NumPy
    "add": (2, np.add),
    "sub": (2, np.subtract),
    "mul": (2, np.multiply),
    "div": (2, np.divide),
    "max": (2, np.maximum),
    "min": (2, np.minimum),
    "pow": (2, np.power),
    "less": (2, np.less),
    "at_least": (2, np.greater_equal),
    "equal": (2, np.equal),
    "copysign": (2, np.copysign),
    "select": (3, lambda c, x, y: np.where(c != 0, x, y)),
    "neg": (1, np.negative),
    "abs": (1, np.abs),
    "sqrt": (1, np.sqrt),
    "sign": (1, np.sign),
    "round": (1, np.rint),
    "exp": (1, np.exp),
    "expm1": (1, np.expm1),
    "log": (1, np.log),
    "log1p": (1, np.log1p),
    "tanh": (1, np.tanh),
    "sigmoid": (1, _sigmoid),
    "sin": (1, np.sin),
    "cos": (1, np.cos),
    "erf": (1, _erf),
    "sinh": (1, np.sinh),
    "cosh": (1, np.cosh),
    "arctan": (1, np.arctan),
    "arcsinh": (1, np.arcsinh),
    "softplus": (1, lambda x: np.logaddexp(x, np.zeros_like(x))),
}
COMMUTATIVE = ("add", "mul", "equal")
TRUTHS = ("less", "at_least", "equal")  # 1 or 0
