"""Activations with trainable parameters: a = g(z, p), dz = da dg/dz, dp = sum da dg/dp over the batch.

Traced programs do the work, row by row, and read parameters as they read z: along the row. A parameter that is one
number for all units is first repeated along a row, and its derivatives are summed along the row; then rows are summed,
all in an order that shapes alone decide.
"""
from .nn_batchnorm cimport column_sums
from .vm cimport INPUTS, OUTPUTS, run_program
from .simd cimport LINE_NUMBERS, real
from .simd_sums cimport sum_of


cdef inline Py_ssize_t room(Py_ssize_t units) noexcept nogil:
    """Return how many numbers of scratch a row takes."""
    return (units + LINE_NUMBERS - 1) // LINE_NUMBERS * LINE_NUMBERS


cdef Py_ssize_t parametric_scratch(Py_ssize_t units, Py_ssize_t n) noexcept nogil:
    """Return how many numbers of scratch are needed: for each parameter a row of values and a row of slopes."""
    return 2 * n * room(units)


cdef void parameter_rows(const parametric_t *g, real *scratch, const real **rows) noexcept nogil:
    """Find, or lay out in scratch, each parameter as a row."""
    cdef real *row
    cdef Py_ssize_t j, k
    for k in range(g.n):
        rows[k] = <const real *> g.of[k].values
        if not g.of[k].per_unit:
            row = scratch + k * room(g.units)
            for j in range(g.units):
                row[j] = rows[k][0]
            rows[k] = row


cdef void parametric_forward(const parametric_t *g, const real *z, Py_ssize_t ldz, real *a, Py_ssize_t lda,
                             Py_ssize_t rows, real *scratch) noexcept nogil:
    """a = g(z, p) for so many rows; a may be z."""
    cdef const real *inputs[INPUTS]
    cdef real *outputs[OUTPUTS]
    cdef Py_ssize_t i
    parameter_rows(g, scratch, &inputs[1])
    for i in range(rows):
        inputs[0], outputs[0] = z + i * ldz, a + i * lda
        run_program(g.forward, inputs, outputs, g.units, NULL)


cdef void parametric_backward(const parametric_t *g, const real *z, Py_ssize_t ldz, const real *a, Py_ssize_t lda,
                              const real *da, Py_ssize_t ldd, real *dz, Py_ssize_t ld_dz, Py_ssize_t i0, Py_ssize_t i1,
                              real *scratch) noexcept nogil:
    """dz = da dg/dz and slopes = da dg/dp, rows i0 .. i1; dz may be da."""
    cdef const real *inputs[INPUTS]
    cdef real *outputs[OUTPUTS]
    cdef real *slopes
    cdef Py_ssize_t i, k
    parameter_rows(g, scratch, &inputs[3])
    scratch += g.n * room(g.units)
    for i in range(i0, i1):
        inputs[0], inputs[1], inputs[2], outputs[0] = z + i * ldz, a + i * lda, da + i * ldd, dz + i * ld_dz
        for k in range(g.n):
            slopes = <real *> g.of[k].slopes + i * g.of[k].ld
            outputs[1 + k] = slopes if g.of[k].per_unit else scratch + k * room(g.units)
        run_program(g.backward, inputs, outputs, g.units, NULL)
        for k in range(g.n):
            if not g.of[k].per_unit:
                slopes = <real *> g.of[k].slopes + i * g.of[k].ld
                slopes[0] = <real> sum_of(outputs[1 + k], g.units)


cdef void parametric_sums(const parametric_t *g, Py_ssize_t rows, Py_ssize_t j0, Py_ssize_t j1, bint whole,
                          const real *like) noexcept nogil:
    """dp = sum of slopes over the batch: columns j0 .. j1 of parameters per unit and, if `whole`, the others."""
    cdef real *slopes
    cdef real *out
    cdef Py_ssize_t k
    for k in range(g.n):
        slopes, out = <real *> g.of[k].slopes, <real *> g.of[k].gradient
        if g.of[k].per_unit:
            column_sums(slopes, g.of[k].ld, rows, j0, j1, out)
        elif whole:
            out[0] = <real> sum_of(slopes, rows)
