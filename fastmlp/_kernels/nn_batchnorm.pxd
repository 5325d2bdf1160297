"""Batch normalization: statistics by columns, the map by rows."""
from .simd cimport real

cdef void column_sums(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1,
                      real *out) noexcept nogil
cdef void batchnorm_statistics(const real *x, Py_ssize_t ldx, Py_ssize_t m, Py_ssize_t j0, Py_ssize_t j1,
                               double epsilon, real *mean, real *var, real *inv) noexcept nogil
cdef void batchnorm_inverse(const real *var, Py_ssize_t n, double epsilon, real *inv) noexcept nogil
cdef void batchnorm_forward(const real *x, const real *mean, const real *inv, const real *gamma, const real *beta,
                            real *y, Py_ssize_t n) noexcept nogil
cdef void batchnorm_fold(const real *bias, const real *mean, const real *inv, const real *gamma, const real *beta,
                         real *scale, real *shift, Py_ssize_t n) noexcept nogil
cdef void batchnorm_backward_sums(const real *x, Py_ssize_t ldx, const real *dy, Py_ssize_t ldd, Py_ssize_t m,
                                  Py_ssize_t j0, Py_ssize_t j1, const real *mean, const real *inv, real *d_gamma,
                                  real *d_beta) noexcept nogil
cdef void batchnorm_backward(const real *x, const real *dy, const real *mean, const real *inv, const real *gamma,
                             const real *d_gamma, const real *d_beta, double share, real *dx,
                             Py_ssize_t n) noexcept nogil
cdef void batchnorm_update(const real *mean, const real *var, double momentum, real *running_mean, real *running_var,
                           Py_ssize_t n) noexcept nogil
