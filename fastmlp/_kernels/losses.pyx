"""Softmax, and losses: value and gradient of a row together.

Cross-entropies of softmax and sigmoid are taken from the logits z, jointly, so that they neither overflow nor lose
digits: log softmax(z)_k = z_k - max z - log sum exp(z - max z), and log(1 + e^-|z|) for the sigmoid.
"""
from libc.math cimport log

from .elementary cimport vexp, vlog1p, vsigmoid
from .simd cimport (
    if_less, lane, lanes, load, load_n, real, splat, splat_f32, splat_f64, store, store_n, vabs, vec
)


cdef inline double exponentials(const real *z, real *a, Py_ssize_t n, real high, vec like) noexcept nogil:
    """a = exp(z - high), returns their sum: lane sums, added in the order of the lanes."""
    cdef Py_ssize_t W = lanes(like), j = 0, k
    cdef vec e, total = splat(0.0, like), top = splat(high, like)
    cdef double s = 0
    while j + W <= n:
        e = vexp(load(z + j, like) - top)
        store(a + j, e)
        total = total + e
        j += W
    for k in range(W):
        s += lane(total, k)
    if j < n:
        store_n(a + j, vexp(load_n(z + j, n - j, like) - top), n - j)
        while j < n:
            s += a[j]
            j += 1
    return s


cdef double softmax_forward(const real *z, real *a, Py_ssize_t n) noexcept nogil:
    """a = exp(z) / sum exp(z) over one row; returns log sum exp(z). a may be z."""
    cdef Py_ssize_t j
    cdef real high = z[0], inverse
    cdef double s
    for j in range(1, n):
        if z[j] > high:
            high = z[j]
    if real is float:
        s = exponentials(z, a, n, high, splat_f32(0))
    else:
        s = exponentials(z, a, n, high, splat_f64(0))
    inverse = <real> (1.0 / s)
    for j in range(n):
        a[j] *= inverse
    return <double> high + log(s)


cdef void softmax_backward(const real *a, const real *da, real *dz, Py_ssize_t n) noexcept nogil:
    """dz = a (da - sum_k da_k a_k) over one row; dz may be da."""
    cdef Py_ssize_t j
    cdef real s = 0
    for j in range(n):
        s += da[j] * a[j]
    for j in range(n):
        dz[j] = a[j] * (da[j] - s)


cdef double squared_error(const real *a, const real *y, Py_ssize_t n, double factor, double weight,
                          real *da) noexcept nogil:
    """factor sum (a - y)^2, and its gradient times weight."""
    cdef Py_ssize_t j
    cdef real d, scale = <real> (2.0 * factor * weight)
    cdef double total = 0
    for j in range(n):
        d = a[j] - y[j]
        total += <double> d * d
        da[j] = scale * d
    return factor * total


cdef double softmax_crossentropy(const real *z, real *a, const real *y, Py_ssize_t label, Py_ssize_t n, double weight,
                                 real *dz) noexcept nogil:
    """-sum y log softmax(z) = sum y (log sum exp z - z), gradient (a sum y - y); y is one-hot at label where NULL."""
    cdef Py_ssize_t j
    cdef real w = <real> weight
    cdef double total = 0, mass = 0, target = 0
    # the logits are read before `a`, which may lie over them, is written
    if y == NULL:
        target = z[label]
        mass = 1
    else:
        for j in range(n):
            mass += y[j]
            target += <double> y[j] * z[j]
    total = softmax_forward(z, a, n) * mass - target
    for j in range(n):
        dz[j] = w * (a[j] * <real> mass - (y[j] if y != NULL else <real> 0))
    if y == NULL:
        dz[label] = w * (a[label] - <real> 1)
    return total


