"""Softmax, and the cross-entropies of softmax and sigmoid: value and gradient together.

They are computed from the logits z, so that they neither overflow nor lose digits: -log softmax(z)_k is
max z - z_k + log sum exp(z - max z), and the sigmoid's has log(1 + e^-|z|). The largest terms of that sum are 1; one of
them is left to log1p, so that a loss near 0 has all its digits.

Rows of few columns are transposed: as many as a vector has lanes are computed together, a row a lane. Other rows are
computed one by one, and so is a last row; it has the bits that it would have among others, since a sum over few columns
always goes in the order of the columns. In a sum over many, each lane adds its own columns, then lanes are summed by
pairs. Either way CHUNK terms are summed at a time, and then the chunks: fewer additions touch a term, so it is rounded
less.
"""
from libc.math cimport INFINITY
from libc.string cimport memset

from .simd_elementary cimport log1p_finite, vexp, vsigmoid
from .nn_loss_batch cimport (
    FEW_COLUMNS, class_of, factor, factors, loss_t, target, transpose, transpose_back, transpose_targets
)
from .simd cimport (
    MAX_LANES, across_max, across_sum, fetch, first_n, fma, if_at_least, if_equal, lane, lanes, load, load_n, put, real,
    splat, splat_f32, splat_f64, store, vabs, vec, vmax
)

cdef enum:
    CHUNK = 16      # terms


cdef inline void add_term(vec x, Py_ssize_t j, vec *sum) noexcept nogil:
    """Add term j to sum[0], the chunk's; where a chunk begins, move that to sum[1] first."""
    if j % CHUNK == 0:
        sum[1] = sum[1] + sum[0]
        sum[0] = x
    else:
        sum[0] = sum[0] + x


# A few columns, some rows

cdef inline void softmax_transposed(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, const real *of,
                                    vec like) noexcept nogil:
    """a = softmax(z) of m rows; with targets, sum y (log sum exp z - z) and its gradient a sum y - y."""
    cdef vec[FEW_COLUMNS] x, y
    cdef vec[2] rests, sums, dots
    cdef const real *rows[MAX_LANES]
    cdef Py_ssize_t n = g.n, i, j
    cdef bint sparse = g.labels != NULL, targets = sparse or g.y != NULL
    cdef vec zero = splat(0.0, like), one = splat(1.0, like), high = splat(-INFINITY, like), ones = zero, scale = one
    cdef vec d, rest, sum
    rests[0] = rests[1] = sums[0] = sums[1] = dots[0] = dots[1] = zero
    for i in range(m):
        rows[i] = <const real *> g.z + (i0 + i) * g.ldz
    transpose(rows, m, n, x, like)
    if targets:
        transpose_targets(g, i0, m, y, of, like)
        scale = factors(g, i0, m, of, like)
    for j in range(n):
        high = vmax(high, x[j])
    for j in range(n):
        d = x[j] - high
        x[j] = vexp(d)
        ones = ones + if_at_least(d, zero, one, zero)
        add_term(if_at_least(d, zero, zero, x[j]), j, rests)
        if targets:
            add_term(y[j], j, sums)
            add_term(if_equal(y[j], one, d, zero) if sparse else y[j] * d, j, dots)
    rest, sum = rests[1] + rests[0], sums[1] + sums[0]
    d = one / (rest + ones)
    for j in range(n):
        x[j] = x[j] * d
        if targets:
            y[j] = scale * (x[j] * sum - y[j])
    transpose_back(x, <real *> g.a + i0 * g.lda, g.lda, m, n, like)
    if targets:
        transpose_back(y, <real *> g.d + i0 * g.ldd, g.ldd, m, n, like)
        d = sum * log1p_finite(rest + (ones - one)) - (dots[1] + dots[0])
        for i in range(m):
            g.values[i0 + i] = lane(d, i)


cdef inline void sigmoid_transposed(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, const real *of,
                                    vec like) noexcept nogil:
    """a = sigmoid(z) of m rows, mean of max(z, 0) - y z + log(1 + e^-|z|), gradient (a - y) / n."""
    cdef vec[FEW_COLUMNS] x, y
    cdef vec[2] totals
    cdef const real *rows[MAX_LANES]
    cdef Py_ssize_t n = g.n, i, j
    cdef vec zero = splat(0.0, like), scale = factors(g, i0, m, of, like) / splat(n, like), z
    totals[0] = totals[1] = zero
    for i in range(m):
        rows[i] = <const real *> g.z + (i0 + i) * g.ldz
    transpose(rows, m, n, x, like)
    transpose_targets(g, i0, m, y, of, like)
    for j in range(n):
        z = x[j]
        add_term(vmax(z, zero) - y[j] * z + log1p_finite(vexp(-vabs(z))), j, totals)
        x[j] = vsigmoid(z)
        y[j] = scale * (x[j] - y[j])
    z = totals[1] + totals[0]
    for i in range(m):
        g.values[i0 + i] = lane(z, i) / n
    transpose_back(x, <real *> g.a + i0 * g.lda, g.lda, m, n, like)
    transpose_back(y, <real *> g.d + i0 * g.ldd, g.ldd, m, n, like)


