"""Dispatch: one operation of a plan on one thread of the team. Finds the memory, takes a share, calls the kernel."""
from libc.math cimport isfinite
from libc.string cimport memcpy, memset

from .nn_activations cimport IDENTITY, activation_backward, activation_forward
from .nn_batchnorm cimport (
    batchnorm_backward, batchnorm_backward_sums, batchnorm_fold, batchnorm_forward, batchnorm_inverse,
    batchnorm_statistics, batchnorm_update
)
from .gemm cimport gemm, gemm_chunks, gemm_t, prepack, prepacked_size, scratch_size
from .plan_dense cimport d_kernel, d_kernel_sum, row_offsets_of
from .nn_parametric cimport parametric_backward, parametric_forward, parametric_scratch, parametric_sums, parametric_t
from .nn_softmax_crossentropy cimport softmax_backward, softmax_forward
from .nn_losses cimport accuracy_rows, loss_rows
from .plan_ops cimport (
    ACTIVATION, ACTIVATION_BACKWARD, ADAM, BATCHNORM, BATCHNORM_BACKWARD, BATCHNORM_BACKWARD_SUMS, BATCHNORM_FOLD,
    BATCHNORM_RUNNING, BATCHNORM_STATISTICS, BATCHNORM_UPDATE, CHECK, DENSE, DROPOUT, DROPOUT_BACKWARD, D_INPUT,
    D_KERNEL, D_KERNEL_SUM, ABORT_IF_NONFINITE, GATHER, LEARNED, LEARNED_BACKWARD, LEARNED_SUMS, LOSS, LOSS_SUM, NONE, PENALTY,
    PENALTY_SUM, SGD, SOFTMAX, SOFTMAX_BACKWARD, SWEEP, TARGET, WEIGHT, X, at, gradient
)
from .nn_optimizers cimport all_finite
from .plan_chunks cimport chunks_of
from .vm cimport extension_t, program_t
from .nn_dropout cimport dropout_backward, dropout_forward
from .nn_loss_batch cimport loss_t
from .simd cimport LINE_NUMBERS, real, share
from .simd_sums cimport sum_of
from .plan_update cimport penalize, penalty_sum, update_chunks


cdef void gather(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int tid, const real *like) noexcept nogil:
    """Rows of the caller's x, copied: for a first layer other than Dense, which might hide what is not finite."""
    cdef real *a = at(run, op.a, like)
    cdef Py_ssize_t i
    for i in range(i0, i1):
        memcpy(a + i * op.lda, <const real *> run.base[X] + run.x_offsets[i], op.units * sizeof(real))
        if not all_finite(a + i * op.lda, op.units):
            run.bad[tid] = 1


cdef inline real *scratch_of(const run_t *run, int tid, const real *like) noexcept nogil:
    return <real *> (<char *> run.scratch + tid * run.scratch_bytes)


cdef inline const extension_t *extension_of(const op_t *op) noexcept nogil:
    return <const extension_t *> <void *> op.extension


cdef void dense(const op_t *op, const run_t *run, gemm_t *g, const real *like) noexcept nogil:
    """z = x kernel * scale + shift, a = g(z)."""
    g.m, g.n, g.k = run.batch, op.units, op.inputs
    g.a, g.row_offsets, g.k_offsets = at(run, op.x, like), row_offsets_of(op, run), run.table
    g.lda = op.ldx if op.starts != NONE else run.ld[X]
    g.b, g.ldb = at(run, op.kernel, like), op.units
    g.c, g.ldc = at(run, op.z, like), op.ldz
    g.scale = at(run, op.scale, like)
    g.shift = at(run, op.shift if op.shift != NONE else op.bias, like)
    g.activation, g.alpha, g.extension = <int> op.kind, op.slope, extension_of(op)
    if op.a != NONE:
        g.activated, g.ld_activated = at(run, op.a, like), op.lda


cdef void d_input(const op_t *op, const run_t *run, gemm_t *g, const real *like) noexcept nogil:
    """dx = d kernel^T, times g'(z) of the activation that made x."""
    g.m, g.n, g.k = run.batch, op.inputs, op.units
    g.a, g.row_offsets, g.k_offsets = at(run, op.d, like), run.table + op.starts, run.table
    g.lda = op.ldd
    g.b, g.ldb, g.b_transposed = at(run, op.kernel, like), op.units, True
    g.c, g.ldc = at(run, op.dx, like), op.ld_dx
    if op.kind != IDENTITY:
        g.z, g.a_of_z, g.ldz = at(run, op.z, like), at(run, op.a, like), op.ldz
        g.activation, g.alpha, g.at_zero, g.extension = <int> op.kind, op.slope, op.at_zero, extension_of(op)


