"""Columns of rows: scaled, copied side by side, picked by number."""
from libc.math cimport sqrt
from libc.string cimport memcpy, memset

from .plan_ops cimport (
    at, column_factors_op_t, copy_op_t, run_t, select_backward_op_t, select_op_t, standardize_op_t
)
from .simd cimport LINE_NUMBERS, real, share


cdef inline void column_factors(const real *var, Py_ssize_t n, double epsilon, real *inv) noexcept nogil:
    """inv = 1 / max(sqrt(var), epsilon), rounded once."""
    cdef Py_ssize_t j
    for j in range(n):
        inv[j] = <real> (1.0 / max(sqrt(<double> var[j]), epsilon))


cdef inline void standardize(const real *x, const real *mean, const real *inv, real *a, Py_ssize_t n) noexcept nogil:
    """One row: a = (x - mean) inv, or a = x inv where mean is NULL; a may be x."""
    cdef Py_ssize_t j
    if mean == NULL:
        for j in range(n):
            a[j] = x[j] * inv[j]
    else:
        for j in range(n):
            a[j] = (x[j] - mean[j]) * inv[j]


cdef inline void select_columns(const real *x, const Py_ssize_t *columns, real *a, Py_ssize_t n) noexcept nogil:
    """One row: a_j = x_c for c = columns[j]."""
    cdef Py_ssize_t j
    for j in range(n):
        a[j] = x[columns[j]]


cdef inline void select_columns_backward(const real *d, const Py_ssize_t *columns, Py_ssize_t n, real *dx,
                                         Py_ssize_t inputs) noexcept nogil:
    """One row: dx = 0, then dx_c += d_j for c = columns[j], in the order of j."""
    cdef Py_ssize_t j
    memset(dx, 0, inputs * sizeof(real))
    for j in range(n):
        dx[columns[j]] += d[j]


# The operations of a plan

cdef inline void factor_columns(const column_factors_op_t *op, const run_t *run, int tid, int team,
                                const real *like) noexcept nogil:
    """This thread's share of the factors."""
    cdef Py_ssize_t first, last
    share(op.units, LINE_NUMBERS, tid, team, &first, &last)
    if first < last:
        column_factors(at(run, op.var, like) + first, last - first, op.epsilon, at(run, op.inv, like) + first)


cdef inline void standardize_rows(const standardize_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                                  const real *like) noexcept nogil:
    """Rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        standardize(at(run, op.x, like) + i * op.ldx, at(run, op.mean, like), at(run, op.inv, like),
                    at(run, op.a, like) + i * op.lda, op.units)


cdef inline void copy_rows(const copy_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                           const real *like) noexcept nogil:
    """a = x, rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        memcpy(at(run, op.a, like) + i * op.lda, at(run, op.x, like) + i * op.ldx, op.units * sizeof(real))


cdef inline void select_rows(const select_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                             const real *like) noexcept nogil:
    """Rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        select_columns(at(run, op.x, like) + i * op.ldx, run.table + op.columns, at(run, op.a, like) + i * op.lda,
                       op.units)


cdef inline void select_backward_rows(const select_backward_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                                      const real *like) noexcept nogil:
    """Rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        select_columns_backward(at(run, op.d, like) + i * op.ldd, run.table + op.columns, op.units,
                                at(run, op.dx, like) + i * op.ld_dx, op.inputs)
