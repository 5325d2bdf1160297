"""The operations of a plan as data: a struct for each, and what a run of them works on.

A plan's operations are an array of `op_t`, a union of these structs, all of which begin with `head_t`. Every member has
8 bytes, so that `plan_ops.pyx` can hand the layout over to NumPy. A row of the batch lies `ld...` numbers after the one
before.
"""
from libc.stdint cimport uint64_t

from .simd cimport barrier_t, real

# A reference to memory, arena << SHIFT | offset in numbers, or an index that may be absent: NONE where a plan leaves it
# out. Unsigned only so that `plan_ops.pyx` can tell references from other integers.
ctypedef size_t ref_t

cdef enum:
    PARAMETERS = 0
    GRADIENTS = 1        # laid out as the parameters
    STATE = 2            # of the optimizer, slot after slot, each laid out as the parameters
    BUFFERS = 3          # running statistics
    WORK = 4             # activations and what else one batch needs
    X = 5                # the caller's rows, found by index
    TARGET = 6
    WEIGHT = 7
    OUT = 8
    KEPT = 9             # outputs that an epoch keeps
    UNDO = 10            # UNDO + an arena: what a guarded update overwrites there; NULL where updates are not guarded
    N_ARENAS = 14

cpdef enum:
    SHIFT = 48
    NONE = -1

cdef enum:
    GATHER
    DENSE
    BATCHNORM_STATISTICS
    BATCHNORM_RUNNING
    BATCHNORM_FOLD
    BATCHNORM
    ACTIVATION
    PARAMETRIC
    DROPOUT
    SOFTMAX
    ADD
    LAYERNORM
    LAYERNORM_BACKWARD
    LAYERNORM_SUMS
    NOISE
    UNIT_NORM
    UNIT_NORM_BACKWARD
    COLUMN_FACTORS
    STANDARDIZE
    COPY
    SELECT
    SELECT_BACKWARD
    EMBEDDING
    EMBEDDING_SUMS
    LOSS
    LOSS_SUM
    KEEP_OUTPUT
    ACTIVATION_BACKWARD
    PARAMETRIC_BACKWARD
    PARAMETRIC_SUMS
    DROPOUT_BACKWARD
    SOFTMAX_BACKWARD
    BATCHNORM_BACKWARD_SUMS
    BATCHNORM_BACKWARD
    D_KERNEL
    D_KERNEL_SUM
    D_INPUT
    PENALTY
    PENALTY_SUM
    CHECK
    ABORT_IF_NONFINITE
    CLIP_VALUE
    SQUARED_NORM
    CLIP_NORM
    BATCHNORM_UPDATE
    SGD
    ADAM
    TRACED_UPDATE
    AVERAGE
    PYTHON

cdef struct head_t:
    Py_ssize_t code
    ref_t layer                     # its index: keys dropout, names the layer in an error
    Py_ssize_t fused                # may run in a fused group with its neighbours
    Py_ssize_t barrier              # what follows reads what this operation writes
    double row_cost                 # multiply-adds, for each row and once
    double cost

cdef struct gather_op_t:
    # a = rows of the caller's x
    head_t head
    ref_t a
    Py_ssize_t lda
    Py_ssize_t units

cdef struct dense_op_t:
    # z = x kernel + bias (or x kernel * scale + shift), a = g(z)
    head_t head
    ref_t x
    Py_ssize_t ldx
    ref_t x_offsets                 # table of row offsets; NONE for the rows of the caller's x
    Py_ssize_t inputs
    Py_ssize_t units
    ref_t kernel
    ref_t bias
    ref_t scale                     # batch norm, folded into the epilogue
    ref_t shift
    ref_t z
    Py_ssize_t ldz
    ref_t a                         # NONE without an activation
    Py_ssize_t lda
    Py_ssize_t activation
    double alpha
    Py_ssize_t extension            # address of an extension_t

cdef struct batchnorm_statistics_op_t:
    # mean, var and inv = 1 / sqrt(var + epsilon) of the batch
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    double epsilon
    ref_t mean
    ref_t var
    ref_t inv

cdef struct batchnorm_running_op_t:
    # mean and inv from the running statistics
    head_t head
    Py_ssize_t units
    double epsilon
    ref_t running_mean
    ref_t running_var
    ref_t mean
    ref_t inv

