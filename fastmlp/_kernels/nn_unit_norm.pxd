"""Rows divided by their L2 norm: y = x / max(norm, epsilon)."""
from libc.math cimport INFINITY, fabs, sqrt

from .plan_ops cimport at, run_t, unit_norm_backward_op_t, unit_norm_op_t
from .simd cimport real


cdef inline double dot(const real *x, const real *y, Py_ssize_t n, double scale) noexcept nogil:
    """Return the sum of (scale x) (scale y) in double: of every eighth product, then of these by pairs."""
    cdef double[8] part
    cdef Py_ssize_t j = 0, k
    for k in range(8):
        part[k] = 0
    while j + 8 <= n:
        for k in range(8):
            part[k] += (scale * x[j + k]) * (scale * y[j + k])
        j += 8
    for k in range(n - j):
        part[k] += (scale * x[j + k]) * (scale * y[j + k])
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))


cdef inline double norm_of(const real *x, Py_ssize_t n) noexcept nogil:
    """Return the L2 norm; by scaled numbers where their squares are beyond the range of double."""
    cdef double squares = dot(x, x, n, 1.0), most = 0
    cdef Py_ssize_t j
    if 1e-280 < squares < INFINITY or squares != squares:
        return sqrt(squares)
    for j in range(n):
        most = max(most, fabs(<double> x[j]))
    if most == 0 or most == INFINITY:
        return most
    return most * sqrt(dot(x, x, n, 1.0 / most))


cdef inline void unit_norm_forward(const real *x, Py_ssize_t n, double epsilon, real *inv, real *y) noexcept nogil:
    """One row: inv = 1 / max(norm, epsilon), y = x inv; y may be x. NaN where a number is infinite."""
    cdef double norm = norm_of(x, n)
    cdef double factor = 1.0 / norm if norm > epsilon or norm != norm else 1.0 / epsilon
    cdef Py_ssize_t j
    if norm == INFINITY:
        factor = norm - norm  # NaN: an infinite number has no direction to keep, and must not pass for 0
    inv[0] = <real> factor
    for j in range(n):
        y[j] = <real> (x[j] * factor)


cdef inline void unit_norm_backward(const real *y, const real *dy, Py_ssize_t n, double epsilon, const real *inv,
                                    real *dx) noexcept nogil:
    """One row: dx = inv (dy - y (dy . y)), or dx = dy / epsilon where the norm is not above epsilon; dx may be dy."""
    cdef double factor = inv[0], along = 0.0
    cdef Py_ssize_t j
    if inv[0] < <real> (1.0 / epsilon) or inv[0] != inv[0]:
        along = dot(dy, y, n, 1.0)
    for j in range(n):
        dx[j] = <real> (factor * (dy[j] - y[j] * along))


# The operations of a plan

cdef inline void unit_norm_rows(const unit_norm_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                                const real *like) noexcept nogil:
    """Rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        unit_norm_forward(at(run, op.x, like) + i * op.ldx, op.units, op.epsilon, at(run, op.inv, like) + i,
                          at(run, op.a, like) + i * op.lda)


cdef inline void unit_norm_backward_rows(const unit_norm_backward_op_t *op, const run_t *run, Py_ssize_t i0,
                                         Py_ssize_t i1, const real *like) noexcept nogil:
    """dx of rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        unit_norm_backward(at(run, op.a, like) + i * op.lda, at(run, op.d, like) + i * op.ldd, op.units, op.epsilon,
                           at(run, op.inv, like) + i, at(run, op.dx, like) + i * op.ld_dx)
