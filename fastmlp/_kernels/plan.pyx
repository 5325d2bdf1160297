"""Runs the operations of a plan: whole steps and whole epochs, without the GIL, in one parallel region each step."""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from .gradients cimport most_blocks as blocks_at_most
from .operands cimport ARENAS, SHIFT, op_t
from .passes cimport kept_bytes, scratch_bytes
from .pieces cimport APART
from .random cimport permutation
from .simd cimport has_openmp
from .team cimport regimes, run_ops, start
from .trial cimport now
from . cimport activations, losses, operands, penalties


cdef enum:
    KEPT = 384 << 10     # bytes of kernels, copied, that a member of a team may keep on a walk: they should stay in its L2


cdef class Run:
    """The operations of a plan together with the memory they work on; one caller at a time.

    `ops` is a structured array of the fields of op_t, `table` row offsets, `counters` the network's steps and the
    optimizer's, which a step that is kept counts up in the same call; all are kept alive here.
    """
    def __cinit__(self, ops, table, counters, Py_ssize_t capacity, bint double_precision):
        PyObject_GetBuffer(ops, &self.ops_view, PyBUF_STRIDES)
        PyObject_GetBuffer(table, &self.table_view, PyBUF_STRIDES)
        PyObject_GetBuffer(counters, &self.counters_view, PyBUF_STRIDES)
        self.counters = <Py_ssize_t *> self.counters_view.buf
        if self.ops_view.itemsize != sizeof(op_t):
            raise ValueError("operations of another version of fastmlp")
        self.ops = <op_t *> self.ops_view.buf
        self.n_ops = self.ops_view.shape[0]
        self.run.table = <const Py_ssize_t *> self.table_view.buf
        self.capacity = capacity
        self.double_precision = double_precision
        self.run.x_starts = <Py_ssize_t *> calloc(max(capacity, 1), sizeof(Py_ssize_t))
        self.run.row_loss = <double *> calloc(max(capacity, 1), sizeof(double))
        self.run.row_metric = <double *> calloc(max(capacity, 1), sizeof(double))
        if self.run.x_starts == NULL or self.run.row_loss == NULL or self.run.row_metric == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef int k
        free(self.run.x_starts)
        free(self.run.row_loss)
        free(self.run.row_metric)
        free(self.run.bad)
        free(self.run.taken)
        free(self.raw_scratch)
        for k in range(ARENAS):
            if self.bound[k]:
                PyBuffer_Release(&self.views[k])
        if self.has_index:
            PyBuffer_Release(&self.index_view)
        if self.ops_view.obj is not None:
            PyBuffer_Release(&self.ops_view)
        if self.table_view.obj is not None:
            PyBuffer_Release(&self.table_view)
        if self.counters_view.obj is not None:
            PyBuffer_Release(&self.counters_view)

    def bind(self, int arena, array):
        """Points an arena at an array (None: at nothing). Rows may be strided, numbers in a row not."""
        if self.bound[arena]:
            PyBuffer_Release(&self.views[arena])
            self.bound[arena] = False
        self.run.base[arena] = NULL
        if array is None:
            return
        PyObject_GetBuffer(array, &self.views[arena], PyBUF_STRIDES)
        self.bound[arena] = True
        self.run.base[arena] = self.views[arena].buf
        self.run.ld[arena] = self.views[arena].strides[0] // self.views[arena].itemsize

    def bind_index(self, array):
        """The order of rows (int64, contiguous)."""
        if self.has_index:
            PyBuffer_Release(&self.index_view)
            self.has_index = False
        PyObject_GetBuffer(array, &self.index_view, PyBUF_STRIDES)
        self.has_index = True

    cdef Py_ssize_t scratch_of(self, const op_t *op) noexcept nogil:
        if self.double_precision:
            return scratch_bytes(op, self.capacity, <const double *> NULL)
        return scratch_bytes(op, self.capacity, <const float *> NULL)

    cdef Py_ssize_t kept_of(self, const op_t *op) noexcept nogil:
        if self.double_precision:
            return kept_bytes(op, &self.run, <const double *> NULL)
        return kept_bytes(op, &self.run, <const float *> NULL)

    cdef void size_scratch(self) noexcept nogil:
        """What a member needs for one operation at a time, and room for what it keeps."""
        cdef Py_ssize_t i, kept = 0, batch = self.run.batch
        self.run.batch = self.capacity
        self.run.kept_at = 64
        for i in range(self.n_ops):
            self.run.kept_at = max(self.run.kept_at, (self.scratch_of(&self.ops[i]) + 63) // 64 * 64)
            kept += self.kept_of(&self.ops[i])
        self.run.scratch_bytes = self.run.kept_at + (min(kept, <Py_ssize_t> KEPT) + 63) // 64 * 64
        self.run.batch = batch

    cdef int prepare(self, int threads) except -1:
        """Scratch and flags for a team."""
        if threads > self.scratch_threads:
            free(self.raw_scratch)
            free(self.run.bad)
            free(self.run.taken)
            self.scratch_threads = 0
            self.size_scratch()
            self.raw_scratch = malloc(threads * self.run.scratch_bytes + 64)
            self.run.bad = <Py_ssize_t *> calloc(threads, sizeof(Py_ssize_t))
            self.run.taken = <Py_ssize_t *> calloc(threads * self.n_ops * APART, sizeof(Py_ssize_t))
            if self.raw_scratch == NULL or self.run.bad == NULL or self.run.taken == NULL:
                raise MemoryError()
            self.run.scratch = <char *> self.raw_scratch + (64 - <size_t> self.raw_scratch % 64) % 64
            self.scratch_threads = threads
        memset(self.run.bad, 0, threads * sizeof(Py_ssize_t))
        return 0

    cdef void go(self, Py_ssize_t first, Py_ssize_t last, int threads) noexcept nogil:
        if self.double_precision:
            run_ops(&self.ops[first], last - first, &self.run, threads, &self.trial, <const double *> NULL)
        else:
            run_ops(&self.ops[first], last - first, &self.run, threads, &self.trial, <const float *> NULL)

    cdef void open(self, const Py_ssize_t *index, Py_ssize_t batch) noexcept nogil:
        """Opens a step over the rows that `index` names."""
        self.run.index = index
        self.run.batch = batch
        self.run.step = self.counters[0]
        self.run.iteration = self.counters[1] + 1
        if self.double_precision:
            start(&self.run, <const double *> NULL)
        else:
            start(&self.run, <const float *> NULL)

    def begin(self, Py_ssize_t offset, Py_ssize_t batch, seed, double learning_rate=0.0):
        """Opens a step over `batch` rows, from `offset` in the order on."""
        if batch > self.capacity or not self.has_index or offset + batch > self.index_view.shape[0]:
            raise ValueError(f"batch of {batch} rows from {offset} exceeds the plan's {self.capacity}")
        self.run.seed = seed
        self.run.learning_rate = learning_rate
        with nogil:
            self.open(<const Py_ssize_t *> self.index_view.buf + offset, batch)

    cdef bint finite(self, int threads) noexcept nogil:
        """Whether no member of the team has met a number that is not."""
        cdef Py_ssize_t k
        for k in range(threads):
            if self.run.bad[k]:
                return False
        return True

    cdef void count(self) noexcept nogil:
        self.counters[0] += 1
        self.counters[1] += 1

    def execute(self, Py_ssize_t first, Py_ssize_t last, int threads, bint counts=False):
        """Operations first .. last, one run of compiled ones; False if a number that is not finite stopped them.

        `counts` if they complete a step."""
        if not 0 <= first <= last <= self.n_ops:
            raise IndexError(f"operations {first} .. {last} of {self.n_ops}")
        self.prepare(threads)
        with nogil:
            self.go(first, last, threads)
        if not self.finite(threads):
            return False
        if counts:
            self.count()
        return True

    def timed(self, Py_ssize_t first, Py_ssize_t last, int threads):
        """Seconds that operations first .. last take, one run of compiled ones; what is not finite is let through."""
        cdef double begun
        if not 0 <= first <= last <= self.n_ops:
            raise IndexError(f"operations {first} .. {last} of {self.n_ops}")
        self.prepare(threads)
        with nogil:
            begun = now()
            self.go(first, last, threads)
            begun = now() - begun
        return begun

    def regimes(self, Py_ssize_t first, Py_ssize_t last, Py_ssize_t batch, int threads, Py_ssize_t[::1] walks,
                Py_ssize_t[::1] members):
        """How a run of compiled operations goes over so many rows: which walk, and how many members take part."""
        cdef run_t like = self.run
        if not 0 <= first < last <= min(self.n_ops, walks.shape[0], members.shape[0]):
            raise IndexError(f"operations {first} .. {last} of {self.n_ops}")
        like.batch = batch
        regimes(&self.ops[first], last - first, &like, threads, &walks[first], &members[first])

    def epoch(self, Py_ssize_t first, Py_ssize_t last, Py_ssize_t offset, Py_ssize_t end, Py_ssize_t batch_size, seed,
              const double[::1] learning_rates, int threads, double[::1] totals, double seconds=0.1,
              bint evaluating=False):
        """Steps over offset .. end of the order, until done or for `seconds`.

        Returns the row reached and whether all was finite; totals (loss, metric, weight) are added to. An evaluation
        counts no steps, and lets NaN through."""
        cdef Py_ssize_t done = 0
        cdef bint fine = True
        cdef double deadline
        if batch_size > self.capacity or end > self.index_view.shape[0] or not self.has_index:
            raise ValueError(f"batches of {batch_size} rows exceed the plan's {self.capacity}")
        self.prepare(threads)
        self.run.seed = seed
        with nogil:
            deadline = now() + seconds
            while offset < end and fine:
                self.open(<const Py_ssize_t *> self.index_view.buf + offset, min(batch_size, end - offset))
                if self.run.weight == 0.0:      # no row of this batch counts: there is no step
                    offset += self.run.batch
                    continue
                self.run.learning_rate = learning_rates[done]
                self.go(first, last, threads)
                fine = evaluating or self.finite(threads)
                if fine:
                    totals[0] += self.run.loss
                    totals[1] += self.run.metric
                    totals[2] += self.run.weight
                    offset += self.run.batch
                    if not evaluating:
                        self.count()
                    done += 1
                if now() > deadline:
                    break
        return offset, fine

    @property
    def loss(self):
        """Sum of the weighted losses of the batch."""
        return self.run.loss

    @loss.setter
    def loss(self, double value):
        self.run.loss = value

    @property
    def metric(self):
        return self.run.metric

    @property
    def weight(self):
        """Sum of the weights of the batch."""
        return self.run.weight


cdef op_t template
memset(&template, 0, sizeof(template))


def op_template():
    """One empty operation, from which NumPy reads the fields of the C struct."""
    return <op_t[:1]> &template


def shuffle(Py_ssize_t[::1] order, seed, Py_ssize_t epoch):
    """order = a permutation of 0 .. n - 1, keyed by seed and epoch."""
    cdef unsigned long long key = seed
    cdef Py_ssize_t n = order.shape[0]
    if n:
        with nogil:
            permutation(&order[0], n, key, <unsigned long long> epoch)


def most_blocks(Py_ssize_t capacity):
    """Blocks, each with gradients of its own, of a batch of so many rows or fewer."""
    return blocks_at_most(capacity)


def openmp():
    """Whether this build has OpenMP."""
    return has_openmp()


# The numbers behind the names that lowering uses.
CODES = {
    "gather": operands.GATHER, "dense": operands.DENSE,
    "batchnorm_statistics": operands.BATCHNORM_STATISTICS, "batchnorm_running": operands.BATCHNORM_RUNNING,
    "batchnorm_fold": operands.BATCHNORM_FOLD, "batchnorm": operands.BATCHNORM, "activation": operands.ACTIVATION,
    "dropout": operands.DROPOUT, "softmax": operands.SOFTMAX, "loss": operands.LOSS, "loss_sum": operands.LOSS_SUM,
    "softmax_backward": operands.SOFTMAX_BACKWARD, "activation_backward": operands.ACTIVATION_BACKWARD,
    "dropout_backward": operands.DROPOUT_BACKWARD, "batchnorm_backward_sums": operands.BATCHNORM_BACKWARD_SUMS,
    "batchnorm_backward": operands.BATCHNORM_BACKWARD, "d_kernel": operands.D_KERNEL, "d_input": operands.D_INPUT,
    "check": operands.CHECK, "sgd": operands.SGD, "adam": operands.ADAM, "batchnorm_update": operands.BATCHNORM_UPDATE,
    "python": operands.PYTHON, "gate": operands.GATE, "sweep": operands.SWEEP, "learned": operands.LEARNED,
    "learned_backward": operands.LEARNED_BACKWARD, "learned_sums": operands.LEARNED_SUMS,
    "penalty": operands.PENALTY, "penalty_sum": operands.PENALTY_SUM, "d_kernel_sum": operands.D_KERNEL_SUM,
}
ARENA = {
    "parameters": operands.PARAMETERS, "gradients": operands.GRADIENTS, "state": operands.STATE, "buffers": operands.BUFFERS,
    "work": operands.WORK, "x": operands.X, "target": operands.TARGET, "weight": operands.WEIGHT, "out": operands.OUT,
}
ACTIVATIONS = {
    "identity": activations.IDENTITY, "relu": activations.RELU, "leaky_relu": activations.LEAKY_RELU,
    "sigmoid": activations.SIGMOID, "tanh": activations.TANH, "exponential": activations.EXPONENTIAL,
    "sin": activations.SIN, "cos": activations.COS, "relu_by_sign": activations.RELU_BY_SIGN,
}
EXTENSION = activations.EXTENSION     # the kind of what is no kernel of ours
LOSSES = {
    "half_squared_error": losses.HALF_SQUARED_ERROR, "mean_squared_error": losses.MEAN_SQUARED_ERROR,
    "sparse_softmax_crossentropy": losses.SPARSE_SOFTMAX_CROSSENTROPY,
    "softmax_crossentropy": losses.SOFTMAX_CROSSENTROPY, "sigmoid_crossentropy": losses.SIGMOID_CROSSENTROPY,
    "sparse_crossentropy": losses.SPARSE_CROSSENTROPY, "crossentropy": losses.CROSSENTROPY,
    "binary_crossentropy": losses.BINARY_CROSSENTROPY,
}
PROGRAM = losses.PROGRAM              # the kind of what is recorded
METRICS = {
    "sparse": losses.SPARSE_ACCURACY, "categorical": losses.CATEGORICAL_ACCURACY, "binary": losses.BINARY_ACCURACY,
}
REFERENCE_SHIFT = SHIFT
CHUNK = penalties.CHUNK
