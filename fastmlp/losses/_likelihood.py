"""Losses that are likelihoods: of a normal distribution with its variance, of counts and of positive numbers."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..registry import losses as registry
from ._base import Loss

if TYPE_CHECKING:
    from numpy.typing import NDArray


@registry.builtin("gaussian_nll")
class GaussianNLL(Loss):
    """``mean_j (s_j + (y_j - m_j)^2 e^-s_j) / 2``: of k targets the network gives 2 k outputs, m, then s.

    The first k outputs are means m of normal distributions, the others logarithms s of their variances, which so are
    positive by themselves: use no activation in the last layer. Gradient ``(m - y) e^-s / k`` by m, and
    ``(1 - (y - m)^2 e^-s) / (2 k)`` by s. Nix and Weigend, Estimating the mean and variance of the target probability
    distribution, ICNN 1994. It is computed in NumPy. ``predict(x)[:, :k]`` are the means,
    ``np.exp(predict(x)[:, k:] / 2)`` the standard deviations.

    Parameters
    ----------
    full : bool
        Whether the constant ``log(2 pi) / 2`` is added, as to compare likelihoods.
    """

    def __init__(self, full: bool = False) -> None:
        self.full = bool(full)

    def target_units(self, units: int) -> int:
        """Return half as many targets as outputs."""
        if units % 2:
            raise ValueError(
                f"{self!r} takes a mean and the logarithm of a variance for each target, but the network has {units} "
                f"output{'s' * (units > 1)}: use 2 units in the last layer for each target"
            )
        return units // 2

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        targets = y_true.shape[1]
        d, s = y_pred[:, :targets] - y_true, y_pred[:, targets:]
        by_mean = d * np.exp(-s)
        squares = d * by_mean
        value = (s + squares).mean(axis=1) / 2
        if self.full:
            value += math.log(2 * math.pi) / 2
        return value, np.concatenate([by_mean, (1 - squares) / 2], axis=1) / targets


@registry.builtin("poisson_deviance")
class PoissonDeviance(Loss):
    """``2 mean_j (y_j log(y_j / mu_j) - y_j + mu_j)`` with ``mu = e^yhat``: outputs are logarithms of rates.

    Targets are counts, of at least 0, and ``0 log 0`` is 0. Gradient ``2 (e^yhat - y) / units``. Use no activation in
    the last layer: rates are ``np.exp(predict(x))``. Its least is that of the Poisson likelihood, and 0 where
    ``mu = y``: McCullagh and Nelder, Generalized Linear Models, 1989.
    """

    target_range = (0.0, math.inf)
    conformance: ClassVar[dict[str, Any]] = {"domain": (0.1, 4.0)}

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        rate = np.exp(y_pred)
        logarithm = np.log(np.where(y_true == 0, 1, y_true))
        return (2 * (y_true * (logarithm - y_pred) - y_true + rate)).mean(axis=1), 2 * (rate - y_true) / rate.shape[1]


@registry.builtin("gamma_deviance")
class GammaDeviance(Loss):
    """``2 mean_j (log(mu_j / y_j) + y_j / mu_j - 1)`` with ``mu = e^yhat``: outputs are logarithms of means.

    Targets are positive, such as costs or times. Gradient ``2 (1 - y e^-yhat) / units``. Use no activation in the last
    layer: means are ``np.exp(predict(x))``. McCullagh and Nelder, Generalized Linear Models, 1989.
    """

    target_range = (sys.float_info.min, math.inf)
    conformance: ClassVar[dict[str, Any]] = {"domain": (0.1, 4.0)}

    def value_and_gradient(self, y_true: NDArray[Any], y_pred: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        ratio = y_true * np.exp(-y_pred)
        value = 2 * (y_pred - np.log(y_true) + ratio - 1)
        return value.mean(axis=1), 2 * (1 - ratio) / ratio.shape[1]
