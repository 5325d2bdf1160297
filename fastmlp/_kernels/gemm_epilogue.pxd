"""A GEMM as a struct, and the epilogue: what is done to a tile in registers before it is written.

A tile has sizeof(rows_t) rows and sizeof(width_t) vectors of columns; both are types, so loops over them have bounds
that the compiler knows, unrolls, and keeps in registers. Passes over the tile stand one after another, each under one
condition, for the same reason. The usual epilogues of a whole tile have code of their own, `epilogue_whole`; others, and
tiles with fewer columns, go through `epilogue_generic` by vectors of columns.
"""
from libc.math cimport INFINITY

from .nn_activations cimport IDENTITY, LEAKY_RELU, RELU, RELU_BY_SIGN, activation_backward, activation_forward
from .nn_optimizers cimport LARGE, magnitude, most_squares
from .vm cimport extension_t
from .simd cimport (
    KC, NV, fma, forceinline_void, if_at_least, if_less, if_unsigned, lanes, launder, load, load_n, real, rows_t, splat,
    store, store_n, vec, vmax
)

cdef struct gemm_t:
    # c = a b, with a (m, k), b (k, n). Element (i, k) of `a` is a[row_offsets[i] + k_offsets[k]], so that rows of a batch
    # may be gathered by index; a transpose swaps the two.
    Py_ssize_t m, n, k
    const void *a
    const Py_ssize_t *row_offsets
    const Py_ssize_t *k_offsets
    Py_ssize_t lda               # about the distance of neighbouring rows; it only decides whether a is packed
    bint a_transposed            # numbers are neighbours along i, not along k
    bint gathered                # k_offsets (of a transpose) have no common distance
    const void *b
    Py_ssize_t ldb
    bint b_transposed            # b is stored (n, k)
    const void *packed           # all panels of b, from `prepack`, or NULL: then they are packed as needed
    void *c
    Py_ssize_t ldc
    # forward epilogue: z = c * scale + shift (either may be NULL), kept in c; activated = g(z)
    const void *scale
    const void *shift
    void *activated
    Py_ssize_t ld_activated
    # or backward epilogue: c *= g'(z)
    const void *z
    const void *a_of_z           # g(z), for derivatives that use it; laid out as z
    Py_ssize_t ldz
    int activation               # its code, see nn_activations
    double alpha                 # slope of leaky_relu below zero
    double at_zero               # derivative of ReLU at zero
    const extension_t *extension
    Py_ssize_t *bad              # where to note that c is not finite, or large, as `magnitude` does; may be NULL


cdef struct block_t:
    # A block of a: rows i0 .. i0 + rows over k0 .. k0 + depth, and where it lies (in place, or packed).
    const void *a
    const Py_ssize_t *row_offsets
    const Py_ssize_t *k_offsets
    Py_ssize_t i0, rows, k0, depth
    double[8] check              # a vector: 1, and the squares of all that was written