cdef inline double sigmoid_over(const real *z, real *a, const real *y, Py_ssize_t n, vec like) noexcept nogil:
    """a = sigmoid(z); returns the sum of max(z, 0) - y z + log(1 + e^-|z|), in the order of the columns."""
    cdef Py_ssize_t W = lanes(like), j = 0, k, m
    cdef vec x, value, zero = splat(0.0, like)
    cdef double total = 0
    while j < n:
        m = min(W, n - j)
        x = load_n(z + j, m, like)
        # the logits are read before `a`, which may lie over them, is written
        value = if_less(x, zero, zero, x) - load_n(y + j, m, like) * x + vlog1p(vexp(zero - vabs(x)))
        store_n(a + j, vsigmoid(x), m)
        for k in range(m):
            total += lane(value, k)
        j += W
    return total


cdef double sigmoid_crossentropy(const real *z, real *a, const real *y, Py_ssize_t n, double weight,
                                 real *dz) noexcept nogil:
    """mean of max(z, 0) - y z + log(1 + e^-|z|), gradient (sigmoid(z) - y) / n."""
    cdef Py_ssize_t j
    cdef double total
    cdef real scale = <real> (weight / n)
    if real is float:
        total = sigmoid_over(z, a, y, n, splat_f32(0))
    else:
        total = sigmoid_over(z, a, y, n, splat_f64(0))
    for j in range(n):
        dz[j] = scale * (a[j] - y[j])
    return total / n


cdef double crossentropy(int kind, const real *a, const real *y, Py_ssize_t label, Py_ssize_t n, double weight,
                         real *da) noexcept nogil:
    """-sum y log a of probabilities, or the mean of the binary form. Probabilities are kept off 0 by 1e-38 (1e-300)."""
    cdef Py_ssize_t j
    cdef double tiny = 1e-38 if real is float else 1e-300, total = 0, p, q
    for j in range(n):
        p = max(<double> a[j], tiny)
        if kind == SPARSE_CROSSENTROPY:
            da[j] = <real> (-weight / p) if j == label else <real> 0
            if j == label:
                total -= log(p)
        elif kind == CROSSENTROPY:
            da[j] = <real> (-weight * y[j] / p)
            if y[j] != 0:
                total -= y[j] * log(p)
        else:
            q = max(1.0 - <double> a[j], tiny)
            da[j] = <real> (weight / n * ((1.0 - y[j]) / q - y[j] / p))
            total -= (y[j] * log(p) + (1.0 - y[j]) * log(q)) / n
    return total


cdef double loss_row(int kind, const real *z, real *a, const real *y, Py_ssize_t label, Py_ssize_t n, double weight,
                     real *dz) noexcept nogil:
    """The loss of one row, unweighted; dz its gradient times `weight`.

    Joint kinds read the logits z and write the probabilities a (which may lie over z); the others read a. Sparse kinds
    take `label`, the others y.
    """
    if kind == HALF_SQUARED_ERROR:
        return squared_error(a, y, n, 0.5, weight, dz)
    elif kind == MEAN_SQUARED_ERROR:
        return squared_error(a, y, n, 1.0 / n, weight, dz)
    elif kind == SPARSE_SOFTMAX_CROSSENTROPY:
        return softmax_crossentropy(z, a, <const real *> NULL, label, n, weight, dz)
    elif kind == SOFTMAX_CROSSENTROPY:
        return softmax_crossentropy(z, a, y, 0, n, weight, dz)
    elif kind == SIGMOID_CROSSENTROPY:
        return sigmoid_crossentropy(z, a, y, n, weight, dz)
    return crossentropy(kind, a, y, label, n, weight, dz)


cdef inline Py_ssize_t argmax(const real *a, Py_ssize_t n) noexcept nogil:
    """The first of the largest."""
    cdef Py_ssize_t j, best = 0
    for j in range(1, n):
        if a[j] > a[best]:
            best = j
    return best


cdef double accuracy_row(int kind, const real *a, const real *y, Py_ssize_t label, Py_ssize_t n) noexcept nogil:
    """1 where the largest output is the label; for the binary kind the share of outputs on the right side."""
    cdef Py_ssize_t j, right = 0
    if kind == SPARSE_ACCURACY:
        return argmax(a, n) == label
    elif kind == CATEGORICAL_ACCURACY:
        return argmax(a, n) == argmax(y, n)
    for j in range(n):
        right += (a[j] > <real> 0.5) == (y[j] > <real> 0.5)
    return <double> right / n
