"""Gradients of dense kernels and biases: of the whole batch, or of its blocks one by one, which are then summed up."""
from libc.string cimport memcpy, memset

from .batchnorm cimport column_sums
from .gemm cimport gemm, gemm_pieces, gemm_t
from .operands cimport NONE, X, at, gradient, op_t, run_t
from .optimizers cimport all_finite
from .pieces cimport cut, pieces_of, pieces_t, take
from .simd cimport KC, real, share
from .updates cimport LINE

cdef enum:
    SOME = 4            # blocks that a batch is cut into at least, so that members of a team take different ones,
    SOME_FROM = 512     # from so many rows on


cdef inline const Py_ssize_t *starts_of(const op_t *op, const run_t *run) noexcept nogil:
    if op.starts == NONE:
        return run.x_starts
    return run.table + op.starts


cdef inline void d_kernel_product(const op_t *op, const run_t *run, gemm_t *g, Py_ssize_t first, Py_ssize_t last,
                                  real *to) noexcept nogil:
    """to = x^T d over some rows of the batch."""
    memset(g, 0, sizeof(g[0]))
    g.m, g.n, g.k = op.inputs, op.units, last - first
    g.a, g.starts, g.steps = at(run, op.x, to), run.table, starts_of(op, run) + first
    g.lda, g.a_transposed = (op.ldx if op.starts != NONE else run.ld[X]), True
    g.gathered = op.starts == NONE and run.gathered
    g.b, g.ldb = at(run, op.d, to) + first * op.ldd, op.ldd
    g.c, g.ldc = to, op.units


cdef inline Py_ssize_t most_blocks(Py_ssize_t batch) noexcept nogil:
    """Blocks of a batch, or of a smaller one, at most; no fewer than a GEMM cuts its k into."""
    return max((batch + KC - 1) // KC, SOME if batch >= SOME_FROM else 1)


cdef inline Py_ssize_t block_rows(Py_ssize_t batch) noexcept nogil:
    """Rows of a block of the batch, which a GEMM takes in one piece."""
    cdef Py_ssize_t blocks = most_blocks(batch)
    return max((batch + blocks - 1) // blocks + 7, 8) // 8 * 8


cdef inline bint by_blocks(const op_t *op, const run_t *run) noexcept nogil:
    """Whether D_KERNEL takes blocks of the batch one by one: what a member of the team reads then is what it wrote."""
    return op.a != NONE and run.batch > block_rows(run.batch)


cdef inline void d_kernel_blocks(const op_t *op, const run_t *run, pieces_t pieces, real *scratch) noexcept nogil:
    """d_kernel and then d_bias of each block."""
    cdef gemm_t g
    cdef Py_ssize_t first, last, end, piece, rows = block_rows(run.batch)
    cdef Py_ssize_t count = cut(pieces.team, run.batch, rows, op.row_cost * run.batch)
    cdef real *to
    while True:
        piece = take(&pieces, count)
        if piece < 0:
            return
        share(run.batch, rows, piece, count, &first, &last)
        while first < last:
            end = min(first + rows, last)
            to = at(run, op.a, scratch) + first // rows * op.lda
            d_kernel_product(op, run, &g, first, end, to)
            gemm(&g, 0, g.m, 0, g.n, scratch)
            if op.bias != NONE:
                column_sums(<const real *> g.b, op.ldd, end - first, 0, op.units, to + op.inputs * op.units)
            first = end


cdef inline void d_kernel(const op_t *op, run_t *run, int member, int team, Py_ssize_t *taken, real *scratch) noexcept nogil:
    """d_kernel = x^T d, d_bias = sum of d over the batch; notes what is not finite, if asked to."""
    cdef gemm_t g
    cdef Py_ssize_t first, last
    if by_blocks(op, run):
        d_kernel_blocks(op, run, pieces_of(taken, member, team), scratch)
        return
    d_kernel_product(op, run, &g, 0, run.batch, gradient(run, op.kernel, scratch))
    if op.flag:
        g.bad = &run.bad[member]
    gemm_pieces(&g, pieces_of(taken, member, team), scratch)
    if op.bias != NONE:
        share(op.units, LINE, member, team, &first, &last)
        column_sums(<const real *> g.b, op.ldd, run.batch, first, last, gradient(run, op.bias, scratch))
        if op.flag and not all_finite(gradient(run, op.bias, scratch) + first, last - first):
            run.bad[member] = 1


cdef inline void sum_blocks(const op_t *op, run_t *run, const real *of, Py_ssize_t blocks, Py_ssize_t n, int member,
                            real *to) noexcept nogil:
    """to = the sum of n numbers of each block, in the order of the blocks."""
    cdef Py_ssize_t j, _block
    memcpy(to, of, n * sizeof(real))
    for _block in range(1, blocks):
        of += op.lda
        for j in range(n):
            to[j] += of[j]
    if op.flag and not all_finite(to, n):
        run.bad[member] = 1


cdef inline void d_kernel_sum(const op_t *op, run_t *run, int member, int team, const real *like) noexcept nogil:
    """The sum of the gradients of all blocks, if they were taken one by one."""
    cdef Py_ssize_t first, last, size = op.inputs * op.units, rows = block_rows(run.batch)
    cdef Py_ssize_t blocks = (run.batch + rows - 1) // rows
    cdef real *of = at(run, op.a, like)
    if not by_blocks(op, run):
        return
    share(size, LINE, member, team, &first, &last)
    sum_blocks(op, run, of + first, blocks, last - first, member, gradient(run, op.kernel, like) + first)
    if op.bias != NONE:
        share(op.units, LINE, member, team, &first, &last)
        sum_blocks(op, run, of + size + first, blocks, last - first, member, gradient(run, op.bias, like) + first)
