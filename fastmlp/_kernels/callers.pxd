"""Who calls, for those who ask without going through Python."""


cdef struct reader_t:
    unsigned long thread
    Py_ssize_t depth


cdef class Usage:
    cdef reader_t *readers
    cdef Py_ssize_t n_readers, room
    cdef unsigned long writer
    cdef Py_ssize_t depth            # of the writer's nested changes; nobody changes the network where it is 0
    cdef bint is_stepping

    cdef bint start_reading(self, unsigned long me) except -1
    cdef void stop_reading(self, unsigned long me) noexcept
    cdef bint start_changing(self, unsigned long me) noexcept
    cdef void stop_changing(self) noexcept


cdef int team() except -1
