"""One row of c: a GEMM that reads b once, along its rows."""
from .simd cimport (
    MR, NV, fma, lanes, load, load_n, prefetch_read, real, rows_1, rows_full, rows_t, splat, store, store_n, vec
)
from .tile cimport block_depth, finish, gemm_t, note, part_t, sweep


cdef inline void add_rows_of_b(const gemm_t *g, const part_t *part, Py_ssize_t k, Py_ssize_t j, Py_ssize_t n, real *sums,
                               vec like, const rows_t *count) noexcept nogil:
    """sums += sum of a[k + u] times row k + u of b, for sizeof(rows_t) of them.

    Meanwhile the next ones are asked for: they lie on other pages, which the processor does not guess.
    """
    cdef const real *b = <const real *> g.b + (part.k0 + k) * g.ldb + j
    cdef const real *a = <const real *> part.a + part.starts[0]
    cdef Py_ssize_t u, v, at = 0, W = lanes(like), next = 0
    cdef vec[MR] x
    cdef vec[NV] total
    for u in range(sizeof(rows_t)):
        x[u] = splat(a[part.steps[k + u]], like)
    if part.k0 + k + 2 * <Py_ssize_t> sizeof(rows_t) <= g.k:
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


cdef inline void single_row(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, real *sums, vec like) noexcept nogil:
    """One row of c: b is read along its rows, once. The chains are those of the tile."""
    cdef Py_ssize_t k, at, W = lanes(like), depth = block_depth(g.k)
    cdef vec[1] acc
    cdef part_t part
    part.i0, part.rows, part.k0, part.a, part.starts = i, 1, 0, g.a, g.starts + i
    store(<real *> part.check, splat(0.0, like))
    while True:
        part.depth, part.steps = min(depth, g.k - part.k0), g.steps + part.k0
        for at in range(n):
            sums[at] = 0
        k = 0
        while k + MR <= part.depth:
            add_rows_of_b(g, &part, k, j, n, sums, like, <const rows_full *> NULL)
            k += MR
        while k < part.depth:
            add_rows_of_b(g, &part, k, j, n, sums, like, <const rows_1 *> NULL)
            k += 1
        at = 0
        while at < n:
            acc[0] = load_n(sums + at, min(W, n - at), like)
            finish(g, &part, i, j + at, min(W, n - at), acc, sums, <const rows_1 *> NULL)
            at += W
        part.k0 += part.depth
        if part.k0 >= g.k:
            break
    note(g, &part, sums, like)
    sweep(g, i, i + 1, j, j + n, sums)
