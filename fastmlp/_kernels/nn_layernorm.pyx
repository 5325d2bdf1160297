"""Layer normalization (Ba, Kiros, Hinton: Layer normalization, arXiv:1607.06450), per row over its n columns.

mean = sum x / n, var = sum (x - mean)^2 / n (two passes, the second corrects the first), inv = 1 / sqrt(var + epsilon),
xhat = (x - mean) inv, y = gamma xhat + beta. RMSNorm (Zhang, Sennrich, arXiv:1910.07467) is the same without a mean and
without beta: both pointers are NULL. A row meets no other, and its sums go over lanes in one order, so its bits depend on
it alone; sums over rows go by chunks of CHUNK rows, combined in order.
"""
from libc.math cimport sqrt

from .nn_activations cimport activation_forward
from .nn_batchnorm cimport column_sums
from .plan_ops cimport at, gradient, layernorm_backward_op_t, layernorm_op_t, layernorm_sums_op_t, run_t
from .simd cimport (
    LINE_NUMBERS, across_sum, fetch, first_n, fma, lane, lanes, put, real, share, splat, splat_f32, splat_f64, vec
)
from .vm cimport extension_t

cdef enum:
    CHUNK = 64


cdef inline void forward_over(const real *x, const real *gamma, const real *beta, Py_ssize_t n, double epsilon, real *mean,
                              real *inv, real *y, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), j = 0
    cdef vec zero = splat(0.0, like), center = zero, first = zero, second = zero, d, factor
    cdef double rest, var
    if mean != NULL:
        while j < n:
            first = first + fetch(x + j, n - j, like)
            j += W
        center = splat(lane(across_sum(first), 0) / <double> n, like)
        first = zero
    j = 0
    while j < n:
        d = fetch(x + j, n - j, like) - center
        if n - j < W:
            d = first_n(d, n - j, zero)
        first = first + d
        second = fma(d, d, second)
        j += W
    var = lane(across_sum(second), 0) / <double> n
    if mean != NULL:
        # what rounding took from the mean shows in the mean of the deviations, and is given back
        rest = lane(across_sum(first), 0) / <double> n
        var -= rest * rest
        mean[0] = <real> (lane(center, 0) + rest)
        center = splat(mean[0], like)
    inv[0] = <real> (1.0 / sqrt(var + epsilon))
    factor = splat(inv[0], like)
    j = 0
    while j < n:
        d = (fetch(x + j, n - j, like) - center) * factor * fetch(gamma + j, n - j, like)
        put(y + j, d + fetch(beta + j, n - j, like) if beta != NULL else d, n - j)
        j += W


cdef void layernorm_forward(const real *x, const real *gamma, const real *beta, Py_ssize_t n, double epsilon, real *mean,
                            real *inv, real *y) noexcept nogil:
    """One row: mean and inv of x, y = gamma (x - mean) inv + beta; y may be x. RMSNorm: mean and beta are NULL."""
    if real is float:
        forward_over(x, gamma, beta, n, epsilon, mean, inv, y, splat_f32(0))
    else:
        forward_over(x, gamma, beta, n, epsilon, mean, inv, y, splat_f64(0))


cdef inline void backward_over(const real *x, const real *dy, const real *gamma, Py_ssize_t n, const real *mean,
                               const real *inv, real *dx, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), j = 0
    cdef vec zero = splat(0.0, like), center = splat(mean[0], like) if mean != NULL else zero
    cdef vec factor = splat(inv[0], like), sum = zero, dot = zero, g, xhat
    while j < n:
        g = fetch(dy + j, n - j, like) * fetch(gamma + j, n - j, like)
        sum = sum + g
        dot = fma(g, (fetch(x + j, n - j, like) - center) * factor, dot)
        j += W
    sum = splat(lane(across_sum(sum), 0) / <double> n, like) if mean != NULL else zero
    dot = splat(lane(across_sum(dot), 0) / <double> n, like)
    j = 0
    while j < n:
        g = fetch(dy + j, n - j, like) * fetch(gamma + j, n - j, like)
        xhat = (fetch(x + j, n - j, like) - center) * factor
        put(dx + j, factor * (g - sum - xhat * dot), n - j)
        j += W


