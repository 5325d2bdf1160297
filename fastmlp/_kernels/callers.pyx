"""Threads of Python that call: which of them use a network, and how many threads of the kernels each gets.

Nothing here has a lock. The GIL is held from looking to setting, and no Python code runs between the two: neither
another thread nor Ctrl-C can come in.
"""
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.pythread cimport PyThread_get_thread_ident, PyThread_tss_create, PyThread_tss_get, PyThread_tss_set


cdef class Usage:
    """Counts readers and the nested changes of one thread; whoever would have to wait gets a RuntimeError."""

    def __dealloc__(self):
        PyMem_Free(self.readers)

    cdef bint start_reading(self, unsigned long me) except -1:
        """Counts a thread as a reader; False, and nothing, if another is changing the network."""
        cdef reader_t *larger
        cdef Py_ssize_t k
        if self.depth and self.writer != me:
            return False
        for k in range(self.n_readers):
            if self.readers[k].thread == me:
                self.readers[k].depth += 1
                return True
        if self.n_readers == self.room:
            larger = <reader_t *> PyMem_Realloc(self.readers, (2 * self.room + 1) * sizeof(reader_t))
            if larger == NULL:
                raise MemoryError()
            self.readers, self.room = larger, 2 * self.room + 1
        self.readers[self.n_readers].thread, self.readers[self.n_readers].depth = me, 1
        self.n_readers += 1
        return True

    cdef void stop_reading(self, unsigned long me) noexcept:
        cdef Py_ssize_t k
        for k in range(self.n_readers):
            if self.readers[k].thread == me:
                self.readers[k].depth -= 1
                if self.readers[k].depth == 0:
                    self.n_readers -= 1
                    self.readers[k] = self.readers[self.n_readers]
                return

    cdef bint start_changing(self, unsigned long me) noexcept:
        """Makes a thread the writer, or once more so; False, and nothing, if the network is in use."""
        cdef Py_ssize_t k
        if self.depth and (self.writer != me or self.is_stepping):
            return False
        for k in range(self.n_readers):
            if self.readers[k].thread != me:
                return False
        self.writer = me
        self.depth += 1
        return True

    cdef void stop_changing(self) noexcept:
        self.depth -= 1

    def reading(self, what):
        """``with usage.reading("predict"):`` - for calls that leave the network as it is."""
        return Reading(self, what)

    def changing(self, what):
        """For calls that change the network, or use memory that it has once only."""
        return Changing(self, what)

    def stepping(self):
        """While foreign code of a step may run: it must not start another on the same memory."""
        return Stepping(self, None)


cdef class Turn:
    """A block during which a thread uses a network. Compiled, so that Ctrl-C can't come between entering and leaving."""
    cdef Usage usage
    cdef object what

    def __cinit__(self, Usage usage not None, what):
        self.usage = usage
        self.what = what


cdef class Reading(Turn):
    cdef unsigned long me

    def __enter__(self):
        self.me = PyThread_get_thread_ident()
        if not self.usage.start_reading(self.me):
            raise RuntimeError(f"{self.what}: another thread is changing this network; give each thread a copy")

    def __exit__(self, *error):
        self.usage.stop_reading(self.me)


cdef class Changing(Turn):
    def __enter__(self):
        cdef unsigned long me = PyThread_get_thread_ident()
        if self.usage.start_changing(me):
            return
        if self.usage.is_stepping and self.usage.writer == me:
            raise RuntimeError(f"{self.what}: called from within a step of the same network, whose memory is in use")
        raise RuntimeError(f"{self.what}: another thread is using this network; give each thread a copy")

    def __exit__(self, *error):
        self.usage.stop_changing()


cdef class Stepping(Turn):
    def __enter__(self):
        self.usage.is_stepping = True

    def __exit__(self, *error):
        self.usage.is_stepping = False


# The number of threads is chosen in Python (fastmlp.threads), for each thread that calls. Its answer is kept here, with
# that thread, until it is told to ask again.
cdef Py_tss_t answer
cdef object ask = None

if PyThread_tss_create(&answer):
    raise MemoryError()


def teams_of(choose):
    """``choose()`` says how many threads a run gets that the calling thread starts."""
    global ask
    ask = choose


def ask_again():
    """The calling thread's number is another from now on."""
    PyThread_tss_set(&answer, NULL)


cdef int team() except -1:
    """What a run of this thread is given."""
    cdef Py_ssize_t count = <Py_ssize_t> PyThread_tss_get(&answer)
    if count == 0:
        count = ask()
        PyThread_tss_set(&answer, <void *> count)
    return <int> count
