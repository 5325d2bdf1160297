"""Updates of built-in optimizers: element by element, so that any division of the arena gives the same bits."""
from libc.math cimport pow, sqrt, sqrtf

from .simd cimport across_sum, fma, lane, lanes, load, load_n, real, splat, splat_f32, splat_f64, vec


cdef void sgd_update(real *w, const real *g, real *velocity, Py_ssize_t n, double learning_rate, double momentum,
                     bint nesterov) noexcept nogil:
    """w -= lr g; with momentum v = mu v - lr g, w += v (Nesterov: w += mu v - lr g).

    Without momentum, velocity is NULL.
    """
    cdef Py_ssize_t i
    cdef real lr = <real> learning_rate, mu = <real> momentum
    if velocity == NULL:
        for i in range(n):
            w[i] -= lr * g[i]
    elif nesterov:
        for i in range(n):
            velocity[i] = mu * velocity[i] - lr * g[i]
            w[i] += mu * velocity[i] - lr * g[i]
    else:
        for i in range(n):
            velocity[i] = mu * velocity[i] - lr * g[i]
            w[i] += velocity[i]


cdef void decay(real *w, Py_ssize_t n, double factor) noexcept nogil:
    """w *= factor, which is 1 - lr wd: decoupled weight decay, before a step.

    Loshchilov, Hutter: Decoupled weight decay regularization, ICLR 2019.
    """
    cdef Py_ssize_t i
    cdef real f = <real> factor
    for i in range(n):
        w[i] *= f


cdef void adam_update(real *w, const real *g, real *m, real *v, Py_ssize_t n, double learning_rate, double beta_1,
                      double beta_2, double epsilon, Py_ssize_t step) noexcept nogil:
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr mhat / (sqrt(vhat) + eps), mhat = m / (1 - b1^step).

    Kingma, Ba: Adam, ICLR 2015, Algorithm 1. lr / (1 - b1^step) and 1 / (1 - b2^step) are taken out of the loop.
    """
    cdef Py_ssize_t i
    cdef real b1 = <real> beta_1, b2 = <real> beta_2, c1 = <real> (1.0 - beta_1), c2 = <real> (1.0 - beta_2)
    cdef real rate = <real> (learning_rate / (1.0 - pow(beta_1, <double> step)))
    cdef real unbias = <real> (1.0 / (1.0 - pow(beta_2, <double> step))), eps = <real> epsilon
    for i in range(n):
        m[i] = b1 * m[i] + c1 * g[i]
        v[i] = b2 * v[i] + c2 * (g[i] * g[i])
        if real is float:
            w[i] -= rate * m[i] / (sqrtf(v[i] * unbias) + eps)
        else:
            w[i] -= rate * m[i] / (sqrt(v[i] * unbias) + eps)


cdef void average_update(real *average, real *w, Py_ssize_t n, double momentum, bint overwrite) noexcept nogil:
    """average = momentum average + (1 - momentum) w; then w = average where it is to be overwritten.

    Between the two of them, however it is rounded: so it is finite if they are.
    """
    cdef Py_ssize_t i
    cdef real kept = <real> momentum, new = <real> (1.0 - momentum), x, low, high
    for i in range(n):
        low = average[i] if average[i] < w[i] else w[i]
        high = w[i] if average[i] < w[i] else average[i]
        x = kept * average[i] + new * w[i]
        x = low if x < low else x
        average[i] = high if x > high else x
    if overwrite:
        for i in range(n):
            w[i] = average[i]


cdef inline bint finite_over(const real *x, Py_ssize_t n, vec like) noexcept nogil:
    """Return whether the sum of 0 x is 0; four sums hide the latency."""
    cdef vec zero = splat(0.0, like), a = zero, b = zero, c = zero, d = zero
    cdef Py_ssize_t W = lanes(like), i = 0
    while i + 4 * W <= n:
        a = a + load(x + i, like) * zero
        b = b + load(x + i + W, like) * zero
        c = c + load(x + i + 2 * W, like) * zero
        d = d + load(x + i + 3 * W, like) * zero
        i += 4 * W
    while i < n:
        a = a + load_n(x + i, min(W, n - i), like) * zero
        i += W
    return lane(across_sum((a + b) + (c + d)), 0) == 0.0


cdef bint all_finite(const real *x, Py_ssize_t n) noexcept nogil:
    """Return whether x has neither NaN nor infinity: else 0 x is NaN there, and so is the sum of 0 x."""
    if real is float:
        return finite_over(x, n, splat_f32(0))
    else:
        return finite_over(x, n, splat_f64(0))


cdef inline double squares_over(const real *x, Py_ssize_t n, vec like) noexcept nogil:
    """Return more than the sum of squares; each of four sums begins with 1, so that none is subnormal, which is slow."""
    cdef vec one = splat(1.0, like), a = one, b = one, c = one, d = one, y
    cdef Py_ssize_t W = lanes(like), i = 0
    while i + 4 * W <= n:
        y = load(x + i, like)
        a = fma(y, y, a)
        y = load(x + i + W, like)
        b = fma(y, y, b)
        y = load(x + i + 2 * W, like)
        c = fma(y, y, c)
        y = load(x + i + 3 * W, like)
        d = fma(y, y, d)
        i += 4 * W
    while i < n:
        y = load_n(x + i, min(W, n - i), like)
        a = fma(y, y, a)
        i += W
    return lane(across_sum((a + b) + (c + d)), 0)


cdef Py_ssize_t magnitude(const real *x, Py_ssize_t n) noexcept nogil:
    """Return NONFINITE if x has NaN or infinity, LARGE if the sum of squares is 2^100 or more, else 0."""
    cdef double squares
    if real is float:
        squares = squares_over(x, n, splat_f32(0))
    else:
        squares = squares_over(x, n, splat_f64(0))
    if squares < most_squares():
        return 0
    return LARGE if all_finite(x, n) else NONFINITE


cdef bint within(const real *x, Py_ssize_t n, double least, double most) noexcept nogil:
    """Return whether least <= x <= most everywhere; NaN is not."""
    cdef Py_ssize_t i
    cdef real low = <real> least, high = <real> most
    cdef bint fine = True
    for i in range(n):
        fine &= (x[i] >= low) & (x[i] <= high)
    return fine