cdef void layernorm_backward(const real *x, const real *dy, const real *gamma, Py_ssize_t n, const real *mean,
                             const real *inv, real *dx) noexcept nogil:
    """One row: with g = dy gamma, dx = inv (g - sum g / n - xhat sum (g xhat) / n); dx may be dy.

    The first of the two sums is left out where there is no mean.
    """
    if real is float:
        backward_over(x, dy, gamma, n, mean, inv, dx, splat_f32(0))
    else:
        backward_over(x, dy, gamma, n, mean, inv, dx, splat_f64(0))


cdef inline void sums_over(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m, Py_ssize_t j,
                           Py_ssize_t j1, const real *mean, const real *inv, real *d_gamma, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), i, end, left
    cdef vec zero = splat(0.0, like), total, part, xhat
    while j < j1:
        left = j1 - j
        total = zero
        i = 0
        while i < m:
            end = min(i + CHUNK, m)
            part = zero
            while i < end:
                xhat = fetch(x + i * ldx + j, left, like)
                if mean != NULL:
                    xhat = xhat - splat(mean[i], like)
                part = fma(fetch(dy + i * ldd + j, left, like), xhat * splat(inv[i], like), part)
                i += 1
            total = total + part
        put(d_gamma + j, total, left)
        j += W


cdef void layernorm_sums(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m, Py_ssize_t j0,
                         Py_ssize_t j1, const real *mean, const real *inv, real *d_gamma, real *d_beta) noexcept nogil:
    """d_gamma = sum dy xhat, d_beta = sum dy over m rows, columns j0 .. j1; d_beta, and mean, may be NULL."""
    if d_beta != NULL:
        column_sums(dy, ldd, m, j0, j1, d_beta)
    if real is float:
        sums_over(x, ldx, dy, ldd, m, j0, j1, mean, inv, d_gamma, splat_f32(0))
    else:
        sums_over(x, ldx, dy, ldd, m, j0, j1, mean, inv, d_gamma, splat_f64(0))


# The operations of a plan

cdef void layernorm_rows(const layernorm_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                         const real *like) noexcept nogil:
    """z = gamma xhat + beta, a = g(z), rows i0 .. i1 of the batch."""
    cdef real *mean = at(run, op.mean, like)
    cdef real *inv = at(run, op.inv, like)
    cdef real *a = at(run, op.a, like)
    cdef real *z
    cdef Py_ssize_t i
    for i in range(i0, i1):
        z = at(run, op.z, like) + i * op.ldz
        layernorm_forward(at(run, op.x, like) + i * op.ldx, at(run, op.gamma, like), at(run, op.beta, like), op.units,
                          op.epsilon, mean + i if mean != NULL else NULL, inv + i, z)
        if a != NULL:
            activation_forward(<int> op.activation, z, a + i * op.lda, op.units, op.alpha,
                               <const extension_t *> <void *> op.extension)


cdef void layernorm_backward_rows(const layernorm_backward_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                                  const real *like) noexcept nogil:
    """dx of rows i0 .. i1 of the batch."""
    cdef real *mean = at(run, op.mean, like)
    cdef real *inv = at(run, op.inv, like)
    cdef Py_ssize_t i
    for i in range(i0, i1):
        layernorm_backward(at(run, op.x, like) + i * op.ldx, at(run, op.d, like) + i * op.ldd, at(run, op.gamma, like),
                           op.units, mean + i if mean != NULL else NULL, inv + i, at(run, op.dx, like) + i * op.ld_dx)


cdef void layernorm_gradients(const layernorm_sums_op_t *op, const run_t *run, int tid, int team,
                              const real *like) noexcept nogil:
    """The gradients of gamma and beta: this thread's share of the columns."""
    cdef Py_ssize_t first, last
    share(op.units, LINE_NUMBERS, tid, team, &first, &last)
    if first < last:
        layernorm_sums(at(run, op.x, like), op.ldx, at(run, op.d, like), op.ldd, run.batch, first, last,
                       at(run, op.mean, like), at(run, op.inv, like), gradient(run, op.gamma, like),
                       gradient(run, op.beta, like))
