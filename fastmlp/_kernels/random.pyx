"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011), and its uses."""
from libc.stdint cimport uint32_t, uint64_t

from .simd cimport real

cdef enum:
    BLOCKS = 16                  # blocks of four numbers made at a time, so that the rounds fill vectors
    NUMBERS = 4 * BLOCKS
    SHUFFLE_STREAM = 0xFFFFFFFF  # no layer has this number


cdef void philox(uint64_t seed, uint64_t step, uint32_t stream, uint32_t block0, uint32_t *out) noexcept nogil:
    """NUMBERS words: blocks block0 .. block0 + BLOCKS of the counter (block, stream, step), four words each.

    Word w of block b lies at out[w * BLOCKS + b - block0].
    """
    cdef uint32_t[BLOCKS] c0, c1, c2, c3
    cdef uint32_t k0 = <uint32_t> seed, k1 = <uint32_t> (seed >> 32)
    cdef uint64_t p, q
    cdef int _turn, b
    for b in range(BLOCKS):
        c0[b] = block0 + <uint32_t> b
        c1[b] = stream
        c2[b] = <uint32_t> step
        c3[b] = <uint32_t> (step >> 32)
    for _turn in range(10):
        for b in range(BLOCKS):
            p = <uint64_t> c0[b] * <uint64_t> 0xD2511F53
            q = <uint64_t> c2[b] * <uint64_t> 0xCD9E8D57
            c0[b] = <uint32_t> (q >> 32) ^ c1[b] ^ k0
            c1[b] = <uint32_t> q
            c2[b] = <uint32_t> (p >> 32) ^ c3[b] ^ k1
            c3[b] = <uint32_t> p
        k0 += <uint32_t> 0x9E3779B9
        k1 += <uint32_t> 0xBB67AE85
    for b in range(BLOCKS):
        out[b] = c0[b]
        out[BLOCKS + b] = c1[b]
        out[2 * BLOCKS + b] = c2[b]
        out[3 * BLOCKS + b] = c3[b]


cdef void dropout_forward(const real *x, real *y, unsigned char *mask, Py_ssize_t row, Py_ssize_t units, double rate,
                          uint64_t seed, uint64_t step, uint32_t layer) noexcept nogil:
    """One row: y[j] = mask[j] x[j] / (1 - rate), mask[j] = 1 with probability 1 - rate, from (seed, step, layer, element).

    A dropped element is 0, also where x is infinite or NaN... which the loss then can't see; it is data all the same,
    and the gradient check of the step finds it.
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


cdef void dropout_backward(const real *dy, const unsigned char *mask, real *dx, Py_ssize_t n,
                           double rate) noexcept nogil:
    """dx[j] = mask[j] dy[j] / (1 - rate); dx may be dy."""
    cdef real scale = <real> (1.0 / (1.0 - rate))
    cdef Py_ssize_t j
    for j in range(n):
        dx[j] = dy[j] * scale if mask[j] else <real> 0


cdef void permutation(Py_ssize_t *order, Py_ssize_t n, uint64_t seed, uint64_t epoch) noexcept nogil:
    """order = a permutation of 0 .. n - 1 (Fisher and Yates), keyed by seed and epoch.

    A bound is met by the remainder of 64 random bits; the bias is below n / 2^64.
    """
    cdef uint32_t[NUMBERS] words
    cdef Py_ssize_t i, j, at = NUMBERS, t
    cdef uint32_t block = 0
    cdef uint64_t u
    for i in range(n):
        order[i] = i
    for i in range(n - 1, 0, -1):
        if at == NUMBERS:
            philox(seed, epoch, SHUFFLE_STREAM, block, words)
            block += BLOCKS
            at = 0
        u = (<uint64_t> words[at] << 32) | words[at + 1]
        at += 2
        j = <Py_ssize_t> (u % (<uint64_t> i + 1))
        t = order[i]
        order[i] = order[j]
        order[j] = t
