"""Elementwise activations over a run of numbers: a = g(z), dz = da g'(z).

The derivative takes what is cheapest to read: z (ReLU, leaky ReLU, sine, cosine) or a (sigmoid, tanh, exponential).
"""
from .simd_elementary cimport vcos, vexp, vsigmoid, vsin, vtanh
from .vm cimport extension_backward, extension_forward
from .simd cimport (
    MAX_LANES, forceinline_void, if_at_least, if_less, if_unsigned, lanes, load, load_n, noinline_void, real, splat,
    splat_f32, splat_f64, store, store_n, vec
)


cdef inline vec value(int code, vec z, double alpha) noexcept nogil:
    """Return g(z); ReLU is `0 if z < 0 else z`, so that NaN propagates."""
    cdef vec zero = splat(0.0, z)
    if code == RELU:
        return if_less(z, zero, zero, z)
    elif code == RELU_BY_SIGN:
        return if_less(z, zero, splat(-0.0, z), z + zero)
    elif code == LEAKY_RELU:
        return if_less(z, zero, z * splat(alpha, z), z)
    elif code == SIGMOID:
        return vsigmoid(z)
    elif code == TANH:
        return vtanh(z)
    elif code == EXPONENTIAL:
        return vexp(z)
    elif code == SIN:
        return vsin(z)
    elif code == COS:
        return vcos(z)
    return z


cdef inline vec derivative(int code, vec z, vec a, vec da, double alpha, double at_zero) noexcept nogil:
    """Return da g'(z)."""
    cdef vec zero = splat(0.0, z), one = splat(1.0, z)
    if code == RELU:
        # the comparison z >= 0, not the sign bit; at_zero at 0 of either sign
        if at_zero != 1.0:
            return if_less(zero, z, da, if_at_least(z, zero, da * splat(at_zero, z), zero))
        return if_at_least(z, zero, da, zero)
    elif code == RELU_BY_SIGN:
        return if_unsigned(a, da, zero)
    elif code == LEAKY_RELU:
        return if_less(z, zero, da * splat(alpha, z), da)
    elif code == SIGMOID:
        return da * (a * (one - a))
    elif code == TANH:
        return da * (one - a * a)
    elif code == EXPONENTIAL:
        return da * a
    elif code == SIN:
        return da * vcos(z)
    elif code == COS:
        return da * (zero - vsin(z))
    return da


cdef inline forceinline_void values_of(int code, const real *z, real *a, Py_ssize_t n, double alpha,
                                       vec like) noexcept nogil:
    """Apply one activation to whole vectors; the code is a constant, so that the compiler makes one loop of each."""
    cdef Py_ssize_t i = 0
    while i < n:
        store(a + i, value(code, load(z + i, like), alpha))
        i += lanes(like)


cdef noinline_void forward_whole(int code, const real *z, real *a, Py_ssize_t n, double alpha, vec like) noexcept nogil:
    if code == RELU:
        values_of(RELU, z, a, n, alpha, like)
    elif code == RELU_BY_SIGN:
        values_of(RELU_BY_SIGN, z, a, n, alpha, like)
    elif code == LEAKY_RELU:
        values_of(LEAKY_RELU, z, a, n, alpha, like)
    elif code == SIGMOID:
        values_of(SIGMOID, z, a, n, alpha, like)
    elif code == TANH:
        values_of(TANH, z, a, n, alpha, like)
    elif code == EXPONENTIAL:
        values_of(EXPONENTIAL, z, a, n, alpha, like)
    elif code == SIN:
        values_of(SIN, z, a, n, alpha, like)
    elif code == COS:
        values_of(COS, z, a, n, alpha, like)
    else:
        values_of(IDENTITY, z, a, n, alpha, like)


cdef inline void forward_over(int code, const real *z, real *a, Py_ssize_t n, double alpha, vec like) noexcept nogil:
    """Apply an activation; the numbers that fill no vector are copied into one, so that each loop is compiled once."""
    cdef Py_ssize_t rest = n % lanes(like), whole = n - rest
    cdef real[MAX_LANES] last
    forward_whole(code, z, a, whole, alpha, like)
    if rest > 0:
        store(last, load_n(z + whole, rest, like))
        forward_whole(code, last, last, lanes(like), alpha, like)
        store_n(a + whole, load(last, like), rest)


cdef inline forceinline_void derivatives_of(int code, const real *z, const real *a, const real *da, real *dz,
                                            Py_ssize_t n, double alpha, double at_zero, vec like) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < n:
        store(dz + i, derivative(code, load(z + i, like), load(a + i, like), load(da + i, like), alpha, at_zero))
        i += lanes(like)


cdef noinline_void backward_whole(int code, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                                  double alpha, double at_zero, vec like) noexcept nogil:
    if code == RELU and at_zero == 1.0:
        derivatives_of(RELU, z, a, da, dz, n, alpha, 1.0, like)
    elif code == RELU:
        derivatives_of(RELU, z, a, da, dz, n, alpha, at_zero, like)
    elif code == RELU_BY_SIGN:
        derivatives_of(RELU_BY_SIGN, z, a, da, dz, n, alpha, at_zero, like)
    elif code == LEAKY_RELU:
        derivatives_of(LEAKY_RELU, z, a, da, dz, n, alpha, at_zero, like)
    elif code == SIGMOID:
        derivatives_of(SIGMOID, z, a, da, dz, n, alpha, at_zero, like)
    elif code == TANH:
        derivatives_of(TANH, z, a, da, dz, n, alpha, at_zero, like)
    elif code == EXPONENTIAL:
        derivatives_of(EXPONENTIAL, z, a, da, dz, n, alpha, at_zero, like)
    elif code == SIN:
        derivatives_of(SIN, z, a, da, dz, n, alpha, at_zero, like)
    elif code == COS:
        derivatives_of(COS, z, a, da, dz, n, alpha, at_zero, like)
    else:
        derivatives_of(IDENTITY, z, a, da, dz, n, alpha, at_zero, like)


cdef inline void backward_over(int code, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                               double alpha, double at_zero, vec like) noexcept nogil:
    cdef Py_ssize_t rest = n % lanes(like), whole = n - rest
    cdef real[MAX_LANES] last_z, last_a, last
    backward_whole(code, z, a, da, dz, whole, alpha, at_zero, like)
    if rest > 0:
        store(last_z, load_n(z + whole, rest, like))
        store(last_a, load_n(a + whole, rest, like))
        store(last, load_n(da + whole, rest, like))
        backward_whole(code, last_z, last_a, last, last, lanes(like), alpha, at_zero, like)
        store_n(dz + whole, load(last, like), rest)


cdef void activation_forward(int code, const real *z, real *a, Py_ssize_t n, double alpha,
                             const extension_t *extension) noexcept nogil:
    """a[i] = g(z[i]); a may be z."""
    if code == EXTENSION:
        extension_forward(extension, z, a, n)
    elif real is float:
        forward_over(code, z, a, n, alpha, splat_f32(0))
    else:
        forward_over(code, z, a, n, alpha, splat_f64(0))


cdef void activation_backward(int code, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                              double alpha, double at_zero, const extension_t *extension) noexcept nogil:
    """dz[i] = da[i] g'(z[i]); dz may be da."""
    if code == EXTENSION:
        extension_backward(extension, z, a, da, dz, n)
    elif real is float:
        backward_over(code, z, a, da, dz, n, alpha, at_zero, splat_f32(0))
    else:
        backward_over(code, z, a, da, dz, n, alpha, at_zero, splat_f64(0))
