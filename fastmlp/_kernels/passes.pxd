"""What runs one operation of a plan."""
from .operands cimport op_t, run_t
from .simd cimport real

cdef void rows_op(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int member, const real *like) noexcept nogil
cdef void shared_op(const op_t *op, run_t *run, int member, int team, Py_ssize_t *taken, const real *like) noexcept nogil
cdef Py_ssize_t scratch_bytes(const op_t *op, Py_ssize_t rows, const real *like) noexcept nogil
