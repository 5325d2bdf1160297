"""Dispatch: runs one operation of a plan."""
from .plan_ops cimport op_t, run_t
from .simd cimport real

cdef struct prepacked_t:
    # Kernels that a thread packs once for all rows that it takes through a fused group.
    bint first                   # whether they are still to be packed
    Py_ssize_t numbers           # of the kernels of the operations so far

cdef void run_rows(const op_t *op, run_t *run, Py_ssize_t i0, Py_ssize_t i1, int tid, prepacked_t *prepacked,
                   const real *like) noexcept nogil
cdef void run_shared(const op_t *op, run_t *run, int tid, int team, Py_ssize_t *claimed,
                     const real *like) noexcept nogil
cdef Py_ssize_t scratch_bytes(const op_t *op, Py_ssize_t rows, const real *like) noexcept nogil
cdef Py_ssize_t prepack_bytes(const op_t *op, run_t *run, const real *like) noexcept nogil
