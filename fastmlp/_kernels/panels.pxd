"""Copies of b for a GEMM: panels of NR columns, one after the other, each read from end to end by its tiles."""
from .simd cimport MAX_LANES, NV, lanes, load, load_n, real, splat, store, vec, vtranspose


cdef inline void copy_last(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                           vec like) noexcept nogil:
    """The panel that n < NR columns do not fill, vector by vector; zeros fill the last."""
    cdef Py_ssize_t k, W = lanes(like)
    while n > 0:
        for k in range(depth):
            store(to + k * NV * W, load_n(b + k * ldb, min(W, n), like))
        b += W
        to += W
        n -= W


cdef inline void copy_panels(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, real *to,
                             vec like) noexcept nogil:
    """depth rows of n columns of b, along its rows, so that memory is read as it likes."""
    cdef Py_ssize_t k, v, j, W = lanes(like), NR = NV * W, whole = n // NR * NR
    for k in range(depth if whole else 0):
        j = 0
        while j < whole:
            for v in range(NV):
                store(to + j * depth + k * NR + v * W, load(b + k * ldb + j + v * W, like))
            j += NR
    copy_last(b + whole, ldb, depth, n - whole, to + whole * depth, like)


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
