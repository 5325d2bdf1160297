"""Normalization of rows: LayerNorm and RMSNorm."""
from .plan_ops cimport layernorm_backward_op_t, layernorm_op_t, layernorm_sums_op_t, run_t
from .simd cimport real

cdef void layernorm_forward(const real *x, const real *gamma, const real *beta, Py_ssize_t n, double epsilon, real *mean,
                            real *inv, real *y) noexcept nogil
cdef void layernorm_backward(const real *x, const real *dy, const real *gamma, Py_ssize_t n, const real *mean,
                             const real *inv, real *dx) noexcept nogil
cdef void layernorm_sums(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m, Py_ssize_t j0,
                         Py_ssize_t j1, const real *mean, const real *inv, real *d_gamma, real *d_beta) noexcept nogil

cdef void layernorm_rows(const layernorm_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                         const real *like) noexcept nogil
cdef void layernorm_backward_rows(const layernorm_backward_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                                  const real *like) noexcept nogil
cdef void layernorm_gradients(const layernorm_sums_op_t *op, const run_t *run, int tid, int team,
                              const real *like) noexcept nogil
