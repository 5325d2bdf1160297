"""Runs the operations of a plan: whole steps and whole epochs, without the GIL, in one parallel region a step."""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from .plan_dense cimport most_blocks as blocks_at_most
from .plan_ops cimport ARENAS, SHIFT, op_t
from .plan_dispatch cimport prepack_bytes, scratch_bytes
from .plan_chunks cimport STRIDE
from .random cimport permutation
from .simd cimport has_openmp
from .plan_schedule cimport run_ops, schedule, start
from .plan_autotune cimport now
from . cimport nn_activations, nn_losses, nn_penalties, plan_ops


cdef enum:
    PREPACK_BYTES = 384 << 10    # of packed kernels that a thread keeps for a fused group: they should stay in its L2


cdef class Run:
    """The operations of a plan together with the memory they work on; one caller at a time.

    `ops` is a structured array of the fields of op_t, `table` row offsets, `counters` the network's steps and the
    optimizer's, which a step counts up in the same call that commits it; all are kept alive here.
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
        self.run.x_offsets = <Py_ssize_t *> calloc(max(capacity, 1), sizeof(Py_ssize_t))
        self.run.row_loss = <double *> calloc(max(capacity, 1), sizeof(double))
        self.run.row_metric = <double *> calloc(max(capacity, 1), sizeof(double))
        if self.run.x_offsets == NULL or self.run.row_loss == NULL or self.run.row_metric == NULL:
            raise MemoryError()

    def __dealloc__(self):
        cdef int k
        free(self.run.x_offsets)
        free(self.run.row_loss)
        free(self.run.row_metric)
        free(self.run.bad)
        free(self.run.claimed)
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
        """Point an arena at an array (None: at nothing). Rows may be strided, numbers in a row not."""
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
        """Set the order of rows (int64, contiguous)."""
        if self.has_index:
            PyBuffer_Release(&self.index_view)
            self.has_index = False
        PyObject_GetBuffer(array, &self.index_view, PyBUF_STRIDES)
        self.has_index = True

    cdef Py_ssize_t scratch_of(self, const op_t *op) noexcept nogil:
        if self.double_precision:
            return scratch_bytes(op, self.capacity, <const double *> NULL)
        return scratch_bytes(op, self.capacity, <const float *> NULL)

    cdef Py_ssize_t prepack_of(self, const op_t *op) noexcept nogil:
        if self.double_precision:
            return prepack_bytes(op, &self.run, <const double *> NULL)
        return prepack_bytes(op, &self.run, <const float *> NULL)

    cdef void size_scratch(self) noexcept nogil:
        """Find how much a thread needs for one operation at a time, and for kernels that it packs once."""
        cdef Py_ssize_t i, prepacked = 0, batch = self.run.batch
        self.run.batch = self.capacity
        self.run.prepack_offset = 64
        for i in range(self.n_ops):
            self.run.prepack_offset = max(self.run.prepack_offset, (self.scratch_of(&self.ops[i]) + 63) // 64 * 64)
            prepacked += self.prepack_of(&self.ops[i])
        self.run.scratch_bytes = self.run.prepack_offset + (min(prepacked, <Py_ssize_t> PREPACK_BYTES) + 63) // 64 * 64
        self.run.batch = batch

    cdef int prepare(self, int threads) except -1:
        """Scratch and flags for a team."""
        if threads > self.scratch_threads:
            free(self.raw_scratch)
            free(self.run.bad)
            free(self.run.claimed)
            self.scratch_threads = 0
            self.size_scratch()
            self.raw_scratch = malloc(threads * self.run.scratch_bytes + 64)
            self.run.bad = <Py_ssize_t *> calloc(threads, sizeof(Py_ssize_t))
            self.run.claimed = <Py_ssize_t *> calloc(threads * self.n_ops * STRIDE, sizeof(Py_ssize_t))
            if self.raw_scratch == NULL or self.run.bad == NULL or self.run.claimed == NULL:
                raise MemoryError()
            self.run.scratch = <char *> self.raw_scratch + (64 - <size_t> self.raw_scratch % 64) % 64
            self.scratch_threads = threads
        memset(self.run.bad, 0, threads * sizeof(Py_ssize_t))
        return 0

    cdef void go(self, Py_ssize_t first, Py_ssize_t last, int threads) noexcept nogil:
        if self.double_precision:
            run_ops(&self.ops[first], last - first, &self.run, threads, &self.tuner, <const double *> NULL)
        else:
            run_ops(&self.ops[first], last - first, &self.run, threads, &self.tuner, <const float *> NULL)

    cdef void open(self, const Py_ssize_t *index, Py_ssize_t batch) noexcept nogil:
        """Begin a step over the rows that `index` names."""
        self.run.index = index
        self.run.batch = batch
        self.run.step = self.counters[0]
        self.run.iteration = self.counters[1] + 1
        if self.double_precision:
            start(&self.run, <const double *> NULL)
        else:
            start(&self.run, <const float *> NULL)

    def begin(self, Py_ssize_t offset, Py_ssize_t batch, seed, double learning_rate=0.0):
        """Begin a step over `batch` rows, from `offset` in the order on."""
        if batch > self.capacity or not self.has_index or offset + batch > self.index_view.shape[0]:
            raise ValueError(f"batch of {batch} rows from {offset} exceeds the plan's {self.capacity}")
        self.run.seed = seed
        self.run.learning_rate = learning_rate
        with nogil:
            self.open(<const Py_ssize_t *> self.index_view.buf + offset, batch)

    cdef bint finite(self, int threads) noexcept nogil:
        """Return whether no thread of the team has met a number that is not finite."""
        cdef Py_ssize_t k
        for k in range(threads):
            if self.run.bad[k]:
                return False
        return True

    cdef void count(self) noexcept nogil:
        self.counters[0] += 1
        self.counters[1] += 1

    def execute(self, Py_ssize_t first, Py_ssize_t last, int threads, bint counts=False):
        """Run operations first .. last, all compiled; return False if a number that is not finite stopped them.

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
        """Return the seconds that operations first .. last take, all compiled; what is not finite is let through."""
        cdef double begun
        if not 0 <= first <= last <= self.n_ops:
            raise IndexError(f"operations {first} .. {last} of {self.n_ops}")
        self.prepare(threads)
        with nogil:
            begun = now()
            self.go(first, last, threads)
            begun = now() - begun
        return begun

    def schedule(self, Py_ssize_t first, Py_ssize_t last, Py_ssize_t batch, int threads, Py_ssize_t[::1] fused,
                 Py_ssize_t[::1] threads_of):
        """Tell how a run of compiled operations goes over so many rows: which are in a fused group, and on how many threads."""
        cdef run_t like = self.run
        if not 0 <= first < last <= min(self.n_ops, fused.shape[0], threads_of.shape[0]):
            raise IndexError(f"operations {first} .. {last} of {self.n_ops}")
        like.batch = batch
        schedule(&self.ops[first], last - first, &like, threads, &fused[first], &threads_of[first])

    def epoch(self, Py_ssize_t first, Py_ssize_t last, Py_ssize_t offset, Py_ssize_t end, Py_ssize_t batch_size, seed,
              const double[::1] learning_rates, int threads, double[::1] totals, double seconds=0.1,
              bint evaluating=False):
        """Run steps over offset .. end of the order, until done or for `seconds`.

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
    """Return one empty operation, from which NumPy reads the fields of the C struct."""
    return <op_t[:1]> &template


def shuffle(Py_ssize_t[::1] order, seed, Py_ssize_t epoch):
    """order = a permutation of 0 .. n - 1, keyed by seed and epoch."""
    cdef unsigned long long key = seed
    cdef Py_ssize_t n = order.shape[0]
    if n:
        with nogil:
            permutation(&order[0], n, key, <unsigned long long> epoch)


def most_blocks(Py_ssize_t capacity):
    """Return how many blocks, each with gradients of its own, a batch of so many rows has at most."""
    return blocks_at_most(capacity)


def openmp():
    """Return whether this build has OpenMP."""
    return has_openmp()


# Names and codes of operations.
CODES = {
    "gather": plan_ops.GATHER, "dense": plan_ops.DENSE,
    "batchnorm_statistics": plan_ops.BATCHNORM_STATISTICS, "batchnorm_running": plan_ops.BATCHNORM_RUNNING,
    "batchnorm_fold": plan_ops.BATCHNORM_FOLD, "batchnorm": plan_ops.BATCHNORM, "activation": plan_ops.ACTIVATION,
    "dropout": plan_ops.DROPOUT, "softmax": plan_ops.SOFTMAX, "loss": plan_ops.LOSS, "loss_sum": plan_ops.LOSS_SUM,
    "softmax_backward": plan_ops.SOFTMAX_BACKWARD, "activation_backward": plan_ops.ACTIVATION_BACKWARD,
    "dropout_backward": plan_ops.DROPOUT_BACKWARD, "batchnorm_backward_sums": plan_ops.BATCHNORM_BACKWARD_SUMS,
    "batchnorm_backward": plan_ops.BATCHNORM_BACKWARD, "d_kernel": plan_ops.D_KERNEL, "d_input": plan_ops.D_INPUT,
    "check": plan_ops.CHECK, "sgd": plan_ops.SGD, "adam": plan_ops.ADAM, "batchnorm_update": plan_ops.BATCHNORM_UPDATE,
    "python": plan_ops.PYTHON, "gate": plan_ops.ABORT_IF_NONFINITE, "sweep": plan_ops.SWEEP,
    "learned": plan_ops.LEARNED,
    "learned_backward": plan_ops.LEARNED_BACKWARD, "learned_sums": plan_ops.LEARNED_SUMS,
    "penalty": plan_ops.PENALTY, "penalty_sum": plan_ops.PENALTY_SUM, "d_kernel_sum": plan_ops.D_KERNEL_SUM,
}
ARENA = {
    "parameters": plan_ops.PARAMETERS, "gradients": plan_ops.GRADIENTS, "state": plan_ops.STATE, "buffers": plan_ops.BUFFERS,
    "work": plan_ops.WORK, "x": plan_ops.X, "target": plan_ops.TARGET, "weight": plan_ops.WEIGHT, "out": plan_ops.OUT,
}
ACTIVATIONS = {
    "identity": nn_activations.IDENTITY, "relu": nn_activations.RELU, "leaky_relu": nn_activations.LEAKY_RELU,
    "sigmoid": nn_activations.SIGMOID, "tanh": nn_activations.TANH, "exponential": nn_activations.EXPONENTIAL,
    "sin": nn_activations.SIN, "cos": nn_activations.COS, "relu_by_sign": nn_activations.RELU_BY_SIGN,
}
EXTENSION = nn_activations.EXTENSION     # no kernel of ours: a traced program or a native function
LOSSES = {
    "half_squared_error": nn_losses.HALF_SQUARED_ERROR, "mean_squared_error": nn_losses.MEAN_SQUARED_ERROR,
    "sparse_softmax_crossentropy": nn_losses.SPARSE_SOFTMAX_CROSSENTROPY,
    "softmax_crossentropy": nn_losses.SOFTMAX_CROSSENTROPY, "sigmoid_crossentropy": nn_losses.SIGMOID_CROSSENTROPY,
    "sparse_crossentropy": nn_losses.SPARSE_CROSSENTROPY, "crossentropy": nn_losses.CROSSENTROPY,
    "binary_crossentropy": nn_losses.BINARY_CROSSENTROPY,
}
PROGRAM = nn_losses.PROGRAM              # no kernel of ours: a traced program
METRICS = {
    "sparse": nn_losses.SPARSE_ACCURACY, "categorical": nn_losses.CATEGORICAL_ACCURACY, "binary": nn_losses.BINARY_ACCURACY,
}
REFERENCE_SHIFT = SHIFT
CHUNK = nn_penalties.CHUNK
