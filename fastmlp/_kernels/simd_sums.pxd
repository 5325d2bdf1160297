"""Sums in an order that their length alone decides."""
from .simd cimport real


cdef inline double sum_of(const real *x, Py_ssize_t n) noexcept nogil:
    """Return the sum of x in double: sums of every eighth number, then of these by pairs."""
    cdef double[8] part
    cdef Py_ssize_t i = 0, k
    for k in range(8):
        part[k] = 0
    while i + 8 <= n:
        for k in range(8):
            part[k] += x[i + k]
        i += 8
    for k in range(n - i):
        part[k] += x[i + k]
    return ((part[0] + part[1]) + (part[2] + part[3])) + ((part[4] + part[5]) + (part[6] + part[7]))
