"""A GEMM in data, and what is done to its register tile before it is written.

A tile has sizeof(rows_t) rows and sizeof(width_t) vectors of columns; both are types, so loops over them have bounds
that the compiler knows, unrolls, and keeps in registers. Passes over the tile stand one after another, each under one
condition, for the same reason.
"""
from .activations cimport IDENTITY, LEAKY_RELU, RELU, RELU_BY_SIGN, activation_backward, activation_forward
from .program cimport extension_t
from .simd cimport (
    KC, NV, fma, if_at_least, if_less, if_unsigned, lanes, load, load_n, narrow, real, rows_t, splat, store, store_n,
    vec, width_t
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
    const void *b
    Py_ssize_t ldb
    bint b_transposed            # b is stored (n, k)
    void *c
    Py_ssize_t ldc
    # forward epilogue: z = c * scale + shift (either may be NULL), kept in c; activation = g(z)
    const void *scale
    const void *shift
    void *activation
    Py_ssize_t ld_activation
    # backward epilogue: c *= g'(z)
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
    """Steps of a block of k, the last but the rest: as many for each as can be, and no more than KC."""
    cdef Py_ssize_t blocks = (k + KC - 1) // KC
    if blocks < 2:
        return max(k, 1)
    return ((k + blocks - 1) // blocks + 7) // 8 * 8


cdef inline vec fetch(const real *p, Py_ssize_t n, const width_t *width, vec like) noexcept nogil:
    """A vector of a narrow tile has n lanes, that of others is whole."""
    if width_t is narrow:
        return load_n(p, n, like)
    else:
        return load(p, like)


cdef inline void put(real *p, vec x, Py_ssize_t n, const width_t *width) noexcept nogil:
    if width_t is narrow:
        store_n(p, x, n)
    else:
        store(p, x)


cdef inline void put_tile(real *c, Py_ssize_t ldc, Py_ssize_t n, const vec *acc, const rows_t *height,
                          const width_t *width) noexcept nogil:
    cdef Py_ssize_t r, v
    for r in range(sizeof(rows_t)):
        for v in range(sizeof(width_t)):
            put(c + r * ldc + v * lanes(acc[0]), acc[r * sizeof(width_t) + v], n, width)


cdef inline void put_biased(const gemm_t *g, int kind, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, const vec *acc,
                            const real *scalar, const rows_t *height, const width_t *width) noexcept nogil:
    """The usual end of a forward pass in one go: a = g(product + bias)."""
    cdef real *a = (<real *> g.activation) + i * g.ld_activation + j
    cdef Py_ssize_t r, v, W = lanes(acc[0])
    cdef vec[NV] shift
    cdef vec x, zero = splat(0.0, acc[0]), minus = splat(-0.0, acc[0])
    for v in range(sizeof(width_t)):
        shift[v] = fetch(<const real *> g.shift + j + v * W, n, width, zero)
    for r in range(sizeof(rows_t)):
        for v in range(sizeof(width_t)):
            x = acc[r * sizeof(width_t) + v] + shift[v]
            if kind == RELU_BY_SIGN:
                x = if_less(x, zero, minus, x + zero)
            elif kind == RELU:
                x = if_less(x, zero, zero, x)
            put(a + r * g.ld_activation + v * W, x, n, width)


cdef inline void put_masked(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, const vec *acc,
                            const real *scalar, const rows_t *height, const width_t *width) noexcept nogil:
    """The usual end of d_input in one go: the derivative of a ReLU that was kept by sign."""
    cdef const real *a = (<const real *> g.a_of_z) + i * g.ldz + j
    cdef real *c = (<real *> g.c) + i * g.ldc + j
    cdef Py_ssize_t r, v, W = lanes(acc[0])
    cdef vec zero = splat(0.0, acc[0])
    for r in range(sizeof(rows_t)):
        for v in range(sizeof(width_t)):
            put(c + r * g.ldc + v * W, if_unsigned(fetch(a + r * g.ldz + v * W, n, width, zero),
                                                   acc[r * sizeof(width_t) + v], zero), n, width)


cdef inline void affine(const gemm_t *g, Py_ssize_t j, Py_ssize_t n, vec *acc, const real *scalar, const rows_t *height,
                        const width_t *width) noexcept nogil:
    """Times scale, plus shift, by column."""
    cdef Py_ssize_t r, v
    cdef vec x
    if g.scale != NULL:
        for v in range(sizeof(width_t)):
            x = fetch(<const real *> g.scale + j + v * lanes(acc[0]), n, width, acc[0])
            for r in range(sizeof(rows_t)):
                acc[r * sizeof(width_t) + v] = acc[r * sizeof(width_t) + v] * x
    if g.shift != NULL:
        for v in range(sizeof(width_t)):
            x = fetch(<const real *> g.shift + j + v * lanes(acc[0]), n, width, acc[0])
            for r in range(sizeof(rows_t)):
                acc[r * sizeof(width_t) + v] = acc[r * sizeof(width_t) + v] + x


cdef inline void activate(const gemm_t *g, vec *acc, const rows_t *height, const width_t *width) noexcept nogil:
    """g(z) where that is a select; longer ones are swept over the finished block."""
    cdef Py_ssize_t k
    cdef vec zero = splat(0.0, acc[0]), slope = splat(g.slope, acc[0]), minus = splat(-0.0, acc[0])
    if g.kind == RELU_BY_SIGN:
        for k in range(sizeof(rows_t) * sizeof(width_t)):
            acc[k] = if_less(acc[k], zero, minus, acc[k] + zero)
    elif g.kind == RELU:
        for k in range(sizeof(rows_t) * sizeof(width_t)):
            acc[k] = if_less(acc[k], zero, zero, acc[k])
    elif g.kind == LEAKY_RELU:
        for k in range(sizeof(rows_t) * sizeof(width_t)):
            acc[k] = if_less(acc[k], zero, acc[k] * slope, acc[k])


cdef inline void derive(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc, const real *scalar,
                        const rows_t *height, const width_t *width) noexcept nogil:
    """Times g'(z) where that is a select."""
    cdef const real *z = (<const real *> g.z) + i * g.ldz + j
    cdef Py_ssize_t r, v, k, W = lanes(acc[0])
    cdef vec zero = splat(0.0, acc[0]), slope = splat(g.slope, acc[0])
    if g.kind == RELU and g.at_zero == 1.0:
        for r in range(sizeof(rows_t)):
            for v in range(sizeof(width_t)):
                k = r * sizeof(width_t) + v
                acc[k] = if_at_least(fetch(z + r * g.ldz + v * W, n, width, zero), zero, acc[k], zero)
    elif g.kind == LEAKY_RELU:
        for r in range(sizeof(rows_t)):
            for v in range(sizeof(width_t)):
                k = r * sizeof(width_t) + v
                acc[k] = if_less(fetch(z + r * g.ldz + v * W, n, width, zero), zero, acc[k] * slope, acc[k])


cdef inline void finish(const gemm_t *g, part_t *part, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc,
                        const real *scalar, const rows_t *height, const width_t *width) noexcept nogil:
    """Adds the blocks of k before this one, and after the last does what the caller asked for; writes the tile."""
    cdef Py_ssize_t r, v, k, W = lanes(acc[0])
    cdef real *c = <real *> g.c + i * g.ldc + j
    cdef vec total
    if part.k0 != 0:
        for r in range(sizeof(rows_t)):
            for v in range(sizeof(width_t)):
                k = r * sizeof(width_t) + v
                acc[k] = acc[k] + fetch(<const real *> c + r * g.ldc + v * W, n, width, acc[0])
    if part.k0 + part.depth == g.k:
        if g.bad != NULL:
            total = load(<const real *> part.check, acc[0])
            for k in range(sizeof(rows_t) * sizeof(width_t)):
                total = fma(acc[k], splat(0.0, total), total)
            store(<real *> part.check, total)
        if g.activation != NULL and g.activation == g.c and g.shift != NULL and g.scale == NULL and g.kind != LEAKY_RELU:
            if g.kind == RELU_BY_SIGN:
                put_biased(g, RELU_BY_SIGN, i, j, n, acc, scalar, height, width)
            elif g.kind == RELU:
                put_biased(g, RELU, i, j, n, acc, scalar, height, width)
            else:
                put_biased(g, IDENTITY, i, j, n, acc, scalar, height, width)
            return
        if g.a_of_z != NULL and g.kind == RELU_BY_SIGN:
            put_masked(g, i, j, n, acc, scalar, height, width)
            return
        affine(g, j, n, acc, scalar, height, width)
        if g.a_of_z != NULL:
            derive(g, i, j, n, acc, scalar, height, width)
        elif g.activation != NULL:
            if g.activation != g.c:
                put_tile(c, g.ldc, n, acc, height, width)
            activate(g, acc, height, width)
            put_tile(<real *> g.activation + i * g.ld_activation + j, g.ld_activation, n, acc, height, width)
            return
    put_tile(c, g.ldc, n, acc, height, width)


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
    if g.kind == IDENTITY or g.kind == LEAKY_RELU or g.kind == RELU_BY_SIGN:
        return
    if g.kind == RELU and (g.a_of_z == NULL or g.at_zero == 1.0):
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
