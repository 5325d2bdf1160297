"""Dispatch: one operation of a plan on one thread of the team. Finds the memory, takes a share, calls the kernel."""
from libc.math cimport isfinite
from libc.string cimport memcpy, memset

from .gemm cimport gemm, gemm_chunks, gemm_t, prepack, prepacked_size, scratch_size
from .nn_activations cimport IDENTITY, activation_backward, activation_forward
from .nn_add cimport add_rows
from .nn_batchnorm cimport (
    batchnorm_backward, batchnorm_backward_sums, batchnorm_fold, batchnorm_forward, batchnorm_inverse,
    batchnorm_statistics, batchnorm_update
)
from .nn_columns cimport copy_rows, factor_columns, select_backward_rows, select_rows, standardize_rows
from .nn_dropout cimport dropout_backward, dropout_forward
from .nn_embedding cimport embedding_gradient, embedding_rows
from .nn_layernorm cimport layernorm_backward_rows, layernorm_gradients, layernorm_rows
from .nn_loss_batch cimport loss_t
from .nn_losses cimport NO_METRIC, accuracy_rows, loss_rows, refuse_rows
from .nn_noise cimport noise_rows
from .nn_optimizers cimport LARGE, NONFINITE, all_finite, magnitude, most_squares, within
from .nn_parametric cimport parametric_backward, parametric_forward, parametric_scratch, parametric_sums, parametric_t
from .nn_softmax_crossentropy cimport softmax_backward, softmax_forward
from .nn_unit_norm cimport unit_norm_backward_rows, unit_norm_rows
from .plan_chunks cimport chunks_of
from .plan_dense cimport d_kernel, d_kernel_sum, x_offsets_of
from .plan_ops cimport (
    ABORT_IF_NONFINITE, ACTIVATION, ACTIVATION_BACKWARD, ADAM, ADD, AVERAGE, BATCHNORM, BATCHNORM_BACKWARD,
    BATCHNORM_BACKWARD_SUMS, BATCHNORM_FOLD, BATCHNORM_RUNNING, BATCHNORM_STATISTICS, BATCHNORM_UPDATE, BUFFERS, CHECK,
    CLIP_NORM, CLIP_VALUE, COLUMN_FACTORS, COPY, DENSE, DROPOUT, DROPOUT_BACKWARD, D_INPUT, D_KERNEL, D_KERNEL_SUM,
    EMBEDDING, EMBEDDING_SUMS,
    GATHER, KEEP_OUTPUT, KEPT, LAYERNORM, LAYERNORM_BACKWARD, LAYERNORM_SUMS, LOSS, LOSS_SUM, NOISE, PARAMETRIC,
    PARAMETRIC_BACKWARD, PARAMETRIC_SUMS, PENALTY, PENALTY_SUM, SELECT, SELECT_BACKWARD, SGD, SOFTMAX, SOFTMAX_BACKWARD,
    SQUARED_NORM, STANDARDIZE, TARGET, TRACED_UPDATE, UNIT_NORM, UNIT_NORM_BACKWARD, WEIGHT, X, activation_backward_op_t,
    activation_op_t, at, batchnorm_backward_op_t, batchnorm_backward_sums_op_t, batchnorm_fold_op_t, batchnorm_op_t,
    batchnorm_running_op_t, batchnorm_statistics_op_t, batchnorm_update_op_t, d_input_op_t, dense_op_t,
    dropout_backward_op_t, dropout_op_t, gather_op_t, gradient, has, keep_output_op_t, loss_op_t,
    parametric_backward_op_t, parametric_op_t, parametric_sums_op_t, softmax_backward_op_t
)
from .plan_update cimport (
    check_chunks, clip_norms, clip_values_of, note_overflow, penalize, penalty_sum, save, sum_squares, update_averages,
    update_chunks
)
from .simd cimport LINE_NUMBERS, real, share
from .simd_sums cimport sum_of
from .vm cimport extension_t, program_t


cdef inline real *scratch_of(const run_t *run, int tid, const real *like) noexcept nogil:
    """Return this thread's scratch."""
    return <real *> (<char *> run.scratch + tid * run.scratch_bytes)


# Products

