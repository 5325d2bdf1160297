"""Copies of b for a GEMM: panels of NR columns, one after the other, each read from end to end by its tiles."""
from .simd cimport MAX_LANES, NV, lanes, load, load_n, real, splat, store, vec, vtranspose


cdef inline void copy_panels(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                             vec like) noexcept nogil:
    """depth rows of n columns of b, along its rows, so that memory is read as it likes; zeros fill the last vector."""
    cdef Py_ssize_t k, v, j, W = lanes(like), NR = NV * W
    for k in range(depth):
        j = 0
        while j + NR <= n:
            for v in range(NV):
                store(to + j * depth + k * NR + v * W, load(b + k * ldb + j + v * W, like))
            j += NR
        v = 0
        while j < n:
            store(to + (j - v * W) * depth + k * NR + v * W, load_n(b + k * ldb + j, min(W, n - j), like))
            v += 1
            j += W


cdef inline void transpose_panel(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                                 vec like) noexcept nogil:
    """One panel from the transpose of b: n rows of depth columns, by squares."""
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


cdef inline void transpose_panels(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                                  vec like) noexcept nogil:
    """The same from the transpose of b: n rows of depth columns."""
    cdef Py_ssize_t j = 0, NR = NV * lanes(like)
    while j < n:
        transpose_panel(b + j * ldb, ldb, depth, min(NR, n - j), to + j * depth, like)
        j += NR
