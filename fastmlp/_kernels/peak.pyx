"""The peak of the processor, for benchmarks."""
from cython.parallel cimport parallel

from .simd cimport TILE, fma, lanes, noinline_void, real, splat, splat_f32, store, thread_id, vec


cdef noinline_void multiply_add(Py_ssize_t n, real *out, vec like) noexcept nogil:
    """Run n multiply-adds for each vector of a tile, in registers alone."""
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


cdef float[64] sink     # results go here, so that the compiler keeps them


def fma_work(Py_ssize_t n, int threads=1):
    """Keep the multiply-add units of `threads` processors busy, and return the number of float32 operations.

    Divided by the time of the call, that is the peak to which a GEMM is compared.
    """
    if n < 0 or threads < 1:
        raise ValueError("n below 0, or threads below 1")
    with nogil, parallel(num_threads=threads):
        multiply_add(n, &sink[16 * (thread_id() % 4)], splat_f32(0))
    return 2.0 * TILE * lanes(splat_f32(0)) * n * threads
