"""Optimizer sweeps: element by element, so any division of the arena gives the same bits."""
from libc.math cimport pow, sqrt, sqrtf

from .simd cimport real


cdef void sgd_update(real *w, const real *g, real *velocity, Py_ssize_t n, double learning_rate, double momentum,
                     bint nesterov) noexcept nogil:
    """w -= lr g; with momentum: v = mu v - lr g, w += v (Nesterov: w += mu v - lr g). velocity may be NULL if mu is 0."""
    cdef Py_ssize_t i
    cdef real lr = <real> learning_rate, mu = <real> momentum
    if momentum == 0.0:
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


cdef void adam_update(real *w, const real *g, real *m, real *v, Py_ssize_t n, double learning_rate, double beta1,
                      double beta2, double epsilon, Py_ssize_t step) noexcept nogil:
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g^2, w -= lr mhat / (sqrt(vhat) + eps), mhat = m / (1 - b1^step).

    Kingma, Ba: Adam, ICLR 2015, Algorithm 1. lr / (1 - b1^step) and 1 / (1 - b2^step) are taken out of the loop.
    """
    cdef Py_ssize_t i
    cdef real b1 = <real> beta1, b2 = <real> beta2, c1 = <real> (1.0 - beta1), c2 = <real> (1.0 - beta2)
    cdef real rate = <real> (learning_rate / (1.0 - pow(beta1, <double> step)))
    cdef real unbias = <real> (1.0 / (1.0 - pow(beta2, <double> step))), eps = <real> epsilon
    for i in range(n):
        m[i] = b1 * m[i] + c1 * g[i]
        v[i] = b2 * v[i] + c2 * (g[i] * g[i])
        if real is float:
            w[i] -= rate * m[i] / (sqrtf(v[i] * unbias) + eps)
        else:
            w[i] -= rate * m[i] / (sqrt(v[i] * unbias) + eps)


cdef bint all_finite(const real *x, Py_ssize_t n) noexcept nogil:
    """No NaN and no infinity among x: 0 x is then 0, else NaN, and a sum of them stays NaN."""
    cdef Py_ssize_t i, k
    cdef real[64] part
    cdef real total = 0
    for k in range(64):
        part[k] = 0
    i = 0
    while i + 64 <= n:
        for k in range(64):
            part[k] += x[i + k] * <real> 0
        i += 64
    while i < n:
        total += x[i] * <real> 0
        i += 1
    for k in range(64):
        total += part[k]
    return total == 0
