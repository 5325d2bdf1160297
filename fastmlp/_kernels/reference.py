"""NumPy twins of the kernels: same name and arguments as in `bindings.pyx`, the formula and nothing else.

Tests and benchmarks take them as the oracle; no user's code runs here. A twin writes into its output arrays as the
kernel does, and computes in their dtype, or in float64 where it says so, rounded at the end. m is the number of rows, n
that of columns or of all numbers.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from . import level, load

Array = npt.NDArray[Any]

_OPS = load(level, "plan_ops")  # its codes are the same at every level
# Names by code, of what has a kernel.
ACTIVATIONS = {code: name for name, code in _OPS.ACTIVATIONS.items() if name != "extension"}
LOSSES = {code: name for name, code in _OPS.LOSSES.items() if name != "program"}
METRICS = {code: name for name, code in _OPS.METRICS.items() if name != "none"}


def _sigmoid(z: Array) -> Any:
    """``1 / (1 + e^-z)``, as ``e^z / (1 + e^z)`` below 0, so that nothing overflows."""
    e = np.exp(-np.abs(z))
    return np.where(z < 0, e, 1) / (1 + e)


@np.errstate(all="ignore")
def activation_forward(code: int, z: Array, a: Array, alpha: float = 0.0) -> None:
    """``a = g(z)``, elementwise; z and a of one shape. ReLU is ``0 if z < 0 else z``, which keeps a NaN.

    By sign, it is -0 where z < 0 and +0 where z is 0 of either sign: then `a` alone tells the derivative.
    """
    match ACTIVATIONS[code]:
        case "identity":
            a[...] = z
        case "relu":
            a[...] = np.where(z < 0, 0, z)
        case "relu_by_sign":
            a[...] = np.where(z < 0, -0.0, z + 0.0)
        case "leaky_relu":
            a[...] = np.where(z < 0, alpha * z, z)
        case "sigmoid":
            a[...] = _sigmoid(z)
        case "tanh":
            a[...] = np.tanh(z)
        case "exponential":
            a[...] = np.exp(z)
        case "sin":
            a[...] = np.sin(z)
        case "cos":
            a[...] = np.cos(z)


@np.errstate(all="ignore")
def activation_backward(
    code: int, z: Array, a: Array, da: Array, dz: Array, alpha: float = 0.0, at_zero: float = 1.0
) -> None:
    """``dz = da g'(z)`` for ``a = g(z)``, elementwise, all of one shape; dz may be da.

    The mask of ReLU is the comparison z >= 0, and `at_zero` at 0 of either sign; docs/equations.md, row 6.
    """
    match ACTIVATIONS[code]:
        case "identity":
            dz[...] = da
        case "relu":
            dz[...] = np.where(z >= 0, np.where(z == 0, at_zero * da, da), 0)
        case "relu_by_sign":
            dz[...] = np.where(np.signbit(a) | np.isnan(a), 0, da)
        case "leaky_relu":
            dz[...] = np.where(z < 0, alpha * da, da)
        case "sigmoid":
            dz[...] = da * (a * (1 - a))
        case "tanh":
            dz[...] = da * (1 - a * a)
        case "exponential":
            dz[...] = da * a
        case "sin":
            dz[...] = da * np.cos(z)
        case "cos":
            dz[...] = da * -np.sin(z)


@np.errstate(all="ignore")
def elementary(name: str, x: Array, y: Array) -> None:
    """``y = f(x)`` for the function f of that name, elementwise; x and y (n,)."""
    match name:
        case "sigmoid":
            y[...] = _sigmoid(x)
        case "erf":
            y[...] = np.vectorize(math.erf, otypes=[float])(x)
        case _:
            y[...] = getattr(np, name)(x)


@np.errstate(all="ignore")
def elementary_power(x: Array, exponent: Array, y: Array) -> None:
    """``y = x^exponent``, elementwise; x, exponent and y (n,). Special values are those of C's pow."""
    y[...] = np.power(x, exponent)


def dense_forward(
    x: Array,
    kernel: Array,
    bias: Array | None,
    z: Array,
    a: Array,
    activation: int = 0,
    alpha: float = 0.0,
    index: Array | None = None,
    threads: int = 1,
) -> None:
    """``z = x[index] kernel + bias``, ``a = g(z)``; docs/equations.md, row 1.

    x (rows, inputs), kernel (inputs, units), bias (units,), z and a (batch, units), index (batch,) of row
    numbers; without it, rows = batch. `threads` changes nothing.
    """
    product = (x if index is None else x[index]) @ kernel
    z[...] = product if bias is None else product + bias
    activation_forward(activation, z, a, alpha)


