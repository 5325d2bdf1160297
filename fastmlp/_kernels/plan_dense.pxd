"""Gradients of dense kernels and biases: of the whole batch, or of its blocks one by one, which are then summed up."""
from libc.string cimport memcpy, memset

from .nn_batchnorm cimport column_sums
from .gemm cimport gemm, gemm_chunks, gemm_t
from .plan_ops cimport NONE, X, at, gradient, op_t, run_t
from .nn_optimizers cimport all_finite
from .plan_chunks cimport chunks_of, chunks_t, claim, n_chunks
from .simd cimport KC, LINE_NUMBERS, real, share

cdef enum:
    MIN_BLOCKS = 4          # blocks of a batch, at least, so that threads have different ones,
    MIN_BLOCKS_FROM = 512   # from so many rows on


cdef inline const Py_ssize_t *row_offsets_of(const op_t *op, const run_t *run) noexcept nogil:
    if op.starts == NONE:
        return run.x_offsets
    return run.table + op.starts


cdef inline void d_kernel_product(const op_t *op, const run_t *run, gemm_t *g, Py_ssize_t first, Py_ssize_t last,
                                  real *to) noexcept nogil:
    """to = x^T d over some rows of the batch."""
    memset(g, 0, sizeof(g[0]))
    g.m, g.n, g.k = op.inputs, op.units, last - first
    g.a, g.row_offsets, g.k_offsets = at(run, op.x, to), run.table, row_offsets_of(op, run) + first
    g.lda, g.a_transposed = (op.ldx if op.starts != NONE else run.ld[X]), True
    g.gathered = op.starts == NONE and run.gathered
    g.b, g.ldb = at(run, op.d, to) + first * op.ldd, op.ldd
    g.c, g.ldc = to, op.units


cdef inline Py_ssize_t most_blocks(Py_ssize_t batch) noexcept nogil:
    """Blocks of a batch, or of a smaller one, at most; no fewer than a GEMM cuts its k into."""
    return max((batch + KC - 1) // KC, MIN_BLOCKS if batch >= MIN_BLOCKS_FROM else 1)


cdef inline Py_ssize_t block_rows(Py_ssize_t batch) noexcept nogil:
    """Rows of a block of the batch, which a GEMM takes in one chunk."""
    cdef Py_ssize_t blocks = most_blocks(batch)
    return max((batch + blocks - 1) // blocks + 7, 8) // 8 * 8


cdef inline bint by_blocks(const op_t *op, const run_t *run) noexcept nogil:
    """Return whether d_kernel takes blocks of the batch one by one: then a thread reads what it wrote."""
    return op.a != NONE and run.batch > block_rows(run.batch)


cdef inline void d_kernel_blocks(const op_t *op, const run_t *run, chunks_t chunks, real *scratch) noexcept nogil:
    """d_kernel and then d_bias of each block."""
    cdef gemm_t g
    cdef Py_ssize_t first, last, end, chunk, rows = block_rows(run.batch)
    cdef Py_ssize_t count = n_chunks(chunks.team, run.batch, rows, op.row_cost * run.batch)
    cdef real *to
    while True:
        chunk = claim(&chunks, count)
        if chunk < 0:
            return
        share(run.batch, rows, chunk, count, &first, &last)
        while first < last:
            end = min(first + rows, last)
            to = at(run, op.a, scratch) + first // rows * op.lda
            d_kernel_product(op, run, &g, first, end, to)
            gemm(&g, 0, g.m, 0, g.n, scratch)
            if op.bias != NONE:
                column_sums(<const real *> g.b, op.ldd, end - first, 0, op.units, to + op.inputs * op.units)
            first = end


cdef inline void d_kernel(const op_t *op, run_t *run, int tid, int team, Py_ssize_t *claimed,
                          real *scratch) noexcept nogil:
    """d_kernel = x^T d, d_bias = sum of d over the batch; notes what is not finite, if asked to."""
    cdef gemm_t g
    cdef Py_ssize_t first, last
    if by_blocks(op, run):
        d_kernel_blocks(op, run, chunks_of(claimed, tid, team), scratch)
        return
    d_kernel_product(op, run, &g, 0, run.batch, gradient(run, op.kernel, scratch))
    if op.flag:
        g.bad = &run.bad[tid]
    gemm_chunks(&g, chunks_of(claimed, tid, team), scratch)
    if op.bias != NONE:
        share(op.units, LINE_NUMBERS, tid, team, &first, &last)
        column_sums(<const real *> g.b, op.ldd, run.batch, first, last, gradient(run, op.bias, scratch))
        if op.flag and not all_finite(gradient(run, op.bias, scratch) + first, last - first):
            run.bad[tid] = 1


cdef inline void sum_blocks(const op_t *op, run_t *run, const real *of, Py_ssize_t blocks, Py_ssize_t n, int tid,
                            real *to) noexcept nogil:
    """to = the sum of n numbers of each block, in the order of the blocks."""
    cdef Py_ssize_t j, _block
    memcpy(to, of, n * sizeof(real))
    for _block in range(1, blocks):
        of += op.lda
        for j in range(n):
            to[j] += of[j]
    if op.flag and not all_finite(to, n):
        run.bad[tid] = 1


cdef inline void d_kernel_sum(const op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Sum the gradients of all blocks, if they were computed one by one."""
    cdef Py_ssize_t first, last, size = op.inputs * op.units, rows = block_rows(run.batch)
    cdef Py_ssize_t blocks = (run.batch + rows - 1) // rows
    cdef real *of = at(run, op.a, like)
    if not by_blocks(op, run):
        return
    share(size, LINE_NUMBERS, tid, team, &first, &last)
    sum_blocks(op, run, of + first, blocks, last - first, tid, gradient(run, op.kernel, like) + first)
    if op.bias != NONE:
        share(op.units, LINE_NUMBERS, tid, team, &first, &last)
        sum_blocks(op, run, of + size + first, blocks, last - first, tid, gradient(run, op.bias, like) + first)
