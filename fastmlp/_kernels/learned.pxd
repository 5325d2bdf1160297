"""Activations with learned parameters: a = g(z, p), on the way back dz and the gradients of p."""
from .program cimport OUTPUTS, program_t
from .simd cimport real

cdef struct parameter_t:
    const void *values
    bint per_unit                # a number for each unit; else one for all
    void *slopes                 # what each row adds to the gradient: as many numbers, or one for each row
    Py_ssize_t ld                # from one row of them to the next
    void *gradient

cdef struct learned_t:
    const program_t *forward     # (z, p...) -> a
    const program_t *backward    # (z, a, da, p...) -> dz, da dg/dp for each p
    Py_ssize_t units
    Py_ssize_t n                 # parameters
    parameter_t[OUTPUTS] of

cdef Py_ssize_t learned_scratch(Py_ssize_t units, Py_ssize_t n) noexcept nogil
cdef void learned_forward(const learned_t *g, const real *z, Py_ssize_t ldz, real *a, Py_ssize_t lda, Py_ssize_t rows,
                          real *scratch) noexcept nogil
cdef void learned_backward(const learned_t *g, const real *z, Py_ssize_t ldz, const real *a, Py_ssize_t lda,
                           const real *da, Py_ssize_t ldd, real *dz, Py_ssize_t ld_dz, Py_ssize_t i0, Py_ssize_t i1,
                           real *scratch) noexcept nogil
cdef void learned_sums(const learned_t *g, Py_ssize_t rows, Py_ssize_t j0, Py_ssize_t j1, bint whole,
                       const real *like) noexcept nogil
