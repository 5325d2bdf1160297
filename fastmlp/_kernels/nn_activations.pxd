"""Elementwise activations by their codes: forward, and backward as `dz = da * g'(z)`."""
from .vm cimport extension_t
from .simd cimport real

cdef enum:
    IDENTITY = 0
    RELU = 1
    LEAKY_RELU = 2
    SIGMOID = 3
    TANH = 4
    EXPONENTIAL = 5
    SIN = 6
    COS = 7
    RELU_BY_SIGN = 8     # -0 for what is below 0, so that a alone tells the derivative (1 at 0)
    EXTENSION = 9        # no kernel of ours: a traced program or a native function

cdef void activation_forward(int code, const real *z, real *a, Py_ssize_t n, double alpha,
                             const extension_t *extension) noexcept nogil
cdef void activation_backward(int code, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                              double alpha, double at_zero, const extension_t *extension) noexcept nogil
