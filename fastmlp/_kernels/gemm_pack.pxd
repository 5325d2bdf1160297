"""Packing of b for a GEMM: panels of NR columns, one after the other, each read from end to end by its tiles."""
from .simd cimport MAX_LANES, NV, lanes, load, load_n, prefetch_read, real, splat, store, vec, vtranspose

cdef enum:
    ROWS_AT_A_TIME = 8     # of b, while the next ones are prefetched


cdef inline void pack_edge_panel(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                                 vec like) noexcept nogil:
    """Pack the last, partial panel of n < NR columns, vector by vector; zeros fill the last vector."""
    cdef Py_ssize_t k, W = lanes(like)
    while n > 0:
        for k in range(depth):
            store(to + k * NV * W, load_n(b + k * ldb, min(W, n), like))
        b += W
        to += W
        n -= W


cdef inline void pack_panels(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                             vec like) noexcept nogil:
    """Pack `depth` rows of n columns of b, a few rows at a time: of these a panel takes lines that follow each other."""
    cdef Py_ssize_t k = 0, v, j, r, W = lanes(like), NR = NV * W, whole = n // NR * NR
    while k < depth and whole > 0:
        j = 0
        while j < whole:
            for r in range(k, min(k + ROWS_AT_A_TIME, depth)):
                prefetch_read(b + (r + ROWS_AT_A_TIME) * ldb + j)
                for v in range(NV):
                    store(to + j * depth + r * NR + v * W, load(b + r * ldb + j + v * W, like))
            j += NR
        k += ROWS_AT_A_TIME
    pack_edge_panel(b + whole, ldb, depth, n - whole, to + whole * depth, like)


cdef inline void pack_transposed_panel(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                                       vec like) noexcept nogil:
    """Pack one panel of b from its transpose, n rows of `depth` columns, square by square."""
    cdef Py_ssize_t W = lanes(like), j = 0, k, r, most
    cdef vec[MAX_LANES] square
    while j < n:
        k = 0
        while k < depth:
            most = min(W, depth - k)
            for r in range(W):
                square[r] = splat(0.0, like)
                if j + r < n:
                    square[r] = load(b + (j + r) * ldb + k, like) if most == W else load_n(
                        b + (j + r) * ldb + k, most, like)
            vtranspose(square)
            if most == W:
                for r in range(W):
                    store(to + (k + r) * NV * W + j, square[r])
            else:
                for r in range(most):
                    store(to + (k + r) * NV * W + j, square[r])
            k += W
        j += W


cdef inline void pack_transposed_panels(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                                        vec like) noexcept nogil:
    """Pack b from its transpose: n rows of `depth` columns."""
    cdef Py_ssize_t j = 0, NR = NV * lanes(like)
    while j < n:
        pack_transposed_panel(b + j * ldb, ldb, depth, min(NR, n - j), to + j * depth, like)
        j += NR