# One row

cdef inline void add_terms(vec x, Py_ssize_t j, Py_ssize_t n, vec *sum, real *terms) noexcept nogil:
    """Add a vector of terms, from j on, to a sum of n; where n is small, store them in `terms`."""
    if n <= FEW_COLUMNS:
        store(terms + j, x)
    else:
        add_term(x, j // lanes(x), sum)


cdef inline vec sum_of(const vec *sum, Py_ssize_t n, const real *terms) noexcept nogil:
    """Return that sum, in every lane."""
    cdef real chunk = 0, total = 0
    cdef Py_ssize_t j
    if n > FEW_COLUMNS:
        return across_sum(sum[1] + sum[0])
    for j in range(n):
        if j % CHUNK == 0:
            total += chunk
            chunk = terms[j]
        else:
            chunk += terms[j]
    return splat(total + chunk, sum[0])


cdef inline vec highest(const real *z, Py_ssize_t n, vec like) noexcept nogil:
    """Return the largest of n numbers, in every lane."""
    cdef Py_ssize_t W = lanes(like), j = 0
    cdef vec least = splat(-INFINITY, like), high = least
    while j + W <= n:
        high = vmax(high, load(z + j, like))
        j += W
    if j < n:
        high = vmax(high, first_n(load_n(z + j, n - j, like), n - j, least))
    return across_max(high)


cdef inline vec exponentials(const real *z, real *a, Py_ssize_t n, vec high, vec *rest, vec *last) noexcept nogil:
    """a = exp(z - high), rest = their sum without those that are 1, last = the last vector; return how many are 1."""
    cdef real[FEW_COLUMNS] terms
    cdef Py_ssize_t W = lanes(high), j = 0
    cdef vec zero = splat(0.0, high), one = splat(1.0, high), ones = zero, d, e = zero
    cdef vec[2] sum
    sum[0] = sum[1] = zero
    while j < n:
        d = fetch(z + j, n - j, high) - high
        if n - j < W:       # lanes beyond the last column must not underflow, which is slow
            d = first_n(d, n - j, -one)
            e = first_n(vexp(d), n - j, zero)
        else:
            e = vexp(d)
        put(a + j, e, n - j)
        add_terms(if_at_least(d, zero, zero, e), j, n, sum, terms)
        ones = ones + if_at_least(d, zero, one, zero)
        j += W
    rest[0], last[0] = sum_of(sum, n, terms), e
    return across_sum(ones)


cdef inline void softmax_row(const loss_t *g, Py_ssize_t i, const real *of, vec like) noexcept nogil:
    """Compute the same as softmax_transposed, for one row."""
    cdef real[FEW_COLUMNS] terms, other_terms
    cdef const real *z = <const real *> g.z + i * g.ldz
    cdef const real *y = target(g, i, of)
    cdef real *a = <real *> g.a + i * g.lda
    cdef real *d = <real *> g.d + i * g.ldd
    cdef Py_ssize_t W = lanes(like), n = g.n, j, label = 0
    cdef vec zero = splat(0.0, like), one = splat(1.0, like), high = highest(z, n, like), sum = one, dot = zero
    cdef vec rest, ones, p, t, last
    cdef vec[2] sums, dots
    cdef real own, scale
    sums[0] = sums[1] = dots[0] = dots[1] = zero
    if y != NULL:                       # the logits are read before `a`, which may be the same memory, is written
        j = 0
        while j < n:
            t = fetch(y + j, n - j, like)
            add_terms(t, j, n, sums, terms)
            add_terms(t * (fetch(z + j, n - j, like) - high), j, n, dots, other_terms)
            j += W
        sum, dot = sum_of(sums, n, terms), sum_of(dots, n, other_terms)
    elif g.labels != NULL:
        label = class_of(g, i)
        dot = splat(z[label], like) - high
    ones = exponentials(z, a, n, high, &rest, &last)
    p = one / (rest + ones)
    if g.d == NULL:
        j = 0
        while j < n:
            # a vector just stored in part is slow to load
            t = load(a + j, like) if n - j >= W else last
            put(a + j, t * p, n - j)
            j += W
        return
    g.values[i] = lane(sum * log1p_finite(rest + (ones - one)) - dot, 0)
    scale = <real> factor(g, i, of)
    own = a[label] * <real> lane(p, 0)
    j = 0
    while j < n:
        t = (load(a + j, like) if n - j >= W else last) * p
        put(a + j, t, n - j)
        if y != NULL:
            t = t * sum - fetch(y + j, n - j, like)
        put(d + j, t * splat(scale, like), n - j)
        j += W
    if g.labels != NULL:
        d[label] = (own - <real> 1) * scale


cdef inline void sigmoid_row(const loss_t *g, Py_ssize_t i, const real *of, vec like) noexcept nogil:
    """Compute the same as sigmoid_transposed, for one row."""
    cdef real[FEW_COLUMNS] terms
    cdef const real *z = <const real *> g.z + i * g.ldz
    cdef const real *y = target(g, i, of)
    cdef real *a = <real *> g.a + i * g.lda
    cdef real *d = <real *> g.d + i * g.ldd
    cdef Py_ssize_t W = lanes(like), n = g.n, j = 0
    cdef vec zero = splat(0.0, like), scale = splat(factor(g, i, of), like) / splat(n, like), x, t, p
    cdef vec[2] total
    total[0] = total[1] = zero
    while j < n:
        x, t = fetch(z + j, n - j, like), fetch(y + j, n - j, like)
        p = vmax(x, zero) - t * x + log1p_finite(vexp(-vabs(x)))
        add_terms(first_n(p, n - j, zero) if n - j < W else p, j, n, total, terms)
        p = vsigmoid(x)
        put(a + j, p, n - j)
        put(d + j, scale * (p - t), n - j)
        j += W
    g.values[i] = lane(sum_of(total, n, terms), 0) / n


# All rows

cdef inline void softmax_over(const loss_t *g, Py_ssize_t i, Py_ssize_t i1, const real *of, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), m
    while i < i1:
        m = min(W, i1 - i)
        if g.n > FEW_COLUMNS or m == 1 or W == 2:
            m = 1
            softmax_row(g, i, of, like)
        else:
            softmax_transposed(g, i, m, of, like)
        i += m


cdef inline void sigmoid_over(const loss_t *g, Py_ssize_t i, Py_ssize_t i1, const real *of, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), m
    while i < i1:
        m = min(W, i1 - i)
        if g.n > FEW_COLUMNS or m == 1 or W == 2:
            m = 1
            sigmoid_row(g, i, of, like)
        else:
            sigmoid_transposed(g, i, m, of, like)
        i += m


cdef void softmax_crossentropy(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil:
    """a = softmax(z), and unless d is NULL values = sum y (log sum exp z - z), d = a sum y - y; rows i0 .. i1."""
    if real is float:
        softmax_over(g, i0, i1, of, splat_f32(0))
    else:
        softmax_over(g, i0, i1, of, splat_f64(0))


cdef void sigmoid_crossentropy(const loss_t *g, Py_ssize_t i0, Py_ssize_t i1, const real *of) noexcept nogil:
    """a = sigmoid(z), values = mean of max(z, 0) - y z + log(1 + e^-|z|), d = (a - y) / n; rows i0 .. i1."""
    if real is float:
        sigmoid_over(g, i0, i1, of, splat_f32(0))
    else:
        sigmoid_over(g, i0, i1, of, splat_f64(0))


cdef void softmax_forward(const real *z, Py_ssize_t ldz, real *a, Py_ssize_t lda, Py_ssize_t m,
                          Py_ssize_t n) noexcept nogil:
    """a = exp(z) / sum exp(z) over each of m rows; a may be z."""
    cdef loss_t g
    memset(&g, 0, sizeof(g))
    g.n, g.z, g.ldz, g.a, g.lda = n, z, ldz, a, lda
    softmax_crossentropy(&g, 0, m, z)


cdef inline void softmax_backward_over(const real *a, const real *da, real *dz, Py_ssize_t n, vec like) noexcept nogil:
    cdef Py_ssize_t W = lanes(like), j = 0
    cdef vec sum = splat(0.0, like)
    while j < n:
        sum = fma(fetch(da + j, n - j, like), fetch(a + j, n - j, like), sum)
        j += W
    sum = across_sum(sum)
    j = 0
    while j < n:
        put(dz + j, fetch(a + j, n - j, like) * (fetch(da + j, n - j, like) - sum), n - j)
        j += W


cdef void softmax_backward(const real *a, const real *da, real *dz, Py_ssize_t n) noexcept nogil:
    """dz = a (da - sum_k da_k a_k) over one row; dz may be da."""
    if real is float:
        softmax_backward_over(a, da, dz, n, splat_f32(0))
    else:
        softmax_backward_over(a, da, dz, n, splat_f64(0))
