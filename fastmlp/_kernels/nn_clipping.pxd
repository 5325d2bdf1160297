"""Clipping of gradients: by value, and by the norm of what is clipped together."""
from .simd cimport real

cdef void clip_values(real *g, Py_ssize_t n, double limit) noexcept nogil
cdef double squared_sum(const real *g, Py_ssize_t n) noexcept nogil
cdef double clip_factor(const double *sums, Py_ssize_t n, double limit) noexcept nogil
cdef void scale_by(real *g, Py_ssize_t n, double factor) noexcept nogil
