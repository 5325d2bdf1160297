"""GEMM with a fused epilogue: what the plan calls."""
from .simd cimport real


cdef struct gemm_t:
    # c = a b, with a (m, k), b (k, n). Element (i, k) of `a` is a[starts[i] + steps[k]]: rows of a batch gathered by
    # index are starts, and the transpose only trades the two.
    Py_ssize_t m, n, k
    const void *a
    const Py_ssize_t *starts
    const Py_ssize_t *steps
    Py_ssize_t lda               # about what the larger of the two steps by
    bint a_transposed            # numbers are neighbours along i, not along k
    const void *b
    Py_ssize_t ldb
    bint b_transposed            # b is stored (n, k)
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
cdef Py_ssize_t scratch_size(const real *like) noexcept nogil
cdef void gemm(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch) noexcept nogil
cdef void gemm_share(const gemm_t *g, int member, int team, real *scratch) noexcept nogil
