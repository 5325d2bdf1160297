"""GEMM: c = a b with what follows it fused (bias, batch norm's affine map, activation; or the activation's derivative).

A tile of MR rows and NV vectors of columns stays in registers while k runs. An element is the sum over blocks of KC of
chains of fused multiply-adds, both in ascending order of k, whatever the tile, the copies or the threads: its bits
depend on its row of `a` and its column of `b` alone. Blocking follows BLIS: a panel of KC x NR of `b` stays in L1 while
the row tiles of a block of `a` pass over it; where k has several blocks, c carries the partial sums.
"""
from libc.string cimport memcpy

from .activations cimport IDENTITY, LEAKY_RELU, RELU, activation_backward, activation_forward
from .simd cimport (
    MAX_LANES, MR, NV, VBYTES, fma, if_at_least, if_less, lanes, load, load_n, narrow, prefetch, real, rows_1, rows_2, rows_4,
    rows_full, rows_t, share, splat, splat_f32, splat_f64, store, store_n, vec, vtranspose, wide, width_t
)

cdef enum:
    KC = 256        # rows of a panel of b: KC x NR numbers fill half of L1
    MC = 480        # most rows of a block of a, see rows_of_block; a multiple of 6 and 8
    PAD = 16        # keeps the rows of a copied block from sharing cache sets
    FAR = 2048      # bytes from row to row of `a` from which a block is copied,
    FAR_B = 4096    # and a panel of `b`: one page a row, all in the same few cache sets
    COPY_A_FROM = 8     # panels that a block of a must meet before copying it pays
    COPY_B_FROM = 32    # rows that a panel of b must meet

# Offsets into a copied block: element (i, k) at row_starts[i] + unit_steps[k], or unit_steps[i] + row_steps[k].
cdef Py_ssize_t[MC] row_starts
cdef Py_ssize_t[MC] unit_steps
cdef Py_ssize_t[KC] row_steps
for at in range(MC):
    row_starts[at] = at * (KC + PAD)
    unit_steps[at] = at
for at in range(KC):
    row_steps[at] = at * (MC + PAD)