cdef void dense(const dense_op_t *op, const run_t *run, gemm_t *g, const real *like) noexcept nogil:
    """z = x kernel * scale + shift, a = g(z)."""
    g.m, g.n, g.k = run.batch, op.units, op.inputs
    g.a, g.row_offsets, g.k_offsets = at(run, op.x, like), x_offsets_of(op.x_offsets, run), run.table
    g.lda = op.ldx if has(op.x_offsets) else run.ld[X]
    g.b, g.ldb = at(run, op.kernel, like), op.units
    g.c, g.ldc = at(run, op.z, like), op.ldz
    g.scale = at(run, op.scale, like)
    g.shift = at(run, op.shift if has(op.shift) else op.bias, like)
    g.activation, g.alpha, g.extension = <int> op.activation, op.alpha, <const extension_t *> <void *> op.extension
    if has(op.a):
        g.activated, g.ld_activated = at(run, op.a, like), op.lda


cdef void d_input(const d_input_op_t *op, const run_t *run, gemm_t *g, const real *like) noexcept nogil:
    """dx = d kernel^T, times g'(z) of the activation that made x."""
    g.m, g.n, g.k = run.batch, op.inputs, op.units
    g.a, g.row_offsets, g.k_offsets = at(run, op.d, like), run.table + op.d_offsets, run.table
    g.lda = op.ldd
    g.b, g.ldb, g.b_transposed = at(run, op.kernel, like), op.units, True
    g.c, g.ldc = at(run, op.dx, like), op.ld_dx
    if op.activation != IDENTITY:
        g.z, g.a_of_z, g.ldz = at(run, op.z, like), at(run, op.a, like), op.ldz
        g.activation, g.alpha, g.at_zero = <int> op.activation, op.alpha, op.at_zero
        g.extension = <const extension_t *> <void *> op.extension


cdef bint has_gemm(const op_t *op, const run_t *run, gemm_t *g, const real *like) noexcept nogil:
    """Return whether an operation is a product by rows of the batch; if so, `g` describes it."""
    if op.head.code != DENSE and op.head.code != D_INPUT:
        return False
    memset(g, 0, sizeof(g[0]))
    if op.head.code == DENSE:
        dense(&op.dense, run, g, like)
    else:
        d_input(&op.d_input, run, g, like)
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


# Row by row

cdef void gather(const gather_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int tid,
                 const real *like) noexcept nogil:
    """Copy rows of the caller's x: for a first layer other than Dense, which might hide what is not finite."""
    cdef real *a = at(run, op.a, like)
    cdef Py_ssize_t i
    for i in range(i0, i1):
        memcpy(a + i * op.lda, <const real *> run.base[X] + run.x_offsets[i], op.units * sizeof(real))
        if not all_finite(a + i * op.lda, op.units):
            run.bad[tid] |= NONFINITE


cdef void batchnorm(const batchnorm_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                    const real *like) noexcept nogil:
    """z = (x - mean) inv gamma + beta, a = g(z)."""
    cdef real *z = at(run, op.z, like)
    cdef real *a = at(run, op.a, like)
    cdef Py_ssize_t i
    for i in range(i0, i1):
        batchnorm_forward(at(run, op.x, like) + i * op.ldx, at(run, op.mean, like), at(run, op.inv, like),
                          at(run, op.gamma, like), at(run, op.beta, like), z + i * op.ldz, op.units)
        if a != NULL:
            activation_forward(<int> op.activation, z + i * op.ldz, a + i * op.lda, op.units, op.alpha,
                               <const extension_t *> <void *> op.extension)


cdef void activation(const activation_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                     const real *like) noexcept nogil:
    """a = g(x)."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        activation_forward(<int> op.activation, at(run, op.x, like) + i * op.ldx, at(run, op.a, like) + i * op.lda,
                           op.units, op.alpha, <const extension_t *> <void *> op.extension)


cdef void activation_back(const activation_backward_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                          const real *like) noexcept nogil:
    """dx = d g'(z)."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        activation_backward(<int> op.activation, at(run, op.z, like) + i * op.ldz, at(run, op.a, like) + i * op.lda,
                            at(run, op.d, like) + i * op.ldd, at(run, op.dx, like) + i * op.ld_dx, op.units, op.alpha,
                            op.at_zero, <const extension_t *> <void *> op.extension)


cdef void dropout(const dropout_op_t *op, run_t *run, unsigned int layer, Py_ssize_t i0, Py_ssize_t i1,
                  const real *like) noexcept nogil:
    """a = mask x / (1 - rate), mask from seed, step, layer and element."""
    cdef unsigned char *mask = <unsigned char *> at(run, op.mask, like)
    cdef Py_ssize_t i
    for i in range(i0, i1):
        dropout_forward(at(run, op.x, like) + i * op.ldx, at(run, op.a, like) + i * op.lda, mask + i * op.units, i,
                        op.units, op.rate, run.seed, <unsigned long long> run.step, layer)


