from libc.math cimport asinh, atan, cosh, erf, expm1, log, log1p, pow, sinh
from .simd cimport lane, lanes, vec, with_lane


cdef inline vec vsinh(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, sinh(lane(x, i)))
    return x


cdef inline vec vcosh(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, cosh(lane(x, i)))
    return x


cdef inline vec vatan(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, atan(lane(x, i)))
    return x


cdef inline vec vasinh(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, asinh(lane(x, i)))
    return x


cdef inline vec verf(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, erf(lane(x, i)))
    return x


cdef inline vec vexpm1(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, expm1(lane(x, i)))
    return x


cdef inline vec vlog(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, log(lane(x, i)))
    return x


cdef inline vec vlog1p(vec x) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, log1p(lane(x, i)))
    return x


cdef inline vec vpow(vec x, vec y) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(lanes(x)):
        x = with_lane(x, i, pow(lane(x, i), lane(y, i)))
    return x
