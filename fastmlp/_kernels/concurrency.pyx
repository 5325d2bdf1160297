"""Threads of Python, Ctrl-C and forks: who uses a network, what a step leaves, and how many threads a call gets.

Nothing here has a lock. The GIL is held from looking to setting, and no Python code runs between the two: neither
another thread nor Ctrl-C can come in. Who waits, asks again after a moment. Compiled once, for all instruction-set
levels.
"""
import time

from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.pythread cimport PyThread_get_thread_ident, PyThread_tss_create, PyThread_tss_get, PyThread_tss_set
from libc.math cimport INFINITY

cdef double patience = 5.0           # seconds that one waits for a step of another thread
cdef Py_ssize_t forks = 0            # of which this process has come, since this module was imported
cdef unsigned long survivor          # the thread that called the last of them: a child has no other


def after_fork_in_child():
    """Take note that this process is a child: of all threads, the calling one is left."""
    global forks, survivor
    forks, survivor = forks + 1, PyThread_get_thread_ident()


def set_patience(double seconds):
    """Set for how long one waits for a step of another thread, and return what it was: for tests."""
    global patience
    before = patience
    patience = seconds
    return before


cdef class AccessGuard:
    """Says who may use a network: many threads may read it, or one may change it.

    A long call that changes it in steps (`claiming`) keeps it for its thread, and lets others read between the steps:
    who comes during a step waits for its end, and the call waits for the end of their reads. Otherwise nobody waits: it
    is a RuntimeError to read what another thread changes, and to claim or change what another thread uses. Nobody waits
    for more than `patience`, lest two wait for each other; only the call that is under way does. A thread may nest all
    of these.
    """

    def __dealloc__(self):
        PyMem_Free(self.readers)

    cdef bint start_reading(self, unsigned long thread) except -1:
        """Count the thread as a reader and return True; False if another thread is changing the network."""
        cdef reader_t *larger
        cdef Py_ssize_t k
        if self.forks != forks:
            self.after_fork()
        for k in range(self.n_readers):
            if self.readers[k].thread == thread:     # also where somebody waits for this thread to stop
                self.readers[k].depth += 1
                return True
        if self.is_torn or (self.changes and self.owner != thread):
            return False
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

    cdef bint others_read(self, unsigned long thread) noexcept:
        """Return whether another thread reads the network."""
        cdef Py_ssize_t k
        for k in range(self.n_readers):
            if self.readers[k].thread != thread:
                return True
        return False

    cdef bint may_own(self, unsigned long thread) noexcept:
        """Return whether the thread may begin a call that is for one thread at a time."""
        if self.forks != forks:
            self.after_fork()
        return not (self.is_torn or (self.claims and (self.owner != thread or self.is_stepping)))

    cdef bint start_changing(self, unsigned long thread) noexcept:
        """Begin a change, once more if there is one, and return True; False if it must wait, or may not."""
        if not self.may_own(thread):
            return False
        if not self.changes and (self.others_read(thread) or (self.claims and self.waiting)):
            return False
        self.owner = thread
        self.claims += 1
        self.changes += 1
        return True

    cdef void stop_changing(self) noexcept:
        """End the owner's innermost change."""
        self.claims -= 1
        self.changes -= 1

    cdef void after_fork(self) noexcept:
        """Forget the threads that a fork has left behind."""
        cdef Py_ssize_t k = 0
        self.forks = forks
        while k < self.n_readers:
            if self.readers[k].thread == survivor:
                k += 1
            else:
                self.n_readers -= 1
                self.readers[k] = self.readers[self.n_readers]
        self.waiting = 0
        if self.claims and self.owner != survivor:
            self.is_torn = self.changes > 0
            self.claims = self.changes = 0
            self.is_stepping = False

    def reading(self, what):
        """Return a context manager for a call that leaves the network as it is; `what` names it in errors."""
        return Reading(self, what)

    def claiming(self, what):
        """Return a context manager for a call of many steps, between which others may read the network."""
        return Claiming(self, what)

    def changing(self, what):
        """Return a context manager for a call that changes the network, or uses memory that it has once only."""
        return Changing(self, what)

    def building(self, is_built):
        """Return a context manager for building, which user code takes part in; several threads may ask for it.

        Its block is told whether to build: who comes second waits, until ``is_built()`` says that there is nothing to do.
        """
        return Building(self, is_built)

    def stepping(self, what, *, arrays=(), counters=None, always=False, patient=False):
        """Return a context manager for a change in which user code may run: it must not begin another one.

        Parameters
        ----------
        what : str
            Names it in errors.
        arrays : iterable of ndarray
            What user code may write to. It is put back if the step fails.
        counters : ndarray of int64, optional
            A step that has counted up in them is done, and stays also where an exception comes after it.
        always : bool
            Put the arrays back in any case.
        patient : bool
            Wait for another thread, where it would be refused.
        """
        return Stepping(self, what, arrays, counters, always, patient)