cdef struct batchnorm_fold_op_t:
    # batch norm as scale and shift of the product before it
    head_t head
    Py_ssize_t units
    ref_t bias
    ref_t mean
    ref_t inv
    ref_t gamma
    ref_t beta
    ref_t scale
    ref_t shift

cdef struct batchnorm_op_t:
    # z = (x - mean) inv gamma + beta, a = g(z)
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t mean
    ref_t inv
    ref_t gamma
    ref_t beta
    ref_t z
    Py_ssize_t ldz
    ref_t a                         # NONE without an activation
    Py_ssize_t lda
    Py_ssize_t activation
    double alpha
    Py_ssize_t extension

cdef struct activation_op_t:
    # a = g(x)
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t a
    Py_ssize_t lda
    Py_ssize_t activation
    double alpha
    Py_ssize_t extension

cdef struct parametric_op_t:
    # a = g(x, p)
    head_t head
    Py_ssize_t units
    Py_ssize_t n_parameters
    Py_ssize_t parameters           # in the table: reference, one per unit or not, slopes, their row stride; each
    Py_ssize_t extension
    ref_t x
    Py_ssize_t ldx
    ref_t a
    Py_ssize_t lda

cdef struct dropout_op_t:
    # a = mask x / (1 - rate)
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t a
    Py_ssize_t lda
    ref_t mask                      # bytes, rows of `units`
    double rate

cdef struct softmax_op_t:
    # a = softmax(x)
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t a
    Py_ssize_t lda

cdef struct add_op_t:
    # a = x + y
    head_t head
    ref_t x
    Py_ssize_t ldx
    ref_t y
    Py_ssize_t ldy
    Py_ssize_t units
    ref_t a
    Py_ssize_t lda

cdef struct layernorm_op_t:
    # z = (x - mean) inv gamma + beta by rows, a = g(z); RMSNorm has neither mean nor beta
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    double epsilon
    ref_t mean                      # a number for each row
    ref_t inv
    ref_t gamma
    ref_t beta
    ref_t z
    Py_ssize_t ldz
    ref_t a                         # NONE without an activation
    Py_ssize_t lda
    Py_ssize_t activation
    double alpha
    Py_ssize_t extension

cdef struct layernorm_backward_op_t:
    # dx by rows
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t mean
    ref_t inv
    ref_t gamma
    ref_t d
    Py_ssize_t ldd
    ref_t dx
    Py_ssize_t ld_dx

cdef struct layernorm_sums_op_t:
    # the gradients of gamma and beta, by columns
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t mean
    ref_t inv
    ref_t gamma
    ref_t beta
    ref_t d
    Py_ssize_t ldd

cdef struct noise_op_t:
    # a = x + stddev n, n standard normal
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t a
    Py_ssize_t lda
    double stddev

cdef struct unit_norm_op_t:
    # a = x inv by rows, inv = 1 / max(norm, epsilon)
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    double epsilon
    ref_t inv                       # a number for each row
    ref_t a
    Py_ssize_t lda

cdef struct unit_norm_backward_op_t:
    # dx = inv (d - a (d . a)) by rows
    head_t head
    ref_t a
    Py_ssize_t lda
    Py_ssize_t units
    double epsilon
    ref_t inv
    ref_t d
    Py_ssize_t ldd
    ref_t dx
    Py_ssize_t ld_dx

cdef struct column_factors_op_t:
    # inv = 1 / max(sqrt(var), epsilon)
    head_t head
    Py_ssize_t units
    double epsilon
    ref_t var
    ref_t inv

cdef struct standardize_op_t:
    # a = (x - mean) inv by columns
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t mean                      # NONE counts as 0
    ref_t inv
    ref_t a
    Py_ssize_t lda

cdef struct copy_op_t:
    # a = x, where a is some columns of other rows, or x is
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    ref_t a
    Py_ssize_t lda

cdef struct select_op_t:
    # a_j = x_c, c being number j of those in the table
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units
    Py_ssize_t columns              # where in the table
    ref_t a
    Py_ssize_t lda

