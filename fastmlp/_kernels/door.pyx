"""The short way into a plan: where a call's arguments are the usual ones, no Python runs between it and the kernels.

A door looks at the arguments, at settings and at who else uses the network. If all is as usual it runs the plan on the
caller's arrays. If anything is not, it returns None and has changed nothing: the long way, which is Python, then does
what there is to do, or says what is wrong.
"""
from cpython.buffer cimport PyBUF_STRIDES, PyBuffer_Release, PyObject_GetBuffer
from cpython.dict cimport PyDict_Next
from cpython.pythread cimport PyThread_get_thread_ident
from cpython.ref cimport PyObject
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memset

from ..callers cimport Usage, team   # one for all levels, in the package above
from .operands cimport OUT, TARGET, WEIGHT, X
from .plan cimport Run
from .simd cimport real

cdef extern from "Python.h":
    object PyObject_GenericGetDict(object, void *)   # vars(object)


cdef bint in_place(const Py_buffer *rows, Py_ssize_t columns) noexcept:
    """Whether the kernels can use rows of `columns` numbers where they are; as `in_place` in fastmlp.data.

    One number a row may come without the second dimension."""
    cdef Py_ssize_t size = rows.itemsize
    if rows.ndim == 2:
        if rows.shape[1] != columns or (columns > 1 and rows.strides[1] != size):
            return False
    elif rows.ndim != 1 or columns != 1:
        return False
    return rows.strides[0] % size == 0 and <size_t> rows.buf % size == 0


cdef bint dense(const Py_buffer *rows, Py_ssize_t columns) noexcept:
    """Whether rows that are `in_place` follow each other without gaps."""
    return rows.shape[0] == 1 or rows.strides[0] == columns * rows.itemsize


cdef bint apart(const Py_buffer *x, const Py_buffer *out) noexcept:
    """Whether no byte between the first and the last of the rows `x` is one of `out`, which is dense."""
    cdef const char *first = <const char *> x.buf
    cdef const char *last = first + (x.shape[0] - 1) * x.strides[0]
    cdef const char *output = <const char *> out.buf
    return (max(first, last) + x.shape[1] * x.itemsize <= output
            or output + out.shape[0] * out.shape[1] * out.itemsize <= min(first, last))


cdef bint are_labels(const Py_buffer *y, Py_ssize_t classes) noexcept:
    """Whether every number is one of 0 .. classes - 1."""
    cdef const int64_t *labels = <const int64_t *> y.buf
    cdef Py_ssize_t i
    cdef bint fine = True
    for i in range(y.shape[0]):
        fine &= <uint64_t> labels[i] < <uint64_t> classes
    return fine


cdef bint are_shares(const Py_buffer *y, Py_ssize_t columns, const real *like) noexcept:
    """Whether every number is in [0, 1]; NaN is not."""
    cdef const real *row
    cdef Py_ssize_t i, j
    cdef bint fine = True
    for i in range(y.shape[0]):
        row = <const real *> (<const char *> y.buf + i * y.strides[0])
        for j in range(columns):
            fine &= (row[j] >= 0) & (row[j] <= 1)
    return fine


cdef class Settings:
    """What is set on the optimizer and on other objects, as it was found last.

    That a value is another object now is seen in nanoseconds; only then `fits()` is asked if the plan is still right.

    Parameters
    ----------
    rate : str
        What the optimizer calls its learning rate: the one setting that the plan doesn't depend on.
    fits : callable
    optimizer, others : object
    """
    cdef object rate, fits, learning_rate
    cdef tuple things
    cdef list values

    def __init__(self, str rate, fits, *things):
        self.rate, self.fits, self.things = rate, fits, things
        self.values = self.now()

    cdef list now(self):
        return [value for thing in self.things for name, value in PyObject_GenericGetDict(thing, NULL).items()
                if name is not self.rate]

    cdef bint same(self) except -1:
        """Whether every value is the one that was found; takes the learning rate, whatever it is."""
        cdef Py_ssize_t at, k = 0, n = len(self.values)
        cdef PyObject *name
        cdef PyObject *value
        self.learning_rate = None
        for thing in self.things:
            settings = PyObject_GenericGetDict(thing, NULL)
            at = 0
            while PyDict_Next(settings, &at, &name, &value):
                if <object> name is self.rate:
                    self.learning_rate = <object> value
                elif k < n and <object> value is self.values[k]:
                    k += 1
                else:
                    return False
        return k == n

    cdef bint hold(self) except -1:
        """Whether the plan is right for what is set now."""
        if self.same():
            return True
        if not self.fits():
            return False
        self.values = self.now()
        return self.same()

    cdef double rate_at(self, Py_ssize_t step) except? -1:
        """The learning rate of a step."""
        if type(self.learning_rate) is float:
            return self.learning_rate
        return self.things[0].learning_rate_at(step)


