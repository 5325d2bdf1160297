"""Sums of rows: two values of a graph, or two gradients of one value."""
from .plan_ops cimport add_op_t, at, run_t
from .simd cimport real


cdef inline void add_row(const real *x, const real *y, real *a, Py_ssize_t n) noexcept nogil:
    """One row: a = x + y; a may be either."""
    cdef Py_ssize_t j
    for j in range(n):
        a[j] = x[j] + y[j]


cdef inline void add_rows(const add_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                          const real *like) noexcept nogil:
    """Rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        add_row(at(run, op.x, like) + i * op.ldx, at(run, op.y, like) + i * op.ldy, at(run, op.a, like) + i * op.lda,
                op.units)
