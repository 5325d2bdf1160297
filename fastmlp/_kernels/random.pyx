"""Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011), and its uses."""
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy

from .simd cimport VBYTES, product_u64, splat_u64, vu64

cdef enum:
    VECTORS = 8 * BLOCKS // VBYTES
    SHUFFLE_STREAM = 0xFFFFFFFF  # no layer has this number


cdef inline void pack(const vu64 *c, uint32_t *out) noexcept nogil:
    """out = the lower halves."""
    cdef uint64_t[BLOCKS] words
    cdef int b
    memcpy(words, c, sizeof(words))
    for b in range(BLOCKS):
        out[b] = <uint32_t> words[b]


cdef void philox(uint64_t seed, uint64_t step, uint32_t stream, uint32_t block0, uint32_t *out) noexcept nogil:
    """NUMBERS words: blocks block0 .. block0 + BLOCKS of the counter (block, stream, step), four words each.

    Word w of block b lies at out[w * BLOCKS + b - block0]. Words are the lower halves of 64 bits; what the upper ones
    hold doesn't matter.
    """
    cdef vu64[VECTORS] c0, c1, c2, c3
    cdef vu64 p, q, k0, k1
    cdef uint64_t key0 = seed, key1 = seed >> 32
    cdef uint64_t[BLOCKS] words
    cdef int _round, v, b
    for b in range(BLOCKS):
        words[b] = block0 + <uint64_t> b
    memcpy(c0, words, sizeof(words))
    for v in range(VECTORS):
        c1[v], c2[v], c3[v] = splat_u64(stream), splat_u64(step), splat_u64(step >> 32)
    for _round in range(10):
        k0, k1 = splat_u64(key0), splat_u64(key1)
        key0 += <uint64_t> 0x9E3779B9
        key1 += <uint64_t> 0xBB67AE85
        for v in range(VECTORS):
            p, q = product_u64(c0[v], splat_u64(0xD2511F53)), product_u64(c2[v], splat_u64(0xCD9E8D57))
            c0[v], c1[v] = (q >> 32) ^ c1[v] ^ k0, q
            c2[v], c3[v] = (p >> 32) ^ c3[v] ^ k1, p
    pack(c0, out)
    pack(c1, out + BLOCKS)
    pack(c2, out + 2 * BLOCKS)
    pack(c3, out + 3 * BLOCKS)


cdef void permutation(Py_ssize_t *order, Py_ssize_t n, uint64_t seed, uint64_t epoch) noexcept nogil:
    """order = a permutation of 0 .. n - 1 (Fisher and Yates), keyed by seed and epoch.

    Each index is the remainder of 64 random bits; the bias is below n / 2^64.
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
