"""GEMV: a GEMM with one row of c, which reads b once, along its rows."""
from .simd cimport (
    MR, NV, fma, lanes, load, load_n, prefetch_read, real, rows_1, rows_full, rows_t, splat, store, store_n, vec
)
from .gemm_epilogue cimport activation_pass, block_depth, block_t, epilogue_generic, gemm_t, note_magnitude


cdef inline void add_rows_of_b(const gemm_t *g, const block_t *block, Py_ssize_t k, Py_ssize_t j, Py_ssize_t n,
                               real *sums, vec like, const rows_t *count) noexcept nogil:
    """sums += sum over u of a[k + u] times row k + u of b, for sizeof(rows_t) rows.

    The next rows are prefetched: they lie on other pages, which the processor does not guess.
    """
    cdef const real *b = <const real *> g.b + (block.k0 + k) * g.ldb + j
    cdef const real *a = <const real *> block.a + block.row_offsets[0]
    cdef Py_ssize_t u, v, at = 0, W = lanes(like), next = 0
    cdef vec[MR] x
    cdef vec[NV] total
    for u in range(sizeof(rows_t)):
        x[u] = splat(a[block.k_offsets[k + u]], like)
    if block.k0 + k + 2 * <Py_ssize_t> sizeof(rows_t) <= g.k:
        next = sizeof(rows_t) * g.ldb
    while at + NV * W <= n:
        for v in range(NV):
            total[v] = load(sums + at + v * W, like)
        for u in range(sizeof(rows_t)):
            prefetch_read(b + next + u * g.ldb + at)
            for v in range(NV):
                total[v] = fma(x[u], load(b + u * g.ldb + at + v * W, like), total[v])
        for v in range(NV):
            store(sums + at + v * W, total[v])
        at += NV * W
    while at < n:
        total[0] = load_n(sums + at, min(W, n - at), like)
        for u in range(sizeof(rows_t)):
            total[0] = fma(x[u], load_n(b + u * g.ldb + at, min(W, n - at), like), total[0])
        store_n(sums + at, total[0], min(W, n - at))
        at += W


cdef inline void gemv(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, real *sums, vec like) noexcept nogil:
    """Compute row i, columns j .. j + n of c; each number is the same chain of multiply-adds as in a tile."""
    cdef Py_ssize_t k, at, W = lanes(like), depth = block_depth(g.k)
    cdef vec[1] acc
    cdef block_t block
    block.i0, block.rows, block.k0, block.a, block.row_offsets = i, 1, 0, g.a, g.row_offsets + i
    store(<real *> block.check, splat(1.0, like))
    while True:
        block.depth, block.k_offsets = min(depth, g.k - block.k0), g.k_offsets + block.k0
        for at in range(n):
            sums[at] = 0
        k = 0
        while k + MR <= block.depth:
            add_rows_of_b(g, &block, k, j, n, sums, like, <const rows_full *> NULL)
            k += MR
        while k < block.depth:
            add_rows_of_b(g, &block, k, j, n, sums, like, <const rows_1 *> NULL)
            k += 1
        at = 0
        while at < n:
            acc[0] = load_n(sums + at, min(W, n - at), like)
            epilogue_generic(g, &block, i, j + at, min(W, n - at), acc, sums, <const rows_1 *> NULL)
            at += W
        block.k0 += block.depth
        if block.k0 >= g.k:
            break
    note_magnitude(g, &block, i, i + 1, j, n, sums, like)
    activation_pass(g, i, i + 1, j, j + n, sums)
