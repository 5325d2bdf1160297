"""Batch normalization (Ioffe, Szegedy: Batch normalization, ICML 2015), per column over the m rows of a batch.

mean = sum x / m, var = sum (x - mean)^2 / m (two passes, the second corrects the first; divided by m),
xhat = (x - mean) inv, inv = 1 / sqrt(var + epsilon), y = gamma xhat + beta. Sums go over chunks of CHUNK rows, combined
in order: a fixed tree, by shape alone.
"""
from libc.math cimport sqrt

from .simd cimport fma, lanes, load, load_n, real, rows_1, rows_4, splat, splat_f32, splat_f64, store, store_n, vec

cdef enum:
    CHUNK = 64

ctypedef fused count_t:         # vectors of columns that go down the rows side by side; the last may have n lanes only
    rows_4
    rows_1


cdef inline vec fetch(const real *p, Py_ssize_t n, vec like, const count_t *count) noexcept nogil:
    if count_t is rows_1:
        return load(p, like) if n == lanes(like) else load_n(p, n, like)
    else:
        return load(p, like)


cdef inline void put(real *p, vec x, Py_ssize_t n, const count_t *count) noexcept nogil:
    if count_t is rows_1:
        store_n(p, x, n)
    else:
        store(p, x)


cdef inline void products(const real *x, Py_ssize_t ldx, const real *y, Py_ssize_t ldy, Py_ssize_t m, Py_ssize_t n,
                          const vec *center, const vec *factor, vec *total, const count_t *count) noexcept nogil:
    """total = sums over m rows of y (x - center) factor, or of x - center where y is NULL."""
    cdef vec[4] part
    cdef vec zero = splat(0.0, center[0]), d
    cdef Py_ssize_t W = lanes(zero), i = 0, v, end
    for v in range(<Py_ssize_t> sizeof(count_t)):
        total[v] = zero
    while i < m:
        end = min(i + CHUNK, m)
        for v in range(<Py_ssize_t> sizeof(count_t)):
            part[v] = zero
        while i < end:
            for v in range(<Py_ssize_t> sizeof(count_t)):
                d = fetch(x + i * ldx + v * W, n, zero, count) - center[v]
                if y != NULL:
                    part[v] = fma(fetch(y + i * ldy + v * W, n, zero, count), d * factor[v], part[v])
                else:
                    part[v] = part[v] + d
            i += 1
        for v in range(<Py_ssize_t> sizeof(count_t)):
            total[v] = total[v] + part[v]


cdef inline void deviations(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t n, const vec *center, vec *first,
                            vec *second, const count_t *count) noexcept nogil:
    """first = sums over m rows of x - center, second = those of its square."""
    cdef vec[4] part, square
    cdef vec zero = splat(0.0, center[0]), d
    cdef Py_ssize_t W = lanes(zero), i = 0, v, end
    for v in range(<Py_ssize_t> sizeof(count_t)):
        first[v] = second[v] = zero
    while i < m:
        end = min(i + CHUNK, m)
        for v in range(<Py_ssize_t> sizeof(count_t)):
            part[v] = square[v] = zero
        while i < end:
            for v in range(<Py_ssize_t> sizeof(count_t)):
                d = fetch(x + i * ldx + v * W, n, zero, count) - center[v]
                part[v] = part[v] + d
                square[v] = fma(d, d, square[v])
            i += 1
        for v in range(<Py_ssize_t> sizeof(count_t)):
            first[v] = first[v] + part[v]
            second[v] = second[v] + square[v]


cdef inline void some_sums(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t n, real *out, vec like,
                           const count_t *count) noexcept nogil:
    cdef vec[4] zero, total
    cdef Py_ssize_t v
    for v in range(<Py_ssize_t> sizeof(count_t)):
        zero[v] = splat(0.0, like)
    products(x, ldx, <const real *> NULL, 0, m, n, zero, zero, total, count)
    for v in range(<Py_ssize_t> sizeof(count_t)):
        put(out + v * lanes(like), total[v], n, count)


cdef inline void some_statistics(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t n, real *mean, real *var,
                                 vec like, const count_t *count) noexcept nogil:
    cdef vec[4] mu, first, second
    cdef vec rows = splat(<double> m, like)
    cdef Py_ssize_t v
    for v in range(<Py_ssize_t> sizeof(count_t)):
        second[v] = splat(0.0, like)
    products(x, ldx, <const real *> NULL, 0, m, n, second, second, mu, count)
    for v in range(<Py_ssize_t> sizeof(count_t)):
        mu[v] = mu[v] / rows
    # the mean's rounding error shows in the mean of the deviations, and is corrected
    deviations(x, ldx, m, n, mu, first, second, count)
    for v in range(<Py_ssize_t> sizeof(count_t)):
        first[v] = first[v] / rows
        put(mean + v * lanes(like), mu[v] + first[v], n, count)
        put(var + v * lanes(like), second[v] / rows - first[v] * first[v], n, count)


cdef inline void some_products(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m,
                               Py_ssize_t n, const real *mean, const real *inv, real *out, vec like,
                               const count_t *count) noexcept nogil:
    cdef vec[4] center, factor, total
    cdef Py_ssize_t v
    for v in range(<Py_ssize_t> sizeof(count_t)):
        center[v] = fetch(mean + v * lanes(like), n, like, count)
        factor[v] = fetch(inv + v * lanes(like), n, like, count)
    products(x, ldx, dy, ldd, m, n, center, factor, total, count)
    for v in range(<Py_ssize_t> sizeof(count_t)):
        put(out + v * lanes(like), total[v], n, count)


cdef inline void sums_over(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j, Py_ssize_t j1, real *out,
                           vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like)
    while j + 4 * W <= j1:
        some_sums(x + j, ldx, m, W, out + j, like, <const rows_4 *> NULL)
        j += 4 * W
    while j < j1:
        some_sums(x + j, ldx, m, min(W, j1 - j), out + j, like, <const rows_1 *> NULL)
        j += W


cdef inline void statistics_over(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j, Py_ssize_t j1, real *mean,
                                 real *var, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like)
    while j + 4 * W <= j1:
        some_statistics(x + j, ldx, m, W, mean + j, var + j, like, <const rows_4 *> NULL)
        j += 4 * W
    while j < j1:
        some_statistics(x + j, ldx, m, min(W, j1 - j), mean + j, var + j, like, <const rows_1 *> NULL)
        j += W


cdef inline void products_over(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m,
                               Py_ssize_t j, Py_ssize_t j1, const real *mean, const real *inv, real *d_gamma,
                               vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like)
    while j + 4 * W <= j1:
        some_products(x + j, ldx, dy + j, ldd, m, W, mean + j, inv + j, d_gamma + j, like, <const rows_4 *> NULL)
        j += 4 * W
    while j < j1:
        some_products(x + j, ldx, dy + j, ldd, m, min(W, j1 - j), mean + j, inv + j, d_gamma + j, like,
                      <const rows_1 *> NULL)
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


cdef void batchnorm_statistics(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1,
                               double epsilon, real *mean, real *var, real *inv) noexcept nogil:
    """Compute mean, var (divided by m) and inv of the columns j0 .. j1."""
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
    """Make of that map of z = product + bias an epilogue of a GEMM, product * scale + shift; bias may be NULL."""
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
        products_over(x, ldx, dy, ldd, m, j0, j1, mean, inv, d_gamma, splat_f32(0))
    else:
        products_over(x, ldx, dy, ldd, m, j0, j1, mean, inv, d_gamma, splat_f64(0))


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
