"""Runs operations on a team of threads."""
from .plan_autotune cimport autotune_t
from .plan_ops cimport op_t, run_t
from .simd cimport real

cdef void start(run_t *run, const real *like) noexcept nogil
cdef void run_ops(const op_t *ops, Py_ssize_t n, run_t *run, int threads, autotune_t *tuner,
                  const real *like) noexcept nogil
cdef void schedule(const op_t *ops, Py_ssize_t n, const run_t *run, int threads, Py_ssize_t *fused,
                   Py_ssize_t *threads_of) noexcept nogil
