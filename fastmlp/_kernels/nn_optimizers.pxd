"""Updates of built-in optimizers over a range of the flat arenas."""
from .simd cimport real

cdef void sgd_update(real *w, const real *g, real *velocity, Py_ssize_t n, double learning_rate, double momentum,
                     bint nesterov) noexcept nogil
cdef void adam_update(real *w, const real *g, real *m, real *v, Py_ssize_t n, double learning_rate, double beta_1,
                      double beta_2, double epsilon, Py_ssize_t step) noexcept nogil
cdef bint all_finite(const real *x, Py_ssize_t n) noexcept nogil