cdef struct select_backward_op_t:
    # dx = 0, then dx_c += d_j
    head_t head
    ref_t d
    Py_ssize_t ldd
    Py_ssize_t units
    Py_ssize_t columns
    Py_ssize_t inputs
    ref_t dx
    Py_ssize_t ld_dx

cdef struct embedding_op_t:
    # a = the rows of embeddings (ids, units) that the `inputs` columns of x name, side by side
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t inputs
    Py_ssize_t ids
    Py_ssize_t units
    ref_t embeddings
    ref_t a
    Py_ssize_t lda

cdef struct embedding_sums_op_t:
    # the gradient of embeddings
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t inputs
    Py_ssize_t ids
    Py_ssize_t units
    ref_t embeddings
    ref_t d
    Py_ssize_t ldd

cdef struct loss_op_t:
    # loss and metric of each row, d = the gradient of their weighted mean
    head_t head
    Py_ssize_t loss
    Py_ssize_t metric
    Py_ssize_t labels               # targets are labels, not rows
    Py_ssize_t probabilities        # rows of targets must lie in [0, 1]
    Py_ssize_t units
    ref_t z                         # logits
    Py_ssize_t ldz
    ref_t a                         # outputs
    Py_ssize_t lda
    ref_t d
    Py_ssize_t ldd
    Py_ssize_t program              # address of a traced loss, whose row is scale times the sum of its terms + shift
    double scale
    double shift

cdef struct loss_sum_op_t:
    # sums over the rows
    head_t head
    Py_ssize_t metric               # whether there is one

cdef struct keep_output_op_t:
    # row i of x goes to row `kept_row + i` of the arena KEPT
    head_t head
    ref_t x
    Py_ssize_t ldx
    Py_ssize_t units

cdef struct activation_backward_op_t:
    # dx = d g'(z)
    head_t head
    Py_ssize_t activation
    double alpha
    double at_zero
    Py_ssize_t extension
    Py_ssize_t units
    ref_t z
    Py_ssize_t ldz
    ref_t a
    Py_ssize_t lda
    ref_t d
    Py_ssize_t ldd
    ref_t dx
    Py_ssize_t ld_dx

cdef struct parametric_backward_op_t:
    # dx = d dg/dz, slopes = d dg/dp
    head_t head
    Py_ssize_t units
    Py_ssize_t n_parameters
    Py_ssize_t parameters
    Py_ssize_t extension
    ref_t z
    Py_ssize_t ldz
    ref_t a
    Py_ssize_t lda
    ref_t d
    Py_ssize_t ldd
    ref_t dx
    Py_ssize_t ld_dx

cdef struct parametric_sums_op_t:
    # gradients of p = sums of slopes over the batch
    head_t head
    Py_ssize_t units
    Py_ssize_t n_parameters
    Py_ssize_t parameters

cdef struct dropout_backward_op_t:
    # dx = mask d / (1 - rate)
    head_t head
    ref_t mask
    double rate
    Py_ssize_t units
    ref_t d
    Py_ssize_t ldd
    ref_t dx
    Py_ssize_t ld_dx

cdef struct softmax_backward_op_t:
    # dx = a (d - sum d a)
    head_t head
    ref_t a
    Py_ssize_t lda
    Py_ssize_t units
    ref_t d
    Py_ssize_t ldd
    ref_t dx
    Py_ssize_t ld_dx

cdef struct batchnorm_backward_sums_op_t:
    # gradients of gamma and beta
    head_t head
    ref_t x
    Py_ssize_t ldx
    ref_t d
    Py_ssize_t ldd
    Py_ssize_t units
    ref_t mean
    ref_t inv
    ref_t gamma
    ref_t beta

cdef struct batchnorm_backward_op_t:
    # dx, from these gradients
    head_t head
    ref_t x
    Py_ssize_t ldx
    ref_t d
    Py_ssize_t ldd
    Py_ssize_t units
    ref_t mean
    ref_t inv
    ref_t gamma
    ref_t beta
    ref_t dx
    Py_ssize_t ld_dx
    Py_ssize_t batch_statistics     # mean and inv are functions of x, not constants

