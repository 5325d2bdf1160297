"""``lsuv``: kernels scaled by data, layer by layer, until outputs have variance 1."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ..checks import check_count, check_number
from ._matrices import Orthogonal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["lsuv"]


def lsuv(
    net: Any, x: Any, *, tolerance: float = 0.1, max_iterations: int = 10, orthogonal: bool = True
) -> dict[str, float]:
    """Scale the kernels of a network until ``x kernel + bias`` of each layer has variance 1 over some data.

    Layer-sequential unit-variance initialization: kernels are made orthogonal, then each, from the first layer to the
    last, is divided by ``sqrt(Var(z))`` while ``|Var(z) - 1| >= tolerance``, z being what the layer gives before its
    activation, and the variance being over rows and units together. Mishkin and Matas, All you need is a good init,
    ICLR 2016, arXiv:1511.06422.

    Parameters
    ----------
    net : Sequential
        Built here if it isn't. Its layers are looked at by what they have: those with a ``kernel`` are scaled. Layers
        inside of others (`Residual`) are left as they are, and so are those that are not trained.
    x : array_like ``(n, features)``
        Rows of the training data, as they are given to ``fit``; some hundred are enough.
    tolerance : float
        Above 0.
    max_iterations : int
        Of each layer. Without a bias the first one suffices.
    orthogonal : bool
        Whether kernels are drawn anew at first, by `Orthogonal` from the network's seed; else those that are there are
        scaled.

    Returns
    -------
    dict of str to float
        The variance that was reached, by key of the kernel.

    Raises
    ------
    ValueError
        If the outputs of a layer do not vary over `x`, or are not finite; for data that ``predict`` would refuse. The
        network is unchanged then.

    Notes
    -----
    Layers behave as in ``predict``: nothing is dropped, and batch norm takes its running statistics.

    Examples
    --------
    >>> import numpy as np
    >>> import fastmlp as fm
    >>> x = np.random.default_rng(0).normal(3.0, 5.0, (200, 10))
    >>> net = fm.Sequential([fm.layers.Dense(20, "relu"), fm.layers.Dense(1)], input_dim=10, seed=0)
    >>> {key: round(variance, 3) for key, variance in fm.initializers.lsuv(net, x).items()}
    {'0.kernel': 1.0, '1.kernel': 1.0}
    """
    tolerance, most = check_number("tolerance", tolerance, 0.0), check_count("max_iterations", max_iterations)
    if tolerance == 0:
        raise ValueError("tolerance: expected a number above 0, got 0")
    if not net.built:
        net.build(np.shape(x)[1])
    values = {key: np.array(array) for key, array in net.parameters.items()}
    reached: dict[str, float] = {}
    for number, layer in enumerate(net.layers):
        key = f"{number if layer.name is None else layer.name}.kernel"
        if not layer.trainable or key not in values or np.ndim(values[key]) != 2:
            continue
        if orthogonal:
            kernel = values[key]
            values[key] = Orthogonal()(kernel.shape, np.random.default_rng([net.seed, number]), kernel.dtype)
        reached[key] = _scale(_probe(net, number, values), x, key, values, tolerance, most)
    for key in reached:
        net.parameters[key] = values[key]
    return reached


def _probe(net: Any, last: int, values: dict[str, NDArray[Any]]) -> Any:
    """Return a network of copies of the first layers, the last of them without its activation."""
    copies = []
    for number, layer in enumerate(net.layers[: last + 1]):
        changes = {"activation": None} if number == last and "activation" in layer.get_config() else {}
        copies.append(_another(layer, changes))
    probe = type(net)(copies, input_dim=net.input_dim, dtype=net.dtype, seed=net.seed)
    for key in probe.parameters:
        probe.parameters[key] = values[key]
    for key in probe.buffers:
        probe.buffers[key] = net.buffers[key]
    return probe


def _another(layer: Any, changes: dict[str, Any]) -> Any:
    """Return a layer of the same configuration, but for some values, with other layers inside of it."""
    return type(layer).from_config({name: _inside(value) for name, value in (layer.get_config() | changes).items()})


def _inside(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_inside, value))
    if isinstance(value, dict):
        return {key: _inside(part) for key, part in value.items()}
    return _another(value, {}) if hasattr(value, "owned") else value  # a layer belongs to one network


def _scale(probe: Any, x: Any, key: str, values: dict[str, NDArray[Any]], tolerance: float, most: int) -> float:
    """Divide a kernel by the standard deviation of what its layer gives until that is 1; return the last variance."""
    for _ in range(most):
        variance = _variance(probe, x, key)
        if abs(variance - 1) < tolerance:
            return variance
        values[key] = values[key] / np.asarray(math.sqrt(variance), values[key].dtype)
        probe.parameters[key] = values[key]
    return _variance(probe, x, key)


def _variance(probe: Any, x: Any, key: str) -> float:
    outputs = probe.predict(x)
    variance = float(np.var(outputs, dtype=np.float64))
    if not math.isfinite(variance) or variance == 0:
        raise ValueError(
            f"{key}: the outputs of its layer have variance {variance:g} over x; rows that differ, and finite numbers, "
            "are needed; look at the layers before it"
        )
    return variance