cdef inline Py_ssize_t rows_of_block(const real *like) noexcept nogil:
    """Rows of a block of a: with KC columns it takes a quarter to a half of L2, which grew along with the vectors."""
    return <Py_ssize_t> (MC * VBYTES // (64 * (sizeof(real) // 4)))


cdef inline void finish(const gemm_t *g, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, vec *acc, const real *scalar,
                        const rows_t *height, const width_t *width) noexcept nogil:
    """The epilogue of one finished tile, still in registers."""
    cdef vec like = acc[0]
    cdef Py_ssize_t W = lanes(like), r, v, at
    cdef vec x, y, factor, shift, slope = splat(g.slope, like), zero = splat(0.0, like)
    cdef real *c
    for v in range(sizeof(width_t)):
        at = j + v * W
        factor = splat(1.0, like)
        shift = zero
        if g.scale != NULL:
            factor = fetch(<const real *> g.scale + at, n, width, like)
        if g.shift != NULL:
            shift = fetch(<const real *> g.shift + at, n, width, like)
        for r in range(sizeof(rows_t)):
            x = acc[r * NV + v]
            if g.scale != NULL:
                x = x * factor
            if g.shift != NULL:
                x = x + shift
            if g.z != NULL:
                y = fetch(<const real *> g.z + (i + r) * g.ldz + at, n, width, like)
                if g.kind == RELU and g.at_zero == 1.0:
                    x = if_at_least(y, zero, x, zero)
                elif g.kind == LEAKY_RELU:
                    x = if_less(y, zero, x * slope, x)
            c = <real *> g.c + (i + r) * g.ldc + at
            if g.activation != NULL:
                if g.activation != g.c:
                    put(c, x, n, width)
                if g.kind == RELU:
                    x = if_less(x, zero, zero, x)
                elif g.kind == LEAKY_RELU:
                    x = if_less(x, zero, x * slope, x)
                c = <real *> g.activation + (i + r) * g.ld_activation + at
            put(c, x, n, width)


cdef inline vec fetch(const real *p, Py_ssize_t n, const width_t *width, vec like) noexcept nogil:
    """A vector of a wide tile is whole, that of a narrow one has n lanes."""
    if width_t is wide:
        return load(p, like)
    else:
        return load_n(p, n, like)


cdef inline void put(real *p, vec x, Py_ssize_t n, const width_t *width) noexcept nogil:
    if width_t is wide:
        store(p, x)
    else:
        store_n(p, x, n)


cdef struct part_t:
    # one block of a: rows i0 .. i0 + rows over k0 .. k0 + depth, where it lies in memory (in place, or copied)
    const void *a
    const Py_ssize_t *starts
    const Py_ssize_t *steps
    Py_ssize_t i0, rows, k0, depth


cdef inline void tile(const gemm_t *g, const part_t *part, Py_ssize_t i, Py_ssize_t j, Py_ssize_t n, const real *b,
                      Py_ssize_t ldb, vec like, const rows_t *height, const width_t *width) noexcept nogil:
    """sizeof(rows_t) rows of c from row i of the part, n columns from j."""
    cdef vec acc[MR * NV]
    cdef vec y[NV]
    cdef vec x
    cdef const real *p[MR]
    cdef const Py_ssize_t *steps = part.steps
    cdef Py_ssize_t r, v, k, W = lanes(like)
    cdef real *c = <real *> g.c + (part.i0 + i) * g.ldc + j
    for r in range(sizeof(rows_t)):
        p[r] = <const real *> part.a + part.starts[i + r]
        prefetch(c + r * g.ldc)
        for v in range(sizeof(width_t)):
            acc[r * NV + v] = splat(0.0, like)
    for k in range(part.depth):
        for v in range(sizeof(width_t)):
            y[v] = fetch(b + v * W, n, width, like)
        for r in range(sizeof(rows_t)):
            x = splat(p[r][steps[k]], like)
            for v in range(sizeof(width_t)):
                acc[r * NV + v] = fma(x, y[v], acc[r * NV + v])
        b += ldb
    if part.k0 != 0:
        for r in range(sizeof(rows_t)):
            for v in range(sizeof(width_t)):
                acc[r * NV + v] = acc[r * NV + v] + fetch(<const real *> c + r * g.ldc + v * W, n, width, like)
    if part.k0 + part.depth == g.k:
        finish(g, part.i0 + i, j, n, acc, b, height, width)
        return
    for r in range(sizeof(rows_t)):
        for v in range(sizeof(width_t)):
            put(c + r * g.ldc + v * W, acc[r * NV + v], n, width)


cdef inline void strip(const gemm_t *g, const part_t *part, Py_ssize_t j, Py_ssize_t n, const real *b, Py_ssize_t ldb,
                       vec like, const width_t *width) noexcept nogil:
    """All rows of the part; those left over go by tiles of 4, 2 and 1, so nothing is computed in vain."""
    cdef Py_ssize_t i = 0
    while part.rows - i >= MR:
        tile(g, part, i, j, n, b, ldb, like, <const rows_full *> NULL, width)
        i += MR
    if part.rows - i >= 4:
        tile(g, part, i, j, n, b, ldb, like, <const rows_4 *> NULL, width)
        i += 4
    if part.rows - i >= 2:
        tile(g, part, i, j, n, b, ldb, like, <const rows_2 *> NULL, width)
        i += 2
    if part.rows - i >= 1:
        tile(g, part, i, j, n, b, ldb, like, <const rows_1 *> NULL, width)


cdef inline void copy_panel(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, Py_ssize_t NR,
                            real *to) noexcept nogil:
    """depth rows of n columns of b, at a distance of NR."""
    cdef Py_ssize_t k
    for k in range(depth):
        memcpy(to + k * NR, b + k * ldb, n * sizeof(real))


cdef inline void transpose_panel(const real *b, Py_ssize_t ldb, Py_ssize_t depth, Py_ssize_t n, Py_ssize_t NR,
                                 real *to, vec like) noexcept nogil:
    """The same from the transpose of b: n rows of depth columns, by squares."""
    cdef Py_ssize_t W = lanes(like), j = 0, k, r, most
    cdef vec[MAX_LANES] square
    while j < n:
        k = 0
        while k < depth:
            most = min(W, depth - k)
            for r in range(W):
                square[r] = splat(0.0, like)
                if j + r < n:
                    square[r] = load(b + (j + r) * ldb + k, like) if most == W else load_n(
                        b + (j + r) * ldb + k, most, like)
            vtranspose(square)
            if most == W:
                for r in range(W):
                    store(to + (k + r) * NR + j, square[r])
            else:
                for r in range(most):
                    store(to + (k + r) * NR + j, square[r])
            k += W
        j += W


cdef inline bint copies_b(const gemm_t *g, Py_ssize_t rows, const real *like) noexcept nogil:
    """Whether panels of b are copied: a transpose always, others where rows lie far apart and many meet them."""
    return g.b_transposed or (g.ldb * <Py_ssize_t> sizeof(real) >= FAR_B and rows >= COPY_B_FROM)


cdef inline void panel(const gemm_t *g, const part_t *part, Py_ssize_t j, Py_ssize_t n, real *copy,
                       vec like) noexcept nogil:
    """Columns j .. j + n, n at most NR."""
    cdef Py_ssize_t W = lanes(like), v = 0, ldb = g.ldb
    cdef const real *b = <const real *> g.b + (j * ldb + part.k0 if g.b_transposed else part.k0 * ldb + j)
    if copies_b(g, part.rows, b):
        if g.b_transposed:
            transpose_panel(b, ldb, part.depth, n, NV * W, copy, like)
        else:
            copy_panel(b, ldb, part.depth, n, NV * W, copy)
        b, ldb = copy, NV * W
    if n == NV * W:
        strip(g, part, j, n, b, ldb, like, <const wide *> NULL)
        return
    while v < n:
        strip(g, part, j + v, min(W, n - v), b + v, ldb, like, <const narrow *> NULL)
        v += W


cdef inline void copy_block(const gemm_t *g, part_t *part, real *to) noexcept nogil:
    """Copies the block of a, along the side on which numbers are neighbours."""
    cdef const real *a = <const real *> g.a
    cdef Py_ssize_t i
    if not g.a_transposed:
        for i in range(part.rows):
            memcpy(to + row_starts[i], a + g.starts[part.i0 + i] + g.steps[part.k0], part.depth * sizeof(real))
        part.starts, part.steps = row_starts, unit_steps
    else:
        for i in range(part.depth):
            memcpy(to + row_steps[i], a + g.starts[part.i0] + g.steps[part.k0 + i], part.rows * sizeof(real))
        part.starts, part.steps = unit_steps, row_steps
    part.a = to


cdef inline void block(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch,
                       vec like) noexcept nogil:
    """Rows i0 .. i1, columns j0 .. j1, the whole of k."""
    cdef Py_ssize_t NR = NV * lanes(like), j
    cdef part_t part
    part.i0, part.rows, part.k0 = i0, i1 - i0, 0
    while True:                      # once even where k is 0: the epilogue writes c
        part.depth = min(KC, g.k - part.k0)
        part.a, part.starts, part.steps = g.a, g.starts + i0, g.steps + part.k0
        if j1 - j0 >= COPY_A_FROM * NR and g.lda * <Py_ssize_t> sizeof(real) >= FAR:
            copy_block(g, &part, scratch + KC * NR)
        j = j0
        while j < j1:
            panel(g, &part, j, min(NR, j1 - j), scratch, like)
            j += NR
        part.k0 += part.depth
        if part.k0 >= g.k:
            return


cdef void sweep(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1,
                const real *like) noexcept nogil:
    """What is too long for the tile's epilogue, row by row while the block is in cache."""
    cdef Py_ssize_t i
    cdef real *c
    if g.kind == IDENTITY or g.kind == LEAKY_RELU or (g.kind == RELU and (g.z == NULL or g.at_zero == 1.0)):
        return
    for i in range(i0, i1):
        c = <real *> g.c + i * g.ldc + j0
        if g.z != NULL:
            activation_backward(g.kind, <const real *> g.z + i * g.ldz + j0,
                                <const real *> g.a_of_z + i * g.ldz + j0, c, c, j1 - j0, g.slope, g.at_zero)
        elif g.activation != NULL:
            activation_forward(g.kind, (<real *> g.activation + i * g.ld_activation + j0) if g.c == g.activation else c,
                               <real *> g.activation + i * g.ld_activation + j0, j1 - j0, g.slope)


cdef Py_ssize_t panel_width(const real *like) noexcept nogil:
    """NR: columns of a panel."""
    return NV * (lanes(splat_f32(0)) if real is float else lanes(splat_f64(0)))


cdef Py_ssize_t scratch_size(const real *like) noexcept nogil:
    """Numbers that `gemm` copies a panel of b and a block of a into."""
    return KC * panel_width(like) + max(rows_of_block(like) * (KC + PAD), KC * (MC + PAD))


cdef void gemm(const gemm_t *g, Py_ssize_t i0, Py_ssize_t i1, Py_ssize_t j0, Py_ssize_t j1, real *scratch) noexcept nogil:
    """Rows i0 .. i1 and columns j0 .. j1 of c, epilogue included.

    `scratch`, scratch_size() numbers of this thread's own, is where panels and blocks are copied if that pays.
    """
    cdef Py_ssize_t i = i0, end
    while i < i1:
        end = min(i + rows_of_block(<const real *> NULL), i1)
        if real is float:
            block(g, i, end, j0, j1, scratch, splat_f32(0))
        else:
            block(g, i, end, j0, j1, scratch, splat_f64(0))
        sweep(g, i, end, j0, j1, scratch)
        i = end


cdef void gemm_share(const gemm_t *g, int member, int team, real *scratch) noexcept nogil:
    """This member's part of c: columns where b is copied and wide, so that no two copy the same; else rows, if there
    are enough."""
    cdef Py_ssize_t first, last, NR = panel_width(scratch)
    if g.m < team * MR or (copies_b(g, g.m, scratch) and g.n >= 4 * team * NR):
        share(g.n, NR, member, team, &first, &last)
        gemm(g, 0, g.m, first, last, scratch)
    else:
        share(g.m, MR, member, team, &first, &last)
        gemm(g, first, last, 0, g.n, scratch)
