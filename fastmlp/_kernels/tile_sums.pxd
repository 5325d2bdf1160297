"""The sums of a tile: by hand where tile_sums.h can, else by loops. Both do the same in the same order."""
from .simd cimport (
    MR, NV, UNROLL_COLUMNWISE, UNROLL_ROWWISE, columnwise, fma, inlined, lanes, load, order_t, real, rows_4,
    rows_full, rows_t, rowwise, splat, steps_1, steps_columnwise, steps_rowwise, steps_t, vec, vf32, vf64, wide, width_t
)

cdef extern from "tile_sums.h" nogil:
    enum:
        HAS_SUMS    # or these do nothing
    void sums_rowwise_f32(vf32 *, int, const float *, const Py_ssize_t *, Py_ssize_t, const float *, Py_ssize_t,
                          const float *, Py_ssize_t)
    void sums_rowwise_f64(vf64 *, int, const double *, const Py_ssize_t *, Py_ssize_t, const double *, Py_ssize_t,
                          const double *, Py_ssize_t)
    void sums_columnwise_f32(vf32 *, int, const float *, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                             const float *, Py_ssize_t)
    void sums_columnwise_f64(vf64 *, int, const double *, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                             const double *, Py_ssize_t)


cdef inline bint ends_whole(const rows_t *height, const width_t *width) noexcept nogil:
    """Whether tiles of this size have code of their own for the usual ends, and perhaps for sums."""
    return width_t is wide and (rows_t is rows_full or rows_t is rows_4)


cdef inline bint is_by_hand(const rows_t *height, const width_t *width) noexcept nogil:
    """Whether sums of this size are: then `a` begins at the first step of k, and steps have one distance."""
    return HAS_SUMS and ends_whole(height, width)


cdef inline void by_hand(vec *acc, const real *a, const Py_ssize_t *starts, Py_ssize_t stride, Py_ssize_t depth,
                         const real *b, Py_ssize_t ldb, const real *before, Py_ssize_t ldc, const rows_t *height,
                         const order_t *order) noexcept nogil:
    """acc = the sum over k of a[starts[r] + k], or of a[k * stride + r], times row k of b; and of what was there before."""
    cdef int rows = sizeof(rows_t)
    if vec is vf32 and order_t is rowwise:
        sums_rowwise_f32(acc, rows, <const float *> a, starts, depth, <const float *> b, ldb, <const float *> before, ldc)
    elif vec is vf32:
        sums_columnwise_f32(acc, rows, <const float *> a, stride, depth, <const float *> b, ldb, <const float *> before, ldc)
    elif order_t is rowwise:
        sums_rowwise_f64(acc, rows, <const double *> a, starts, depth, <const double *> b, ldb, <const double *> before, ldc)
    else:
        sums_columnwise_f64(acc, rows, <const double *> a, stride, depth, <const double *> b, ldb, <const double *> before,
                            ldc)


cdef inline inlined multiply(vec *acc, const real **rows, const real *column, const Py_ssize_t *steps, Py_ssize_t k,
                             const real *b, Py_ssize_t ldb, vec like, const rows_t *height, const width_t *width,
                             const order_t *order, const steps_t *count) noexcept nogil:
    """acc += some steps from k on: at each a column of `a`, found by its rows or by `steps`, times a row of b."""
    cdef Py_ssize_t u, r, v
    cdef vec[NV] y
    cdef vec x
    cdef const real *a
    for u in range(sizeof(steps_t)):
        for v in range(sizeof(width_t)):
            y[v] = load(b + u * ldb + v * lanes(like), like)
        if order_t is columnwise:
            a = column + steps[k + u]
        for r in range(sizeof(rows_t)):
            if order_t is columnwise:
                x = splat(a[r], like)
            else:
                x = splat(rows[r][k + u], like)
            for v in range(sizeof(width_t)):
                acc[r * sizeof(width_t) + v] = fma(x, y[v], acc[r * sizeof(width_t) + v])


cdef inline inlined by_loops(vec *acc, const real *a, const Py_ssize_t *starts, const Py_ssize_t *steps, Py_ssize_t depth,
                             const real *b, Py_ssize_t ldb, const real *before, Py_ssize_t ldc, vec like,
                             const rows_t *height, const width_t *width, const order_t *order) noexcept nogil:
    """acc = the sum over k of a[starts[r] + k], or of a[steps[k] + r], times row k of b; and of what was there before."""
    cdef const real *rows[MR]
    cdef Py_ssize_t r, v, k = 0
    for r in range(sizeof(rows_t)):
        rows[r] = a + starts[r]
    for r in range(sizeof(rows_t) * sizeof(width_t)):
        acc[r] = splat(0.0, like)
    while rows_t is rows_full and order_t is rowwise and k + UNROLL_ROWWISE <= depth:     # the rest are few
        multiply(acc, rows, a, steps, k, b, ldb, like, height, width, order, <const steps_rowwise *> NULL)
        k += UNROLL_ROWWISE
        b += UNROLL_ROWWISE * ldb
    while rows_t is rows_full and order_t is columnwise and k + UNROLL_COLUMNWISE <= depth:
        multiply(acc, rows, a, steps, k, b, ldb, like, height, width, order, <const steps_columnwise *> NULL)
        k += UNROLL_COLUMNWISE
        b += UNROLL_COLUMNWISE * ldb
    while k < depth:
        multiply(acc, rows, a, steps, k, b, ldb, like, height, width, order, <const steps_1 *> NULL)
        k += 1
        b += ldb
    if before != NULL:
        for r in range(sizeof(rows_t)):
            for v in range(sizeof(width_t)):
                k = r * sizeof(width_t) + v
                acc[k] = acc[k] + load(before + r * ldc + v * lanes(like), like)


cdef inline inlined tile_sums(vec *acc, const real *a, const Py_ssize_t *starts, const Py_ssize_t *steps, Py_ssize_t stride,
                              Py_ssize_t depth, const real *b, Py_ssize_t ldb, const real *before, Py_ssize_t ldc, vec like,
                              const rows_t *height, const width_t *width, const order_t *order) noexcept nogil:
    """acc = the sum over k of a[starts[r] + k] times row k of b, `depth` of them; and of what was there before.

    Down columns it is a[starts[0] + r + k * stride] by hand, and a[starts[0] + r + steps[k]] by loops.
    """
    if order_t is columnwise:
        a += starts[0]
    if is_by_hand(height, width):
        by_hand(acc, a, starts, stride, depth, b, ldb, before, ldc, height, order)
    else:
        by_loops(acc, a, starts, steps, depth, b, ldb, before, ldc, like, height, width, order)
