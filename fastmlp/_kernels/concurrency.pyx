"""Threads of Python: which of them use a network, and how many threads of the kernels each of them gets.

Nothing here has a lock. The GIL is held from looking to setting, and no Python code runs between the two: neither
another thread nor Ctrl-C can come in. Compiled once, for all instruction-set levels.
"""
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.pythread cimport PyThread_get_thread_ident, PyThread_tss_create, PyThread_tss_get, PyThread_tss_set


cdef class AccessGuard:
    """A readers-writer guard that refuses instead of waiting: many threads may read a network, or one may change it.

    A thread may nest its own reads and changes. Whoever would have to wait gets a RuntimeError.
    """

    def __dealloc__(self):
        PyMem_Free(self.readers)

    cdef bint start_reading(self, unsigned long thread) except -1:
        """Count the thread as a reader and return True; False if another thread is changing the network."""
        cdef reader_t *larger
        cdef Py_ssize_t k
        if self.depth and self.writer != thread:
            return False
        for k in range(self.n_readers):
            if self.readers[k].thread == thread:
                self.readers[k].depth += 1
                return True
        if self.n_readers == self.capacity:
            larger = <reader_t *> PyMem_Realloc(self.readers, (2 * self.capacity + 1) * sizeof(reader_t))
            if larger == NULL:
                raise MemoryError()
            self.readers, self.capacity = larger, 2 * self.capacity + 1
        self.readers[self.n_readers].thread, self.readers[self.n_readers].depth = thread, 1
        self.n_readers += 1
        return True

    cdef void stop_reading(self, unsigned long thread) noexcept:
        """End the thread's innermost read."""
        cdef Py_ssize_t k
        for k in range(self.n_readers):
            if self.readers[k].thread == thread:
                self.readers[k].depth -= 1
                if self.readers[k].depth == 0:
                    self.n_readers -= 1
                    self.readers[k] = self.readers[self.n_readers]
                return

    cdef bint start_changing(self, unsigned long thread) noexcept:
        """Make the thread the writer, once more if it is, and return True; False if the network is in use."""
        cdef Py_ssize_t k
        if self.depth and (self.writer != thread or self.is_stepping):
            return False
        for k in range(self.n_readers):
            if self.readers[k].thread != thread:
                return False
        self.writer = thread
        self.depth += 1
        return True

    cdef void stop_changing(self) noexcept:
        """End the writer's innermost change."""
        self.depth -= 1

    def reading(self, what):
        """Return a context manager for a call that leaves the network as it is; `what` names it in errors."""
        return Reading(self, what)

    def changing(self, what):
        """Return a context manager for a call that changes the network, or uses memory that it has once only."""
        return Changing(self, what)

    def stepping(self):
        """Return a context manager for a step in which user code may run: it must not start another step."""
        return Stepping(self, None)


cdef class Hold:
    """A block during which a thread uses a network. Compiled, so that Ctrl-C can't come between entering and leaving."""
    cdef AccessGuard guard
    cdef object what

    def __cinit__(self, AccessGuard guard not None, what):
        self.guard = guard
        self.what = what


cdef class Reading(Hold):
    """The block of `AccessGuard.reading`."""
    cdef unsigned long thread

    def __enter__(self):
        self.thread = PyThread_get_thread_ident()
        if not self.guard.start_reading(self.thread):
            raise RuntimeError(f"{self.what}: another thread is changing this network; give each thread a copy")

    def __exit__(self, *error):
        self.guard.stop_reading(self.thread)


cdef class Changing(Hold):
    """The block of `AccessGuard.changing`."""
    def __enter__(self):
        cdef unsigned long thread = PyThread_get_thread_ident()
        if self.guard.start_changing(thread):
            return
        if self.guard.is_stepping and self.guard.writer == thread:
            raise RuntimeError(f"{self.what}: called from within a step of the same network, whose memory is in use")
        raise RuntimeError(f"{self.what}: another thread is using this network; give each thread a copy")

    def __exit__(self, *error):
        self.guard.stop_changing()


cdef class Stepping(Hold):
    """The block of `AccessGuard.stepping`."""
    def __enter__(self):
        self.guard.is_stepping = True

    def __exit__(self, *error):
        self.guard.is_stepping = False


# The number of threads is chosen in Python (fastmlp.threads), for each thread that calls. The answer is cached here, in
# thread-local storage, until it is forgotten; 0 stands for none.
cdef Py_tss_t cached_count
cdef object source = None

if PyThread_tss_create(&cached_count):
    raise MemoryError()


def set_thread_source(choose):
    """Set the function that is asked how many threads a run gets that the calling thread starts."""
    global source
    source = choose


def forget_thread_count():
    """Forget the calling thread's number of threads, so that its next run asks again."""
    PyThread_tss_set(&cached_count, NULL)


cdef int thread_count() except -1:
    """Return how many threads a run of the calling thread gets."""
    cdef Py_ssize_t count = <Py_ssize_t> PyThread_tss_get(&cached_count)
    if count == 0:
        count = source()
        PyThread_tss_set(&cached_count, <void *> count)
    return <int> count
