"""Softmax, and the cross-entropies of logits."""
from .nn_loss_batch cimport loss_t
from .simd cimport real

cdef void softmax_forward(const real *z, Py_ssize_t ldz, real *a, Py_ssize_t lda, Py_ssize_t m,
                          Py_ssize_t n) noexcept nogil
cdef void softmax_backward(const real *a, const real *da, real *dz, Py_ssize_t n) noexcept nogil
cdef void softmax_crossentropy(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil
cdef void sigmoid_crossentropy(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil
