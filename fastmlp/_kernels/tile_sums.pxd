"""The sums of a tile where they are written by hand, see tile_sums.h."""
from .simd cimport order_t, real, rows_4, rows_full, rows_t, rowwise, vec, vf32, vf64

cdef extern from "tile_sums.h" nogil:
    enum:
        HAS_SUMS    # or these do nothing
    void sums_rowwise_6_f32(vf32 *, const float *, const Py_ssize_t *, Py_ssize_t, const float *, Py_ssize_t,
                            const float *, Py_ssize_t)
    void sums_rowwise_4_f32(vf32 *, const float *, const Py_ssize_t *, Py_ssize_t, const float *, Py_ssize_t,
                            const float *, Py_ssize_t)
    void sums_rowwise_6_f64(vf64 *, const double *, const Py_ssize_t *, Py_ssize_t, const double *, Py_ssize_t,
                            const double *, Py_ssize_t)
    void sums_rowwise_4_f64(vf64 *, const double *, const Py_ssize_t *, Py_ssize_t, const double *, Py_ssize_t,
                            const double *, Py_ssize_t)
    void sums_columnwise_6_f32(vf32 *, const float *, const Py_ssize_t *, Py_ssize_t, const float *, Py_ssize_t,
                               const float *, Py_ssize_t)
    void sums_columnwise_4_f32(vf32 *, const float *, const Py_ssize_t *, Py_ssize_t, const float *, Py_ssize_t,
                               const float *, Py_ssize_t)
    void sums_columnwise_6_f64(vf64 *, const double *, const Py_ssize_t *, Py_ssize_t, const double *, Py_ssize_t,
                               const double *, Py_ssize_t)
    void sums_columnwise_4_f64(vf64 *, const double *, const Py_ssize_t *, Py_ssize_t, const double *, Py_ssize_t,
                               const double *, Py_ssize_t)


cdef inline void sums(vec *c, const real *a, const Py_ssize_t *starts, const Py_ssize_t *steps, Py_ssize_t depth, const real *b,
                      Py_ssize_t ldb, const real *before, Py_ssize_t ldc, const rows_t *height, const order_t *order) noexcept nogil:
    """c = the sum over k of a[starts[r] + k], or a[steps[k] + r], times row k of b; and of what was there before."""
    if vec is vf32:
        if rows_t is rows_full and order_t is rowwise:
            sums_rowwise_6_f32(c, <const float *> a, starts, depth, <const float *> b, ldb, <const float *> before, ldc)
        elif rows_t is rows_4 and order_t is rowwise:
            sums_rowwise_4_f32(c, <const float *> a, starts, depth, <const float *> b, ldb, <const float *> before, ldc)
        elif rows_t is rows_full:
            sums_columnwise_6_f32(c, <const float *> a, steps, depth, <const float *> b, ldb, <const float *> before, ldc)
        elif rows_t is rows_4:
            sums_columnwise_4_f32(c, <const float *> a, steps, depth, <const float *> b, ldb, <const float *> before, ldc)
    else:
        if rows_t is rows_full and order_t is rowwise:
            sums_rowwise_6_f64(c, <const double *> a, starts, depth, <const double *> b, ldb, <const double *> before, ldc)
        elif rows_t is rows_4 and order_t is rowwise:
            sums_rowwise_4_f64(c, <const double *> a, starts, depth, <const double *> b, ldb, <const double *> before, ldc)
        elif rows_t is rows_full:
            sums_columnwise_6_f64(c, <const double *> a, steps, depth, <const double *> b, ldb, <const double *> before, ldc)
        elif rows_t is rows_4:
            sums_columnwise_4_f64(c, <const double *> a, steps, depth, <const double *> b, ldb, <const double *> before, ldc)
