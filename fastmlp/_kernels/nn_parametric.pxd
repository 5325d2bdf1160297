"""Activations with trainable parameters: a = g(z, p); backward, dz and the gradients of p."""
from .vm cimport OUTPUTS, program_t
from .simd cimport real

cdef struct parameter_t:
    const void *values
    bint per_unit                # a number for each unit; else one for all
    void *slopes                 # da dg/dp of each row: a number per unit, or their sum
    Py_ssize_t ld                # row stride of the slopes
    void *gradient

cdef struct parametric_t:
    const program_t *forward     # (z, p...) -> a
    const program_t *backward    # (z, a, da, p...) -> dz, da dg/dp for each p
    Py_ssize_t units
    Py_ssize_t n                 # parameters
    parameter_t[OUTPUTS] of

cdef Py_ssize_t parametric_scratch(Py_ssize_t units, Py_ssize_t n) noexcept nogil
cdef void parametric_forward(const parametric_t *g, const real *z, Py_ssize_t ldz, real *a, Py_ssize_t lda,
                             Py_ssize_t rows, real *scratch) noexcept nogil
cdef void parametric_backward(const parametric_t *g, const real *z, Py_ssize_t ldz, const real *a, Py_ssize_t lda,
                              const real *da, Py_ssize_t ldd, real *dz, Py_ssize_t ld_dz, Py_ssize_t i0, Py_ssize_t i1,
                              real *scratch) noexcept nogil
cdef void parametric_sums(const parametric_t *g, Py_ssize_t rows, Py_ssize_t j0, Py_ssize_t j1, bint whole,
                          const real *like) noexcept nogil
