"""Gradients of dense kernels and biases: of the whole batch, or of its blocks one by one, which are then added up."""
from libc.string cimport memcpy, memset

from .gemm cimport gemm, gemm_chunks, gemm_t
from .nn_batchnorm cimport column_sums
from .nn_optimizers cimport magnitude
from .plan_chunks cimport chunks_of, chunks_t, claim, n_chunks
from .plan_ops cimport X, at, d_kernel_op_t, gradient, has, ref_t, run_t
from .simd cimport KC, LINE_NUMBERS, real, share

cdef enum:
    MIN_BLOCKS = 4          # blocks of a batch, at least, so that threads have different ones,
    MIN_BLOCKS_FROM = 512   # from so many rows on


cdef inline const Py_ssize_t *x_offsets_of(ref_t x_offsets, const run_t *run) noexcept nogil:
    """Return the row offsets of an input: a table, or those of the caller's x."""
    return run.table + x_offsets if has(x_offsets) else run.x_offsets


cdef inline void d_kernel_product(const d_kernel_op_t *op, const run_t *run, gemm_t *g, Py_ssize_t first,
                                  Py_ssize_t last, real *to) noexcept nogil:
    """Describe the product to = x^T d over some rows of the batch."""
    memset(g, 0, sizeof(g[0]))
    g.m, g.n, g.k = op.inputs, op.units, last - first
    g.a, g.row_offsets, g.k_offsets = at(run, op.x, to), run.table, x_offsets_of(op.x_offsets, run) + first
    g.lda, g.a_transposed = (op.ldx if has(op.x_offsets) else run.ld[X]), True
    g.gathered = not has(op.x_offsets) and run.gathered
    g.b, g.ldb = at(run, op.d, to) + first * op.ldd, op.ldd
    g.c, g.ldc = to, op.units


cdef inline Py_ssize_t most_blocks(Py_ssize_t batch) noexcept nogil:
    """Return how many blocks a batch, or a smaller one, has at most: no fewer than a GEMM cuts its k into."""
    return max((batch + KC - 1) // KC, MIN_BLOCKS if batch >= MIN_BLOCKS_FROM else 1)


cdef inline Py_ssize_t block_rows(Py_ssize_t batch) noexcept nogil:
    """Return the rows of a block of the batch, which are one block of k for a GEMM."""
    cdef Py_ssize_t blocks = most_blocks(batch)
    return max((batch + blocks - 1) // blocks + 7, 8) // 8 * 8


cdef inline bint by_blocks(const d_kernel_op_t *op, const run_t *run) noexcept nogil:
    """Return whether d_kernel takes blocks of the batch one by one: then a thread reads what it wrote."""
    return has(op.blocks) and run.batch > block_rows(run.batch)


cdef inline void d_kernel_blocks(const d_kernel_op_t *op, const run_t *run, chunks_t chunks,
                                 real *scratch) noexcept nogil:
    """Compute d_kernel and then d_bias of each block that this thread claims."""
    cdef gemm_t g
    cdef Py_ssize_t first, last, end, chunk, rows = block_rows(run.batch)
    cdef Py_ssize_t count = n_chunks(chunks.team, run.batch, rows, op.head.row_cost * run.batch)
    cdef real *to
    while True:
        chunk = claim(&chunks, count)
        if chunk < 0:
            return
        share(run.batch, rows, chunk, count, &first, &last)
        while first < last:
            end = min(first + rows, last)
            to = at(run, op.blocks, scratch) + first // rows * op.ld_blocks
            d_kernel_product(op, run, &g, first, end, to)
            gemm(&g, 0, g.m, 0, g.n, scratch)
            if has(op.bias):
                column_sums(<const real *> g.b, op.ldd, end - first, 0, op.units, to + op.inputs * op.units)
            first = end


cdef inline void d_kernel(const d_kernel_op_t *op, run_t *run, int tid, int team, Py_ssize_t *claimed,
                          real *scratch) noexcept nogil:
    """d_kernel = x^T d, d_bias = sum of d over the batch; notes what is not finite or large, if asked to."""
    cdef gemm_t g
    cdef Py_ssize_t first, last
    if by_blocks(op, run):
        d_kernel_blocks(op, run, chunks_of(claimed, tid, team), scratch)
        return
    d_kernel_product(op, run, &g, 0, run.batch, gradient(run, op.kernel, scratch))
    if op.checks:
        g.bad = &run.bad[tid]
    gemm_chunks(&g, chunks_of(claimed, tid, team), scratch)
    if has(op.bias):
        share(op.units, LINE_NUMBERS, tid, team, &first, &last)
        column_sums(<const real *> g.b, op.ldd, run.batch, first, last, gradient(run, op.bias, scratch))
        if op.checks:
            run.bad[tid] |= magnitude(gradient(run, op.bias, scratch) + first, last - first)


cdef inline void sum_blocks(const d_kernel_op_t *op, run_t *run, const real *of, Py_ssize_t blocks, Py_ssize_t n,
                            int tid, real *to) noexcept nogil:
    """to = the sum of n numbers of each block, in the order of the blocks."""
    cdef Py_ssize_t j, _block
    memcpy(to, of, n * sizeof(real))
    for _block in range(1, blocks):
        of += op.ld_blocks
        for j in range(n):
            to[j] += of[j]
    if op.checks:
        run.bad[tid] |= magnitude(to, n)


cdef inline void d_kernel_sum(const d_kernel_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Add up the gradients of all blocks, if they were computed one by one."""
    cdef Py_ssize_t first, last, size = op.inputs * op.units, rows = block_rows(run.batch)
    cdef Py_ssize_t blocks = (run.batch + rows - 1) // rows
    cdef real *of = at(run, op.blocks, like)
    if not by_blocks(op, run):
        return
    share(size, LINE_NUMBERS, tid, team, &first, &last)
    sum_blocks(op, run, of + first, blocks, last - first, tid, gradient(run, op.kernel, like) + first)
    if has(op.bias):
        share(op.units, LINE_NUMBERS, tid, team, &first, &last)
        sum_blocks(op, run, of + size + first, blocks, last - first, tid, gradient(run, op.bias, like) + first)
