"""The fast path: where a call's arguments are the usual ones, no Python runs between it and the kernels.

A fast path looks at the arguments, at the settings and at who else uses the network. If all is as usual, it runs the
plan on the caller's arrays. If anything is not, it returns None and has changed nothing: then the general path, which
is Python, does what there is to do, or says what is wrong.
"""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.dict cimport PyDict_GetItem
from cpython.object cimport PyObject
from cpython.pythread cimport PyThread_get_thread_ident
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from ..concurrency cimport AccessGuard, thread_count   # compiled once for all levels, in the package above
from .plan_ops cimport KEPT, OUT, TARGET, WEIGHT, X
from .plan cimport Run
from .simd cimport most_threads


cdef bint in_place(const Py_buffer *rows, Py_ssize_t columns) noexcept:
    """Return whether the kernels can read rows of `columns` numbers where they are; one number a row may be 1-D."""
    cdef Py_ssize_t size = rows.itemsize
    if rows.ndim == 2:
        if rows.shape[1] != columns or (columns > 1 and rows.strides[1] != size):
            return False
    elif rows.ndim != 1 or columns != 1:
        return False
    return rows.strides[0] % size == 0 and <size_t> rows.buf % size == 0


cdef bint dense(const Py_buffer *rows, Py_ssize_t columns) noexcept:
    """Return whether rows that are `in_place` follow each other without gaps."""
    return rows.shape[0] == 1 or rows.strides[0] == columns * rows.itemsize


cdef bint disjoint(const Py_buffer *x, const Py_buffer *out) noexcept:
    """Return whether no byte from the first to the last of the rows `x` belongs to `out`, which is dense."""
    cdef const char *first = <const char *> x.buf
    cdef const char *last = first + (x.shape[0] - 1) * x.strides[0]
    cdef const char *output = <const char *> out.buf
    return (max(first, last) + x.shape[1] * x.itemsize <= output
            or output + out.shape[0] * out.shape[1] * out.itemsize <= min(first, last))


cdef class FastPath:
    """A plan without Python operations, and what a call must bring to run it directly.

    Parameters
    ----------
    run : Run
        All of its operations are run.
    guard : AccessGuard
    seed : int
    order : ndarray
        0, 1, 2 and so on, for as many rows as the plan takes.
    array : type
        numpy.ndarray; its subclasses may override what is read here, and take the general path.
    dtype : dtype
    inputs, units : int
        Columns of x, and of what the network gives.
    versions : buffer of int64
        Two numbers that change when a setting, or a hyper-parameter, of any object changes.
    refresh : callable
        ``refresh()`` returns whether the plan still matches what is set; it is called after such a change.
    """
    cdef Run run
    cdef AccessGuard guard
    cdef uint64_t seed
    cdef const Py_ssize_t[::1] order
    cdef object array, dtype, refresh
    cdef Py_ssize_t inputs, units
    cdef const int64_t[::1] versions
    cdef int64_t settings, hyperparameters     # the versions under which the plan was last found to match

    def __init__(self, Run run not None, AccessGuard guard not None, seed, order, array, dtype, Py_ssize_t inputs,
                 Py_ssize_t units, const int64_t[::1] versions not None, refresh):
        if versions.shape[0] != 2:
            raise ValueError(f"versions: expected two numbers, got {versions.shape[0]}")
        self.run, self.guard, self.seed, self.order = run, guard, seed, order
        self.array, self.dtype, self.inputs, self.units = array, dtype, inputs, units
        self.versions, self.refresh = versions, refresh
        self.settings, self.hyperparameters = versions[0], versions[1]

    cdef bint is_current(self) except -1:
        """Return whether the plan matches what is set now."""
        cdef int64_t settings = self.versions[0], hyperparameters = self.versions[1]
        if settings == self.settings and hyperparameters == self.hyperparameters:
            return True
        if not self.refresh():
            return False
        self.settings, self.hyperparameters = settings, hyperparameters
        return True

    cdef bint look(self, array, dtype, Py_ssize_t columns, Py_buffer *rows) except -1:
        """Return whether an argument can be read where it is; the caller releases `rows` in any case."""
        if type(array) is not self.array:
            return False
        found = array.dtype
        if found is not dtype and found != dtype:   # one that was unpickled is equal, but not the same
            return False
        PyObject_GetBuffer(array, rows, PyBUF_STRIDES)
        return in_place(rows, columns) and 1 <= rows.shape[0] <= self.order.shape[0]

    cdef void lend(self, int arena, const Py_buffer *rows) noexcept nogil:
        """Point an arena at rows that are held until `close`."""
        self.run.run.base[arena] = rows.buf
        self.run.run.ld[arena] = rows.strides[0] // rows.itemsize

    cdef void open(self, const Py_buffer *x) noexcept nogil:
        """Begin a step over these rows, which have no weights, and whose outputs are not kept."""
        self.lend(X, x)
        self.run.run.base[WEIGHT] = self.run.run.base[KEPT] = NULL
        self.run.run.seed = self.seed
        self.run.open(&self.order[0], x.shape[0])

    cdef void close(self) noexcept nogil:
        """Let go of the caller's arrays."""
        self.run.run.base[X] = self.run.run.base[TARGET] = self.run.run.base[OUT] = NULL
        self.run.run.base[KEPT] = self.run.views[KEPT].buf if self.run.bound[KEPT] else NULL