def dense_backward(
    x: Array,
    kernel: Array,
    d: Array,
    d_kernel: Array,
    d_bias: Array,
    d_input: Array,
    activation: int = 0,
    z: Array | None = None,
    a: Array | None = None,
    alpha: float = 0.0,
    at_zero: float = 1.0,
    threads: int = 1,
) -> None:
    """``d_kernel = x^T d``, ``d_bias = sum_i d_i``, ``d_input = (d kernel^T) * g'(z)``; docs/equations.md, row 15.

    x, d_input, z and a (batch, inputs), kernel and d_kernel (inputs, units), d (batch, units), d_bias
    (units,). ``a = g(z)``, of code `activation`, made x; the identity needs neither. `threads` changes nothing.
    """
    d_kernel[...] = x.T @ d
    column_sums(d, d_bias)
    d_input[...] = d @ kernel.T
    if z is not None and a is not None:
        activation_backward(activation, z, a, d_input, d_input, alpha, at_zero)


def column_sums(x: Array, out: Array) -> None:
    """``out_j = sum_i x_ij``, in float64; x (m, n), out (n,)."""
    out[...] = x.sum(axis=0, dtype=np.float64)


def batchnorm_forward(x: Array, gamma: Array, beta: Array, epsilon: float, mean: Array, var: Array, y: Array) -> None:
    """``mean = sum_i x_i / m``, ``var = sum_i (x_i - mean)^2 / m``, ``y = gamma xhat + beta``, in float64.

    ``xhat = (x - mean) / sqrt(var + epsilon)``; x and y (m, n), the others (n,). docs/equations.md, row 21; Ioffe,
    Szegedy: Batch normalization, ICML 2015.
    """
    wide = x.astype(np.float64)
    mu = wide.sum(axis=0) / len(x)
    sigma2 = ((wide - mu) ** 2).sum(axis=0) / len(x)
    mean[...] = mu
    var[...] = sigma2
    y[...] = gamma * (wide - mu) / np.sqrt(sigma2 + epsilon) + beta


def batchnorm_backward(
    x: Array,
    dy: Array,
    gamma: Array,
    mean: Array,
    var: Array,
    epsilon: float,
    batch_statistics: bool,
    d_gamma: Array,
    d_beta: Array,
    dx: Array,
) -> None:
    """Compute the gradients of `batchnorm_forward` in float64; x, dy and dx (m, n), the others (n,).

    ``d_beta = sum_i dy_i``, ``d_gamma = sum_i dy_i xhat_i``,
    ``dx = gamma / sqrt(var + epsilon) (dy - (d_beta + xhat d_gamma) / m)``.
    Without `batch_statistics` mean and var are constants, and what is divided by m falls away.
    """
    inv = 1 / np.sqrt(var.astype(np.float64) + epsilon)
    xhat = (x - mean.astype(np.float64)) * inv
    by_beta, by_gamma = dy.sum(axis=0, dtype=np.float64), (dy * xhat).sum(axis=0)
    d_beta[...] = by_beta
    d_gamma[...] = by_gamma
    dx[...] = gamma * inv * (dy - ((by_beta + xhat * by_gamma) / len(x) if batch_statistics else 0))


def batchnorm_update(mean: Array, var: Array, momentum: float, running_mean: Array, running_var: Array) -> None:
    """``running = momentum running + (1 - momentum) batch``, for both statistics; all (n,)."""
    running_mean[...] = momentum * running_mean + (1 - momentum) * mean
    running_var[...] = momentum * running_var + (1 - momentum) * var


def add(x: Array, y: Array, a: Array) -> None:
    """``a = x + y``; all (n,)."""
    a[...] = x + y


def layernorm_forward(
    x: Array, gamma: Array, beta: Array, epsilon: float, centered: bool, mean: Array, inv: Array, y: Array
) -> None:
    """``y = gamma (x - mean) inv + beta`` by rows, ``inv = 1 / sqrt(mean((x - mean)^2) + epsilon)``, in float64.

    x and y (m, n), gamma and beta (n,), mean and inv (m,); not `centered` (RMSNorm), the mean counts as 0, and beta and
    `mean` are left alone.
    """
    wide = x.astype(np.float64)
    mu = wide.sum(axis=1) / max(x.shape[1], 1) if centered else np.zeros(len(x))
    factor = 1 / np.sqrt(((wide - mu[:, None]) ** 2).sum(axis=1) / max(x.shape[1], 1) + epsilon)
    if centered:
        mean[...] = mu
    inv[...] = factor
    y[...] = gamma * (wide - mu[:, None]) * factor[:, None] + (beta if centered else 0)