cdef struct d_kernel_op_t:
    # d_kernel = x^T d, d_bias = sum d: of the whole batch, or of each of its blocks, which d_kernel_sum, an operation
    # with the same members, adds up
    head_t head
    ref_t x
    Py_ssize_t ldx
    ref_t x_offsets
    Py_ssize_t inputs
    Py_ssize_t units
    ref_t kernel                    # parameters, whose gradients are written
    ref_t bias
    ref_t d
    Py_ssize_t ldd
    Py_ssize_t checks               # gradients must be finite
    ref_t blocks                    # gradients of each block, NONE for no blocks; ld_blocks numbers a block
    Py_ssize_t ld_blocks

cdef struct d_input_op_t:
    # dx = d kernel^T, times g'(z) of the activation a = g(z) before
    head_t head
    Py_ssize_t inputs
    Py_ssize_t units
    ref_t kernel
    ref_t d
    Py_ssize_t ldd
    Py_ssize_t d_offsets            # table of row offsets
    ref_t dx
    Py_ssize_t ld_dx
    Py_ssize_t activation
    double alpha
    double at_zero
    Py_ssize_t extension
    ref_t z
    Py_ssize_t ldz
    ref_t a                         # laid out as z
    Py_ssize_t lda

cdef struct penalty_op_t:
    # sums = terms of a parameter, chunk by chunk; its gradient += their derivatives
    head_t head
    ref_t parameter
    ref_t sums                      # in double
    Py_ssize_t size
    Py_ssize_t learning             # whether gradients are wanted
    Py_ssize_t program
    double scale

cdef struct penalty_sum_op_t:
    # the loss += n sums and shift
    head_t head
    ref_t sums
    Py_ssize_t n
    double shift

cdef struct check_op_t:
    # notes whether the gradient of a parameter is finite
    head_t head
    ref_t x                         # the parameter
    Py_ssize_t size

cdef struct abort_if_nonfinite_op_t:
    # ends the run if a number was not finite, or the update that follows might give one; all threads have met before
    head_t head
    Py_ssize_t updates              # whether the operation behind it is an update that need not be guarded

cdef struct clip_op_t:
    # clip_value: g = min(max(g, -limit), limit); squared_norm: sums = squares of gradients, chunk by chunk; clip_norm:
    # g = g min(1, limit / norm), the norm of each group by its sums. All go over segments, rows of the table: first
    # and last number of the arena, and the group, whose segments stand one after the other.
    head_t head
    Py_ssize_t size                 # numbers of all segments
    Py_ssize_t segments             # index into the table
    Py_ssize_t n_segments
    ref_t sums                      # in double
    double limit

cdef struct batchnorm_update_op_t:
    # running = momentum running + (1 - momentum) batch
    head_t head
    Py_ssize_t units
    double momentum
    ref_t mean
    ref_t var
    ref_t running_mean
    ref_t running_var

cdef struct update_t:
    # What updates of optimizers have in common. They go over segments of the arenas: a segment is a row of the table,
    # (first, last, hyper), and numbers first .. last are updated with the hyper-parameters from run.hyper[hyper] on.
    head_t head
    Py_ssize_t size                 # numbers of an arena
    Py_ssize_t segments             # index into the table
    Py_ssize_t n_segments
    Py_ssize_t guarded_segments     # the same for guarded updates: without the zeros between two parameters
    Py_ssize_t n_guarded
    Py_ssize_t slot_stride          # numbers from one slot of optimizer state to the next
    Py_ssize_t decay                # parameters are multiplied by hyper[decay] of their segment first; 0: they are not

cdef struct sgd_op_t:
    # hyper: learning_rate, momentum
    update_t update
    Py_ssize_t nesterov
    Py_ssize_t has_velocity

cdef struct adam_op_t:
    # hyper: learning_rate, beta_1, beta_2, epsilon
    update_t update

cdef struct traced_update_op_t:
    # hyper: learning_rate, then the program's scalars after learning rate and step
    update_t update
    ref_t ranges                    # in the table: of the slots, see `state_in_range`; NONE if it must be guarded
    Py_ssize_t program
    Py_ssize_t n_slots

cdef struct average_op_t:
    # average += (1 - momentum) (w - average), over segments as updates have them; every so many steps, w = average
    head_t head
    Py_ssize_t size
    Py_ssize_t segments
    Py_ssize_t n_segments
    Py_ssize_t offset               # of the averages in the state of the optimizer
    Py_ssize_t every                # 0: never
    double momentum

