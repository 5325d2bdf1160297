"""A GEMM in data, and what is done to its register tile before it is written.

A tile has sizeof(rows_t) rows and sizeof(width_t) vectors of columns; both are types, so loops over them have bounds
that the compiler knows, unrolls, and keeps in registers. Passes over the tile stand one after another, each under one
condition, for the same reason. The usual ends of a whole tile have code of their own, `end_whole`; others, and tiles
with fewer columns, go through `finish` by vectors of columns.
"""
from libc.math cimport INFINITY

from .activations cimport IDENTITY, LEAKY_RELU, RELU, RELU_BY_SIGN, activation_backward, activation_forward
from .program cimport extension_t
from .simd cimport (
    KC, NV, afresh, fma, if_at_least, if_less, if_unsigned, inlined, lanes, load, load_n, real, rows_t, splat, store,
    store_n, vec, vmax
)

cdef struct gemm_t:
    # c = a b, with a (m, k), b (k, n). Element (i, k) of `a` is a[starts[i] + steps[k]]: rows of a batch gathered by
    # index are starts, and the transpose only trades the two.
    Py_ssize_t m, n, k
    const void *a
    const Py_ssize_t *starts
    const Py_ssize_t *steps
    Py_ssize_t lda               # about what the larger of the two steps by
    bint a_transposed            # numbers are neighbours along i, not along k
    bint gathered                # and then `steps` may have any distances; else they have one
    const void *b
    Py_ssize_t ldb
    bint b_transposed            # b is stored (n, k)
    const void *packed           # the panels of all of b that `pack` has copied, or NULL: copies are made as needed
    void *c
    Py_ssize_t ldc
    # forward epilogue: z = c * scale + shift (either may be NULL), kept in c; activation = g(z)
    const void *scale
    const void *shift
    void *activation
    Py_ssize_t ld_activation
    # or backward epilogue: c *= g'(z)
    const void *z
    const void *a_of_z           # g(z), for derivatives that use it; laid out as z
    Py_ssize_t ldz
    int kind                     # activations.KIND
    double slope                 # leaky_relu below zero
    double at_zero
    const extension_t *extension
    Py_ssize_t *bad              # where to note that c is not finite, or NULL


cdef struct part_t:
    # one block of a: rows i0 .. i0 + rows over k0 .. k0 + depth, where it lies in memory (in place, or copied)
    const void *a
    const Py_ssize_t *starts
    const Py_ssize_t *steps
    Py_ssize_t i0, rows, k0, depth
    double[8] check              # a vector: 0 times all that was written, so NaN where that was not finite


