"""Penalties: what a regularizer adds to the loss, and to the gradient of a parameter."""
from .vm cimport program_t
from .simd cimport real

cdef enum:
    CHUNK = 1024         # numbers whose terms are summed together; it decides the bits of a penalty

cdef Py_ssize_t penalty(const program_t *program, const real *w, real *g, Py_ssize_t n, Py_ssize_t first, Py_ssize_t last,
                        double scale, double *sums) noexcept nogil