cdef void dropout_back(const dropout_backward_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                       const real *like) noexcept nogil:
    """dx = mask d / (1 - rate)."""
    cdef const unsigned char *mask = <const unsigned char *> at(run, op.mask, like)
    cdef Py_ssize_t i
    for i in range(i0, i1):
        dropout_backward(at(run, op.d, like) + i * op.ldd, mask + i * op.units, at(run, op.dx, like) + i * op.ld_dx,
                         op.units, op.rate)


cdef void softmax_back(const softmax_backward_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                       const real *like) noexcept nogil:
    """dx = a (d - sum d a)."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        softmax_backward(at(run, op.a, like) + i * op.lda, at(run, op.d, like) + i * op.ldd,
                         at(run, op.dx, like) + i * op.ld_dx, op.units)


cdef void batchnorm_back(const batchnorm_backward_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                         const real *like) noexcept nogil:
    """dx, from the gradients of gamma and beta."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        batchnorm_backward(at(run, op.x, like) + i * op.ldx, at(run, op.d, like) + i * op.ldd, at(run, op.mean, like),
                           at(run, op.inv, like), at(run, op.gamma, like), gradient(run, op.gamma, like),
                           gradient(run, op.beta, like), 1.0 / run.batch if op.batch_statistics else 0.0,
                           at(run, op.dx, like) + i * op.ld_dx, op.units)


cdef void loss(const loss_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, const real *like) noexcept nogil:
    """Compute loss, metric and gradient of each row, weighted; the gradient is that of the weighted mean."""
    cdef loss_t g
    cdef const real *weights = <const real *> run.base[WEIGHT]
    cdef Py_ssize_t i
    cdef double w
    memset(&g, 0, sizeof(g))
    g.code, g.n, g.index, g.values = <int> op.loss, op.units, run.index, run.row_loss
    g.z, g.ldz = at(run, op.z, like), op.ldz
    g.a, g.lda = at(run, op.a, like), op.lda
    g.d, g.ldd = at(run, op.d, like), op.ldd
    g.weights, g.total = weights, run.weight
    g.program, g.scale, g.shift = <const program_t *> <void *> op.program, op.scale, op.shift
    if op.labels:
        g.labels = <const Py_ssize_t *> run.base[TARGET]
    else:
        g.y, g.ldy = run.base[TARGET], run.ld[TARGET]
    loss_rows(&g, i0, i1, like)
    if op.labels or op.probabilities:
        refuse_rows(&g, i0, i1, like)
    if op.metric != NO_METRIC:
        accuracy_rows(&g, <int> op.metric, i0, i1, run.row_metric, like)
    if weights == NULL:
        return
    for i in range(i0, i1):
        w = weights[run.index[i]]
        run.row_loss[i] = w * run.row_loss[i] if w != 0.0 else 0.0
        run.row_metric[i] *= w


cdef void keep_output(const keep_output_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                      const real *like) noexcept nogil:
    """Copy rows to the arena KEPT, if there is one."""
    cdef real *kept = <real *> run.base[KEPT]
    cdef Py_ssize_t i
    if kept == NULL:
        return
    for i in range(i0, i1):
        memcpy(kept + (run.kept_row + i) * run.ld[KEPT], at(run, op.x, like) + i * op.ldx, op.units * sizeof(real))


# Activations with trainable parameters

cdef void find_parameters(parametric_t *g, const run_t *run, Py_ssize_t units, Py_ssize_t n, Py_ssize_t table,
                          const real *like) noexcept nogil:
    """Find n parameters by the table: of each a reference, whether it is one per unit, its slopes, their row stride."""
    cdef const Py_ssize_t *entry = run.table + table
    cdef Py_ssize_t k
    g.units, g.n = units, n
    for k in range(n):
        g.of[k].values, g.of[k].gradient = at(run, entry[0], like), gradient(run, entry[0], like)
        g.of[k].per_unit, g.of[k].slopes, g.of[k].ld = <bint> entry[1], at(run, entry[2], like), entry[3]
        entry += 4


