"""GEMM with a fused epilogue: what the plan calls."""
from .plan_chunks cimport chunks_t
from .simd cimport real
from .gemm_epilogue cimport gemm_t


cdef Py_ssize_t panel_width(const real *like) noexcept nogil
cdef Py_ssize_t scratch_size(Py_ssize_t m, Py_ssize_t n, Py_ssize_t k, const real *like) noexcept nogil
cdef Py_ssize_t prepacked_size(const gemm_t *g, const real *like) noexcept nogil
cdef void prepack(gemm_t *g, real *to) noexcept nogil
cdef void gemm(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
               real *scratch) noexcept nogil
cdef void gemm_chunks(const gemm_t *g, chunks_t chunks, real *scratch) noexcept nogil
