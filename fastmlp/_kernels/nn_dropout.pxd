"""Dropout, row by row."""
from libc.stdint cimport uint32_t, uint64_t

from .simd cimport real

cdef void dropout_forward(const real *x, real *y, unsigned char *mask, Py_ssize_t row, Py_ssize_t units, double rate,
                          uint64_t seed, uint64_t step, uint32_t layer) noexcept nogil
cdef void dropout_backward(const real *dy, const unsigned char *mask, real *dx, Py_ssize_t n,
                           double rate) noexcept nogil
