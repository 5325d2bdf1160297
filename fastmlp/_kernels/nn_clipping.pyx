"""Clipping of gradients, which are finite: by value, and by the norm of what is clipped together.

Squares are summed in double, chunk by chunk; chunks depend on sizes alone, so that any division of them among threads
gives the same bits.
"""
from libc.math cimport INFINITY, ldexp, sqrt

from .simd cimport real

cdef enum:
    FAR = 600            # doubles whose squares overflow are summed as squares of 2^-FAR x


cdef void clip_values(real *g, Py_ssize_t n, double limit) noexcept nogil:
    """g = min(max(g, -limit), limit)."""
    cdef Py_ssize_t i
    cdef real most = <real> limit, least = -most
    for i in range(n):
        g[i] = least if g[i] < least else (most if g[i] > most else g[i])


cdef inline double scaled_sum(const real *g, Py_ssize_t n, double scale) noexcept nogil:
    """Return the sum of (scale g)^2: sums of every eighth number, then of these by pairs."""
    cdef double[8] part
    cdef double x
    cdef Py_ssize_t i = 0, k
    for k in range(8):
        part[k] = 0
    while i + 8 <= n:
        for k in range(8):
            x = scale * g[i + k]
            part[k] += x * x
        i += 8
    for k in range(n - i):
        x = scale * g[i + k]
        part[k] += x * x
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))


cdef double squared_sum(const real *g, Py_ssize_t n) noexcept nogil:
    """Return sum g^2, or -sum (2^-600 g)^2 where that overflows."""
    cdef double found = scaled_sum(g, n, 1.0)
    return found if found < INFINITY else -scaled_sum(g, n, ldexp(1.0, -FAR))


cdef double clip_factor(const double *sums, Py_ssize_t n, double limit) noexcept nogil:
    """Return min(1, limit / norm), norm^2 the sum of n sums as `squared_sum` gives them; 1 where the norm is 0."""
    cdef double near = 0.0, far = 0.0, norm
    cdef Py_ssize_t k
    for k in range(n):
        if sums[k] < 0:
            far -= sums[k]
        else:
            near += sums[k]
    if far == 0 and near < INFINITY:
        norm = sqrt(near)
        return limit / norm if norm > limit else 1.0
    if near == INFINITY:         # of many large chunks
        near = 0.0
        for k in range(n):
            near += ldexp(max(sums[k], 0.0), -2 * FAR)
    else:
        near = ldexp(near, -2 * FAR)
    norm = sqrt(far + near)      # 2^-600 of the norm
    limit = ldexp(limit, -FAR)
    return limit / norm if norm > limit else 1.0


cdef void scale_by(real *g, Py_ssize_t n, double factor) noexcept nogil:
    """g = factor g."""
    cdef Py_ssize_t i
    cdef real by = <real> factor
    for i in range(n):
        g[i] = by * g[i]
