"""The access guard and the number of threads, for modules that ask without going through Python."""


cdef struct reader_t:
    unsigned long thread
    Py_ssize_t depth


cdef class AccessGuard:
    cdef reader_t *readers
    cdef Py_ssize_t n_readers, capacity
    cdef unsigned long owner         # the thread that has the network to itself, as far as `claims` and `changes` say
    cdef Py_ssize_t claims           # of the owner, nested, changes among them; 0 while there is no owner
    cdef Py_ssize_t changes          # of the owner, nested: nobody else may read
    cdef Py_ssize_t waiting          # readers that wait for the end of a change
    cdef bint is_stepping
    cdef bint is_torn                # a change was cut off by a fork
    cdef Py_ssize_t forks            # of this process, when the guard was last looked at

    cdef bint start_reading(self, unsigned long thread) except -1
    cdef void stop_reading(self, unsigned long thread) noexcept
    cdef bint start_changing(self, unsigned long thread) noexcept
    cdef void stop_changing(self) noexcept
    cdef void after_fork(self) noexcept
    cdef bint others_read(self, unsigned long thread) noexcept
    cdef bint may_own(self, unsigned long thread) noexcept


cdef int thread_count(int most) except -1