cdef class Door:
    """A plan without Python operations, and what its callers must bring.

    Parameters
    ----------
    run : Run
        Of which all operations are run.
    usage : Usage
    seed : int
    order : ndarray
        0, 1, 2 and so on, for as many rows as the plan takes.
    array : type
        numpy.ndarray; its subclasses have ways of their own, and go the long one.
    dtype : dtype
    inputs, units : int
        Columns of x, and of what the network gives.
    """
    cdef Run run
    cdef Usage usage
    cdef uint64_t seed
    cdef const Py_ssize_t[::1] order
    cdef object array, dtype
    cdef Py_ssize_t inputs, units

    def __init__(self, Run run not None, Usage usage not None, seed, order, array, dtype, Py_ssize_t inputs,
                 Py_ssize_t units):
        self.run, self.usage, self.seed, self.order = run, usage, seed, order
        self.array, self.dtype, self.inputs, self.units = array, dtype, inputs, units

    cdef bint look(self, array, dtype, Py_ssize_t columns, Py_buffer *rows) except -1:
        """Whether an argument can be used where it is; `rows` may have to be released in any case."""
        if type(array) is not self.array:
            return False
        found = array.dtype
        if found is not dtype and found != dtype:   # one that was unpickled is equal, but not the same
            return False
        PyObject_GetBuffer(array, rows, PyBUF_STRIDES)
        return in_place(rows, columns) and 1 <= rows.shape[0] <= self.order.shape[0]

    cdef void lend(self, int arena, const Py_buffer *rows) noexcept nogil:
        """Points an arena at rows that are held until `close`."""
        self.run.run.base[arena] = rows.buf
        self.run.run.ld[arena] = rows.strides[0] // rows.itemsize

    cdef void open(self, const Py_buffer *x, double learning_rate) noexcept nogil:
        """Opens a step over these rows, which have no weights."""
        self.lend(X, x)
        self.run.run.base[WEIGHT] = NULL
        self.run.run.seed = self.seed
        self.run.run.learning_rate = learning_rate
        self.run.open(&self.order[0], x.shape[0])

    cdef void close(self) noexcept nogil:
        """Points it at nothing, as it was."""
        self.run.run.base[X] = self.run.run.base[TARGET] = self.run.run.base[OUT] = NULL


cdef class TrainDoor(Door):
    """One step without weights, and its loss and metrics.

    Parameters
    ----------
    labels : dtype or None
        int64, where targets are labels.
    shares : bool
        Whether targets must lie in [0, 1].
    settings : Settings
    metric : str or None
        The name of the compiled metric.
    """
    cdef object labels, metric
    cdef bint shares
    cdef Settings settings

    def __init__(self, *door, labels, bint shares, Settings settings not None, metric):
        Door.__init__(self, *door)
        self.labels, self.shares, self.settings, self.metric = labels, shares, settings, metric

    cdef train(self, x, y):
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
        if self.labels is not None:
            return self.look(y, self.labels, 1, ys) and dense(ys, 1) and are_labels(ys, self.units)
        if not self.look(y, self.dtype, self.units, ys):
            return False
        if not self.shares:
            return True
        if self.run.double_precision:
            return are_shares(ys, self.units, <const double *> NULL)
        return are_shares(ys, self.units, <const float *> NULL)

    cdef bint step(self, const Py_buffer *x, const Py_buffer *y) except -1:
        """One step. False if there was none: the network is in use, its plan outdated, or a number not finite."""
        cdef double learning_rate
        cdef int threads
        cdef bint fine
        if not self.usage.start_changing(PyThread_get_thread_ident()):   # from now on nobody else makes a new plan
            return False
        try:
            if not self.settings.hold():
                return False
            learning_rate = self.settings.rate_at(self.run.counters[1] + 1)
            threads = team()
            self.run.prepare(threads)
            with nogil:
                self.lend(TARGET, y)
                self.open(x, learning_rate)
                self.run.go(0, self.run.n_ops, threads)
                self.close()
                fine = self.run.finite(threads)
                if fine:
                    self.run.count()
        finally:
            self.usage.stop_changing()
        return fine

    cdef dict logs(self):
        cdef double weight = self.run.run.weight, loss = self.run.run.loss / weight, hits = self.run.run.metric / weight
        return {"loss": loss} if self.metric is None else {"loss": loss, self.metric: hits}


cdef class PredictDoor(Door):
    """One prediction in one piece.

    Parameters
    ----------
    empty : callable
        numpy.empty.
    """
    cdef object empty

    def __init__(self, *door, empty):
        Door.__init__(self, *door)
        self.empty = empty

    cdef predict(self, x, batch_size, out):
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
                    and apart(&xs, &outputs) and self.forward(&xs, &outputs)):
                return result
            return None
        finally:
            PyBuffer_Release(&xs)
            PyBuffer_Release(&outputs)

    cdef bint forward(self, const Py_buffer *x, const Py_buffer *out) except -1:
        """The outputs of these rows. False if there are none, because another thread changes the network."""
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef int threads
        if not self.usage.start_reading(me):
            return False
        try:
            threads = team()
            self.run.prepare(threads)
            with nogil:
                self.lend(OUT, out)
                self.open(x, 0.0)
                self.run.go(0, self.run.n_ops, threads)
                self.close()
        finally:
            self.usage.stop_reading(me)
        return True


def train(workspace, x, y):
    """A step through the door of a workspace; None if there is none, or the long way must be gone."""
    if workspace is None:
        return None
    door = workspace.door
    return (<TrainDoor> door).train(x, y) if type(door) is TrainDoor else None


def predict(list idle not None, x, batch_size, out):
    """A prediction through the door of a workspace that is idle; None if none is, or the long way must be gone."""
    if not idle:
        return None
    workspace = idle.pop()
    try:
        door = workspace.door
        return (<PredictDoor> door).predict(x, batch_size, out) if type(door) is PredictDoor else None
    finally:
        idle.append(workspace)
