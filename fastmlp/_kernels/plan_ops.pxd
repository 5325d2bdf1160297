"""The operations of a plan as data, and what a run of them works on."""
from libc.stdint cimport uint64_t

from .plan_chunks cimport chunks_t
from .simd cimport barrier_t, real

# Where a reference points: arena << SHIFT | offset in numbers; NONE points nowhere.
cdef enum:
    PARAMETERS = 0
    GRADIENTS = 1        # laid out as the parameters
    STATE = 2            # the optimizer's, slot after slot, each laid out as the parameters
    BUFFERS = 3          # running statistics
    WORK = 4             # activations and what else one batch needs
    X = 5                # the caller's rows, found by index
    TARGET = 6
    WEIGHT = 7
    OUT = 8
    ARENAS = 9
    SHIFT = 48
    NONE = -1

cdef enum:
    GATHER = 0
    DENSE = 1
    BATCHNORM_STATISTICS = 2
    BATCHNORM_RUNNING = 3
    BATCHNORM_FOLD = 4
    BATCHNORM = 5
    ACTIVATION = 6
    DROPOUT = 7
    SOFTMAX = 8
    LOSS = 9
    LOSS_SUM = 10
    SOFTMAX_BACKWARD = 11
    ACTIVATION_BACKWARD = 12
    DROPOUT_BACKWARD = 13
    BATCHNORM_BACKWARD_SUMS = 14
    BATCHNORM_BACKWARD = 15
    D_KERNEL = 16
    D_INPUT = 17
    CHECK = 18
    SGD = 19
    ADAM = 20
    BATCHNORM_UPDATE = 21
    PYTHON = 22          # run by the caller between two runs of compiled operations
    ABORT_IF_NONFINITE = 23            # where all stop if a number was not finite; those before it have met
    SWEEP = 24           # an optimizer's program over the arenas
    LEARNED = 25         # an activation with learned parameters, its derivatives, and their sums over the batch
    LEARNED_BACKWARD = 26
    LEARNED_SUMS = 27
    PENALTY = 28         # a regularizer's program over a parameter and its gradient
    PENALTY_SUM = 29     # of all of them, into the loss
    D_KERNEL_SUM = 30    # of what D_KERNEL made of each block of the batch

cdef struct op_t:
    # Every field has 8 bytes, so that a NumPy structured array is the same memory. Unused references are NONE.
    Py_ssize_t code
    Py_ssize_t kind              # of activation, loss; arrays of state of a sweep; how many parameters are learned
    Py_ssize_t metric
    Py_ssize_t layer             # keys dropout, names the culprit of a NaN
    Py_ssize_t inputs
    Py_ssize_t units
    Py_ssize_t x                 # input, its row stride and its table of row offsets
    Py_ssize_t ldx
    Py_ssize_t starts            # or the table of learned parameters
    Py_ssize_t kernel
    Py_ssize_t bias
    Py_ssize_t z                 # before the activation, kept for the way back
    Py_ssize_t ldz
    Py_ssize_t a                 # output
    Py_ssize_t lda
    Py_ssize_t d                 # gradient of the output
    Py_ssize_t ldd
    Py_ssize_t dx                # gradient of the input
    Py_ssize_t ld_dx
    Py_ssize_t mask              # of dropout, bytes, as dense as a
    Py_ssize_t mean
    Py_ssize_t var
    Py_ssize_t inv
    Py_ssize_t gamma
    Py_ssize_t beta
    Py_ssize_t scale             # batch norm folded into the GEMM's epilogue
    Py_ssize_t shift
    Py_ssize_t running_mean
    Py_ssize_t running_var
    Py_ssize_t extension         # address of what a foreign activation, loss or optimizer consists of
    Py_ssize_t size              # numbers in a sweep
    Py_ssize_t slots             # numbers from one slot of optimizer state to the next
    Py_ssize_t flag              # labels, batch statistics, Nesterov, gradients must be finite
    Py_ssize_t walk              # goes row by row: rows that are in cache may go on to the next such operation at once
    Py_ssize_t barrier           # what follows reads what this writes
    double row_cost              # multiply-adds, for a row and once
    double cost
    double slope                 # also what a recorded loss multiplies its sums by; rate is added to them
    double at_zero
    double rate                  # dropout, momentum
    double epsilon
    double beta1
    double beta2

cdef struct run_t:
    void *base[9]
    Py_ssize_t ld[9]             # row stride of what the caller owns: x, target, out
    Py_ssize_t batch
    const Py_ssize_t *index      # rows of x, target and weight in this batch
    const Py_ssize_t *table      # constant row offsets
    Py_ssize_t *x_offsets         # index * ld[X]
    bint gathered                # the index is not one row after the other
    char *scratch                # a piece for each thread
    Py_ssize_t scratch_bytes
    Py_ssize_t prepack_offset           # where in it there is room for what is kept on a walk
    Py_ssize_t *bad              # a flag for each thread
    barrier_t barrier            # where the team meets
    Py_ssize_t *claimed            # counters of pieces, of each operation for each thread
    int cpu                      # the processor of member 0
    double *row_loss
    double *row_metric
    uint64_t seed
    Py_ssize_t step              # counts steps for dropout's masks
    Py_ssize_t iteration         # the optimizer's count of this step, from 1
    double learning_rate
    double loss                  # results: weighted sums over the batch
    double metric
    double weight


cdef inline real *at(const run_t *run, Py_ssize_t ref, const real *like) noexcept nogil:
    """The memory that a reference points to."""
    if ref == NONE:
        return NULL
    return <real *> run.base[ref >> SHIFT] + (ref & ((<Py_ssize_t> 1 << SHIFT) - 1))


cdef inline real *gradient(const run_t *run, Py_ssize_t ref, const real *like) noexcept nogil:
    """The gradient of the parameter that ref points to."""
    if ref == NONE:
        return NULL
    return <real *> run.base[GRADIENTS] + (ref & ((<Py_ssize_t> 1 << SHIFT) - 1))
