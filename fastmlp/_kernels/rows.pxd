"""The rows that a loss takes, how it finds them, and how it turns them."""
from .program cimport program_t
from .simd cimport (
    MAX_LANES, if_equal, lanes, load, load_n, real, splat, store, store_n, vec, vtranspose
)

cdef enum:
    FEW = 64        # columns of rows that are turned, at most; a multiple of the lanes of every vector

cdef struct loss_t:
    # The rows of a batch, row i at i times its stride; target, label and weight of row i at index[i].
    int kind                         # of loss
    Py_ssize_t n                     # columns
    const void *z                    # logits, where the loss is taken from them:
    Py_ssize_t ldz
    void *a                          # then outputs are written, perhaps over z; else they are read
    Py_ssize_t lda
    void *d                          # gradient, by what is read
    Py_ssize_t ldd
    const Py_ssize_t *index
    const void *y                    # NULL where there are labels
    Py_ssize_t ldy
    const Py_ssize_t *labels         # NULL where there is y
    const void *weights              # NULL: each is 1
    double total                     # what weights are divided by, in the gradient alone
    double *values                   # the losses, unweighted
    const program_t *program         # of a recorded loss: target and output to term and slope; a row's loss is then
    double scale                     # the sum of its terms times scale, plus shift
    double shift


cdef inline const real *target(const loss_t *g, Py_ssize_t i, const real *of) noexcept nogil:
    """The target of row i, NULL where it is a label or there is none."""
    return <const real *> g.y + g.index[i] * g.ldy if g.y != NULL else NULL


cdef inline double factor(const loss_t *g, Py_ssize_t i, const real *of) noexcept nogil:
    """Of the gradient of row i."""
    return ((<const real *> g.weights)[g.index[i]] if g.weights != NULL else 1.0) / g.total


cdef inline vec factors(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, const real *of, vec like) noexcept nogil:
    """Those of m rows, a row a lane."""
    cdef real[MAX_LANES] each
    cdef Py_ssize_t i
    if g.weights == NULL:
        return splat(factor(g, i0, of), like)
    for i in range(lanes(like)):
        each[i] = <real> factor(g, i0 + i, of) if i < m else <real> 0
    return load(each, like)


cdef inline vec fetch(const real *p, Py_ssize_t left, vec like) noexcept nogil:
    """A vector of the numbers that are left, 0 beyond."""
    return load(p, like) if left >= lanes(like) else load_n(p, left, like)


cdef inline void put(real *p, vec x, Py_ssize_t left) noexcept nogil:
    if left >= lanes(x):
        store(p, x)
    else:
        store_n(p, x, left)


cdef inline void turn(const real **rows, Py_ssize_t m, Py_ssize_t n, vec *columns, vec like) noexcept nogil:
    """n columns of m rows, a row a lane; lanes from m on repeat the first."""
    cdef real *lane_of_column = <real *> columns
    cdef Py_ssize_t W = lanes(like), i, j = 0
    if 4 * m * n <= W * W:              # numbers so few are moved one by one
        for j in range(n):
            columns[j] = splat(rows[0][j], like)
            for i in range(1, m):
                lane_of_column[j * W + i] = rows[i][j]
        return
    while j < n:
        for i in range(W):
            columns[j + i] = load_n(rows[i if i < m else 0] + j, min(W, n - j), like)
        vtranspose(columns + j)
        j += W


cdef inline void turn_back(vec *columns, real *rows, Py_ssize_t ld, Py_ssize_t m, Py_ssize_t n, vec like) noexcept nogil:
    """And back into rows; the columns are lost."""
    cdef const real *lane_of_column = <const real *> columns
    cdef Py_ssize_t W = lanes(like), i, j = 0
    if 4 * m * n <= W * W:
        for j in range(n):
            for i in range(m):
                rows[i * ld + j] = lane_of_column[j * W + i]
        return
    while j < n:
        for i in range(n - j, W):
            columns[j + i] = columns[j]     # goes nowhere
        vtranspose(columns + j)
        for i in range(m):
            store_n(rows + i * ld + j, columns[j + i], min(W, n - j))
        j += W


cdef inline vec labels(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, const real *of, vec like) noexcept nogil:
    """Those of m rows, a row a lane."""
    cdef real[MAX_LANES] each
    cdef Py_ssize_t i
    for i in range(lanes(like)):
        each[i] = <real> g.labels[g.index[i0 + i]] if i < m else <real> 0
    return load(each, like)


cdef inline void turn_targets(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, vec *columns, const real *of,
                              vec like) noexcept nogil:
    """The targets; labels as ones and zeros."""
    cdef const real *rows[MAX_LANES]
    cdef vec number = splat(0.0, like), zero = number, one = splat(1.0, like), label
    cdef Py_ssize_t i, j
    if g.labels == NULL:
        for i in range(m):
            rows[i] = target(g, i0 + i, of)
        turn(rows, m, g.n, columns, like)
        return
    label = labels(g, i0, m, of, like)
    for j in range(g.n):
        columns[j] = if_equal(label, number, one, zero)
        number = number + one