cdef void parametric(const parametric_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, real *scratch) noexcept nogil:
    """a = g(x, p)."""
    cdef parametric_t g
    find_parameters(&g, run, op.units, op.n_parameters, op.parameters, scratch)
    g.forward = (<const extension_t *> <void *> op.extension).forward
    parametric_forward(&g, at(run, op.x, scratch) + i0 * op.ldx, op.ldx, at(run, op.a, scratch) + i0 * op.lda, op.lda,
                       i1 - i0, scratch)


cdef void parametric_back(const parametric_backward_op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                          real *scratch) noexcept nogil:
    """dx = d dg/dz, slopes = d dg/dp."""
    cdef parametric_t g
    find_parameters(&g, run, op.units, op.n_parameters, op.parameters, scratch)
    g.backward = (<const extension_t *> <void *> op.extension).backward
    parametric_backward(&g, at(run, op.z, scratch), op.ldz, at(run, op.a, scratch), op.lda, at(run, op.d, scratch),
                        op.ldd, at(run, op.dx, scratch), op.ld_dx, i0, i1, scratch)


cdef void sum_slopes(const parametric_sums_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Sum slopes over the batch into the gradients of parameters."""
    cdef parametric_t g
    cdef Py_ssize_t first, last
    find_parameters(&g, run, op.units, op.n_parameters, op.parameters, like)
    share(op.units, LINE_NUMBERS, tid, team, &first, &last)
    parametric_sums(&g, run.batch, first, last, tid == 0, like)


# Batch norm, column by column

cdef inline bint columns_of(Py_ssize_t units, int tid, int team, Py_ssize_t *first, Py_ssize_t *n) noexcept nogil:
    """Find this thread's share of the columns; return whether it has any."""
    cdef Py_ssize_t last
    share(units, LINE_NUMBERS, tid, team, first, &last)
    n[0] = last - first[0]
    return n[0] > 0


cdef void take_statistics(const batchnorm_statistics_op_t *op, run_t *run, int tid, int team,
                          const real *like) noexcept nogil:
    """Compute mean, var and inv of the batch.

    An infinite variance would make outputs of 0, and stay in the running one. Below 2^100, running statistics stay
    finite, since half the distance from the largest float to the one before is 2^103.
    """
    cdef Py_ssize_t first, n
    cdef real *mean = at(run, op.mean, like)
    cdef real *var = at(run, op.var, like)
    if not columns_of(op.units, tid, team, &first, &n):
        return
    batchnorm_statistics(at(run, op.x, like), op.ldx, run.batch, first, first + n, op.epsilon, mean, var,
                         at(run, op.inv, like))
    if not magnitude(mean + first, n) | magnitude(var + first, n):
        return
    if not within(mean + first, n, -most_squares(), most_squares()) or not within(var + first, n, 0, most_squares()):
        run.bad[tid] |= LARGE if all_finite(var + first, n) else NONFINITE


cdef void take_running(const batchnorm_running_op_t *op, run_t *run, int tid, int team,
                       const real *like) noexcept nogil:
    """Take mean and inv from the running statistics."""
    cdef Py_ssize_t first, n
    if columns_of(op.units, tid, team, &first, &n):
        memcpy(at(run, op.mean, like) + first, at(run, op.running_mean, like) + first, n * sizeof(real))
        batchnorm_inverse(at(run, op.running_var, like) + first, n, op.epsilon, at(run, op.inv, like) + first)


cdef void fold(const batchnorm_fold_op_t *op, run_t *run, int tid, int team, const real *like) noexcept nogil:
    """Make scale and shift of the product before batch norm."""
    cdef Py_ssize_t first, n
    if columns_of(op.units, tid, team, &first, &n):
        batchnorm_fold((at(run, op.bias, like) + first) if has(op.bias) else NULL, at(run, op.mean, like) + first,
                       at(run, op.inv, like) + first, at(run, op.gamma, like) + first, at(run, op.beta, like) + first,
                       at(run, op.scale, like) + first, at(run, op.shift, like) + first, n)


cdef void batchnorm_gradients(const batchnorm_backward_sums_op_t *op, run_t *run, int tid, int team,
                              const real *like) noexcept nogil:
    """Compute the gradients of gamma and beta."""
    cdef Py_ssize_t first, n
    if columns_of(op.units, tid, team, &first, &n):
        batchnorm_backward_sums(at(run, op.x, like), op.ldx, at(run, op.d, like), op.ldd, run.batch, first, first + n,
                                at(run, op.mean, like), at(run, op.inv, like), gradient(run, op.gamma, like),
                                gradient(run, op.beta, like))


cdef void update_running(const batchnorm_update_op_t *op, run_t *run, int tid, int team,
                         const real *like) noexcept nogil:
    """running = momentum running + (1 - momentum) batch; nothing from a single row, whose variance nobody knows."""
    cdef Py_ssize_t first, n
    cdef real *mean = at(run, op.running_mean, like)
    cdef real *var = at(run, op.running_var, like)
    if run.batch != 1 and columns_of(op.units, tid, team, &first, &n):
        save(run, BUFFERS, mean + first, n)
        save(run, BUFFERS, var + first, n)
        batchnorm_update(at(run, op.mean, like) + first, at(run, op.var, like) + first, op.momentum, mean + first,
                         var + first, n)
        note_overflow(run, tid, mean + first, n)
        note_overflow(run, tid, var + first, n)


# All operations

cdef void sum_losses(bint metric, run_t *run) noexcept nogil:
    """Sum loss and metric over the batch."""
    run.loss = sum_of(run.row_loss, run.batch)
    run.metric = sum_of(run.row_metric, run.batch) if metric else 0.0
    if not isfinite(run.loss):
        run.bad[0] |= NONFINITE


cdef void run_rows(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int tid, prepacked_t *prepacked,
                   const real *like) noexcept nogil:
    """Run rows i0 .. i1 of a row-wise operation; in a fused group, with kernels that are packed once."""
    cdef gemm_t g
    cdef Py_ssize_t code = op.head.code
    cdef real *scratch = scratch_of(run, tid, like)
    if has_gemm(op, run, &g, like):
        if prepacked != NULL:
            prepack_once(&g, prepacked, <real *> (<char *> scratch + run.prepack_offset),
                         (run.scratch_bytes - run.prepack_offset) // sizeof(real))
        gemm(&g, i0, i1, 0, g.n, scratch)
    elif code == GATHER:
        gather(&op.gather, run, i0, i1, tid, like)
    elif code == BATCHNORM:
        batchnorm(&op.batchnorm, run, i0, i1, like)
    elif code == ACTIVATION:
        activation(&op.activation, run, i0, i1, like)
    elif code == PARAMETRIC:
        parametric(&op.parametric, run, i0, i1, scratch)
    elif code == DROPOUT:
        dropout(&op.dropout, run, <unsigned int> op.head.layer, i0, i1, like)
    elif code == SOFTMAX:
        softmax_forward(at(run, op.softmax.x, like) + i0 * op.softmax.ldx, op.softmax.ldx,
                        at(run, op.softmax.a, like) + i0 * op.softmax.lda, op.softmax.lda, i1 - i0, op.softmax.units)
    elif code == ADD:
        add_rows(&op.add, run, i0, i1, like)
    elif code == LAYERNORM:
        layernorm_rows(&op.layernorm, run, i0, i1, like)
    elif code == LAYERNORM_BACKWARD:
        layernorm_backward_rows(&op.layernorm_backward, run, i0, i1, like)
    elif code == NOISE:
        noise_rows(&op.noise, run, i0, i1, like)
    elif code == UNIT_NORM:
        unit_norm_rows(&op.unit_norm, run, i0, i1, like)
    elif code == UNIT_NORM_BACKWARD:
        unit_norm_backward_rows(&op.unit_norm_backward, run, i0, i1, like)
    elif code == STANDARDIZE:
        standardize_rows(&op.standardize, run, i0, i1, like)
    elif code == COPY:
        copy_rows(&op.copy, run, i0, i1, like)
    elif code == SELECT:
        select_rows(&op.select, run, i0, i1, like)
    elif code == SELECT_BACKWARD:
        select_backward_rows(&op.select_backward, run, i0, i1, like)
    elif code == EMBEDDING:
        embedding_rows(&op.embedding, run, i0, i1, tid, like)
    elif code == LOSS:
        loss(&op.loss, run, i0, i1, like)
    elif code == KEEP_OUTPUT:
        keep_output(&op.keep_output, run, i0, i1, like)
    elif code == ACTIVATION_BACKWARD:
        activation_back(&op.activation_backward, run, i0, i1, like)
    elif code == PARAMETRIC_BACKWARD:
        parametric_back(&op.parametric_backward, run, i0, i1, scratch)
    elif code == DROPOUT_BACKWARD:
        dropout_back(&op.dropout_backward, run, i0, i1, like)
    elif code == SOFTMAX_BACKWARD:
        softmax_back(&op.softmax_backward, run, i0, i1, like)
    elif code == BATCHNORM_BACKWARD:
        batchnorm_back(&op.batchnorm_backward, run, i0, i1, like)


cdef void run_shared(const op_t *op, run_t *run, int tid, int team, Py_ssize_t *claimed,
                     const real *like) noexcept nogil:
    """Run this thread's part of an operation, however that is best cut; `claimed` are the counters of its chunks."""
    cdef Py_ssize_t i0, i1, code = op.head.code
    cdef gemm_t g
    if code == D_KERNEL:
        d_kernel(&op.d_kernel, run, tid, team, claimed, scratch_of(run, tid, like))
    elif code == D_KERNEL_SUM:
        d_kernel_sum(&op.d_kernel, run, tid, team, like)
    elif code == BATCHNORM_STATISTICS:
        take_statistics(&op.batchnorm_statistics, run, tid, team, like)
    elif code == BATCHNORM_RUNNING:
        take_running(&op.batchnorm_running, run, tid, team, like)
    elif code == BATCHNORM_FOLD:
        fold(&op.batchnorm_fold, run, tid, team, like)
    elif code == BATCHNORM_BACKWARD_SUMS:
        batchnorm_gradients(&op.batchnorm_backward_sums, run, tid, team, like)
    elif code == BATCHNORM_UPDATE:
        update_running(&op.batchnorm_update, run, tid, team, like)
    elif code == LAYERNORM_SUMS:
        layernorm_gradients(&op.layernorm_sums, run, tid, team, like)
    elif code == COLUMN_FACTORS:
        factor_columns(&op.column_factors, run, tid, team, like)
    elif code == EMBEDDING_SUMS:
        embedding_gradient(&op.embedding_sums, run, tid, team, like)
    elif code == SGD or code == ADAM or code == TRACED_UPDATE:
        update_chunks(op, run, chunks_of(claimed, tid, team), like)
    elif code == CHECK:
        check_chunks(&op.check, run, chunks_of(claimed, tid, team), like)
    elif code == AVERAGE:
        update_averages(&op.average, run, tid, team, like)
    elif code == CLIP_VALUE:
        clip_values_of(&op.clip, run, tid, team, like)
    elif code == SQUARED_NORM:
        sum_squares(&op.clip, run, tid, team, like)
    elif code == CLIP_NORM:
        clip_norms(&op.clip, run, tid, team, like)
    elif code == LOSS_SUM:
        if tid == 0:
            sum_losses(op.loss_sum.metric, run)
    elif code == PARAMETRIC_SUMS:
        sum_slopes(&op.parametric_sums, run, tid, team, like)
    elif code == PENALTY:
        penalize(&op.penalty, run, tid, team, like)
    elif code == PENALTY_SUM:
        if tid == 0:
            penalty_sum(&op.penalty_sum, run, like)
    elif code == ABORT_IF_NONFINITE:
        return
    elif has_gemm(op, run, &g, like):
        gemm_chunks(&g, chunks_of(claimed, tid, team), scratch_of(run, tid, like))
    else:
        share(run.batch, 1, tid, team, &i0, &i1)
        run_rows(op, run, i0, i1, tid, NULL, like)


cdef Py_ssize_t scratch_bytes(const op_t *op, Py_ssize_t rows, const real *like) noexcept nogil:
    """Return the bytes of scratch that a thread needs for an operation on so many rows."""
    cdef Py_ssize_t code = op.head.code
    if code == DENSE:
        return scratch_size(rows, op.dense.units, op.dense.inputs, like) * sizeof(real)
    elif code == D_INPUT:
        return scratch_size(rows, op.d_input.inputs, op.d_input.units, like) * sizeof(real)
    elif code == D_KERNEL:
        return scratch_size(op.d_kernel.inputs, op.d_kernel.units, rows, like) * sizeof(real)
    elif code == PARAMETRIC:
        return parametric_scratch(op.parametric.units, op.parametric.n_parameters) * sizeof(real)
    elif code == PARAMETRIC_BACKWARD:
        return parametric_scratch(op.parametric_backward.units, op.parametric_backward.n_parameters) * sizeof(real)
    return 0


cdef Py_ssize_t prepack_bytes(const op_t *op, run_t *run, const real *like) noexcept nogil:
    """Return the bytes of the kernel that a thread packs once in a fused group, at most."""
    cdef gemm_t g
    return prepacked_size(&g, like) * sizeof(real) if op.head.fused and has_gemm(op, run, &g, like) else 0
