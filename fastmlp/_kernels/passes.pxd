"""What runs one operation of a plan."""
from .operands cimport op_t, run_t
from .simd cimport real

cdef struct kept_t:
    # copies of kernels that a member of the team keeps while rows walk
    bint first                   # it has yet to make them
    Py_ssize_t numbers           # of those of the operations so far

cdef void rows_op(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int member, kept_t *kept,
                  const real *like) noexcept nogil
cdef void shared_op(const op_t *op, run_t *run, int member, int team, Py_ssize_t *taken, const real *like) noexcept nogil
cdef Py_ssize_t scratch_bytes(const op_t *op, Py_ssize_t rows, const real *like) noexcept nogil
cdef Py_ssize_t kept_bytes(const op_t *op, run_t *run, const real *like) noexcept nogil
