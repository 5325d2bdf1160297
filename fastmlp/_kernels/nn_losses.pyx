"""Losses: value and gradient together; and accuracies."""
from libc.math cimport INFINITY, NAN, log
from libc.string cimport memcpy

from .nn_softmax_crossentropy cimport sigmoid_crossentropy, softmax_crossentropy
from .vm cimport run_program
from .nn_loss_batch cimport FEW_COLUMNS, factor, labels, loss_t, target, transpose, transpose_targets
from .simd cimport (
    MAX_LANES, across_sum, fetch, first_n, if_at_least, if_equal, if_less, lane, lanes, load, load_n, real, splat,
    splat_f32, splat_f64, store, vec, vmax
)
from .simd_sums cimport sum_of

cdef enum:
    CHUNK = 512          # numbers that a traced loss takes at once: many narrow rows, or a part of a wide one


cdef inline double squared_error(const real *a, const real *y, Py_ssize_t n, real scale, real *da) noexcept nogil:
    """Return sum (a - y)^2 in float64, eight sums side by side where n allows it; da = scale (a - y)."""
    cdef real[8] d
    cdef double[8] sums
    cdef double total = 0
    cdef Py_ssize_t j = 0, k
    if n >= 8:
        for k in range(8):
            sums[k] = 0
        while j + 8 <= n:
            for k in range(8):
                d[k] = a[j + k] - y[j + k]
            for k in range(8):
                sums[k] += <double> d[k] * d[k]
                da[j + k] = scale * d[k]
            j += 8
        total = ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]))
    while j < n:
        d[0] = a[j] - y[j]
        total += <double> d[0] * d[0]
        da[j] = scale * d[0]
        j += 1
    return total


