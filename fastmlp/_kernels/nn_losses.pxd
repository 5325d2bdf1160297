"""Losses and accuracies of some rows of a batch."""
from .nn_loss_batch cimport loss_t
from .simd cimport real

cdef enum:
    HALF_SQUARED_ERROR = 0
    MEAN_SQUARED_ERROR = 1
    SPARSE_SOFTMAX_CROSSENTROPY = 2
    SOFTMAX_CROSSENTROPY = 3
    SIGMOID_CROSSENTROPY = 4
    SPARSE_CROSSENTROPY = 5          # from here on of probabilities
    CROSSENTROPY = 6
    BINARY_CROSSENTROPY = 7
    PROGRAM = 8                      # no kernel of ours: a traced program

cdef enum:
    NO_METRIC = 0
    SPARSE_ACCURACY = 1
    CATEGORICAL_ACCURACY = 2
    BINARY_ACCURACY = 3              # of probabilities: at 0.5
    SIGN_ACCURACY = 4                # of logits and margins: at 0

cdef void loss_rows(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil
cdef void refuse_rows(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil
cdef void accuracy_rows(const loss_t *g, int metric, Py_ssize_t i0, Py_ssize_t i1, double *values,
                        const real *of) noexcept nogil
