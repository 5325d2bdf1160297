"""Embeddings: rows of a table by number, and the gradient of the table."""
from libc.math cimport NAN
from libc.string cimport memcpy, memset

from .nn_optimizers cimport NONFINITE
from .plan_ops cimport at, embedding_op_t, embedding_sums_op_t, gradient, run_t
from .simd cimport real, share


cdef inline Py_ssize_t id_of(real number, Py_ssize_t ids) noexcept nogil:
    """Return a number as an id, or -1 if it is no whole number from 0 to ids - 1."""
    cdef Py_ssize_t found
    if not (number >= 0 and number < <real> ids):
        return -1
    found = <Py_ssize_t> number
    return found if found < ids and <real> found == number else -1


cdef inline bint embedding_forward(const real *x, Py_ssize_t n, const real *table, Py_ssize_t ids, Py_ssize_t units,
                                   real *a) noexcept nogil:
    """One row of n ids: a = rows of the table (ids, units), one after the other; NaN for what is no id.

    Return whether all were ids. Data is looked at before a call, but may be written meanwhile.
    """
    cdef bint known = True
    cdef Py_ssize_t i, j, found
    for i in range(n):
        found = id_of(x[i], ids)
        if found >= 0:
            memcpy(a + i * units, table + found * units, units * sizeof(real))
        else:
            known = False
            for j in range(units):
                a[i * units + j] = <real> NAN
    return known


cdef inline void embedding_backward(const real *x, Py_ssize_t ldx, Py_ssize_t n, const real *d, Py_ssize_t ldd,
                                    Py_ssize_t m, Py_ssize_t ids, Py_ssize_t units, Py_ssize_t first, Py_ssize_t last,
                                    real *d_table) noexcept nogil:
    """Rows first .. last of d_table = 0, plus d where they are named, in the order of m rows of n ids."""
    cdef Py_ssize_t row, i, j, found
    cdef real *target
    cdef const real *source
    memset(d_table + first * units, 0, (last - first) * units * sizeof(real))
    for row in range(m):
        for i in range(n):
            found = id_of(x[row * ldx + i], ids)
            if found < first or found >= last:
                continue
            target, source = d_table + found * units, d + row * ldd + i * units
            for j in range(units):
                target[j] += source[j]


# The operations of a plan

cdef inline void embedding_rows(const embedding_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int tid,
                                const real *like) noexcept nogil:
    """Rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        if not embedding_forward(at(run, op.x, like) + i * op.ldx, op.inputs, at(run, op.embeddings, like), op.ids,
                                 op.units, at(run, op.a, like) + i * op.lda):
            run.bad[tid] |= NONFINITE


cdef inline void embedding_gradient(const embedding_sums_op_t *op, const run_t *run, int tid, int team,
                                    const real *like) noexcept nogil:
    """The gradient of this thread's share of the table's rows: each is summed up by one thread, in one order."""
    cdef Py_ssize_t first, last
    share(op.ids, 1, tid, team, &first, &last)
    if first < last:
        embedding_backward(at(run, op.x, like), op.ldx, op.inputs, at(run, op.d, like), op.ldd, run.batch, op.ids,
                           op.units, first, last, gradient(run, op.embeddings, like))