cdef class TrainFastPath(FastPath):
    """The fast path of ``train_on_batch``: one step without weights.

    Parameters
    ----------
    labels : dtype or None
        int64, where targets are labels.
    metric : str or None
        The name of the compiled metric.
    hyper : ndarray of float64
        Hyper-parameters of a step.
    fill : callable or None
        ``fill(step)`` brings `hyper` up to date where some of it is a function of the step. `refresh` may set it.
    """
    cdef object labels, metric
    cdef public object fill
    cdef dict attributes           # of the optimizer; a change there is seen also where it is made past __setattr__
    cdef tuple names, values
    cdef const double[::1] hyper

    def __init__(self, *common, labels, metric, const double[::1] hyper not None, fill=None):
        FastPath.__init__(self, *common)
        self.labels, self.metric = labels, metric
        if hyper.shape[0] < max(self.run.n_hyper, 1):
            raise ValueError(f"hyper: expected at least {max(self.run.n_hyper, 1)} numbers, got {hyper.shape[0]}")
        self.hyper, self.fill = hyper, fill
        self.watch({})

    def watch(self, dict attributes not None):
        """Refresh whenever one of these is replaced by another object."""
        self.attributes, self.names, self.values = attributes, tuple(attributes), tuple(attributes.values())

    cdef bint unchanged(self):
        """Return whether all that is watched is the same."""
        cdef Py_ssize_t i
        for i in range(len(self.names)):
            if PyDict_GetItem(self.attributes, self.names[i]) != <PyObject *> self.values[i]:
                return False
        return True

    cdef train(self, x, y):
        """Run a step and return its loss and metric; None if the general path must do it."""
        cdef Py_buffer xs, ys
        cdef bint done = False
        memset(&xs, 0, sizeof(xs))
        memset(&ys, 0, sizeof(ys))
        try:
            if (self.look(x, self.dtype, self.inputs, &xs) and xs.ndim == 2 and self.look_at_targets(y, &ys)
                    and xs.shape[0] == ys.shape[0]):
                done = self.step(&xs, &ys)
        finally:
            PyBuffer_Release(&xs)
            PyBuffer_Release(&ys)
        return self.logs() if done else None

    cdef bint look_at_targets(self, y, Py_buffer *ys) except -1:
        """Return whether targets can be read where they are; of those without a meaning the loss is NaN."""
        if self.labels is not None:
            return self.look(y, self.labels, 1, ys) and dense(ys, 1)
        return self.look(y, self.dtype, self.units, ys)

    cdef bint step(self, const Py_buffer *x, const Py_buffer *y) except -1:
        """Run a step; False if there was none: the network is in use, its plan outdated, or a number not finite."""
        cdef int threads
        cdef bint fine
        if not self.guard.start_changing(PyThread_get_thread_ident()):   # from here on nobody else makes a new plan
            return False
        try:
            if not self.is_current() or not (self.unchanged() or self.refresh()):
                return False
            if self.fill is not None:
                self.fill(self.run.counters[1] + 1)
            threads = thread_count(most_threads())
            self.run.prepare(threads)
            with nogil:
                self.lend(TARGET, y)
                self.open(x)
                self.run.run.hyper = &self.hyper[0]
                self.run.go(0, self.run.n_ops, threads)
                self.close()
                self.run.run.hyper = self.run.no_hyper
                fine = self.run.findings(0, self.run.n_ops, threads) == 0
                if fine:
                    self.run.count()
        finally:
            self.guard.stop_changing()
        return fine

    cdef dict logs(self):
        """Return the loss and the metric of the step."""
        cdef double weight = self.run.run.weight, loss = self.run.run.loss / weight, hits = self.run.run.metric / weight
        return {"loss": loss} if self.metric is None else {"loss": loss, self.metric: hits}