cdef class Hold:
    """A block during which a thread uses a network. Compiled, so that Ctrl-C can't come between entering and leaving."""
    cdef AccessGuard guard
    cdef object what
    cdef unsigned long thread

    def __init__(self, AccessGuard guard not None, what):
        self.guard, self.what = guard, what

    cdef refused(self, doing):
        """Return the error for a thread that may not go on."""
        if self.guard.is_torn:
            return RuntimeError(
                f"{self.what}: this process was forked while another thread was changing this network, which is half "
                "changed here; load it from a file, or make it anew"
            )
        if self.guard.is_stepping and self.guard.owner == self.thread:
            return RuntimeError(f"{self.what}: called from within a step of the same network, whose memory is in use")
        return RuntimeError(f"{self.what}: another thread is {doing} this network; give each thread a copy")

    cdef int drain(self, double deadline) except -1:
        """Begin a step of a longer call: let those read who wait for it, and wait until nobody else reads."""
        cdef AccessGuard guard = self.guard
        while guard.waiting:
            time.sleep(5e-5)
        guard.claims += 1
        guard.changes += 1
        try:
            while guard.others_read(self.thread):
                if time.monotonic() >= deadline:
                    raise self.refused("using")
                time.sleep(5e-5)
        except BaseException:
            guard.stop_changing()
            raise
        return 0


cdef class Reading(Hold):
    """The block of `AccessGuard.reading`."""
    def __enter__(self):
        self.thread = PyThread_get_thread_ident()
        if not self.guard.start_reading(self.thread) and not self.wait():
            raise self.refused("changing")

    cdef bint wait(self) except -1:
        """Wait for the end of a step, if others may read after it, and begin to read; False if it takes too long."""
        cdef AccessGuard guard = self.guard
        cdef double deadline = time.monotonic() + patience, pause = 5e-5
        if guard.claims <= guard.changes:
            return False
        guard.waiting += 1
        try:
            while time.monotonic() < deadline:
                time.sleep(pause)
                pause = min(2 * pause, 1e-3)
                if guard.start_reading(self.thread):
                    return True
        finally:
            guard.waiting -= 1
        return False

    def __exit__(self, *error):
        self.guard.stop_reading(self.thread)


cdef class Claiming(Hold):
    """The block of `AccessGuard.claiming`."""
    def __enter__(self):
        self.thread = PyThread_get_thread_ident()
        if not self.guard.may_own(self.thread):
            raise self.refused("using")
        self.guard.owner = self.thread
        self.guard.claims += 1
        try:
            if self.guard.claims == 1 and self.guard.others_read(self.thread):
                self.drain(time.monotonic() + patience)      # they may be about to change it, or to wait for this thread
                self.guard.stop_changing()
        except BaseException:
            self.guard.claims -= 1
            raise

    def __exit__(self, *error):
        self.guard.claims -= 1


cdef class Changing(Hold):
    """The block of `AccessGuard.changing`."""
    def __enter__(self):
        self.start(0)

    cdef int start(self, double seconds) except -1:
        """Begin; wait for so long where another thread is at it."""
        cdef double deadline = time.monotonic() + seconds if seconds else 0
        self.thread = PyThread_get_thread_ident()
        while not self.guard.start_changing(self.thread):
            if self.guard.may_own(self.thread) and self.guard.claims:
                return self.drain(INFINITY)
            if self.guard.owner == self.thread or time.monotonic() >= deadline:
                raise self.refused("using")
            time.sleep(1e-4)
        return 0

    def __exit__(self, *error):
        self.guard.stop_changing()