cdef void squared_errors(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil:
    """values = part sum (a - y)^2 of each row, with part = 1 / 2 or 1 / n."""
    # divided once: two divisions are a third of a row's time
    cdef double part = 0.5 if g.code == HALF_SQUARED_ERROR else 1.0 / g.n, even = 1.0 / g.total
    cdef Py_ssize_t i
    for i in range(i0, i1):
        if g.weights != NULL:
            even = factor(g, i, of)
        g.values[i] = part * squared_error(<const real *> g.a + i * g.lda, target(g, i, of), g.n,
                                           <real> (2.0 * part * even), <real *> g.d + i * g.ldd)


cdef double crossentropy(int code, const real *a, const real *y, Py_ssize_t label, Py_ssize_t n, double weight,
                         real *da) noexcept nogil:
    """Return -sum y log a, or the mean of the binary form, of probabilities that are kept off 0 by 1e-38 (1e-300)."""
    cdef Py_ssize_t j
    cdef double tiny = 1e-38 if real is float else 1e-300, total = 0, p, q
    for j in range(n):
        p = max(<double> a[j], tiny)
        if code == SPARSE_CROSSENTROPY:
            da[j] = <real> (-weight / p) if j == label else <real> 0
            if j == label:
                total -= log(p)
        elif code == CROSSENTROPY:
            da[j] = <real> (-weight * y[j] / p)
            if y[j] != 0:
                total -= y[j] * log(p)
        else:
            q = max(1.0 - <double> a[j], tiny)
            da[j] = <real> (weight / n * ((1.0 - y[j]) / q - y[j] / p))
            total -= (y[j] * log(p) + (1.0 - y[j]) * log(q)) / n
    return total


cdef void program_chunk(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, Py_ssize_t j, Py_ssize_t n,
                        const real *of) noexcept nogil:
    """Add the terms of columns j .. j + n of m rows of a traced loss to their values, and write the derivatives."""
    cdef real[CHUNK] y, a, terms, slopes
    cdef const real *inputs[2]
    cdef real *outputs[2]
    cdef real *d
    cdef Py_ssize_t i, k
    cdef real weight
    for i in range(m):
        memcpy(y + i * n, target(g, i0 + i, of) + j, n * sizeof(real))
        memcpy(a + i * n, <const real *> g.a + (i0 + i) * g.lda + j, n * sizeof(real))
    inputs[0], inputs[1], outputs[0], outputs[1] = y, a, terms, slopes
    run_program(g.program, inputs, outputs, m * n, NULL)
    for i in range(m):
        g.values[i0 + i] += g.scale * sum_of(terms + i * n, n)
        d = <real *> g.d + (i0 + i) * g.ldd + j
        weight = <real> factor(g, i0 + i, of)
        for k in range(n):
            d[k] = weight * slopes[i * n + k]


cdef void program_rows(const loss_t *g, Py_ssize_t i, Py_ssize_t i1, const real *of) noexcept nogil:
    """values and d of a traced loss.

    Its program works number by number, and the terms of a row are summed in one order, so that neither the rows beside
    it nor where they are cut change a bit.
    """
    cdef Py_ssize_t m = max(CHUNK // g.n, 1), k, j
    while i < i1:
        m = min(m, i1 - i)
        for k in range(m):
            g.values[i + k] = g.shift
        j = 0
        while j < g.n:
            program_chunk(g, i, m, j, min(CHUNK, g.n - j), of)
            j += CHUNK
        i += m


cdef void loss_rows(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil:
    """values = the losses of rows i0 .. i1, d = their gradients times weight / total."""
    cdef Py_ssize_t i, label = 0
    if g.code == SPARSE_SOFTMAX_CROSSENTROPY or g.code == SOFTMAX_CROSSENTROPY:
        softmax_crossentropy(g, i0, i1, of)
    elif g.code == SIGMOID_CROSSENTROPY:
        sigmoid_crossentropy(g, i0, i1, of)
    elif g.code == PROGRAM:
        program_rows(g, i0, i1, of)
    elif g.code == HALF_SQUARED_ERROR or g.code == MEAN_SQUARED_ERROR:
        squared_errors(g, i0, i1, of)
    else:
        for i in range(i0, i1):
            if g.labels != NULL:
                label = g.labels[g.index[i]]
            g.values[i] = crossentropy(g.code, <const real *> g.a + i * g.lda, target(g, i, of), label, g.n,
                                       factor(g, i, of), <real *> g.d + i * g.ldd)


# Targets that a loss can't take: somebody may have written to them since they were checked

cdef inline bint are_classes(const loss_t *g, Py_ssize_t i, Py_ssize_t i1) noexcept nogil:
    """Return whether the targets of rows i .. i1 are classes."""
    cdef bint fine = True
    while i < i1:
        fine &= <size_t> g.labels[g.index[i]] < <size_t> g.n
        i += 1
    return fine


cdef inline bint are_probabilities(const loss_t *g, Py_ssize_t i, Py_ssize_t i1, const real *of,
                                   vec like) noexcept nogil:
    """Return whether those of rows i .. i1 are rows of probabilities; NaN is none."""
    cdef const real *y
    cdef Py_ssize_t W = lanes(like), j
    cdef vec zero = splat(0.0, like), one = splat(1.0, like), bad = zero, x
    while i < i1:
        y, j = target(g, i, of), 0
        while j < g.n:
            x = fetch(y + j, g.n - j, like)
            bad = bad + if_at_least(x, zero, if_at_least(one, x, zero, one), one)
            j += W
        i += 1
    return lane(across_sum(bad), 0) == 0


cdef inline void refuse_rows_over(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of,
                                  vec like) noexcept nogil:
    cdef Py_ssize_t i
    if are_classes(g, i0, i1) if g.y == NULL else are_probabilities(g, i0, i1, of, like):
        return
    for i in range(i0, i1):
        if not (are_classes(g, i, i + 1) if g.y == NULL else are_probabilities(g, i, i + 1, of, like)):
            g.values[i] = NAN


cdef void refuse_rows(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil:
    """values = NaN in rows whose target is neither a class nor a row of probabilities."""
    if real is float:
        refuse_rows_over(g, i0, i1, of, splat_f32(0))
    else:
        refuse_rows_over(g, i0, i1, of, splat_f64(0))


# Accuracy

cdef inline vec argmax_transposed(const vec *x, Py_ssize_t n) noexcept nogil:
    """Return the index of the largest number, the first of several, a row a lane."""
    cdef Py_ssize_t j
    cdef vec best = x[0], number = splat(0.0, best), at = number, one = splat(1.0, best)
    for j in range(1, n):
        number = number + one
        at = if_less(best, x[j], number, at)
        best = vmax(best, x[j])
    return at


cdef inline void accuracy_transposed(const loss_t *g, int metric, Py_ssize_t i0, Py_ssize_t m, double *values,
                                     const real *of, vec like) noexcept nogil:
    cdef vec[FEW_COLUMNS] x
    cdef const real *rows[MAX_LANES]
    cdef vec at, right
    cdef Py_ssize_t i
    for i in range(m):
        rows[i] = <const real *> g.a + (i0 + i) * g.lda
    transpose(rows, m, g.n, x, like)
    at = argmax_transposed(x, g.n)
    if metric == SPARSE_ACCURACY:
        right = labels(g, i0, m, of, like)
    else:
        transpose_targets(g, i0, m, x, of, like)
        right = argmax_transposed(x, g.n)
    right = if_equal(at, right, splat(1.0, like), splat(0.0, like))
    for i in range(m):
        values[i0 + i] = lane(right, i)


cdef inline Py_ssize_t argmax(const real *a, Py_ssize_t n, vec like) noexcept nogil:
    """Return the same for one row: of each lane, then of all. A NaN in column 0 wins, any other NaN loses."""
    cdef real[MAX_LANES] high, where
    cdef Py_ssize_t W = lanes(like), j, k = 0
    cdef vec least = splat(-INFINITY, like), best = least, number, at = splat(0.0, like), x
    for j in range(W):
        where[j] = <real> j
    number = load(where, like)
    if a[0] != a[0]:
        return 0
    j = 0
    while j < n:
        x = load(a + j, like) if n - j >= W else first_n(load_n(a + j, n - j, like), n - j, least)
        at = if_less(best, x, number, at)
        best = vmax(best, x)
        number = number + splat(<double> W, like)
        j += W
    store(high, best)
    store(where, at)
    for j in range(1, W):
        if high[j] > high[k] or (high[j] == high[k] and where[j] < where[k]):
            k = j
    return <Py_ssize_t> where[k]


cdef inline void accuracies(const loss_t *g, int metric, Py_ssize_t i, Py_ssize_t i1, double *values, const real *of,
                            vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), j, m, right
    cdef real least = <real> (0.5 if metric == BINARY_ACCURACY else 0.0)    # an output above it says yes
    cdef const real *a
    cdef const real *y
    while i < i1:
        a, y = <const real *> g.a + i * g.lda, target(g, i, of)
        m = min(W, i1 - i)
        if metric < BINARY_ACCURACY and g.n <= FEW_COLUMNS and m > 1:
            accuracy_transposed(g, metric, i, m, values, of, like)
            i += m
            continue
        if metric >= BINARY_ACCURACY:
            right = 0
            for j in range(g.n):
                right += (a[j] > least) == (y[j] > <real> 0.5)
            values[i] = <double> right / g.n
        else:
            right = g.labels[g.index[i]] if metric == SPARSE_ACCURACY else argmax(y, g.n, like)
            values[i] = argmax(a, g.n, like) == right
        i += 1


cdef void accuracy_rows(const loss_t *g, int metric, Py_ssize_t i0, Py_ssize_t i1, double *values,
                        const real *of) noexcept nogil:
    """values = 1 where the largest output is the label; of yes-or-no outputs the share on the right side."""
    if real is float:
        accuracies(g, metric, i0, i1, values, of, splat_f32(0))
    else:
        accuracies(g, metric, i0, i1, values, of, splat_f64(0))
