"""Gaussian noise from the counter generator."""
from libc.stdint cimport uint32_t, uint64_t

from .plan_ops cimport noise_op_t, run_t
from .simd cimport real

cdef void noise_forward(const real *x, real *y, Py_ssize_t row, Py_ssize_t units, double stddev, uint64_t seed,
                        uint64_t step, uint32_t layer) noexcept nogil

cdef void noise_rows(const noise_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                     const real *like) noexcept nogil
