"""Runs the operations of a plan: whole steps and whole epochs, without the GIL, in one parallel region a step."""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memset

from ..concurrency cimport thread_count   # compiled once for all levels, in the package above
from .plan_autotune cimport now
from .plan_chunks cimport STRIDE
from .plan_dense cimport most_blocks as blocks_at_most
from .plan_dispatch cimport prepack_bytes, scratch_bytes
from .nn_optimizers cimport LARGE, NONFINITE, OVERFLOW
from .plan_ops cimport KEPT, N_ARENAS, NONE, TARGET, WEIGHT, X, op_t, ref_t, run_t
from .plan_schedule cimport run_ops, schedule, start
from .plan_update cimport SEGMENT, is_update, n_hyper, restore_update, state_in_range
from .random cimport permutation
from .simd cimport has_openmp, most_threads, openmp_code

cdef enum:
    PREPACK_BYTES = 384 << 10    # of packed kernels that a thread keeps for a fused group: they should stay in its L2


cdef class Run:
    """The operations of a plan together with the memory they work on; one caller at a time.

    Parameters
    ----------
    ops : ndarray of uint8 ``(n, RECORD_BYTES)``
        Operations, laid out as the table in `plan_ops` says.
    table : ndarray of int64
        Row offsets, segments and parameters of activations, by the operations' indices.
    counters : ndarray of int64 ``(4,)``
        Steps of the network and of the optimizer, and epochs: a step counts up in the same call that commits it. The
        last is not 0 where others than updates may have written the optimizer's state.
    capacity : int
        Rows of the largest batch.
    double_precision : bool

    Attributes
    ----------
    n_hyper : int
        The least length of a vector of hyper-parameters.
    large : bool
        Whether the update of the step at hand might give NaN or infinity, so that it must be guarded.
    overflow : int
        A reference to the first number that a guarded update would have made NaN or infinite.

    Notes
    -----
    The arrays are kept alive.
    """
    def __cinit__(self, ops, table, counters, Py_ssize_t capacity, bint double_precision):
        PyObject_GetBuffer(ops, &self.ops_view, PyBUF_STRIDES)
        PyObject_GetBuffer(table, &self.table_view, PyBUF_STRIDES)
        PyObject_GetBuffer(counters, &self.counters_view, PyBUF_STRIDES)
        self.counters = <Py_ssize_t *> self.counters_view.buf
        if (self.ops_view.ndim != 2 or self.ops_view.shape[1] != sizeof(op_t) or self.ops_view.strides[1] != 1
                or self.ops_view.strides[0] != sizeof(op_t)):
            raise ValueError(f"ops: expected a contiguous array of bytes, {sizeof(op_t)} for each operation")
        self.ops = <op_t *> self.ops_view.buf
        self.n_ops = self.ops_view.shape[0]
        self.run.table = <const Py_ssize_t *> self.table_view.buf
        self.capacity = capacity
        self.double_precision = double_precision
        self.size_hyper()
        self.run.x_offsets = <Py_ssize_t *> calloc(max(capacity, 1), sizeof(Py_ssize_t))
        self.run.row_loss = <double *> calloc(max(capacity, 1), sizeof(double))
        self.run.row_metric = <double *> calloc(max(capacity, 1), sizeof(double))
        self.run.hyper = self.no_hyper = <double *> calloc(self.n_hyper + 1, sizeof(double))
        if (self.run.x_offsets == NULL or self.run.row_loss == NULL or self.run.row_metric == NULL
                or self.no_hyper == NULL):
            raise MemoryError()

    def __dealloc__(self):
        cdef int k
        free(self.run.x_offsets)
        free(self.run.row_loss)
        free(self.run.row_metric)
        free(self.no_hyper)
        free(self.run.bad)
        free(self.run.claimed)
        free(self.raw_scratch)
        for k in range(N_ARENAS):
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
        if not 0 <= arena < N_ARENAS:
            raise IndexError(f"arena {arena} of {N_ARENAS}")
        self.point(arena, array)

    def bind_data(self, x, y, weight, order):
        """Point at a caller's arrays, and set the order of their rows (int64, contiguous)."""
        self.point(X, x)
        self.point(TARGET, y)
        self.point(WEIGHT, weight)
        if self.has_index:
            PyBuffer_Release(&self.index_view)
            self.has_index = False
        PyObject_GetBuffer(order, &self.index_view, PyBUF_STRIDES)
        self.has_index = True

    def unbind_data(self):
        """Let go of a caller's arrays; the order of rows stays."""
        cdef int arena
        for arena in range(X, KEPT + 1):     # data, and where outputs go
            self.point(arena, None)

    cdef int point(self, int arena, array) except -1:
        if self.bound[arena]:
            PyBuffer_Release(&self.views[arena])
            self.bound[arena] = False
        self.run.base[arena] = NULL
        if array is None:
            return 0
        PyObject_GetBuffer(array, &self.views[arena], PyBUF_STRIDES)
        self.bound[arena] = True
        self.run.base[arena] = self.views[arena].buf
        self.run.ld[arena] = self.views[arena].strides[0] // self.views[arena].itemsize
        return 0

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

    cdef void size_hyper(self) noexcept nogil:
        """Find how many hyper-parameters the segments of all updates read."""
        cdef const op_t *op
        cdef Py_ssize_t i, k
        for i in range(self.n_ops):
            op = &self.ops[i]
            if is_update(op):
                for k in range(op.update.n_segments):
                    self.n_hyper = max(self.n_hyper,
                                       self.run.table[op.update.segments + SEGMENT * k + 2] + n_hyper(op))

    cdef int prepare(self, int threads) except -1:
        """Make scratch and flags for a team, and clear the flags."""
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
        self.run.state_in_range = self.n_hyper == 0 or self.counters[3] == 0 or self.look_at_state()
        return 0

    cdef bint look_at_state(self) noexcept nogil:
        """Return whether the optimizer's state, which others may have written, is in range."""
        cdef Py_ssize_t i
        cdef bint fine = True
        for i in range(self.n_ops):
            if is_update(&self.ops[i]):
                if self.double_precision:
                    fine &= state_in_range(&self.ops[i], &self.run, <const double *> NULL)
                else:
                    fine &= state_in_range(&self.ops[i], &self.run, <const float *> NULL)
        if fine and self.counters[3] == 1:      # nobody else can write it from now on
            self.counters[3] = 0
        return fine

    cdef void take_back(self, Py_ssize_t first, Py_ssize_t last) noexcept nogil:
        """Put back what guarded updates among operations first .. last wrote."""
        cdef Py_ssize_t i
        cdef ref_t found
        self.overflow = NONE
        for i in range(first, last):
            if self.double_precision:
                found = restore_update(&self.ops[i], &self.run, <const double *> NULL)
            else:
                found = restore_update(&self.ops[i], &self.run, <const float *> NULL)
            if self.overflow == NONE:
                self.overflow = <Py_ssize_t> found

    cdef void go(self, Py_ssize_t first, Py_ssize_t last, int threads) noexcept nogil:
        """Run operations first .. last."""
        if self.double_precision:
            run_ops(&self.ops[first], last - first, &self.run, threads, &self.tuner, <const double *> NULL)
        else:
            run_ops(&self.ops[first], last - first, &self.run, threads, &self.tuner, <const float *> NULL)

    cdef void open(self, const Py_ssize_t *index, Py_ssize_t batch) noexcept nogil:
        """Begin a step over the rows that `index` names."""
        self.large = False
        self.run.index = index
        self.run.batch = batch
        self.run.step = self.counters[0]
        self.run.iteration = self.counters[1] + 1
        if self.double_precision:
            start(&self.run, <const double *> NULL)
        else:
            start(&self.run, <const float *> NULL)

    cdef int check_rows(self, Py_ssize_t offset, Py_ssize_t end, Py_ssize_t batch, Py_ssize_t kept_row) except -1:
        """Check that batches of these rows of the order exist, and have room where outputs are kept."""
        if batch > self.capacity:
            raise ValueError(f"batches of {batch} rows exceed the plan's {self.capacity}")
        if not self.has_index or not 0 <= offset or end > self.index_view.shape[0]:
            raise ValueError(f"rows {offset} .. {end} exceed the order that is bound")
        if self.bound[KEPT] and not 0 <= kept_row <= self.views[KEPT].shape[0] - (end - offset):
            raise ValueError(f"no room for {end - offset} outputs from row {kept_row} on")
        return 0

    def begin(self, Py_ssize_t offset, Py_ssize_t batch, seed, const double[::1] hyper=None, Py_ssize_t kept_row=0):
        """Begin a step over `batch` rows, from `offset` in the order on.

        Parameters
        ----------
        offset, batch, seed : int
        hyper : ndarray of float64, optional
            Hyper-parameters of the step, kept alive; without it they are 0, which is for runs that update nothing.
        kept_row : int
            Where the outputs of the batch go in the arena "kept".
        """
        self.check_rows(offset, offset + batch, batch, kept_row)
        if hyper is not None and hyper.shape[0] < self.n_hyper:
            raise ValueError(f"hyper: expected at least {self.n_hyper} numbers, got {hyper.shape[0]}")
        self.hyper, self.run.hyper = None, self.no_hyper
        if hyper is not None and hyper.shape[0] > 0:
            self.hyper, self.run.hyper = hyper.base, &hyper[0]
        self.run.seed = seed
        self.run.kept_row = kept_row
        with nogil:
            self.open(<const Py_ssize_t *> self.index_view.buf + offset, batch)

    cdef Py_ssize_t findings(self, Py_ssize_t first, Py_ssize_t last, int threads) noexcept nogil:
        """Return what the team has noted in a run of these operations; an update that is not finite is taken back."""
        cdef Py_ssize_t k, found = 0
        for k in range(threads):
            found |= self.run.bad[k]
        if found & OVERFLOW:
            self.take_back(first, last)
        return found

    cdef void count(self) noexcept nogil:
        """Count a step."""
        self.counters[0] += 1
        self.counters[1] += 1

    cdef int check_ops(self, Py_ssize_t first, Py_ssize_t last) except -1:
        """Check that these operations exist."""
        if not 0 <= first <= last <= self.n_ops:
            raise IndexError(f"operations {first} .. {last} of {self.n_ops}")
        return 0

    def execute(self, Py_ssize_t first, Py_ssize_t last, int threads, bint counts=False, staged=()):
        """Run operations first .. last, all compiled; return False if a number that is not finite stopped them.

        `counts` if they complete a step: then the values in `staged` are copied too, ``(key, array, value)`` each, with
        no moment between for a signal. An update is guarded if arenas "undo ..." are bound, which is a must where the
        sections before have found `large`.
        """
        cdef Py_ssize_t found
        self.check_ops(first, last)
        self.prepare(threads)
        with nogil:
            self.go(first, last, threads)
            found = self.findings(first, last, threads)
        self.large |= (found & LARGE) != 0
        if found & (NONFINITE | OVERFLOW):
            return False
        for _, array, value in staged:
            array[...] = value
        if counts:
            self.count()
        return True

    def timed(self, Py_ssize_t first, Py_ssize_t last, int threads):
        """Return the seconds that operations first .. last take, all compiled; what is not finite is let through."""
        cdef double begun
        self.check_ops(first, last)
        self.prepare(threads)
        with nogil:
            begun = now()
            self.go(first, last, threads)
            begun = now() - begun
        return begun

    def schedule(self, Py_ssize_t first, Py_ssize_t last, Py_ssize_t batch, int threads, Py_ssize_t[::1] fused,
                 Py_ssize_t[::1] threads_of):
        """Tell how operations first .. last would run over a batch.

        Parameters
        ----------
        first, last : int
            Compiled operations that run without a break.
        batch, threads : int
        fused, threads_of : ndarray of intp
            Written, by the number of the operation: whether it runs in a fused group, and on how many threads.
        """
        cdef run_t like = self.run
        if not 0 <= first < last <= min(self.n_ops, fused.shape[0], threads_of.shape[0]):
            raise IndexError(f"operations {first} .. {last} of {self.n_ops}")
        like.batch = batch
        schedule(&self.ops[first], last - first, &like, threads, &fused[first], &threads_of[first])

    def epoch(self, Py_ssize_t first, Py_ssize_t last, Py_ssize_t offset, Py_ssize_t end, Py_ssize_t batch_size, seed,
              const double[:, ::1] hyper, int threads, double[::1] totals, double seconds=0.1, bint evaluating=False,
              Py_ssize_t kept_from=0):
        """Run steps over offset .. end of the order, until done, for `seconds`, or until `hyper` is used up.

        Parameters
        ----------
        first, last : int
            The operations of a step, all compiled.
        offset, end, batch_size, seed : int
        hyper : ndarray of float64 ``(steps, n_hyper)``, C-contiguous, or None
            A row for each step that is run: batches whose weights sum to 0 are no steps, and take none. None where
            nothing is updated.
        threads : int
        totals : ndarray of float64 ``(3,)``
            Sums of loss, metric and weight are added to it.
        seconds : float
        evaluating : bool
            Count no steps, and let NaN through.
        kept_from : int
            The row of the order whose output goes to row 0 of the arena "kept".

        Returns
        -------
        (offset, fine) : tuple of int and bool
            The row reached, and whether no step was refused: where numbers were not finite, or too large to be sure
            of the update.
        """
        cdef Py_ssize_t done = 0, rows = hyper.shape[0] if hyper is not None else 0
        cdef bint fine = True, updates = not evaluating and self.n_hyper > 0
        cdef double deadline
        self.check_ops(first, last)
        self.check_rows(offset, max(offset, end), batch_size, offset - kept_from)
        if batch_size < 1 or totals.shape[0] < 3:
            raise ValueError("epoch: expected a batch_size of at least 1, and three totals")
        if updates and (hyper is None or hyper.shape[1] < self.n_hyper):
            raise ValueError(f"hyper: expected rows of at least {self.n_hyper} numbers")
        self.prepare(threads)
        self.run.seed = seed
        with nogil:
            deadline = now() + seconds
            while offset < end and fine:
                self.open(<const Py_ssize_t *> self.index_view.buf + offset, min(batch_size, end - offset))
                if self.run.weight == 0.0:      # no row of this batch counts: there is no step
                    offset += self.run.batch
                    continue
                if updates:
                    if done == rows:
                        break
                    self.run.hyper = &hyper[done, 0]
                self.run.kept_row = offset - kept_from
                self.go(first, last, threads)
                fine = evaluating or self.findings(first, last, threads) == 0
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
        self.run.hyper, self.hyper = self.no_hyper, None
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
        """Sum of the weighted metrics of the batch."""
        return self.run.metric

    @property
    def weight(self):
        """Sum of the weights of the batch."""
        return self.run.weight


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


def team():
    """Return how many threads a run gets that the calling thread starts."""
    return thread_count(most_threads())


def openmp_limit():
    """Return how many threads OpenMP allows the calling thread, as `threadpoolctl` and ``omp_set_num_threads`` set it."""
    return most_threads()


def openmp_address():
    """Return where the library of OpenMP lies in memory: an address of its code, or 0 without OpenMP."""
    return openmp_code()


def openmp():
    """Return whether this build has OpenMP."""
    return has_openmp()
