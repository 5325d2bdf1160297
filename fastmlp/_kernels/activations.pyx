"""Elementwise activations over a run of numbers: a = g(z), dz = da g'(z).

The derivative takes what is cheapest to read: z (ReLU, leaky ReLU, sine, cosine) or a (sigmoid, tanh, exponential).
"""
from .elementary cimport vcos, vexp, vsigmoid, vsin, vtanh
from .program cimport extension_backward, extension_forward
from .simd cimport (
    MAX_LANES, apart, if_at_least, if_less, if_unsigned, inlined, lanes, load, load_n, real, splat, splat_f32, splat_f64,
    store, store_n, vec
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


cdef inline inlined values_of(int kind, const real *z, real *a, Py_ssize_t n, double slope, vec like) noexcept nogil:
    """Whole vectors of one kind, which the compiler knows: it makes a loop with the constants in registers."""
    cdef Py_ssize_t i = 0
    while i < n:
        store(a + i, value(kind, load(z + i, like), slope))
        i += lanes(like)


cdef apart forward_whole(int kind, const real *z, real *a, Py_ssize_t n, double slope, vec like) noexcept nogil:
    if kind == RELU:
        values_of(RELU, z, a, n, slope, like)
    elif kind == RELU_BY_SIGN:
        values_of(RELU_BY_SIGN, z, a, n, slope, like)
    elif kind == LEAKY_RELU:
        values_of(LEAKY_RELU, z, a, n, slope, like)
    elif kind == SIGMOID:
        values_of(SIGMOID, z, a, n, slope, like)
    elif kind == TANH:
        values_of(TANH, z, a, n, slope, like)
    elif kind == EXPONENTIAL:
        values_of(EXPONENTIAL, z, a, n, slope, like)
    elif kind == SIN:
        values_of(SIN, z, a, n, slope, like)
    elif kind == COS:
        values_of(COS, z, a, n, slope, like)
    else:
        values_of(IDENTITY, z, a, n, slope, like)


cdef inline void forward_over(int kind, const real *z, real *a, Py_ssize_t n, double slope, vec like) noexcept nogil:
    """What fills no vector is copied into one: so each kind is compiled once."""
    cdef Py_ssize_t rest = n % lanes(like), whole = n - rest
    cdef real[MAX_LANES] last
    forward_whole(kind, z, a, whole, slope, like)
    if rest > 0:
        store(last, load_n(z + whole, rest, like))
        forward_whole(kind, last, last, lanes(like), slope, like)
        store_n(a + whole, load(last, like), rest)


cdef inline inlined derivatives_of(int kind, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                                   double slope, double at_zero, vec like) noexcept nogil:
    cdef Py_ssize_t i = 0
    while i < n:
        store(dz + i, derivative(kind, load(z + i, like), load(a + i, like), load(da + i, like), slope, at_zero))
        i += lanes(like)


cdef apart backward_whole(int kind, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n, double slope,
                          double at_zero, vec like) noexcept nogil:
    if kind == RELU and at_zero == 1.0:
        derivatives_of(RELU, z, a, da, dz, n, slope, 1.0, like)
    elif kind == RELU:
        derivatives_of(RELU, z, a, da, dz, n, slope, at_zero, like)
    elif kind == RELU_BY_SIGN:
        derivatives_of(RELU_BY_SIGN, z, a, da, dz, n, slope, at_zero, like)
    elif kind == LEAKY_RELU:
        derivatives_of(LEAKY_RELU, z, a, da, dz, n, slope, at_zero, like)
    elif kind == SIGMOID:
        derivatives_of(SIGMOID, z, a, da, dz, n, slope, at_zero, like)
    elif kind == TANH:
        derivatives_of(TANH, z, a, da, dz, n, slope, at_zero, like)
    elif kind == EXPONENTIAL:
        derivatives_of(EXPONENTIAL, z, a, da, dz, n, slope, at_zero, like)
    elif kind == SIN:
        derivatives_of(SIN, z, a, da, dz, n, slope, at_zero, like)
    elif kind == COS:
        derivatives_of(COS, z, a, da, dz, n, slope, at_zero, like)
    else:
        derivatives_of(IDENTITY, z, a, da, dz, n, slope, at_zero, like)


cdef inline void backward_over(int kind, const real *z, const real *a, const real *da, real *dz, Py_ssize_t n,
                               double slope, double at_zero, vec like) noexcept nogil:
    cdef Py_ssize_t rest = n % lanes(like), whole = n - rest
    cdef real[MAX_LANES] last_z, last_a, last
    backward_whole(kind, z, a, da, dz, whole, slope, at_zero, like)
    if rest > 0:
        store(last_z, load_n(z + whole, rest, like))
        store(last_a, load_n(a + whole, rest, like))
        store(last, load_n(da + whole, rest, like))
        backward_whole(kind, last_z, last_a, last, last, lanes(like), slope, at_zero, like)
        store_n(dz + whole, load(last, like), rest)


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
