"""The micro-kernel: the sums of a tile over k, in assembler (gemm_microkernel.h) or by loops, in the same order."""
from .simd cimport (
    MR, NV, UNROLL_COLUMNWISE, UNROLL_ROWWISE, columnwise, fma, forceinline_void, lanes, load, order_t, real, rows_4,
    rows_full, rows_t, rowwise, splat, steps_1, steps_columnwise, steps_rowwise, steps_t, vec, vf32, vf64, wide, width_t
)

cdef extern from "gemm_microkernel.h" nogil:
    enum:
        HAS_ASM    # else the functions below do nothing
    void microkernel_rowwise_f32(vf32 *, int, const float *, const Py_ssize_t *, Py_ssize_t, const float *, Py_ssize_t,
                                 const float *, Py_ssize_t)
    void microkernel_rowwise_f64(vf64 *, int, const double *, const Py_ssize_t *, Py_ssize_t, const double *,
                                 Py_ssize_t, const double *, Py_ssize_t)
    void microkernel_columnwise_f32(vf32 *, int, const float *, Py_ssize_t, Py_ssize_t, const float *, Py_ssize_t,
                                    const float *, Py_ssize_t)
    void microkernel_columnwise_f64(vf64 *, int, const double *, Py_ssize_t, Py_ssize_t, const double *, Py_ssize_t,
                                    const double *, Py_ssize_t)


cdef inline bint is_whole_tile(const rows_t *height, const width_t *width) noexcept nogil:
    """Return whether tiles of this size have epilogues of their own, and the assembler where there is one."""
    return width_t is wide and (rows_t is rows_full or rows_t is rows_4)


cdef inline bint has_asm(const rows_t *height, const width_t *width) noexcept nogil:
    """Return whether tiles of this size take the assembler: then a begins at the first step of k, and k_offsets have
    one distance."""
    return HAS_ASM and is_whole_tile(height, width)


cdef inline void by_asm(vec *acc, const real *a, const Py_ssize_t *row_offsets, Py_ssize_t stride, Py_ssize_t depth,
                        const real *b, Py_ssize_t ldb, const real *before, Py_ssize_t ldc, const rows_t *height,
                        const order_t *order) noexcept nogil:
    """acc = sum over k of a[row_offsets[r] + k] (columnwise: a[k * stride + r]) times row k of b, plus `before`, in
    assembler."""
    cdef int rows = sizeof(rows_t)
    if vec is vf32 and order_t is rowwise:
        microkernel_rowwise_f32(acc, rows, <const float *> a, row_offsets, depth, <const float *> b, ldb,
                                <const float *> before, ldc)
    elif vec is vf32:
        microkernel_columnwise_f32(acc, rows, <const float *> a, stride, depth, <const float *> b, ldb,
                                   <const float *> before, ldc)
    elif order_t is rowwise:
        microkernel_rowwise_f64(acc, rows, <const double *> a, row_offsets, depth, <const double *> b, ldb,
                                <const double *> before, ldc)
    else:
        microkernel_columnwise_f64(acc, rows, <const double *> a, stride, depth, <const double *> b, ldb,
                                   <const double *> before, ldc)


cdef inline forceinline_void rank_1_updates(vec *acc, const real **rows, const real *column,
                                            const Py_ssize_t *k_offsets, Py_ssize_t k, const real *b, Py_ssize_t ldb,
                                            vec like, const rows_t *height, const width_t *width, const order_t *order,
                                            const steps_t *count) noexcept nogil:
    """Add sizeof(steps_t) outer products to acc, from step k on: a column of a, found by its rows or by k_offsets, times a
    row of b."""
    cdef Py_ssize_t u, r, v
    cdef vec[NV] y
    cdef vec x
    cdef const real *a
    for u in range(sizeof(steps_t)):
        for v in range(sizeof(width_t)):
            y[v] = load(b + u * ldb + v * lanes(like), like)
        if order_t is columnwise:
            a = column + k_offsets[k + u]
        for r in range(sizeof(rows_t)):
            if order_t is columnwise:
                x = splat(a[r], like)
            else:
                x = splat(rows[r][k + u], like)
            for v in range(sizeof(width_t)):
                acc[r * sizeof(width_t) + v] = fma(x, y[v], acc[r * sizeof(width_t) + v])


cdef inline forceinline_void by_loops(vec *acc, const real *a, const Py_ssize_t *row_offsets,
                                      const Py_ssize_t *k_offsets, Py_ssize_t depth, const real *b, Py_ssize_t ldb,
                                      const real *before, Py_ssize_t ldc, vec like, const rows_t *height,
                                      const width_t *width, const order_t *order) noexcept nogil:
    """acc = sum over k of a[row_offsets[r] + k] (columnwise: a[k_offsets[k] + r]) times row k of b, plus `before`, by
    loops."""
    cdef const real *rows[MR]
    cdef Py_ssize_t r, v, k = 0
    for r in range(sizeof(rows_t)):
        rows[r] = a + row_offsets[r]
    for r in range(sizeof(rows_t) * sizeof(width_t)):
        acc[r] = splat(0.0, like)
    while rows_t is rows_full and order_t is rowwise and k + UNROLL_ROWWISE <= depth:     # the rest are few
        rank_1_updates(acc, rows, a, k_offsets, k, b, ldb, like, height, width, order, <const steps_rowwise *> NULL)
        k += UNROLL_ROWWISE
        b += UNROLL_ROWWISE * ldb
    while rows_t is rows_full and order_t is columnwise and k + UNROLL_COLUMNWISE <= depth:
        rank_1_updates(acc, rows, a, k_offsets, k, b, ldb, like, height, width, order, <const steps_columnwise *> NULL)
        k += UNROLL_COLUMNWISE
        b += UNROLL_COLUMNWISE * ldb
    while k < depth:
        rank_1_updates(acc, rows, a, k_offsets, k, b, ldb, like, height, width, order, <const steps_1 *> NULL)
        k += 1
        b += ldb
    if before != NULL:
        for r in range(sizeof(rows_t)):
            for v in range(sizeof(width_t)):
                k = r * sizeof(width_t) + v
                acc[k] = acc[k] + load(before + r * ldc + v * lanes(like), like)


cdef inline forceinline_void microkernel(vec *acc, const real *a, const Py_ssize_t *row_offsets,
                                         const Py_ssize_t *k_offsets, Py_ssize_t stride, Py_ssize_t depth,
                                         const real *b, Py_ssize_t ldb, const real *before, Py_ssize_t ldc, vec like,
                                         const rows_t *height, const width_t *width,
                                         const order_t *order) noexcept nogil:
    """acc = sum over `depth` steps k of a[row_offsets[r] + k] times row k of b, plus what is in memory at `before`.

    Columnwise, that is a[row_offsets[0] + r + k * stride] in assembler, a[row_offsets[0] + r + k_offsets[k]] by loops;
    `before` may be NULL.
    """
    if order_t is columnwise:
        a += row_offsets[0]
    if has_asm(height, width):
        by_asm(acc, a, row_offsets, stride, depth, b, ldb, before, ldc, height, order)
    else:
        by_loops(acc, a, row_offsets, k_offsets, depth, b, ldb, before, ldc, like, height, width, order)
