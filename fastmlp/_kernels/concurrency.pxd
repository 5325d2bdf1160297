"""The access guard and the number of threads, for modules that ask without going through Python."""


cdef struct reader_t:
    unsigned long thread
    Py_ssize_t depth


cdef class AccessGuard:
    cdef reader_t *readers
    cdef Py_ssize_t n_readers, capacity
    cdef unsigned long writer
    cdef Py_ssize_t depth            # of the writer's nested changes; 0 while nobody changes the network
    cdef bint is_stepping

    cdef bint start_reading(self, unsigned long thread) except -1
    cdef void stop_reading(self, unsigned long thread) noexcept
    cdef bint start_changing(self, unsigned long thread) noexcept
    cdef void stop_changing(self) noexcept


cdef int thread_count() except -1
