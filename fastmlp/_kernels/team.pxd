"""What runs operations on a team of threads."""
from .operands cimport op_t, run_t
from .simd cimport real
from .trial cimport trial_t

cdef void start(run_t *run, const real *like) noexcept nogil
cdef void run_ops(const op_t *ops, Py_ssize_t n, run_t *run, int threads, trial_t *trial, const real *like) noexcept nogil
cdef void regimes(const op_t *ops, Py_ssize_t n, const run_t *run, int threads, Py_ssize_t *walks,
                  Py_ssize_t *members) noexcept nogil