cdef struct python_op_t:
    # run by the caller, between two runs of compiled operations
    head_t head
    Py_ssize_t call

cdef union op_t:
    head_t head
    gather_op_t gather
    dense_op_t dense
    batchnorm_statistics_op_t batchnorm_statistics
    batchnorm_running_op_t batchnorm_running
    batchnorm_fold_op_t batchnorm_fold
    batchnorm_op_t batchnorm
    activation_op_t activation
    parametric_op_t parametric
    dropout_op_t dropout
    softmax_op_t softmax
    add_op_t add
    layernorm_op_t layernorm
    layernorm_backward_op_t layernorm_backward
    layernorm_sums_op_t layernorm_sums
    noise_op_t noise
    unit_norm_op_t unit_norm
    unit_norm_backward_op_t unit_norm_backward
    column_factors_op_t column_factors
    standardize_op_t standardize
    copy_op_t copy
    select_op_t select
    select_backward_op_t select_backward
    embedding_op_t embedding
    embedding_sums_op_t embedding_sums
    loss_op_t loss
    loss_sum_op_t loss_sum
    keep_output_op_t keep_output
    activation_backward_op_t activation_backward
    parametric_backward_op_t parametric_backward
    parametric_sums_op_t parametric_sums
    dropout_backward_op_t dropout_backward
    softmax_backward_op_t softmax_backward
    batchnorm_backward_sums_op_t batchnorm_backward_sums
    batchnorm_backward_op_t batchnorm_backward
    d_kernel_op_t d_kernel
    d_input_op_t d_input
    penalty_op_t penalty
    penalty_sum_op_t penalty_sum
    check_op_t check
    abort_if_nonfinite_op_t abort_if_nonfinite
    clip_op_t clip
    batchnorm_update_op_t batchnorm_update
    update_t update
    sgd_op_t sgd
    adam_op_t adam
    traced_update_op_t traced_update
    average_op_t average
    python_op_t python

cdef struct run_t:
    void *base[N_ARENAS]            # of each arena
    Py_ssize_t ld[N_ARENAS]         # row stride of the caller's: x, target, weight, out, kept
    Py_ssize_t batch
    const Py_ssize_t *index             # rows of x, target and weight in this batch
    const Py_ssize_t *table             # row offsets, segments, trainable parameters of activations
    Py_ssize_t *x_offsets           # index * ld[X]
    bint gathered                   # the index is not one row after the other
    Py_ssize_t kept_row             # where in KEPT the outputs of this batch begin
    char *scratch                   # scratch_bytes for each thread
    Py_ssize_t scratch_bytes
    Py_ssize_t prepack_offset       # where in a thread's scratch the kernels lie that it packs once
    Py_ssize_t *bad                 # for each thread, bits: NONFINITE, LARGE, OVERFLOW
    bint state_in_range             # the optimizer's state is as `stays_finite` needs it
    barrier_t barrier
    Py_ssize_t *claimed             # counters of chunks, for each operation and thread
    int cpu                         # the processor of thread 0
    double *row_loss
    double *row_metric
    uint64_t seed
    Py_ssize_t step                 # counts steps, for dropout's masks
    Py_ssize_t iteration            # the optimizer's count of this step, from 1
    const double *hyper                 # hyper-parameters of this step
    double loss                     # results: weighted sums over the batch
    double metric
    double weight


cdef inline real *at(const run_t *run, ref_t ref, const real *like) noexcept nogil:
    """Return the memory that a reference points to; NULL for NONE."""
    if ref == <ref_t> NONE:
        return NULL
    return <real *> run.base[ref >> SHIFT] + (ref & ((<ref_t> 1 << SHIFT) - 1))


cdef inline real *gradient(const run_t *run, ref_t ref, const real *like) noexcept nogil:
    """Return the gradient of the parameter that a reference points to; NULL for NONE."""
    if ref == <ref_t> NONE:
        return NULL
    return <real *> run.base[GRADIENTS] + (ref & ((<ref_t> 1 << SHIFT) - 1))


cdef inline bint has(ref_t ref) noexcept nogil:
    """Return whether a reference, or an index, is not NONE."""
    return ref != <ref_t> NONE
