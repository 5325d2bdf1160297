"""Elementwise activations over a run of numbers: a = g(z), dz = da g'(z).

The derivative takes what is cheapest to read: z (ReLU, leaky ReLU, sine, cosine) or a (sigmoid, tanh, exponential).
"""
from .elementary cimport vcos, vexp, vsigmoid, vsin, vtanh
from .program cimport extension_backward, extension_forward
from .simd cimport (
    if_at_least, if_less, if_unsigned, lanes, load, load_n, real, splat, splat_f32, splat_f64, store, store_n, vec
)


cdef inline vec value(int kind, vec z, double slope) noexcept nogil:
    """g(z); ReLU is `0 if z < 0 else z`, so that NaN propagates."""
    cdef vec zero = splat(0.0, z)
    if kind == RELU:
        return if_less(z, zero, zero, z)
    elif kind == RELU_BY_SIGN:
        return if_less(z, zero, splat(-0.0, z), z + zero)
    elif kind == LEAKY_RELU:
        return if_less(z, zero, z * splat(slope, z), z)
    elif kind == SIGMOID:
        return vsigmoid(z)
    elif kind == TANH:
        return vtanh(z)
    elif kind == EXPONENTIAL:
        return vexp(z)
    elif kind == SIN:
        return vsin(z)
    elif kind == COS:
        return vcos(z)
    return z


cdef inline vec derivative(int kind, vec z, vec a, vec da, double slope, double at_zero) noexcept nogil:
    """da g'(z)."""
    cdef vec zero = splat(0.0, z), one = splat(1.0, z)
    if kind == RELU:
        # the comparison z >= 0, not the sign bit; at_zero at 0 of either sign
        if at_zero != 1.0:
            return if_less(zero, z, da, if_at_least(z, zero, da * splat(at_zero, z), zero))
        return if_at_least(z, zero, da, zero)
    elif kind == RELU_BY_SIGN:
        return if_unsigned(a, da, zero)
    elif kind == LEAKY_RELU:
        return if_less(z, zero, da * splat(slope, z), da)
    elif kind == SIGMOID:
        return da * (a * (one - a))
    elif kind == TANH:
        return da * (one - a * a)
    elif kind == EXPONENTIAL:
        return da * a
    elif kind == SIN:
        return da * vcos(z)
    elif kind == COS:
        return da * (zero - vsin(z))
    return da


cdef inline void forward_over(int kind, const real *z, real *a, Py_ssize_t n, double slope, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), i = 0
    while i + W <= n:
        store(a + i, value(kind, load(z + i, like), slope))
        i += W
    if i < n:
        store_n(a + i, value(kind, load_n(z + i, n - i, like), slope), n - i)


cdef inline void backward_over(int kind, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                               double slope, double at_zero, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), i = 0, m
    while i + W <= n:
        store(dz + i, derivative(kind, load(z + i, like), load(a + i, like), load(da + i, like), slope, at_zero))
        i += W
    m = n - i
    if m > 0:
        store_n(dz + i, derivative(kind, load_n(z + i, m, like), load_n(a + i, m, like), load_n(da + i, m, like),
                                   slope, at_zero), m)


cdef void activation_forward(int kind, const real *z, real *a, Py_ssize_t n, double slope,
                             const extension_t *extension) noexcept nogil:
    """a[i] = g(z[i]); a may be z."""
    if kind == EXTENSION:
        extension_forward(extension, z, a, n)
    elif real is float:
        forward_over(kind, z, a, n, slope, splat_f32(0))
    else:
        forward_over(kind, z, a, n, slope, splat_f64(0))


cdef void activation_backward(int kind, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                              double slope, double at_zero, const extension_t *extension) noexcept nogil:
    """dz[i] = da[i] g'(z[i]); dz may be da."""
    if kind == EXTENSION:
        extension_backward(extension, z, a, da, dz, n)
    elif real is float:
        backward_over(kind, z, a, da, dz, n, slope, at_zero, splat_f32(0))
    else:
        backward_over(kind, z, a, da, dz, n, slope, at_zero, splat_f64(0))
