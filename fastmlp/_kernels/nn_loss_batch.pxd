"""The rows of a batch that a loss reads: how it finds them, and how it transposes them."""
from .vm cimport program_t
from .simd cimport MAX_LANES, if_equal, lanes, load, load_n, real, splat, store_n, vec, vtranspose

cdef enum:
    FEW_COLUMNS = 64        # rows of so many columns or fewer are transposed; a multiple of the lanes of every vector

cdef struct loss_t:
    # The rows of a batch, row i at i times its stride; target, label and weight of row i at index[i].
    int code                         # of the loss, see nn_losses
    Py_ssize_t n                     # columns
    const void *z                    # logits, where the loss reads them:
    Py_ssize_t ldz
    void *a                          # then outputs are written, perhaps over z; else outputs, which are read
    Py_ssize_t lda
    void *d                          # gradient with respect to what is read
    Py_ssize_t ldd
    const Py_ssize_t *index
    const void *y                    # NULL where there are labels
    Py_ssize_t ldy
    const Py_ssize_t *labels         # NULL where there is y
    const void *weights              # NULL: each is 1
    double total                     # weights are divided by it, in the gradient alone
    double *values                   # the losses, unweighted
    const program_t *program         # of a traced loss: (target, output) to (term, derivative); the loss of a row is
    double scale                     # the sum of its terms times scale, plus shift
    double shift


cdef inline const real *target(const loss_t *g, Py_ssize_t i, const real *of) noexcept nogil:
    """Return the target of row i; NULL where it is a label, or there is none."""
    return <const real *> g.y + g.index[i] * g.ldy if g.y != NULL else NULL


cdef inline Py_ssize_t class_of(const loss_t *g, Py_ssize_t i) noexcept nogil:
    """Return the label of row i, or 0 where it is no class, so that no memory beyond the columns is touched."""
    cdef Py_ssize_t label = g.labels[g.index[i]]
    return label if 0 <= label < g.n else 0


cdef inline double factor(const loss_t *g, Py_ssize_t i, const real *of) noexcept nogil:
    """Return the factor of row i's gradient: its weight by the total."""
    return ((<const real *> g.weights)[g.index[i]] if g.weights != NULL else 1.0) / g.total


cdef inline vec factors(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, const real *of, vec like) noexcept nogil:
    """Return the factors of m rows, a row a lane."""
    cdef real[MAX_LANES] each
    cdef Py_ssize_t i
    if g.weights == NULL:
        return splat(factor(g, i0, of), like)
    for i in range(lanes(like)):
        each[i] = <real> factor(g, i0 + i, of) if i < m else <real> 0
    return load(each, like)


cdef inline void transpose(const real **rows, Py_ssize_t m, Py_ssize_t n, vec *columns, vec like) noexcept nogil:
    """columns = n columns of m rows, a row a lane; lanes from m on repeat the first."""
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


cdef inline void transpose_back(vec *columns, real *rows, Py_ssize_t ld, Py_ssize_t m, Py_ssize_t n,
                                vec like) noexcept nogil:
    """rows = the columns, transposed back; the columns are overwritten."""
    cdef const real *lane_of_column = <const real *> columns
    cdef Py_ssize_t W = lanes(like), i, j = 0
    if 4 * m * n <= W * W:
        for j in range(n):
            for i in range(m):
                rows[i * ld + j] = lane_of_column[j * W + i]
        return
    while j < n:
        for i in range(n - j, W):
            columns[j + i] = columns[j]     # is not stored
        vtranspose(columns + j)
        for i in range(m):
            store_n(rows + i * ld + j, columns[j + i], min(W, n - j))
        j += W


cdef inline vec labels(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, const real *of, vec like) noexcept nogil:
    """Return the labels of m rows, a row a lane."""
    cdef real[MAX_LANES] each
    cdef Py_ssize_t i
    for i in range(lanes(like)):
        each[i] = <real> g.labels[g.index[i0 + i]] if i < m else <real> 0
    return load(each, like)


cdef inline void transpose_targets(const loss_t *g, Py_ssize_t i0, Py_ssize_t m, vec *columns, const real *of,
                                   vec like) noexcept nogil:
    """columns = the targets of m rows, a row a lane; a label becomes ones and zeros."""
    cdef const real *rows[MAX_LANES]
    cdef vec number = splat(0.0, like), zero = number, one = splat(1.0, like), label
    cdef Py_ssize_t i, j
    if g.labels == NULL:
        for i in range(m):
            rows[i] = target(g, i0 + i, of)
        transpose(rows, m, g.n, columns, like)
        return
    label = labels(g, i0, m, of, like)
    for j in range(g.n):
        columns[j] = if_equal(label, number, one, zero)
        number = number + one
