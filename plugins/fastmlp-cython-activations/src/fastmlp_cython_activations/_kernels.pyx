# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""The loops, and a capsule for each activation; all of it is C once it is compiled."""

from cpython.pycapsule cimport PyCapsule_New
from libc.math cimport sqrt, sqrtf
from libc.stdint cimport int32_t, int64_t, uint32_t
from libc.string cimport memcpy

cdef extern from "fastmlp/activation.h":
    const char *FASTMLP_ACTIVATION_CAPSULE
    uint32_t FASTMLP_ACTIVATION_ABI

    ctypedef struct fastmlp_activation:
        uint32_t abi
        uint32_t size
        void (*forward_f32)(const float *, float *, ptrdiff_t, const double *) noexcept nogil
        void (*backward_f32)(const float *, const float *, const float *, float *, ptrdiff_t, const double *) noexcept nogil
        void (*forward_f64)(const double *, double *, ptrdiff_t, const double *) noexcept nogil
        void (*backward_f64)(const double *, const double *, const double *, double *, ptrdiff_t, const double *) noexcept nogil

ctypedef fused real:
    float
    double


# e^x = 2^n e^r with n = rint(x / log 2), |r| <= log(2) / 2 and the Taylor series of e^r: no branch, no call and no table,
# so that a compiler makes vectors of the loop around it. Adding 1.5 * 2^23 (2^52) rounds to an integer and leaves it in
# the low bits; shifted up they are an exponent. 2^n is two factors, since it may be subnormal or infinite.

cdef inline float power_of_2_f32(float n) noexcept nogil:
    cdef float shifted = n + <float>(12582912 + 127), result
    cdef int32_t bits
    memcpy(&bits, &shifted, sizeof(bits))
    bits = <int32_t>(<uint32_t>bits << 23)
    memcpy(&result, &bits, sizeof(result))
    return result


cdef inline double power_of_2_f64(double n) noexcept nogil:
    cdef double shifted = n + <double>(6755399441055744 + 1023), result
    cdef int64_t bits
    memcpy(&bits, &shifted, sizeof(bits))
    bits = <int64_t>(<unsigned long long>bits << 52)
    memcpy(&result, &bits, sizeof(result))
    return result


cdef inline float exp_f32(float x) noexcept nogil:
    x = 90 if x > 90 else x  # NaN passes both
    x = -105 if x < -105 else x
    cdef float n = (x * <float>1.4426950408889634 + <float>12582912) - <float>12582912
    cdef float half = (n * <float>0.5 + <float>12582912) - <float>12582912
    cdef float r = (x - n * <float>0.693145751953125) - n * <float>1.42860682030941723212e-6
    cdef float p = <float>(1 / 5040.)
    p = p * r + <float>(1 / 720.)
    p = p * r + <float>(1 / 120.)
    p = p * r + <float>(1 / 24.)
    p = p * r + <float>(1 / 6.)
    p = p * r + <float>0.5
    return ((p * r * r + r) + 1) * power_of_2_f32(half) * power_of_2_f32(n - half)


cdef inline double exp_f64(double x) noexcept nogil:
    x = 711 if x > 711 else x
    x = -747 if x < -747 else x
    cdef double n = (x * 1.4426950408889634 + 6755399441055744.) - 6755399441055744.
    cdef double half = (n * 0.5 + 6755399441055744.) - 6755399441055744.
    cdef double r = (x - n * 0.693147180369123816490) - n * 1.90821492927058770002e-10
    cdef double p = 1 / 6227020800.
    p = p * r + 1 / 479001600.
    p = p * r + 1 / 39916800.
    p = p * r + 1 / 3628800.
    p = p * r + 1 / 362880.
    p = p * r + 1 / 40320.
    p = p * r + 1 / 5040.
    p = p * r + 1 / 720.
    p = p * r + 1 / 120.
    p = p * r + 1 / 24.
    p = p * r + 1 / 6.
    p = p * r + 0.5
    return ((p * r * r + r) + 1) * power_of_2_f64(half) * power_of_2_f64(n - half)


cdef inline real exp(real x) noexcept nogil:
    return exp_f32(x) if real is float else exp_f64(x)


cdef void swish_forward(const real *z, real *a, ptrdiff_t n, const double *params) noexcept nogil:
    """``a = z / (1 + e^(-beta z))``, ``params = [beta]``."""
    cdef real minus_beta = <real>-params[0]
    cdef ptrdiff_t i
    for i in range(n):
        a[i] = z[i] / (1 + exp(minus_beta * z[i]))


cdef void swish_backward(
    const real *z, const real *a, const real *da, real *dz, ptrdiff_t n, const double *params
) noexcept nogil:
    """``dz = da (s + beta a (1 - s))`` with ``s = 1 / (1 + e^(-beta z))``."""
    cdef real beta = <real>params[0], s
    cdef ptrdiff_t i
    for i in range(n):
        s = 1 / (1 + exp(-beta * z[i]))
        dz[i] = da[i] * (s + beta * a[i] * (1 - s))


cdef inline real root(real x) noexcept nogil:
    return sqrtf(x) if real is float else sqrt(x)


cdef void isru_forward(const real *z, real *a, ptrdiff_t n, const double *params) noexcept nogil:
    """``a = z / sqrt(1 + alpha z^2)``, ``params = [alpha]``."""
    cdef real alpha = <real>params[0]
    cdef ptrdiff_t i
    for i in range(n):
        a[i] = z[i] / root(1 + alpha * z[i] * z[i])


cdef void isru_backward(
    const real *z, const real *a, const real *da, real *dz, ptrdiff_t n, const double *params
) noexcept nogil:
    """``dz = da / (1 + alpha z^2)^(3/2)``."""
    cdef real alpha = <real>params[0], r
    cdef ptrdiff_t i
    for i in range(n):
        r = 1 / root(1 + alpha * z[i] * z[i])
        dz[i] = da[i] * (r * r * r)


cdef fastmlp_activation swish_functions, isru_functions
swish_functions.abi = isru_functions.abi = FASTMLP_ACTIVATION_ABI
swish_functions.size = isru_functions.size = sizeof(fastmlp_activation)
swish_functions.forward_f32 = swish_forward[float]
swish_functions.backward_f32 = swish_backward[float]
swish_functions.forward_f64 = swish_forward[double]
swish_functions.backward_f64 = swish_backward[double]
isru_functions.forward_f32 = isru_forward[float]
isru_functions.backward_f32 = isru_backward[float]
isru_functions.forward_f64 = isru_forward[double]
isru_functions.backward_f64 = isru_backward[double]

swish = PyCapsule_New(&swish_functions, FASTMLP_ACTIVATION_CAPSULE, NULL)
isru = PyCapsule_New(&isru_functions, FASTMLP_ACTIVATION_CAPSULE, NULL)