cdef class PredictFastPath(FastPath):
    """The fast path of ``predict``, for rows that make one batch.

    Parameters
    ----------
    empty : callable
        numpy.empty.
    """
    cdef object empty

    def __init__(self, *common, empty):
        FastPath.__init__(self, *common)
        self.empty = empty

    cdef predict(self, x, batch_size, out):
        """Return the outputs of these rows; None if the general path must do it."""
        cdef Py_buffer xs, outputs
        memset(&xs, 0, sizeof(xs))
        memset(&outputs, 0, sizeof(outputs))
        try:
            if not self.look(x, self.dtype, self.inputs, &xs) or xs.ndim != 2:
                return None
            if batch_size is not None and (type(batch_size) is not int or batch_size < xs.shape[0]):
                return None
            result = self.empty((xs.shape[0], self.units), self.dtype) if out is None else out
            if (self.look(result, self.dtype, self.units, &outputs) and outputs.ndim == 2
                    and outputs.shape[0] == xs.shape[0] and dense(&outputs, self.units) and not outputs.readonly
                    and disjoint(&xs, &outputs) and self.forward(&xs, &outputs)):
                return result
            return None
        finally:
            PyBuffer_Release(&xs)
            PyBuffer_Release(&outputs)

    cdef bint forward(self, const Py_buffer *x, const Py_buffer *out) except -1:
        """Write the outputs of these rows; False if another thread changes the network."""
        cdef unsigned long thread = PyThread_get_thread_ident()
        cdef int threads
        if not self.guard.start_reading(thread):
            return False
        try:
            if not self.is_current():
                return False
            threads = thread_count(most_threads())
            self.run.prepare(threads)
            with nogil:
                self.lend(OUT, out)
                self.open(x)
                self.run.go(0, self.run.n_ops, threads)
                self.close()
        finally:
            self.guard.stop_reading(thread)
        return True


def train(executable, x, y):
    """Run a step by the fast path of an executable; None if it has none, or the general path must do it."""
    if executable is None:
        return None
    fastpath = executable.fastpath
    return (<TrainFastPath> fastpath).train(x, y) if type(fastpath) is TrainFastPath else None


def predict(list idle not None, x, batch_size, out):
    """Predict by the fast path of an idle executable; None if none is idle, or the general path must do it."""
    if not idle:
        return None
    executable = idle.pop()
    try:
        fastpath = executable.fastpath
        return (<PredictFastPath> fastpath).predict(x, batch_size, out) if type(fastpath) is PredictFastPath else None
    finally:
        idle.append(executable)
