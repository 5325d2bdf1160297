"""Counter-based random numbers: a number is a function of (seed, stream, position), never of what was drawn before."""
from libc.stdint cimport uint32_t, uint64_t

cdef enum:
    BLOCKS = 16                  # blocks of four numbers made at a time, so that the rounds fill vectors
    NUMBERS = 4 * BLOCKS

cdef void philox(uint64_t seed, uint64_t step, uint32_t stream, uint32_t block0, uint32_t *out) noexcept nogil
cdef void permutation(Py_ssize_t *order, Py_ssize_t n, uint64_t seed, uint64_t epoch) noexcept nogil