cdef inline Py_ssize_t block_depth(Py_ssize_t k) noexcept nogil:
    """Return the steps of k in a block: the fewest blocks of at most KC, all of one depth but the last."""
    cdef Py_ssize_t blocks = (k + KC - 1) // KC
    if blocks < 2:
        return max(k, 1)
    return ((k + blocks - 1) // blocks + 7) // 8 * 8


cdef inline void put(real *p, vec x, Py_ssize_t n) noexcept nogil:
    """Store the first n lanes."""
    if n == lanes(x):
        store(p, x)
    else:
        store_n(p, x, n)


cdef enum:      # epilogues of a whole tile
    GENERIC = 0     # none of these: `epilogue_generic`
    PLAIN = 1       # c as it is
    BIAS_RELU = 2   # max(c + bias, lower): bias, ReLU, or both
    RELU_MASK = 3   # c where the sign of RELU_BY_SIGN says that z was not below 0, else 0


cdef inline bint needs_activation_pass(int activation) noexcept nogil:
    """Return whether the activation needs a pass of its own over the finished block of c, being more than a select."""
    return activation != IDENTITY and activation != LEAKY_RELU and activation != RELU and activation != RELU_BY_SIGN


cdef inline int epilogue_of(const gemm_t *g, const block_t *block) noexcept nogil:
    """Return which epilogue a whole tile takes; an activation with a pass of its own counts as none here."""
    if block.k0 + block.depth < g.k:
        return PLAIN
    if g.scale != NULL:
        return GENERIC
    if g.a_of_z != NULL:
        if g.activation == RELU_BY_SIGN:
            return RELU_MASK
        return GENERIC if g.activation == LEAKY_RELU or (g.activation == RELU and g.at_zero == 1.0) else PLAIN
    if g.activated == NULL or needs_activation_pass(g.activation):
        return PLAIN if g.shift == NULL else BIAS_RELU
    return BIAS_RELU if g.activated == g.c and g.activation != LEAKY_RELU else GENERIC


cdef struct epilogue_t:
    # What the epilogue of a whole tile needs, in memory: the micro-kernel leaves no registers.
    double[NV][8] bias           # vectors, added to each column
    double[8] lower              # a vector, the lower bound of every number
    bint checks                  # whether to add up squares


cdef inline void prepare_epilogue(const gemm_t *g, const block_t *block, Py_ssize_t j, const real *scalar,
                                  epilogue_t *end, vec like) noexcept nogil:
    """Fill `end` for columns from j on; bias and lower are neutral where there is nothing to do."""
    cdef Py_ssize_t v
    cdef vec bias, none = splat(-0.0, like), lower = splat(-INFINITY, like)
    cdef bint last = block.k0 + block.depth == g.k
    if last and g.activated != NULL and (g.activation == RELU or g.activation == RELU_BY_SIGN):
        lower = splat(0.0, none)
        if g.activation == RELU_BY_SIGN:      # below 0 the result is -0; a zero becomes +0 when +0 is added
            none, lower = lower, none
    for v in range(NV):
        bias = none
        if last and g.shift != NULL:
            bias = load(<const real *> g.shift + j + v * lanes(none), none) + none
        store(<real *> end.bias[v], bias)
    store(<real *> end.lower, lower)
    end.checks = last and g.bad != NULL


cdef inline forceinline_void epilogue_whole(const gemm_t *g, block_t *block, int kind, Py_ssize_t i, Py_ssize_t j,
                                            real *c, vec *acc, const epilogue_t *end, vec like,
                                            const rows_t *height) noexcept nogil:
    """Finish and write the tile at c, of rows from i on and columns from j on, by one of the usual epilogues.

    Pointers are laundered so that the micro-kernel keeps its registers.
    """
    cdef Py_ssize_t r, v, W = lanes(like), ldc = g.ldc, ldz
    cdef const real *a
    cdef vec[NV] bias
    cdef vec lower, total, column, zero = splat(0.0, like), one
    if end.checks:
        total = load(<const real *> block.check, like)
        one = splat(1.0, like)         # sums begin with 1, so that none is subnormal, which is slow
        for v in range(NV):
            column = one
            for r in range(sizeof(rows_t)):
                column = fma(acc[r * NV + v], acc[r * NV + v], column)
            total = total + column
        store(<real *> block.check, total)
    c, end = <real *> launder(c), <const epilogue_t *> launder(<void *> end)
    if kind == BIAS_RELU:
        for v in range(NV):
            bias[v] = load(<const real *> end.bias[v], like)
        lower = load(<const real *> end.lower, like)
        for r in range(sizeof(rows_t)):
            for v in range(NV):
                store(c + v * W, vmax(acc[r * NV + v] + bias[v], lower))
            c += ldc
    elif kind == PLAIN:
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
    """Multiply by scale and add shift, column by column."""
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
    """Apply g where it is a select; others have a pass of their own."""
    cdef Py_ssize_t r
    cdef vec zero = splat(0.0, acc[0]), alpha = splat(g.alpha, acc[0]), minus = splat(-0.0, acc[0])
    if g.activation == RELU_BY_SIGN:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(acc[r], zero, minus, acc[r] + zero)
    elif g.activation == RELU:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(acc[r], zero, zero, acc[r])
    elif g.activation == LEAKY_RELU:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(acc[r], zero, acc[r] * alpha, acc[r])


cdef inline void derive(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc, const real *scalar,
                        const rows_t *height) noexcept nogil:
    """Multiply by g'(z) where that is a select."""
    cdef const real *z = (<const real *> g.z) + i * g.ldz + j
    cdef const real *a = (<const real *> g.a_of_z) + i * g.ldz + j
    cdef Py_ssize_t r
    cdef vec zero = splat(0.0, acc[0]), alpha = splat(g.alpha, acc[0])
    if g.activation == RELU_BY_SIGN:
        for r in range(sizeof(rows_t)):
            acc[r] = if_unsigned(load_n(a + r * g.ldz, n, zero), acc[r], zero)
    elif g.activation == RELU and g.at_zero == 1.0:
        for r in range(sizeof(rows_t)):
            acc[r] = if_at_least(load_n(z + r * g.ldz, n, zero), zero, acc[r], zero)
    elif g.activation == LEAKY_RELU:
        for r in range(sizeof(rows_t)):
            acc[r] = if_less(load_n(z + r * g.ldz, n, zero), zero, acc[r] * alpha, acc[r])


cdef inline void epilogue_generic(const gemm_t *g, block_t *block, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc,
                                  const real *scalar, const rows_t *height) noexcept nogil:
    """Finish and write a vector of n columns: add the blocks of k before, and after the last apply all that is asked."""
    cdef Py_ssize_t r
    cdef real *c = <real *> g.c + i * g.ldc + j
    cdef real *a
    cdef vec total
    if block.k0 != 0:
        for r in range(sizeof(rows_t)):
            acc[r] = acc[r] + load_n(<const real *> c + r * g.ldc, n, acc[0])
    if block.k0 + block.depth == g.k:
        if g.bad != NULL:
            total = load(<const real *> block.check, acc[0])
            for r in range(sizeof(rows_t)):
                total = fma(acc[r], acc[r], total)
            store(<real *> block.check, total)
        affine(g, j, n, acc, scalar, height)
        if g.a_of_z != NULL:
            derive(g, i, j, n, acc, scalar, height)
        elif g.activated != NULL:
            if g.activated != g.c:
                for r in range(sizeof(rows_t)):
                    put(c + r * g.ldc, acc[r], n)
            activate(g, acc, height)
            a = <real *> g.activated + i * g.ld_activated + j
            for r in range(sizeof(rows_t)):
                put(a + r * g.ld_activated, acc[r], n)
            return
    for r in range(sizeof(rows_t)):
        put(c + r * g.ldc, acc[r], n)


cdef inline void note_magnitude(const gemm_t *g, const block_t *block, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j,
                                Py_ssize_t n, const real *scalar, vec like) noexcept nogil:
    """Note in `bad` what was written to rows i0 .. i1, columns j .. j + n, if the sum of its squares is large."""
    cdef Py_ssize_t k, i
    cdef bint large = False
    for k in range(lanes(like)):
        large |= not (<const real *> block.check)[k] < most_squares()
    if large:
        g.bad[0] |= LARGE
        for i in range(i0, i1):
            g.bad[0] |= magnitude(<const real *> g.c + i * g.ldc + j, n)


cdef inline void activation_pass(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                                 const real *like) noexcept nogil:
    """Apply an activation, or its derivative, that is no select, to finished rows while they are in cache."""
    cdef Py_ssize_t i, at, n = j1 - j0
    cdef real *a
    cdef real *c
    if not needs_activation_pass(g.activation) and (g.activation != RELU or g.a_of_z == NULL or g.at_zero == 1.0):
        return
    # rows without gaps go as one row
    if n == g.ldc and (g.ldz if g.a_of_z != NULL else g.ld_activated) == n:
        n *= i1 - i0
        i1 = i0 + 1
    for i in range(i0, i1):
        c = <real *> g.c + i * g.ldc + j0
        if g.a_of_z != NULL:
            at = i * g.ldz + j0
            activation_backward(g.activation, <const real *> g.z + at, <const real *> g.a_of_z + at, c, c, n, g.alpha,
                                g.at_zero, g.extension)
        elif g.activated != NULL:
            a = <real *> g.activated + i * g.ld_activated + j0
            activation_forward(g.activation, a if g.c == g.activated else c, a, n, g.alpha, g.extension)