cdef void batchnorm_columns(const op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """What batch norm does column by column."""
    cdef Py_ssize_t first, last, n
    cdef real *mean = at(run, op.mean, like)
    cdef real *var = at(run, op.var, like)
    cdef real *inv = at(run, op.inv, like)
    share(op.units, LINE_NUMBERS, tid, team, &first, &last)
    n = last - first
    if n <= 0:
        return
    if op.code == BATCHNORM_STATISTICS:
        batchnorm_statistics(at(run, op.x, like), op.ldx, run.batch, first, last, op.epsilon, mean, var, inv)
        if not all_finite(var + first, n):      # an infinite one would make outputs of 0, and stay in the running one
            run.bad[tid] = 1
    elif op.code == BATCHNORM_RUNNING:
        memcpy(mean + first, at(run, op.running_mean, like) + first, n * sizeof(real))
        batchnorm_inverse(at(run, op.running_var, like) + first, n, op.epsilon, inv + first)
    elif op.code == BATCHNORM_FOLD:
        batchnorm_fold((at(run, op.bias, like) + first) if op.bias != NONE else NULL, mean + first, inv + first,
                       at(run, op.gamma, like) + first, at(run, op.beta, like) + first,
                       at(run, op.scale, like) + first, at(run, op.shift, like) + first, n)
    elif op.code == BATCHNORM_BACKWARD_SUMS:
        batchnorm_backward_sums(at(run, op.x, like), op.ldx, at(run, op.d, like), op.ldd, run.batch, first, last,
                                mean, inv, gradient(run, op.gamma, like), gradient(run, op.beta, like))
    else:
        batchnorm_update(mean + first, var + first, op.rate, at(run, op.running_mean, like) + first,
                         at(run, op.running_var, like) + first, n)


cdef void loss(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, const real *like) noexcept nogil:
    """Value, metric and gradient of each row, weighted; the gradient is that of the weighted mean."""
    cdef loss_t g
    cdef const real *weights = <const real *> run.base[WEIGHT]
    cdef Py_ssize_t i
    cdef double w
    memset(&g, 0, sizeof(g))
    g.code, g.n, g.index, g.values = <int> op.kind, op.units, run.index, run.row_loss
    g.z, g.ldz = at(run, op.z, like), op.ldz
    g.a, g.lda = at(run, op.a, like), op.lda
    g.d, g.ldd = at(run, op.d, like), op.ldd
    g.weights, g.total = weights, run.weight
    g.program, g.scale, g.shift = <const program_t *> <void *> op.extension, op.slope, op.rate
    if op.flag:
        g.labels = <const Py_ssize_t *> run.base[TARGET]
    else:
        g.y, g.ldy = run.base[TARGET], run.ld[TARGET]
    loss_rows(&g, i0, i1, like)
    if op.metric:
        accuracy_rows(&g, <int> op.metric, i0, i1, run.row_metric, like)
    if weights == NULL:
        return
    for i in range(i0, i1):
        w = weights[run.index[i]]
        run.row_loss[i] = w * run.row_loss[i] if w != 0.0 else 0.0
        run.row_metric[i] *= w


cdef void loss_sum(const op_t *op, run_t *run) noexcept nogil:
    run.loss = sum_of(run.row_loss, run.batch)
    run.metric = sum_of(run.row_metric, run.batch) if op.metric else 0.0
    if not isfinite(run.loss):
        run.bad[0] = 1


cdef void forward_rows(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int tid,
                       const real *like) noexcept nogil:
    cdef Py_ssize_t i, code = op.code
    cdef real *x = at(run, op.x, like)
    cdef real *a = at(run, op.a, like)
    if code == GATHER:
        gather(op, run, i0, i1, tid, like)
    elif code == LOSS:
        loss(op, run, i0, i1, like)
    elif code == BATCHNORM:
        # z is what the activation takes; where there is none, z is the output
        for i in range(i0, i1):
            batchnorm_forward(x + i * op.ldx, at(run, op.mean, like), at(run, op.inv, like), at(run, op.gamma, like),
                              at(run, op.beta, like), at(run, op.z, like) + i * op.ldz, op.units)
            if a != NULL:
                activation_forward(<int> op.kind, at(run, op.z, like) + i * op.ldz, a + i * op.lda, op.units, op.slope,
                                   extension_of(op))
    elif code == ACTIVATION:
        for i in range(i0, i1):
            activation_forward(<int> op.kind, x + i * op.ldx, a + i * op.lda, op.units, op.slope, extension_of(op))
    elif code == DROPOUT:
        for i in range(i0, i1):
            dropout_forward(x + i * op.ldx, a + i * op.lda, <unsigned char *> at(run, op.mask, like) + i * op.units, i,
                            op.units, op.rate, run.seed, <unsigned long long> run.step, <unsigned int> op.layer)
    elif code == SOFTMAX:
        softmax_forward(x + i0 * op.ldx, op.ldx, a + i0 * op.lda, op.lda, i1 - i0, op.units)


cdef void backward_rows(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, const real *like) noexcept nogil:
    cdef Py_ssize_t i, code = op.code
    cdef real *d = at(run, op.d, like)
    cdef real *dx = at(run, op.dx, like)
    for i in range(i0, i1):
        if code == SOFTMAX_BACKWARD:
            softmax_backward(at(run, op.a, like) + i * op.lda, d + i * op.ldd, dx + i * op.ld_dx, op.units)
        elif code == ACTIVATION_BACKWARD:
            activation_backward(<int> op.kind, at(run, op.z, like) + i * op.ldz, at(run, op.a, like) + i * op.lda,
                                d + i * op.ldd, dx + i * op.ld_dx, op.units, op.slope, op.at_zero, extension_of(op))
        elif code == DROPOUT_BACKWARD:
            dropout_backward(d + i * op.ldd, <const unsigned char *> at(run, op.mask, like) + i * op.units,
                             dx + i * op.ld_dx, op.units, op.rate)
        elif code == BATCHNORM_BACKWARD:
            batchnorm_backward(at(run, op.x, like) + i * op.ldx, d + i * op.ldd, at(run, op.mean, like),
                               at(run, op.inv, like), at(run, op.gamma, like), gradient(run, op.gamma, like),
                               gradient(run, op.beta, like), 1.0 / run.batch if op.flag else 0.0, dx + i * op.ld_dx,
                               op.units)


cdef void parametric(const op_t *op, const run_t *run, parametric_t *g, const real *like) noexcept nogil:
    """An activation with trainable parameters; of each the table has a reference, whether there is one per unit, a reference
    to slopes and their row stride."""
    cdef const Py_ssize_t *entry = run.table + op.starts
    cdef Py_ssize_t k
    g.units, g.n = op.units, op.kind
    for k in range(op.kind):
        g.of[k].values, g.of[k].gradient = at(run, entry[0], like), gradient(run, entry[0], like)
        g.of[k].per_unit, g.of[k].slopes, g.of[k].ld = <bint> entry[1], at(run, entry[2], like), entry[3]
        entry += 4


cdef void parametric_rows(const op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1, real *scratch) noexcept nogil:
    cdef parametric_t g
    cdef real *x = at(run, op.x, scratch)
    cdef real *a = at(run, op.a, scratch)
    parametric(op, run, &g, scratch)
    g.forward, g.backward = extension_of(op).forward, extension_of(op).backward
    if op.code == LEARNED:
        parametric_forward(&g, x + i0 * op.ldx, op.ldx, a + i0 * op.lda, op.lda, i1 - i0, scratch)
    else:
        parametric_backward(&g, at(run, op.z, scratch), op.ldz, a, op.lda, at(run, op.d, scratch), op.ldd,
                         at(run, op.dx, scratch), op.ld_dx, i0, i1, scratch)


cdef bint has_gemm(const op_t *op, const run_t *run, gemm_t *g, const real *like) noexcept nogil:
    """Whether the operation is a product by rows of the batch; if so, `g` tells which."""
    if op.code != DENSE and op.code != D_INPUT:
        return False
    memset(g, 0, sizeof(g[0]))
    if op.code == DENSE:
        dense(op, run, g, like)
    else:
        d_input(op, run, g, like)
    return True


cdef inline void prepack_once(gemm_t *g, prepacked_t *prepacked, real *room, Py_ssize_t most) noexcept nogil:
    """Pack b once for all rows that this thread takes through the fused group, if there is room."""
    cdef Py_ssize_t size = prepacked_size(g, room)
    if size == 0 or prepacked.numbers + size > most:
        return
    if prepacked.first:
        prepack(g, room + prepacked.numbers)
    g.packed = room + prepacked.numbers
    prepacked.numbers += size


cdef void run_rows(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int tid, prepacked_t *prepacked,
                   const real *like) noexcept nogil:
    """Run rows i0 .. i1 of a row-wise operation; in a fused group, with kernels that are packed once."""
    cdef gemm_t g
    cdef real *scratch = scratch_of(run, tid, like)
    if has_gemm(op, run, &g, like):
        if prepacked != NULL:
            prepack_once(&g, prepacked, <real *> (<char *> scratch + run.prepack_offset),
                         (run.scratch_bytes - run.prepack_offset) // sizeof(real))
        gemm(&g, i0, i1, 0, g.n, scratch)
    elif op.code < SOFTMAX_BACKWARD:
        forward_rows(op, run, i0, i1, tid, like)
    elif op.code == LEARNED or op.code == LEARNED_BACKWARD:
        parametric_rows(op, run, i0, i1, scratch)
    else:
        backward_rows(op, run, i0, i1, like)


cdef void run_shared(const op_t *op, run_t *run, int tid, int team, Py_ssize_t *claimed,
                     const real *like) noexcept nogil:
    """Run this thread's part of an operation, however that is best cut; `claimed` are the counters of its chunks."""
    cdef Py_ssize_t i0, i1, code = op.code
    cdef gemm_t g
    cdef parametric_t p
    if code == D_KERNEL:
        d_kernel(op, run, tid, team, claimed, scratch_of(run, tid, like))
    elif code == D_KERNEL_SUM:
        d_kernel_sum(op, run, tid, team, like)
    elif (code == BATCHNORM_STATISTICS or code == BATCHNORM_RUNNING or code == BATCHNORM_FOLD
            or code == BATCHNORM_BACKWARD_SUMS or code == BATCHNORM_UPDATE):
        batchnorm_columns(op, run, tid, team, like)
    elif code == CHECK or code == SGD or code == ADAM or code == SWEEP:
        update_chunks(op, run, chunks_of(claimed, tid, team), like)
    elif code == LOSS_SUM:
        if tid == 0:
            loss_sum(op, run)
    elif code == LEARNED_SUMS:
        share(op.units, LINE_NUMBERS, tid, team, &i0, &i1)
        parametric(op, run, &p, like)
        parametric_sums(&p, run.batch, i0, i1, tid == 0, like)
    elif code == PENALTY:
        penalize(op, run, tid, team, like)
    elif code == PENALTY_SUM:
        if tid == 0:
            penalty_sum(op, run, like)
    elif code == ABORT_IF_NONFINITE:
        return
    elif has_gemm(op, run, &g, like):
        gemm_chunks(&g, chunks_of(claimed, tid, team), scratch_of(run, tid, like))
    else:
        share(run.batch, 1, tid, team, &i0, &i1)
        run_rows(op, run, i0, i1, tid, NULL, like)


cdef Py_ssize_t scratch_bytes(const op_t *op, Py_ssize_t rows, const real *like) noexcept nogil:
    """Return the bytes of scratch that a thread needs for an operation on so many rows."""
    if op.code == DENSE:
        return scratch_size(rows, op.units, op.inputs, like) * sizeof(real)
    elif op.code == D_INPUT:
        return scratch_size(rows, op.inputs, op.units, like) * sizeof(real)
    elif op.code == D_KERNEL:
        return scratch_size(op.inputs, op.units, rows, like) * sizeof(real)
    elif op.code == LEARNED or op.code == LEARNED_BACKWARD:
        return parametric_scratch(op.units, op.kind) * sizeof(real)
    return 0


cdef Py_ssize_t prepack_bytes(const op_t *op, run_t *run, const real *like) noexcept nogil:
    """Return the bytes of the kernel that a thread packs once in a fused group, at most."""
    cdef gemm_t g
    return prepacked_size(&g, like) * sizeof(real) if op.walk and has_gemm(op, run, &g, like) else 0
