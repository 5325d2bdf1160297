"""Activations with learned parameters: a = g(z, p), dz = da dg/dz, dp = sum da dg/dp over the batch.

Two programs do the work, row by row: (z, p...) -> a, and (z, a, da, p...) -> dz and da dg/dp for each p. They read
parameters as they read z: along the row. One number for all units is laid out as a row first, and what a row adds to its
gradient is summed along the row; then rows are summed, all in an order that shapes alone decide.
"""
from .batchnorm cimport column_sums
from .passes cimport at, gradient
from .program cimport INPUTS, OUTPUTS, extension_t, run_program
from .simd cimport share
from .sums cimport total

cdef enum:
    LINE = 64            # numbers: a cut there keeps two members off one cache line


cdef inline const extension_t *programs_of(const op_t *op) noexcept nogil:
    return <const extension_t *> <void *> op.extension


cdef inline const learned_t *parameters_of(const op_t *op, const run_t *run) noexcept nogil:
    return <const learned_t *> (run.table + op.starts)


cdef inline Py_ssize_t room(const op_t *op) noexcept nogil:
    """Numbers of a row in scratch."""
    return (op.units + LINE - 1) // LINE * LINE


cdef Py_ssize_t learned_scratch(const op_t *op) noexcept nogil:
    """Numbers of scratch: for each parameter a row of it, and a row of its slopes."""
    return 2 * op.kind * room(op)


cdef void parameter_rows(const op_t *op, const run_t *run, real *scratch, const real **rows) noexcept nogil:
    """Each parameter as a row."""
    cdef const learned_t *p = parameters_of(op, run)
    cdef real *row
    cdef Py_ssize_t j, k
    for k in range(op.kind):
        rows[k] = at(run, p[k].parameter, scratch)
        if not p[k].per_unit:
            row = scratch + k * room(op)
            for j in range(op.units):
                row[j] = rows[k][0]
            rows[k] = row


cdef void learned_rows(const op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1, real *scratch) noexcept nogil:
    """a = g(z, p), rows i0 .. i1."""
    cdef const real *inputs[INPUTS]
    cdef real *outputs[OUTPUTS]
    cdef Py_ssize_t i
    parameter_rows(op, run, scratch, &inputs[1])
    for i in range(i0, i1):
        inputs[0] = at(run, op.x, scratch) + i * op.ldx
        outputs[0] = at(run, op.a, scratch) + i * op.lda
        run_program(programs_of(op).forward, inputs, outputs, op.units, NULL)


cdef void learned_backward_rows(const op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                                real *scratch) noexcept nogil:
    """dz, which may lie over da, and the slopes of parameters, rows i0 .. i1."""
    cdef const learned_t *p = parameters_of(op, run)
    cdef const real *inputs[INPUTS]
    cdef real *outputs[OUTPUTS]
    cdef Py_ssize_t i, k
    parameter_rows(op, run, scratch, &inputs[3])
    for i in range(i0, i1):
        inputs[0] = at(run, op.z, scratch) + i * op.ldz
        inputs[1] = at(run, op.a, scratch) + i * op.lda
        inputs[2] = at(run, op.d, scratch) + i * op.ldd
        outputs[0] = at(run, op.dx, scratch) + i * op.ld_dx
        for k in range(op.kind):
            if p[k].per_unit:
                outputs[1 + k] = at(run, p[k].slopes, scratch) + i * p[k].ld
            else:
                outputs[1 + k] = scratch + (op.kind + k) * room(op)
        run_program(programs_of(op).backward, inputs, outputs, op.units, NULL)
        for k in range(op.kind):
            if not p[k].per_unit:
                (at(run, p[k].slopes, scratch) + i * p[k].ld)[0] = <real> total(outputs[1 + k], op.units)


cdef void learned_sums(const op_t *op, const run_t *run, int member, int team, const real *like) noexcept nogil:
    """dp = the sum of slopes over the batch: columns are shared, the one number of a layer is the first member's."""
    cdef const learned_t *p = parameters_of(op, run)
    cdef Py_ssize_t k, first, last
    share(op.units, LINE, member, team, &first, &last)
    for k in range(op.kind):
        if p[k].per_unit:
            column_sums(at(run, p[k].slopes, like), p[k].ld, run.batch, first, last, gradient(run, p[k].parameter, like))
        elif member == 0:
            gradient(run, p[k].parameter, like)[0] = <real> total(at(run, p[k].slopes, like), run.batch)
