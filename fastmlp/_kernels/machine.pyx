"""What the machine can do at most, for benchmarks."""
from cython.parallel cimport parallel

from .simd cimport TILE, apart, fma, lanes, real, splat, splat_f32, store, team_member, vec


cdef apart multiply_add(Py_ssize_t n, real *out, vec like) noexcept nogil:
    """n times as many multiply-adds as a tile has vectors, in registers alone."""
    cdef vec[TILE] acc
    cdef vec x = splat(0.999999, like), y = splat(1e-6, like), total = splat(0.0, like)
    cdef Py_ssize_t i, _k
    for i in range(TILE):
        acc[i] = splat(<double> i, like)
    for _k in range(n):
        for i in range(TILE):
            acc[i] = fma(acc[i], x, y)
    for i in range(TILE):
        total = total + acc[i]
    store(out, total)


cdef float[64] sink     # where the results go, so that they are computed


def fma_work(Py_ssize_t n, int threads=1):
    """Keeps the multiply-add units of `threads` processors busy; returns the number of float32 operations.

    Divided by the time of the call, it is the peak that a GEMM can be held against.
    """
    if n < 0 or threads < 1:
        raise ValueError("n below 0, or threads below 1")
    with nogil, parallel(num_threads=threads):
        multiply_add(n, &sink[16 * (team_member() % 4)], splat_f32(0))
    return 2.0 * TILE * lanes(splat_f32(0)) * n * threads