cdef class Building(Changing):
    """The block of `AccessGuard.building`."""
    cdef object is_built
    cdef bint holds

    def __init__(self, AccessGuard guard not None, is_built):
        Hold.__init__(self, guard, "build")
        self.is_built = is_built

    def __enter__(self):
        cdef AccessGuard guard = self.guard
        cdef double deadline = time.monotonic() + patience
        self.thread = PyThread_get_thread_ident()
        while not self.is_built():
            if guard.start_changing(self.thread):
                guard.claims += 1
                guard.is_stepping = self.holds = True
                return True
            if guard.is_torn or (guard.is_stepping and guard.owner == self.thread) or time.monotonic() >= deadline:
                raise self.refused("using")
            time.sleep(1e-3)
        return False

    def __exit__(self, *error):
        if self.holds:
            self.guard.is_stepping = False
            self.guard.claims -= 1
            self.guard.stop_changing()


cdef class Stepping(Changing):
    """The block of `AccessGuard.stepping`."""
    cdef list kept          # arrays, each with a copy of what it was
    cdef object counters
    cdef Py_ssize_t begun   # steps counted, before
    cdef bint always, patient

    def __init__(self, AccessGuard guard not None, what, arrays, counters, bint always, bint patient):
        Hold.__init__(self, guard, what)
        self.kept, self.counters, self.always, self.patient = list(arrays), counters, always, patient

    def __enter__(self):
        self.start(patience if self.patient else 0)
        try:
            self.begun = 0 if self.counters is None else self.counters[0]
            self.kept = [(array, array.copy()) for array in self.kept]
        except BaseException:
            self.guard.stop_changing()
            raise
        self.guard.is_stepping = True

    def __exit__(self, kind, *error):
        try:
            if self.always or (kind is not None and (self.counters is None or self.counters[0] == self.begun)):
                for array, before in self.kept:
                    array[...] = before
        finally:
            self.guard.is_stepping = False
            self.guard.stop_changing()


def give_back(list home not None, thing, Py_ssize_t most_bytes):
    """Put something back into a list of idle things, which keeps the latest ones, up to so many `bytes` in all."""
    home.append(thing)
    while len(home) > 1 and sum([each.bytes for each in home]) > most_bytes:
        del home[0]


cdef class Loan:
    """Gives something back once nobody has this any more. Compiled: Ctrl-C can't come there, where it would be lost."""
    cdef list home
    cdef object thing
    cdef Py_ssize_t most_bytes

    def __init__(self, list home not None, thing, Py_ssize_t most_bytes):
        self.home, self.thing, self.most_bytes = home, thing, most_bytes

    def __del__(self):
        if self.home is not None:
            give_back(self.home, self.thing, self.most_bytes)


# The number of threads is chosen in Python (fastmlp.threads), for each thread that calls. The answer is cached here, in
# thread-local storage, until it is forgotten; 0 stands for none, and a number that somebody has chosen is negative.
cdef Py_tss_t cached_count
cdef object source = None

if PyThread_tss_create(&cached_count):
    raise MemoryError()


def set_thread_source(choose):
    """Set the function that says how many threads a run gets that the calling thread starts.

    It returns the number, and whether somebody has chosen it: only then may it be above what OpenMP allows.
    """
    global source
    source = choose


def forget_thread_count():
    """Forget the calling thread's number of threads, so that its next run asks again."""
    PyThread_tss_set(&cached_count, NULL)


cdef int thread_count(int most) except -1:
    """Return how many threads a run of the calling thread gets; `most` is what OpenMP allows it."""
    cdef Py_ssize_t count = <Py_ssize_t> PyThread_tss_get(&cached_count)
    if count == 0:
        number, chosen = source()
        count = -number if chosen else number
        PyThread_tss_set(&cached_count, <void *> count)
    return <int> -count if count < 0 else min(<int> count, most)
