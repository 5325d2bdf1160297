"""Penalties of parameters: a traced program over every number, its terms summed chunk by chunk."""
from .nn_optimizers cimport magnitude
from .vm cimport program_t, run_program
from .simd cimport real
from .simd_sums cimport sum_of


cdef Py_ssize_t penalty(const program_t *program, const real *w, real *g, Py_ssize_t n, Py_ssize_t first, Py_ssize_t last,
                        double scale, double *sums) noexcept nogil:
    """sums[k] = scale times the sum of the terms of chunk k of w, g += their derivatives; chunks first .. last.

    The program maps w to a term, and g, unless it is NULL, to g plus the term's derivative. Returns what `magnitude` says of g.
    Chunks depend on n alone, so that any division of the chunks among threads gives the same bits.
    """
    cdef const real *inputs[2]
    cdef real *outputs[2]
    cdef real[CHUNK] terms
    cdef Py_ssize_t k, m, found = 0
    for k in range(first, last):
        m = min(CHUNK, n - k * CHUNK)
        inputs[0], outputs[0] = w + k * CHUNK, terms
        if g != NULL:
            inputs[1] = outputs[1] = g + k * CHUNK
        run_program(program, inputs, outputs, m, NULL)
        sums[k] = scale * sum_of(terms, m)
        if g != NULL:
            found |= magnitude(g + k * CHUNK, m)
    return found
