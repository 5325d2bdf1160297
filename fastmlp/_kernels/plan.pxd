"""The class that runs a plan, for the fast path, which doesn't go through Python."""
from .plan_autotune cimport autotune_t
from .plan_ops cimport N_ARENAS, op_t, run_t


cdef class Run:
    cdef run_t run
    cdef autotune_t tuner
    cdef Py_buffer[N_ARENAS] views
    cdef bint[N_ARENAS] bound
    cdef op_t *ops
    cdef Py_ssize_t n_ops, capacity
    cdef readonly Py_ssize_t n_hyper, overflow
    cdef readonly bint large
    cdef Py_buffer ops_view, table_view, index_view, counters_view
    cdef Py_ssize_t *counters
    cdef object hyper
    cdef double *no_hyper
    cdef bint has_index, double_precision
    cdef int scratch_threads
    cdef void *raw_scratch

    cdef int point(self, int arena, array) except -1
    cdef Py_ssize_t scratch_of(self, const op_t *op) noexcept nogil
    cdef Py_ssize_t prepack_of(self, const op_t *op) noexcept nogil
    cdef void size_scratch(self) noexcept nogil
    cdef void size_hyper(self) noexcept nogil
    cdef int check_rows(self, Py_ssize_t offset, Py_ssize_t end, Py_ssize_t batch, Py_ssize_t kept_row) except -1
    cdef int check_ops(self, Py_ssize_t first, Py_ssize_t last) except -1
    cdef int prepare(self, int threads) except -1
    cdef void open(self, const Py_ssize_t *index, Py_ssize_t batch) noexcept nogil
    cdef void go(self, Py_ssize_t first, Py_ssize_t last, int threads) noexcept nogil
    cdef bint look_at_state(self) noexcept nogil
    cdef void take_back(self, Py_ssize_t first, Py_ssize_t last) noexcept nogil
    cdef Py_ssize_t findings(self, Py_ssize_t first, Py_ssize_t last, int threads) noexcept nogil
    cdef void count(self) noexcept nogil
