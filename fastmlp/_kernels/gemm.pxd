"""GEMM with a fused epilogue: what the plan calls."""
from .simd cimport real


cdef struct gemm_t:
    # c = a b, with a (m, k), b (k, n). Element (i, k) of `a` is a[starts[i] + steps[k]]: rows of a batch gathered by
    # index are starts, and the transpose only trades the two.
    Py_ssize_t m, n, k
    const void *a
    const Py_ssize_t *starts
    const Py_ssize_t *steps
    const void *b
    Py_ssize_t ldb
    bint b_packed                # panels of NR columns, as pack_b and pack_b_transposed write them
    void *c
    Py_ssize_t ldc
    # forward epilogue: z = c * scale + shift (either may be NULL), kept in c; activation = g(z)
    const void *scale
    const void *shift
    void *activation
    Py_ssize_t ld_activation
    # backward epilogue: c *= g'(z)
    const void *z
    const void *a_of_z           # g(z), for derivatives that use it; laid out as z
    Py_ssize_t ldz
    int kind                     # activations.KIND
    double slope                 # leaky_relu below zero
    double at_zero


cdef Py_ssize_t panel_width(const real *like) noexcept nogil
cdef Py_ssize_t packed_size(Py_ssize_t k, Py_ssize_t n, const real *like) noexcept nogil
cdef void pack_b(const real *b, Py_ssize_t ldb, Py_ssize_t k, Py_ssize_t n, Py_ssize_t panel0, Py_ssize_t panel1,
                 real *packed) noexcept nogil
cdef void pack_b_transposed(const real *b, Py_ssize_t ldb, Py_ssize_t k, Py_ssize_t n, Py_ssize_t panel0,
                            Py_ssize_t panel1, real *packed) noexcept nogil
cdef Py_ssize_t scratch_size() noexcept nogil
cdef void gemm(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch) noexcept nogil
