"""Batch normalization (Ioffe, Szegedy: Batch normalization, ICML 2015), per column over the m rows of a batch.

mean = sum x / m, var = sum (x - mean)^2 / m (two passes, the second corrects the first; divided by m),
xhat = (x - mean) inv, inv = 1 / sqrt(var + epsilon), y = gamma xhat + beta. Sums go over chunks of CHUNK rows, combined
in order: a fixed tree, by shape alone.
"""
from libc.math cimport sqrt

from .simd cimport fma, lanes, load_n, real, splat, splat_f32, splat_f64, store_n, vec

cdef enum:
    CHUNK = 64


cdef inline vec products(const real *x, Py_ssize_t ldx, const real *y, Py_ssize_t ldy, Py_ssize_t m, Py_ssize_t n,
                         vec center, vec factor) noexcept nogil:
    """Sums over m rows of n columns of y (x - center) factor, or of x - center where y is NULL."""
    cdef vec total = splat(0.0, center), part, v
    cdef Py_ssize_t i = 0, end
    while i < m:
        end = min(i + CHUNK, m)
        part = splat(0.0, center)
        while i < end:
            v = load_n(x + i * ldx, n, center) - center
            if y != NULL:
                part = fma(load_n(y + i * ldy, n, center), v * factor, part)
            else:
                part = part + v
            i += 1
        total = total + part
    return total


cdef inline void deviations(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t n, vec center, vec *first,
                            vec *second) noexcept nogil:
    """Sums over m rows of n columns of x - center, and of its square."""
    cdef vec d, part, square
    cdef Py_ssize_t i = 0, end
    first[0] = second[0] = splat(0.0, center)
    while i < m:
        end = min(i + CHUNK, m)
        part = square = splat(0.0, center)
        while i < end:
            d = load_n(x + i * ldx, n, center) - center
            part = part + d
            square = fma(d, d, square)
            i += 1
        first[0] = first[0] + part
        second[0] = second[0] + square


cdef inline void sums_over(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1, real *out,
                           vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), j = j0, n
    while j < j1:
        n = min(W, j1 - j)
        store_n(out + j, products(x + j, ldx, <const real *> NULL, 0, m, n, splat(0.0, like), like), n)
        j += W


cdef inline void statistics_over(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1, real *mean,
                                 real *var, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), j = j0, n
    cdef vec mu, first, second, count = splat(<double> m, like), zero = splat(0.0, like)
    while j < j1:
        n = min(W, j1 - j)
        mu = products(x + j, ldx, <const real *> NULL, 0, m, n, zero, zero) / count
        # what rounding took from the mean shows in the mean of the deviations, and is given back
        deviations(x + j, ldx, m, n, mu, &first, &second)
        first = first / count
        store_n(mean + j, mu + first, n)
        store_n(var + j, second / count - first * first, n)
        j += W


cdef inline void backward_sums_over(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m,
                                    Py_ssize_t j0, Py_ssize_t j1, const real *mean, const real *inv, real *d_gamma,
                                    vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), j = j0, n
    while j < j1:
        n = min(W, j1 - j)
        store_n(d_gamma + j, products(x + j, ldx, dy + j, ldd, m, n, load_n(mean + j, n, like),
                                      load_n(inv + j, n, like)), n)
        j += W


cdef void column_sums(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1,
                      real *out) noexcept nogil:
    """out[j] = sum_i x[i, j] for j0 <= j < j1."""
    if real is float:
        sums_over(x, ldx, m, j0, j1, out, splat_f32(0))
    else:
        sums_over(x, ldx, m, j0, j1, out, splat_f64(0))


cdef void batchnorm_inverse(const real *var, Py_ssize_t n, double epsilon, real *inv) noexcept nogil:
    """inv = 1 / sqrt(var + epsilon), rounded once from double."""
    cdef Py_ssize_t j
    for j in range(n):
        inv[j] = <real> (1.0 / sqrt(<double> var[j] + epsilon))


cdef void batchnorm_statistics(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1, double epsilon,
                               real *mean, real *var, real *inv) noexcept nogil:
    """mean, var (divided by m) and inv of the columns j0 .. j1."""
    if real is float:
        statistics_over(x, ldx, m, j0, j1, mean, var, splat_f32(0))
    else:
        statistics_over(x, ldx, m, j0, j1, mean, var, splat_f64(0))
    batchnorm_inverse(var + j0, j1 - j0, epsilon, inv + j0)


cdef void batchnorm_forward(const real *x, const real *mean, const real *inv, const real *gamma, const real *beta,
                            real *y, Py_ssize_t n) noexcept nogil:
    """One row: y = (x - mean) inv gamma + beta; y may be x."""
    cdef Py_ssize_t j
    for j in range(n):
        y[j] = (x[j] - mean[j]) * (inv[j] * gamma[j]) + beta[j]


cdef void batchnorm_fold(const real *bias, const real *mean, const real *inv, const real *gamma, const real *beta,
                         real *scale, real *shift, Py_ssize_t n) noexcept nogil:
    """The same map of z = product + bias, as the epilogue of a GEMM: product * scale + shift (bias may be NULL)."""
    cdef Py_ssize_t j
    for j in range(n):
        scale[j] = inv[j] * gamma[j]
        shift[j] = ((bias[j] if bias != NULL else <real> 0) - mean[j]) * scale[j] + beta[j]


cdef void batchnorm_backward_sums(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m,
                                  Py_ssize_t j0, Py_ssize_t j1, const real *mean, const real *inv, real *d_gamma,
                                  real *d_beta) noexcept nogil:
    """d_gamma = sum dy xhat, d_beta = sum dy, columns j0 .. j1."""
    column_sums(dy, ldd, m, j0, j1, d_beta)
    if real is float:
        backward_sums_over(x, ldx, dy, ldd, m, j0, j1, mean, inv, d_gamma, splat_f32(0))
    else:
        backward_sums_over(x, ldx, dy, ldd, m, j0, j1, mean, inv, d_gamma, splat_f64(0))


cdef void batchnorm_backward(const real *x, const real *dy, const real *mean, const real *inv, const real *gamma,
                             const real *d_gamma, const real *d_beta, double share, real *dx,
                             Py_ssize_t n) noexcept nogil:
    """One row: dx = gamma inv (dy - share (d_beta + xhat d_gamma)); dx may be dy.

    share is 1 / m where the statistics are those of the batch, 0 where they are constants (running statistics).
    """
    cdef Py_ssize_t j
    cdef real s = <real> share
    for j in range(n):
        dx[j] = (dy[j] - s * (d_beta[j] + (x[j] - mean[j]) * inv[j] * d_gamma[j])) * (inv[j] * gamma[j])


cdef void batchnorm_update(const real *mean, const real *var, double momentum, real *running_mean, real *running_var,
                           Py_ssize_t n) noexcept nogil:
    """running = momentum running + (1 - momentum) batch, for mean and (biased) variance."""
    cdef Py_ssize_t j
    cdef real kept = <real> momentum
    cdef real new = <real> (1.0 - momentum)
    for j in range(n):
        running_mean[j] = kept * running_mean[j] + new * mean[j]
        running_var[j] = kept * running_var[j] + new * var[j]
