"""Gaussian noise: normal numbers by Box and Muller (A note on the generation of random normal deviates, 1958).

Two words of the counter generator give two numbers: with u = (w + 1/2) / 2^32 and angle = 2 pi w' / 2^32,
sqrt(-2 log u) cos(angle) and sqrt(-2 log u) sin(angle). So noise is a function of seed, step, layer and element.
"""
from libc.math cimport sqrt
from libc.stdint cimport uint32_t, uint64_t

from .plan_ops cimport at, noise_op_t, run_t
from .random cimport BLOCKS, NUMBERS, philox
from .simd cimport fetch, lanes, put, real, splat_f32, splat_f64, vec
from .simd_elementary cimport vcos, vlog, vsin

cdef enum:
    HALF = NUMBERS // 2


cdef inline void normals_over(const uint32_t *words, real *z, vec like) noexcept nogil:
    """z = NUMBERS normal numbers: cosines first, then sines of the same angles."""
    cdef Py_ssize_t W = lanes(like), j = 0
    cdef real[HALF] u
    cdef real[HALF] angle
    cdef real radius
    cdef vec turned
    for j in range(HALF):
        u[j] = <real> ((words[j] + 0.5) * 2.3283064365386963e-10)
        angle[j] = <real> (words[HALF + j] * 1.4629180792671596e-09)
    j = 0
    while j < HALF:
        turned = fetch(angle + j, W, like)
        put(u + j, vlog(fetch(u + j, W, like)), W)
        put(z + j, vcos(turned), W)
        put(z + HALF + j, vsin(turned), W)
        j += W
    for j in range(HALF):
        radius = <real> sqrt(-2.0 * u[j])
        z[j] *= radius
        z[HALF + j] *= radius


cdef void noise_forward(const real *x, real *y, Py_ssize_t row, Py_ssize_t units, double stddev, uint64_t seed,
                        uint64_t step, uint32_t layer) noexcept nogil:
    """One row: y = x + stddev n, n being standard normal; y may be x. A row takes whole groups of NUMBERS words."""
    cdef uint32_t[NUMBERS] words
    cdef real[NUMBERS] z
    cdef real scale = <real> stddev
    cdef uint32_t blocks = <uint32_t> ((units + NUMBERS - 1) // NUMBERS * BLOCKS)
    cdef Py_ssize_t j0 = 0, j
    while j0 < units:
        philox(seed, step, layer, <uint32_t> row * blocks + <uint32_t> (j0 // 4), words)
        if real is float:
            normals_over(words, z, splat_f32(0))
        else:
            normals_over(words, z, splat_f64(0))
        for j in range(min(<Py_ssize_t> NUMBERS, units - j0)):
            y[j0 + j] = x[j0 + j] + scale * z[j]
        j0 += NUMBERS


cdef void noise_rows(const noise_op_t *op, const run_t *run, Py_ssize_t i0, Py_ssize_t i1,
                     const real *like) noexcept nogil:
    """a = x + stddev n, rows i0 .. i1 of the batch."""
    cdef Py_ssize_t i
    for i in range(i0, i1):
        noise_forward(at(run, op.x, like) + i * op.ldx, at(run, op.a, like) + i * op.lda, i, op.units, op.stddev,
                      run.seed, <uint64_t> run.step, <uint32_t> op.head.layer)
