"""Penalties of parameters: a recorded program for each number, its terms summed up chunk by chunk."""
from .optimizers cimport all_finite
from .program cimport program_t, run_program
from .simd cimport real
from .sums cimport sum_of


cdef bint penalty(const program_t *program, const real *w, real *g, Py_ssize_t n, Py_ssize_t first, Py_ssize_t last,
                  double scale, double *sums) noexcept nogil:
    """sums[k] = scale times the sum of the terms of chunk k of w, g += slopes of these; chunks first .. last of n numbers.

    The program makes of w a term, and of g, if there is one, g plus the slope. Returns whether g is finite. What a chunk
    is depends on n alone, so any division of the chunks gives the same bits.
    """
    cdef const real *inputs[2]
    cdef real *outputs[2]
    cdef real[CHUNK] terms
    cdef Py_ssize_t k, m
    cdef bint fine = True
    for k in range(first, last):
        m = min(CHUNK, n - k * CHUNK)
        inputs[0], outputs[0] = w + k * CHUNK, terms
        if g != NULL:
            inputs[1] = outputs[1] = g + k * CHUNK
        run_program(program, inputs, outputs, m, NULL)
        sums[k] = scale * sum_of(terms, m)
        if g != NULL and not all_finite(g + k * CHUNK, m):
            fine = False
    return fine
