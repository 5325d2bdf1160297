"""Softmax, and losses with their gradients, one row at a time."""
from .simd cimport real

cdef enum:
    HALF_SQUARED_ERROR = 0
    MEAN_SQUARED_ERROR = 1
    SPARSE_SOFTMAX_CROSSENTROPY = 2
    SOFTMAX_CROSSENTROPY = 3
    SIGMOID_CROSSENTROPY = 4
    SPARSE_CROSSENTROPY = 5          # of probabilities
    CROSSENTROPY = 6
    BINARY_CROSSENTROPY = 7

cdef enum:
    NO_METRIC = 0
    SPARSE_ACCURACY = 1
    CATEGORICAL_ACCURACY = 2
    BINARY_ACCURACY = 3              # at 0.5

cdef double softmax_forward(const real *z, real *a, Py_ssize_t n) noexcept nogil
cdef void softmax_backward(const real *a, const real *da, real *dz, Py_ssize_t n) noexcept nogil
cdef double loss_row(int kind, const real *z, real *a, const real *y, Py_ssize_t label, Py_ssize_t n, double weight,
                     real *dz) noexcept nogil
cdef double accuracy_row(int kind, const real *a, const real *y, Py_ssize_t label, Py_ssize_t n) noexcept nogil
