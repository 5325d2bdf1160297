"""Activations with learned parameters: a = g(z, p), on the way back dz and the gradients of p."""
from .passes cimport op_t, run_t
from .simd cimport real

cdef struct learned_t:
    # a parameter, as the table of a plan has it
    Py_ssize_t parameter         # reference to its numbers
    Py_ssize_t per_unit          # a number for each unit; else one for all
    Py_ssize_t slopes            # what each row adds to its gradient: numbers as rows are, or one for each row
    Py_ssize_t ld                # from one row to the next

cdef Py_ssize_t learned_scratch(const op_t *op) noexcept nogil
cdef void learned_rows(const op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1, real *scratch) noexcept nogil
cdef void learned_backward_rows(const op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                                real *scratch) noexcept nogil
cdef void learned_sums(const op_t *op, const run_t *run, int member, int team, const real *like) noexcept nogil