cdef inline Py_ssize_t block_depth(Py_ssize_t k) noexcept nogil:
    """Steps of a block of k: the fewest blocks of KC or less, of one depth; the last takes what is left."""
    cdef Py_ssize_t blocks = (k + KC - 1) // KC
    if blocks < 2:
        return max(k, 1)
    return ((k + blocks - 1) // blocks + 7) // 8 * 8


cdef inline void put(real *p, vec x, Py_ssize_t n) noexcept nogil:
    if n == lanes(x):
        store(p, x)
    else:
        store_n(p, x, n)


cdef enum:      # how a whole tile ends
    ASIDE = 0       # by `finish`
    PLAIN = 1       # c as it is
    RAISED = 2      # max(c + rise, floor): bias, ReLU, or both
    MASKED = 3      # c where a ReLU that was kept by sign was not 0


cdef inline bint is_swept(int kind) noexcept nogil:
    """Whether g is longer than a select, and swept over the finished block of c."""
    return kind != IDENTITY and kind != LEAKY_RELU and kind != RELU and kind != RELU_BY_SIGN


cdef inline int ending_of(const gemm_t *g, const part_t *part) noexcept nogil:
    """The usual ends have code of their own; activations that are swept over the finished block count as none."""
    if part.k0 + part.depth < g.k:
        return PLAIN
    if g.scale != NULL:
        return ASIDE
    if g.a_of_z != NULL:
        if g.kind == RELU_BY_SIGN:
            return MASKED
        return ASIDE if g.kind == LEAKY_RELU or (g.kind == RELU and g.at_zero == 1.0) else PLAIN
    if g.activation == NULL or is_swept(g.kind):
        return PLAIN if g.shift == NULL else RAISED
    return RAISED if g.activation == g.c and g.kind != LEAKY_RELU else ASIDE


cdef struct ending_t:
    # What a whole tile is ended with, in memory: while its sums are made, registers are short.
    double[NV][8] rise              # vectors: what is added to each column,
    double[8] floor                 # and what a number is at least
    bint checks                     # that numbers are finite


cdef inline void prepare_end(const gemm_t *g, const part_t *part, Py_ssize_t j, const real *scalar, ending_t *end,
                             vec like) noexcept nogil:
    """Fills `end` for columns from j on; rise and floor change no number where there is nothing to do."""
    cdef Py_ssize_t v
    cdef vec rise, none = splat(-0.0, like), floor = splat(-INFINITY, like)
    cdef bint last = part.k0 + part.depth == g.k
    if last and g.activation != NULL and (g.kind == RELU or g.kind == RELU_BY_SIGN):
        floor = splat(0.0, none)
        if g.kind == RELU_BY_SIGN:      # what is below 0 becomes -0; what is 0 becomes +0 by being added to it
            none, floor = floor, none
    for v in range(NV):
        rise = none
        if last and g.shift != NULL:
            rise = load(<const real *> g.shift + j + v * lanes(none), none) + none
        store(<real *> end.rise[v], rise)
    store(<real *> end.floor, floor)
    end.checks = last and g.bad != NULL


cdef inline inlined end_whole(const gemm_t *g, part_t *part, int ending, Py_ssize_t i, Py_ssize_t j, real *c, vec *acc,
                              const ending_t *end, vec like, const rows_t *height) noexcept nogil:
    """Ends the tile at c, of rows from i on and columns from j on, as asked, all in registers.

    What this needs is found `afresh`: else it would be kept in registers that sums need.
    """
    cdef Py_ssize_t r, v, W = lanes(like), ldc = g.ldc, ldz
    cdef const real *a
    cdef vec[NV] rise
    cdef vec floor, total, column, zero = splat(0.0, like)
    if end.checks:
        total = load(<const real *> part.check, like)
        for v in range(NV):
            column = zero
            for r in range(sizeof(rows_t)):
                column = fma(acc[r * NV + v], zero, column)
            total = total + column
        store(<real *> part.check, total)
    c, end = <real *> afresh(c), <const ending_t *> afresh(<void *> end)
    if ending == RAISED:
        for v in range(NV):
            rise[v] = load(<const real *> end.rise[v], like)
        floor = load(<const real *> end.floor, like)
        for r in range(sizeof(rows_t)):
            for v in range(NV):
                store(c + v * W, vmax(acc[r * NV + v] + rise[v], floor))
            c += ldc
    elif ending == PLAIN:
        for r in range(sizeof(rows_t)):
            for v in range(NV):
                store(c + v * W, acc[r * NV + v])
            c += ldc
    else:
        a, ldz = <const real *> g.a_of_z + i * g.ldz + j, g.ldz
        for r in range(sizeof(rows_t)):
            for v in range(NV):
                store(c + v * W, if_unsigned(load(a + v * W, like), acc[r * NV + v], zero))
            c += ldc
            a += ldz


cdef inline void affine(const gemm_t *g, Py_ssize_t j, Py_ssize_t n, vec *acc, const real *scalar,
                        const rows_t *height) noexcept nogil:
    """Times scale, plus shift, by column."""
    cdef Py_ssize_t r
    cdef vec x
    if g.scale != NULL:
        x = load_n(<const real *> g.scale + j, n, acc[0])
        for r in range(sizeof(rows_t)):
            acc[r] = acc[r] * x
    if g.shift != NULL:
        x = load_n(<const real *> g.shift + j, n, acc[0])
        for r in range(sizeof(rows_t)):
            acc[r] = acc[r] + x


cdef inline void activate(const gemm_t *g, vec *acc, const rows_t *height) noexcept nogil:
    """g(z) where that is a select; longer ones are swept over the finished block."""
    cdef Py_ssize_t r
    cdef vec zero = splat(0.0, acc[0]), slope = splat(g.slope, acc[0]), minus = splat(-0.0, acc[0])
    if g.kind == RELU_BY_SIGN:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(acc[r], zero, minus, acc[r] + zero)
    elif g.kind == RELU:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(acc[r], zero, zero, acc[r])
    elif g.kind == LEAKY_RELU:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(acc[r], zero, acc[r] * slope, acc[r])


cdef inline void derive(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc, const real *scalar,
                        const rows_t *height) noexcept nogil:
    """Times g'(z) where that is a select."""
    cdef const real *z = (<const real *> g.z) + i * g.ldz + j
    cdef const real *a = (<const real *> g.a_of_z) + i * g.ldz + j
    cdef Py_ssize_t r
    cdef vec zero = splat(0.0, acc[0]), slope = splat(g.slope, acc[0])
    if g.kind == RELU_BY_SIGN:
        for r in range(sizeof(rows_t)):
            acc[r] = if_unsigned(load_n(a + r * g.ldz, n, zero), acc[r], zero)
    elif g.kind == RELU and g.at_zero == 1.0:
        for r in range(sizeof(rows_t)):
            acc[r] = if_at_least(load_n(z + r * g.ldz, n, zero), zero, acc[r], zero)
    elif g.kind == LEAKY_RELU:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(load_n(z + r * g.ldz, n, zero), zero, acc[r] * slope, acc[r])


cdef inline void finish(const gemm_t *g, part_t *part, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc,
                        const real *scalar, const rows_t *height) noexcept nogil:
    """A vector of columns, n of them: adds the blocks of k before, and after the last does what was asked for; writes."""
    cdef Py_ssize_t r
    cdef real *c = <real *> g.c + i * g.ldc + j
    cdef real *a
    cdef vec total
    if part.k0 != 0:
        for r in range(sizeof(rows_t)):
            acc[r] = acc[r] + load_n(<const real *> c + r * g.ldc, n, acc[0])
    if part.k0 + part.depth == g.k:
        if g.bad != NULL:
            total = load(<const real *> part.check, acc[0])
            for r in range(sizeof(rows_t)):
                total = fma(acc[r], splat(0.0, total), total)
            store(<real *> part.check, total)
        affine(g, j, n, acc, scalar, height)
        if g.a_of_z != NULL:
            derive(g, i, j, n, acc, scalar, height)
        elif g.activation != NULL:
            if g.activation != g.c:
                for r in range(sizeof(rows_t)):
                    put(c + r * g.ldc, acc[r], n)
            activate(g, acc, height)
            a = <real *> g.activation + i * g.ld_activation + j
            for r in range(sizeof(rows_t)):
                put(a + r * g.ld_activation, acc[r], n)
            return
    for r in range(sizeof(rows_t)):
        put(c + r * g.ldc, acc[r], n)


cdef inline void note(const gemm_t *g, const part_t *part, const real *scalar, vec like) noexcept nogil:
    """Whether all that was written was finite."""
    cdef Py_ssize_t k
    for k in range(lanes(like)):
        if (<const real *> part.check)[k] != 0:
            g.bad[0] = 1


cdef inline void sweep(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                       const real *like) noexcept nogil:
    """What is too long for the tile's epilogue, row by row while the block is in cache."""
    cdef Py_ssize_t i, at, n = j1 - j0
    cdef real *a
    cdef real *c
    if not is_swept(g.kind) and (g.kind != RELU or g.a_of_z == NULL or g.at_zero == 1.0):
        return
    # rows without a gap between them are one run of numbers
    if n == g.ldc and (g.ldz if g.a_of_z != NULL else g.ld_activation) == n:
        n *= i1 - i0
        i1 = i0 + 1
    for i in range(i0, i1):
        c = <real *> g.c + i * g.ldc + j0
        if g.a_of_z != NULL:
            at = i * g.ldz + j0
            activation_backward(g.kind, <const real *> g.z + at, <const real *> g.a_of_z + at, c, c, n, g.slope,
                                g.at_zero, g.extension)
        elif g.activation != NULL:
            a = <real *> g.activation + i * g.ld_activation + j0
            activation_forward(g.kind, a if g.c == g.activation else c, a, n, g.slope, g.extension)
