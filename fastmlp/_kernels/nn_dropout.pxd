"""Dropout: masks come from the counter generator, so that a mask is a function of seed, step, layer and element."""
from libc.stdint cimport uint32_t, uint64_t

from .random cimport BLOCKS, NUMBERS, philox
from .simd cimport real


cdef inline void dropout_forward(const real *x, real *y, unsigned char *mask, Py_ssize_t row, Py_ssize_t units,
                                 double rate, uint64_t seed, uint64_t step, uint32_t layer) noexcept nogil:
    """One row: y[j] = mask[j] x[j] / (1 - rate), with mask[j] = 1 with probability 1 - rate.

    The mask is a function of seed, step, layer and element. A dropped element is 0 also where x is infinite or NaN: the
    loss can't see that, but the check of the step's gradients does.
    """
    cdef uint32_t[NUMBERS] words
    cdef uint32_t threshold = <uint32_t> (rate * 4294967296.0)
    cdef real scale = <real> (1.0 / (1.0 - rate))
    cdef uint32_t blocks = <uint32_t> ((units + NUMBERS - 1) // NUMBERS * BLOCKS)
    cdef Py_ssize_t j0 = 0, j, m
    while j0 < units:
        philox(seed, step, layer, <uint32_t> row * blocks + <uint32_t> (j0 // 4), words)
        m = min(<Py_ssize_t> NUMBERS, units - j0)
        for j in range(m):
            mask[j0 + j] = words[j] >= threshold
        for j in range(m):
            y[j0 + j] = x[j0 + j] * scale if mask[j0 + j] else <real> 0
        j0 += NUMBERS


cdef inline void dropout_backward(const real *dy, const unsigned char *mask, real *dx, Py_ssize_t n,
                                  double rate) noexcept nogil:
    """dx[j] = mask[j] dy[j] / (1 - rate); dx may be dy."""
    cdef real scale = <real> (1.0 / (1.0 - rate))
    cdef Py_ssize_t j
    for j in range(n):
        dx[j] = dy[j] * scale if mask[j] else <real> 0