def layernorm_backward(
    x: Array,
    dy: Array,
    gamma: Array,
    mean: Array,
    inv: Array,
    centered: bool,
    d_gamma: Array,
    d_beta: Array,
    dx: Array,
) -> None:
    """The gradients of `layernorm_forward` in float64: with ``g = dy gamma``, by rows
    ``dx = inv (g - mean(g) - xhat mean(g xhat))``, ``d_gamma = sum_i dy_i xhat_i``, ``d_beta = sum_i dy_i``."""
    mu = mean.astype(np.float64)[:, None] if centered else 0
    factor = inv.astype(np.float64)[:, None]
    xhat = (x - mu) * factor
    d_gamma[...] = (dy * xhat).sum(axis=0)
    if centered:
        d_beta[...] = dy.astype(np.float64).sum(axis=0)
    g, n = dy.astype(np.float64) * gamma, max(x.shape[1], 1)
    dot = (g * xhat).sum(axis=1, keepdims=True) / n
    total = g.sum(axis=1, keepdims=True) / n if centered else 0
    dx[...] = factor * (g - total - xhat * dot)


def softmax_forward(z: Array, a: Array) -> None:
    """``a_j = e^(z_j - max z) / sum_k e^(z_k - max z)`` by rows; z and a (m, n)."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    a[...] = e / e.sum(axis=1, keepdims=True)


def softmax_backward(a: Array, da: Array, dz: Array) -> None:
    """``dz_j = a_j (da_j - sum_k da_k a_k)`` by rows, for a = softmax(z); all (m, n)."""
    dz[...] = a * (da - (da * a).sum(axis=1, keepdims=True))


def loss(code: int, z: Array, a: Array, y: Array, weight: Array, values: Array, dz: Array) -> None:
    """Compute the loss of each row, and its gradient times the row's weight, in float64.

    z (logits), a (outputs), dz (m, n), weight and values (m,), y (m, n), or (m,) of labels for sparse losses.
    Losses with softmax or sigmoid in their names read z and write a, and dz is the gradient by z; the others read
    a, and dz is the gradient by a. Probabilities are kept off 0 by 1e-38 (float32) or 1e-300.
    """
    name, n, logits, output = LOSSES[code], z.shape[1], z.astype(np.float64), a.astype(np.float64)
    if name.startswith("sparse"):
        y = np.eye(n)[y]
    if name.endswith("softmax_crossentropy"):  # -sum y log softmax(z)
        top = logits.max(axis=1, keepdims=True)
        log_sum = top + np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        a[...] = probability = np.exp(logits - log_sum)
        each, d = y * (log_sum - logits), probability * y.sum(axis=1, keepdims=True, dtype=np.float64) - y
    elif name == "sigmoid_crossentropy":  # -mean (y log s(z) + (1 - y) log (1 - s(z)))
        a[...] = probability = _sigmoid(logits)
        each, d = (np.logaddexp(0, logits) - y * logits) / n, (probability - y) / n
    elif name.endswith("squared_error"):  # factor sum (a - y)^2
        factor = 0.5 if name == "half_squared_error" else 1 / n
        each, d = factor * (output - y) ** 2, 2 * factor * (output - y)
    else:
        tiny = 1e-38 if z.dtype == np.float32 else 1e-300
        p, q = np.maximum(output, tiny), np.maximum(1 - output, tiny)
        if name == "binary_crossentropy":  # -mean (y log a + (1 - y) log (1 - a))
            each, d = -(y * np.log(p) + (1.0 - y) * np.log(q)) / n, ((1.0 - y) / q - y / p) / n
        else:  # -sum y log a
            each, d = -y * np.log(p), -y / p
    values[...] = each.sum(axis=1)
    dz[...] = weight[:, None] * d


def accuracy(metric: int, a: Array, y: Array, values: Array) -> None:
    """``values`` = 1 where the largest output (the first of several) is the label, or the largest of y; 0 elsewhere.

    For yes-or-no outputs, the share on the right side: of 1/2 for the binary metric, of 0 for signs. a, y (m, n),
    or (m,) of labels for the sparse metric, values (m,).
    """
    match METRICS[metric]:
        case "sparse":
            values[...] = a.argmax(axis=1) == y
        case "categorical":
            values[...] = a.argmax(axis=1) == y.argmax(axis=1)
        case "binary":
            values[...] = ((a > 0.5) == (y > 0.5)).mean(axis=1)
        case "signs":
            values[...] = ((a > 0.0) == (y > 0.5)).mean(axis=1)


def sgd_update(
    w: Array, g: Array, velocity: Array | None, learning_rate: float, momentum: float = 0.0, nesterov: bool = False
) -> None:
    """``w += v``, ``v = mu v - lr g``, with momentum mu; Nesterov: ``w += mu v - lr g``; all (n,).

    Without a velocity ``w -= lr g``.
    """
    step = -learning_rate * g
    if velocity is not None:
        velocity[...] = momentum * velocity + step
        step = momentum * velocity + step if nesterov else velocity
    w += step


def decay(w: Array, factor: float) -> None:
    """``w *= factor``, which is ``1 - lr wd``: decoupled weight decay, before a step; (n,)."""
    w *= factor


def adam_update(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    learning_rate: float,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    step: int,
) -> None:
    """Apply algorithm 1 of Kingma, Ba: Adam, ICLR 2015, for step t >= 1; all (n,).

    ``m = b1 m + (1 - b1) g``, ``v = b2 v + (1 - b2) g^2``,
    ``w -= lr mhat / (sqrt(vhat) + epsilon)`` with ``mhat = m / (1 - b1^t)``, ``vhat = v / (1 - b2^t)``.
    """
    m[...] = beta_1 * m + (1 - beta_1) * g
    v[...] = beta_2 * v + (1 - beta_2) * g**2
    mhat = m / (1 - beta_1**step)
    vhat = v / (1 - beta_2**step)
    w -= learning_rate * mhat / (np.sqrt(vhat) + epsilon)


def average_update(average: Array, w: Array, momentum: float, overwrite: bool) -> None:
    """``average = momentum average + (1 - momentum) w``; then ``w = average`` where it is to be overwritten; (n,)."""
    average[...] = momentum * average + (1 - momentum) * w
    if overwrite:
        w[...] = average


def all_finite(x: Array) -> bool:
    """Return whether x (n,) has neither NaN nor infinity."""
    return bool(np.isfinite(x).all())


def magnitude(x: Array) -> int:
    """Return 1 if x (n,) has NaN or infinity, 2 if the sum of its squares is 2^100 or more, else 0."""
    large = 2 if np.square(x, dtype=np.float64).sum() >= 2.0**100 else 0
    return large if all_finite(x) else 1


def clip_values(g: Array, limit: float) -> None:
    """``g = min(max(g, -limit), limit)``; (n,)."""
    g[...] = np.clip(g, -limit, limit)


def clip_norm(g: Array, limit: float) -> None:
    """``g = g min(1, limit / norm)``, ``norm = sqrt(sum g^2)``, in double; (n,). A norm of 0 stays."""
    most = float(np.abs(g).max(initial=0.0))
    norm = most * np.sqrt(np.square(g.astype(np.float64) / most).sum()) if most else 0.0
    if norm > limit:
        g *= g.dtype.type(limit / norm)


def philox(seed: int, step: int, stream: int, block0: int) -> list[list[int]]:
    """Return words 0 to 3 (rows) of the blocks block0 .. block0 + 15 (columns) of Philox4x32-10.

    Counter (block, stream, low and high half of step), key (low and high half of seed). Salmon, Moraes, Dror,
    Shaw: Parallel random numbers: as easy as 1, 2, 3, SC 2011.
    """
    low = (1 << 32) - 1
    blocks = []
    for block in range(block0, block0 + 16):
        c, k = (block & low, stream, step & low, step >> 32), (seed & low, seed >> 32)
        for _ in range(10):
            p, q = 0xD2511F53 * c[0], 0xCD9E8D57 * c[2]
            c = (q >> 32) ^ c[1] ^ k[0], q & low, (p >> 32) ^ c[3] ^ k[1], p & low
            k = (k[0] + 0x9E3779B9) & low, (k[1] + 0xBB67AE85) & low
        blocks.append(c)
    return [[c[word] for c in blocks] for word in range(4)]


def dropout_forward(x: Array, y: Array, mask: Array, rate: float, seed: int, step: int, layer: int) -> None:
    """``y = mask x / (1 - rate)``, where mask (of bytes) is 1 with probability 1 - rate; all (batch, units).

    An element is kept where its word of the stream `layer` is at least rate 2^32. A row takes whole groups of
    64 words, in the order in which `philox` gives them.
    """
    batch, units = x.shape
    groups = (units + 63) // 64
    words = [philox(seed, step, layer, 16 * group) for group in range(batch * groups)]
    mask[...] = np.array(words, np.int64).reshape(batch, 64 * groups)[:, :units] >= int(rate * 2**32)
    dropout_backward(x, mask, y, rate)


def dropout_backward(dy: Array, mask: Array, dx: Array, rate: float) -> None:
    """``dx = mask dy / (1 - rate)``, elementwise, all of one shape; dx may be dy."""
    dx[...] = np.where(mask != 0, dy * dy.dtype.type(1 / (1 - rate)), 0)


def noise_forward(x: Array, y: Array, stddev: float, seed: int, step: int, layer: int) -> None:
    """``y = x + stddev n``, n standard normal, by Box and Muller (1958); x and y (batch, units).

    A row takes whole groups of 64 words; words w and w' of a group give ``r cos t`` in its first half and ``r sin t``
    in its second, with ``r = sqrt(-2 log((w + 1/2) / 2^32))`` and ``t = 2 pi w' / 2^32``.
    """
    batch, units = x.shape
    groups = (units + 63) // 64
    words = [philox(seed, step, layer, 16 * group) for group in range(batch * groups)]
    first, second = np.moveaxis(np.array(words, np.int64).reshape(batch, groups, 2, 32), 2, 0)
    radius, angle = np.sqrt(-2 * np.log((first + 0.5) / 2**32)), 2 * np.pi * second / 2**32
    normal = np.concatenate((radius * np.cos(angle), radius * np.sin(angle)), axis=2).reshape(batch, 64 * groups)
    y[...] = x + stddev * normal[:, :units]


def standardize(x: Array, mean: Array, var: Array, epsilon: float, inv: Array, y: Array) -> None:
    """``inv = 1 / max(sqrt(var), epsilon)``, ``y = (x - mean) inv``; x and y (m, n), the others (n,)."""
    inv[...] = 1 / np.maximum(np.sqrt(var.astype(np.float64)), epsilon)
    y[...] = (x - mean) * inv


def unit_norm_forward(x: Array, epsilon: float, inv: Array, y: Array) -> None:
    """``inv = 1 / max(||x||, epsilon)``, ``y = x inv`` by rows, in float64; x and y (m, n), inv (m,)."""
    wide = x.astype(np.float64)
    factor = 1 / np.maximum(np.sqrt((wide * wide).sum(axis=1)), epsilon)
    inv[...] = factor
    y[...] = wide * factor[:, None]


def unit_norm_backward(y: Array, dy: Array, inv: Array, epsilon: float, dx: Array) -> None:
    """``dx = inv (dy - y (dy . y))`` by rows, ``dx = inv dy`` where inv is 1 / epsilon; y, dy, dx (m, n), inv (m,)."""
    wide = dy.astype(np.float64)
    along = np.where(inv < inv.dtype.type(1 / epsilon), (wide * y).sum(axis=1), 0)
    dx[...] = inv.astype(np.float64)[:, None] * (wide - y * along[:, None])


def embedding_forward(x: Array, embeddings: Array, ids: int, y: Array) -> None:
    """``y_i = embeddings_k`` for ``k = x_i``; NaN where that is no whole number from 0 to ids - 1.

    x (m,), embeddings (ids, n), y (m, n).
    """
    for i, number in enumerate(x):
        known = 0 <= number < ids and number == int(number)
        y[i] = embeddings[int(number)] if known else np.nan


def embedding_backward(x: Array, dy: Array, ids: int, d_embeddings: Array) -> None:
    """``d_embeddings_k = sum of dy_i over x_i = k``, in the order of i; x (m,), dy (m, n), d_embeddings (ids, n)."""
    d_embeddings[...] = 0
    for number, row in zip(x, dy, strict=True):
        if 0 <= number < ids and number == int(number):
            d_embeddings[int(number)] += row


def shuffle(order: Array, seed: int, epoch: int) -> None:
    """``order`` (n,) = a permutation of 0 .. n - 1, keyed by seed and epoch: `random.permutation`.

    Fisher and Yates, from the last element down; each bound takes a remainder of 64 bits of stream 2^32 - 1.
    """
    blocks = [philox(seed, epoch, 2**32 - 1, block) for block in range(0, len(order), 16)]
    words = iter(np.array(blocks, np.int64).ravel().tolist())
    order[...] = range(len(order))
    for i in range(len(order) - 1, 0, -1):
        j = (next(words) << 32 | next(words)) % (i + 1)
        order[[i, j]] = order[[j, i]]
