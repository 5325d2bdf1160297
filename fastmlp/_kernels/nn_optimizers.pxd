"""Updates of built-in optimizers over a range of the flat arenas."""
from .simd cimport real

cdef void sgd_update(real *w, const real *g, real *velocity, Py_ssize_t n, double learning_rate, double momentum,
                     bint nesterov) noexcept nogil
cdef void decay(real *w, Py_ssize_t n, double factor) noexcept nogil
cdef void adam_update(real *w, const real *g, real *m, real *v, Py_ssize_t n, double learning_rate, double beta_1,
                      double beta_2, double epsilon, Py_ssize_t step) noexcept nogil
cdef void average_update(real *average, real *w, Py_ssize_t n, double momentum, bint overwrite) noexcept nogil
cdef bint all_finite(const real *x, Py_ssize_t n) noexcept nogil
cdef Py_ssize_t magnitude(const real *x, Py_ssize_t n) noexcept nogil
cdef bint within(const real *x, Py_ssize_t n, double least, double most) noexcept nogil

cdef enum:
    # What a thread notes of the numbers it has met, as bits.
    NONFINITE = 1        # NaN or infinity: the step is refused
    LARGE = 2            # finite, but the update might not be: see `stays_finite` in plan_update
    OVERFLOW = 4         # what an update has written is not finite, and must be taken back

cdef inline double most_squares() noexcept nogil:
    """Return 2^100: what the squares of gradients may sum to in a step whose update needs no look."""
    return 1267650600228229401496703205376.0
